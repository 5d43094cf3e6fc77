#include "tools/bitnet/handles.h"

#include <algorithm>

namespace bitnet::tools {

void ModelFlags::declareModel(Arguments &arguments) {
  arguments.positional("MODEL", path, "a compiled model (.bnx), see bitnetc");
  arguments.option("--cpu", "VARIANT", cpu, "use this CPU variant of the bundle instead of the best one");
}

void ModelFlags::declareSession(Arguments &arguments) {
  arguments.option("-t, --threads", "N", threads, "threads; 0 = one for each CPU this process may use");
  arguments.option("-c, --context", "N", context,
                   "positions to hold; 0 = as many as needed, at most the model's");
}

Model ModelFlags::open() const {
  bitnet_model_options options{};
  options.cpu = cpu.empty() ? nullptr : cpu.c_str();
  bitnet_error error{};
  bitnet_model *model = nullptr;
  check(bitnet_model_open(path.c_str(), &options, &model, &error), error);
  return Model(model);
}

int32_t ModelFlags::contextFor(const bitnet_model *model, int32_t context_needed) const {
  return context == 0 && context_needed > 0 ? std::min(context_needed, infoOf(model).context) : context;
}

Engine ModelFlags::createEngine(const bitnet_model *model, int32_t context_needed) const {
  const bitnet_engine_options options{contextFor(model, context_needed), threads};
  bitnet_error error{};
  bitnet_engine *engine = nullptr;
  check(bitnet_engine_create(model, &options, &engine, &error), error);
  return Engine(engine);
}

Session ModelFlags::createSession(const bitnet_model *model, int32_t context_needed,
                                  int32_t sequences) const {
  bitnet_session_options options{};
  options.context = contextFor(model, context_needed);
  options.threads = threads;
  options.sequences = sequences;
  bitnet_error error{};
  bitnet_session *session = nullptr;
  check(bitnet_session_create(model, &options, &session, &error), error);
  return Session(session);
}

bitnet_model_info infoOf(const bitnet_model *model) {
  bitnet_model_info info{};
  bitnet_model_get_info(model, &info);
  return info;
}

const bitnet_tokenizer *tokenizerOf(const bitnet_model *model) {
  if (const bitnet_tokenizer *tokenizer = bitnet_model_tokenizer(model))
    return tokenizer;
  throw Failure("tokenizer: the bundle has none; compile it with --tokenizer=FILE");
}

std::vector<int32_t> encode(const bitnet_tokenizer *tokenizer, const std::string &text, int flags) {
  // No token is shorter than a byte, so the first call fits but for BOS and EOS and tokenizers that add a
  // prefix.
  std::vector<int32_t> tokens(text.size() + 8);
  for (;;) {
    bitnet_error error{};
    size_t count = 0;
    check(bitnet_encode(tokenizer, text.data(), text.size(), flags, tokens.data(), tokens.size(), &count,
                        &error),
          error);
    const bool fits = count <= tokens.size();
    tokens.resize(count);
    if (fits)
      return tokens;
  }
}

namespace {

/// Calls write(data, capacity, &count, &error) with growing room until the text fits.
template <typename Write> std::string textFrom(size_t first_guess, Write write) {
  std::string text(first_guess, '\0');
  for (;;) {
    bitnet_error error{};
    size_t count = 0;
    check(write(text.data(), text.size(), &count, &error), error);
    const bool fits = count <= text.size();
    text.resize(count);
    if (fits)
      return text;
  }
}

} // namespace

std::string decode(const bitnet_tokenizer *tokenizer, const std::vector<int32_t> &tokens, bool keep_special) {
  return textFrom(tokens.size() * 8, [&](char *text, size_t capacity, size_t *count, bitnet_error *error) {
    return bitnet_decode(tokenizer, tokens.data(), tokens.size(), keep_special, text, capacity, count, error);
  });
}

std::string renderChat(const bitnet_model *model, const std::vector<bitnet_message> &messages,
                       const std::vector<std::string> &variables) {
  std::vector<std::string> names;
  std::vector<bitnet_template_arg> args;
  names.reserve(variables.size()); // args points into it
  for (const std::string &variable : variables) {
    const size_t equals = variable.find('=');
    if (equals == std::string::npos || equals == 0)
      throw UsageError("flag '--template-arg': expected NAME=VALUE, got '" + variable + "'");
    names.push_back(variable.substr(0, equals));
    args.push_back({names.back().c_str(), variable.c_str() + equals + 1});
  }
  return textFrom(4096, [&](char *text, size_t capacity, size_t *count, bitnet_error *error) {
    return bitnet_chat_render(model, messages.data(), messages.size(), 1, args.data(), args.size(), text,
                              capacity, count, error);
  });
}

void feed(bitnet_session *session, const int32_t *tokens, size_t count, int32_t sequence,
          bool want_last_logits) {
  const int32_t position = bitnet_session_length(session, sequence);
  std::vector<bitnet_row> rows(count);
  for (size_t i = 0; i < count; ++i)
    rows[i] = {tokens[i], position + static_cast<int32_t>(i), sequence, want_last_logits && i + 1 == count, 1,
               0};
  bitnet_error error{};
  check(bitnet_session_step(session, rows.data(), rows.size(), &error), error);
}

} // namespace bitnet::tools
