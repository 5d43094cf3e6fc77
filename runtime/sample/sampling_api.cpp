// The C functions of samplers, engines and generations (bitnet.h, "sampling" and "generation").
#include "runtime/api/bitnet.h"
#include "runtime/exec/engine.h"
#include "runtime/sample/generation.h"

#include <algorithm>
#include <chrono>

using namespace bitnet::runtime;

struct bitnet_sampler {
  std::unique_ptr<Sampler> impl;
};

struct bitnet_generation {
  Engine *engine;
  std::unique_ptr<Engine::Sequence> sequence;
  std::unique_ptr<Generation> impl;
};

void bitnet_sampling_default(bitnet_sampling *sampling) {
  if (!sampling)
    return;
  *sampling = {};
  sampling->top_p = 1;
  sampling->repetition_penalty = 1;
}

bitnet_status bitnet_sampler_create(const bitnet_sampling *sampling, int32_t vocab, bitnet_sampler **sampler,
                                    bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!sampling || !sampler)
      return invalid_argument(
          "bitnet_sampler_create: expected options and a place for the sampler, got NULL");
    *sampler = nullptr;
    auto created = Sampler::create(*sampling, vocab);
    if (!created.ok())
      return std::move(created).status();
    *sampler = new bitnet_sampler{*std::move(created)};
    return {};
  });
}

void bitnet_sampler_destroy(bitnet_sampler *sampler) { delete sampler; }

int32_t bitnet_sampler_sample(bitnet_sampler *sampler, const float *logits) {
  return sampler && logits ? sampler->impl->sample(logits) : -1;
}

void bitnet_sampler_accept(bitnet_sampler *sampler, int32_t token, int drawn) {
  if (sampler)
    sampler->impl->accept(token, drawn != 0);
}

bitnet_status bitnet_logprobs(const float *logits, int32_t vocab, int32_t token, float *logprob, int32_t n,
                              int32_t *top_tokens, float *top_logprobs, bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!logits || vocab < 1 || n < 0 || n > vocab || (logprob && (token < 0 || token >= vocab)))
      return invalid_argument(
          "bitnet_logprobs: expected logits, 0 <= token < vocab and 0 <= n <= vocab, got vocab " +
          std::to_string(vocab) + ", token " + std::to_string(token) + ", n " + std::to_string(n));
    const LogSoftmax distribution(logits, vocab);
    if (logprob)
      *logprob = distribution.of(token);
    const std::vector<int32_t> best = n > 0 ? distribution.best(n) : std::vector<int32_t>();
    for (int32_t i = 0; i < n; ++i) {
      if (top_tokens)
        top_tokens[i] = best[size_t(i)];
      if (top_logprobs)
        top_logprobs[i] = distribution.of(best[size_t(i)]);
    }
    return {};
  });
}

bitnet_status bitnet_engine_create(const bitnet_model *model, const bitnet_engine_options *options,
                                   bitnet_engine **engine, bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!model || !engine)
      return invalid_argument("bitnet_engine_create: expected a model and a place for the engine, got NULL");
    *engine = nullptr;
    EngineOptions asked;
    if (options)
      asked = {options->context, options->threads};
    auto created = Engine::create(*model->impl, asked);
    if (!created.ok())
      return std::move(created).status();
    *engine = new bitnet_engine{*std::move(created)};
    return {};
  });
}

void bitnet_engine_destroy(bitnet_engine *engine) { delete engine; }
int32_t bitnet_engine_context(const bitnet_engine *engine) { return engine ? engine->impl->context() : 0; }
void bitnet_engine_head_stats(bitnet_engine *engine, bitnet_head_stats *stats) {
  if (stats)
    *stats = engine ? engine->impl->head_stats() : bitnet_head_stats{};
}
int32_t bitnet_engine_threads(const bitnet_engine *engine) { return engine ? engine->impl->threads() : 0; }

void bitnet_generation_default(bitnet_generation_options *options) {
  if (!options)
    return;
  *options = {};
  bitnet_sampling_default(&options->sampling);
}

bitnet_status bitnet_generation_create(bitnet_engine *engine, const int32_t *prompt, size_t n_prompt,
                                       const bitnet_generation_options *options,
                                       bitnet_generation **generation, bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!engine || !generation)
      return invalid_argument(
          "bitnet_generation_create: expected an engine and a place for the generation, got NULL");
    *generation = nullptr;
    bitnet_generation_options chosen;
    bitnet_generation_default(&chosen);
    if (options)
      chosen = *options;
    Engine &runs = *engine->impl;
    const Bundle &bundle = runs.model().bundle();
    auto created = Generation::create({bundle.model.vocab, runs.context(), int32_t(bundle.plan.max_rows)},
                                      runs.model().tokenizer(), prompt, n_prompt, chosen);
    if (!created.ok())
      return std::move(created).status();
    auto sequence = chosen.reuse_prefix ? runs.open_for(prompt, n_prompt) : runs.open();
    if (!sequence.ok())
      return std::move(sequence).status().in("generation");
    (*created)->start_at((*sequence)->start());
    *generation = new bitnet_generation{&runs, *std::move(sequence), *std::move(created)};
    return {};
  });
}

void bitnet_generation_destroy(bitnet_generation *generation) {
  if (generation)
    generation->sequence->keep(generation->impl->length()); // guesses are not left to others
  delete generation;
}

bitnet_status bitnet_generation_run(bitnet_generation *const *generations, size_t n_generations,
                                    bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    std::vector<Engine::Request> requests;
    std::vector<Generation *> running;
    size_t rows = 0;
    for (size_t i = 0; i < n_generations; ++i) {
      if (!generations || !generations[i])
        return invalid_argument("bitnet_generation_run: expected generations, got NULL");
      if (generations[i]->engine != generations[0]->engine)
        return invalid_argument(
            "bitnet_generation_run: expected generations of one engine, got another's at " +
            std::to_string(i));
      // Rows of others in the step: of those before, one of each of those behind, and of other threads'.
      Engine &engine = *generations[i]->engine;
      const size_t others = rows + std::max(n_generations, engine.companions()) - i - 1;
      const Generation::Tokens tokens = generations[i]->impl->next_tokens(engine.costs(), others);
      if (tokens.n == 0)
        continue;
      rows += tokens.n;
      generations[i]->sequence->keep(generations[i]->impl->length());
      requests.push_back({generations[i]->sequence.get(), tokens.data, tokens.n, tokens.n_logits,
                          tokens.need.best, tokens.need.margin, tokens.need.check});
      running.push_back(generations[i]->impl.get());
    }
    if (requests.empty())
      return {};
    const auto start = std::chrono::steady_clock::now();
    generations[0]->engine->run(requests.data(), requests.size());
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    Status status;
    for (size_t i = 0; i < requests.size(); ++i)
      if (requests[i].status.ok())
        running[i]->ran(seconds);
      else if (status.ok())
        status = std::move(requests[i].status);
    return status;
  });
}

bitnet_status bitnet_generation_draw(bitnet_generation *generation, bitnet_token_event *event,
                                     bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!generation || !event)
      return invalid_argument(
          "bitnet_generation_draw: expected a generation and a place for the event, got NULL");
    generation->impl->draw(generation->sequence->logits(generation->impl->row()), event);
    return {};
  });
}

bitnet_status bitnet_generation_next(bitnet_generation *generation, bitnet_token_event *event,
                                     bitnet_error *error) {
  const bitnet_status status = bitnet_generation_run(&generation, 1, error);
  return status == BITNET_OK ? bitnet_generation_draw(generation, event, error) : status;
}

float *bitnet_generation_logits(bitnet_generation *generation) {
  return generation && generation->impl->all_logits() ? generation->sequence->logits(generation->impl->row())
                                                      : nullptr;
}

void bitnet_generation_cancel(bitnet_generation *generation) {
  if (generation)
    generation->impl->cancel();
}

void bitnet_generation_get_timings(const bitnet_generation *generation, bitnet_timings *timings) {
  if (generation && timings)
    *timings = generation->impl->timings();
}
