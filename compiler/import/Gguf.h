// The GGUF container, versions 2 and 3, as hostile input: typed key/values and a checked tensor table. It
// knows how many bytes a tensor of a type has and that they lie inside the file; what they mean is for the
// codecs, and what model they make up is for GgufCheckpoint.
#pragma once
#include "compiler/import/ByteSource.h"
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace bitnet::import {

enum class GgufKind : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
const char *ggufKindName(GgufKind kind);

/// One metadata value. Numbers keep their kind; nested arrays do not exist.
struct GgufValue {
  GgufKind kind = GgufKind::u8;
  GgufKind element = GgufKind::u8;  ///< of an array
  uint64_t count = 1;               ///< elements
  std::string bytes;                ///< string: the text; array of numbers: the elements as in the file
  uint64_t bits = 0;                ///< number: its bytes, zero-extended
  std::vector<std::string> strings; ///< array of strings
};

/// Numbers of ggml_type that this reader can measure; others are refused by name.
struct GgufTypeInfo {
  uint32_t id;
  const char *name;
  uint32_t block;      ///< elements of a block; ne0 is a multiple
  uint32_t blockBytes; ///< bytes of a block
  uint32_t tailBytes;  ///< bytes after the last block (I2_S: the scale)
};
enum : uint32_t { kGgmlF32 = 0, kGgmlF16 = 1, kGgmlBF16 = 30, kGgmlTQ1 = 34, kGgmlTQ2 = 35, kGgmlI2S = 36 };
/// nullptr for a type whose size is unknown.
const GgufTypeInfo *ggufType(uint32_t id);

struct GgufTensor {
  std::string name;
  std::vector<uint64_t> dims; ///< ggml order, innermost first; 0 to 4 of them, none zero
  const GgufTypeInfo *type = nullptr;
  uint64_t offset = 0; ///< from the start of the file
  uint64_t bytes = 0;  ///< offset + bytes <= file size, no overlap with another tensor
};

class GgufFile {
public:
  using Warn = std::function<void(const std::string &)>;
  static llvm::Expected<GgufFile> read(std::shared_ptr<ByteSource> source, const Warn &warn);

  const std::shared_ptr<ByteSource> &source() const { return source_; }
  const std::string &name() const { return source_->name(); }
  uint32_t version() const { return version_; }
  const std::vector<GgufTensor> &tensors() const { return tensors_; } ///< in file order
  const GgufTensor *tensor(const std::string &name) const;
  const GgufValue *find(const std::string &key) const;
  const std::map<std::string, GgufValue> &values() const { return values_; }

  // Typed access: absent gives nullopt (or an empty vector), another kind gives an error that names the key.
  llvm::Expected<std::optional<std::string>> text(const std::string &key) const;
  llvm::Expected<std::optional<bool>> boolean(const std::string &key) const;
  /// Any integer kind, or an array of them that are all equal (some writers give a value per layer).
  llvm::Expected<std::optional<int64_t>> integer(const std::string &key) const;
  /// f32, f64 or any integer kind.
  llvm::Expected<std::optional<double>> number(const std::string &key) const;
  llvm::Expected<std::vector<std::string>> strings(const std::string &key) const;
  llvm::Expected<std::vector<int32_t>> integers(const std::string &key) const;
  llvm::Expected<std::vector<float>> floats(const std::string &key) const;

private:
  friend class GgufReader;
  llvm::Error wrongKind(const std::string &key, const char *expected) const;

  std::shared_ptr<ByteSource> source_;
  uint32_t version_ = 0;
  std::map<std::string, GgufValue> values_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t> byName_;
};

} // namespace bitnet::import
