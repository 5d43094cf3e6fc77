// Sampler and logprobs(): what is done with logits that the caller holds, of a Session or of its own.
// Generations draw by themselves (generation_binding.cpp).
#include "python/binding/binding.h"

#include <algorithm>

namespace bitnet::python {
namespace {

/// f32 [vocab] of a buffer, which must outlive the pointer.
const float *logitsOf(const py::buffer_info &buffer, int32_t vocab) {
  if (buffer.format != py::format_descriptor<float>::format() || buffer.ndim != 1 || buffer.size != vocab ||
      buffer.strides[0] != static_cast<py::ssize_t>(sizeof(float)))
    throw py::value_error("logits: expected a buffer of f32 [" + std::to_string(vocab) + "], got '" +
                          buffer.format + "' with " + std::to_string(buffer.ndim) + " dimensions and " +
                          std::to_string(buffer.size) + " numbers");
  return static_cast<const float *>(buffer.ptr);
}

/// Used by one thread at a time; the GIL sees to that, for drawing takes microseconds.
class Sampler {
public:
  Sampler(int32_t vocab, float temperature, int32_t top_k, float top_p, float min_p, float repetition_penalty,
          int32_t repetition_window, float presence_penalty, float frequency_penalty, uint64_t seed)
      : vocab_(vocab) {
    bitnet_sampling sampling{};
    bitnet_sampling_default(&sampling);
    sampling.temperature = temperature;
    sampling.top_k = top_k;
    sampling.top_p = top_p;
    sampling.min_p = min_p;
    sampling.repetition_penalty = repetition_penalty;
    sampling.repetition_window = repetition_window;
    sampling.presence_penalty = presence_penalty;
    sampling.frequency_penalty = frequency_penalty;
    sampling.seed = seed;
    bitnet_error error{};
    bitnet_sampler *sampler = nullptr;
    const bitnet_status status = bitnet_sampler_create(&sampling, vocab, &sampler, &error);
    check(status, error);
    sampler_.reset(sampler);
  }
  int32_t sample(const py::buffer &logits) {
    const py::buffer_info buffer = logits.request();
    return bitnet_sampler_sample(sampler_.get(), logitsOf(buffer, vocab_));
  }
  void accept(int32_t token, bool drawn) { bitnet_sampler_accept(sampler_.get(), token, drawn); }

private:
  const int32_t vocab_;
  std::unique_ptr<bitnet_sampler, decltype(&bitnet_sampler_destroy)> sampler_{nullptr,
                                                                              bitnet_sampler_destroy};
};

std::pair<float, std::vector<std::pair<int32_t, float>>> logprobs(const py::buffer &logits, int32_t token,
                                                                  int32_t n) {
  const py::buffer_info buffer = logits.request();
  const auto vocab = static_cast<int32_t>(buffer.size);
  return logprobsOf(logitsOf(buffer, vocab), vocab, token, n);
}

} // namespace

std::pair<float, std::vector<std::pair<int32_t, float>>> logprobsOf(const float *logits, int32_t vocab,
                                                                    int32_t token, int32_t n) {
  Tokens tokens(static_cast<size_t>(std::clamp(n, 0, vocab)));
  std::vector<float> top(tokens.size());
  float own = 0;
  bitnet_error error{};
  bitnet_status status;
  {
    py::gil_scoped_release release;
    status = bitnet_logprobs(logits, vocab, token, &own, static_cast<int32_t>(tokens.size()), tokens.data(),
                             top.data(), &error);
  }
  check(status, error);
  std::vector<std::pair<int32_t, float>> best;
  for (size_t i = 0; i < tokens.size(); ++i)
    best.emplace_back(tokens[i], top[i]);
  return {own, best};
}

void bindSampling(py::module_ &module) {
  using namespace py::literals;
  py::class_<Sampler>(module, "Sampler")
      .def(py::init<int32_t, float, int32_t, float, float, float, int32_t, float, float, uint64_t>(),
           "vocab"_a, py::kw_only(), "temperature"_a = 0.0f, "top_k"_a = 0, "top_p"_a = 1.0f,
           "min_p"_a = 0.0f, "repetition_penalty"_a = 1.0f, "repetition_window"_a = 64,
           "presence_penalty"_a = 0.0f, "frequency_penalty"_a = 0.0f, "seed"_a = 0)
      .def("sample", &Sampler::sample, "logits"_a)
      .def("accept", &Sampler::accept, "token"_a, "drawn"_a = false);
  module.def("logprobs", &logprobs, "logits"_a, "token"_a, "n"_a);
}

} // namespace bitnet::python
