// See tokenizer_file.h. A rank file is serialized first and loaded like the others, so that there is one
// place that checks a vocabulary and builds from it.
#include "runtime/tokenizer/tokenizer_file.h"
#include "runtime/base/file_map.h"
#include "runtime/bundle/bundle.h"
#include "runtime/format/bundle_header.h"
#include "runtime/format/rank_file.h"
#include "runtime/format/split_pattern.h"
#include "runtime/format/tokenizer_generated.h"

#include <algorithm>
#include <cstring>

namespace bitnet::runtime {
namespace fb = format::fb;
namespace {

Result<std::unique_ptr<Tokenizer>> from_bundle(Bytes file) {
  auto section = validate_section(file, SectionKind::tokenizer);
  if (!section.ok())
    return std::move(section).status();
  if (section->size == 0)
    return unsupported("tokenizer: the bundle has none; compile it with --tokenizer=FILE");
  return Tokenizer::load(section->data, section->size);
}

/// As compiler/import/TiktokenImport.cpp has it when no other file says anything.
Result<std::unique_ptr<Tokenizer>> from_ranks(std::string_view text) {
  std::vector<std::string> tokens;
  if (std::string error; !format::parse_rank_file(text, kMaxVocabulary, &tokens, &error))
    return bad_bundle(std::move(error));
  flatbuffers::FlatBufferBuilder builder(8 << 20);
  std::vector<flatbuffers::Offset<fb::TokenBytes>> vocab;
  vocab.reserve(tokens.size());
  for (const std::string &token : tokens)
    vocab.push_back(fb::CreateTokenBytes(
        builder, builder.CreateVector(reinterpret_cast<const uint8_t *>(token.data()), token.size())));
  const auto base = static_cast<int32_t>(tokens.size());
  std::vector<flatbuffers::Offset<fb::AddedToken>> added;
  for (const std::string &name : format::llama3_special_names())
    added.push_back(fb::CreateAddedToken(builder, base + static_cast<int32_t>(added.size()),
                                         builder.CreateString(name), /*special=*/true));
  const std::vector<int32_t> stops{base + format::kLlama3EndOfText, base + format::kLlama3EndOfTurn};
  const auto vocab_at = builder.CreateVector(vocab);
  const auto added_at = builder.CreateVector(added);
  const auto pattern_at = builder.CreateString(format::to_pcre2(format::kLlama3SplitPattern));
  const auto stops_at = builder.CreateVector(stops);
  fb::TokenizerBuilder out(builder);
  out.add_kind(fb::TokenizerKind::byte_bpe);
  out.add_vocab(vocab_at);
  out.add_rank_is_id(true);
  out.add_split_pattern(pattern_at);
  out.add_ignore_merges(true);
  out.add_add_bos(true);
  out.add_bos(base + format::kLlama3BeginOfText);
  out.add_eos(base + format::kLlama3EndOfText);
  out.add_pad(base + format::kLlama3Pad);
  out.add_stop_tokens(stops_at);
  out.add_added(added_at);
  fb::FinishTokenizerBuffer(builder, out.Finish());
  return Tokenizer::load(builder.GetBufferPointer(), builder.GetSize());
}

/// Could be a rank file, maybe a damaged one: it starts with plain text that is not JSON.
bool is_plain_text(std::string_view text) {
  text = text.substr(0, 256);
  return text.front() != '{' && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= ' ' && c < 0x7f) || c == '\t' || c == '\r' || c == '\n';
         });
}

Result<std::unique_ptr<Tokenizer>> from_bytes(Bytes file) {
  uint64_t magic = 0;
  std::memcpy(&magic, file.data, std::min(sizeof magic, file.size));
  if (magic == format::kBundleMagic)
    return from_bundle(file);
  if (file.size >= 8 && fb::TokenizerBufferHasIdentifier(file.data))
    return Tokenizer::load(file.data, file.size);
  const std::string_view text(reinterpret_cast<const char *>(file.data), file.size);
  if (text.substr(0, 4) != "GGUF" && is_plain_text(text))
    return from_ranks(text);
  return unsupported(
      "expected a bundle (.bnx), lines of 'base64 rank' (tiktoken) or a tokenizer of bitnetc, got "
      "another kind of file; bitnetc --emit=tokenizer makes one of tokenizer.json, SentencePiece "
      "and GGUF files");
}

} // namespace

Result<std::unique_ptr<Tokenizer>> open_tokenizer(const std::string &path) {
  auto file = map_file(path.c_str());
  if (!file.ok())
    return std::move(file).status();
  auto tokenizer = from_bytes({file->data(), file->size()});
  if (!tokenizer.ok())
    return std::move(tokenizer).status().in(path);
  return tokenizer;
}

} // namespace bitnet::runtime
