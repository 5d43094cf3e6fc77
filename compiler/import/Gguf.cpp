// Parsing the GGUF header. Every count is held against the bytes that are left before anything is allocated
// for it.
#include "compiler/import/Gguf.h"
#include "compiler/import/ImportError.h"
#include <algorithm>
#include <cstring>

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kMaxKeyBytes = 65535;       // the format's own limit
constexpr uint64_t kMaxTensorName = 63;        // ggml's own limit
constexpr uint64_t kMaxArrayStrings = 1 << 22; // a vocabulary has 2^18, its merges twice that
constexpr uint64_t kMaxArrayBytes = 1 << 28;

uint32_t kindBytes(GgufKind kind) {
  switch (kind) {
  case GgufKind::u8:
  case GgufKind::i8:
  case GgufKind::boolean:
    return 1;
  case GgufKind::u16:
  case GgufKind::i16:
    return 2;
  case GgufKind::u32:
  case GgufKind::i32:
  case GgufKind::f32:
    return 4;
  case GgufKind::u64:
  case GgufKind::i64:
  case GgufKind::f64:
    return 8;
  default:
    return 0;
  }
}

} // namespace

/// One pass over the header, through a buffer. All positions are bytes of the file.
class GgufReader {
public:
  explicit GgufReader(GgufFile &file) : file_(file), source_(*file.source_) {}

  Error run() {
    if (Error error = readCounts())
      return error;
    for (uint64_t i = 0; i < nKeys_; ++i)
      if (Error error = readKey(i))
        return error;
    if (Error error = findAlignment())
      return error;
    for (uint64_t i = 0; i < nTensors_; ++i)
      if (Error error = readTensor(i))
        return error;
    return findData();
  }

private:
  uint64_t remaining() const { return source_.size() - at_; }
  /// For a number that would be fine in a longer file.
  static const char *cutOff(bool fine) { return fine ? "; the file may be cut off" : ""; }
  std::string here() const { return (source_.name() + ": byte " + Twine(at_) + ": ").str(); }

  Error bytes(void *out, size_t n, const char *what) {
    if (n > remaining())
      return failure(here() + "expected " + what + " (" + Twine(n) + " bytes), got the end of the file");
    if (at_ < bufferAt_ || at_ + n > bufferAt_ + buffer_.size()) {
      if (n >= kBuffer) { // long payloads go straight to their place
        if (Error error = source_.read(at_, out, n))
          return error;
        at_ += n;
        return Error::success();
      }
      buffer_.resize(size_t(std::min<uint64_t>(kBuffer, remaining())));
      bufferAt_ = at_;
      if (Error error = source_.read(at_, buffer_.data(), buffer_.size()))
        return error;
    }
    if (n > 0)
      std::memcpy(out, buffer_.data() + (at_ - bufferAt_), n);
    at_ += n;
    return Error::success();
  }

  template <typename T> Error number(T &out, const char *what) { return bytes(&out, sizeof out, what); }

  Error string(std::string &out, const char *what, uint64_t limit) {
    uint64_t length = 0;
    if (Error error = number(length, what))
      return error;
    if (length > remaining() || length > limit)
      return failure(here() + what + ": expected at most " + Twine(std::min(limit, remaining())) +
                     " bytes, got " + Twine(length) + cutOff(length <= limit));
    out.resize(size_t(length));
    return bytes(out.data(), out.size(), what);
  }

  Error readCounts() {
    char magic[4] = {};
    if (Error error = bytes(magic, 4, "the magic 'GGUF'"))
      return error;
    if (std::memcmp(magic, "GGUF", 4) != 0)
      return failure(source_.name() + ": byte 0: expected the magic 'GGUF', got " +
                     quoted(StringRef(magic, 4)));
    if (Error error = number(file_.version_, "the version"))
      return error;
    uint32_t version = file_.version_;
    if (version != 0 && (version & 0xffff) == 0)
      return failure(source_.name() + ": byte 4: expected a little-endian file, got a big-endian one");
    if (version != 2 && version != 3)
      return failure(source_.name() + ": byte 4: expected GGUF version 2 or 3, got " + Twine(version) +
                     (version == 1 ? "; version 1 has 32-bit lengths, convert the model again" : ""));
    if (Error error = number(nTensors_, "the number of tensors"))
      return error;
    if (Error error = number(nKeys_, "the number of keys"))
      return error;
    // The shortest tensor entry has 8+1+4+4+8 bytes, the shortest key/value 8+1+4+1.
    if (nTensors_ > std::min(kMaxTensors, remaining() / 25))
      return failure(
          source_.name() + ": byte 8: expected at most " + Twine(std::min(kMaxTensors, remaining() / 25)) +
          " tensors in a file of this size, got " + Twine(nTensors_) + cutOff(nTensors_ <= kMaxTensors));
    if (nKeys_ > std::min(kMaxKeys, remaining() / 14))
      return failure(source_.name() + ": byte 16: expected at most " +
                     Twine(std::min(kMaxKeys, remaining() / 14)) + " keys in a file of this size, got " +
                     Twine(nKeys_) + cutOff(nKeys_ <= kMaxKeys));
    return Error::success();
  }

  Error readKind(GgufKind &kind, const std::string &key) {
    uint32_t id = 0;
    if (Error error = number(id, "a value type"))
      return error;
    if (id > uint32_t(GgufKind::f64))
      return failure(here() + "key " + quoted(key) + ": expected a value type of 0..12, got " + Twine(id));
    kind = GgufKind(id);
    return Error::success();
  }

  Error readKey(uint64_t index) {
    std::string key;
    if (Error error = string(key, "a key", kMaxKeyBytes))
      return error;
    if (key.empty() || key.find('\0') != std::string::npos)
      return failure(here() + "key " + Twine(index) + ": expected a name without NUL bytes, got " +
                     quoted(key));
    GgufValue value;
    if (Error error = readKind(value.kind, key))
      return error;
    if (value.kind == GgufKind::array) {
      if (Error error = readArray(value, key))
        return error;
    } else if (value.kind == GgufKind::string) {
      if (Error error = string(value.bytes, "a string value", kMaxArrayBytes))
        return error;
    } else if (Error error = bytes(&value.bits, kindBytes(value.kind), "a value")) {
      return error;
    }
    if (!file_.values_.emplace(key, std::move(value)).second)
      return failure(here() + "key " + quoted(key) + ": expected it once, got it twice");
    return Error::success();
  }

  Error readArray(GgufValue &value, const std::string &key) {
    if (Error error = readKind(value.element, key))
      return error;
    if (value.element == GgufKind::array)
      return failure(here() + "key " + quoted(key) +
                     ": expected an array of numbers or strings, got nested arrays");
    if (Error error = number(value.count, "an array length"))
      return error;
    bool ofStrings = value.element == GgufKind::string;
    uint64_t width = ofStrings ? 8 : kindBytes(value.element);
    const uint64_t most = ofStrings ? kMaxArrayStrings : kMaxArrayBytes / width;
    if (value.count > std::min(remaining() / width, most))
      return failure(here() + "key " + quoted(key) + ": expected at most " +
                     Twine(std::min(remaining() / width, most)) + " elements, got " + Twine(value.count) +
                     cutOff(value.count <= most));
    if (!ofStrings) {
      value.bytes.resize(size_t(value.count * width));
      return bytes(value.bytes.data(), value.bytes.size(), "array elements");
    }
    value.strings.resize(size_t(value.count));
    for (std::string &element : value.strings)
      if (Error error = string(element, "an array element", kMaxArrayBytes))
        return error;
    return Error::success();
  }

  Error findAlignment() {
    const GgufValue *value = file_.find("general.alignment");
    if (!value)
      return Error::success();
    if (value->kind != GgufKind::u32)
      return file_.wrongKind("general.alignment", "u32");
    uint64_t alignment = file_.alignment_ = value->bits;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0)
      return failure(source_.name() + ": key 'general.alignment': expected a power of two, got " +
                     Twine(alignment));
    return Error::success();
  }

  Error readTensor(uint64_t index) {
    GgufTensor tensor;
    if (Error error = string(tensor.name, "a tensor name", kMaxTensorName))
      return error;
    if (tensor.name.empty() || tensor.name.find('\0') != std::string::npos)
      return failure(here() + "tensor " + Twine(index) + ": expected a name without NUL bytes, got " +
                     quoted(tensor.name));
    std::string who = "tensor " + quoted(tensor.name) + ": ";
    tensor.file = file_.source_;
    uint32_t nDims = 0;
    if (Error error = number(nDims, "the number of dimensions"))
      return error;
    if (nDims > 4)
      return failure(here() + who + "expected at most 4 dimensions, got " + Twine(nDims));
    tensor.dims.resize(nDims);
    if (Error error = bytes(tensor.dims.data(), nDims * sizeof(uint64_t), "dimensions"))
      return error;
    if (Error error = number(tensor.typeId, "a tensor type"))
      return error;
    if (Error error = number(tensor.offset, "a tensor offset"))
      return error;
    if (!ggufType(tensor.typeId))
      return failure(source_.name() + ": " + who + "expected a type whose size is known, got " +
                     ggufTypeText(tensor.typeId));
    uint64_t elements = 1;
    for (uint64_t dim : tensor.dims)
      if (dim == 0 || __builtin_mul_overflow(elements, dim, &elements))
        return failure(source_.name() + ": " + who +
                       "expected positive dimensions whose product fits 64 bits, got " +
                       ggufShape(tensor.dims));
    if (!file_.byName_.emplace(tensor.name, file_.tensors_.size()).second)
      return failure(source_.name() + ": " + who + "expected it once, got it twice");
    file_.tensors_.push_back(std::move(tensor));
    return Error::success();
  }

  /// Turns relative offsets into file offsets and checks their alignment.
  Error findData() {
    const uint64_t alignment = file_.alignment_, start = (at_ + (alignment - 1)) / alignment * alignment;
    if (!file_.tensors_.empty() && start > source_.size())
      return failure(source_.name() + ": byte " + Twine(at_) + ": expected tensor data at byte " +
                     Twine(start) + ", got the end of the file");
    for (GgufTensor &tensor : file_.tensors_) {
      std::string who = source_.name() + ": tensor " + quoted(tensor.name) + ": ";
      if (tensor.offset % alignment != 0)
        return failure(who + "expected an offset that is a multiple of " + Twine(alignment) + ", got " +
                       Twine(tensor.offset));
      if (tensor.offset > source_.size() - start)
        return failure(who + "expected data at offset " + Twine(tensor.offset) + ", got a data section of " +
                       Twine(source_.size() - start) + " bytes; the file may be cut off");
      tensor.offset += start;
      tensor.alignment = alignment;
    }
    return Error::success();
  }

  static constexpr size_t kBuffer = 1 << 20;
  GgufFile &file_;
  const ByteSource &source_;
  std::vector<char> buffer_;
  uint64_t bufferAt_ = 0, at_ = 0, nTensors_ = 0, nKeys_ = 0;
};

/// The tensors of all parts by their places: what their type numbers mean, and that each lies in its file and
/// on no other.
class GgufPlaces {
public:
  GgufPlaces(GgufFile &file, const GgufFile::Warn &warn) : file_(file), warn_(warn) {}

  Error run(const GgufTypeChoice &chosen) {
    for (GgufTensor &tensor : file_.tensors_)
      order_.push_back({&tensor, nullptr, 0});
    for (auto part = order_.begin(); part != order_.end();) { // each lies together
      auto end = std::find_if(part, order_.end(),
                              [&](const Place &p) { return p.tensor->file != part->tensor->file; });
      std::sort(part, end,
                [](const Place &a, const Place &b) { return a.tensor->offset < b.tensor->offset; });
      part = end;
    }
    for (size_t i = 0; i < order_.size(); ++i) {
      Place &place = order_[i];
      if (i + 1 < order_.size() && order_[i + 1].tensor->file == place.tensor->file)
        place.next = order_[i + 1].tensor;
      place.room = (place.next ? place.next->offset : place.tensor->file->size()) - place.tensor->offset;
    }
    if (Error error = findTypes(chosen))
      return error;
    return checkSizes();
  }

private:
  struct Place {
    GgufTensor *tensor;
    const GgufTensor *next; ///< in the same file
    uint64_t room;          ///< up to it, or to the end of the file
  };

  Error findTypes(const GgufTypeChoice &chosen) {
    std::map<uint32_t, std::vector<GgufSpan>> ambiguous;
    bool scales = false;
    for (const Place &place : order_) {
      GgufTensor &tensor = *place.tensor;
      tensor.type = ggufType(tensor.typeId);
      scales |= StringRef(tensor.name).ends_with(".weight_scale");
      if (ggufAmbiguous(tensor.typeId))
        ambiguous[tensor.typeId].push_back(
            {&tensor.name, tensor.dims, place.room, tensor.alignment, !place.next});
    }
    const GgufValue *arch = file_.find("general.architecture");
    StringRef name = arch && arch->kind == GgufKind::string ? StringRef(arch->bytes) : "";
    bool scalesApart = scales && (name.starts_with("bitnet") || name.starts_with("llama"));
    for (auto &[id, spans] : ambiguous) {
      auto choice = chosen.find(id);
      Expected<const GgufTypeInfo *> type =
          choice != chosen.end() ? choice->second : resolveGgufType(id, spans, scalesApart);
      if (!type)
        return failure(file_.name() + ": " + toString(type.takeError()));
      for (Place &place : order_)
        if (place.tensor->typeId == id)
          place.tensor->type = *type;
      const bool told = choice != chosen.end();
      std::string others;
      for (const GgufTypeInfo &other : ggufMeanings(id))
        if (told ? &other == *type : &other != *type)
          others += (others.empty() ? "--set ggml_type=" : " or ") + std::to_string(id) + ":" + other.name;
      file_.decisions_.push_back(
          {"type " + std::to_string(id), (*type)->name,
           told ? "set by the user"
                : "several programs gave that number to encodings of their own; the sizes of its " +
                      std::to_string(spans.size()) + " tensors are those of this one alone",
           others});
    }
    return Error::success();
  }

  Error checkSizes() {
    size_t gaps = 0;
    for (Place &place : order_) {
      GgufTensor &tensor = *place.tensor;
      const std::string who = tensor.file->name() + ": tensor " + quoted(tensor.name) + ": expected ";
      GgufSize size = ggufBytes(*tensor.type, tensor.dims);
      if (!size.wants.empty())
        return failure(who + size.wants + " for " + tensor.type->name + ", got " + ggufShape(tensor.dims));
      if (size.bytes > place.room)
        return failure(who + Twine(size.bytes) + " bytes of " + tensor.type->name + ", got " +
                       Twine(place.room) +
                       (place.next ? " before tensor " + quoted(place.next->name)
                                   : std::string(" before the end of the file, which may be cut off")));
      tensor.bytes = size.bytes;
      gaps += place.next && place.room - size.bytes >= tensor.alignment;
    }
    if (gaps > 0 && warn_)
      warn_((file_.name() + ": " + Twine(gaps) + (gaps == 1 ? " unused gap" : " unused gaps") +
             " between tensors")
                .str());
    return Error::success();
  }

  GgufFile &file_;
  const GgufFile::Warn &warn_;
  std::vector<Place> order_; ///< by file and offset
};

Error GgufFile::append(GgufFile part) {
  for (GgufTensor &tensor : part.tensors_) {
    auto [place, isNew] = byName_.emplace(tensor.name, tensors_.size());
    if (!isNew)
      return failure(part.name() + ": tensor " + quoted(tensor.name) + ": expected it once, got it in " +
                     tensors_[place->second].file->name() + " too");
    tensors_.push_back(std::move(tensor));
  }
  ++parts_;
  return Error::success();
}

Expected<GgufFile> GgufFile::read(std::vector<std::shared_ptr<ByteSource>> sources, const Warn &warn,
                                  const GgufTypeChoice &chosen) {
  std::vector<GgufFile> parts(sources.size());
  for (size_t i = 0; i < sources.size(); ++i) {
    parts[i].source_ = std::move(sources[i]);
    if (Error error = GgufReader(parts[i]).run())
      return error;
  }
  if (Error error = checkSplit(parts))
    return error;
  GgufFile whole = std::move(parts.at(0));
  for (size_t i = 1; i < parts.size(); ++i)
    if (Error error = whole.append(std::move(parts[i])))
      return error;
  if (Error error = GgufPlaces(whole, warn).run(chosen))
    return error;
  return whole;
}

} // namespace bitnet::import
