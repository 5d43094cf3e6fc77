// See TokenizerParts.h.
#include "compiler/import/TokenizerParts.h"
#include "compiler/import/ImportError.h"
#include "runtime/format/tokenizer_generated.h"
#include <algorithm>
#include <cstdlib>

using namespace llvm;
namespace fb = bitnet::format::fb;

namespace bitnet::import {
namespace {

/// Tokens that end a turn of a chat by their name; a model that has one as a special token means it so.
constexpr const char *kEndOfTurn[] = {"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>"};

Expected<std::optional<int64_t>> settingId(const TokenizerSettings &settings, const char *key) {
  const std::string *text = findSetting(settings, key);
  if (!text)
    return std::nullopt;
  char *end = nullptr;
  const long long id = std::strtoll(text->c_str(), &end, 10);
  if (text->empty() || *end || id < -1 || id >= kMaxTokens)
    return failure(std::string("--set ") + key + "=" + *text + ": expected a token id, or -1 for none");
  return std::optional<int64_t>(id);
}

Expected<std::optional<bool>> settingBool(const TokenizerSettings &settings, const char *key) {
  const std::string *text = findSetting(settings, key);
  if (!text)
    return std::nullopt;
  if (*text != "true" && *text != "false")
    return failure(std::string("--set ") + key + "=" + *text + ": expected true or false");
  return std::optional<bool>(*text == "true");
}

class Finisher {
public:
  Finisher(TokenizerParts parts, const std::string &where, const TokenizerSettings &settings)
      : parts_(std::move(parts)), where_(where), settings_(settings) {}

  Expected<ImportedTokenizer> run() {
    if (Error error = checkAdded())
      return error;
    if (Error error = resolveIds())
      return error;
    if (Error error = decideStops())
      return error;
    ImportedTokenizer out;
    out.bytes = serialize();
    out.decisions = std::move(parts_.decisions);
    out.size = static_cast<int32_t>(size_);
    return out;
  }

private:
  Error outOfRange(const std::string &what, int64_t id) const {
    return failure(where_ + ": " + what + ": expected an id from 0 to " + std::to_string(size_ - 1) +
                   ", got " + std::to_string(id));
  }

  Error checkAdded() {
    size_ = std::max<int64_t>(parts_.spmPieces, parts_.vocab.size());
    for (const TokenizerParts::Added &token : parts_.added) {
      if (token.id < 0 || token.id >= kMaxTokens)
        return failure(where_ + ": added token " + quoted(token.content) + ": expected an id from 0 to " +
                       std::to_string(kMaxTokens - 1) + ", got " + std::to_string(token.id));
      if (token.content.empty())
        return failure(where_ + ": added token " + std::to_string(token.id) + ": expected a text, got none");
      size_ = std::max(size_, token.id + 1);
    }
    if (size_ == 0 || size_ > kMaxTokens)
      return failure(where_ + ": expected 1 to " + std::to_string(kMaxTokens) + " tokens, got " +
                     std::to_string(size_));
    for (const TokenizerParts::Added &token : parts_.added) {
      if (!byId_.emplace(token.id, &token).second)
        return failure(where_ + ": added token " + quoted(token.content) + ": id " +
                       std::to_string(token.id) + " is taken by " + quoted(byId_[token.id]->content));
      if (!byText_.emplace(token.content, token.id).second)
        return failure(where_ + ": added token " + quoted(token.content) + " is there twice, as " +
                       std::to_string(byText_[token.content]) + " and " + std::to_string(token.id));
    }
    return Error::success();
  }

  /// The id that a setting, a file's id or a file's text names, in this order; -1 = none.
  Expected<int32_t> resolve(const char *what, const std::optional<int64_t> &id,
                            const std::string &text) const {
    Expected<std::optional<int64_t>> set = settingId(settings_, what);
    if (!set)
      return set.takeError();
    std::optional<int64_t> value = *set ? *set : id;
    if (!value && !text.empty()) {
      const auto added = byText_.find(text);
      if (added != byText_.end())
        value = added->second;
      else if (const auto token = std::find(parts_.vocab.begin(), parts_.vocab.end(), text);
               token != parts_.vocab.end())
        value = token - parts_.vocab.begin();
      else
        return failure(where_ + ": " + what + " token " + quoted(text) + " is not in the vocabulary; --set " +
                       what + "=ID says which it is");
    }
    if (!value || *value == -1)
      return -1;
    if (*value < 0 || *value >= size_)
      return outOfRange(what, *value);
    return static_cast<int32_t>(*value);
  }

  Error resolveIds() {
    const SpecialIds &ids = parts_.ids;
    const struct {
      const char *what;
      const std::optional<int64_t> &id;
      const std::string &text;
      int32_t &to;
    } all[] = {{"bos", ids.bos, ids.bosText, bos_},
               {"eos", ids.eos, ids.eosText, eos_},
               {"pad", ids.pad, ids.padText, pad_},
               {"unk", ids.unk, ids.unkText, unk_}};
    for (const auto &one : all) {
      Expected<int32_t> id = resolve(one.what, one.id, one.text);
      if (!id)
        return id.takeError();
      one.to = *id;
    }
    Expected<std::optional<bool>> addBos = settingBool(settings_, "add_bos");
    if (!addBos)
      return addBos.takeError();
    addBos_ = *addBos ? **addBos : ids.addBos.value_or(false);
    Expected<std::optional<bool>> addEos = settingBool(settings_, "add_eos");
    if (!addEos)
      return addEos.takeError();
    addEos_ = *addEos ? **addEos : ids.addEos.value_or(false);
    if (addBos_ && bos_ < 0)
      return failure(where_ +
                     ": expected a BOS token to put first, got none; --set bos=ID or --set add_bos=false");
    if (addEos_ && eos_ < 0)
      return failure(where_ + ": expected an EOS token to put last, got none; --set eos=ID or --set "
                              "add_eos=false");
    return Error::success();
  }

  Error decideStops() {
    for (const int64_t id : parts_.ids.stop) {
      if (id < 0 || id >= size_)
        return outOfRange("stop token", id);
      addStop(static_cast<int32_t>(id));
    }
    if (eos_ >= 0)
      addStop(eos_);
    for (const char *name : kEndOfTurn) {
      const auto token = byText_.find(name);
      if (token != byText_.end() && byId_[token->second]->special &&
          addStop(static_cast<int32_t>(token->second)))
        parts_.decisions.push_back({"stop token", std::to_string(token->second),
                                    std::string("the vocabulary has ") + name + ", which ends a turn",
                                    "eos"});
    }
    return Error::success();
  }

  bool addStop(int32_t id) {
    if (std::find(stops_.begin(), stops_.end(), id) != stops_.end())
      return false;
    stops_.push_back(id);
    return true;
  }

  std::vector<uint8_t> serialize() const {
    flatbuffers::FlatBufferBuilder builder(1 << 20);
    std::vector<flatbuffers::Offset<fb::TokenBytes>> vocab;
    vocab.reserve(parts_.vocab.size());
    for (const std::string &token : parts_.vocab)
      vocab.push_back(fb::CreateTokenBytes(
          builder, builder.CreateVector(reinterpret_cast<const uint8_t *>(token.data()), token.size())));
    std::vector<fb::Merge> merges;
    merges.reserve(parts_.merges.size());
    for (const TokenizerParts::Merge &merge : parts_.merges)
      merges.emplace_back(merge.left, merge.right, merge.result);
    std::vector<flatbuffers::Offset<fb::AddedToken>> added;
    for (const auto &[id, token] : byId_)
      added.push_back(fb::CreateAddedToken(
          builder, static_cast<int32_t>(id), builder.CreateString(token->content), token->special,
          token->lstrip, token->rstrip, token->singleWord, token->normalized));
    const auto vocabAt = builder.CreateVector(vocab);
    const auto mergesAt = builder.CreateVectorOfStructs(merges);
    const auto addedAt = builder.CreateVector(added);
    const std::vector<std::string> &splits = parts_.splits;
    const auto patternAt = builder.CreateString(splits.empty() ? std::string() : splits.front());
    flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>> moreAt = 0;
    if (splits.size() > 1)
      moreAt = builder.CreateVectorOfStrings(splits.begin() + 1, splits.end());
    const auto preAt = builder.CreateString(parts_.preName);
    const auto stopsAt = builder.CreateVector(stops_);
    const auto modelAt = builder.CreateVector(reinterpret_cast<const uint8_t *>(parts_.spmModel.data()),
                                              parts_.spmModel.size());
    fb::TokenizerBuilder out(builder);
    out.add_kind(!parts_.spmModel.empty() ? fb::TokenizerKind::sentencepiece
                 : parts_.characters      ? fb::TokenizerKind::character_bpe
                                          : fb::TokenizerKind::byte_bpe);
    out.add_vocab(vocabAt);
    out.add_merges(mergesAt);
    out.add_rank_is_id(parts_.rankIsId);
    out.add_split_pattern(patternAt);
    out.add_pre_name(preAt);
    out.add_ignore_merges(parts_.ignoreMerges);
    out.add_byte_fallback(parts_.byteFallback);
    out.add_nfc(parts_.nfc);
    out.add_add_bos(addBos_);
    out.add_add_eos(addEos_);
    out.add_bos(bos_);
    out.add_eos(eos_);
    out.add_pad(pad_);
    out.add_unk(unk_);
    out.add_stop_tokens(stopsAt);
    out.add_added(addedAt);
    out.add_spm_model(modelAt);
    if (!moreAt.IsNull())
      out.add_more_splits(moreAt);
    out.add_space_marks(parts_.marksBeforeAdded ? fb::SpaceMarks::normalizer : fb::SpaceMarks::pre_tokenizer);
    out.add_front_mark(static_cast<fb::FrontMark>(parts_.front)); // the same order
    out.add_fuse_unk(parts_.fuseUnk);
    out.add_strip_front(parts_.stripFront);
    fb::FinishTokenizerBuffer(builder, out.Finish());
    return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
  }

  TokenizerParts parts_;
  const std::string &where_;
  const TokenizerSettings &settings_;
  int64_t size_ = 0;
  std::map<int64_t, const TokenizerParts::Added *> byId_;
  std::map<std::string, int64_t> byText_;
  int32_t bos_ = -1, eos_ = -1, pad_ = -1, unk_ = -1;
  bool addBos_ = false, addEos_ = false;
  std::vector<int32_t> stops_;
};

} // namespace

Expected<ImportedTokenizer> finishTokenizer(TokenizerParts parts, const std::string &where,
                                            const TokenizerSettings &settings) {
  return Finisher(std::move(parts), where, settings).run();
}

const std::string *findSetting(const TokenizerSettings &settings, const std::string &key) {
  const std::string *value = nullptr;
  for (const auto &setting : settings) // the last one counts
    if (setting.first == key)
      value = &setting.second;
  return value;
}

} // namespace bitnet::import
