// See ngram_drafts.h.
#include "runtime/sample/ngram_drafts.h"

#include <algorithm>

namespace bitnet::runtime {
namespace {

/// Entries at most; three a token, the newest wins. 256 KiB, so that a look stays in the second cache.
constexpr size_t kMostPlaces = size_t(1) << 16;
/// A record fades by this with every entry: the last 50 or so count.
constexpr double kFade = 0.98;
/// What a record starts with: so many entries, right at this share by length of the match. On the KJV model's
/// greedy texts: 0.2, 0.5, 0.7, 0.8 and rising to 0.95.
constexpr double kStartEntries = 4;
constexpr std::array<double, 8> kStartShares = {0.1, 0.3, 0.5, 0.7, 0.7, 0.8, 0.8, 0.8};

} // namespace

NgramDrafts::NgramDrafts(size_t most) {
  text_.reserve(most);
  size_t places = 64;
  while (places < kMostPlaces && places < 2 * kLongestKey * most)
    places *= 2;
  places_.resize(places);
  for (size_t c = 0; c < kClasses; ++c)
    records_[c] = {kStartEntries, kStartEntries * kStartShares[c]};
}

/// Of the n-gram that ends before `end`.
int32_t &NgramDrafts::place_of(size_t n, size_t end) {
  uint64_t hash = n;
  for (size_t i = end - n; i < end; ++i)
    hash = (hash ^ uint32_t(text_[i])) * 0x9E3779B97F4A7C15u;
  return places_[(hash >> 32) & (places_.size() - 1)];
}

/// Tokens before `at` that equal the end of the text, counted up to kClasses.
size_t NgramDrafts::length_of_match(size_t at) const {
  size_t length = 0;
  while (length < std::min(at, kClasses) && text_[at - 1 - length] == text_[text_.size() - 1 - length])
    ++length;
  return length;
}

void NgramDrafts::find_match() {
  for (size_t n = std::min(kLongestKey, text_.size()); n > 0; --n)
    if (const auto at = size_t(place_of(n, text_.size())); at > 0) {
      const size_t length = length_of_match(at);
      if (length >= n) { // not another n-gram of the same hash
        match_ = at;
        length_ = length;
        return;
      }
    }
  match_ = length_ = 0;
}

void NgramDrafts::append(int32_t token, bool drawn) {
  const bool goes_on = match_ > 0 && text_[match_] == token;
  if (match_ > 0 && drawn) {
    Record &record = records_[length_ - 1];
    record = {record.tried * kFade + 1, record.right * kFade + goes_on};
  }
  text_.push_back(token);
  if (goes_on) {
    ++match_;
    length_ = std::min(length_ + 1, kClasses);
  }
  if (!goes_on || length_ < kLongestKey)
    find_match();
  for (size_t n = std::min(kLongestKey, text_.size()); n > 0; --n)
    place_of(n, text_.size()) = int32_t(text_.size());
}

size_t NgramDrafts::draft(size_t n, int32_t *tokens) const {
  if (match_ == 0)
    return 0;
  for (size_t i = 0; i < n; ++i) // a text that repeats itself goes on into what was guessed
    tokens[i] = match_ + i < text_.size() ? text_[match_ + i] : tokens[match_ + i - text_.size()];
  return n;
}

double NgramDrafts::chance(size_t i) const {
  if (match_ == 0)
    return 0;
  const Record &record = records_[std::min(length_ + i, kClasses) - 1];
  return record.right / record.tried;
}

} // namespace bitnet::runtime
