// Sizes of packed constants and the choice of packer.
#include "compiler/pack/PackDetail.h"
#include "runtime/format/layouts.h"

using namespace llvm;

namespace bitnet::compiler {

const char *packingName(Packing p) {
  switch (p) {
  case Packing::t2:
    return "t2";
  case Packing::t3:
    return "t3";
  case Packing::t5:
    return "t5";
  case Packing::rowScale:
    return "row_scale";
  case Packing::f16:
    return "f16";
  case Packing::s8:
    return "s8";
  case Packing::s8Scale:
    return "s8_scale";
  case Packing::f32:
    return "f32";
  case Packing::ropeCos:
    return "rope_cos";
  case Packing::ropeSin:
    return "rope_sin";
  case Packing::screen:
    return "screen";
  case Packing::u2:
    return "u2";
  case Packing::d2:
    return "d2";
  case Packing::groupScale:
    return "group_scale";
  }
  return "?";
}

uint64_t packedBytes(const Constant &c) {
  const uint64_t elements = uint64_t(c.rows) * uint64_t(c.cols);
  switch (c.packing) {
  case Packing::t2:
    return format::t2_bytes(c.rows, c.cols);
  case Packing::t3:
    return format::t3_bytes(c.rows, c.cols);
  case Packing::t5:
    return format::t5_bytes(c.rows, c.cols);
  case Packing::u2:
    return format::u2_bytes(c.rows, c.cols);
  case Packing::d2:
    return format::d2_bytes(c.rows, c.cols);
  case Packing::rowScale:
  case Packing::s8Scale:
    return uint64_t(c.rows) * 4;
  case Packing::groupScale:
    return format::group_scale_bytes(c.rows, c.cols);
  case Packing::f16:
    return elements * 2;
  case Packing::s8:
    return format::s8_bytes(c.rows, c.cols);
  case Packing::f32:
  case Packing::ropeCos:
  case Packing::ropeSin:
    return elements * 4;
  case Packing::screen:
    return format::screen_layout(c.rows, c.cols).bytes;
  }
  return 0;
}

Error packConstant(const Constant &c, const WeightSource &weights, const Sink &sink, PackReport &report) {
  switch (c.packing) {
  case Packing::t2:
  case Packing::t3:
  case Packing::t5:
    return packTernary(c, weights, sink, report);
  case Packing::u2:
    return packU2(c, weights, sink, report);
  case Packing::d2:
    return packD2(c, weights, sink, report);
  case Packing::rowScale:
    return packRowScale(c, weights, sink);
  case Packing::groupScale:
    return packGroupScale(c, weights, sink);
  case Packing::f16:
    return packF16(c, weights, sink, report);
  case Packing::s8:
    return packS8(c, weights, sink);
  case Packing::s8Scale:
    return packS8Scale(c, weights, sink);
  case Packing::f32:
    return packF32(c, weights, sink);
  case Packing::ropeCos:
  case Packing::ropeSin:
    return packRope(c, sink);
  case Packing::screen:
    return packScreen(c, weights, sink);
  }
  return createStringError("unknown packing %d", int(c.packing));
}

Expected<std::vector<uint8_t>> packConstant(const Constant &c, const WeightSource &weights) {
  std::vector<uint8_t> bytes;
  bytes.reserve(packedBytes(c));
  PackReport report;
  if (Error e = packConstant(
          c, weights,
          [&](const uint8_t *data, size_t size) {
            bytes.insert(bytes.end(), data, data + size);
            return Error::success();
          },
          report))
    return e;
  if (bytes.size() != packedBytes(c))
    return createStringError("packing '%s': expected %llu bytes, got %zu",
                             c.names.empty() ? packingName(c.packing) : c.names.front().c_str(),
                             (unsigned long long)packedBytes(c), bytes.size());
  return bytes;
}

} // namespace bitnet::compiler
