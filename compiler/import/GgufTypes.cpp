// The table of type numbers and the rule for those with several meanings. Data offsets are contiguous up to
// the alignment, so the room of a tensor tells its encoding, unless a hole follows it; then the user must
// say. The numbers above 30 are of many hands: 31-33 and 36-38 were formats of ggml that it removed, 36-39
// those of microsoft's fork, 134-335 those of ik_llama.cpp, 142 and 143 those of PrismML. What is known of 40
// to 42 in the forks comes from reports of third parties, not from their source.
#include "compiler/import/GgufTypes.h"
#include "compiler/import/Codec.h"
#include "compiler/import/ImportError.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr char kTL1[] = "tl1", kTL2[] = "tl2"; // their scales are tensors of their own

/// Sorted by id.
const GgufTypeInfo types[] = {
    {0, "f32"},
    {1, "f16"},
    {2, "q4_0"},
    {3, "q4_1", 32, 20},
    {6, "q5_0", 32, 22},
    {7, "q5_1", 32, 24},
    {8, "q8_0"},
    {9, "q8_1", 32, 36},
    {10, "q2_k", 256, 84},
    {11, "q3_k", 256, 110},
    {12, "q4_k", 256, 144},
    {13, "q5_k", 256, 176},
    {14, "q6_k"},
    {15, "q8_k", 256, 292},
    {16, "iq2_xxs", 256, 66},
    {17, "iq2_xs", 256, 74},
    {18, "iq3_xxs", 256, 98},
    {19, "iq1_s", 256, 50},
    {20, "iq4_nl", 32, 18},
    {21, "iq3_s", 256, 110},
    {22, "iq2_s", 256, 82},
    {23, "iq4_xs", 256, 136},
    {24, "i8", 1, 1},
    {25, "i16", 1, 2},
    {26, "i32", 1, 4},
    {27, "i64", 1, 8},
    {28, "f64", 1, 8},
    {29, "iq1_m", 256, 56},
    {30, "bf16"},
    {34, "tq1_0"},
    {35, "tq2_0"},
    {36, "i2_s"},
    {38, kTL1},
    {39, "mxfp4", 32, 17},
    {39, kTL2},
    {40, "nvfp4", 64, 36},
    {40, "q1_0_g32", 32, 6},
    {41, "q1_0"},
    {41, kTL1},
    {42, "q2_0"},
    {42, "pq2_0"}, // PrismML's first q2_0, which is what it calls pq2_0 now
    {42, kTL2},
    {134, "iq1_bn"},
    {135, "iq2_bn"},
    {142, "pq2_0"},
    {143, "ptq1_0"},
    {335, "iq2_bn_r4"},
};

/// How much of its room a tensor fills: all of it, up to the alignment. The C quantizers of microsoft's fork
/// give TL tensors 32 bytes more than its converter does.
bool fits(const GgufTypeInfo &type, const GgufSize &size, const GgufSpan &tensor) {
  bool tl = type.name == kTL1 || type.name == kTL2;
  for (uint64_t more : {0, 32})
    if ((more == 0 || tl) && size.wants.empty() && size.bytes + more <= tensor.room &&
        tensor.room - size.bytes - more < tensor.alignment)
      return true;
  return false;
}

} // namespace

ArrayRef<GgufTypeInfo> ggufMeanings(uint32_t id) {
  auto [begin, end] =
      std::equal_range(std::begin(types), std::end(types), GgufTypeInfo{id, "", 0, 0},
                       [](const GgufTypeInfo &a, const GgufTypeInfo &b) { return a.id < b.id; });
  return ArrayRef<GgufTypeInfo>(begin, end);
}

const GgufTypeInfo *ggufMeaning(uint32_t id, StringRef name) {
  for (const GgufTypeInfo &type : ggufMeanings(id))
    if (name == type.name)
      return &type;
  return nullptr;
}

const GgufTypeInfo *ggufType(uint32_t id) {
  ArrayRef<GgufTypeInfo> meanings = ggufMeanings(id);
  return meanings.empty() ? nullptr : &meanings.front();
}

bool ggufAmbiguous(uint32_t id) { return id == 36 || (id >= 38 && id <= 43) || id == 142 || id == 143; }

std::string ggufTypeText(uint32_t id) {
  const char *what = id == 4 || id == 5     ? "q4_2 or q4_3, which ggml removed"
                     : id >= 31 && id <= 33 ? "q4_0 in interleaved rows, which ggml removed"
                     : id == 37             ? "i8_s, which is for activations and never in files"
                                            : "unknown";
  return "type " + std::to_string(id) + " (" + what + ")";
}

std::string ggufShape(ArrayRef<uint64_t> dims) {
  std::string text;
  for (uint64_t dim : reverse(dims))
    text += (text.empty() ? "" : ", ") + std::to_string(dim);
  return "[" + text + "]";
}

GgufSize ggufBytes(const GgufTypeInfo &type, ArrayRef<uint64_t> dims) {
  constexpr uint64_t kMost = uint64_t(1) << 50; // so that no codec's number of bytes overflows
  uint64_t cols = dims.empty() ? 1 : dims[0], rows = 1;
  for (uint64_t dim : dims.drop_front(dims.empty() ? 0 : 1))
    rows = dim > kMost / rows ? kMost + 1 : rows * dim;
  if (cols > kMost / rows)
    return {0, "at most 2^50 values"};
  if (const Codec *codec = codecNamed(type.name)) {
    std::optional<uint64_t> bytes = encodedBytes(*codec, int64_t(rows), int64_t(cols));
    return bytes ? GgufSize{*bytes, ""} : GgufSize{0, blockRule(*codec)};
  }
  if (cols % type.block != 0)
    return {0, "a multiple of " + std::to_string(type.block) + " columns"};
  return {rows * (cols / type.block) * type.blockBytes, ""};
}

Expected<const GgufTypeInfo *> resolveGgufType(uint32_t id, ArrayRef<GgufSpan> tensors, bool scalesApart) {
  std::vector<const GgufTypeInfo *> fitting;
  std::string tried;
  bool wantMore = true; // each misfit is a tensor of too few bytes
  for (const GgufTypeInfo &type : ggufMeanings(id)) {
    auto misfit = std::find_if(tensors.begin(), tensors.end(), [&](const GgufSpan &tensor) {
      return !fits(type, ggufBytes(type, tensor.dims), tensor);
    });
    if (misfit == tensors.end()) {
      fitting.push_back(&type);
      continue;
    }
    GgufSize size = ggufBytes(type, misfit->dims);
    wantMore &= size.wants.empty() && size.bytes > misfit->room;
    tried +=
        (tried.empty() ? "" : "; ") + std::string(type.name) + " wants " +
        (size.wants.empty() ? std::to_string(size.bytes) + " bytes for " + quoted(*misfit->name) +
                                  ", which has " + std::to_string(misfit->room) + " up to the " +
                                  (misfit->last ? "end of the file" : "next tensor")
                            : size.wants + ", " + quoted(*misfit->name) + " is " + ggufShape(misfit->dims));
  }
  auto tl = [](const GgufTypeInfo *type) { return type->name == kTL1 || type->name == kTL2; };
  if (fitting.size() > 1) {
    bool some = std::any_of(fitting.begin(), fitting.end(), tl);
    fitting.erase(std::remove_if(fitting.begin(), fitting.end(),
                                 [&](const GgufTypeInfo *type) { return some && tl(type) != scalesApart; }),
                  fitting.end());
  }
  if (fitting.size() == 1)
    return fitting[0];
  ArrayRef<GgufTypeInfo> meanings = ggufMeanings(id);
  std::string which;
  for (const GgufTypeInfo &type : meanings)
    which += (which.empty() ? "" : " or ") + ("--set ggml_type=" + std::to_string(id) + ":" + type.name);
  std::string flag =
      (meanings.size() > 1 ? "; if you know which it is: " : "; if it is that nonetheless: ") + which;
  if (fitting.empty() && wantMore) // the flag would not help
    flag = "; the file may be cut off, or the program that wrote it gave the number to another encoding";
  if (fitting.empty())
    return failure("type " + Twine(id) + ": expected an encoding that has the sizes of all " +
                   Twine(tensors.size()) + " tensors of this type, got none (" + tried + ")" + flag);
  std::string both;
  for (const GgufTypeInfo *type : fitting)
    both += (both.empty() ? "" : " and ") + std::string(type->name);
  return failure("type " + Twine(id) + ": expected one encoding that has the sizes of all " +
                 Twine(tensors.size()) + " tensors of this type, got " + both +
                 (tried.empty() ? "" : " (" + tried + ")") + flag);
}

} // namespace bitnet::import
