// What this CPU can run: CPUID and what the operating system saves of it (XCR0), and how many of it there
// are. Knows nothing of bundles.
#pragma once
#include "runtime/format/cpu_variants.h"
#include <stdint.h>

namespace bitnet::cpu {

/// Bits of format::CpuFeature that code may use here. Asked once.
uint64_t features();
/// Maker, family, model, stepping and brand, e.g. "AuthenticAMD 25.17.1 AMD EPYC": two CPUs of one text are
/// alike.
const char *model();
/// The variant of highest rank whose features are all among `features`.
format::CpuVariant best_variant(uint64_t features);
/// CPUs that the scheduler lets this process use; at least 1.
int available_cpus();

} // namespace bitnet::cpu
