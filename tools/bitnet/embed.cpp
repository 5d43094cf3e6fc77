// bitnet embed: texts as vectors, by a model that gives embeddings.
#include "tools/bitnet/handles.h"
#include "tools/bitnet/subcommands.h"
#include "tools/bitnet/text_input.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace bitnet::tools {
namespace {

std::vector<std::string> linesOf(const std::string &text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    if (!lines.back().empty() && lines.back().back() == '\r')
      lines.back().pop_back();
    begin = end + 1;
  }
  return lines;
}

/// The shortest decimals that read back as the same f32, with spaces between.
void printVector(const std::vector<float> &vector) {
  std::string line;
  for (float x : vector) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, x).ptr;
    line += line.empty() ? "" : " ";
    line.append(digits, end);
  }
  std::puts(line.c_str());
}

} // namespace

int embed(int argc, char **argv) {
  ModelFlags flags;
  std::vector<std::string> texts;
  std::string file;
  bool json = false;
  Arguments arguments("bitnet embed", "Prints the embedding of each text: a line of numbers, of length 1.");
  flags.declareModel(arguments);
  arguments.rest("TEXT", texts, "texts; or name a file with -f");
  arguments.option("-f, --file", "FILE", file, "one text a line; - is standard input");
  arguments.flag("--json", json, "print one object: model, width, embeddings (text, tokens, embedding)");
  flags.declareSession(arguments);
  if (!arguments.parse(argc, argv))
    return 0;
  if (arguments.given("--file") == !texts.empty())
    throw UsageError(texts.empty() ? "expected texts, or a file with -f" : "expected texts or -f, got both");
  if (texts.empty())
    texts = linesOf(readFile(file));

  const Model model = flags.open();
  const bitnet_model_info info = infoOf(model.get());
  std::vector<std::vector<int32_t>> tokens;
  size_t longest = 1;
  for (const std::string &text : texts) {
    tokens.push_back(encode(tokenizerOf(model.get()), text, BITNET_ENCODE_ADD_SPECIAL));
    longest = std::max(longest, tokens.back().size());
  }
  const size_t most = size_t(flags.context > 0 ? flags.context : info.context);
  for (size_t i = 0; i < texts.size(); ++i)
    if (tokens[i].empty() || tokens[i].size() > most)
      throw Failure("text " + std::to_string(i + 1) + ": expected 1 to " + std::to_string(most) +
                    " tokens (the context), got " + std::to_string(tokens[i].size()) +
                    (tokens[i].empty() ? "" : "; shorten it"));
  const Session session = flags.createSession(model.get(), int32_t(std::min(longest, most)));
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  std::vector<float> vector(static_cast<size_t>(info.width));
  for (size_t i = 0; i < texts.size(); ++i) {
    bitnet_error error{};
    check(bitnet_session_embed(session.get(), tokens[i].data(), tokens[i].size(), 0, vector.data(), &error),
          error);
    if (json)
      list.push_back({{"text", texts[i]}, {"tokens", tokens[i].size()}, {"embedding", vector}});
    else
      printVector(vector);
  }
  if (json) {
    const nlohmann::ordered_json object = {{"model", info.name}, {"width", info.width}, {"embeddings", list}};
    std::puts(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }
  return 0;
}

} // namespace bitnet::tools
