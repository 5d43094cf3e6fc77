// tokenizer.json (Hugging Face tokenizers): BPE, byte-level or of characters with byte fallback (a converted
// SentencePiece model). Every component that changes ids is either understood or refused by name; none is
// skipped.
#include "compiler/import/ImportError.h"
#include "compiler/import/JsonText.h"
#include "compiler/import/TokenizerParts.h"

using namespace llvm;
using nlohmann::json;

namespace bitnet::import {
namespace {

const json &at(const json &object, const char *key) {
  static const json null;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : null;
}

std::string stringAt(const json &object, const char *key) {
  const json &value = at(object, key);
  return value.is_string() ? value.get_ref<const std::string &>() : std::string();
}

bool boolAt(const json &object, const char *key, bool otherwise) {
  const json &value = at(object, key);
  return value.is_boolean() ? value.get<bool>() : otherwise;
}

/// A JSON integer; floats and integers beyond i64 are none.
std::optional<int64_t> integer(const json &value) {
  if (value.is_number_unsigned()) {
    const uint64_t v = value.get<uint64_t>();
    return v <= INT64_MAX ? std::optional<int64_t>(static_cast<int64_t>(v)) : std::nullopt;
  }
  return value.is_number_integer() ? std::optional<int64_t>(value.get<int64_t>()) : std::nullopt;
}

constexpr char kMark[] = "\u2581"; // ▁

class TokenizerJson {
  using Front = TokenizerParts::Front;

public:
  TokenizerJson(const json &root, std::string where) : root_(root), where_(std::move(where)) {}

  Expected<TokenizerParts> run(const SpecialIds &ids) {
    parts_.ids = ids;
    if (!root_.is_object())
      return refuse("expected an object, got another value");
    for (const auto step :
         {&TokenizerJson::readAdded, &TokenizerJson::readNormalizer, &TokenizerJson::readPreTokenizer,
          &TokenizerJson::readDecoder, &TokenizerJson::readModel, &TokenizerJson::readPostProcessor})
      if (Error error = (this->*step)())
        return error;
    return std::move(parts_);
  }

private:
  Error refuse(const std::string &text) const { return failure(where_ + ": " + text); }

  Error readAdded() {
    const json &added = at(root_, "added_tokens");
    if (added.is_null())
      return Error::success();
    if (!added.is_array())
      return refuse("added_tokens: expected an array");
    for (const json &entry : added) {
      const std::string which = "added_tokens[" + std::to_string(parts_.added.size()) + "]";
      const std::optional<int64_t> id = integer(at(entry, "id"));
      if (!id || !at(entry, "content").is_string())
        return refuse(which + ": expected an integer id and a text content");
      TokenizerParts::Added token;
      token.id = *id;
      token.content = stringAt(entry, "content");
      token.special = boolAt(entry, "special", false);
      token.lstrip = boolAt(entry, "lstrip", false);
      token.rstrip = boolAt(entry, "rstrip", false);
      token.singleWord = boolAt(entry, "single_word", false);
      token.normalized = boolAt(entry, "normalized", !token.special);
      parts_.added.push_back(std::move(token));
    }
    return Error::success();
  }

  Error readModel() {
    const json &model = at(root_, "model");
    const std::string type = stringAt(model, "type");
    // Old files leave the type out; only BPE has merges.
    if (type != "BPE" && !(type.empty() && at(model, "merges").is_array()))
      return refuse("model: expected type BPE, got " + quoted(type));
    parts_.byteFallback = boolAt(model, "byte_fallback", false);
    if (parts_.byteFallback && byteLevel_)
      return refuse("model: expected no byte_fallback with ByteLevel");
    parts_.fuseUnk = boolAt(model, "fuse_unk", false);
    if (!at(model, "dropout").is_null())
      return refuse("model: expected no dropout");
    for (const char *key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!stringAt(model, key).empty())
        return refuse(std::string("model: expected no ") + key + ", got " + quoted(stringAt(model, key)));
    parts_.ignoreMerges = boolAt(model, "ignore_merges", false);
    parts_.ids.unkText = stringAt(model, "unk_token");
    if (Error error = readVocabulary(at(model, "vocab")))
      return error;
    return readMerges(at(model, "merges"));
  }

  Error readVocabulary(const json &vocab) {
    if (!vocab.is_object() || vocab.empty())
      return refuse("model.vocab: expected an object of token: id, got " + std::string(vocab.type_name()));
    if (vocab.size() > static_cast<size_t>(kMaxTokens))
      return refuse("model.vocab: expected at most " + std::to_string(kMaxTokens) + " tokens, got " +
                    std::to_string(vocab.size()));
    std::map<std::string, int64_t> added;
    for (const TokenizerParts::Added &token : parts_.added)
      added.emplace(token.content, token.id);
    for (auto token = vocab.begin(); token != vocab.end(); ++token) {
      const std::optional<int64_t> id = integer(token.value());
      if (!id || *id < 0 || *id >= kMaxTokens)
        return refuse("model.vocab: token " + quoted(token.key()) + ": expected an id from 0 to " +
                      std::to_string(kMaxTokens - 1) + ", got " +
                      token.value().dump(-1, ' ', true).substr(0, 40));
      if (token.key().empty())
        return refuse("model.vocab: token " + std::to_string(*id) + ": expected a text, got none");
      if (static_cast<size_t>(*id) >= texts_.size())
        texts_.resize(*id + 1);
      if (!texts_[*id].empty())
        return refuse("model.vocab: id " + std::to_string(*id) + " is given to " + quoted(texts_[*id]) +
                      " and to " + quoted(token.key()));
      texts_[*id] = token.key();
      const auto twin = added.find(token.key());
      if (twin != added.end() && twin->second != *id)
        return refuse("added token " + quoted(token.key()) + ": expected the id of model.vocab, " +
                      std::to_string(*id) + ", got " + std::to_string(twin->second));
    }
    parts_.vocab.resize(texts_.size());
    std::vector<bool> isAdded(texts_.size());
    for (const TokenizerParts::Added &token : parts_.added) {
      if (token.id < 0 || static_cast<size_t>(token.id) >= texts_.size())
        continue; // beyond the model, or refused later
      if (!texts_[token.id].empty() && texts_[token.id] != token.content)
        return refuse("added token " + quoted(token.content) + ": id " + std::to_string(token.id) +
                      " is given to " + quoted(texts_[token.id]) + " in model.vocab");
      isAdded[token.id] = true;
    }
    for (size_t id = 0; id < texts_.size(); ++id)
      if (parts_.characters)
        parts_.vocab[id] = texts_[id];
      else if (!isAdded[id] && !bytesOfAlphabet(texts_[id], parts_.vocab[id]))
        return refuse("model.vocab: token " + std::to_string(id) + " " + quoted(texts_[id]) +
                      ": expected the byte-level alphabet");
    return Error::success();
  }

  Error readMerges(const json &merges) {
    if (!merges.is_array())
      return refuse("model.merges: expected an array, got " + std::string(merges.type_name()));
    const MergeResolver resolver(texts_, where_ + ": model");
    parts_.merges.reserve(merges.size());
    for (const json &merge : merges)
      if (Error error = readMerge(merge, resolver))
        return error;
    return Error::success();
  }

  Error readMerge(const json &merge, const MergeResolver &resolver) {
    if (merge.is_string())
      return resolver.add(merge.get_ref<const std::string &>(), parts_.merges);
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
      return resolver.add(merge[0].get_ref<const std::string &>(), merge[1].get_ref<const std::string &>(),
                          parts_.merges);
    return refuse("model.merges[" + std::to_string(parts_.merges.size()) +
                  "]: expected \"left right\" or [\"left\", \"right\"]");
  }

  /// Understood: NFC; and Prepend and Replace that write ▁ as SentencePiece does.
  Error readNormalizer() {
    const json &normalizer = at(root_, "normalizer");
    if (normalizer.is_null())
      return Error::success();
    const json list = stringAt(normalizer, "type") == "Sequence" ? at(normalizer, "normalizers")
                                                                 : json::array({normalizer});
    for (const json &one : list) {
      const std::string type = stringAt(one, "type");
      if (type == "NFC") {
        parts_.nfc = true;
      } else if (type == "Prepend" && !writesMarks_ && stringAt(one, "prepend") == kMark) {
        parts_.front = Front::always;
      } else if (type == "Replace" && !writesMarks_ && stringAt(at(one, "pattern"), "String") == " " &&
                 stringAt(one, "content") == kMark) {
        writesMarks_ = true;
      } else {
        return refuse("normalizer: expected NFC, or Prepend and Replace with U+2581, or none, got " +
                      quoted(type));
      }
    }
    if (parts_.front == Front::always && !writesMarks_)
      return refuse("normalizer: expected Prepend before a Replace of spaces by U+2581");
    return Error::success();
  }

  /// Understood: Splits (each of its kind below), then ByteLevel without a prefix space, whose own pattern
  /// may be the last split. Without ByteLevel the model's tokens are text with ▁ for spaces: that is
  /// Metaspace's doing, or the normalizer's.
  Error readPreTokenizer() {
    const json &pre = at(root_, "pre_tokenizer");
    const json list = pre.is_null()                         ? json::array()
                      : stringAt(pre, "type") == "Sequence" ? at(pre, "pretokenizers")
                                                            : json::array({pre});
    for (const json &one : list) {
      const std::string type = stringAt(one, "type");
      if (byteLevel_)
        return refuse("pre_tokenizer: expected nothing after ByteLevel, got " + quoted(type));
      if (type == "Split") {
        if (Error error = readSplit(one))
          return error;
      } else if (type == "Punctuation" && stringAt(one, "behavior") == "Contiguous") {
        patterns_.push_back(R"([\p{P}$+<=>^`|~]+)"); // with ASCII's symbols
      } else if (type == "Digits") {
        patterns_.push_back(boolAt(one, "individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)");
      } else if (type == "Metaspace" && !writesMarks_) {
        if (Error error = readMetaspace(one))
          return error;
      } else if (type == "ByteLevel") {
        if (boolAt(one, "add_prefix_space", true))
          return refuse("pre_tokenizer: ByteLevel: expected add_prefix_space false, got true");
        if (boolAt(one, "use_regex", true))
          patterns_.push_back(findPreTokenizer("gpt-2")->patterns[0]);
        byteLevel_ = true;
      } else {
        return refuse("pre_tokenizer: expected Split, Punctuation (Contiguous), Digits, Metaspace or "
                      "ByteLevel, got " +
                      quoted(type));
      }
    }
    if (byteLevel_ == writesMarks_)
      return refuse(byteLevel_ ? "pre_tokenizer: expected ByteLevel or U+2581 for spaces, got both"
                               : "pre_tokenizer: expected ByteLevel, got none, and no U+2581 for spaces; "
                                 "only these two kinds of BPE are read");
    parts_.characters = writesMarks_;
    for (const std::string &pattern : patterns_) {
      Expected<std::string> translated = toPcre2(pattern, where_ + ": pre_tokenizer");
      if (!translated)
        return translated.takeError();
      parts_.splits.push_back(std::move(*translated));
    }
    parts_.preName = patterns_.empty() && writesMarks_ ? "sentencepiece" : nameOf(patterns_);
    return Error::success();
  }

  Error readSplit(const json &split) {
    const json &regex = at(at(split, "pattern"), "Regex");
    if (regex.is_string() && stringAt(split, "behavior") == "Isolated" && !boolAt(split, "invert", false)) {
      patterns_.push_back(regex.get<std::string>());
      return Error::success();
    }
    // Gemma's: at spaces, of which the normalizer has left none.
    if (stringAt(at(split, "pattern"), "String") == " " && writesMarks_ && parts_.marksBeforeAdded)
      return Error::success();
    return refuse("pre_tokenizer: Split: expected a Regex with behavior Isolated and no invert");
  }

  Error readMetaspace(const json &metaspace) {
    if (stringAt(metaspace, "replacement") != kMark)
      return refuse("pre_tokenizer: Metaspace: expected U+2581, got " +
                    quoted(stringAt(metaspace, "replacement")));
    const std::string scheme = at(metaspace, "prepend_scheme").is_string()
                                   ? stringAt(metaspace, "prepend_scheme")
                               : boolAt(metaspace, "add_prefix_space", true) ? "always" // as old files say it
                                                                             : "never";
    if (scheme != "always" && scheme != "first" && scheme != "never")
      return refuse("pre_tokenizer: Metaspace: expected prepend_scheme always, first or never, got " +
                    quoted(scheme));
    if (!patterns_.empty())
      return refuse("pre_tokenizer: expected Metaspace first");
    writesMarks_ = true;
    parts_.marksBeforeAdded = false;
    parts_.front = scheme == "always"  ? Front::unlessThere
                   : scheme == "first" ? Front::firstUnlessThere
                                       : Front::never;
    if (boolAt(metaspace, "split", true))
      patterns_.push_back("\u2581?[^\u2581]+|\u2581"); // a piece begins at each mark
    return Error::success();
  }

  /// What decoding does follows from the kind; here it is looked at for whether it is that, and for the space
  /// at the front that it takes away.
  Error readDecoder() {
    const json &decoder = at(root_, "decoder");
    if (decoder.is_null())
      return Error::success();
    const json list =
        stringAt(decoder, "type") == "Sequence" ? at(decoder, "decoders") : json::array({decoder});
    for (const json &one : list) {
      const std::string type = stringAt(one, "type");
      bool understood = byteLevel_ && type == "ByteLevel";
      if (!byteLevel_ && type == "Replace")
        understood = stringAt(at(one, "pattern"), "String") == kMark && stringAt(one, "content") == " ";
      else if (!byteLevel_ && type == "Strip")
        understood = parts_.stripFront = stringAt(one, "content") == " " && integer(at(one, "start")) == 1 &&
                                         integer(at(one, "stop")) == 0;
      else if (!byteLevel_ && type == "Metaspace")
        understood = parts_.stripFront = true;
      else if (!byteLevel_)
        understood = type == "ByteFallback" || type == "Fuse";
      if (!understood)
        return refuse("decoder: expected " + std::string(byteLevel_ ? "ByteLevel" : "that of SentencePiece") +
                      ", got " + quoted(type));
    }
    return Error::success();
  }

  static std::string nameOf(const std::vector<std::string> &patterns) {
    for (const char *name : {"llama-bpe", "qwen2", "qwen35", "gpt-2"})
      if (patterns.size() == 1 && patterns[0] == findPreTokenizer(name)->patterns[0])
        return name;
    return "tokenizer.json";
  }

  Error readPostProcessor() {
    const json &post = at(root_, "post_processor");
    if (post.is_null())
      return Error::success();
    // What tokenizer_config.json says of add_bos_token is for files without a template.
    parts_.ids.addBos = parts_.ids.addEos = false;
    const json list = stringAt(post, "type") == "Sequence" ? at(post, "processors") : json::array({post});
    for (const json &one : list) {
      const std::string type = stringAt(one, "type");
      if (type == "ByteLevel") // offsets only
        continue;
      if (type != "TemplateProcessing")
        return refuse("post_processor: expected TemplateProcessing, got " + quoted(type));
      if (Error error = readTemplate(one))
        return error;
    }
    return Error::success();
  }

  Error readTemplate(const json &processor) {
    bool afterText = false;
    for (const json &item : at(processor, "single")) {
      if (item.is_object() && item.contains("Sequence")) {
        afterText = true;
        continue;
      }
      const std::string name = stringAt(at(item, "SpecialToken"), "id");
      const json &ids = at(at(at(processor, "special_tokens"), name.c_str()), "ids");
      const std::optional<int64_t> id = ids.is_array() && ids.size() == 1 ? integer(ids[0]) : std::nullopt;
      std::optional<bool> &adds = afterText ? parts_.ids.addEos : parts_.ids.addBos;
      if (!id || *adds)
        return refuse("post_processor: expected at most one special token before and one after the text");
      adds = true;
      (afterText ? parts_.ids.eos : parts_.ids.bos) = *id;
    }
    return Error::success();
  }

  const json &root_;
  const std::string where_;
  TokenizerParts parts_;
  std::vector<std::string> patterns_;            ///< of the pre-tokenizer
  bool byteLevel_ = false, writesMarks_ = false; ///< the two kinds
  std::vector<std::string> texts_;               ///< id → text as in the file
};

} // namespace

Expected<ImportedTokenizer> importTokenizerJson(const std::string &text, const SpecialIds &ids,
                                                const std::string &where, const TokenizerSettings &settings) {
  Expected<json> root = parseJson(text, where, nullptr);
  if (!root)
    return root.takeError();
  Expected<TokenizerParts> parts = TokenizerJson(*root, where).run(ids);
  if (!parts)
    return parts.takeError();
  return finishTokenizer(std::move(*parts), where, settings);
}

} // namespace bitnet::import
