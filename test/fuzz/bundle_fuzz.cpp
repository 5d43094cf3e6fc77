// Fuzz target of the bundle validator (runtime/bundle). An input that is no .bnx is taken for an index, put
// behind the sections of a good bundle and sealed. Each .bnx is tried as it is and with its checksums made
// right, so that the checks behind them are reached. What passes is loaded into memory, never run: machine
// code can be anything.
#include "runtime/bundle/image.h"
#include "runtime/bundle/select_image.h"
#include "test/fuzz/fuzz_target.h"
#include "test/runtime/tiny_bundle.h"
#include <cstdlib>
#include <cstring>

using namespace bitnet;

namespace {

const test::TinyBundle &tiny() {
  static const test::TinyBundle bundle({16, 16, 16, 4});
  return bundle;
}

void check(const std::string &file) {
  const std::vector<uint8_t> bytes(file.begin(), file.end()); // exactly this size
  auto bundle = runtime::validate_bundle({bytes.data(), bytes.size()});
  if (!bundle.ok()) {
    const std::string &message = bundle.status().message();
    if (message.empty() || message.find('\n') != std::string::npos)
      std::abort();
    return;
  }
  for (const runtime::Image &image : bundle->images)
    if (!runtime::load_image(image).ok())
      std::abort();
  (void)runtime::select_image(*bundle, 0, "");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string file(reinterpret_cast<const char *>(data), size);
  if (file.compare(0, 4,
                   std::string("\x00\x89"
                               "BN",
                               4)) != 0) {
    check(test::with_index(tiny(), file));
    return 0;
  }
  check(file);
  test::reseal(&file);
  check(file);
  return 0;
}

std::vector<std::string> fuzz::seeds() {
  test::TinyBundle two = tiny(); // with fixups and a second image
  two.bundle.images.push_back(two.bundle.images[0]);
  two.bundle.images[1].variant = format::CpuVariant::avx2;
  two.bundle.images[1].features = format::cpu_variant(format::CpuVariant::avx2).features;
  two.bundle.images[1].fixups = {{8, 16}, {4000, 0}};
  two.image_section.push_back(1);
  return {tiny().index(), two.index(), tiny().file()};
}
