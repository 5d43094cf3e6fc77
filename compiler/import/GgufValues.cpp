// Typed access to what the GGUF reader found. A value of another kind than asked for is an error here: that a
// "scores" array may hold bytes instead of floats is the oldest trap of the format.
#include "compiler/import/Gguf.h"
#include "compiler/import/ImportError.h"
#include <cstring>
#include <limits>

using namespace llvm;

namespace bitnet::import {

const char *ggufKindName(GgufKind kind) {
  static const char *names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                "bool", "string", "array", "u64", "i64", "f64"};
  return names[uint32_t(kind)];
}

const GgufValue *GgufFile::find(const std::string &key) const {
  auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

const GgufTensor *GgufFile::tensor(const std::string &name) const {
  auto found = byName_.find(name);
  return found == byName_.end() ? nullptr : &tensors_[found->second];
}

Error GgufFile::wrongKind(const std::string &key, const char *expected) const {
  const GgufValue &value = values_.at(key);
  std::string got = ggufKindName(value.kind);
  if (value.kind == GgufKind::array)
    got = (Twine("array of ") + Twine(value.count) + " " + ggufKindName(value.element)).str();
  return failure(name() + ": key " + quoted(key) + ": expected " + expected + ", got " + got);
}

namespace {

/// The element at `from` of an integer kind; false for other kinds and for u64 values above the i64 range.
bool readInteger(GgufKind kind, const char *from, int64_t &out) {
  auto as = [from](auto type) {
    std::memcpy(&type, from, sizeof type);
    return type;
  };
  switch (kind) {
  case GgufKind::u8:
    out = as(uint8_t());
    return true;
  case GgufKind::i8:
    out = as(int8_t());
    return true;
  case GgufKind::u16:
    out = as(uint16_t());
    return true;
  case GgufKind::i16:
    out = as(int16_t());
    return true;
  case GgufKind::u32:
    out = as(uint32_t());
    return true;
  case GgufKind::i32:
    out = as(int32_t());
    return true;
  case GgufKind::u64:
    out = int64_t(as(uint64_t()));
    return out >= 0;
  case GgufKind::i64:
    out = as(int64_t());
    return true;
  default:
    return false;
  }
}

/// Elements of an array of numbers, or 0 when the value is something else.
size_t elementBytes(const GgufValue &value) {
  return value.kind == GgufKind::array && value.count > 0 && value.element != GgufKind::string
             ? value.bytes.size() / size_t(value.count)
             : 0;
}

} // namespace

Expected<std::optional<std::string>> GgufFile::text(const std::string &key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->kind != GgufKind::string)
    return wrongKind(key, "string");
  return value->bytes;
}

Expected<std::optional<bool>> GgufFile::boolean(const std::string &key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->kind != GgufKind::boolean)
    return wrongKind(key, "bool");
  return (value->bits & 0xff) != 0;
}

Expected<std::optional<int64_t>> GgufFile::integer(const std::string &key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  int64_t result = 0;
  if (size_t width = elementBytes(*value)) {
    for (uint64_t i = 0; i < value->count; ++i) {
      int64_t element = 0;
      if (!readInteger(value->element, value->bytes.data() + i * width, element))
        return wrongKind(key, "an integer");
      if (i > 0 && element != result)
        return failure(name() + ": key " + quoted(key) + ": expected one value for all layers, got " +
                       Twine(result) + " and " + Twine(element));
      result = element;
    }
    return result;
  }
  if (!readInteger(value->kind, reinterpret_cast<const char *>(&value->bits), result))
    return wrongKind(key, "an integer");
  return result;
}

Expected<std::optional<double>> GgufFile::number(const std::string &key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::nullopt;
  if (value->kind == GgufKind::f32) {
    float f;
    std::memcpy(&f, &value->bits, sizeof f);
    return double(f);
  }
  if (value->kind == GgufKind::f64) {
    double d;
    std::memcpy(&d, &value->bits, sizeof d);
    return d;
  }
  int64_t i = 0;
  if (!readInteger(value->kind, reinterpret_cast<const char *>(&value->bits), i))
    return wrongKind(key, "a number");
  return double(i);
}

Expected<std::vector<std::string>> GgufFile::strings(const std::string &key) const {
  const GgufValue *value = find(key);
  if (!value)
    return std::vector<std::string>();
  if (value->kind != GgufKind::array || value->element != GgufKind::string)
    return wrongKind(key, "array of string");
  return value->strings;
}

Expected<std::vector<int32_t>> GgufFile::integers(const std::string &key) const {
  std::vector<int32_t> result;
  const GgufValue *value = find(key);
  if (!value || (value->kind == GgufKind::array && value->count == 0))
    return result;
  size_t width = elementBytes(*value);
  for (uint64_t i = 0; i < value->count; ++i) {
    int64_t element = 0;
    if (width == 0 || !readInteger(value->element, value->bytes.data() + i * width, element) ||
        element < std::numeric_limits<int32_t>::min() || element > std::numeric_limits<int32_t>::max())
      return wrongKind(key, "array of i32");
    result.push_back(int32_t(element));
  }
  return result;
}

Expected<std::vector<float>> GgufFile::floats(const std::string &key) const {
  std::vector<float> result;
  const GgufValue *value = find(key);
  if (!value || (value->kind == GgufKind::array && value->count == 0))
    return result;
  if (value->kind != GgufKind::array || value->element != GgufKind::f32)
    return wrongKind(key, "array of f32");
  result.resize(size_t(value->count));
  std::memcpy(result.data(), value->bytes.data(), value->bytes.size());
  return result;
}

} // namespace bitnet::import
