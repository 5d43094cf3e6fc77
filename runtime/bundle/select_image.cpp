// See select_image.h.
#include "runtime/bundle/select_image.h"
#include "runtime/cpu/cpu.h"

namespace bitnet::runtime {
namespace {

std::string variants_of(const Bundle &bundle) {
  std::string list;
  for (const Image &image : bundle.images)
    list += (list.empty() ? "" : ", ") + std::string(format::cpu_variant(image.variant).name);
  return list;
}

std::string known_variants() {
  std::string list;
  for (uint8_t i = 0; i < uint8_t(CpuVariant::count); ++i)
    list += (i == 0 ? "" : ", ") + std::string(format::cpu_variant(CpuVariant(i)).name);
  return list;
}

/// "rebuild with --target=..." for a variant.
std::string rebuild_for(CpuVariant v) {
  return std::string("rebuild with --target=") + format::cpu_variant(v).target;
}

} // namespace

Result<size_t> select_image(const Bundle &bundle, uint64_t cpu_features, const std::string &forced) {
  const CpuVariant best_here = cpu::best_variant(cpu_features);
  const std::string this_cpu = std::string("this CPU has ") + format::cpu_variant(best_here).name;
  const auto runs = [&](const Image &image) { return (image.features & ~cpu_features) == 0; };

  if (!forced.empty()) {
    const CpuVariant wanted = format::cpu_variant_from_name(forced.c_str());
    if (wanted == CpuVariant::count)
      return invalid_argument("cpu variant: expected one of " + known_variants() + ", got '" + forced + "'");
    for (size_t i = 0; i < bundle.images.size(); ++i)
      if (bundle.images[i].variant == wanted) {
        if (!runs(bundle.images[i]))
          return unsupported(forced + " was asked for; " + this_cpu + "; ask for that or for none");
        return i;
      }
    return unsupported("built for " + variants_of(bundle) + "; " + forced + " was asked for; " +
                       rebuild_for(wanted));
  }

  size_t best = bundle.images.size();
  for (size_t i = 0; i < bundle.images.size(); ++i)
    if (runs(bundle.images[i]) &&
        (best == bundle.images.size() || format::cpu_variant(bundle.images[i].variant).rank >
                                             format::cpu_variant(bundle.images[best].variant).rank))
      best = i;
  if (best == bundle.images.size())
    return unsupported("built for " + variants_of(bundle) + "; " + this_cpu + "; " + rebuild_for(best_here));
  return best;
}

} // namespace bitnet::runtime
