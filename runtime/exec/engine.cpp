// See engine.h.
#include "runtime/exec/engine.h"
#include <algorithm>
#include <chrono>
#include <cstring>

namespace bitnet::runtime {
namespace {

/// Sequences of one session. Their caches take address space at once, but memory only as they fill. When all
/// are taken the engine makes a further session.
constexpr int32_t kSequencesOfASlab = 16;

/// How long a step may wait for those who were in the last one, as a share of what that took. They ask again
/// within microseconds, unless they have ended; without this wait the first to ask would run alone, and steps
/// of one row would alternate with steps of all others.
constexpr double kWorthWaiting = 0.15;

} // namespace

Engine::Engine(const Model &model, const EngineOptions &options) : model_(model), options_(options) {
  const auto max_rows = size_t(model.bundle().plan.max_rows);
  parts_.reserve(max_rows);
  rows_.reserve(max_rows);
}

Result<std::unique_ptr<Engine>> Engine::create(const Model &model, const EngineOptions &options) {
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
      slab->returned.reserve(size_t(sequences)); // so that giving a sequence back cannot fail
      for (int32_t s = sequences; s-- > 0;)
        slab->free.push_back(s);
      slabs_.push_back(std::move(slab));
      return slabs_.back().get();
    }
    if (sequences == 1 || session.status().code() != StatusCode::out_of_memory)
      return std::move(session).status();
  }
}

Result<std::unique_ptr<Engine::Sequence>> Engine::open() {
  std::unique_lock<std::mutex> lock(mutex_);
  Slab *found = nullptr;
  const auto find_free = [&] {
    if (!stepping_)
      settle();
    bool comes = false; // a sequence that the step's end makes free: cheaper than a session more
    for (const auto &slab : slabs_) {
      if (!found && !slab->free.empty())
        found = slab.get();
      comes |= !slab->returned.empty();
    }
    return found || !comes;
  };
  changed_.wait(lock, find_free);
  if (!found) {
    auto added = add_slab();
    if (!added.ok())
      return std::move(added).status();
    found = *added;
  }
  std::unique_ptr<Sequence> sequence(new Sequence(*this, *found, found->free.back()));
  found->free.pop_back();
  return sequence;
}

Engine::Sequence::Sequence(Engine &engine, Slab &slab, int32_t number)
    : engine_(engine), slab_(slab), number_(number), logits_(size_t(engine.model_.bundle().model.vocab)) {}

Engine::Sequence::~Sequence() { engine_.close(slab_, number_); }

void Engine::close(Slab &slab, int32_t number) {
  std::lock_guard<std::mutex> lock(mutex_);
  slab.returned.push_back(number);
  if (!stepping_)
    settle();
}

/// Empties the sequences that were given back, and lets go of sessions that hold none any more but the first.
/// Only while no step runs.
void Engine::settle() {
  for (size_t i = slabs_.size(); i-- > 0;) {
    Slab &slab = *slabs_[i];
    for (const int32_t number : slab.returned) {
      (void)slab.session->truncate(number, 0); // of an existing sequence: cannot fail
      slab.free.push_back(number);
    }
    slab.returned.clear();
    if (i > 0 && slab.free.size() == size_t(slab.session->sequences()))
      slabs_.erase(slabs_.begin() + ptrdiff_t(i));
  }
}

void Engine::run(Request *requests, size_t n) {
  std::vector<Ticket> tickets(n);
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
/// wants one token comes first, so that a long prompt delays nobody by more than a step.
void Engine::gather() {
  parts_.clear();
  rows_.clear();
  slab_ = &queue_.front()->request->sequence->slab_;
  const auto max_rows = size_t(model_.bundle().plan.max_rows);
  int32_t wanted = 0;
  for (const bool single : {true, false})
    for (Ticket *ticket : queue_) {
      const Request &request = *ticket->request;
      const Sequence &sequence = *request.sequence;
      const size_t left = request.n_tokens - ticket->n_done, n = std::min(left, max_rows - rows_.size());
      if (&sequence.slab_ != slab_ || (left == 1) != single || n == 0)
        continue;
      const int32_t position = slab_->session->length(sequence.number_);
      const bool wants = request.wants_logits && n == left;
      for (size_t i = 0; i < n; ++i)
        rows_.push_back({request.tokens[ticket->n_done + i], position + int32_t(i), sequence.number_,
                         wants && i + 1 == n ? BITNET_WANT_LOGITS : 0});
      parts_.push_back({ticket, n, wants ? wanted++ : -1});
      ticket->served = true;
    }
}

void Engine::step(std::unique_lock<std::mutex> &lock) {
  gather();
  lock.unlock();
  const auto start = std::chrono::steady_clock::now();
  const Status status = slab_->session->step(rows_.data(), rows_.size());
  last_step_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (status.ok())
    for (const Part &part : parts_)
      if (part.logits >= 0) { // the sequence belongs to a thread that waits
        Sequence &sequence = *part.ticket->request->sequence;
        std::memcpy(sequence.logits_.data(), slab_->session->logits(size_t(part.logits)),
                    sequence.logits_.size() * sizeof(float));
        sequence.has_logits_ = true;
      }
  lock.lock();
  finish_parts(status);
}

void Engine::finish_parts(const Status &status) {
  n_companions_ = 0;
  for (const Part &part : parts_) {
    Ticket &ticket = *part.ticket;
    Request &request = *ticket.request;
    if (status.ok()) {
      ticket.n_done += part.n;
    } else { // the step took nothing; earlier parts of the same request are taken back
      const int32_t number = request.sequence->number_;
      (void)slab_->session->truncate(number, slab_->session->length(number) - int32_t(ticket.n_done));
      request.status = status;
    }
    ticket.finished = !status.ok() || ticket.n_done == request.n_tokens;
    n_companions_ += ticket.finished;
  }
  queue_.erase(std::remove_if(queue_.begin(), queue_.end(), [](const Ticket *t) { return t->finished; }),
               queue_.end());
  // Who had a turn stands behind who had none: a long prompt does not keep other sessions waiting.
  std::stable_partition(queue_.begin(), queue_.end(), [](const Ticket *t) { return !t->served; });
  for (Ticket *ticket : queue_)
    ticket->served = false;
}

} // namespace bitnet::runtime
