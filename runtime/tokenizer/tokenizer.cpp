// See tokenizer.h. Checking the serialized form is tokenizer_load.cpp's work.
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/piece_text.h"
#include "runtime/tokenizer/utf8.h"

#include <algorithm>

namespace bitnet::runtime {
namespace {

Status no_token() {
  return invalid_argument(
      "text: a byte of it has no token in this vocabulary, and there is no unknown token");
}

} // namespace

/// Buffers of one encode call.
struct Tokenizer::Scratch {
  Scratch(size_t n_passes, bool continues)
      : splitters(n_passes), at_start(!continues), continues(continues) {}
  std::vector<Splitter::Scratch> splitters;
  BytePairEncoder::Workspace bpe;
  // Until anything of the text has been encoded one of them holds: it is the user's beginning, or goes on.
  bool at_start, continues;
  void begun() { at_start = continues = false; }
};

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, bool add_special, bool parse_special,
                                               bool continues) const {
  if (text.size() >= static_cast<size_t>(INT32_MAX))
    return invalid_argument("text: expected fewer than 2147483647 bytes, got " + std::to_string(text.size()) +
                            "; encode it in parts");
  std::vector<int32_t> ids;
  Scratch scratch(splitters_.size(), continues);
  if (add_special && add_bos_)
    ids.push_back(bos_);
  size_t at = 0;
  AddedTokens::Match match;
  while (added_->find(text, at, parse_special, &match)) {
    BITNET_RETURN_IF_ERROR(encode_between(text.substr(at, match.begin - at), parse_special, &scratch, &ids));
    ids.push_back(match.id);
    scratch.begun();
    at = match.end;
  }
  BITNET_RETURN_IF_ERROR(encode_between(text.substr(at), parse_special, &scratch, &ids));
  if (add_special && add_eos_)
    ids.push_back(eos_);
  return ids;
}

Status Tokenizer::encode_between(std::string_view text, bool parse_special, Scratch *scratch,
                                 std::vector<int32_t> *ids) const {
  if (text.empty())
    return {};
  std::string composed, marked, part;
  if (nfc_) {
    // NFC is defined on well-formed text; runs between ill-formed bytes are normalised one by one.
    while (!text.empty()) {
      const size_t valid = valid_utf8_prefix(text);
      if (!normalize_nfc(text.substr(0, valid), &part))
        return out_of_memory("text: cannot be normalised (NFC)");
      composed += part;
      text.remove_prefix(valid);
      if (!text.empty()) {
        composed += text.front();
        text.remove_prefix(1);
      }
    }
    text = composed;
  }
  if (marks_ == Marks::with_normalization) {
    if (front_mark_ == FrontMark::always && !scratch->continues)
      marked = kSpaceMark;
    append_with_marks(text, &marked);
    text = marked;
  }
  AddedTokens::Match match;
  size_t at = 0;
  while (normalized_added_->find(text, at, parse_special, &match)) {
    BITNET_RETURN_IF_ERROR(encode_plain(text.substr(at, match.begin - at), scratch, ids));
    ids->push_back(match.id);
    scratch->begun();
    at = match.end;
  }
  return encode_plain(text.substr(at), scratch, ids);
}

Status Tokenizer::encode_plain(std::string_view text, Scratch *scratch, std::vector<int32_t> *ids) const {
  if (text.empty())
    return {};
  const bool at_start = scratch->at_start, continues = scratch->continues;
  scratch->begun();
  if (pieces_)
    return pieces_->encode(text, at_start || (front_mark_ == FrontMark::always && !continues), ids);
  std::string marked;
  if (marks_ == Marks::after_added) {
    append_with_marks(text, &marked);
    const bool there = marked.compare(0, kSpaceMark.size(), kSpaceMark) == 0;
    if (!there &&
        (front_mark_ == FrontMark::unless_there ? !continues
                                                : front_mark_ == FrontMark::first_unless_there && at_start))
      marked.insert(0, kSpaceMark);
    text = marked;
  }
  while (!text.empty()) {
    const size_t valid = valid_utf8_prefix(text);
    BITNET_RETURN_IF_ERROR(encode_pieces(text.substr(0, valid), 0, scratch, ids));
    text.remove_prefix(valid);
    size_t ill_formed = 0;
    while (ill_formed < text.size()) {
      const Utf8Char c = decode_utf8_char(text.substr(ill_formed));
      if (c.code_point >= 0)
        break;
      ill_formed += c.size;
    }
    if (ill_formed > 0 && !bpe_->encode(text.substr(0, ill_formed), unk_, &scratch->bpe, ids))
      return no_token();
    text.remove_prefix(ill_formed);
  }
  return {};
}

Status Tokenizer::encode_pieces(std::string_view text, size_t pass, Scratch *scratch,
                                std::vector<int32_t> *ids) const {
  if (pass == splitters_.size())
    return encode_piece(text, scratch, ids);
  for (size_t begin = 0, end; begin < text.size(); begin = end) {
    BITNET_RETURN_IF_ERROR(splitters_[pass]->next_piece(text, begin, &scratch->splitters[pass], &end));
    BITNET_RETURN_IF_ERROR(encode_pieces(text.substr(begin, end - begin), pass + 1, scratch, ids));
  }
  return {};
}

Status Tokenizer::encode_piece(std::string_view piece, Scratch *scratch, std::vector<int32_t> *ids) const {
  for (size_t begin = 0, end; begin < piece.size(); begin = end) {
    end = piece.size();
    if (cut_at_marks_) { // before the next mark that comes after another character
      size_t at = begin;
      while (piece.compare(at, kSpaceMark.size(), kSpaceMark) == 0)
        at += kSpaceMark.size();
      end = std::min(piece.find(kSpaceMark, at), piece.size());
    }
    if (!bpe_->encode(piece.substr(begin, end - begin), unk_, &scratch->bpe, ids))
      return no_token();
  }
  return {};
}

Result<std::string> Tokenizer::decode(const int32_t *ids, size_t n, bool keep_special) const {
  std::string text;
  Utf8Stream stream;
  bool at_start = true;
  for (size_t i = 0; i < n; ++i) {
    const int32_t id = ids[i];
    if (id < 0 || id >= size())
      return invalid_argument("token " + std::to_string(i) + ": expected an id from 0 to " +
                              std::to_string(size() - 1) + ", got " + std::to_string(id));
    if (special_[id] && !keep_special)
      continue;
    std::string_view bytes = token_bytes(id);
    if (strip_front_ && at_start && !special_[id]) {
      at_start = false;
      if (!bytes.empty() && bytes[0] == ' ')
        bytes.remove_prefix(1);
    }
    stream.append(bytes, &text);
  }
  stream.finish(&text);
  return text;
}

} // namespace bitnet::runtime
