// See session.h.
#include "runtime/exec/session.h"
#include "runtime/cpu/cpu.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <system_error>

namespace bitnet::runtime {
namespace {

constexpr int32_t kMaxThreads = 1024, kMaxSequences = 1 << 16;

std::string expected(const char *what, int64_t low, int64_t high, int64_t got) {
  return std::string(what) + ": expected [" + std::to_string(low) + ", " + std::to_string(high) + "], got " +
         std::to_string(got);
}

} // namespace

Result<std::unique_ptr<Session>> Session::create(const Model &model, const SessionOptions &asked) {
  const Bundle &bundle = model.bundle();
  SessionOptions options = asked;
  const struct {
    const char *name;
    int32_t &value;
    int32_t standard, high;
  } ranges[] = {{"context", options.context, bundle.model.context, bundle.model.context},
                {"threads", options.threads, std::min(cpu::available_cpus(), kMaxThreads), kMaxThreads},
                {"sequences", options.sequences, 1, kMaxSequences}};
  for (const auto &r : ranges) {
    if (r.value == 0)
      r.value = r.standard;
    if (r.value < 1 || r.value > r.high)
      return invalid_argument(std::string("session: ") + expected(r.name, 0, r.high, r.value));
  }
  auto arena = map_memory(bundle.plan.arena_bytes + format::kArenaSlack, "session arena");
  if (!arena.ok())
    return std::move(arena).status();
  const auto n_logits = size_t(bundle.model.embeds() ? 1 : bundle.model.vocab);
  auto kept = map_memory(size_t(bundle.plan.max_rows) * n_logits * sizeof(float), "logits");
  if (!kept.ok())
    return std::move(kept).status();
  auto cache =
      KvCache::create({bundle.model.layers, bundle.model.kv_heads, bundle.model.head_dim, options.sequences,
                       options.context, bundle.model.heads, bundle.model.kv == "q8"});
  if (!cache.ok())
    return std::move(cache).status();
  try {
    return std::unique_ptr<Session>(
        new Session(model, options, std::move(*arena), std::move(*kept), std::move(*cache)));
  } catch (const std::system_error &e) {
    return Status(StatusCode::out_of_memory, "session: cannot start " + std::to_string(options.threads) +
                                                 " threads: " + e.code().message() + "; ask for fewer");
  }
}

Session::Session(const Model &model, const SessionOptions &options, Mapping arena, Mapping kept_logits,
                 KvCache cache)
    : model_(model), context_(options.context), sequences_(options.sequences), arena_(std::move(arena)),
      kept_logits_(std::move(kept_logits)), cache_(std::move(cache)), inputs_(model.bundle().plan.max_rows),
      walker_(model, arena_.data(), inputs_, cache_, options.sequences), pool_(options.threads),
      head_order_(size_t(model.bundle().plan.max_rows)), needs_(head_order_.size()),
      logits_(head_order_.size()), lengths_(size_t(options.sequences)) {
  if (model.bundle().plan.screen)
    exact_head_ = std::make_unique<ExactHead>(model, walker_, options.threads);
}

int32_t Session::length(int32_t sequence) const {
  return sequence >= 0 && sequence < sequences_ ? cache_.length(sequence) : 0;
}

Status Session::truncate(int32_t sequence, int32_t length) {
  if (sequence < 0 || sequence >= sequences_)
    return invalid_argument(expected("truncate: sequence", 0, sequences_ - 1, sequence));
  if (length < 0 || length > cache_.length(sequence))
    return invalid_argument(expected("truncate: length", 0, cache_.length(sequence), length));
  cache_.truncate(sequence, length);
  return {};
}

/// Everything that can be wrong with rows, before anything changes.
Status Session::check(const bitnet_row *rows, size_t n_rows) {
  const ModelInfo &m = model_.bundle().model;
  const size_t max_wanted = logits_.size();
  for (int32_t s = 0; s < sequences_; ++s)
    lengths_[size_t(s)] = cache_.length(s);
  size_t wanted = 0;
  bool wants_hidden = false;
  for (size_t i = 0; i < n_rows; ++i) {
    const bitnet_row &row = rows[i];
    const auto at = [&] { return "step: row " + std::to_string(i); };
    if (row.token < 0 || row.token >= m.vocab)
      return invalid_argument(expected("token", 0, m.vocab - 1, row.token)).in(at());
    if (row.sequence < 0 || row.sequence >= sequences_)
      return invalid_argument(expected("sequence", 0, sequences_ - 1, row.sequence)).in(at());
    int32_t &length = lengths_[size_t(row.sequence)];
    if (row.position != length)
      return invalid_argument("position: expected the sequence's length " + std::to_string(length) +
                              ", got " + std::to_string(row.position))
          .in(at());
    if (length >= context_)
      return Status(StatusCode::context_full,
                    "the context of " + std::to_string(context_) +
                        " positions is full; truncate the sequence or use a larger context")
          .in(at());
    ++length;
    if (row.want & ~(BITNET_WANT_LOGITS | BITNET_WANT_HIDDEN))
      return invalid_argument("want: expected bits of bitnet_want, got " + std::to_string(row.want)).in(at());
    if (row.want & BITNET_WANT_LOGITS && m.embeds())
      return unsupported("logits: expected a model with a head, got one that gives embeddings; use bitnet "
                         "embed, or bitnet_session_embed")
          .in(at());
    if (row.best < 0)
      return invalid_argument("best: expected 0 (all logits) or more, got " + std::to_string(row.best))
          .in(at());
    if (!(row.margin >= 0 && std::isfinite(row.margin)))
      return invalid_argument("margin: expected a number of 0 or more, got " + std::to_string(row.margin))
          .in(at());
    wanted += row.want != 0;
    wants_hidden |= (row.want & BITNET_WANT_HIDDEN) != 0;
  }
  if (wants_hidden && !walker_.has_head() && !m.embeds())
    return unsupported("step: hidden states: the bundle's plan does not end with its head");
  if (wants_hidden && n_rows > max_wanted)
    return invalid_argument("step: rows of a step with hidden states: expected at most " +
                            std::to_string(max_wanted) + ", got " + std::to_string(n_rows));
  if (wanted > max_wanted)
    return invalid_argument("step: rows that want something: expected at most " + std::to_string(max_wanted) +
                            ", got " + std::to_string(wanted));
  return {};
}

Status Session::step(const bitnet_row *rows, size_t n_rows, const RowCheck *checks) {
  n_logits_ = n_hidden_ = 0;
  BITNET_RETURN_IF_ERROR(check(rows, n_rows));
  for (int32_t s = 0; s < sequences_; ++s)
    lengths_[size_t(s)] = cache_.length(s);
  DefaultFloatMode float_mode;
  Status status = run(rows, n_rows, checks);
  if (!status.ok()) {
    n_logits_ = n_hidden_ = 0;
    for (int32_t s = 0; s < sequences_; ++s)
      cache_.truncate(s, lengths_[size_t(s)]);
  }
  return status;
}

Status Session::embed(const int32_t *tokens, size_t n_tokens, int32_t sequence, float *vector) {
  if (!model_.bundle().model.embeds())
    return unsupported("embed: expected a model that gives embeddings, got one with a head; bitnetc --set "
                       "pooling=last compiles it as one, which is right only if it was trained so");
  if (n_tokens == 0)
    return invalid_argument("embed: expected at least one token, got none");
  if (n_tokens > size_t(context_))
    return Status(StatusCode::context_full, "embed: expected at most " + std::to_string(context_) +
                                                " tokens (the context), got " + std::to_string(n_tokens) +
                                                "; shorten the text");
  BITNET_RETURN_IF_ERROR(truncate(sequence, 0));
  DefaultFloatMode float_mode;
  std::vector<bitnet_row> rows;
  for (size_t at = 0; at < n_tokens;) {
    const size_t begin = at, end = std::min(n_tokens, at + logits_.size());
    rows.clear();
    for (; at < end; ++at)
      rows.push_back({tokens[at], int32_t(at), sequence, at + 1 == n_tokens ? BITNET_WANT_HIDDEN : 0, 0, 0});
    if (Status status = step(rows.data(), rows.size()); !status.ok()) {
      cache_.truncate(sequence, 0);
      return std::move(status).in("embed: from token " + std::to_string(begin));
    }
  }
  const float *last = hidden(0);
  double squares = 0;
  for (size_t i = 0; i < width(); ++i)
    squares += double(last[i]) * double(last[i]);
  const double length = squares > 0 ? std::sqrt(squares) : 1;
  for (size_t i = 0; i < width(); ++i)
    vector[i] = float(double(last[i]) / length);
  return {};
}

Status Session::run(const bitnet_row *rows, size_t n_rows, const RowCheck *checks) {
  const auto max_rows = size_t(model_.bundle().plan.max_rows);
  for (size_t at = 0; at < n_rows; at += max_rows) {
    const size_t n = std::min(max_rows, n_rows - at);
    BITNET_RETURN_IF_ERROR(
        run_chunk(rows + at, int32_t(n), checks ? checks + at : nullptr, at + n == n_rows));
  }
  return {};
}

/// Numbers the rows that want anything, and orders them for the head: those that want all logits come first,
/// then those that a screen is enough for. Fills inputs_.logit_rows, head_order_ and needs_ and returns how
/// many there are of both kinds and of the first.
std::pair<int32_t, int32_t> Session::order_head_rows(const bitnet_row *rows, int32_t n_rows,
                                                     const RowCheck *checks) {
  const auto need_of = [&](int32_t r) { // who wants no logits gets what is least work
    if (!(rows[r].want & BITNET_WANT_LOGITS))
      return HeadNeed{1, 0};
    return checks ? HeadNeed{rows[r].best, rows[r].margin, checks[r].check, checks[r].draw}
                  : HeadNeed{rows[r].best, rows[r].margin};
  };
  const auto in_full = [&](int32_t r) { return !exact_head_ || exact_head_->wants_all(need_of(r)); };
  int32_t wanted = 0, full = 0;
  for (int32_t r = 0; r < n_rows; ++r)
    full += rows[r].want && in_full(r);
  int32_t next_full = 0, next_other = full;
  for (int32_t r = 0; r < n_rows; ++r) {
    if (!rows[r].want)
      continue;
    const int32_t place = in_full(r) ? next_full++ : next_other++;
    inputs_.logit_rows[size_t(place)] = r;
    needs_[size_t(place)] = need_of(r);
    head_order_[size_t(wanted++)] = place;
  }
  return {wanted, full};
}

const float *Session::result_row(int32_t place) const {
  const Slice &result = model_.bundle().plan.logits;
  return reinterpret_cast<const float *>(arena_.data() + result.offset + size_t(place) * result.row_stride);
}

Status Session::run_chunk(const bitnet_row *rows, int32_t n_rows, const RowCheck *checks, bool is_last) {
  int32_t last_position = 0, wants = 0;
  for (int32_t r = 0; r < n_rows; ++r) {
    const auto i = size_t(r);
    inputs_.tokens[i] = rows[r].token;
    inputs_.positions[i] = rows[r].position;
    inputs_.sequences[i] = rows[r].sequence;
    inputs_.slots[i] = cache_.append(rows[r].sequence);
    last_position = std::max(last_position, rows[r].position);
    wants |= rows[r].want;
  }
  const auto [wanted, full] = order_head_rows(rows, n_rows, checks);
  const bool with_logits = (wants & BITNET_WANT_LOGITS) != 0;
  BITNET_RETURN_IF_ERROR(walker_.run(n_rows, wanted, last_position, with_logits ? full : 0, pool_));
  if (wants & BITNET_WANT_HIDDEN) {
    hidden_.resize(logits_.size() * width());
    n_hidden_ = size_t(wanted);
    for (size_t i = 0; i < n_hidden_; ++i) {
      float *out = hidden_.data() + i * width();
      if (walker_.has_head())
        walker_.read_head_input(head_order_[i], out);
      else // the plan's result itself
        std::memcpy(out, result_row(head_order_[i]), width() * sizeof(float));
    }
  }
  if (!with_logits)
    return {};
  if (full < wanted)
    BITNET_RETURN_IF_ERROR(exact_head_->run(needs_.data(), full, wanted, pool_));

  // The last chunk's logits stay in the arena until the next step; earlier ones would be overwritten and are
  // kept.
  const auto vocab = size_t(model_.bundle().model.vocab);
  for (int32_t l = 0; l < wanted; ++l, ++n_logits_) {
    const float *row = result_row(head_order_[size_t(l)]);
    if (!is_last) {
      float *kept = reinterpret_cast<float *>(kept_logits_.data()) + n_logits_ * vocab;
      std::memcpy(kept, row, vocab * sizeof(float));
      row = kept;
    }
    logits_[n_logits_] = row;
  }
  return {};
}

} // namespace bitnet::runtime
