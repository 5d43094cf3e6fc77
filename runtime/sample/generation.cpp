// See generation.h.
#include "runtime/sample/generation.h"

#include <algorithm>
#include <chrono>

namespace bitnet::runtime {
namespace {

/// Adds the time it lives to *seconds.
class Stopwatch {
public:
  explicit Stopwatch(double *seconds) : seconds_(seconds) {}
  ~Stopwatch() {
    *seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

private:
  double *seconds_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

} // namespace

Result<std::unique_ptr<Generation>> Generation::create(LogitsSource &source, const Tokenizer *tokenizer,
                                                       const int32_t *prompt, size_t n_prompt,
                                                       const bitnet_generation_options &options) {
  if (options.sequence < 0 || options.sequence >= source.sequences())
    return invalid_argument("generation: sequence: expected 0 to " + std::to_string(source.sequences() - 1) +
                            ", got " + std::to_string(options.sequence));
  if (n_prompt == 0 || !prompt)
    return invalid_argument(
        "generation: prompt: expected at least one token, got none; start with the BOS token");
  const auto room = static_cast<size_t>(source.context() - source.length(options.sequence));
  if (n_prompt > room)
    return Status(StatusCode::context_full, "generation: prompt: expected at most " + std::to_string(room) +
                                                " tokens (context " + std::to_string(source.context()) +
                                                ", " + std::to_string(source.length(options.sequence)) +
                                                " used), got " + std::to_string(n_prompt) +
                                                "; create the session with a larger context");
  for (size_t i = 0; i < n_prompt; ++i)
    if (prompt[i] < 0 || prompt[i] >= source.vocab())
      return invalid_argument("generation: prompt: token " + std::to_string(i) +
                              ": expected an id from 0 to " + std::to_string(source.vocab() - 1) + ", got " +
                              std::to_string(prompt[i]));
  if (options.n_stop > 0 && (!options.stop || !tokenizer))
    return invalid_argument(
        tokenizer ? "generation: stop: expected strings, got NULL"
                  : "generation: stop: the bundle has no tokenizer, so there is no text to search");
  std::vector<std::string> strings;
  for (size_t i = 0; i < options.n_stop; ++i) {
    if (!options.stop[i])
      return invalid_argument("generation: stop string " + std::to_string(i) + ": expected text, got NULL");
    strings.emplace_back(options.stop[i]);
  }
  auto stop_strings = StopStrings::create(std::move(strings));
  if (!stop_strings.ok())
    return std::move(stop_strings).status().in("generation");
  auto sampler = Sampler::create(options.sampling, source.vocab());
  if (!sampler.ok())
    return std::move(sampler).status().in("generation");

  std::unique_ptr<Generation> generation(
      new Generation(source, tokenizer, *std::move(stop_strings), options));
  generation->sampler_ = *std::move(sampler);
  generation->prompt_.assign(prompt, prompt + n_prompt);
  generation->rows_.reserve(std::max(1, source.max_rows()));
  for (size_t i = 0; i < n_prompt; ++i)
    generation->sampler_->accept(prompt[i]);
  return generation;
}

Generation::Generation(LogitsSource &source, const Tokenizer *tokenizer, StopStrings stop_strings,
                       const bitnet_generation_options &options)
    : source_(source), tokenizer_(tokenizer), stop_strings_(std::move(stop_strings)),
      sequence_(options.sequence), max_tokens_(options.max_tokens), ignore_eos_(options.ignore_eos != 0) {}

Status Generation::next(bitnet_token_event *event) {
  *event = {};
  event->token = -1;
  event->text = "";
  if (finish_ != BITNET_FINISH_NONE) {
    event->finish = finish_;
    return {};
  }
  characters_.clear();
  text_.clear();
  if (n_prompt_done_ < prompt_.size())
    BITNET_RETURN_IF_ERROR(run_prompt());
  else if (last_token_ >= 0 && !cancelled_.load(std::memory_order_relaxed))
    BITNET_RETURN_IF_ERROR(run_token());
  if (cancelled_.load(std::memory_order_relaxed)) {
    end_event(BITNET_FINISH_CANCELLED, -1, event);
    return {};
  }

  Stopwatch watch(&timings_.generation_seconds);
  const float *logits = source_.logits();
  if (!logits)
    return internal_error("generation: expected logits of the last row, got none");
  const int32_t token = sampler_->sample(logits);
  sampler_->accept(token);
  last_token_ = token;
  ++timings_.generated_tokens;
  end_event(take(token), token, event);
  return {};
}

Status Generation::run_prompt() {
  Stopwatch watch(&timings_.prompt_seconds);
  const auto batch = static_cast<size_t>(std::max(1, source_.max_rows()));
  while (n_prompt_done_ < prompt_.size() && !cancelled_.load(std::memory_order_relaxed)) {
    rows_.clear();
    const size_t end = std::min(prompt_.size(), n_prompt_done_ + batch);
    const int32_t position = source_.length(sequence_);
    for (size_t i = n_prompt_done_; i < end; ++i)
      rows_.push_back({prompt_[i], position + static_cast<int32_t>(i - n_prompt_done_), sequence_,
                       i + 1 == prompt_.size()});
    BITNET_RETURN_IF_ERROR(source_.step(rows_.data(), rows_.size()));
    n_prompt_done_ = end;
    timings_.prompt_tokens = static_cast<int32_t>(end);
  }
  return {};
}

Status Generation::run_token() {
  Stopwatch watch(&timings_.generation_seconds);
  const bitnet_row row = {last_token_, source_.length(sequence_), sequence_, 1};
  return source_.step(&row, 1);
}

/// Adds the text of a drawn token and says whether it is the last one.
bitnet_finish Generation::take(int32_t token) {
  if (tokenizer_) {
    const std::vector<int32_t> &stops = tokenizer_->stop_tokens();
    if (!ignore_eos_ && std::find(stops.begin(), stops.end(), token) != stops.end())
      return BITNET_FINISH_STOP;
    // A model may have more rows than its tokenizer has tokens; those and special tokens have no text.
    if (token < tokenizer_->size() && !tokenizer_->is_special(token))
      utf8_.append(tokenizer_->token_bytes(token), &characters_);
    if (stop_strings_.append(characters_, &text_)) {
      utf8_ = {}; // what comes after the stop string is not part of the text
      return BITNET_FINISH_STOP;
    }
  }
  const bool at_limit = max_tokens_ > 0 && timings_.generated_tokens >= max_tokens_;
  return at_limit || source_.length(sequence_) >= source_.context() ? BITNET_FINISH_LENGTH
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
