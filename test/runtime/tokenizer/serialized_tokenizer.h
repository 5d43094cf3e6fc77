// A small byte-level tokenizer as a bundle holds it, made without the compiler; every field can be made
// wrong.
#pragma once
#include "runtime/format/tokenizer_generated.h"
#include "runtime/tokenizer/tokenizer.h"

namespace bitnet::runtime {

/// Ids 0 to 255 are the bytes; what token() and merge() add follows.
struct SerializedTokenizer {
  struct Added {
    int32_t id;
    std::string content;
    bool special = true, lstrip = false, rstrip = false, single_word = false, normalized = false;
  };
  std::vector<std::string> vocab;
  std::vector<format::fb::Merge> merges;
  std::vector<Added> added;
  std::vector<int32_t> stop_tokens;
  std::string split_pattern = "\\p{L}+|\\P{L}+", spm_model;
  format::fb::TokenizerKind kind = format::fb::TokenizerKind::byte_bpe;
  bool rank_is_id = false, ignore_merges = false, nfc = false, add_bos = false, add_eos = false;
  int32_t bos = -1, eos = -1, pad = -1, unk = -1;
  std::vector<std::string> more_splits;
  bool byte_fallback = false, fuse_unk = false, strip_front = false;
  format::fb::SpaceMarks space_marks = format::fb::SpaceMarks::normalizer;
  format::fb::FrontMark front_mark = format::fb::FrontMark::never;

  SerializedTokenizer() {
    for (int byte = 0; byte < 256; ++byte)
      token(std::string(1, static_cast<char>(byte)));
  }
  int32_t token(const std::string &bytes) {
    vocab.push_back(bytes);
    return static_cast<int32_t>(vocab.size()) - 1;
  }
  /// A token made of two, with its merge.
  int32_t merge(int32_t left, int32_t right) {
    const int32_t result = token(vocab[left] + vocab[right]);
    merges.emplace_back(left, right, result);
    return result;
  }
  std::vector<uint8_t> bytes() const {
    namespace fb = format::fb;
    flatbuffers::FlatBufferBuilder b;
    const auto blob = [&](const std::string &s) {
      return b.CreateVector(reinterpret_cast<const uint8_t *>(s.data()), s.size());
    };
    std::vector<flatbuffers::Offset<fb::TokenBytes>> tokens;
    for (const std::string &token : vocab)
      tokens.push_back(fb::CreateTokenBytes(b, blob(token)));
    std::vector<flatbuffers::Offset<fb::AddedToken>> specials;
    for (const Added &a : added)
      specials.push_back(fb::CreateAddedToken(b, a.id, b.CreateString(a.content), a.special, a.lstrip,
                                              a.rstrip, a.single_word, a.normalized));
    fb::FinishTokenizerBuffer(
        b, fb::CreateTokenizer(
               b, kind, b.CreateVector(tokens), b.CreateVectorOfStructs(merges), rank_is_id,
               b.CreateString(split_pattern), 0, ignore_merges, byte_fallback, nfc, add_bos, add_eos, bos,
               eos, pad, unk, b.CreateVector(stop_tokens), b.CreateVector(specials), blob(spm_model),
               b.CreateVectorOfStrings(more_splits), space_marks, front_mark, fuse_unk, strip_front));
    return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
  }
  Result<std::unique_ptr<Tokenizer>> load() const {
    const std::vector<uint8_t> data = bytes();
    return Tokenizer::load(data.data(), data.size());
  }
};

} // namespace bitnet::runtime
