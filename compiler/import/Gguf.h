// The GGUF container, versions 2 and 3, in one file or split into several, as hostile input: typed key/values
// and a checked tensor table. It knows which encoding a tensor has, how many bytes that are and that they lie
// inside the file; what they mean is for the codecs, and what model they make up is for GgufCheckpoint.
#pragma once
#include "compiler/import/ByteSource.h"
#include "compiler/import/Checkpoint.h"
#include "compiler/import/GgufTypes.h"
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

struct GgufTensor {
  std::string name;
  std::vector<uint64_t> dims; ///< ggml order, innermost first; 0 to 4 of them, none zero
  uint32_t typeId = 0;        ///< as in the file
  const GgufTypeInfo *type = nullptr;
  std::shared_ptr<ByteSource> file; ///< of a split file, the part that holds it
  uint64_t offset = 0;              ///< from the start of that file
  uint64_t bytes = 0;               ///< offset + bytes <= file size, no overlap with another tensor
  uint64_t alignment = 0;           ///< of offsets in that file
};

class GgufFile {
public:
  using Warn = std::function<void(const std::string &)>;
  /// All parts of a split file in their order, or the one file. `chosen` overrules the sizes of tensors.
  static llvm::Expected<GgufFile> read(std::vector<std::shared_ptr<ByteSource>> parts, const Warn &warn,
                                       const GgufTypeChoice &chosen = {});
  static llvm::Expected<GgufFile> read(std::shared_ptr<ByteSource> source, const Warn &warn) {
    return read(std::vector<std::shared_ptr<ByteSource>>{std::move(source)}, warn);
  }

  const std::string &name() const { return source_->name(); } ///< of the first part
  uint32_t version() const { return version_; }
  size_t parts() const { return parts_; }
  const std::vector<GgufTensor> &tensors() const { return tensors_; } ///< in file order
  /// What ambiguous type numbers turned out to mean.
  const std::vector<Decision> &decisions() const { return decisions_; }
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
  friend class GgufPlaces;
  llvm::Error wrongKind(const std::string &key, const char *expected) const;
  /// split.no, split.count and split.tensors.count of a part against those of the others (GgufSplit.cpp).
  static llvm::Error checkSplit(const std::vector<GgufFile> &parts);
  /// Takes the tensors of a later part.
  llvm::Error append(GgufFile part);

  std::shared_ptr<ByteSource> source_;
  uint32_t version_ = 0;
  size_t parts_ = 1;
  uint64_t alignment_ = 32;
  std::map<std::string, GgufValue> values_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t> byName_;
  std::vector<Decision> decisions_;
};

/// The file of that path, and if its name is that of a part ("NAME-00002-of-00003.gguf"), all parts, which
/// lie beside it.
llvm::Expected<GgufFile> openGguf(const std::string &path, const GgufFile::Warn &warn,
                                  const GgufTypeChoice &chosen = {});
/// Names of all parts of the set that this file name belongs to, in their order; empty if it is no name of a
/// part.
std::vector<std::string> ggufSplitNames(llvm::StringRef fileName);

} // namespace bitnet::import
