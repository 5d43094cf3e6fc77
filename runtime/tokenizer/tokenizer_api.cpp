// The C functions of tokenizers and chat (bitnet.h, "tokenizer").
#include "runtime/api/bitnet.h"
#include "runtime/exec/model.h"
#include "runtime/tokenizer/chat.h"
#include "runtime/tokenizer/tokenizer_file.h"

#include <algorithm>
#include <cstring>

using namespace bitnet::runtime;

namespace {

Result<const Tokenizer *> given(const bitnet_tokenizer *tokenizer, const char *function) {
  if (!tokenizer)
    return invalid_argument(std::string(function) +
                            ": expected a tokenizer, got NULL; a bundle has one if it is compiled with "
                            "--tokenizer=FILE");
  return tokenizer->impl.get();
}

/// The rule of all functions that fill a buffer: as much as fits, and the full count.
template <typename T> void give(const T *from, size_t n, T *to, size_t capacity, size_t *count) {
  if (const size_t fits = std::min(n, capacity); fits > 0)
    std::memcpy(to, from, fits * sizeof(T));
  if (count)
    *count = n;
}

} // namespace

bitnet_status bitnet_tokenizer_open(const char *path, bitnet_tokenizer **tokenizer, bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!path || !tokenizer)
      return invalid_argument(
          "bitnet_tokenizer_open: expected a path and a place for the tokenizer, got NULL");
    *tokenizer = nullptr;
    auto opened = open_tokenizer(path);
    if (!opened.ok())
      return std::move(opened).status();
    *tokenizer = new bitnet_tokenizer{std::move(*opened)};
    return {};
  });
}

void bitnet_tokenizer_close(bitnet_tokenizer *tokenizer) { delete tokenizer; }

const bitnet_tokenizer *bitnet_model_tokenizer(const bitnet_model *model) {
  return model && model->impl->tokenizer() ? &model->impl->c_tokenizer() : nullptr;
}

void bitnet_tokenizer_get_info(const bitnet_tokenizer *tokenizer, bitnet_tokenizer_info *info) {
  if (!info)
    return;
  *info = {0, -1, -1, -1};
  if (!tokenizer)
    return;
  const Tokenizer &t = *tokenizer->impl;
  *info = {t.size(), t.bos(), t.eos(), t.pad()};
}

bitnet_status bitnet_encode(const bitnet_tokenizer *tokenizer, const char *text, size_t text_bytes, int flags,
                            int32_t *tokens, size_t capacity, size_t *count, bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    auto impl = given(tokenizer, "bitnet_encode");
    if (!impl.ok())
      return std::move(impl).status();
    if ((!text && text_bytes > 0) || (!tokens && capacity > 0))
      return invalid_argument("bitnet_encode: expected text and a buffer, got NULL");
    auto ids = (*impl)->encode({text ? text : "", text_bytes}, flags & BITNET_ENCODE_ADD_SPECIAL,
                               flags & BITNET_ENCODE_PARSE_SPECIAL, flags & BITNET_ENCODE_CONTINUES);
    if (!ids.ok())
      return std::move(ids).status();
    give(ids->data(), ids->size(), tokens, capacity, count);
    return {};
  });
}

bitnet_status bitnet_token_bytes(const bitnet_tokenizer *tokenizer, int32_t token, const char **bytes,
                                 size_t *n_bytes, int *special, bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    auto impl = given(tokenizer, "bitnet_token_bytes");
    if (!impl.ok())
      return std::move(impl).status();
    const int32_t size = (*impl)->size();
    if (token < 0 || token >= size)
      return invalid_argument("bitnet_token_bytes: expected an id from 0 to " + std::to_string(size - 1) +
                              ", got " + std::to_string(token));
    const std::string_view view = (*impl)->token_bytes(token);
    if (bytes)
      *bytes = view.data();
    if (n_bytes)
      *n_bytes = view.size();
    if (special)
      *special = (*impl)->is_special(token);
    return {};
  });
}

bitnet_status bitnet_decode(const bitnet_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens,
                            int keep_special, char *text, size_t capacity, size_t *count,
                            bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    auto impl = given(tokenizer, "bitnet_decode");
    if (!impl.ok())
      return std::move(impl).status();
    if ((!tokens && n_tokens > 0) || (!text && capacity > 0))
      return invalid_argument("bitnet_decode: expected tokens and a buffer, got NULL");
    auto decoded = (*impl)->decode(tokens, n_tokens, keep_special != 0);
    if (!decoded.ok())
      return std::move(decoded).status().in("bitnet_decode");
    give(decoded->data(), decoded->size(), text, capacity, count);
    return {};
  });
}

const int32_t *bitnet_stop_tokens(const bitnet_tokenizer *tokenizer, size_t *count) {
  if (count)
    *count = tokenizer ? tokenizer->impl->stop_tokens().size() : 0;
  return tokenizer ? tokenizer->impl->stop_tokens().data() : nullptr;
}

bitnet_status bitnet_chat_render(const bitnet_model *model, const bitnet_message *messages, size_t n_messages,
                                 int add_generation_prompt, const bitnet_template_arg *args, size_t n_args,
                                 char *text, size_t capacity, size_t *count, bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!model)
      return invalid_argument("bitnet_chat_render: expected a model, got NULL");
    const Tokenizer *tokenizer = model->impl->tokenizer();
    if (!tokenizer)
      return unsupported(model->impl->path() +
                         ": tokenizer: the bundle has none; compile it with --tokenizer=FILE");
    if ((!messages && n_messages > 0) || (!args && n_args > 0) || (!text && capacity > 0))
      return invalid_argument("bitnet_chat_render: expected messages, arguments and a buffer, got NULL");
    std::vector<ChatMessage> conversation;
    conversation.reserve(n_messages);
    for (size_t i = 0; i < n_messages; ++i) {
      if (!messages[i].role || !messages[i].content)
        return invalid_argument("bitnet_chat_render: message " + std::to_string(i) +
                                ": expected role and content, got NULL");
      conversation.push_back({messages[i].role, messages[i].content});
    }
    std::vector<TemplateArgument> arguments;
    for (size_t i = 0; i < n_args; ++i) {
      if (!args[i].name || !args[i].value)
        return invalid_argument("bitnet_chat_render: argument " + std::to_string(i) +
                                ": expected name and value, got NULL");
      arguments.push_back({args[i].name, args[i].value});
    }
    const auto name_of = [&](int32_t token) {
      return token < 0 ? std::string_view() : tokenizer->token_bytes(token);
    };
    const ChatTokens names{name_of(tokenizer->bos()), name_of(tokenizer->eos()), name_of(tokenizer->pad())};
    auto rendered = render_chat(model->impl->chat_template(), names, conversation.data(), conversation.size(),
                                add_generation_prompt != 0, arguments);
    if (!rendered.ok())
      return std::move(rendered).status().in(model->impl->path());
    give(rendered->data(), rendered->size(), text, capacity, count);
    return {};
  });
}

const char *bitnet_chat_template(const bitnet_model *model) {
  return model && !model->impl->chat_template().empty() ? model->impl->chat_template().c_str() : nullptr;
}
