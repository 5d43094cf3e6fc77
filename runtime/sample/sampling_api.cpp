// The C functions of samplers and generations (bitnet.h, "sampling" and "generation").
#include "runtime/api/bitnet.h"
#include "runtime/exec/session.h"
#include "runtime/sample/generation.h"

using namespace bitnet::runtime;

struct bitnet_sampler {
  std::unique_ptr<Sampler> impl;
};

namespace {

class SessionSource final : public LogitsSource {
public:
  explicit SessionSource(Session &session) : session_(session) {}
  Status step(const bitnet_row *rows, size_t n_rows) override { return session_.step(rows, n_rows); }
  const float *logits() const override { return session_.logits(0); }
  int32_t length(int32_t sequence) const override { return session_.length(sequence); }
  int32_t vocab() const override { return session_.model().bundle().model.vocab; }
  int32_t context() const override { return session_.context(); }
  int32_t sequences() const override { return session_.sequences(); }
  int32_t max_rows() const override { return static_cast<int32_t>(session_.model().bundle().plan.max_rows); }

private:
  Session &session_;
};

} // namespace

struct bitnet_generation {
  explicit bitnet_generation(Session &session) : source(session) {}
  SessionSource source;
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

void bitnet_sampler_accept(bitnet_sampler *sampler, int32_t token) {
  if (sampler)
    sampler->impl->accept(token);
}

void bitnet_generation_default(bitnet_generation_options *options) {
  if (!options)
    return;
  *options = {};
  bitnet_sampling_default(&options->sampling);
}

bitnet_status bitnet_generation_create(bitnet_session *session, const int32_t *prompt, size_t n_prompt,
                                       const bitnet_generation_options *options,
                                       bitnet_generation **generation, bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!session || !generation)
      return invalid_argument(
          "bitnet_generation_create: expected a session and a place for the generation, got NULL");
    *generation = nullptr;
    bitnet_generation_options chosen;
    bitnet_generation_default(&chosen);
    if (options)
      chosen = *options;
    auto made = std::make_unique<bitnet_generation>(*session->impl);
    auto created =
        Generation::create(made->source, session->impl->model().tokenizer(), prompt, n_prompt, chosen);
    if (!created.ok())
      return std::move(created).status();
    made->impl = *std::move(created);
    *generation = made.release();
    return {};
  });
}

void bitnet_generation_destroy(bitnet_generation *generation) { delete generation; }

bitnet_status bitnet_generation_next(bitnet_generation *generation, bitnet_token_event *event,
                                     bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!generation || !event)
      return invalid_argument(
          "bitnet_generation_next: expected a generation and a place for the event, got NULL");
    return generation->impl->next(event);
  });
}

void bitnet_generation_cancel(bitnet_generation *generation) {
  if (generation)
    generation->impl->cancel();
}

void bitnet_generation_get_timings(const bitnet_generation *generation, bitnet_timings *timings) {
  if (generation && timings)
    *timings = generation->impl->timings();
}
