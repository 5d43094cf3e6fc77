// See byte_pair.h.
#include "runtime/tokenizer/byte_pair.h"
#include "runtime/tokenizer/utf8.h"

#include <algorithm>

namespace bitnet::runtime {
namespace {

constexpr uint32_t kNone = UINT32_MAX;

uint32_t pair_hash(int32_t left, int32_t right) {
  const uint64_t key =
      static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  return static_cast<uint32_t>((key * 0x9E3779B97F4A7C15u) >>
                               32); // Fibonacci hashing: the high bits are mixed best
}

/// Heap order: lowest rank first, then leftmost.
bool comes_later(const BytePairEncoder::Workspace::Candidate &a,
                 const BytePairEncoder::Workspace::Candidate &b) {
  return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
}

} // namespace

BytePairEncoder::BytePairEncoder(const Vocabulary &vocabulary, const std::vector<BytePairMerge> &merges,
                                 bool whole_pieces, std::optional<Characters> characters)
    : vocabulary_(vocabulary), by_id_(false), whole_pieces_(whole_pieces), characters_(characters) {
  find_bytes();
  uint32_t n_slots = 16;
  while (n_slots < merges.size() + merges.size() / 2) // at most two thirds full
    n_slots *= 2;
  pair_mask_ = n_slots - 1;
  pairs_.assign(n_slots, {-1, -1, 0, -1});
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const BytePairMerge &merge = merges[rank];
    uint32_t at = pair_hash(merge.left, merge.right) & pair_mask_;
    while (pairs_[at].left >= 0 && !(pairs_[at].left == merge.left && pairs_[at].right == merge.right))
      at = (at + 1) & pair_mask_;
    if (pairs_[at].left < 0)
      pairs_[at] = {merge.left, merge.right, static_cast<uint32_t>(rank), merge.result};
  }
  if (!whole_pieces)
    memo_ = std::make_unique<std::atomic<uint8_t>[]>(vocabulary.size());
}

BytePairEncoder::BytePairEncoder(const Vocabulary &vocabulary)
    : vocabulary_(vocabulary), by_id_(true), whole_pieces_(true) {
  find_bytes();
}

void BytePairEncoder::find_bytes() {
  for (int byte = 0; byte < 256; ++byte) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    const std::string token = characters_
                                  ? std::string{'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'}
                                  : std::string(1, static_cast<char>(byte));
    byte_ids_[byte] = vocabulary_.find(token);
  }
}

const BytePairEncoder::Pair *BytePairEncoder::find_pair(int32_t left, int32_t right) const {
  for (uint32_t at = pair_hash(left, right) & pair_mask_; pairs_[at].left >= 0; at = (at + 1) & pair_mask_)
    if (pairs_[at].left == left && pairs_[at].right == right)
      return &pairs_[at];
  return nullptr;
}

void BytePairEncoder::propose(std::string_view piece, uint32_t left, Workspace *w) const {
  const uint32_t right = w->symbols[left].next;
  if (right == kNone)
    return;
  const uint32_t end = w->symbols[right].end;
  if (by_id_) {
    const int32_t id = vocabulary_.find(piece.substr(left, end - left));
    if (id >= 0)
      w->heap.push_back({static_cast<uint32_t>(id), left, end, id});
  } else if (const Pair *pair = find_pair(w->symbols[left].id, w->symbols[right].id)) {
    w->heap.push_back({pair->rank, left, end, pair->result});
  }
}

bool BytePairEncoder::start_from_bytes(std::string_view piece, int32_t unknown, Workspace *w) const {
  const auto size = static_cast<uint32_t>(piece.size());
  std::vector<Workspace::Symbol> &symbols = w->symbols;
  bool known = true;
  for (uint32_t i = 0; i < size; ++i) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(piece[i])];
    known &= id >= 0;
    symbols[i] = {i == 0 ? kNone : i - 1, i + 1 == size ? kNone : i + 1, i + 1, id >= 0 ? id : unknown};
  }
  return known || unknown >= 0;
}

bool BytePairEncoder::start_from_characters(std::string_view piece, int32_t unknown, Workspace *w) const {
  const auto size = static_cast<uint32_t>(piece.size());
  std::vector<Workspace::Symbol> &symbols = w->symbols;
  uint32_t last = kNone; // the symbol before
  bool last_known = true;
  const auto append = [&](uint32_t begin, uint32_t end, int32_t id) {
    symbols[begin] = {last, kNone, end, id};
    if (last != kNone)
      symbols[last].next = begin;
    last = begin;
  };
  for (uint32_t at = 0, end; at < size; at = end) {
    end = at + decode_utf8_char(piece.substr(at)).size; // ill-formed bytes have no token
    const int32_t id = vocabulary_.find(piece.substr(at, end - at));
    bool bytes = id < 0 && characters_->byte_fallback;
    for (uint32_t i = at; bytes && i < end; ++i)
      bytes = byte_ids_[static_cast<uint8_t>(piece[i])] >= 0;
    const bool known = id >= 0 || bytes;
    if (id >= 0)
      append(at, end, id);
    else if (bytes)
      for (uint32_t i = at; i < end; ++i)
        append(i, i + 1, byte_ids_[static_cast<uint8_t>(piece[i])]);
    else if (unknown < 0)
      return false;
    else if (last != kNone && !last_known && characters_->fuse_unknown)
      symbols[last].end = end;
    else
      append(at, end, unknown);
    last_known = known;
  }
  return true;
}

bool BytePairEncoder::join(std::string_view piece, int32_t unknown, Workspace *w,
                           std::vector<int32_t> *ids) const {
  std::vector<Workspace::Symbol> &symbols = w->symbols;
  symbols.resize(piece.size());
  if (!(characters_ ? start_from_characters(piece, unknown, w) : start_from_bytes(piece, unknown, w)))
    return false;

  w->heap.clear();
  for (uint32_t i = 0; i != kNone; i = symbols[i].next)
    propose(piece, i, w);
  std::make_heap(w->heap.begin(), w->heap.end(), comes_later);
  while (!w->heap.empty()) {
    const Workspace::Candidate best = w->heap.front();
    std::pop_heap(w->heap.begin(), w->heap.end(), comes_later);
    w->heap.pop_back();
    // Stale when either side was joined meanwhile: symbols only grow, so then the right end differs or left
    // is gone.
    Workspace::Symbol &left = symbols[best.left];
    if (left.end == 0 || left.next == kNone || symbols[left.next].end != best.end)
      continue;
    Workspace::Symbol &right = symbols[left.next];
    left.end = best.end;
    left.id = best.result;
    left.next = right.next;
    right.end = 0;
    if (left.next != kNone)
      symbols[left.next].previous = best.left;
    const size_t before = w->heap.size();
    if (left.previous != kNone)
      propose(piece, left.previous, w);
    if (w->heap.size() > before)
      std::push_heap(w->heap.begin(), w->heap.end(), comes_later);
    const size_t between = w->heap.size();
    propose(piece, best.left, w);
    if (w->heap.size() > between)
      std::push_heap(w->heap.begin(), w->heap.end(), comes_later);
  }
  for (uint32_t i = 0; i != kNone; i = symbols[i].next)
    ids->push_back(symbols[i].id);
  return true;
}

bool BytePairEncoder::encode(std::string_view piece, int32_t unknown, Workspace *workspace,
                             std::vector<int32_t> *ids) const {
  if (piece.empty())
    return true;
  const int32_t whole = vocabulary_.find(piece);
  if (whole < 0)
    return join(piece, unknown, workspace, ids);
  if (whole_pieces_ || memo_[whole].load(std::memory_order_relaxed) == joins_to_itself) {
    ids->push_back(whole);
    return true;
  }
  const size_t begin = ids->size();
  if (!join(piece, unknown, workspace, ids))
    return false;
  memo_[whole].store(ids->size() == begin + 1 && ids->back() == whole ? joins_to_itself : splits,
                     std::memory_order_relaxed);
  return true;
}

} // namespace bitnet::runtime
