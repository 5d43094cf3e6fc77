// Tokenizers: a model's, or one of its own.
#include "python/binding/binding.h"

namespace bitnet::python {
namespace {

/// Immutable; the GIL is released while it encodes, so that threads may share it.
class Tokenizer {
public:
  explicit Tokenizer(const std::string &path) {
    bitnet_error error{};
    bitnet_tokenizer *tokenizer = nullptr;
    bitnet_status status;
    {
      py::gil_scoped_release release;
      status = bitnet_tokenizer_open(path.c_str(), &tokenizer, &error);
    }
    check(status, error);
    owner_ = std::shared_ptr<bitnet_tokenizer>(tokenizer, bitnet_tokenizer_close);
    tokenizer_ = tokenizer;
    bitnet_tokenizer_get_info(tokenizer_, &info_);
  }
  Tokenizer(std::shared_ptr<const void> owner, const bitnet_tokenizer *tokenizer)
      : owner_(std::move(owner)), tokenizer_(tokenizer) {
    bitnet_tokenizer_get_info(tokenizer_, &info_);
  }

  const bitnet_tokenizer_info &info() const { return info_; }

  Tokens encode(const std::string &text, bool add_special, bool parse_special, bool continues) const {
    const int flags = (add_special ? BITNET_ENCODE_ADD_SPECIAL : 0) |
                      (parse_special ? BITNET_ENCODE_PARSE_SPECIAL : 0) |
                      (continues ? BITNET_ENCODE_CONTINUES : 0);
    return filled<Tokens>(
        text.size() + 8, [&](int32_t *tokens, size_t room, size_t *count, bitnet_error *error) {
          py::gil_scoped_release release;
          return bitnet_encode(tokenizer_, text.data(), text.size(), flags, tokens, room, count, error);
        });
  }

  py::str decode(const Tokens &tokens, bool keep_special) const {
    const std::string text = filled<std::string>(tokens.size() * 8, [&](char *bytes, size_t room,
                                                                        size_t *count, bitnet_error *error) {
      py::gil_scoped_release release;
      return bitnet_decode(tokenizer_, tokens.data(), tokens.size(), keep_special, bytes, room, count, error);
    });
    return textOf(text.data(), text.size());
  }

  py::tuple tokenBytes(int32_t token) const {
    const Piece piece = pieceOf(token);
    return py::make_tuple(py::bytes(piece.bytes, piece.n_bytes), piece.special != 0);
  }

  Tokens stopTokens() const {
    size_t count = 0;
    const int32_t *tokens = bitnet_stop_tokens(tokenizer_, &count);
    return Tokens(tokens, tokens + count);
  }

  py::dict specialTokens() const {
    py::dict tokens;
    for (int32_t token = 0; token < info_.size; ++token)
      if (const Piece piece = pieceOf(token); piece.special)
        tokens[textOf(piece.bytes, piece.n_bytes)] = token;
    return tokens;
  }

private:
  struct Piece {
    const char *bytes = nullptr;
    size_t n_bytes = 0;
    int special = 0;
  };
  Piece pieceOf(int32_t token) const {
    bitnet_error error{};
    Piece piece;
    check(bitnet_token_bytes(tokenizer_, token, &piece.bytes, &piece.n_bytes, &piece.special, &error), error);
    return piece;
  }

  std::shared_ptr<const void> owner_;
  const bitnet_tokenizer *tokenizer_ = nullptr;
  bitnet_tokenizer_info info_{};
};

} // namespace

void bindTokenizer(py::module_ &module) {
  using namespace py::literals;
  py::class_<Tokenizer, std::shared_ptr<Tokenizer>>(module, "Tokenizer")
      .def(py::init<const std::string &>(), "path"_a)
      .def_property_readonly("size", [](const Tokenizer &t) { return t.info().size; })
      .def_property_readonly("bos", [](const Tokenizer &t) { return t.info().bos; })
      .def_property_readonly("eos", [](const Tokenizer &t) { return t.info().eos; })
      .def_property_readonly("pad", [](const Tokenizer &t) { return t.info().pad; })
      .def("encode", &Tokenizer::encode, "text"_a, "add_special"_a, "parse_special"_a, "continues"_a = false)
      .def("decode", &Tokenizer::decode, "tokens"_a, "keep_special"_a)
      .def("token_bytes", &Tokenizer::tokenBytes, "token"_a)
      .def("stop_tokens", &Tokenizer::stopTokens)
      .def("special_tokens", &Tokenizer::specialTokens);
}

py::object tokenizerOf(std::shared_ptr<const void> owner, const bitnet_tokenizer *tokenizer) {
  if (!tokenizer)
    return py::none();
  return py::cast(std::make_shared<Tokenizer>(std::move(owner), tokenizer));
}

} // namespace bitnet::python
