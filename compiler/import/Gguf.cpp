// Parsing the GGUF header. Every count is held against the bytes that are left before anything is allocated
// for it.
#include "compiler/import/Gguf.h"
#include "compiler/import/ImportError.h"
#include <algorithm>
#include <cstring>
#include <set>

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr uint64_t kMaxKeys = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kMaxKeyBytes = 65535;       // the format's own limit
constexpr uint64_t kMaxTensorName = 63;        // ggml's own limit
constexpr uint64_t kMaxArrayStrings = 1 << 22; // a vocabulary has 2^18, its merges twice that
constexpr uint64_t kMaxArrayBytes = 1 << 28;
constexpr uint64_t kDefaultAlignment = 32;

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

const char *refusedTypeName(uint32_t id) {
  switch (id) {
  case 38:
    return "TL1 (made for one device; convert from the Hugging Face files instead)";
  case 39:
    return "TL2 or MXFP4";
  case 40:
    return "NVFP4 or an early Q1_0";
  case 41:
    return "Q1_0 or TL1";
  case 42:
    return "Q2_0 or TL2";
  case 134:
  case 135:
  case 335:
    return "IQ1_BN/IQ2_BN of ik_llama.cpp";
  case 142:
    return "PQ2_0";
  case 143:
    return "PTQ1_0";
  default:
    return "unknown";
  }
}

} // namespace

/// One pass over the header, through a buffer. All positions are bytes of the file.
class GgufReader {
public:
  GgufReader(GgufFile &file, const GgufFile::Warn &warn) : file_(file), source_(*file.source_), warn_(warn) {}

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
    return placeTensors();
  }

private:
  uint64_t remaining() const { return source_.size() - at_; }
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
                     " bytes, got " + Twine(length));
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
      return failure(source_.name() + ": byte 8: expected at most " +
                     Twine(std::min(kMaxTensors, remaining() / 25)) +
                     " tensors in a file of this size, got " + Twine(nTensors_));
    if (nKeys_ > std::min(kMaxKeys, remaining() / 14))
      return failure(source_.name() + ": byte 16: expected at most " +
                     Twine(std::min(kMaxKeys, remaining() / 14)) + " keys in a file of this size, got " +
                     Twine(nKeys_));
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
    uint64_t limit = std::min(remaining() / width, ofStrings ? kMaxArrayStrings : kMaxArrayBytes / width);
    if (value.count > limit)
      return failure(here() + "key " + quoted(key) + ": expected at most " + Twine(limit) +
                     " elements, got " + Twine(value.count));
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
    alignment_ = value->bits;
    if (alignment_ == 0 || (alignment_ & (alignment_ - 1)) != 0)
      return failure(source_.name() + ": key 'general.alignment': expected a power of two, got " +
                     Twine(alignment_));
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
    uint32_t nDims = 0, type = 0;
    if (Error error = number(nDims, "the number of dimensions"))
      return error;
    if (nDims > 4)
      return failure(here() + who + "expected at most 4 dimensions, got " + Twine(nDims));
    tensor.dims.resize(nDims);
    if (Error error = bytes(tensor.dims.data(), nDims * sizeof(uint64_t), "dimensions"))
      return error;
    if (Error error = number(type, "a tensor type"))
      return error;
    if (Error error = number(tensor.offset, "a tensor offset"))
      return error;
    tensor.type = ggufType(type);
    if (!tensor.type)
      return failure(source_.name() + ": " + who +
                     "expected f32, f16, bf16, i2_s, tq1_0 or tq2_0, got type " + Twine(type) + " (" +
                     refusedTypeName(type) + ")");
    uint64_t elements = 1;
    for (uint64_t dim : tensor.dims)
      if (dim == 0 || __builtin_mul_overflow(elements, dim, &elements))
        return failure(source_.name() + ": " + who +
                       "expected dimensions that are positive and fit 64 bits, got " + Twine(dim) +
                       " among them");
    uint64_t inner = tensor.dims.empty() ? 1 : tensor.dims[0];
    if (inner % tensor.type->block != 0)
      return failure(source_.name() + ": " + who + "expected rows of a multiple of " +
                     Twine(tensor.type->block) + " for " + tensor.type->name + ", got " + Twine(inner));
    if (__builtin_mul_overflow(elements / tensor.type->block, uint64_t(tensor.type->blockBytes),
                               &tensor.bytes) ||
        __builtin_add_overflow(tensor.bytes, uint64_t(tensor.type->tailBytes), &tensor.bytes))
      return failure(source_.name() + ": " + who + "expected a size that fits 64 bits, got " +
                     Twine(elements) + " elements");
    if (!file_.byName_.emplace(tensor.name, file_.tensors_.size()).second)
      return failure(source_.name() + ": " + who + "expected it once, got it twice");
    file_.tensors_.push_back(std::move(tensor));
    return Error::success();
  }

  /// Turns relative offsets into file offsets, in any order of the table, and checks alignment, bounds and
  /// overlap.
  Error placeTensors() {
    uint64_t start = at_ + (alignment_ - 1);
    start -= start % alignment_;
    if (!file_.tensors_.empty() && start > source_.size())
      return failure(source_.name() + ": byte " + Twine(at_) + ": expected tensor data at byte " +
                     Twine(start) + ", got the end of the file");
    std::vector<const GgufTensor *> byOffset;
    for (GgufTensor &tensor : file_.tensors_) {
      std::string who = source_.name() + ": tensor " + quoted(tensor.name) + ": ";
      if (tensor.offset % alignment_ != 0)
        return failure(who + "expected an offset that is a multiple of " + Twine(alignment_) + ", got " +
                       Twine(tensor.offset));
      uint64_t space = source_.size() - start;
      if (tensor.offset > space || tensor.bytes > space - tensor.offset)
        return failure(who + "expected " + Twine(tensor.bytes) + " bytes of data at offset " +
                       Twine(tensor.offset) + ", got a data section of " + Twine(space) +
                       " bytes; the file may be cut off");
      tensor.offset += start;
      byOffset.push_back(&tensor);
    }
    std::sort(byOffset.begin(), byOffset.end(),
              [](const GgufTensor *a, const GgufTensor *b) { return a->offset < b->offset; });
    uint64_t holes = 0;
    for (size_t i = 1; i < byOffset.size(); ++i) {
      const GgufTensor &before = *byOffset[i - 1], &after = *byOffset[i];
      uint64_t end = before.offset + before.bytes;
      if (end > after.offset)
        return failure(source_.name() + ": tensor " + quoted(before.name) + ": expected " +
                       Twine(before.bytes) + " bytes of " + before.type->name + ", got " +
                       Twine(after.offset - before.offset) + " before tensor " + quoted(after.name) +
                       (before.type->id == kGgmlI2S ? "; not the i2_s of microsoft/BitNet" : ""));
      holes += after.offset - end >= alignment_;
    }
    if (holes > 0 && warn_)
      warn_((source_.name() + ": " + Twine(holes) + " unused gaps between tensors").str());
    return Error::success();
  }

  static constexpr size_t kBuffer = 1 << 20;
  GgufFile &file_;
  const ByteSource &source_;
  const GgufFile::Warn &warn_;
  std::vector<char> buffer_;
  uint64_t bufferAt_ = 0, at_ = 0, nTensors_ = 0, nKeys_ = 0, alignment_ = kDefaultAlignment;
};

Expected<GgufFile> GgufFile::read(std::shared_ptr<ByteSource> source, const Warn &warn) {
  GgufFile file;
  file.source_ = std::move(source);
  if (Error error = GgufReader(file, warn).run())
    return error;
  return file;
}

} // namespace bitnet::import
