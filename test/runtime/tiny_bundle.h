// A small valid bundle made without any compiler, for tests of the runtime. Its kernels (tiny_kernels.cpp) do
// simple exact arithmetic whose result tells which tokens, positions and blocks they saw:
//   logits(row)[n] = (token + Σ tokens of the row's sequence up to and with the row) * 512 + n
// The plan has one call of each kind of argument: embed, rope, kv_append, attention, add, gather_rows,
// linear_f16.
#pragma once
#include "runtime/bundle/bundle.h"
#include <functional>
#include <string>
#include <vector>

namespace bitnet::test {

struct TinySizes {
  int32_t width = 64, vocab = 300, context = 200, max_rows = 5;
};

/// Change fields, then write. Sections' and images' Bytes are not used: payloads holds their content.
struct TinyBundle {
  explicit TinyBundle(const TinySizes &sizes = {});
  runtime::Bundle bundle;
  struct Payload {
    runtime::SectionKind kind;
    std::string bytes;
  };
  std::vector<Payload> payloads;       ///< in file order
  std::vector<uint32_t> image_section; ///< [images] index into payloads
  /// If set: may change what the index says of section i.
  std::function<void(size_t i, uint64_t *offset, uint64_t *size)> move_section;

  runtime::Call &call(format::Op op);
  /// Gives the head a screen (its kernels fail: tiny_entry).
  void add_screen();
  /// The FlatBuffers index; sections as laid out by file().
  std::string index() const;
  /// The whole .bnx.
  std::string file() const;
};

/// The file with `index` in place of its own, sealed.
std::string with_index(const TinyBundle &bundle, const std::string &index);

/// Makes the header's own checksum right again.
void seal_header(std::string *file);
/// Makes all checksums (and the file size) of damaged bytes right again where they can be found, so that a
/// validator gets to look deeper.
void reseal(std::string *file);

/// Expected logits(row)[n]; token_sum is the sum of the sequence up to and with the row.
inline float tiny_logit(int32_t token, int32_t token_sum, int32_t n) {
  return float((token + token_sum) * 512 + n);
}

/// Writes bytes to a file of its own in the test's temporary folder and returns the path.
std::string write_file(const std::string &name, const std::string &bytes);

} // namespace bitnet::test
