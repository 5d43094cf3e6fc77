// The SafeTensors container as hostile input: a JSON header and data that it tiles exactly. And the index of
// a sharded checkpoint, whose values are plain names of files in the same folder.
#pragma once
#include "compiler/import/ByteSource.h"
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace bitnet::import {

struct SafeTensor {
  std::string name;
  std::string dtype; ///< "BF16", "U8", ...
  std::vector<uint64_t> shape;
  uint64_t offset = 0; ///< from the start of the file; not aligned for the dtype
  uint64_t bytes = 0;  ///< offset + bytes <= file size
};

class SafeTensorsFile {
public:
  static llvm::Expected<SafeTensorsFile> read(std::shared_ptr<ByteSource> source);
  const std::shared_ptr<ByteSource> &source() const { return source_; }
  const std::map<std::string, SafeTensor> &tensors() const { return tensors_; }

private:
  std::shared_ptr<ByteSource> source_;
  std::map<std::string, SafeTensor> tensors_;
};

/// model.safetensors.index.json: tensor name to shard file name, each checked to be a plain file name.
llvm::Expected<std::map<std::string, std::string>>
parseShardIndex(const std::string &text, const std::string &where,
                const std::function<void(const std::string &)> &warn);

/// folder/file, refused unless it lies in that folder after symbolic links are followed. One exception: the
/// hub client's cache, where snapshots/REVISION/file is a link into the blobs folder of the same model.
llvm::Expected<std::string> plainFileIn(const std::string &folder, const std::string &file);

} // namespace bitnet::import
