// An open bundle: mapped, validated, its kernels loaded for this CPU. Immutable after open, so any number of
// sessions and threads may share it; it must outlive them.
#pragma once
#include "runtime/base/file_map.h"
#include "runtime/bundle/bundle.h"
#include "runtime/bundle/image.h"
#include "runtime/tokenizer/tokenizer.h"
#include <memory>
#include <string>
#include <vector>

namespace bitnet::runtime {

class Model {
public:
  /// forced_cpu: variant name, or empty for BITNET_CPU or else the best one.
  static Result<std::unique_ptr<const Model>> open(const std::string &path, const std::string &forced_cpu);

  const Bundle &bundle() const { return bundle_; }
  format::CpuVariant variant() const { return bundle_.images[image_index_].variant; }
  /// nullptr if the bundle has no tokenizer section.
  const Tokenizer *tokenizer() const { return tokenizer_.impl.get(); }
  const bitnet_tokenizer &c_tokenizer() const { return tokenizer_; }
  /// Jinja source; empty if there is none.
  const std::string &chat_template() const { return chat_template_; }
  /// The code of kernel `id`.
  format::KernelFn kernel(uint32_t id) const { return kernels_[id]; }

  const std::string &path() const { return path_; }
  /// Weight bytes that one decoded token reads.
  uint64_t bytes_per_token() const { return bytes_per_token_; }
  /// Cache bytes that one position takes.
  uint64_t kv_bytes_per_token() const;
  /// JSON of everything (bitnet_model_describe).
  const std::string &description() const { return description_; }

private:
  Model() = default;
  Status load(const std::string &forced_cpu);
  std::string path_;
  Mapping file_;
  Bundle bundle_; // points into file_
  size_t image_index_ = 0;
  LoadedImage image_;
  std::vector<format::KernelFn> kernels_; // into image_
  bitnet_tokenizer tokenizer_;            // as the C interface hands it out
  std::string chat_template_;
  uint64_t bytes_per_token_ = 0;
  std::string description_;
};

} // namespace bitnet::runtime

/// What the C interface hands out.
struct bitnet_model {
  std::unique_ptr<const bitnet::runtime::Model> impl;
};
