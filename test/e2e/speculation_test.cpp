// Guessed tokens decide how many steps there are and nothing else: on the repository's model, tokens and all
// logits that they were drawn from are those of plain greedy decoding bit for bit, for prompts that repeat
// themselves and prompts that do not, whatever is asked of the guesses, with one thread and two.
#include "test/e2e/compiled_model.h"
#include <cstring>

using namespace bitnet;
using namespace bitnet::e2e;

namespace {

struct Text {
  Tokens tokens;
  Logits logits; // [tokens, vocab]: what each was drawn from
  bitnet_timings timings;
};

Text generate(bitnet_engine *engine, int vocab, const Tokens &prompt, int speculate) {
  bitnet_generation_options options;
  bitnet_generation_default(&options);
  options.max_tokens = 120;
  options.ignore_eos = 1;
  options.speculate = speculate;
  options.all_logits = 1;
  bitnet_error error{};
  bitnet_generation *generation = nullptr;
  EXPECT_EQ(bitnet_generation_create(engine, prompt.data(), prompt.size(), &options, &generation, &error),
            BITNET_OK)
      << error.message;
  Text text{};
  bitnet_token_event event{};
  while (event.finish == BITNET_FINISH_NONE) {
    EXPECT_EQ(bitnet_generation_run(&generation, 1, &error), BITNET_OK) << error.message;
    const float *logits = bitnet_generation_logits(generation);
    const Logits row(logits ? logits : nullptr, logits ? logits + vocab : nullptr);
    EXPECT_EQ(bitnet_generation_draw(generation, &event, &error), BITNET_OK) << error.message;
    if (event.token < 0)
      continue; // a part of the prompt
    text.tokens.push_back(event.token);
    text.logits.insert(text.logits.end(), row.begin(), row.end());
  }
  bitnet_generation_get_timings(generation, &text.timings);
  bitnet_generation_destroy(generation);
  return text;
}

/// A verse that stands there thrice, one that the model goes on from by itself, ids that never come again, a
/// single token, and one token many times.
std::vector<Tokens> prompts() {
  Tokens thrice = {4080}, without = {4080}, ones(30, 17);
  for (int i = 0; i < 60; ++i)
    thrice.push_back(300 + i % 20 * 7);
  for (int i = 0; i < 40; ++i)
    without.push_back(100 + i * 97);
  return {thrice, {4080, 300, 17}, without, {4080}, ones};
}

TEST(Speculation, GivesTheTokensAndLogitsOfPlainGreedy) {
  const Model model = openModel(compiled(shippedModel(), "speculation-kjv", {"--target=host"}));
  const int vocab = vocabulary(model.get());
  std::vector<Text> plain;
  for (const int threads : {1, 2}) {
    bitnet_engine *engine = nullptr;
    bitnet_error error{};
    const bitnet_engine_options options{0, threads};
    ASSERT_EQ(bitnet_engine_create(model.get(), &options, &engine, &error), BITNET_OK) << error.message;
    int guessed = 0, accepted = 0;
    for (size_t p = 0; p < prompts().size(); ++p) {
      const Text off = generate(engine, vocab, prompts()[p], BITNET_SPECULATE_OFF);
      ASSERT_EQ(off.tokens.size(), 120u);
      ASSERT_EQ(off.logits.size(), 120u * size_t(vocab));
      EXPECT_EQ(off.timings.drafted_tokens, 0);
      if (threads == 1)
        plain.push_back(off);
      for (const int speculate : {int(BITNET_SPECULATE_OFF), int(BITNET_SPECULATE_AUTO),
                                  int(BITNET_SPECULATE_NGRAM), 1, 2, 3, 7, 15}) {
        const Text got =
            speculate == BITNET_SPECULATE_OFF ? off : generate(engine, vocab, prompts()[p], speculate);
        EXPECT_EQ(got.tokens, plain[p].tokens)
            << "prompt " << p << ", speculate " << speculate << ", threads " << threads;
        EXPECT_TRUE(
            got.logits.size() == plain[p].logits.size() &&
            std::memcmp(got.logits.data(), plain[p].logits.data(), got.logits.size() * sizeof(float)) == 0)
            << "prompt " << p << ", speculate " << speculate << ", threads " << threads;
        if (speculate > 0) { // the others guess as far as it pays, which the machine's mood decides
          guessed += got.timings.drafted_tokens;
          accepted += got.timings.accepted_tokens;
        }
      }
    }
    bitnet_engine_destroy(engine);
    EXPECT_GT(accepted, 1000); // there was something to verify, of both kinds
    EXPECT_GT(guessed - accepted, 1000);
  }
}

} // namespace
