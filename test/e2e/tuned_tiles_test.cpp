// bitnetc --tune is about speed alone: with whatever tiles it found, and with any that it could find, the
// logits are those of --no-tuned bit for bit, the exact head's approximations included.
#include "test/e2e/compiled_model.h"
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

using namespace bitnet;
using namespace bitnet::e2e;

namespace {

/// Compiles with this cache of kernels and tiles; returns the number of kernels whose tile is not the
/// generator's own.
size_t compile(const std::string &bundle, const std::string &cache, const std::vector<std::string> &flags) {
  std::vector<std::string> command = {test::binary("bitnetc"), shippedModel(), "-o",           bundle,
                                      "--cache-dir",           cache,          "--head=exact", "--json"};
  command.insert(command.end(), flags.begin(), flags.end());
  const test::Ran ran = test::run(command);
  EXPECT_EQ(ran.code, 0) << ran.err;
  return ran.code == 0 ? nlohmann::json::parse(ran.out)["tuned_kernels"].size() : 0;
}

std::string tilesIn(const std::string &cache) {
  for (const auto &entry : std::filesystem::directory_iterator(cache))
    if (entry.path().filename().string().rfind("tiles-", 0) == 0)
      return entry.path().string();
  return "";
}

/// Logits of 90 positions in steps of 1, 2, 4, 8 and many rows, each row asking for its largest only or for
/// all.
Logits logitsOf(const std::string &bundle) {
  const Model model = openModel(bundle);
  const Session session = openSession(model.get(), 2);
  const auto vocab = size_t(vocabulary(model.get()));
  Logits all;
  int32_t position = 0;
  for (const int32_t best : {0, 1})
    for (const int32_t n : {1, 2, 3, 7, 32}) {
      std::vector<bitnet_row> rows;
      for (int32_t i = 0; i < n; ++i, ++position)
        rows.push_back({position * 37 % 4000, position, 0, BITNET_WANT_LOGITS, best, 0});
      bitnet_error error{};
      EXPECT_EQ(bitnet_session_step(session.get(), rows.data(), rows.size(), &error), BITNET_OK)
          << error.message;
      for (size_t i = 0; i < rows.size(); ++i)
        if (const float *row = bitnet_session_logits(session.get(), i))
          all.insert(all.end(), row, row + vocab);
    }
  return all;
}

bool sameBits(const Logits &a, const Logits &b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0;
}

TEST(TunedTiles, GiveTheLogitsOfTheGeneratorsOwn) {
  const std::string cache = test::scratch("tiles"), bundle = test::scratch("tiles.bnx");
  EXPECT_EQ(compile(bundle, cache, {"--no-tuned"}), 0u);
  const Logits expected = logitsOf(bundle);
  ASSERT_EQ(expected.size(), size_t(90 * 4096));

  // A second is enough for some kernels, but not on a machine that is busy otherwise.
  for (const char *seconds : {"1", "8", "60", "600"})
    if (tilesIn(cache).empty())
      compile(bundle, cache, {std::string("--tune=") + seconds});
  EXPECT_TRUE(sameBits(logitsOf(bundle), expected)) << "with the tiles found";

  // The file of tiles says for every kernel what we like; a tile that a kernel cannot have is left out.
  const std::string tiles = tilesIn(cache);
  ASSERT_NE(tiles, "");
  std::string header;
  std::getline(std::ifstream(tiles), header);
  const test::Ran specs =
      test::run({test::binary("bitnetc"), shippedModel(), "--head=exact", "--emit=specs", "-o", "-"});
  ASSERT_EQ(specs.code, 0) << specs.err;
  for (const char *tile : {"1 1", "2 2", "4 4", "8 1", "1 8"}) {
    std::ofstream file(tiles);
    file << header << "\n";
    std::istringstream lines(specs.out);
    for (std::string spec; std::getline(lines, spec);)
      file << tile << " 0.5 " << spec << "\n";
    file.close();
    EXPECT_GE(compile(bundle, cache, {}), 5u) << tile;
    EXPECT_TRUE(sameBits(logitsOf(bundle), expected)) << "with tiles of " << tile;
  }
  std::filesystem::remove_all(cache);
}

} // namespace
