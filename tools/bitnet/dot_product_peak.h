// How many 8-bit multiply-adds a second this CPU can do with the instructions of a kernel variant: the limit
// of reading a prompt, which multiplies every weight by every token. Registers only, nothing is loaded: no
// kernel can be faster.
#pragma once
#include <string>

namespace bitnet::tools {

struct DotProductPeak {
  double macs_per_second; // of all threads; 0: not known for this variant
  const char *instruction;
};

/// Takes some 10 ms for each of the variant's forms (256 and 512 bits); the fastest counts. `variant` is a
/// name of runtime/format/cpu_variants.cpp that this CPU can run.
DotProductPeak measureDotProductPeak(const std::string &variant, int threads);

} // namespace bitnet::tools
