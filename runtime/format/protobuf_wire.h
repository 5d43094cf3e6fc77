// Reads the wire format of protocol buffers field by field, never past the end, whatever the bytes are. For
// the few fields of a SentencePiece ModelProto that importer and runtime must look at themselves; not a
// protobuf library.
#pragma once
#include <cstdint>
#include <string_view>

namespace bitnet::format {

class ProtobufReader {
public:
  explicit ProtobufReader(std::string_view bytes) : rest_(bytes) {}

  /// Steps to the next field; false at the end and when the bytes are malformed (then ok() is false).
  bool next() {
    uint64_t key = 0;
    if (rest_.empty() || !varint(&key))
      return false;
    field_ = static_cast<uint32_t>(key >> 3);
    type_ = static_cast<uint32_t>(key & 7);
    value_ = 0;
    bytes_ = {};
    switch (type_) {
    case 0:
      return varint(&value_);
    case 1:
      return fixed(8);
    case 2: {
      uint64_t size = 0;
      if (!varint(&size))
        return false;
      if (size > rest_.size())
        return fail();
      bytes_ = rest_.substr(0, size);
      rest_.remove_prefix(size);
      return true;
    }
    case 5:
      return fixed(4);
    default: // groups: no writer of these files makes them
      return fail();
    }
  }
  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  bool is_varint() const { return type_ == 0; }
  bool is_fixed32() const { return type_ == 5; }
  bool is_bytes() const { return type_ == 2; }
  uint64_t value() const { return value_; }         ///< varint, fixed32, fixed64
  std::string_view bytes() const { return bytes_; } ///< length-delimited: string, bytes, message

private:
  bool fail() {
    ok_ = false;
    return false;
  }
  bool varint(uint64_t *value) {
    uint64_t v = 0;
    for (uint32_t shift = 0; shift < 70; shift += 7) { // 64 bits take at most 10 bytes
      if (rest_.empty())
        return fail();
      const auto byte = static_cast<uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      v |= shift < 64 ? static_cast<uint64_t>(byte & 0x7F) << shift : 0;
      if (!(byte & 0x80)) {
        *value = v;
        return true;
      }
    }
    return fail();
  }
  bool fixed(uint32_t size) {
    if (rest_.size() < size)
      return fail();
    for (uint32_t i = 0; i < size; ++i)
      value_ |= static_cast<uint64_t>(static_cast<uint8_t>(rest_[i])) << (8 * i);
    rest_.remove_prefix(size);
    return true;
  }

  std::string_view rest_, bytes_;
  uint64_t value_ = 0;
  uint32_t field_ = 0, type_ = 0;
  bool ok_ = true;
};

} // namespace bitnet::format
