// What the files of bitnet_py._runtime share: a status as a Python exception, texts, buffers that grow. Each
// file binds one part of the C interface, nothing added.
#pragma once
#include "runtime/api/bitnet.h"

#include <memory>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <string>
#include <utility>
#include <vector>

namespace bitnet::python {

namespace py = pybind11;

using Tokens = std::vector<int32_t>;

/// Throws the exception of a status, of the class that bitnet_py.errors gives. Needs the GIL.
inline void check(bitnet_status status, const bitnet_error &error) {
  if (status == BITNET_OK)
    return;
  const py::object exception =
      py::module_::import("bitnet_py.errors").attr("from_status")(static_cast<int>(status), error.message);
  PyErr_SetObject(py::type::handle_of(exception).ptr(), exception.ptr());
  throw py::error_already_set();
}

/// Bytes as text; what is not UTF-8 becomes U+FFFD.
inline py::str textOf(const char *bytes, size_t n_bytes) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(bytes, static_cast<Py_ssize_t>(n_bytes), "replace"));
}

/// Calls write(data, capacity, &count, &error) with growing room until everything fits.
template <typename Container, typename Write> Container filled(size_t first_guess, Write write) {
  Container items(first_guess, {});
  for (;;) {
    bitnet_error error{};
    size_t count = 0;
    check(write(items.data(), items.size(), &count, &error), error);
    const bool fits = count <= items.size();
    items.resize(count);
    if (fits)
      return items;
  }
}

/// The class Tokenizer.
void bindTokenizer(py::module_ &module);
/// A Tokenizer that something else (a model) owns, kept alive by `owner`; None for NULL.
py::object tokenizerOf(std::shared_ptr<const void> owner, const bitnet_tokenizer *tokenizer);
/// The C model of a Python Model, alive as long as the pointer.
std::shared_ptr<const bitnet_model> modelOf(py::handle model);

/// The classes Floats and Session.
void bindSession(py::module_ &module);
/// The classes Engine and Generation, and advance().
void bindGeneration(py::module_ &module);
/// The class Sampler, and logprobs().
void bindSampling(py::module_ &module);
/// Log-probabilities under logits, f32 [vocab]: the token's, and the n likeliest tokens with theirs. The GIL
/// is free meanwhile, so the logits must be the caller's to read until it returns.
std::pair<float, std::vector<std::pair<int32_t, float>>> logprobsOf(const float *logits, int32_t vocab,
                                                                    int32_t token, int32_t n);

} // namespace bitnet::python
