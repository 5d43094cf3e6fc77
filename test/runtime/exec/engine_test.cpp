// Sequences of an engine on the tiny bundle: each sees its own tokens and nothing else, whichever threads run
// them and however steps are shared.
#include "runtime/exec/engine.h"
#include "test/runtime/tiny_bundle.h"
#include "test/runtime/tiny_kernels.h"
#include <atomic>
#include <gtest/gtest.h>
#include <random>
#include <thread>
#include <unistd.h>

namespace bitnet::runtime {
namespace {

using test::TinyBundle;

class Engines : public testing::Test {
protected:
  void open(const TinyBundle &bundle = TinyBundle(), const EngineOptions &options = {0, 2}) {
    const std::string path = test::write_file("engine.bnx", bundle.file());
    auto model = Model::open(path, "portable");
    unlink(path.c_str());
    ASSERT_TRUE(model.ok()) << model.status().message();
    model_ = std::move(*model);
    auto engine = Engine::create(*model_, options);
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    engine_ = std::move(*engine);
  }
  std::unique_ptr<Engine::Sequence> sequence() {
    auto opened = engine_->open();
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    return std::move(*opened);
  }

  std::unique_ptr<Engine::Sequence> sequence_for(const std::vector<int32_t> &tokens) {
    auto opened = engine_->open_for(tokens.data(), tokens.size());
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    return std::move(*opened);
  }

  std::unique_ptr<const Model> model_;
  std::unique_ptr<Engine> engine_;
};

/// A text of one sequence: tokens that depend on `who`, and what their logits must be.
class Text {
public:
  Text(std::unique_ptr<Engine::Sequence> sequence, int32_t who) : sequence_(std::move(sequence)), who_(who) {
    for (; length_ < sequence_->start(); ++length_)
      sum_ += token(length_, who_);
  }
  static int32_t token(int32_t i, int32_t who) { return (i * 7 + who * 31 + 3) % 97; }
  /// The first n tokens.
  static std::vector<int32_t> beginning(int32_t n, int32_t who) {
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < n; ++i)
      tokens.push_back(token(i, who));
    return tokens;
  }
  /// The request for the next n tokens.
  Engine::Request next(int32_t n) {
    tokens_.clear();
    for (int32_t i = 0; i < n; ++i) {
      tokens_.push_back(token(length_, who_));
      sum_ += tokens_.back();
      ++length_;
    }
    return {sequence_.get(), tokens_.data(), tokens_.size(), true, {}};
  }
  bool is_right() const {
    const float *logits = sequence_->logits();
    return logits && logits[0] == test::tiny_logit(tokens_.back(), sum_, 0) &&
           logits[299] == test::tiny_logit(tokens_.back(), sum_, 299);
  }
  int32_t length() const { return length_; }

private:
  std::unique_ptr<Engine::Sequence> sequence_;
  const int32_t who_;
  std::vector<int32_t> tokens_;
  int32_t length_ = 0, sum_ = 0;
};

TEST_F(Engines, LongRequestsOfSeveralSequencesShareSteps) {
  open(); // max_rows is 5
  std::vector<Text> texts;
  for (int32_t who = 0; who < 4; ++who)
    texts.emplace_back(sequence(), who);
  std::vector<Engine::Request> requests;
  for (size_t i = 0; i < texts.size(); ++i)
    requests.push_back(texts[i].next(i == 2 ? 1 : 7 + int32_t(i)));
  engine_->run(requests.data(), requests.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_TRUE(requests[i].status.ok()) << requests[i].status.message();
    EXPECT_TRUE(texts[i].is_right()) << i;
  }
}

TEST_F(Engines, MoreSequencesThanASessionHolds) {
  open();
  std::vector<Text> texts;
  for (int32_t who = 0; who < 40; ++who)
    texts.emplace_back(sequence(), who);
  for (int round = 0; round < 3; ++round) {
    std::vector<Engine::Request> requests;
    for (Text &text : texts)
      requests.push_back(text.next(round == 0 ? 9 : 1));
    engine_->run(requests.data(), requests.size());
    for (const Text &text : texts)
      ASSERT_TRUE(text.is_right());
  }
}

TEST_F(Engines, ASequenceThatIsGivenBackIsEmptyForTheNext) {
  open();
  for (int32_t who = 0; who < 50; ++who) {
    Text text(sequence(), who);
    Engine::Request request = text.next(150);
    engine_->run(&request, 1);
    ASSERT_TRUE(request.status.ok()) << request.status.message();
    ASSERT_TRUE(text.is_right());
  }
}

TEST_F(Engines, ATextThatGoesOnStartsWhereTheLastOneEnded) {
  open();
  const auto run = [&](int32_t n, int32_t start, int32_t who) {
    Text text(sequence_for(Text::beginning(n, who)), who);
    EXPECT_EQ(text.length(), start);
    Engine::Request request = text.next(n - start);
    engine_->run(&request, 1);
    EXPECT_TRUE(request.status.ok()) << request.status.message();
    EXPECT_TRUE(text.is_right());
  };
  run(20, 0, 1);
  run(27, 20, 1);
  run(27, 26, 1); // the last token is run again, for its logits
  run(15, 0, 2);
  run(30, 27, 1); // both are there
  run(16, 15, 2);
}

TEST_F(Engines, ATextKeepsOnlyWhatItHasInCommon) {
  open();
  std::vector<int32_t> tokens = Text::beginning(20, 1);
  {
    const auto first = sequence_for(tokens);
    Engine::Request request{first.get(), tokens.data(), tokens.size(), false, {}};
    engine_->run(&request, 1);
  }
  tokens[12] = 96;
  const auto second = sequence_for(tokens);
  EXPECT_EQ(second->start(), 12);
  Engine::Request request{second.get(), tokens.data() + 12, 8, true, {}};
  engine_->run(&request, 1);
  int32_t sum = 0;
  for (const int32_t token : tokens)
    sum += token;
  EXPECT_EQ(second->logits()[0], test::tiny_logit(tokens.back(), sum, 0));
}

TEST_F(Engines, SequencesOfTheirOwnNeitherTakeNorLeaveATextOfOthers) {
  open();
  const auto run = [&](std::unique_ptr<Engine::Sequence> sequence, int32_t start) {
    Text text(std::move(sequence), 1);
    EXPECT_EQ(text.length(), start);
    Engine::Request request = text.next(20 - start);
    engine_->run(&request, 1);
    EXPECT_TRUE(text.is_right());
  };
  run(sequence(), 0);
  run(sequence_for(Text::beginning(20, 1)), 0);
  for (int i = 0; i < 40; ++i)
    run(sequence(), 0);
  run(sequence_for(Text::beginning(20, 1)), 19);
}

TEST_F(Engines, AFewTextsAreLeftAndTheOldestGoesFirst) {
  open();
  for (int32_t who = 0; who < 6; ++who) {
    Text text(sequence_for(Text::beginning(20, who)), who);
    Engine::Request request = text.next(20);
    engine_->run(&request, 1);
  }
  for (int32_t who : {5, 4, 3, 2}) {
    const std::vector<int32_t> tokens = Text::beginning(20, who);
    EXPECT_EQ(sequence_for(tokens)->start(), 19) << who;
  }
  EXPECT_EQ(sequence_for(Text::beginning(20, 1))->start(), 0);
  std::vector<Text> all; // 16 in one session: those that are left are given up before there is a second one
  for (int32_t who = 10; who < 26; ++who)
    all.emplace_back(sequence(), who);
  EXPECT_EQ(sequence_for(Text::beginning(20, 2))->start(), 0);
}

TEST_F(Engines, AFailedStepLeavesWhatCameBefore) {
  open(TinyBundle(), {20, 1});
  const std::vector<int32_t> tokens = Text::beginning(12, 1);
  {
    Text text(sequence_for(tokens), 1);
    Engine::Request request = text.next(12);
    engine_->run(&request, 1);
    std::vector<int32_t> many(30, 5);
    Engine::Request long_request{request.sequence, many.data(), many.size(), true, {}};
    engine_->run(&long_request, 1);
    EXPECT_EQ(long_request.status.code(), StatusCode::context_full);
  }
  Text text(sequence_for(Text::beginning(13, 1)), 1);
  EXPECT_EQ(text.length(), 12);
  Engine::Request request = text.next(1);
  engine_->run(&request, 1);
  EXPECT_TRUE(text.is_right());
}

TEST_F(Engines, NothingIsDoneForNoTokens) {
  open();
  const auto one = sequence();
  Engine::Request request{one.get(), nullptr, 0, true, {}};
  engine_->run(&request, 1);
  EXPECT_TRUE(request.status.ok());
  EXPECT_EQ(one->logits(), nullptr);
}

TEST_F(Engines, AFailedStepFailsAllOfItAndTakesBackWhatCameBefore) {
  open(TinyBundle(), {20, 1});
  Text text(sequence(), 1);
  Engine::Request request = text.next(12);
  engine_->run(&request, 1);
  EXPECT_TRUE(text.is_right());
  std::vector<int32_t> many(30, 5); // the first steps fit, the last does not
  Engine::Request long_request{request.sequence, many.data(), many.size(), true, {}};
  engine_->run(&long_request, 1);
  EXPECT_EQ(long_request.status.code(), StatusCode::context_full) << long_request.status.message();
  request = text.next(3); // goes on where it was
  engine_->run(&request, 1);
  EXPECT_TRUE(request.status.ok()) << request.status.message();
  EXPECT_TRUE(text.is_right());
}

TEST_F(Engines, ThreadsRunSequencesOfTheirOwnAndLeaveWhenTheyLike) {
  open();
  std::atomic<int> wrong{0}, texts_done{0};
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int t = 0; t < 20; ++t) {
      const auto who = int32_t(random() % (t % 2 ? 90 : 6));
      Text text(t % 2 ? sequence() : sequence_for(Text::beginning(30, who)), who);
      const auto steps = int(random() % 12);
      for (int i = 0; i < steps && text.length() < 150; ++i) {
        Engine::Request request = text.next(i == 0 ? 1 + int32_t(random() % 30) : 1);
        engine_->run(&request, 1);
        wrong += !request.status.ok() || !text.is_right();
      }
      ++texts_done;
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 8; ++i)
    threads.emplace_back(work, i);
  for (std::thread &t : threads)
    t.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(texts_done, 160);
}

/// The logits of a text's tokens [length - n, length), and of nothing behind them.
void expect_rows(Engine::Sequence &sequence, const std::vector<int32_t> &tokens, size_t length, size_t n) {
  int32_t sum = 0;
  for (size_t i = 0; i < length; ++i) {
    sum += tokens[i];
    if (i + n >= length) {
      const float *logits = sequence.logits(i + n - length);
      ASSERT_TRUE(logits);
      EXPECT_EQ(logits[299], test::tiny_logit(tokens[i], sum, 299)) << i;
    }
  }
  EXPECT_EQ(sequence.logits(n), nullptr);
}

TEST_F(Engines, SeveralTokensOfARequestMayWantLogits) {
  open(); // max_rows is 5
  std::vector<std::unique_ptr<Engine::Sequence>> sequences;
  std::vector<std::vector<int32_t>> tokens;
  for (int32_t who = 0; who < 4; ++who) {
    sequences.push_back(sequence());
    tokens.push_back(Text::beginning(40, who));
  }
  size_t length = 0;
  for (size_t n : {9, 1, 4, 5, 7, 2}) {
    std::vector<Engine::Request> requests;
    for (size_t i = 0; i < 4; ++i)
      requests.push_back({sequences[i].get(), tokens[i].data() + length, n, std::min(n, 1 + i * 2)});
    engine_->run(requests.data(), requests.size());
    length += n;
    for (size_t i = 0; i < 4; ++i) {
      ASSERT_TRUE(requests[i].status.ok()) << requests[i].status.message();
      expect_rows(*sequences[i], tokens[i], length, std::min(n, 1 + i * 2));
    }
  }
}

TEST_F(Engines, TokensThatAreTakenBackLeaveNothing) {
  open();
  const auto tokens = Text::beginning(30, 1);
  const std::vector<int32_t> wrong(30, 96);
  {
    const auto one = sequence_for(tokens);
    size_t length = 0;
    for (size_t n : {3, 6, 1, 5, 5}) { // right ones and three that are wrong
      std::vector<int32_t> next(tokens.begin() + ptrdiff_t(length), tokens.begin() + ptrdiff_t(length + n));
      next.insert(next.end(), wrong.begin(), wrong.begin() + 3);
      Engine::Request request{one.get(), next.data(), next.size(), n + 3};
      engine_->run(&request, 1);
      ASSERT_TRUE(request.status.ok()) << request.status.message();
      length += n;
      for (size_t i = 0, sum = 0; i < length; ++i) {
        sum += size_t(tokens[i]);
        if (i + n >= length) {
          EXPECT_EQ(one->logits(i + n - length)[0], test::tiny_logit(tokens[i], int32_t(sum), 0));
        }
      }
      one->keep(int32_t(length));
    }
  }
  std::vector<int32_t> more(tokens.begin(), tokens.begin() + 20);
  more.insert(more.end(), 10, 96); // the wrong ones were not left to it
  EXPECT_EQ(sequence_for(more)->start(), 20);
}

} // namespace
} // namespace bitnet::runtime
