// tokenizer.json (Hugging Face tokenizers): byte-level BPE. Every component that changes ids is either
// understood or refused by name; none is skipped.
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

class TokenizerJson {
public:
  TokenizerJson(const json &root, std::string where) : root_(root), where_(std::move(where)) {}

  Expected<TokenizerParts> run(const SpecialIds &ids) {
    parts_.ids = ids;
    if (!root_.is_object())
      return refuse("expected an object, got another value");
    for (const auto step :
         {&TokenizerJson::readAdded, &TokenizerJson::readModel, &TokenizerJson::readNormalizer,
          &TokenizerJson::readPreTokenizer, &TokenizerJson::readPostProcessor})
      if (Error error = (this->*step)())
        return error;
    const std::string decoder = stringAt(at(root_, "decoder"), "type");
    if (!at(root_, "decoder").is_null() && decoder != "ByteLevel")
      return refuse("decoder: expected ByteLevel, got " + quoted(decoder));
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
    if (boolAt(model, "byte_fallback", false))
      return refuse(
          "model: expected byte-level BPE, got byte_fallback (a converted SentencePiece model); give its "
          "tokenizer.model with --tokenizer");
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
      if (!isAdded[id] && !bytesOfAlphabet(texts_[id], parts_.vocab[id]))
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

  Error readNormalizer() {
    const json &normalizer = at(root_, "normalizer");
    if (normalizer.is_null())
      return Error::success();
    const json list = stringAt(normalizer, "type") == "Sequence" ? at(normalizer, "normalizers")
                                                                 : json::array({normalizer});
    for (const json &one : list) {
      const std::string type = stringAt(one, "type");
      if (type != "NFC")
        return refuse("normalizer: expected NFC or none, got " + quoted(type));
      parts_.nfc = true;
    }
    return Error::success();
  }

  /// Understood: [Split(regex, Isolated)], then ByteLevel without a prefix space, whose own pattern may be
  /// the split.
  Error readPreTokenizer() {
    const json &pre = at(root_, "pre_tokenizer");
    const json list = stringAt(pre, "type") == "Sequence" ? at(pre, "pretokenizers") : json::array({pre});
    std::string pattern;
    bool byteLevel = false;
    for (const json &one : list) {
      const std::string type = stringAt(one, "type");
      if (type == "Split" && pattern.empty() && !byteLevel) {
        const json &regex = at(at(one, "pattern"), "Regex");
        if (!regex.is_string() || stringAt(one, "behavior") != "Isolated" || boolAt(one, "invert", false))
          return refuse("pre_tokenizer: Split: expected a Regex with behavior Isolated and no invert");
        pattern = regex.get<std::string>();
      } else if (type == "ByteLevel" && !byteLevel) {
        if (boolAt(one, "add_prefix_space", true))
          return refuse("pre_tokenizer: ByteLevel: expected add_prefix_space false, got true");
        if (boolAt(one, "use_regex", true)) {
          if (!pattern.empty())
            return refuse("pre_tokenizer: expected one split, got a Split and ByteLevel with use_regex");
          pattern = findPreTokenizer("gpt-2")->pattern;
        }
        byteLevel = true;
      } else {
        return refuse("pre_tokenizer: expected Split and ByteLevel, got " + quoted(type));
      }
    }
    if (!byteLevel)
      return refuse(
          "pre_tokenizer: expected ByteLevel, got none; only byte-level BPE is read from tokenizer.json");
    Expected<std::string> translated = toPcre2(pattern, where_ + ": pre_tokenizer");
    if (!translated)
      return translated.takeError();
    parts_.splitPattern = *translated;
    parts_.preName = nameOf(pattern);
    return Error::success();
  }

  static std::string nameOf(const std::string &pattern) {
    for (const char *name : {"llama-bpe", "qwen2", "qwen35", "gpt-2"})
      if (pattern == findPreTokenizer(name)->pattern)
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
  std::vector<std::string> texts_; ///< id → text as in the file
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
