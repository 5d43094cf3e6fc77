// Engine, Generation, advance(): texts in the making, any number at once on one model.
#include "python/binding/floats.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>

namespace bitnet::python {
namespace {

class Engine {
public:
  Engine(py::handle model, int32_t context, int32_t threads) : model_(modelOf(model)) {
    const bitnet_engine_options options{context, threads};
    bitnet_error error{};
    bitnet_engine *engine = nullptr;
    bitnet_status status;
    {
      py::gil_scoped_release release;
      status = bitnet_engine_create(model_.get(), &options, &engine, &error);
    }
    check(status, error);
    engine_.reset(engine);
  }
  bitnet_engine *get() const { return engine_.get(); }
  const bitnet_model *model() const { return model_.get(); }
  int32_t context() const { return bitnet_engine_context(get()); }
  int32_t threads() const { return bitnet_engine_threads(get()); }

private:
  std::shared_ptr<const bitnet_model> model_;
  std::unique_ptr<bitnet_engine, decltype(&bitnet_engine_destroy)> engine_{nullptr, bitnet_engine_destroy};
};

class Generation {
public:
  Generation(std::shared_ptr<Engine> engine, const Tokens &prompt, const bitnet_generation_options &options)
      : engine_(std::move(engine)), all_logits_(options.all_logits != 0) {
    bitnet_model_info info{};
    bitnet_model_get_info(engine_->model(), &info);
    vocab_ = info.vocab;
    bitnet_error error{};
    bitnet_generation *generation = nullptr;
    bitnet_status status;
    {
      py::gil_scoped_release release;
      status = bitnet_generation_create(engine_->get(), prompt.data(), prompt.size(), &options, &generation,
                                        &error);
    }
    check(status, error);
    generation_.reset(generation);
  }

  /// (token or -1, text, finish or None); the parts of the prompt are passed over.
  py::tuple next(const std::optional<py::function> &logits_processor) {
    for (;;) {
      bitnet_error error{};
      bitnet_generation *generation = generation_.get();
      const Turn turn({this});
      if (logits_processor)
        requireAllLogits();
      bitnet_status status;
      {
        py::gil_scoped_release release;
        status = bitnet_generation_run(&generation, 1, &error);
      }
      check(status, error);
      if (logits_processor)
        process(*logits_processor);
      if (std::optional<py::tuple> event = draw())
        return *event;
      if (PyErr_CheckSignals() != 0)
        throw py::error_already_set();
    }
  }
  void cancel() { bitnet_generation_cancel(generation_.get()); }

  py::dict timings() {
    const Turn turn({this});
    bitnet_timings timings{};
    bitnet_generation_get_timings(generation_.get(), &timings);
    using namespace py::literals;
    return py::dict(
        "prompt_tokens"_a = timings.prompt_tokens, "generated_tokens"_a = timings.generated_tokens,
        "prompt_seconds"_a = timings.prompt_seconds, "generation_seconds"_a = timings.generation_seconds,
        "cached_tokens"_a = timings.cached_tokens, "drafted_tokens"_a = timings.drafted_tokens,
        "accepted_tokens"_a = timings.accepted_tokens);
  }

  std::pair<float, std::vector<std::pair<int32_t, float>>> logprobs(int32_t n) {
    const Turn turn({this});
    return logprobsOf(drawnFrom(), vocab_, last_token_, n);
  }
  std::shared_ptr<Floats> logits() {
    const Turn turn({this});
    return Floats::copyOf(drawnFrom(), static_cast<size_t>(vocab_));
  }

  /// One step for all of them.
  static std::vector<std::optional<py::tuple>> advance(const std::vector<Generation *> &generations) {
    std::vector<bitnet_generation *> handles;
    for (const Generation *generation : generations)
      handles.push_back(generation->generation_.get());
    std::vector<bitnet_generation *> sorted = handles;
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
      check(BITNET_INVALID_ARGUMENT,
            {BITNET_INVALID_ARGUMENT, "advance: expected different generations, got one twice"});
    const Turn turn(generations);
    bitnet_error error{};
    bitnet_status status;
    {
      py::gil_scoped_release release;
      status = bitnet_generation_run(handles.data(), handles.size(), &error);
    }
    check(status, error);
    std::vector<std::optional<py::tuple>> events;
    for (Generation *generation : generations)
      events.push_back(generation->draw());
    if (PyErr_CheckSignals() != 0)
      throw py::error_already_set();
    return events;
  }

private:
  /// The right to use generations, taken in one order by all threads; waited for without the GIL, which
  /// whoever has it may need. Recursive, so that a logits processor that calls its own generation gets an
  /// exception instead of waiting for ever.
  class Turn {
  public:
    explicit Turn(std::vector<Generation *> generations) : generations_(std::move(generations)) {
      std::sort(generations_.begin(), generations_.end());
      {
        py::gil_scoped_release release;
        for (Generation *generation : generations_)
          generation->mutex_.lock();
      }
      for (Generation *generation : generations_)
        if (generation->is_processing_) {
          unlock();
          check(BITNET_INTERNAL,
                {BITNET_INTERNAL, "generation: a logits processor cannot use the generation that called it"});
        }
    }
    ~Turn() { unlock(); }
    Turn(const Turn &) = delete;
    Turn &operator=(const Turn &) = delete;

  private:
    void unlock() {
      for (Generation *generation : generations_)
        generation->mutex_.unlock();
    }
    std::vector<Generation *> generations_;
  };

  /// The event of the step; nothing if that read a part of the prompt.
  std::optional<py::tuple> draw() {
    bitnet_error error{};
    bitnet_token_event event{};
    bitnet_status status;
    {
      py::gil_scoped_release release; // drawing looks at the whole vocabulary
      status = bitnet_generation_draw(generation_.get(), &event, &error);
    }
    check(status, error);
    if (event.token < 0 && event.finish == BITNET_FINISH_NONE)
      return std::nullopt;
    if (event.token >= 0)
      last_token_ = event.token;
    static constexpr const char *kFinish[] = {nullptr, "stop", "length", "cancelled"};
    const char *finish = kFinish[event.finish];
    return py::make_tuple(event.token, textOf(event.text ? event.text : "", event.text_bytes),
                          finish ? py::object(py::str(finish)) : py::object(py::none()));
  }

  /// Hands out a copy, since the function may keep it.
  void process(const py::function &logits_processor) {
    float *logits = bitnet_generation_logits(generation_.get());
    if (!logits)
      return;
    const std::shared_ptr<Floats> copy = Floats::copyOf(logits, static_cast<size_t>(vocab_));
    const py::memoryview view(py::cast(copy));
    is_processing_ = true;
    try {
      logits_processor(view.attr("cast")("B").attr("cast")("f")); // one dimension
    } catch (...) {
      is_processing_ = false;
      throw;
    }
    is_processing_ = false;
    std::copy(copy->values.begin(), copy->values.end(), logits);
  }

  void requireAllLogits() const {
    if (!all_logits_)
      check(BITNET_INVALID_ARGUMENT,
            {BITNET_INVALID_ARGUMENT,
             "generation: logits: expected a generation with all_logits, got one without"});
  }
  const float *drawnFrom() {
    requireAllLogits();
    if (last_token_ < 0)
      check(BITNET_INVALID_ARGUMENT, {BITNET_INVALID_ARGUMENT, "generation: no token has been drawn yet"});
    return bitnet_generation_logits(generation_.get());
  }

  // Destroyed in reverse: the generation before its engine.
  std::shared_ptr<Engine> engine_;
  const bool all_logits_;
  std::unique_ptr<bitnet_generation, decltype(&bitnet_generation_destroy)> generation_{
      nullptr, bitnet_generation_destroy};
  int32_t vocab_ = 0, last_token_ = -1;
  bool is_processing_ = false;
  std::recursive_mutex mutex_;
};

std::shared_ptr<Generation> generate(std::shared_ptr<Engine> engine, const Tokens &prompt, int32_t max_tokens,
                                     float temperature, int32_t top_k, float top_p, float min_p,
                                     float repetition_penalty, int32_t repetition_window,
                                     float presence_penalty, float frequency_penalty, uint64_t seed,
                                     const std::optional<std::map<int32_t, float>> &logit_bias,
                                     const std::vector<std::string> &stop,
                                     const std::optional<Tokens> &stop_tokens, bool ignore_eos,
                                     bool reuse_prefix, bool all_logits, int32_t speculate) {
  std::vector<int32_t> bias_tokens;
  std::vector<float> bias_values;
  if (logit_bias)
    for (const auto &[token, value] : *logit_bias) {
      bias_tokens.push_back(token);
      bias_values.push_back(value);
    }
  std::vector<const char *> stop_texts;
  for (const std::string &text : stop) {
    if (text.find('\0') != std::string::npos)
      throw py::value_error("stop: expected text without NUL characters");
    stop_texts.push_back(text.c_str());
  }
  static constexpr int32_t kNone = 0; // a place to point to: no stop tokens is not the tokenizer's
  bitnet_generation_options options{};
  bitnet_generation_default(&options);
  options.sampling = {temperature,
                      top_k,
                      top_p,
                      min_p,
                      repetition_penalty,
                      repetition_window,
                      seed,
                      presence_penalty,
                      frequency_penalty,
                      bias_tokens.data(),
                      bias_values.data(),
                      bias_tokens.size()};
  options.max_tokens = max_tokens;
  options.ignore_eos = ignore_eos;
  options.reuse_prefix = reuse_prefix;
  options.all_logits = all_logits;
  options.speculate = speculate;
  options.stop = stop_texts.data();
  options.n_stop = stop_texts.size();
  if (stop_tokens) {
    options.stop_tokens = stop_tokens->empty() ? &kNone : stop_tokens->data();
    options.n_stop_tokens = stop_tokens->size();
  }
  return std::make_shared<Generation>(std::move(engine), prompt, options);
}

} // namespace

void bindGeneration(py::module_ &module) {
  using namespace py::literals;
  py::class_<Engine, std::shared_ptr<Engine>>(module, "Engine")
      .def(py::init<py::handle, int32_t, int32_t>(), "model"_a, "context"_a = 0, "threads"_a = 0)
      .def_property_readonly("context", &Engine::context)
      .def_property_readonly("threads", &Engine::threads)
      .def("generate", &generate, "prompt"_a, py::kw_only(), "max_tokens"_a = 0, "temperature"_a = 0.0f,
           "top_k"_a = 0, "top_p"_a = 1.0f, "min_p"_a = 0.0f, "repetition_penalty"_a = 1.0f,
           "repetition_window"_a = 64, "presence_penalty"_a = 0.0f, "frequency_penalty"_a = 0.0f,
           "seed"_a = 0, "logit_bias"_a = py::none(), "stop"_a = std::vector<std::string>(),
           "stop_tokens"_a = py::none(), "ignore_eos"_a = false, "reuse_prefix"_a = false,
           "all_logits"_a = false, "speculate"_a = int32_t(BITNET_SPECULATE_AUTO));
  py::class_<Generation, std::shared_ptr<Generation>>(module, "Generation")
      .def("next", &Generation::next, "logits_processor"_a = py::none())
      .def("cancel", &Generation::cancel)
      .def("timings", &Generation::timings)
      .def("logprobs", &Generation::logprobs, "n"_a)
      .def("logits", &Generation::logits);
  module.def("advance", &Generation::advance, "generations"_a);
}

} // namespace bitnet::python
