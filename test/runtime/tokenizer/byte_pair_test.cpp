// The heap-driven encoder against the definition of byte-pair encoding, written down as slowly as it reads.
#include "test/runtime/tokenizer/serialized_tokenizer.h"
#include <gtest/gtest.h>
#include <random>

namespace bitnet::runtime {
namespace {

struct RandomVocabulary {
  SerializedTokenizer source;
  Vocabulary vocabulary;
  std::vector<BytePairMerge> merges;

  /// Merges over the letters a to c, so that texts of these letters meet them all the time.
  explicit RandomVocabulary(uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<int32_t> ids = {'a', 'b', 'c'};
    for (int i = 0; i < 60; ++i) {
      const int32_t left = ids[random() % ids.size()], right = ids[random() % ids.size()];
      if (source.vocab[left].size() + source.vocab[right].size() > 12)
        continue;
      ids.push_back(source.merge(left, right)); // repeats both pairs and texts
      merges.push_back({left, right, ids.back()});
    }
    for (const std::string &token : source.vocab)
      vocabulary.push(token);
    vocabulary.build_index(std::vector<uint8_t>(source.vocab.size(), 1));
  }

  /// Joins the pair of the lowest rank, the leftmost of equals, until there is none.
  template <typename Rank> std::vector<int32_t> join_slowly(const std::string &piece, Rank rank_of) const {
    std::vector<int32_t> ids;
    for (const char c : piece)
      ids.push_back(static_cast<uint8_t>(c));
    for (;;) {
      std::pair<uint32_t, int32_t> best(UINT32_MAX, -1);
      size_t where = 0;
      for (size_t i = 0; i + 1 < ids.size(); ++i)
        if (const auto candidate = rank_of(ids[i], ids[i + 1]); candidate.first < best.first) {
          best = candidate;
          where = i;
        }
      if (best.second < 0)
        return ids;
      ids[where] = best.second;
      ids.erase(ids.begin() + where + 1);
    }
  }
};

std::vector<int32_t> encode(const BytePairEncoder &encoder, const std::string &piece) {
  BytePairEncoder::Workspace workspace;
  std::vector<int32_t> ids;
  EXPECT_TRUE(encoder.encode(piece, -1, &workspace, &ids));
  return ids;
}

TEST(BytePair, MergesInRankOrderLeftmostFirst) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const RandomVocabulary v(seed);
    const BytePairEncoder encoder(v.vocabulary, v.merges, /*whole_pieces=*/false);
    const auto rank_of = [&](int32_t left, int32_t right) {
      for (uint32_t rank = 0; rank < v.merges.size(); ++rank)
        if (v.merges[rank].left == left && v.merges[rank].right == right)
          return std::pair<uint32_t, int32_t>(rank, v.merges[rank].result);
      return std::pair<uint32_t, int32_t>(UINT32_MAX, -1);
    };
    std::mt19937 random(seed);
    for (int round = 0; round < 100; ++round) {
      std::string piece;
      for (uint32_t n = random() % 40; n > 0; --n)
        piece += static_cast<char>('a' + random() % 3);
      EXPECT_EQ(encode(encoder, piece), v.join_slowly(piece, rank_of)) << piece << ", seed " << seed;
      EXPECT_EQ(encode(encoder, piece), encode(encoder, piece)) << "the memo changed " << piece;
    }
  }
}

TEST(BytePair, MergesByTheIdOfTheJoinedToken) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const RandomVocabulary v(seed);
    const BytePairEncoder encoder(v.vocabulary);
    const auto rank_of = [&](int32_t left, int32_t right) {
      const int32_t id = v.vocabulary.find(v.source.vocab[left] + v.source.vocab[right]);
      return std::pair<uint32_t, int32_t>(id < 0 ? UINT32_MAX : id, id);
    };
    std::mt19937 random(seed);
    for (int round = 0; round < 100; ++round) {
      std::string piece;
      for (uint32_t n = random() % 40; n > 0; --n)
        piece += static_cast<char>('a' + random() % 3);
      const int32_t whole = v.vocabulary.find(piece);
      EXPECT_EQ(encode(encoder, piece),
                whole >= 0 ? std::vector<int32_t>{whole} : v.join_slowly(piece, rank_of))
          << piece;
    }
  }
}

TEST(BytePair, WholePiecesAreTakenOnlyWhenAskedFor) {
  SerializedTokenizer source;
  const int32_t ab = source.merge('a', 'b');
  const int32_t abc = source.token("abc"); // no merge makes it
  const auto split = source.load();
  source.ignore_merges = true;
  const auto whole = source.load();
  ASSERT_TRUE(split.ok() && whole.ok());
  for (int round = 0; round < 2; ++round) { // the second answer comes from the memo
    EXPECT_EQ(*(*split)->encode("abc", false, false), (std::vector<int32_t>{ab, 'c'}));
    EXPECT_EQ(*(*split)->encode("ab", false, false), (std::vector<int32_t>{ab}));
    EXPECT_EQ(*(*whole)->encode("abc", false, false), (std::vector<int32_t>{abc}));
  }
}

TEST(BytePair, LongPiecesTakeNoSquareOfTheirLength) {
  SerializedTokenizer source;
  int32_t run = 'a';
  for (int i = 0; i < 4; ++i)
    run = source.merge(run, run);
  const auto tokenizer = source.load();
  ASSERT_TRUE(tokenizer.ok());
  const auto ids =
      (*tokenizer)->encode(std::string(1 << 20, 'a'), false, false); // minutes if it were quadratic
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(*ids, std::vector<int32_t>(1 << 16, run));
}

} // namespace
} // namespace bitnet::runtime
