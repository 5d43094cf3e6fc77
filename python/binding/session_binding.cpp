// Session: raw steps of one's own, for logits and hidden states of every token.
#include "python/binding/floats.h"

#include <algorithm>
#include <mutex>
#include <optional>

namespace bitnet::python {
namespace {

class Session {
public:
  Session(py::handle model, int32_t context, int32_t threads, int32_t sequences) : model_(modelOf(model)) {
    bitnet_model_get_info(model_.get(), &info_);
    const bitnet_session_options options{context, threads, sequences};
    bitnet_error error{};
    bitnet_session *session = nullptr;
    bitnet_status status;
    {
      py::gil_scoped_release release;
      status = bitnet_session_create(model_.get(), &options, &session, &error);
    }
    check(status, error);
    session_.reset(session);
  }

  std::shared_ptr<Floats> forward(const Tokens &tokens, const std::string &logits, int32_t sequence) {
    if (logits != "all" && logits != "last" && logits != "none")
      throw py::value_error("logits: expected 'all', 'last' or 'none', got '" + logits + "'");
    return run(tokens, sequence, BITNET_WANT_LOGITS,
               logits == "all"    ? tokens.size()
               : logits == "last" ? std::min<size_t>(tokens.size(), 1)
                                  : 0,
               static_cast<size_t>(info_.vocab), bitnet_session_logits);
  }
  std::shared_ptr<Floats> embed(const Tokens &tokens, int32_t sequence) {
    return run(tokens, sequence, BITNET_WANT_HIDDEN, tokens.size(), static_cast<size_t>(info_.width),
               bitnet_session_hidden);
  }
  /// The hidden state of the last token of each text, which share steps: one sequence a text, emptied before
  /// and after.
  std::shared_ptr<Floats> embedLast(const std::vector<Tokens> &texts) {
    std::vector<bitnet_row> rows;
    for (size_t t = 0; t < texts.size(); ++t)
      for (size_t i = 0; i < texts[t].size(); ++i)
        rows.push_back({texts[t][i], static_cast<int32_t>(i), static_cast<int32_t>(t),
                        i + 1 == texts[t].size() ? BITNET_WANT_HIDDEN : 0, 0, 0});
    const auto columns = static_cast<size_t>(info_.width);
    auto out =
        std::make_shared<Floats>(Floats{texts.size(), columns, std::vector<float>(texts.size() * columns)});
    empty(texts.size());
    const auto most = static_cast<size_t>(info_.max_rows);
    bitnet_error error{};
    bitnet_status status = BITNET_OK;
    for (size_t at = 0; at < rows.size() && status == BITNET_OK && PyErr_CheckSignals() == 0; at += most) {
      const Lock lock(*this);
      const size_t end = std::min(rows.size(), at + most);
      status = bitnet_session_step(session_.get(), rows.data() + at, end - at, &error);
      for (size_t i = at, wanted = 0; i < end && status == BITNET_OK; ++i)
        if (rows[i].want)
          std::copy_n(bitnet_session_hidden(session_.get(), wanted++), columns,
                      out->values.data() + static_cast<size_t>(rows[i].sequence) * columns);
    }
    empty(texts.size());
    check(status, error);
    if (PyErr_Occurred())
      throw py::error_already_set(); // Ctrl-C
    return out;
  }

  int32_t length(int32_t sequence) {
    const Lock lock(*this);
    return bitnet_session_length(session_.get(), sequence);
  }
  void truncate(int32_t length, int32_t sequence) {
    bitnet_error error{};
    bitnet_status status;
    {
      const Lock lock(*this);
      status = bitnet_session_truncate(session_.get(), sequence, length, &error);
    }
    check(status, error);
  }
  int32_t context() const { return bitnet_session_context(session_.get()); }
  int32_t threads() const { return bitnet_session_threads(session_.get()); }

private:
  /// Waits for the session without the GIL.
  struct Lock {
    explicit Lock(Session &session) : lock(session.mutex_) {}
    py::gil_scoped_release release; // first: whoever holds the mutex may need the GIL
    std::lock_guard<std::mutex> lock;
  };

  void empty(size_t sequences) {
    for (size_t s = 0; s < sequences; ++s)
      truncate(0, static_cast<int32_t>(s));
  }

  /// Appends tokens; the last n_wanted rows give `columns` floats each, read by `row`. After an exception the
  /// sequence is as it was.
  std::shared_ptr<Floats> run(const Tokens &tokens, int32_t sequence, int32_t want, size_t n_wanted,
                              size_t columns, const float *(*row)(const bitnet_session *, size_t)) {
    auto out = std::make_shared<Floats>(Floats{n_wanted, columns, std::vector<float>(n_wanted * columns)});
    const auto most = static_cast<size_t>(info_.max_rows);
    const size_t first_wanted = tokens.size() - n_wanted;
    std::optional<int32_t> start;
    for (size_t at = 0; at < tokens.size(); at += most) {
      const size_t n = std::min(most, tokens.size() - at);
      bitnet_error error{};
      bitnet_status status;
      {
        const Lock lock(*this);
        const int32_t position = bitnet_session_length(session_.get(), sequence);
        start = start.value_or(position);
        std::vector<bitnet_row> rows;
        for (size_t i = 0; i < n; ++i)
          rows.push_back({tokens[at + i], position + static_cast<int32_t>(i), sequence,
                          at + i >= first_wanted ? want : 0, 0, 0});
        status = bitnet_session_step(session_.get(), rows.data(), n, &error);
        if (status == BITNET_OK)
          for (size_t i = std::max(at, first_wanted), r = 0; i < at + n; ++i, ++r)
            std::copy_n(row(session_.get(), r), columns, out->values.data() + (i - first_wanted) * columns);
      }
      if (status != BITNET_OK || PyErr_CheckSignals() != 0) {
        {
          const Lock lock(*this);
          (void)bitnet_session_truncate(session_.get(), sequence, *start, nullptr);
        }
        check(status, error);
        throw py::error_already_set(); // Ctrl-C
      }
    }
    return out;
  }

  std::shared_ptr<const bitnet_model> model_;
  bitnet_model_info info_{};
  std::unique_ptr<bitnet_session, decltype(&bitnet_session_destroy)> session_{nullptr,
                                                                              bitnet_session_destroy};
  std::mutex mutex_;
};

} // namespace

void bindSession(py::module_ &module) {
  using namespace py::literals;
  py::class_<Floats, std::shared_ptr<Floats>>(module, "Floats", py::buffer_protocol())
      .def_buffer([](Floats &floats) {
        return py::buffer_info(floats.values.data(), {floats.rows, floats.columns},
                               {floats.columns * sizeof(float), sizeof(float)});
      })
      .def_property_readonly("shape",
                             [](const Floats &floats) { return py::make_tuple(floats.rows, floats.columns); })
      .def("tolist", [](const Floats &floats) {
        py::list rows;
        for (size_t r = 0; r < floats.rows; ++r)
          rows.append(std::vector<float>(floats.values.data() + r * floats.columns,
                                         floats.values.data() + (r + 1) * floats.columns));
        return rows;
      });
  py::class_<Session, std::shared_ptr<Session>>(module, "Session")
      .def(py::init<py::handle, int32_t, int32_t, int32_t>(), "model"_a, "context"_a = 0, "threads"_a = 0,
           "sequences"_a = 1)
      .def_property_readonly("context", &Session::context)
      .def_property_readonly("threads", &Session::threads)
      .def("forward", &Session::forward, "tokens"_a, "logits"_a = "last", "sequence"_a = 0)
      .def("embed", &Session::embed, "tokens"_a, "sequence"_a = 0)
      .def("embed_last", &Session::embedLast, "texts"_a)
      .def("length", &Session::length, "sequence"_a = 0)
      .def("truncate", &Session::truncate, "length"_a, "sequence"_a = 0);
}

} // namespace bitnet::python
