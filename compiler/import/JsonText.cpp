// A scan over the raw text for what nlohmann's parser is too kind to, then that parser without exceptions.
#include "compiler/import/JsonText.h"
#include "compiler/import/ImportError.h"
#include <cstring>
#include <set>

using namespace llvm;

namespace bitnet::import {
namespace {

/// Calls at(i) for every byte outside of strings.
template <typename Fn> void outsideStrings(const std::string &text, Fn at) {
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (inString) {
      if (text[i] == '\\')
        ++i;
      else if (text[i] == '"')
        inString = false;
    } else if (text[i] == '"') {
      inString = true;
    } else {
      at(i);
    }
  }
}

/// NaN, Infinity and -Infinity, which Python writes, to strings.
void replaceNonFinite(std::string &text) {
  std::vector<std::pair<size_t, size_t>> words; // begin, length
  outsideStrings(text, [&](size_t i) {
    for (const char *word : {"-Infinity", "Infinity", "NaN"})
      if (text.compare(i, std::strlen(word), word) == 0 &&
          (words.empty() || words.back().first + words.back().second <= i))
        words.emplace_back(i, std::strlen(word));
  });
  for (auto word = words.rbegin(); word != words.rend(); ++word)
    text.replace(word->first, word->second, '"' + text.substr(word->first, word->second) + '"');
}

} // namespace

const char *jsonTextFault(const std::string &text) {
  if (text.find('\0') != std::string::npos)
    return "expected JSON text, got a NUL byte";
  if (text.compare(0, 3, "\xef\xbb\xbf") == 0)
    return "expected JSON text, got a byte order mark";
  int depth = 0, deepest = 0;
  outsideStrings(text, [&](size_t i) {
    if (text[i] == '{' || text[i] == '[')
      deepest = std::max(deepest, ++depth);
    else if (text[i] == '}' || text[i] == ']')
      --depth;
  });
  return deepest > kMaxJsonDepth ? "expected JSON nested at most 64 deep, got more" : nullptr;
}

Expected<nlohmann::json> parseJson(std::string text, const std::string &where,
                                   const std::function<void(const std::string &)> &warn) {
  if (const char *fault = jsonTextFault(text))
    return failure(where + ": " + fault);
  replaceNonFinite(text);
  std::vector<std::set<std::string>> keys; // of the objects that are open
  using Event = nlohmann::json::parse_event_t;
  auto watch = [&](int, Event event, nlohmann::json &value) {
    if (event == Event::object_start)
      keys.emplace_back();
    else if (event == Event::object_end && !keys.empty())
      keys.pop_back();
    else if (event == Event::key && !keys.empty() && !keys.back().insert(value.get<std::string>()).second &&
             warn)
      warn(where + ": key " + quoted(value.get<std::string>()) + " is there twice; the last one counts");
    return true;
  };
  nlohmann::json parsed = nlohmann::json::parse(text, watch, /*allow_exceptions=*/false);
  if (parsed.is_discarded())
    return failure(where + ": expected JSON, got text that does not parse");
  return parsed;
}

} // namespace bitnet::import
