// Proves at compile time that format::Buffer, which the runtime fills in, is the struct that Halide's kernels
// read.
#include "runtime/format/kernel_ops.h"
#include <HalideRuntime.h>
#include <cstddef>

namespace bitnet::codegen {
namespace {

using format::Buffer;
using format::Dim;

#define BITNET_SAME_FIELD(ours, ours_field, theirs, theirs_field)                                            \
  static_assert(offsetof(ours, ours_field) == offsetof(theirs, theirs_field) &&                              \
                    sizeof(ours::ours_field) == sizeof(theirs::theirs_field),                                \
                "kernel ABI: " #ours "::" #ours_field)

BITNET_SAME_FIELD(Buffer, device, halide_buffer_t, device);
BITNET_SAME_FIELD(Buffer, device_interface, halide_buffer_t, device_interface);
BITNET_SAME_FIELD(Buffer, host, halide_buffer_t, host);
BITNET_SAME_FIELD(Buffer, flags, halide_buffer_t, flags);
static_assert(offsetof(Buffer, type_code) == offsetof(halide_buffer_t, type) + offsetof(halide_type_t, code));
static_assert(offsetof(Buffer, type_bits) == offsetof(halide_buffer_t, type) + offsetof(halide_type_t, bits));
static_assert(offsetof(Buffer, type_lanes) ==
              offsetof(halide_buffer_t, type) + offsetof(halide_type_t, lanes));
BITNET_SAME_FIELD(Buffer, dimensions, halide_buffer_t, dimensions);
BITNET_SAME_FIELD(Buffer, dim, halide_buffer_t, dim);
BITNET_SAME_FIELD(Buffer, padding, halide_buffer_t, padding);
static_assert(sizeof(Buffer) == sizeof(halide_buffer_t));
BITNET_SAME_FIELD(Dim, min, halide_dimension_t, min);
BITNET_SAME_FIELD(Dim, extent, halide_dimension_t, extent);
BITNET_SAME_FIELD(Dim, stride, halide_dimension_t, stride);
BITNET_SAME_FIELD(Dim, flags, halide_dimension_t, flags);
static_assert(sizeof(Dim) == sizeof(halide_dimension_t));
#undef BITNET_SAME_FIELD

} // namespace
} // namespace bitnet::codegen
