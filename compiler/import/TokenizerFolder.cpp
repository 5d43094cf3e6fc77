// Finds the tokenizer in a Hugging Face folder (or takes the file that the user named) and gathers what the
// small JSON files beside it say about special tokens and chat. Those are side facts: absent files are fine,
// broken ones are not.
#include "compiler/import/ImportError.h"
#include "compiler/import/JsonText.h"
#include "compiler/import/TokenizerParts.h"
#include "runtime/format/rank_file.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using nlohmann::json;

namespace bitnet::import {
namespace {

std::string join(StringRef folder, StringRef name) {
  SmallString<256> path(folder);
  sys::path::append(path, name);
  return std::string(path);
}

/// nullopt when there is no such file.
Expected<std::optional<std::string>> readFile(const std::string &path) {
  if (!sys::fs::exists(path))
    return std::nullopt;
  sys::fs::file_status status;
  if (sys::fs::status(path, status) || !sys::fs::is_regular_file(status))
    return failure(path + ": expected a regular file");
  if (status.getSize() > kMaxJsonBytes)
    return failure(path + ": expected at most " + std::to_string(kMaxJsonBytes) + " bytes, got " +
                   std::to_string(status.getSize()));
  ErrorOr<std::unique_ptr<MemoryBuffer>> buffer = MemoryBuffer::getFile(path, /*IsText=*/false,
                                                                        /*RequiresNullTerminator=*/false);
  if (!buffer)
    return failure(path + ": cannot be read: " + buffer.getError().message());
  return std::optional<std::string>((*buffer)->getBuffer().str());
}

Expected<json> readJson(const std::string &path) {
  Expected<std::optional<std::string>> text = readFile(path);
  if (!text)
    return text.takeError();
  if (!*text)
    return json();
  Expected<json> parsed = parseJson(std::move(**text), path, nullptr);
  if (parsed && !parsed->is_object())
    return failure(path + ": expected an object");
  return parsed;
}

const json &at(const json &object, const char *key) {
  static const json null;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : null;
}

/// "text" or {"content": "text"}.
void takeText(const json &object, const char *key, std::string &text) {
  const json &value = at(object, key);
  const json &content = value.is_object() ? at(value, "content") : value;
  if (content.is_string())
    text = content.get<std::string>();
}

/// What the files beside a tokenizer say; the later call wins.
class SideFiles {
public:
  Error read(const std::string &folder) {
    for (const char *name : {"special_tokens_map.json", "tokenizer_config.json"}) {
      Expected<json> file = readJson(join(folder, name));
      if (!file)
        return file.takeError();
      takeTokens(*file);
    }
    for (const char *name : {"config.json", "generation_config.json"}) {
      Expected<json> file = readJson(join(folder, name));
      if (!file)
        return file.takeError();
      takeStops(*file);
    }
    return readTemplateFiles(folder);
  }

  SpecialIds ids;
  std::string chatTemplate;

private:
  void takeTokens(const json &file) {
    takeText(file, "bos_token", ids.bosText);
    takeText(file, "eos_token", ids.eosText);
    takeText(file, "pad_token", ids.padText);
    if (at(file, "add_bos_token").is_boolean())
      ids.addBos = at(file, "add_bos_token").get<bool>();
    if (at(file, "legacy").is_boolean())
      ids.legacy = at(file, "legacy").get<bool>();
    if (at(file, "add_eos_token").is_boolean())
      ids.addEos = at(file, "add_eos_token").get<bool>();
    takeTemplate(at(file, "chat_template"));
  }

  /// One template, or a list of {name, template} of which "default" counts.
  void takeTemplate(const json &value) {
    if (value.is_string())
      chatTemplate = value.get<std::string>();
    else if (value.is_array())
      for (const json &one : value)
        if (at(one, "name") == "default" && at(one, "template").is_string())
          chatTemplate = at(one, "template").get<std::string>();
  }

  /// eos_token_id: one id or a list; generation_config.json replaces what config.json says.
  void takeStops(const json &file) {
    const json &eos = at(file, "eos_token_id");
    const json list = eos.is_array() ? eos : json::array({eos});
    std::vector<int64_t> stop;
    for (const json &id : list)
      if (id.is_number_integer())
        stop.push_back(id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX ? INT32_MAX
                                                                                 : id.get<int64_t>());
    if (!stop.empty())
      ids.stop = std::move(stop);
  }

  Error readTemplateFiles(const std::string &folder) {
    Expected<json> file = readJson(join(folder, "chat_template.json"));
    if (!file)
      return file.takeError();
    takeTemplate(at(*file, "chat_template"));
    Expected<std::optional<std::string>> source = readFile(join(folder, "chat_template.jinja"));
    if (!source)
      return source.takeError();
    if (*source)
      chatTemplate = **source;
    return Error::success();
  }
};

Expected<std::map<std::string, int64_t>> readAddedTokens(const std::string &path) {
  Expected<json> file = readJson(path);
  if (!file)
    return file.takeError();
  std::map<std::string, int64_t> added;
  for (auto token = file->begin(); token != file->end(); ++token) {
    if (!token->is_number_integer() || token->get<int64_t>() < 0 || token->get<int64_t>() >= kMaxTokens)
      return failure(path + ": token " + quoted(token.key()) + ": expected an id from 0 to " +
                     std::to_string(kMaxTokens - 1));
    added.emplace(token.key(), token->get<int64_t>());
  }
  return added;
}

} // namespace

Expected<ImportedTokenizer> importTokenizerFile(const std::string &path, const TokenizerSettings &settings) {
  if (sys::fs::is_directory(path))
    return importTokenizerFolder(path, settings);
  Expected<std::optional<std::string>> text = readFile(path);
  if (!text)
    return text.takeError();
  if (!*text)
    return failure(path + ": expected a tokenizer file or folder, found none");
  const std::string folder = sys::path::has_parent_path(path) ? sys::path::parent_path(path).str() : ".";
  SideFiles side;
  if (Error error = side.read(folder))
    return error;

  const StringRef content(**text);
  Expected<ImportedTokenizer> tokenizer = [&]() -> Expected<ImportedTokenizer> {
    if (content.ltrim().starts_with("{"))
      return importTokenizerJson(**text, side.ids, path, settings);
    if (format::looks_like_rank_file(**text))
      return importTiktoken(**text, side.ids, path, settings);
    Expected<std::map<std::string, int64_t>> added = readAddedTokens(join(folder, "added_tokens.json"));
    if (!added)
      return added.takeError();
    return importSentencePiece(**text, *added, side.ids, path, settings);
  }();
  if (tokenizer)
    tokenizer->chatTemplate = correctChatTemplate(side.chatTemplate, tokenizer->decisions);
  return tokenizer;
}

Expected<ImportedTokenizer> importTokenizerFolder(const std::string &folder,
                                                  const TokenizerSettings &settings) {
  for (const char *name : {"tokenizer.json", "tokenizer.model"})
    if (const std::string path = join(folder, name); sys::fs::exists(path))
      return importTokenizerFile(path, settings);
  return ImportedTokenizer();
}

} // namespace bitnet::import
