// bitnet tokenize: a tokenizer, of a bundle or alone, both ways.
#include "tools/bitnet/handles.h"
#include "tools/bitnet/subcommands.h"
#include "tools/bitnet/text_input.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace bitnet::tools {
namespace {

Tokenizer openTokenizer(const std::string &path) {
  bitnet_error error{};
  bitnet_tokenizer *tokenizer = nullptr;
  check(bitnet_tokenizer_open(path.c_str(), &tokenizer, &error), error);
  return Tokenizer(tokenizer);
}

std::string pieceOf(const bitnet_tokenizer *tokenizer, int32_t token) {
  const char *bytes = nullptr;
  size_t n_bytes = 0;
  int special = 0;
  bitnet_error error{};
  check(bitnet_token_bytes(tokenizer, token, &bytes, &n_bytes, &special, &error), error);
  return std::string(bytes, n_bytes);
}

void printJson(const nlohmann::ordered_json &object) {
  std::puts(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

} // namespace

int tokenize(int argc, char **argv) {
  std::string path;
  TextInput input;
  std::vector<int32_t> ids;
  bool no_special = false, parse_special = false, json = false;
  Arguments arguments("bitnet tokenize",
                      "Prints the token ids of a text with commas between, or the text of --ids.");
  arguments.positional("MODEL", path,
                       "a compiled model (.bnx), a tiktoken rank file, or a tokenizer of bitnetc");
  input.declare(arguments);
  arguments.option("--ids", "IDS", ids, "print the text of these ids (1,2,3) instead");
  arguments.flag("--no-special", no_special,
                 "no BOS or EOS around the text; no special tokens in the text of --ids");
  arguments.flag("--parse-special", parse_special, "special tokens written in the text become their ids");
  arguments.flag("--json", json, "print one object: tokens, pieces, text");
  if (!arguments.parse(argc, argv))
    return 0;
  const bool backwards = arguments.given("--ids");
  if (backwards && (arguments.given("--prompt") || arguments.given("--file")))
    throw UsageError("expected --ids alone, got also --prompt or --file");

  const Tokenizer tokenizer = openTokenizer(path);
  std::string text;
  if (backwards) {
    text = decode(tokenizer.get(), ids, !no_special);
  } else {
    text = input.read(arguments);
    ids = encode(tokenizer.get(), text,
                 (no_special ? 0 : BITNET_ENCODE_ADD_SPECIAL) |
                     (parse_special ? BITNET_ENCODE_PARSE_SPECIAL : 0));
  }
  if (json) {
    std::vector<std::string> pieces;
    for (int32_t id : ids)
      pieces.push_back(pieceOf(tokenizer.get(), id));
    printJson({{"tokens", ids}, {"pieces", pieces}, {"text", text}});
  } else if (backwards) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::putchar('\n');
  } else {
    for (size_t i = 0; i < ids.size(); ++i)
      std::printf("%s%d", i ? "," : "", ids[i]);
    std::putchar('\n');
  }
  return 0;
}

} // namespace bitnet::tools
