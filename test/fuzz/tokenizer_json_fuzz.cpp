// Fuzz target of the tokenizer importers: bytes that start with '{' are taken for tokenizer.json, all others
// for a tiktoken rank file and for a SentencePiece model. What an importer lets through must load in the
// runtime or be refused there in one line, and encoding with it must stay inside its vocabulary.
#include "compiler/import/TokenizerImport.h"
#include "runtime/tokenizer/tokenizer.h"
#include "test/fuzz/fuzz_target.h"
#include <cstdlib>

using namespace bitnet;

namespace {

void checkMessage(const std::string &message) {
  if (message.empty() || message.find('\n') != std::string::npos)
    std::abort();
}

void check(llvm::Expected<import::ImportedTokenizer> imported) {
  if (!imported)
    return checkMessage(llvm::toString(imported.takeError()));
  const auto tokenizer = runtime::Tokenizer::load(imported->bytes.data(), imported->bytes.size());
  if (!tokenizer.ok())
    return checkMessage(tokenizer.status().message());
  const auto ids =
      (*tokenizer)->encode("In the beginning <s> caf\xC3\xA9 12345\n\n \xFF\xE4\xB8", true, true);
  if (!ids.ok())
    return checkMessage(ids.status().message());
  const auto text = (*tokenizer)->decode(ids->data(), ids->size(), true);
  if (!text.ok())
    std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string bytes(reinterpret_cast<const char *>(data), size);
  if (!bytes.empty() && bytes[0] == '{') {
    check(import::importTokenizerJson(bytes, {}, "fuzz.json", {}));
  } else {
    check(import::importTiktoken(bytes, {}, "fuzz.model", {}));
    check(import::importSentencePiece(bytes, {{"<pad>", 300}}, {}, "fuzz.model", {}));
  }
  return 0;
}

namespace bitnet::fuzz {

std::vector<std::string> seeds() {
  const std::string json = R"({"added_tokens": [{"id": 5, "content": "<s>", "special": true, "lstrip": true},
      {"id": 6, "content": "the", "single_word": true}],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
      "special_tokens": {"<s>": {"ids": [5]}}},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "unk_token": "u", "ignore_merges": true,
      "vocab": {"u": 0, "n": 1, "i": 2, "in": 3, "nn": 4}, "merges": [["i", "n"], "n n"]}})";
  const std::string marks = R"({"added_tokens": [{"id": 0, "content": "<unk>", "special": true},
      {"id": 6, "content": "the", "normalized": true, "rstrip": true}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
    "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
      {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
      "vocab": {"<unk>": 0, "n": 1, "i": 2, "in": 3, "\u2581": 4, "<0xFF>": 5, "\u2581in": 7},
      "merges": [["i", "n"], ["\u2581", "in"]]}})";
  const std::string metaspace = R"({"pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581",
      "prepend_scheme": "first", "split": true}, "decoder": {"type": "Metaspace"},
    "model": {"type": "BPE", "unk_token": "u", "vocab": {"u": 0, "n": 1, "i": 2, "in": 3, "\u2581": 4},
      "merges": ["i n"]}})";
  const std::string ranks = "YQ== 0\nYg== 1\nYWI= 2\nIA== 3\n";
  // ModelProto {pieces {"<unk>", 0, UNKNOWN}, pieces {"a", -1}, pieces {"▁", -2}, trainer_spec {BPE},
  // normalizer_spec {}}
  const std::string model("\x0A\x0E\x0A\x05<unk>\x15\0\0\0\0\x18\x02"
                          "\x0A\x08\x0A\x01"
                          "a\x15\0\0\x80\xBF"
                          "\x0A\x0A\x0A\x03\xE2\x96\x81\x15\0\0\0\xC0"
                          "\x12\x02\x18\x02\x1A\x04\x18\x01\x20\0",
                          16 + 10 + 12 + 4 + 6);
  return {json, marks, metaspace, ranks, model};
}

} // namespace bitnet::fuzz
