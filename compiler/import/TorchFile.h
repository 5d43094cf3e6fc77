// A file of torch.save as hostile input: named tensors and where their bytes lie. Two containers, the ZIP
// archive of torch 1.6 and later and the stream of pickles before it; in both a pickle lists the tensors and
// plain little-endian storages hold the values. The pickle is read by a machine of its own that knows a dozen
// of names (TorchPickle.cpp) and calls nothing. Knows nothing of models.
#pragma once
#include "compiler/import/ByteSource.h"
#include <map>
#include <string>
#include <vector>

namespace bitnet::import {

/// Element types of torch's storages.
enum class TorchType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };
unsigned torchBytes(TorchType type);
/// "bf16", "int8", ...
const char *torchTypeName(TorchType type);

/// An array of elements that tensors look into.
struct TorchStorage {
  std::string key;
  TorchType type = TorchType::f32;
  uint64_t elements = 0;
  uint64_t offset = 0; ///< from the start of the file; elements * torchBytes(type) bytes lie inside the file
};

/// A view of a storage; every element of it lies inside the storage.
struct TorchTensor {
  std::string name;
  uint32_t storage = 0;                 ///< index in TorchFile::storages()
  uint64_t offset = 0;                  ///< of the first element, in elements of the storage
  std::vector<uint64_t> shape, strides; ///< strides in elements

  uint64_t elements() const;
  /// Row-major without gaps: elements() elements from `offset` on.
  bool contiguous() const;
};

class TorchFile {
public:
  static llvm::Expected<TorchFile> read(std::shared_ptr<ByteSource> source);
  const std::shared_ptr<ByteSource> &source() const { return source_; }
  const std::vector<TorchStorage> &storages() const { return storages_; }
  /// Of the dictionary that was saved, by key.
  const std::map<std::string, TorchTensor> &tensors() const { return tensors_; }
  /// Keys of the dictionary whose values are no tensors.
  const std::vector<std::string> &others() const { return others_; }
  /// "zip" or "legacy".
  const char *container() const { return container_; }

private:
  std::shared_ptr<ByteSource> source_;
  std::vector<TorchStorage> storages_;
  std::map<std::string, TorchTensor> tensors_;
  std::vector<std::string> others_;
  const char *container_ = "";
};

} // namespace bitnet::import
