// bitnet_py._runtime: the C interface as Python classes, nothing added. The GIL is released while the runtime
// computes or reads files. A status becomes an exception class of bitnet_py.errors, which decides what it
// also is.
#include "python/binding/binding.h"

#include <cstring>
#include <mutex>
#include <optional>

using namespace bitnet::python;

namespace {

class Model {
public:
  Model(const std::string &path, const std::optional<std::string> &cpu) {
    bitnet_model_options options{};
    options.cpu = cpu ? cpu->c_str() : nullptr;
    bitnet_error error{};
    bitnet_model *model = nullptr;
    bitnet_status status;
    {
      py::gil_scoped_release release;
      status = bitnet_model_open(path.c_str(), &options, &model, &error);
    }
    check(status, error);
    model_.reset(model);
  }
  const bitnet_model *get() const { return model_.get(); }

  py::dict info() const {
    bitnet_model_info info{};
    bitnet_model_get_info(get(), &info);
    using namespace py::literals;
    return py::dict("name"_a = info.name, "family"_a = info.family, "cpu"_a = info.cpu, "head"_a = info.head,
                    "layers"_a = info.layers, "width"_a = info.width, "ffn_width"_a = info.ffn_width,
                    "heads"_a = info.heads, "kv_heads"_a = info.kv_heads, "head_dim"_a = info.head_dim,
                    "vocab"_a = info.vocab, "context"_a = info.context, "max_rows"_a = info.max_rows,
                    "bos"_a = info.bos, "eos"_a = info.eos, "ternary_weights"_a = info.ternary_weights,
                    "file_bytes"_a = info.file_bytes, "weight_bytes"_a = info.weight_bytes,
                    "bytes_per_token"_a = info.bytes_per_token,
                    "kv_bytes_per_token"_a = info.kv_bytes_per_token);
  }
  const char *describe() const { return bitnet_model_describe(get()); }

  py::str renderChat(const std::vector<std::pair<std::string, std::string>> &messages,
                     bool open_answer) const {
    std::vector<bitnet_message> views;
    for (const auto &[role, content] : messages)
      views.push_back({role.c_str(), content.c_str()});
    const std::string text = filled<std::string>(4096, [&](char *bytes, size_t room, size_t *count,
                                                           bitnet_error *error) {
      return bitnet_chat_render(get(), views.data(), views.size(), open_answer, bytes, room, count, error);
    });
    return textOf(text.data(), text.size());
  }

private:
  std::unique_ptr<bitnet_model, decltype(&bitnet_model_close)> model_{nullptr, bitnet_model_close};
};

/// A session of one sequence and the one generation that uses it.
class Generation {
public:
  Generation(std::shared_ptr<Model> model, const Tokens &prompt, int32_t context, int32_t threads,
             int32_t max_tokens, const bitnet_sampling &sampling, bool ignore_eos,
             const std::vector<std::string> &stop)
      : model_(std::move(model)) {
    std::vector<const char *> stop_texts;
    for (const std::string &text : stop)
      stop_texts.push_back(text.c_str());
    bitnet_generation_options options{};
    bitnet_generation_default(&options);
    options.sampling = sampling;
    options.max_tokens = max_tokens;
    options.ignore_eos = ignore_eos;
    options.stop = stop_texts.data();
    options.n_stop = stop_texts.size();
    bitnet_session_options session_options{};
    session_options.context = context;
    session_options.threads = threads;
    session_options.sequences = 1;

    bitnet_error error{};
    bitnet_session *session = nullptr;
    bitnet_generation *generation = nullptr;
    bitnet_status status;
    {
      py::gil_scoped_release release;
      status = bitnet_session_create(model_->get(), &session_options, &session, &error);
      session_.reset(session);
      if (status == BITNET_OK)
        status =
            bitnet_generation_create(session, prompt.data(), prompt.size(), &options, &generation, &error);
      generation_.reset(generation);
    }
    check(status, error);
  }

  /// (token or -1, text, finish or None)
  py::tuple next() {
    bitnet_error error{};
    bitnet_token_event event{};
    bitnet_status status;
    // The lock is held until the text is copied, since another thread's next() would overwrite it.
    std::unique_lock<std::mutex> lock(mutex_, std::defer_lock);
    {
      py::gil_scoped_release release;
      lock.lock();
      status = bitnet_generation_next(generation_.get(), &event, &error);
    }
    if (status == BITNET_CANCELLED)
      return py::make_tuple(-1, "", "cancelled");
    check(status, error);
    static constexpr const char *kFinish[] = {nullptr, "stop", "length", "cancelled"};
    const char *finish = kFinish[event.finish];
    return py::make_tuple(event.token, textOf(event.text ? event.text : "", event.text_bytes),
                          finish ? py::object(py::str(finish)) : py::object(py::none()));
  }
  void cancel() { bitnet_generation_cancel(generation_.get()); }
  py::dict timings() {
    bitnet_timings timings{};
    {
      py::gil_scoped_release release; // next() may hold the lock and wait for the GIL
      std::lock_guard<std::mutex> lock(mutex_);
      bitnet_generation_get_timings(generation_.get(), &timings);
    }
    using namespace py::literals;
    return py::dict(
        "prompt_tokens"_a = timings.prompt_tokens, "generated_tokens"_a = timings.generated_tokens,
        "prompt_seconds"_a = timings.prompt_seconds, "generation_seconds"_a = timings.generation_seconds);
  }

private:
  // Destroyed in reverse: generation, session, model.
  std::shared_ptr<Model> model_;
  std::unique_ptr<bitnet_session, decltype(&bitnet_session_destroy)> session_{nullptr,
                                                                              bitnet_session_destroy};
  std::unique_ptr<bitnet_generation, decltype(&bitnet_generation_destroy)> generation_{
      nullptr, bitnet_generation_destroy};
  std::mutex mutex_;
};

std::shared_ptr<Generation> makeGeneration(std::shared_ptr<Model> model, const Tokens &prompt,
                                           int32_t context, int32_t threads, int32_t max_tokens,
                                           float temperature, int32_t top_k, float top_p, float min_p,
                                           float repetition_penalty, int32_t repetition_window, uint64_t seed,
                                           bool ignore_eos, const std::vector<std::string> &stop) {
  const bitnet_sampling sampling{temperature,       top_k, top_p, min_p, repetition_penalty,
                                 repetition_window, seed};
  return std::make_shared<Generation>(std::move(model), prompt, context, threads, max_tokens, sampling,
                                      ignore_eos, stop);
}

} // namespace

PYBIND11_MODULE(_runtime, module) {
  using namespace py::literals;
  module.doc() = "The runtime's C interface.";
  module.attr("version") = bitnet_version();
  bindTokenizer(module);
  py::class_<Model, std::shared_ptr<Model>>(module, "Model")
      .def(py::init<const std::string &, const std::optional<std::string> &>(), "path"_a,
           "cpu"_a = py::none())
      .def("info", &Model::info)
      .def("describe", &Model::describe)
      .def("tokenizer",
           [](std::shared_ptr<Model> model) {
             const bitnet_tokenizer *tokenizer = bitnet_model_tokenizer(model->get());
             return tokenizerOf(std::move(model), tokenizer);
           })
      .def("chat_template",
           [](const Model &model) -> py::object {
             const char *source = bitnet_chat_template(model.get());
             return source ? py::object(textOf(source, std::strlen(source))) : py::object(py::none());
           })
      .def("render_chat", &Model::renderChat, "messages"_a, "open_answer"_a);
  py::class_<Generation, std::shared_ptr<Generation>>(module, "Generation")
      .def(py::init(&makeGeneration), "model"_a, "prompt"_a, "context"_a, "threads"_a, "max_tokens"_a,
           "temperature"_a, "top_k"_a, "top_p"_a, "min_p"_a, "repetition_penalty"_a, "repetition_window"_a,
           "seed"_a, "ignore_eos"_a, "stop"_a)
      .def("next", &Generation::next)
      .def("cancel", &Generation::cancel)
      .def("timings", &Generation::timings);
}
