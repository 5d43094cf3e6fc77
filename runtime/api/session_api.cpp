// The C functions of sessions (bitnet.h, "session").
#include "runtime/api/bitnet.h"
#include "runtime/exec/session.h"
#include <memory>

using namespace bitnet::runtime;

bitnet_status bitnet_session_create(const bitnet_model *model, const bitnet_session_options *options,
                                    bitnet_session **session, bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!model || !session)
      return invalid_argument(
          "bitnet_session_create: expected a model and a place for the session, got NULL");
    *session = nullptr;
    SessionOptions asked;
    if (options)
      asked = {options->context, options->threads, options->sequences};
    auto created = Session::create(*model->impl, asked);
    if (!created.ok())
      return std::move(created).status();
    *session = new bitnet_session{std::move(*created), model};
    return {};
  });
}

void bitnet_session_destroy(bitnet_session *session) { delete session; }

bitnet_status bitnet_session_step(bitnet_session *session, const bitnet_row *rows, size_t n_rows,
                                  bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!session || (!rows && n_rows > 0))
      return invalid_argument("bitnet_session_step: expected a session and rows, got NULL");
    return session->impl->step(rows, n_rows);
  });
}

bitnet_status bitnet_session_embed(bitnet_session *session, const int32_t *tokens, size_t n_tokens,
                                   int32_t sequence, float *vector, bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!session || !vector || (!tokens && n_tokens > 0))
      return invalid_argument("bitnet_session_embed: expected a session, tokens and a place for the vector, "
                              "got NULL");
    return session->impl->embed(tokens, n_tokens, sequence, vector);
  });
}

const float *bitnet_session_logits(const bitnet_session *session, size_t i) {
  return session ? session->impl->logits(i) : nullptr;
}

const float *bitnet_session_hidden(const bitnet_session *session, size_t i) {
  return session ? session->impl->hidden(i) : nullptr;
}

int32_t bitnet_session_length(const bitnet_session *session, int32_t sequence) {
  return session ? session->impl->length(sequence) : 0;
}

bitnet_status bitnet_session_truncate(bitnet_session *session, int32_t sequence, int32_t length,
                                      bitnet_error *error) {
  return at_c_border(error, [&]() -> Status {
    if (!session)
      return invalid_argument("bitnet_session_truncate: expected a session, got NULL");
    return session->impl->truncate(sequence, length);
  });
}

void bitnet_session_head_stats(const bitnet_session *session, bitnet_head_stats *stats) {
  if (stats)
    *stats = session ? session->impl->head_stats() : bitnet_head_stats{};
}

int32_t bitnet_session_threads(const bitnet_session *session) {
  return session ? session->impl->threads() : 0;
}
int32_t bitnet_session_context(const bitnet_session *session) {
  return session ? session->impl->context() : 0;
}
