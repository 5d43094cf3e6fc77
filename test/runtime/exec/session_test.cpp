// Steps of a session on the tiny bundle: rows see their own sequence and nothing else, however they are
// grouped, and nothing is allocated on the way.
#include "runtime/exec/session.h"
#include "test/runtime/exec/allocation_count.h"
#include "test/runtime/tiny_bundle.h"
#include "test/runtime/tiny_kernels.h"
#include <cmath>
#include <gtest/gtest.h>
#include <unistd.h>

namespace bitnet::runtime {
namespace {

using test::TinyBundle;

class Sessions : public testing::Test {
protected:
  void open(const TinyBundle &bundle = TinyBundle()) {
    const std::string path = test::write_file("session.bnx", bundle.file());
    auto model = Model::open(path, "portable");
    unlink(path.c_str());
    ASSERT_TRUE(model.ok()) << model.status().message();
    model_ = std::move(*model);
  }
  std::unique_ptr<Session> session(const SessionOptions &options = {}) {
    auto session = Session::create(*model_, options);
    EXPECT_TRUE(session.ok()) << session.status().message();
    return std::move(*session);
  }
  std::string create_error(const SessionOptions &options) {
    return Session::create(*model_, options).status().message();
  }

  /// Rows of tokens first, first+1, ... of one sequence, all with logits wanted or only the last.
  static std::vector<bitnet_row> rows(int32_t first_position, int32_t n, int32_t sequence, bool all_wanted) {
    std::vector<bitnet_row> out;
    for (int32_t p = first_position; p < first_position + n; ++p)
      out.push_back({token(p, sequence), p, sequence, all_wanted || p + 1 == first_position + n, 0, 0});
    return out;
  }
  static int32_t token(int32_t position, int32_t sequence) { return (position * 7 + sequence * 31 + 3) % 97; }
  static float expected(int32_t position, int32_t sequence, int32_t n) {
    int32_t sum = 0;
    for (int32_t p = 0; p <= position; ++p)
      sum += token(p, sequence);
    return test::tiny_logit(token(position, sequence), sum, n);
  }
  static void expect_logits(const Session &s, size_t i, int32_t position, int32_t sequence) {
    ASSERT_NE(s.logits(i), nullptr);
    for (int32_t n = 0; n < s.model().bundle().model.vocab; ++n)
      ASSERT_EQ(s.logits(i)[n], expected(position, sequence, n))
          << "row " << i << ", position " << position << ", sequence " << sequence << ", logit " << n;
  }
  static void ok(const Status &status) { ASSERT_TRUE(status.ok()) << status.message(); }

  std::unique_ptr<const Model> model_;
};

TEST_F(Sessions, OneRowAtATimeSeesAllBefore) {
  open();
  auto s = session({0, 1, 1});
  for (int32_t p = 0; p < 150; ++p) { // over two block borders
    const auto row = rows(p, 1, 0, true);
    ok(s->step(row.data(), 1));
    expect_logits(*s, 0, p, 0);
  }
  EXPECT_EQ(s->length(0), 150);
}

TEST_F(Sessions, LongStepEqualsShortOnesOnAnyThreads) {
  open();
  for (int threads : {1, 2, 3, 5})
    for (int32_t chunk : {1, 4, 5, 6, 7, 64, 130}) {
      auto s = session({0, threads, 1});
      for (int32_t at = 0; at < 130; at += chunk) {
        const auto part = rows(at, std::min(chunk, 130 - at), 0, false);
        ok(s->step(part.data(), part.size()));
      }
      expect_logits(*s, 0, 129, 0);
    }
}

TEST_F(Sessions, KeepsLogitsOfEarlierChunks) {
  open();
  auto s = session();
  auto all = rows(0, 13, 0, false); // max_rows is 5: three chunks
  for (int32_t p : {0, 4, 5, 12})
    all[size_t(p)].want = 1;
  ok(s->step(all.data(), all.size()));
  size_t i = 0;
  for (int32_t p : {0, 4, 5, 12})
    expect_logits(*s, i++, p, 0);
  EXPECT_EQ(s->logits(i), nullptr);
}

TEST_F(Sessions, SequencesOfABatchDoNotSeeEachOther) {
  open();
  auto s = session({100, 2, 3});
  for (int32_t p = 0; p < 100; ++p) {
    std::vector<bitnet_row> batch;
    for (int32_t q : {2, 0, 1})
      batch.push_back({token(p, q), p, q, 1, 0, 0});
    ok(s->step(batch.data(), batch.size()));
    size_t i = 0;
    for (int32_t q : {2, 0, 1})
      expect_logits(*s, i++, p, q);
  }
}

TEST_F(Sessions, TruncateForgetsAndReusesBlocks) {
  open();
  auto s = session({128, 1, 2});
  for (int round = 0; round < 5;
       ++round) { // 2 sequences of 2 blocks: round 2 would run out if blocks were lost
    for (int32_t q : {0, 1}) {
      const auto all = rows(s->length(q), 128 - s->length(q), q, false);
      ok(s->step(all.data(), all.size()));
      expect_logits(*s, 0, 127, q);
    }
    ok(s->truncate(0, round % 2 ? 0 : 65));
    ok(s->truncate(1, 64));
    EXPECT_EQ(s->length(1), 64);
  }
  EXPECT_EQ(s->truncate(0, -1).message(), "truncate: length: expected [0, 65], got -1");
  EXPECT_EQ(s->truncate(2, 0).message(), "truncate: sequence: expected [0, 1], got 2");
}

TEST_F(Sessions, HiddenStatesAreWhatTheHeadReadsAndNeedNoHead) {
  open();
  auto s = session();
  auto all = rows(0, 4, 0, false);
  for (bitnet_row &row : all)
    row.want = row.position == 0 ? 0 : BITNET_WANT_HIDDEN;
  ok(s->step(all.data(), all.size()));
  EXPECT_EQ(s->logits(0), nullptr);
  const int32_t width = s->model().bundle().model.width;
  for (int32_t p = 1, sum = token(0, 0); p < 4; ++p) { // every x[k] of the tiny kernels is token + sum
    sum += token(p, 0);
    ASSERT_NE(s->hidden(size_t(p - 1)), nullptr);
    for (int32_t k = 0; k < width; ++k)
      EXPECT_EQ(s->hidden(size_t(p - 1))[k], float(token(p, 0) + sum)) << p << " " << k;
  }
  EXPECT_EQ(s->hidden(3), nullptr);
  bitnet_row both = {token(4, 0), 4, 0, BITNET_WANT_LOGITS | BITNET_WANT_HIDDEN, 0, 0};
  ok(s->step(&both, 1));
  expect_logits(*s, 0, 4, 0);
  EXPECT_NE(s->hidden(0), nullptr);
  both = {token(5, 0), 5, 0, BITNET_WANT_LOGITS, 0, 0};
  ok(s->step(&both, 1));
  EXPECT_EQ(s->hidden(0), nullptr);
}

/// The tiny model without its head.
TinyBundle embedding_bundle() {
  TinyBundle bundle;
  bundle.bundle.model.head = "none";
  bundle.bundle.plan.calls.pop_back();
  bundle.bundle.plan.logits = bundle.bundle.plan.calls.back().args.back();
  return bundle;
}

TEST_F(Sessions, AModelWithoutHeadGivesHiddenStatesAndNoLogits) {
  open(embedding_bundle());
  auto s = session();
  auto all = rows(0, 3, 0, false);
  EXPECT_EQ(s->step(all.data(), 3).message(),
            "step: row 2: logits: expected a model with a head, got one that gives embeddings; use bitnet "
            "embed, or bitnet_session_embed");
  EXPECT_EQ(s->length(0), 0);
  all.back().want = BITNET_WANT_HIDDEN;
  ok(s->step(all.data(), 3));
  const float x = float(token(2, 0) + token(0, 0) + token(1, 0) + token(2, 0));
  for (int32_t k = 0; k < s->model().bundle().model.width; ++k)
    EXPECT_EQ(s->hidden(0)[k], x);
}

TEST_F(Sessions, EmbedsATextAsItsLastTokensHiddenState) {
  open(embedding_bundle());
  auto s = session({0, 1, 2});
  const std::vector<int32_t> tokens = {5, 9, 2, 90, 11, 4, 3}; // more than a chunk
  std::vector<float> vector(size_t(s->model().bundle().model.width));
  for (int again = 0; again < 2; ++again) { // the sequence is emptied first
    ok(s->embed(tokens.data(), tokens.size(), 1, vector.data()));
    for (float x : vector) // all elements are equal here
      EXPECT_EQ(x, float(1 / std::sqrt(double(vector.size()))));
    EXPECT_EQ(s->length(1), 7);
    EXPECT_EQ(s->length(0), 0);
  }
  EXPECT_EQ(s->embed(nullptr, 0, 0, vector.data()).message(), "embed: expected at least one token, got none");
  std::vector<int32_t> wrong = tokens;
  wrong[6] = 300;
  EXPECT_EQ(s->embed(wrong.data(), wrong.size(), 1, vector.data()).message(),
            "embed: from token 5: step: row 1: token: expected [0, 299], got 300");
  EXPECT_EQ(s->length(1), 0);
  const Status longer = session({6, 1, 1})->embed(tokens.data(), tokens.size(), 0, vector.data());
  EXPECT_EQ(longer.code(), StatusCode::context_full);
  EXPECT_EQ(longer.message(), "embed: expected at most 6 tokens (the context), got 7; shorten the text");
  open();
  EXPECT_EQ(session()->embed(tokens.data(), 1, 0, vector.data()).message(),
            "embed: expected a model that gives embeddings, got one with a head; bitnetc --set pooling=last "
            "compiles it as one, which is right only if it was trained so");
}

TEST_F(Sessions, RefusesBadRowsAndChangesNothing) {
  open();
  auto s = session({70, 1, 2});
  const auto start = rows(0, 3, 0, false);
  ok(s->step(start.data(), start.size()));
  const auto error = [&](std::vector<bitnet_row> bad) {
    bad.insert(bad.begin(), {token(3, 0), 3, 0, 1, 0, 0}); // a good row before it
    const Status status = s->step(bad.data(), bad.size());
    EXPECT_EQ(s->length(0), 3);
    EXPECT_EQ(s->length(1), 0);
    EXPECT_EQ(s->logits(0), nullptr);
    return status.message();
  };
  EXPECT_EQ(error({{300, 4, 0, 0, 0, 0}}), "step: row 1: token: expected [0, 299], got 300");
  EXPECT_EQ(error({{-1, 4, 0, 0, 0, 0}}), "step: row 1: token: expected [0, 299], got -1");
  EXPECT_EQ(error({{1, 0, 2, 0, 0, 0}}), "step: row 1: sequence: expected [0, 1], got 2");
  EXPECT_EQ(error({{1, 3, 0, 0, 0, 0}}), "step: row 1: position: expected the sequence's length 4, got 3");
  EXPECT_EQ(
      error(rows(0, 71, 1, false)),
      "step: row 71: the context of 70 positions is full; truncate the sequence or use a larger context");
  EXPECT_EQ(error(rows(0, 5, 1, true)), "step: rows that want something: expected at most 5, got 6");
  EXPECT_EQ(error({{1, 4, 0, 4, 0, 0}}), "step: row 1: want: expected bits of bitnet_want, got 4");
  EXPECT_EQ(error({{1, 4, 0, 1, -1, 0}}), "step: row 1: best: expected 0 (all logits) or more, got -1");
  EXPECT_EQ(error({{1, 4, 0, 1, 1, -2}}),
            "step: row 1: margin: expected a number of 0 or more, got -2.000000");
  EXPECT_EQ(error({{1, 4, 0, 1, 1, NAN}}), "step: row 1: margin: expected a number of 0 or more, got nan");
  auto many = rows(0, 5, 1, false);
  many[0].want = BITNET_WANT_HIDDEN;
  EXPECT_EQ(error(many), "step: rows of a step with hidden states: expected at most 5, got 6");
  const auto next = rows(3, 1, 0, true);
  ok(s->step(next.data(), 1));
  expect_logits(*s, 0, 3, 0);
}

TEST_F(Sessions, AFailingKernelLeavesLengthsAsTheyWere) {
  TinyBundle broken; // its head always fails
  for (size_t k = 0; k < broken.bundle.kernels.size(); ++k)
    if (broken.bundle.kernels[k].op == Op::linear_f16)
      broken.bundle.images[0].entries[k] = test::tiny_entry(Op::count);
  open(broken);
  auto s = session();
  auto all = rows(0, 7, 0, false);
  EXPECT_EQ(s->step(all.data(), 7).message(), "kernel linear_f16 returned 7");
  EXPECT_EQ(s->length(0), 0);
  all.back().want = 0; // without logits the head does not run
  ok(s->step(all.data(), 7));
  EXPECT_EQ(s->length(0), 7);
}

TEST_F(Sessions, StepsAllocateNothing) {
  open();
  auto s = session({200, 2, 2});
  const auto prompt = rows(0, 90, 0, false);
  std::vector<bitnet_row> row(1);
  const long before = test::allocation_count();
  bool good = s->step(prompt.data(), prompt.size()).ok();
  for (int32_t p = 90; p < 199; ++p) {
    row[0] = {token(p, 0), p, 0, 1, 0, 0};
    good &= s->step(row.data(), 1).ok();
  }
  good &= s->truncate(0, 10).ok();
  EXPECT_EQ(test::allocation_count() - before, 0);
  EXPECT_TRUE(good);
}

TEST_F(Sessions, RefuseIllegalOptions) {
  open();
  EXPECT_EQ(create_error({201, 0, 0}), "session: context: expected [0, 200], got 201");
  EXPECT_EQ(create_error({-1, 0, 0}), "session: context: expected [0, 200], got -1");
  EXPECT_EQ(create_error({0, 1025, 0}), "session: threads: expected [0, 1024], got 1025");
  EXPECT_EQ(create_error({0, 0, -5}), "session: sequences: expected [0, 65536], got -5");
  TinyBundle wide({1024, 16, 1000, 1}); // a head of 512
  open(wide);
  EXPECT_EQ(create_error({0, 1, 65536}),
            "session: context times sequences: expected at most 4194303 positions, got 67108864");
}

} // namespace
} // namespace bitnet::runtime
