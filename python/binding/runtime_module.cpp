// bitnet_py._runtime: the C interface as Python classes, nothing added. The GIL is released while the runtime
// computes or reads files. A status becomes an exception class of bitnet_py.errors, which decides what it
// also is.
#include "python/binding/binding.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace bitnet::python {
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
                    "kv_bytes_per_token"_a = info.kv_bytes_per_token, "kv"_a = info.kv);
  }
  const char *describe() const { return bitnet_model_describe(get()); }

  py::str renderChat(const std::vector<std::pair<std::string, std::string>> &messages,
                     bool open_answer) const {
    std::vector<bitnet_message> views;
    for (const auto &[role, content] : messages)
      views.push_back({role.c_str(), content.c_str()});
    const std::string text =
        filled<std::string>(4096, [&](char *bytes, size_t room, size_t *count, bitnet_error *error) {
          return bitnet_chat_render(get(), views.data(), views.size(), open_answer, nullptr, 0, bytes, room,
                                    count, error);
        });
    return textOf(text.data(), text.size());
  }

private:
  std::unique_ptr<bitnet_model, decltype(&bitnet_model_close)> model_{nullptr, bitnet_model_close};
};

std::vector<std::string> cpuFeatures() {
  std::vector<std::string> names;
  const std::string list = bitnet_cpu_features();
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    names.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

} // namespace

std::shared_ptr<const bitnet_model> modelOf(py::handle model) {
  if (!py::isinstance<Model>(model))
    throw py::type_error("model: expected a bitnet_py._runtime.Model, got " +
                         py::str(py::type::of(model)).cast<std::string>());
  const auto held = py::cast<std::shared_ptr<Model>>(model);
  return {held, held->get()};
}

} // namespace bitnet::python

PYBIND11_MODULE(_runtime, module) {
  using namespace bitnet::python;
  using namespace py::literals;
  module.doc() = "The runtime's C interface.";
  module.attr("version") = bitnet_version();
  bindTokenizer(module);
  module.def("cpu_variant", bitnet_cpu_variant);
  module.def("cpu_features", cpuFeatures);
  module.def("available_cpus", bitnet_available_cpus);
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
  bindSession(module);
  bindGeneration(module);
  bindSampling(module);
}
