// Puts the pickle's storages to their places in the file. ZIP: NAME/data.pkl and NAME/data/KEY. The stream
// before it: a magic number, a version, facts of the machine, the dictionary and the keys of the storages,
// each a pickle, then each storage as a count of 8 bytes and its elements.
#include "compiler/import/TorchFile.h"
#include "compiler/import/ImportError.h"
#include "compiler/import/TorchPickle.h"
#include "compiler/import/TorchZip.h"
#include <algorithm>
#include <set>

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr uint64_t kMaxPickle = 1 << 24; ///< a model of a thousand layers has about 1 MiB

/// torch's magic number, as the pickle of an integer of 10 bytes.
const char kLegacyMagic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

std::string typeAndLength(const TorchStorage &storage) {
  return std::string(torchTypeName(storage.type)) + " [" + std::to_string(storage.elements) + "]";
}

class TorchReader {
public:
  explicit TorchReader(const ByteSource &source) : source_(source), where_(source.name()) {}

  std::vector<TorchStorage> storages;
  std::map<std::string, TorchTensor> tensors;
  std::vector<std::string> others;
  const char *container = "zip";

  Error run() {
    char head[4] = {};
    if (source_.size() < sizeof head)
      return failure(where_ + ": expected a file of torch.save, got " + Twine(source_.size()) + " bytes");
    if (Error error = source_.read(0, head, sizeof head))
      return error;
    if (StringRef(head, 2) == "PK")
      return readZip();
    if (uint8_t(head[0]) == 0x80) {
      container = "legacy";
      return readLegacy();
    }
    return failure(where_ + ": byte 0: expected a file of torch.save ('PK' or a pickle), got " +
                   quoted(StringRef(head, sizeof head)));
  }

private:
  Expected<std::string> readText(uint64_t offset, uint64_t bytes) {
    std::string text(size_t(bytes), '\0');
    if (Error error = source_.read(offset, text.data(), text.size()))
      return error;
    return text;
  }

  Error readZip() {
    Expected<std::map<std::string, ZipEntry>> entries = readStoredZip(source_);
    if (!entries)
      return entries.takeError();
    const ZipEntry *pickle = nullptr;
    std::string stem;
    for (const auto &[name, entry] : *entries) {
      auto [top, rest] = StringRef(name).split('/');
      if (rest != "data.pkl")
        continue;
      if (pickle)
        return failure(where_ + ": expected one entry data.pkl, got " + quoted(stem + "/data.pkl") + " and " +
                       quoted(name));
      pickle = &entry;
      stem = top.str();
    }
    if (!pickle || pickle->bytes > kMaxPickle)
      return failure(where_ + ": expected an entry NAME/data.pkl of at most " + Twine(kMaxPickle) +
                     " bytes, got " + (pickle ? std::to_string(pickle->bytes) : std::string("none")));
    if (auto order = entries->find(stem + "/byteorder"); order != entries->end()) {
      Expected<std::string> text =
          readText(order->second.offset, std::min<uint64_t>(order->second.bytes, 16));
      if (!text)
        return text.takeError();
      if (*text != "little")
        return failure(where_ + ": byteorder: expected 'little', got " + quoted(*text));
    }
    Expected<std::string> text = readText(pickle->offset, pickle->bytes);
    if (!text)
      return text.takeError();
    TorchPickle machine(*text, where_, pickle->offset);
    Expected<const PickleValue *> value = machine.next();
    if (!value)
      return value.takeError();
    storages = std::move(machine.storages);
    for (TorchStorage &storage : storages) {
      auto data = entries->find(stem + "/data/" + storage.key);
      if (data == entries->end() || data->second.bytes != storage.elements * torchBytes(storage.type))
        return failure(where_ + ": storage " + quoted(storage.key) + ": expected an entry of " +
                       Twine(storage.elements * torchBytes(storage.type)) + " bytes for " +
                       typeAndLength(storage) + ", got " +
                       (data == entries->end() ? std::string("none") : std::to_string(data->second.bytes)));
      storage.offset = data->second.offset;
    }
    return collect(**value, machine);
  }

  Error readLegacy() {
    Expected<std::string> text = readText(0, std::min(source_.size(), kMaxPickle));
    if (!text)
      return text.takeError();
    TorchPickle machine(*text, where_, 0);
    const PickleValue *parts[5];
    for (size_t i = 0; i < std::size(parts); ++i) {
      Expected<const PickleValue *> value = machine.next();
      if (!value)
        return value.takeError();
      parts[i] = *value;
      if (i == 0 && (parts[0]->kind != PickleValue::integer ||
                     parts[0]->bytes != StringRef(kLegacyMagic, sizeof kLegacyMagic - 1)))
        return failure(where_ + ": byte 0: expected the magic number of torch.save, got another pickle");
      if (i == 1 && (parts[1]->kind != PickleValue::integer || parts[1]->number != 1001))
        return failure(where_ + ": expected version 1001 of the stream, got another");
    }
    if (Error error = littleEndian(*parts[2]))
      return error;
    if (Error error = placeStream(*parts[4], machine.position(), machine.storages))
      return error;
    storages = std::move(machine.storages);
    return collect(*parts[3], machine);
  }

  Error littleEndian(const PickleValue &facts) {
    for (size_t i = 0; facts.kind == PickleValue::dict && i + 1 < facts.items.size(); i += 2)
      if (facts.items[i]->bytes == "little_endian" && facts.items[i + 1]->kind == PickleValue::boolean &&
          facts.items[i + 1]->number == 1)
        return Error::success();
    return failure(where_ + ": expected a file of a little-endian machine, got another");
  }

  Error placeStream(const PickleValue &keys, uint64_t at, std::vector<TorchStorage> &all) {
    std::map<std::string, TorchStorage *> missing;
    for (TorchStorage &storage : all)
      missing.emplace(storage.key, &storage);
    if (keys.kind != PickleValue::list)
      return failure(where_ + ": expected a list of storages after the dictionary, got something else");
    for (const PickleValue *key : keys.items) {
      auto found = missing.find(key->kind == PickleValue::text ? key->bytes.str() : std::string());
      if (found == missing.end())
        return failure(where_ + ": expected each storage of the dictionary once, got " + quoted(key->bytes));
      TorchStorage &storage = *found->second;
      missing.erase(found);
      uint64_t count = 0;
      if (Error error = source_.read(at, &count, sizeof count))
        return error;
      at += sizeof count;
      uint64_t bytes = storage.elements * torchBytes(storage.type);
      if (count != storage.elements || bytes > source_.size() - at)
        return failure(where_ + ": byte " + Twine(at - sizeof count) + ": storage " + quoted(storage.key) +
                       ": expected " + typeAndLength(storage) + ", got " + Twine(count) +
                       " elements; the file may be cut off");
      storage.offset = at;
      at += bytes;
    }
    if (!missing.empty())
      return failure(where_ + ": storage " + quoted(missing.begin()->first) +
                     ": expected its data, got none");
    return Error::success();
  }

  /// The tensors of the dictionary under their names.
  Error collect(const PickleValue &dict, const TorchPickle &machine) {
    if (dict.kind != PickleValue::dict)
      return failure(where_ + ": expected a dictionary of tensors, got another value");
    std::set<std::string> seen;
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      const PickleValue &key = *dict.items[i], &value = *dict.items[i + 1];
      if (key.kind != PickleValue::text || key.bytes.empty() || !seen.insert(key.bytes.str()).second)
        return failure(where_ + ": expected names of tensors as keys, each once, got " +
                       (key.kind == PickleValue::text ? quoted(key.bytes) : std::string("another value")));
      if (value.kind != PickleValue::tensor) {
        others.push_back(key.bytes.str());
        continue;
      }
      TorchTensor tensor = machine.tensors[size_t(value.number)];
      tensor.name = key.bytes.str();
      tensors.emplace(tensor.name, std::move(tensor));
    }
    return Error::success();
  }

  const ByteSource &source_;
  const std::string &where_;
};

} // namespace

unsigned torchBytes(TorchType type) {
  static const unsigned bytes[] = {8, 4, 2, 2, 8, 4, 2, 1, 1, 1};
  return bytes[int(type)];
}

const char *torchTypeName(TorchType type) {
  static const char *names[] = {"f64",   "f32",   "f16",  "bf16",  "int64",
                                "int32", "int16", "int8", "uint8", "bool"};
  return names[int(type)];
}

uint64_t TorchTensor::elements() const {
  uint64_t n = 1;
  for (uint64_t dim : shape)
    n *= dim;
  return n;
}

bool TorchTensor::contiguous() const {
  uint64_t step = 1;
  for (size_t i = shape.size(); i-- > 0; step *= shape[i])
    if (shape[i] != 1 && strides[i] != step)
      return elements() == 0;
  return true;
}

Expected<TorchFile> TorchFile::read(std::shared_ptr<ByteSource> source) {
  TorchFile file;
  file.source_ = std::move(source);
  TorchReader reader(*file.source_);
  if (Error error = reader.run())
    return error;
  file.storages_ = std::move(reader.storages);
  file.tensors_ = std::move(reader.tensors);
  file.others_ = std::move(reader.others);
  file.container_ = reader.container;
  return file;
}

} // namespace bitnet::import
