// What the number of a tensor's type in a GGUF file means. Several programs gave one number to different
// encodings, so a number may have several meanings here, and which one a file uses follows from the sizes of
// all tensors that carry it.
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace bitnet::import {

/// One meaning of a number, as far as sizes go: those of the codec of that name, or if there is none, of
/// blocks within a row.
struct GgufTypeInfo {
  uint32_t id;
  const char *name;
  uint32_t block = 0, blockBytes = 0; ///< elements and bytes; of types without a codec
};
enum : uint32_t { kGgmlF32 = 0, kGgmlF16 = 1, kGgmlBF16 = 30, kGgmlTQ1 = 34, kGgmlTQ2 = 35, kGgmlI2S = 36 };

/// All meanings of a number, the likeliest first; empty for one that is unknown.
llvm::ArrayRef<GgufTypeInfo> ggufMeanings(uint32_t id);
/// The meaning of that name ("pq2_0"), or nullptr.
const GgufTypeInfo *ggufMeaning(uint32_t id, llvm::StringRef name);
/// The first meaning, or nullptr.
const GgufTypeInfo *ggufType(uint32_t id);
/// Whether other encodings than the first one were written under this number, known here or not.
bool ggufAmbiguous(uint32_t id);
/// "f32", "type 37 (i8_s: activations, never in files)": for messages about a number without a meaning.
std::string ggufTypeText(uint32_t id);

/// "[rows, cols]" of dimensions in ggml order.
std::string ggufShape(llvm::ArrayRef<uint64_t> dims);
/// Bytes of a tensor of these dimensions (ggml order, none zero), or what the encoding wants instead.
struct GgufSize {
  uint64_t bytes = 0;
  std::string wants; ///< "a multiple of 128 columns"; empty: bytes counts
};
GgufSize ggufBytes(const GgufTypeInfo &type, llvm::ArrayRef<uint64_t> dims);

/// A tensor whose number is to be understood.
struct GgufSpan {
  const std::string *name;
  llvm::ArrayRef<uint64_t> dims;
  uint64_t room;      ///< bytes up to the next tensor, or to the end of the file
  uint64_t alignment; ///< of its file
  bool last;          ///< no tensor follows in its file
};
/// The one meaning of an ambiguous number that has the size of every tensor which carries it; none or two are
/// an error that lists what was tried. `scalesApart`: the file looks like one of microsoft's TL converter, so
/// tl1 and tl2 are preferred where others fit too; without that they are the last choice.
llvm::Expected<const GgufTypeInfo *> resolveGgufType(uint32_t id, llvm::ArrayRef<GgufSpan> tensors,
                                                     bool scalesApart);

/// Meanings that the user chose: --set ggml_type=42:pq2_0.
using GgufTypeChoice = std::map<uint32_t, const GgufTypeInfo *>;

} // namespace bitnet::import
