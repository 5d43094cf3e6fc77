// What bitnetc --tune measures by: candidates that are legal, times of each, and no tile that changes
// numbers.
#include "codegen/tune/tile_timer.h"
#include "runtime/cpu/cpu.h"
#include <gtest/gtest.h>

namespace bitnet::codegen {
namespace {

const auto never = [] { return false; };

KernelSpec spec_of(const std::string &text) {
  std::string error;
  std::optional<KernelSpec> spec = parse_kernel_spec(text + " cpu=portable", &error);
  EXPECT_TRUE(spec) << error;
  return spec.value_or(KernelSpec());
}

KernelImage image_of(KernelSpec spec, KernelTile tile) {
  spec.tile = tile;
  std::string object, error;
  KernelImage image;
  EXPECT_TRUE(compile_kernel(spec, Emit::object, &object, &error)) << error;
  EXPECT_TRUE(link_image({object}, {symbol(spec)}, &image, &error)) << error;
  return image;
}

TEST(TileTimer, CandidatesAreLegalAndStartWithTheGeneratorsOwn) {
  for (const char *text :
       {"linear_t2 n=256 k=64 epilogue=none rows=1", "linear_t2 n=256 k=64 epilogue=residual rows=8",
        "linear_t2 n=48 k=64 epilogue=none rows=0", "linear_f16 n=256 k=64 rows=1"}) {
    KernelSpec spec = spec_of(text);
    const std::vector<KernelTile> tiles = tile_candidates(spec);
    EXPECT_EQ(tiles[0].stripes, 0) << text;
    EXPECT_EQ(tiles[0].tokens, 0) << text;
    for (const KernelTile &tile : tiles) {
      spec.tile = tile;
      EXPECT_EQ(spec_error(spec), "") << text;
    }
  }
  EXPECT_GT(tile_candidates(spec_of("linear_t2 n=256 k=64 epilogue=none rows=8")).size(), 4u);
  EXPECT_EQ(tile_candidates(spec_of("rms_norm k=64 eps=1e-05 rows=0")).size(), 1u);
}

TEST(TileTimer, TimesEveryTile) {
  const KernelSpec spec = spec_of("linear_t2 n=256 k=256 epilogue=residual rows=8");
  TileTimes times;
  std::string error;
  ASSERT_TRUE(time_tiles(spec, 7, {image_of(spec, {}), image_of(spec, {2, 4}), image_of(spec, {8, 1})}, never,
                         &times, &error))
      << error;
  ASSERT_EQ(times.nanoseconds.size(), 3u);
  for (const double t : times.nanoseconds) {
    EXPECT_GT(t, 100) << "256 x 256 x 7 products in less than 100 ns";
    EXPECT_LT(t, 1e9);
  }
}

/// Eight inputs side by side for a row of weights take two thirds of the time of a row and an input at a
/// time.
TEST(TileTimer, FindsTheFastest) {
  const KernelSpec spec = spec_of("linear_f16 n=256 k=1024 rows=8");
  TileTimes times;
  std::string error;
  const std::vector<KernelImage> images = {image_of(spec, {1, 1}), image_of(spec, {1, 1}),
                                           image_of(spec, {})};
  for (int round = 0; round < 5 && times.fastest != 2; ++round) // a busy machine may be wrong
    ASSERT_TRUE(time_tiles(spec, 8, images, never, &times, &error)) << error;
  EXPECT_TRUE(times.complete);
  EXPECT_EQ(times.fastest, 2u);
  EXPECT_LT(times.ratio, 0.97);
  EXPECT_GT(times.ratio, 0.1);

  ASSERT_TRUE(time_tiles(spec, 8, {image_of(spec, {}), image_of(spec, {1, 1})}, never, &times, &error))
      << error;
  EXPECT_EQ(times.fastest, 0u);
  EXPECT_EQ(times.ratio, 1);
}

TEST(TileTimer, EndsAfterOneRoundWhenTold) {
  const KernelSpec spec = spec_of("linear_t2 n=128 k=64 epilogue=none rows=1");
  TileTimes times;
  std::string error;
  int asked = 0;
  const auto stop = [&] { return ++asked > 0; };
  EXPECT_TRUE(time_tiles(spec, 1, {image_of(spec, {}), image_of(spec, {4, 1})}, stop, &times, &error))
      << error;
  EXPECT_EQ(times.nanoseconds.size(), 2u);
  EXPECT_FALSE(times.complete);
  EXPECT_EQ(asked, 1);
}

// linear_s8 takes the same arguments and reads other numbers out of the same bytes.
TEST(TileTimer, RefusesATileThatChangesNumbers) {
  const KernelSpec spec = spec_of("linear_t2 n=128 k=64 epilogue=none rows=1");
  TileTimes times;
  std::string error;
  EXPECT_FALSE(time_tiles(spec, 1, {image_of(spec, {}), image_of(spec_of("linear_s8 n=128 k=64 rows=1"), {})},
                          never, &times, &error));
  EXPECT_EQ(
      error,
      "tuning 'linear_t2 n=128 k=64 epilogue=none rows=1 cpu=portable': tile 1 changes the numbers; this "
      "is a defect of the generator");
}

} // namespace
} // namespace bitnet::codegen
