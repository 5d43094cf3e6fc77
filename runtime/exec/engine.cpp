// See engine.h.
#include "runtime/exec/engine.h"
#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace bitnet::runtime {
namespace {

/// Sequences of one session. Their caches take address space at once, but memory only as they fill. When all
/// are taken the engine makes a further session.
constexpr int32_t kSequencesOfASlab = 16;

/// How long a step may wait for those who were in the last one, as a share of what that took. They ask again
/// within microseconds, unless they have ended; without this wait the first to ask would run alone, and steps
/// of one row would alternate with steps of all others.
constexpr double kWorthWaiting = 0.15;

/// Sequences that are kept at most for texts that go on from them: a conversation or a few. Each may hold a
/// whole context of memory.
constexpr size_t kMostLeft = 4;

} // namespace

Engine::Engine(const Model &model, const EngineOptions &options)
    : model_(model), options_(options), costs_(model.bytes_per_token()) {
  const auto max_rows = size_t(model.bundle().plan.max_rows);
  parts_.reserve(max_rows);
  rows_.reserve(max_rows);
  checks_.reserve(max_rows);
}

Result<std::unique_ptr<Engine>> Engine::create(const Model &model, const EngineOptions &options) {
  if (model.bundle().model.embeds())
    return unsupported("generation: expected a model with a head, got one that gives embeddings; use bitnet "
                       "embed, or embed() in Python");
  std::unique_ptr<Engine> engine(new Engine(model, options));
  auto slab = engine->add_slab();
  if (!slab.ok())
    return std::move(slab).status();
  engine->context_ = (*slab)->session->context();
  engine->threads_ = (*slab)->session->threads();
  return engine;
}

Engine::~Engine() = default;

/// Where the address space is limited a smaller session is tried.
Result<Engine::Slab *> Engine::add_slab() {
  for (int32_t sequences = kSequencesOfASlab;; sequences /= 4) {
    auto session = Session::create(model_, {options_.context, options_.threads, sequences});
    if (session.ok()) {
      auto slab = std::make_unique<Slab>();
      slab->session = *std::move(session);
      slab->left.resize(size_t(sequences));
      for (int32_t s = sequences; s-- > 0;)
        slab->free.push_back(s);
      slabs_.push_back(std::move(slab));
      return slabs_.back().get();
    }
    if (sequences == 1 || session.status().code() != StatusCode::out_of_memory)
      return std::move(session).status();
  }
}

/// Calls see(place, what is left there) for every free sequence.
template <typename See> void Engine::see_free(See see) {
  for (const auto &slab : slabs_)
    for (const int32_t number : slab->free)
      see(Place{slab.get(), number}, slab->left[size_t(number)]);
}

/// A free sequence that has nothing left, of a further session if there is none.
Result<Engine::Place> Engine::empty_place() {
  for (;;) {
    Place found;
    size_t n_left = 0;
    see_free([&](Place place, const Slab::Left &left) {
      if (!left.tokens.empty())
        ++n_left;
      else if (!found.slab || found.slab == place.slab)
        found = place; // of the first session that has one, that which was given back last
    });
    if (found.slab)
      return found;
    if (n_left == 0)
      break;
    drop_oldest_left(n_left - 1); // rather than a further session
  }
  auto added = add_slab();
  if (!added.ok())
    return std::move(added).status();
  return Place{*added, (*added)->free.back()};
}

Result<std::unique_ptr<Engine::Sequence>> Engine::take(Place place, size_t start, bool is_kept) {
  Slab &slab = *place.slab;
  std::vector<int32_t> &tokens = slab.left[size_t(place.number)].tokens;
  if (is_kept)
    tokens.reserve(size_t(context_)); // steps must not fail half-way
  std::unique_ptr<Sequence> sequence(new Sequence(*this, slab, place.number, int32_t(start), is_kept));
  tokens.resize(start);
  slab.free.erase(std::find(slab.free.begin(), slab.free.end(), place.number));
  return sequence;
}

Result<std::unique_ptr<Engine::Sequence>> Engine::open() {
  std::lock_guard<std::mutex> lock(mutex_);
  auto place = empty_place();
  if (!place.ok())
    return std::move(place).status();
  return take(*place, 0, false);
}

Result<std::unique_ptr<Engine::Sequence>> Engine::open_for(const int32_t *tokens, size_t n) {
  std::lock_guard<std::mutex> lock(mutex_);
  Place best;
  size_t common = 0, n_left = 0, size = 0;
  see_free([&](Place place, const Slab::Left &left) {
    n_left += !left.tokens.empty();
    const size_t most = std::min(left.tokens.size(), n > 0 ? n - 1 : 0); // the last one is run for its logits
    const size_t same = size_t(std::mismatch(tokens, tokens + most, left.tokens.begin()).first - tokens);
    if (same > common) {
      best = place;
      common = same;
      size = left.tokens.size();
    }
  });
  // Texts that merely begin alike do not take what the other one left, as long as both have room.
  if (common > 0 && (common * 2 >= size || n_left >= kMostLeft))
    return take(best, common, true);
  auto place = empty_place();
  if (!place.ok())
    return std::move(place).status();
  return take(*place, 0, true);
}

Engine::Sequence::Sequence(Engine &engine, Slab &slab, int32_t number, int32_t start, bool is_kept)
    : engine_(engine), slab_(slab), number_(number), start_(start), is_kept_(is_kept), length_(start) {
  reserve_logits(1);
}

Engine::Sequence::~Sequence() { engine_.close(*this); }

float *Engine::Sequence::logits(size_t i) {
  return i < n_logits_ ? logits_.get() + i * size_t(engine_.model_.bundle().model.vocab) : nullptr;
}

/// Of at least so many rows. Memory is not touched before logits come.
void Engine::Sequence::reserve_logits(size_t rows) {
  if (rows <= logits_rows_)
    return;
  logits_.reset(new float[rows * size_t(engine_.model_.bundle().model.vocab)]);
  logits_rows_ = rows;
  n_logits_ = 0;
}

void Engine::close(const Sequence &sequence) {
  std::lock_guard<std::mutex> lock(mutex_);
  Slab &slab = sequence.slab_;
  Slab::Left &left = slab.left[size_t(sequence.number_)];
  left.tokens.resize(sequence.is_kept_ ? size_t(sequence.length_) : 0); // to less
  left.when = ++n_given_back_;
  slab.free.push_back(sequence.number_); // has room: it was there before
  drop_oldest_left(kMostLeft);
  if (!stepping_)
    settle();
}

/// Forgets what the oldest free sequences have left, until at most so many have something.
void Engine::drop_oldest_left(size_t most) {
  for (;;) {
    size_t n_left = 0;
    Slab::Left *oldest = nullptr;
    see_free([&](Place place, const Slab::Left &) {
      Slab::Left &left = place.slab->left[size_t(place.number)];
      if (left.tokens.empty())
        return;
      ++n_left;
      if (!oldest || left.when < oldest->when)
        oldest = &left;
    });
    if (n_left <= most)
      return;
    oldest->tokens.clear();
  }
}

/// Cuts free sequences to what is left there, and lets go of sessions none of whose sequences is in use any
/// more, but the first. Only while no step runs.
void Engine::settle() {
  for (size_t i = slabs_.size(); i-- > 0;) {
    Slab &slab = *slabs_[i];
    if (i > 0 && slab.free.size() == size_t(slab.session->sequences())) {
      slabs_.erase(slabs_.begin() + ptrdiff_t(i));
      continue;
    }
    for (const int32_t number : slab.free)
      if (const auto n = int32_t(slab.left[size_t(number)].tokens.size()); n < slab.session->length(number))
        (void)slab.session->truncate(number, n); // of an existing sequence, to less: cannot fail
  }
}

void Engine::run(Request *requests, size_t n) {
  std::vector<Ticket> tickets(n);
  for (size_t i = 0; i < n; ++i)
    requests[i].sequence->reserve_logits(requests[i].n_logits);
  std::unique_lock<std::mutex> lock(mutex_);
  queue_.reserve(queue_.size() + n); // from here on nothing is allocated, so nothing can fail half-way
  for (size_t i = 0; i < n; ++i) {
    tickets[i].request = &requests[i];
    requests[i].status = {};
    tickets[i].finished = requests[i].n_tokens == 0;
    if (!tickets[i].finished)
      queue_.push_back(&tickets[i]);
  }
  changed_.notify_all(); // a thread may be waiting for companions
  const auto all_finished = [&] {
    return std::all_of(tickets.begin(), tickets.end(), [](const Ticket &t) { return t.finished; });
  };
  while (!all_finished()) {
    if (stepping_) {
      changed_.wait(lock);
      continue;
    }
    stepping_ = true;
    wait_for_companions(lock);
    step(lock);
    settle();
    stepping_ = false;
    changed_.notify_all();
  }
}

void Engine::wait_for_companions(std::unique_lock<std::mutex> &lock) {
  if (queue_.size() >= n_companions_)
    return;
  const auto longest = std::chrono::duration<double>(last_step_seconds_ * kWorthWaiting);
  changed_.wait_for(lock, longest, [this] { return queue_.size() >= n_companions_; });
}

/// Rows of one session for one step: those of the first in the queue and all who wait for it too. Whoever
/// wants one token, or the logits of all that are left, comes first, so that a long prompt delays nobody by
/// more than a step.
void Engine::gather() {
  parts_.clear();
  rows_.clear();
  checks_.clear();
  slab_ = &queue_.front()->request->sequence->slab_;
  const auto max_rows = size_t(model_.bundle().plan.max_rows);
  size_t wanted = 0;
  for (const bool first : {true, false})
    for (Ticket *ticket : queue_) {
      const Request &request = *ticket->request;
      Sequence &sequence = *request.sequence;
      const size_t left = request.n_tokens - ticket->n_done, n = std::min(left, max_rows - rows_.size());
      if (&sequence.slab_ != slab_ || (left == 1 || left <= request.n_logits) != first || n == 0)
        continue;
      const int32_t position = sequence.length_;
      if (position < slab_->session->length(sequence.number_)) {
        (void)slab_->session->truncate(sequence.number_,
                                       position); // of an existing sequence, to less: cannot fail
        if (sequence.is_kept_)
          slab_->left[size_t(sequence.number_)].tokens.resize(size_t(position));
      }
      const size_t without = request.n_tokens - request.n_logits; // tokens before those that want logits
      Part part = {ticket, n, 0, wanted, std::max(ticket->n_done, without) - without};
      for (size_t i = 0; i < n; ++i) {
        const bool wants = ticket->n_done + i >= without;
        rows_.push_back({request.tokens[ticket->n_done + i], position + int32_t(i), sequence.number_,
                         wants ? BITNET_WANT_LOGITS : 0, request.best, request.margin});
        checks_.push_back({request.check, wants ? ticket->n_done + i - without : 0});
        part.n_logits += wants;
      }
      wanted += part.n_logits;
      parts_.push_back(part);
      ticket->served = true;
    }
}

void Engine::step(std::unique_lock<std::mutex> &lock) {
  gather();
  lock.unlock();
  const auto start = std::chrono::steady_clock::now();
  const bitnet_head_stats before = slab_->session->head_stats();
  const Status status = slab_->session->step(rows_.data(), rows_.size(), checks_.data());
  const bitnet_head_stats after = slab_->session->head_stats();
  bool all_want = status.ok();
  if (status.ok())
    for (const Part &part : parts_) { // the sequences belong to threads that wait
      all_want &= part.n_logits == part.n;
      Sequence &sequence = *part.ticket->request->sequence;
      const auto vocab = size_t(model_.bundle().model.vocab);
      for (size_t i = 0; i < part.n_logits; ++i)
        std::memcpy(sequence.logits_.get() + (part.to_logits + i) * vocab,
                    slab_->session->logits(part.first_logits + i), vocab * sizeof(float));
      if (part.n_logits > 0)
        sequence.n_logits_ = part.to_logits + part.n_logits;
    }
  last_step_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (all_want)
    costs_.add(rows_.size(), last_step_seconds_);
  lock.lock();
  head_stats_.rows += after.rows - before.rows;
  head_stats_.candidates += after.candidates - before.candidates;
  head_stats_.full_rows += after.full_rows - before.full_rows;
  finish_parts(status);
}

void Engine::finish_parts(const Status &status) {
  size_t n_companions = 0;
  for (const Part &part : parts_) {
    Ticket &ticket = *part.ticket;
    Request &request = *ticket.request;
    Sequence &sequence = *request.sequence;
    std::vector<int32_t> &left = sequence.slab_.left[size_t(sequence.number_)].tokens;
    if (status.ok()) {
      if (sequence.is_kept_) // has room for the context
        left.insert(left.end(), request.tokens + ticket.n_done, request.tokens + ticket.n_done + part.n);
      ticket.n_done += part.n;
      sequence.length_ += int32_t(part.n);
    } else { // the step took nothing; earlier parts of the same request are taken back
      sequence.length_ -= int32_t(ticket.n_done);
      (void)slab_->session->truncate(sequence.number_, sequence.length_);
      if (sequence.is_kept_)
        left.resize(size_t(sequence.length_));
      request.status = status;
    }
    ticket.finished = !status.ok() || ticket.n_done == request.n_tokens;
    n_companions += ticket.finished;
  }
  n_companions_.store(n_companions, std::memory_order_relaxed);
  queue_.erase(std::remove_if(queue_.begin(), queue_.end(), [](const Ticket *t) { return t->finished; }),
               queue_.end());
  // Who had a turn stands behind who had none: a long prompt does not keep other sessions waiting.
  std::stable_partition(queue_.begin(), queue_.end(), [](const Ticket *t) { return !t->served; });
  for (Ticket *ticket : queue_)
    ticket->served = false;
}

} // namespace bitnet::runtime
