// Checks a serialized tokenizer (runtime/format/tokenizer.fbs) and builds the Tokenizer from it. After this
// file nothing about the data is doubted: every id is in range, every merge joins the bytes that it says.
#include "runtime/format/tokenizer_generated.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/utf8.h"

#include <algorithm>

namespace bitnet::runtime {
namespace fb = format::fb;

class TokenizerLoader {
public:
  explicit TokenizerLoader(const fb::Tokenizer &in) : in_(in), out_(new Tokenizer) {}

  Result<std::unique_ptr<Tokenizer>> run() {
    if (in_.kind() == fb::TokenizerKind::sentencepiece) {
      BITNET_RETURN_IF_ERROR(load_pieces());
    } else if (in_.kind() != fb::TokenizerKind::byte_bpe) {
      return unsupported("kind: expected 0 (byte_bpe) or 1 (sentencepiece), got " +
                         std::to_string(static_cast<int>(in_.kind())) + "; a newer version may read it");
    }
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

  Status load_pieces() {
    const auto *model = in_.spm_model();
    if (!model || model->size() == 0)
      return bad_bundle("spm_model: expected a serialized model, got nothing");
    auto pieces = SentencePiece::load({reinterpret_cast<const char *>(model->data()), model->size()});
    if (!pieces.ok())
      return std::move(pieces).status();
    out_->pieces_ = *std::move(pieces);
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
      if (added[id]) {
        bytes = {added[id]->content()->c_str(), added[id]->content()->size()};
        out_->special_[id] = added[id]->special();
      } else if (out_->pieces_) {
        if (id < n_base) {
          bytes = out_->pieces_->text(static_cast<int32_t>(id));
          out_->special_[id] = out_->pieces_->is_control(static_cast<int32_t>(id));
        }
      } else if (id < n_listed) {
        if (const auto *v = in_.vocab()->Get(id)->bytes())
          bytes = {reinterpret_cast<const char *>(v->data()), v->size()};
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
      if (!in_.nfc() || !token->normalized()) {
        raw.push_back(std::move(t));
        continue;
      }
      std::string content;
      if (valid_utf8_prefix(t.content) != t.content.size() || !normalize_nfc(t.content, &content) ||
          content.empty())
        return bad_bundle("added token " + std::to_string(i) + ": expected UTF-8 text");
      t.content = std::move(content);
      normalized.push_back(std::move(t));
    }
    out_->nfc_ = in_.nfc();
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

  Status load_byte_pairs() {
    auto splitter = Splitter::create(in_.split_pattern() ? in_.split_pattern()->str() : std::string());
    if (!splitter.ok())
      return std::move(splitter).status();
    out_->splitter_ = *std::move(splitter);
    const Vocabulary &vocabulary = out_->vocabulary_;
    out_->vocabulary_.build_index(findable_);
    if (in_.rank_is_id()) {
      out_->bpe_ = std::make_unique<BytePairEncoder>(vocabulary);
      return {};
    }
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
      merges.push_back({merge->left(), merge->right(), merge->result()});
    }
    out_->bpe_ = std::make_unique<BytePairEncoder>(vocabulary, merges, in_.ignore_merges());
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
