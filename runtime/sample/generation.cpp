// See generation.h.
#include "runtime/sample/generation.h"

#include <algorithm>
#include <chrono>

namespace bitnet::runtime {
namespace {

constexpr int32_t kMostGuesses = 15; ///< in a step
/// With up to 8 rows kernels unpack the weights once for all; beyond, each pays for itself.
constexpr int32_t kMostCheapGuesses = 7;
/// Guesses must promise to be worth this much, since promises are estimates.
constexpr double kWorthGuessing = 1.03;

Status check_tokens(const char *what, const int32_t *tokens, size_t n, int32_t vocab) {
  for (size_t i = 0; i < n; ++i)
    if (tokens[i] < 0 || tokens[i] >= vocab)
      return invalid_argument(std::string("generation: ") + what + " " + std::to_string(i) +
                              ": expected an id from 0 to " + std::to_string(vocab - 1) + ", got " +
                              std::to_string(tokens[i]));
  return {};
}

Result<StopStrings> stop_strings_of(const bitnet_generation_options &options, const Tokenizer *tokenizer) {
  if (options.n_stop > 0 && (!options.stop || !tokenizer))
    return invalid_argument(tokenizer ? "stop: expected strings, got NULL"
                                      : "stop: the bundle has no tokenizer, so there is no text to search");
  std::vector<std::string> strings;
  for (size_t i = 0; i < options.n_stop; ++i) {
    if (!options.stop[i])
      return invalid_argument("stop string " + std::to_string(i) + ": expected text, got NULL");
    strings.emplace_back(options.stop[i]);
  }
  return StopStrings::create(std::move(strings));
}

} // namespace

Result<std::unique_ptr<Generation>> Generation::create(const Limits &limits, const Tokenizer *tokenizer,
                                                       const int32_t *prompt, size_t n_prompt,
                                                       const bitnet_generation_options &options) {
  if (n_prompt == 0 || !prompt)
    return invalid_argument(
        "generation: prompt: expected at least one token, got none; start with the BOS token");
  if (n_prompt > static_cast<size_t>(limits.context))
    return Status(StatusCode::context_full, "generation: prompt: expected at most " +
                                                std::to_string(limits.context) +
                                                " tokens (the context), got " + std::to_string(n_prompt) +
                                                "; shorten it or use a larger context");
  BITNET_RETURN_IF_ERROR(check_tokens("prompt: token", prompt, n_prompt, limits.vocab));
  if (options.n_stop_tokens > 0 && !options.stop_tokens)
    return invalid_argument("generation: stop_tokens: expected ids, got NULL");
  BITNET_RETURN_IF_ERROR(
      check_tokens("stop_tokens: token", options.stop_tokens, options.n_stop_tokens, limits.vocab));
  if (options.prompt_rows < 0)
    return invalid_argument("generation: prompt_rows: expected 0 or more, got " +
                            std::to_string(options.prompt_rows));
  if (options.speculate < BITNET_SPECULATE_NGRAM || options.speculate > kMostGuesses)
    return invalid_argument("generation: speculate: expected BITNET_SPECULATE_ (0, -1 or -2) or up to " +
                            std::to_string(kMostGuesses) + " tokens, got " +
                            std::to_string(options.speculate));
  auto stop_strings = stop_strings_of(options, tokenizer);
  if (!stop_strings.ok())
    return std::move(stop_strings).status().in("generation");
  auto sampler = Sampler::create(options.sampling, limits.vocab);
  if (!sampler.ok())
    return std::move(sampler).status().in("generation");

  Limits chosen = limits;
  if (options.prompt_rows > 0)
    chosen.max_rows = options.prompt_rows;
  std::unique_ptr<Generation> generation(
      new Generation(chosen, tokenizer, *std::move(stop_strings), options));
  generation->sampler_ = *std::move(sampler);
  generation->prompt_.assign(prompt, prompt + n_prompt);
  const bool speculates = options.speculate == BITNET_SPECULATE_AUTO
                              ? !(options.sampling.temperature > 0)
                              : options.speculate != BITNET_SPECULATE_OFF;
  if (speculates) {
    generation->only_if_it_pays_ = options.speculate <= 0;
    generation->most_guesses_ =
        std::min(options.speculate > 0 ? options.speculate : kMostCheapGuesses, limits.max_rows - 1);
    const size_t room =
        size_t(limits.context) + 1 - n_prompt; // the last token that is drawn needs no position
    generation->drafts_ = std::make_unique<NgramDrafts>(
        n_prompt + (options.max_tokens > 0 ? std::min(size_t(options.max_tokens), room) : room));
  }
  generation->planned_.reserve(size_t(generation->most_guesses_) + 1);
  for (size_t i = 0; i < n_prompt; ++i) {
    generation->sampler_->accept(prompt[i], false);
    if (speculates)
      generation->drafts_->append(prompt[i], false);
  }
  return generation;
}

Generation::Generation(const Limits &limits, const Tokenizer *tokenizer, StopStrings stop_strings,
                       const bitnet_generation_options &options)
    : limits_(limits), tokenizer_(tokenizer), stop_strings_(std::move(stop_strings)),
      max_tokens_(options.max_tokens), all_logits_(options.all_logits != 0) {
  if (options.ignore_eos)
    return;
  if (options.stop_tokens)
    stop_tokens_.assign(options.stop_tokens, options.stop_tokens + options.n_stop_tokens);
  else if (tokenizer)
    stop_tokens_ = tokenizer->stop_tokens();
}

Generation::Tokens Generation::next_tokens(const StepCosts &costs, size_t others) {
  if (finish_ != BITNET_FINISH_NONE || can_draw_ || is_cancelled())
    return {nullptr, 0, 0, {}};
  if (!prompt_done()) {
    const size_t n = std::min(prompt_.size() - n_run_, static_cast<size_t>(std::max(1, limits_.max_rows)));
    const bool is_end = n_run_ + n == prompt_.size();
    return {prompt_.data() + n_run_, n, is_end, all_logits_ ? LogitsNeed{0, 0} : sampler_->need()};
  }
  if (planned_ran_ && row_ + 1 < planned_.size() &&
      planned_[row_ + 1] == last_token_) { // guessed right: it ran already
    ++row_;
    ++n_run_;
    ++timings_.accepted_tokens;
    can_draw_ = true;
    return {nullptr, 0, 0, {}};
  }
  planned_.assign(1, last_token_);
  planned_ran_ = false;
  const size_t n_guesses = guess(costs, others);
  return {planned_.data(), planned_.size(), planned_.size(),
          all_logits_ ? LogitsNeed{0, 0} : sampler_->need(int32_t(n_guesses))};
}

/// Appends guesses to planned_; how many.
size_t Generation::guess(const StepCosts &costs, size_t others) {
  if (!drafts_)
    return 0;
  size_t most = std::min(size_t(most_guesses_), size_t(limits_.context) - n_run_ - 1);
  if (max_tokens_ > 0) // each guess that runs draws one more token
    most = std::min(most, size_t(max_tokens_ - timings_.generated_tokens - 1));
  size_t n = most;
  if (only_if_it_pays_) { // the most tokens for the time
    n = 0;
    double reach = 1, tokens = double(others) + 1;
    const double alone = tokens / costs.of(others + 1);
    double best = alone * kWorthGuessing;
    for (size_t i = 0; i < most; ++i) {
      reach *= drafts_->chance(i);
      tokens += reach;
      if (const double rate = tokens / costs.of(others + 2 + i); rate > best) {
        best = rate;
        n = i + 1;
      }
    }
  }
  if (n == 0)
    return 0;
  planned_.resize(1 + n);
  n = drafts_->draft(n, planned_.data() + 1);
  planned_.resize(1 + n);
  for (size_t i = 1; i < planned_.size(); ++i) // a token that ends the text is not run
    if (is_stop_token(planned_[i]))
      planned_.resize(i);
  return planned_.size() - 1;
}

void Generation::start_at(int32_t n) {
  n_run_ = size_t(n);
  timings_.prompt_tokens = timings_.cached_tokens = n;
}

void Generation::ran(double seconds) {
  if (!prompt_done()) {
    n_run_ += std::min(prompt_.size() - n_run_, static_cast<size_t>(std::max(1, limits_.max_rows)));
    can_draw_ = prompt_done();
    timings_.prompt_tokens = static_cast<int32_t>(n_run_);
    timings_.prompt_seconds += seconds;
  } else {
    ++n_run_;
    planned_ran_ = true;
    row_ = 0;
    can_draw_ = true;
    timings_.drafted_tokens += int32_t(planned_.size() - 1);
    timings_.generation_seconds += seconds;
  }
}

void Generation::draw(const float *logits, bitnet_token_event *event) {
  *event = {};
  event->token = -1;
  event->text = "";
  if (finish_ != BITNET_FINISH_NONE) {
    event->finish = finish_;
    return;
  }
  characters_.clear();
  text_.clear();
  if (is_cancelled())
    return end_event(BITNET_FINISH_CANCELLED, -1, event);
  if (!can_draw_)
    return;
  const auto start = std::chrono::steady_clock::now();
  can_draw_ = false;
  const int32_t token = sampler_->sample(logits);
  sampler_->accept(token, true);
  if (drafts_)
    drafts_->append(token, true);
  last_token_ = token;
  ++timings_.generated_tokens;
  end_event(take(token), token, event);
  timings_.generation_seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

bool Generation::is_stop_token(int32_t token) const {
  return std::find(stop_tokens_.begin(), stop_tokens_.end(), token) != stop_tokens_.end();
}

/// Adds the text of a drawn token and says whether it is the last one.
bitnet_finish Generation::take(int32_t token) {
  if (is_stop_token(token))
    return BITNET_FINISH_STOP;
  if (tokenizer_) {
    // A model may have more rows than its tokenizer has tokens; those and special tokens have no text.
    if (token < tokenizer_->size() && !tokenizer_->is_special(token))
      utf8_.append(tokenizer_->token_bytes(token), &characters_);
    if (stop_strings_.append(characters_, &text_)) {
      utf8_ = {}; // what comes after the stop string is not part of the text
      return BITNET_FINISH_STOP;
    }
  }
  const bool at_limit = max_tokens_ > 0 && timings_.generated_tokens >= max_tokens_;
  return at_limit || n_run_ >= static_cast<size_t>(limits_.context) ? BITNET_FINISH_LENGTH
                                                                    : BITNET_FINISH_NONE;
}

void Generation::end_event(bitnet_finish finish, int32_t token, bitnet_token_event *event) {
  if (finish != BITNET_FINISH_NONE) { // what was held back is certain now
    finish_ = finish;
    characters_.clear();
    utf8_.finish(&characters_);
    if (!stop_strings_.append(characters_, &text_))
      stop_strings_.finish(&text_);
  }
  event->token = token;
  event->text = text_.c_str();
  event->text_bytes = text_.size();
  event->finish = finish;
}

} // namespace bitnet::runtime
