// Checks a serialized tokenizer (runtime/format/tokenizer.fbs) and builds the Tokenizer from it. After this
// file nothing about the data is doubted: every id is in range, every merge joins the bytes that it says.
#include "runtime/format/tokenizer_generated.h"
#include "runtime/tokenizer/piece_text.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"

#include <algorithm>

namespace bitnet::runtime {
namespace fb = format::fb;

/// Passes of splitting; real tokenizers have up to 4.
constexpr size_t kMaxSplits = 16;

class TokenizerLoader {
public:
  explicit TokenizerLoader(const fb::Tokenizer &in) : in_(in), out_(new Tokenizer) {}

  Result<std::unique_ptr<Tokenizer>> run() {
    if (in_.kind() == fb::TokenizerKind::sentencepiece) {
      BITNET_RETURN_IF_ERROR(load_pieces());
    } else if (in_.kind() == fb::TokenizerKind::character_bpe) {
      BITNET_RETURN_IF_ERROR(load_marks());
    } else if (in_.kind() != fb::TokenizerKind::byte_bpe) {
      return unsupported("kind: expected 0 (byte_bpe), 1 (sentencepiece) or 2 (character_bpe), got " +
                         std::to_string(static_cast<int>(in_.kind())) + "; a newer version may read it");
    }
    out_->nfc_ = in_.nfc();
    BITNET_RETURN_IF_ERROR(load_vocabulary());
    BITNET_RETURN_IF_ERROR(load_ids());
    if (!out_->pieces_)
      BITNET_RETURN_IF_ERROR(load_byte_pairs());
    return std::move(out_);
  }

private:
  static Status out_of_range(const std::string &what, int64_t id, int64_t size) {
    return bad_bundle(what + ": expected an id from 0 to " + std::to_string(size - 1) + ", got " +
                      std::to_string(id));
  }

  /// Bytes of the marks that a text starts with.
  static size_t left_marks(std::string_view text) {
    size_t at = 0;
    while (text.substr(at, kSpaceMark.size()) == kSpaceMark)
      at += kSpaceMark.size();
    return at;
  }

  Status load_pieces() {
    const auto *model = in_.spm_model();
    if (!model || model->size() == 0)
      return bad_bundle("spm_model: expected a serialized model, got nothing");
    auto pieces = SentencePiece::load({reinterpret_cast<const char *>(model->data()), model->size()});
    if (!pieces.ok())
      return std::move(pieces).status();
    out_->pieces_ = *std::move(pieces);
    out_->strip_front_ = out_->pieces_->adds_prefix();
    if (in_.front_mark() == fb::FrontMark::always)
      out_->front_mark_ = Tokenizer::FrontMark::always;
    return {};
  }

  Status load_marks() {
    using Front = Tokenizer::FrontMark;
    const bool before = in_.space_marks() == fb::SpaceMarks::normalizer;
    switch (in_.front_mark()) {
    case fb::FrontMark::never:
      out_->front_mark_ = Front::never;
      break;
    case fb::FrontMark::always:
      out_->front_mark_ = Front::always;
      break;
    case fb::FrontMark::unless_there:
      out_->front_mark_ = Front::unless_there;
      break;
    case fb::FrontMark::first_unless_there:
      out_->front_mark_ = Front::first_unless_there;
      break;
    default:
      return unsupported("front_mark: expected 0 to 3, got " +
                         std::to_string(static_cast<int>(in_.front_mark())) +
                         "; a newer version may read it");
    }
    if ((!before && in_.space_marks() != fb::SpaceMarks::pre_tokenizer) ||
        (out_->front_mark_ != Front::never && before != (out_->front_mark_ == Front::always)))
      return bad_bundle("space_marks: expected normalizer (0) with front_mark never or always, or "
                        "pre_tokenizer (1) with another one");
    out_->marks_ = before ? Tokenizer::Marks::with_normalization : Tokenizer::Marks::after_added;
    out_->strip_front_ = in_.strip_front();
    return {};
  }

  /// Fills vocabulary_, special_ and the added tokens.
  Status load_vocabulary() {
    const uint32_t n_listed = in_.vocab() ? in_.vocab()->size() : 0;
    const uint32_t n_added = in_.added() ? in_.added()->size() : 0;
    const int64_t n_base = out_->pieces_ ? out_->pieces_->size() : n_listed;
    if (n_base > kMaxVocabulary || n_added > static_cast<uint32_t>(kMaxVocabulary))
      return bad_bundle("vocab: expected at most " + std::to_string(kMaxVocabulary) + " tokens");
    int64_t size = n_base;
    for (uint32_t i = 0; i < n_added; ++i) {
      const fb::AddedToken *token = in_.added()->Get(i);
      if (token->id() < 0 || token->id() >= kMaxVocabulary)
        return out_of_range("added token " + std::to_string(i), token->id(), kMaxVocabulary);
      if (!token->content() || token->content()->size() == 0)
        return bad_bundle("added token " + std::to_string(i) + ": expected a text, got nothing");
      size = std::max<int64_t>(size, token->id() + 1);
    }
    if (size == 0)
      return bad_bundle("vocab: expected at least one token, got none");

    std::vector<const fb::AddedToken *> added(size);
    for (uint32_t i = 0; i < n_added; ++i) {
      const fb::AddedToken *token = in_.added()->Get(i);
      if (added[token->id()])
        return bad_bundle("added token " + std::to_string(i) + ": id " + std::to_string(token->id()) +
                          " is taken already");
      added[token->id()] = token;
    }
    out_->special_.assign(size, 0);
    findable_.assign(size, 1);
    size_t n_bytes = 0;
    for (uint32_t id = 0; id < n_listed; ++id)
      n_bytes += in_.vocab()->Get(id)->bytes() ? in_.vocab()->Get(id)->bytes()->size() : 0;
    out_->vocabulary_.reserve(size, n_bytes);
    for (int64_t id = 0; id < size; ++id) {
      std::string_view bytes;
      std::string text;
      if (added[id]) {
        bytes = {added[id]->content()->c_str(), added[id]->content()->size()};
        out_->special_[id] = added[id]->special();
        if (out_->marks_ == Tokenizer::Marks::with_normalization &&
            out_->front_mark_ == Tokenizer::FrontMark::always && added[id]->normalized() &&
            !added[id]->special()) {
          text = ' ' + std::string(bytes); // found with the mark in front, and stands for it
          bytes = text;
        }
      } else if (out_->pieces_) {
        if (id < n_base) {
          bytes = out_->pieces_->text(static_cast<int32_t>(id));
          out_->special_[id] = out_->pieces_->is_control(static_cast<int32_t>(id));
        }
      } else if (id < n_listed) {
        bytes = listed(id);
        if (characters()) {
          const int value = byte_value(bytes);
          text = value >= 0 ? std::string(1, static_cast<char>(value)) : with_spaces(bytes);
          bytes = text;
        }
      }
      findable_[id] = !out_->special_[id];
      out_->vocabulary_.push(bytes);
    }
    return load_added();
  }

  Status load_added() {
    std::vector<AddedToken> raw, normalized;
    for (uint32_t i = 0; in_.added() && i < in_.added()->size(); ++i) {
      const fb::AddedToken *token = in_.added()->Get(i);
      AddedToken t{token->id(),     token->content()->str(), token->special(),
                   token->lstrip(), token->rstrip(),         token->single_word()};
      if (!token->normalized()) {
        raw.push_back(std::move(t));
        continue;
      }
      std::string content;
      if (in_.nfc()) {
        if (valid_utf8_prefix(t.content) != t.content.size() || !normalize_nfc(t.content, &content) ||
            content.empty())
          return bad_bundle("added token " + std::to_string(i) + ": expected UTF-8 text");
        t.content = std::move(content);
      }
      if (out_->marks_ == Tokenizer::Marks::with_normalization) {
        content = out_->front_mark_ == Tokenizer::FrontMark::always ? kSpaceMark : std::string_view();
        append_with_marks(t.content, &content);
        t.content = std::move(content);
      }
      normalized.push_back(std::move(t));
    }
    out_->added_.emplace(std::move(raw));
    out_->normalized_added_.emplace(std::move(normalized));
    return {};
  }

  Status load_ids() {
    const int64_t size = out_->vocabulary_.size();
    const struct {
      const char *name;
      int32_t id;
      int32_t *to;
    } ids[] = {{"bos", in_.bos(), &out_->bos_},
               {"eos", in_.eos(), &out_->eos_},
               {"pad", in_.pad(), &out_->pad_},
               {"unk", in_.unk(), &out_->unk_}};
    for (const auto &id : ids) {
      if (id.id < -1 || id.id >= size)
        return out_of_range(id.name, id.id, size);
      *id.to = id.id;
    }
    if (in_.add_bos() && in_.bos() < 0)
      return bad_bundle("add_bos: expected a bos id, got none");
    if (in_.add_eos() && in_.eos() < 0)
      return bad_bundle("add_eos: expected an eos id, got none");
    out_->add_bos_ = in_.add_bos();
    out_->add_eos_ = in_.add_eos();
    for (uint32_t i = 0; in_.stop_tokens() && i < in_.stop_tokens()->size(); ++i) {
      const int32_t id = in_.stop_tokens()->Get(i);
      if (id < 0 || id >= size)
        return out_of_range("stop token " + std::to_string(i), id, size);
      out_->stop_tokens_.push_back(id);
    }
    return {};
  }

  bool characters() const { return in_.kind() == fb::TokenizerKind::character_bpe; }

  /// What the list of the vocabulary has for a token; nothing for a hole and beyond its end.
  std::string_view listed(int64_t id) const {
    const auto *bytes = in_.vocab() && id < in_.vocab()->size() ? in_.vocab()->Get(id)->bytes() : nullptr;
    return bytes ? std::string_view(reinterpret_cast<const char *>(bytes->data()), bytes->size())
                 : std::string_view();
  }

  Status load_splitters() {
    const auto add = [&](const flatbuffers::String *pattern) -> Status {
      if (!pattern || pattern->size() == 0)
        return {};
      if (out_->splitters_.size() == kMaxSplits)
        return bad_bundle("more_splits: expected at most " + std::to_string(kMaxSplits - 1) + " patterns");
      auto splitter = Splitter::create(pattern->str());
      if (!splitter.ok())
        return std::move(splitter).status();
      out_->splitters_.push_back(*std::move(splitter));
      return {};
    };
    BITNET_RETURN_IF_ERROR(add(in_.split_pattern()));
    for (uint32_t i = 0; in_.more_splits() && i < in_.more_splits()->size(); ++i)
      BITNET_RETURN_IF_ERROR(add(in_.more_splits()->Get(i)));
    return {};
  }

  /// The vocabulary that pieces of text are looked up in.
  const Vocabulary &load_lookup() {
    if (!characters()) {
      out_->vocabulary_.build_index(findable_);
      return out_->vocabulary_;
    }
    out_->marked_ = std::make_unique<Vocabulary>();
    const int32_t size = out_->vocabulary_.size();
    for (int32_t id = 0; id < size; ++id)
      out_->marked_->push(listed(id));
    out_->marked_->build_index(std::vector<uint8_t>(size, 1));
    return *out_->marked_;
  }

  Status load_byte_pairs() {
    BITNET_RETURN_IF_ERROR(load_splitters());
    const Vocabulary &vocabulary = load_lookup();
    if (in_.rank_is_id()) {
      if (characters())
        return bad_bundle("rank_is_id: expected a byte_bpe tokenizer");
      out_->bpe_ = std::make_unique<BytePairEncoder>(vocabulary);
      return {};
    }
    bool joins_before_mark = false;
    std::vector<BytePairMerge> merges;
    const uint32_t n = in_.merges() ? in_.merges()->size() : 0;
    merges.reserve(n);
    for (uint32_t i = 0; i < n; ++i) {
      const fb::Merge *merge = in_.merges()->Get(i);
      const auto where = [i] {
        return "merge " + std::to_string(i);
      }; // only made for an error: there are 280,000
      for (const int32_t id : {merge->left(), merge->right(), merge->result()})
        if (id < 0 || id >= vocabulary.size())
          return out_of_range(where(), id, vocabulary.size());
      const std::string_view left = vocabulary.bytes(merge->left()), right = vocabulary.bytes(merge->right());
      const std::string_view joined = vocabulary.bytes(merge->result());
      if (left.empty() || right.empty() || joined.size() != left.size() + right.size() ||
          joined.substr(0, left.size()) != left || joined.substr(left.size()) != right)
        return bad_bundle(where() + ": expected the bytes of token " + std::to_string(merge->result()) +
                          " to be those of tokens " + std::to_string(merge->left()) + " and " +
                          std::to_string(merge->right()) + " joined");
      joins_before_mark |= characters() && joined.find(kSpaceMark, left_marks(joined)) != joined.npos;
      merges.push_back({merge->left(), merge->right(), merge->result()});
    }
    if (!characters()) {
      out_->bpe_ = std::make_unique<BytePairEncoder>(vocabulary, merges, in_.ignore_merges());
      return {};
    }
    // No join reaches over a mark that comes after another character, and the mark is a token: then what is
    // on one side of it makes no difference to the other.
    out_->cut_at_marks_ = !joins_before_mark && !in_.ignore_merges() && vocabulary.find(kSpaceMark) >= 0;
    out_->bpe_ =
        std::make_unique<BytePairEncoder>(vocabulary, merges, in_.ignore_merges(),
                                          BytePairEncoder::Characters{in_.byte_fallback(), in_.fuse_unk()});
    return {};
  }

  const fb::Tokenizer &in_;
  std::unique_ptr<Tokenizer> out_;
  std::vector<uint8_t> findable_;
};

Result<std::unique_ptr<Tokenizer>> Tokenizer::load(const uint8_t *data, size_t size) {
  if (reinterpret_cast<uintptr_t>(data) % alignof(flatbuffers::uoffset_t) != 0)
    return bad_bundle("tokenizer: expected its bytes at a multiple of 4, got address ending in " +
                      std::to_string(reinterpret_cast<uintptr_t>(data) % 16));
  // Two tables for each token at most, and the root.
  flatbuffers::Verifier verifier(data, size, /*max_depth=*/8, /*max_tables=*/2 * kMaxVocabulary + 16);
  if (size < 16 || size >= FLATBUFFERS_MAX_BUFFER_SIZE || !fb::VerifyTokenizerBuffer(verifier))
    return bad_bundle("tokenizer: expected a FlatBuffer 'BNXT' of version 1, got " + std::to_string(size) +
                      " bytes that are none or are damaged");
  auto tokenizer = TokenizerLoader(*fb::GetTokenizer(data)).run();
  if (!tokenizer.ok())
    return std::move(tokenizer).status().in("tokenizer");
  return tokenizer;
}

} // namespace bitnet::runtime
