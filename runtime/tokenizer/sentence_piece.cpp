// See sentence_piece.h.
#include "runtime/tokenizer/sentence_piece.h"
#include "runtime/format/protobuf_wire.h"
#include "runtime/format/quoted.h"
#include "runtime/tokenizer/piece_text.h"
#include "runtime/tokenizer/vocabulary.h"

#include <cstring>
#include <sentencepiece_processor.h>

namespace bitnet::runtime {
namespace {

/// The fields of NormalizerSpec that matter here, as the library reads them: the last one counts.
struct Normalizer {
  std::string_view charsmap;
  bool add_dummy_prefix = true, remove_extra_whitespaces = true;
};

bool read_normalizer(std::string_view model, Normalizer *normalizer) {
  format::ProtobufReader fields(model);
  while (fields.next()) {
    if (fields.field() != 3 || !fields.is_bytes()) // ModelProto.normalizer_spec
      continue;
    format::ProtobufReader spec(fields.bytes());
    while (spec.next()) {
      if (spec.field() == 2 && spec.is_bytes())
        normalizer->charsmap = spec.bytes();
      else if (spec.field() == 3 && spec.is_varint())
        normalizer->add_dummy_prefix = spec.value() != 0;
      else if (spec.field() == 4 && spec.is_varint())
        normalizer->remove_extra_whitespaces = spec.value() != 0;
    }
    if (!spec.ok())
      return false;
  }
  return fields.ok();
}

/// precompiled_charsmap = u32 size, a double-array trie of that many bytes, replacement strings that end in
/// NUL. The library walks the trie without looking at its bounds, so they are proved here: from every unit
/// that can be reached, each of the 256 possible steps stays inside, and every value names a replacement.
bool charsmap_is_safe(std::string_view charsmap) {
  if (charsmap.empty())
    return true;
  uint32_t trie_bytes = 0;
  if (charsmap.size() <= sizeof trie_bytes)
    return false;
  std::memcpy(&trie_bytes, charsmap.data(),
              sizeof trie_bytes); // little-endian, as is every machine we run on
  if (trie_bytes >= charsmap.size() - sizeof trie_bytes || trie_bytes % 1024 != 0 || trie_bytes == 0)
    return false;
  std::vector<uint32_t> units(trie_bytes / 4);
  std::memcpy(units.data(), charsmap.data() + sizeof trie_bytes, trie_bytes);
  const std::string_view replacements = charsmap.substr(sizeof trie_bytes + trie_bytes);
  if (replacements.back() != '\0')
    return false;

  std::vector<uint8_t> seen(units.size());
  std::vector<uint32_t> open{0};
  seen[0] = 1;
  while (!open.empty()) {
    const uint32_t at = open.back();
    open.pop_back();
    const uint32_t unit = units[at];
    const uint32_t offset = (unit >> 10) << ((unit & (1u << 9)) >> 6);
    const uint32_t block = at ^ offset;
    if ((block | 0xFF) >= units.size())
      return false;
    const bool has_value = (unit >> 8) & 1;
    if (has_value && (units[block] & 0x7FFFFFFF) >= replacements.size())
      return false;
    for (uint32_t label = 0; label < 256; ++label) {
      const uint32_t child = block ^ label;
      if ((units[child] & (1u << 31 | 0xFF)) == label && !seen[child]) {
        seen[child] = 1;
        open.push_back(child);
      }
    }
  }
  return true;
}

} // namespace

SentencePiece::~SentencePiece() = default;

Result<std::unique_ptr<SentencePiece>> SentencePiece::load(std::string_view model) {
  Normalizer normalizer;
  if (!read_normalizer(model, &normalizer))
    return bad_bundle("sentencepiece model: expected a protobuf ModelProto, got malformed bytes");
  if (!charsmap_is_safe(normalizer.charsmap))
    return bad_bundle("sentencepiece model: normalizer_spec.precompiled_charsmap: expected a trie whose "
                      "steps stay inside it");

  std::unique_ptr<SentencePiece> result(new SentencePiece);
  std::string proto(model);
  // The library would put its prefix before every part of a text that special tokens cut. Serialized messages
  // merge by concatenation, so {normalizer_spec {add_dummy_prefix: false}} at the end turns that off and
  // encode() adds it. Not where the library strips leading spaces: it would take ours away.
  if (normalizer.add_dummy_prefix && !normalizer.remove_extra_whitespaces) {
    proto.append("\x1A\x02\x18\x00", 4);
    result->adds_prefix_ = true;
  }
  result->processor_ = std::make_unique<sentencepiece::SentencePieceProcessor>();
  sentencepiece::SentencePieceProcessor &processor = *result->processor_;
  const auto refused = [](const char *why) { // there are pieces of the model in it, whatever their bytes are
    return bad_bundle("sentencepiece model: the library refused it: " + format::quoted(why));
  };
  try { // the trie builder inside throws
    const sentencepiece::util::Status status = processor.LoadFromSerializedProto(proto);
    if (!status.ok())
      return refused(status.error_message());
  } catch (const std::exception &e) {
    return refused(e.what());
  }
  result->size_ = processor.GetPieceSize();
  if (result->size_ <= 0 || result->size_ > kMaxVocabulary)
    return bad_bundle("sentencepiece model: expected 1 to " + std::to_string(kMaxVocabulary) +
                      " pieces, got " + std::to_string(result->size_));
  result->texts_.reserve(result->size_);
  result->control_.reserve(result->size_);
  for (int32_t id = 0; id < result->size_; ++id) {
    const std::string &piece = processor.IdToPiece(id);
    const bool control = processor.IsControl(id) || processor.IsUnknown(id);
    result->control_.push_back(control);
    if (processor.IsByte(id)) {
      const int value = byte_value(piece);
      if (value < 0)
        return bad_bundle("sentencepiece model: piece " + std::to_string(id) +
                          ": expected a byte '<0x00>' to '<0xFF>'");
      result->texts_.emplace_back(1, static_cast<char>(value));
    } else {
      result->texts_.push_back(control ? piece : with_spaces(piece));
    }
  }
  return result;
}

Status SentencePiece::encode(std::string_view text, bool at_start, std::vector<int32_t> *ids) const {
  std::string prefixed;
  if (at_start && adds_prefix_) {
    prefixed.reserve(text.size() + 1);
    prefixed += ' ';
    prefixed += text;
    text = prefixed;
  }
  std::vector<int> pieces;
  const sentencepiece::util::Status status = processor_->Encode(text, &pieces);
  if (!status.ok())
    return internal_error(std::string("sentencepiece: ") + status.error_message());
  for (const int id : pieces) {
    if (id < 0 || id >= size_)
      return internal_error("sentencepiece: expected an id below " + std::to_string(size_) + ", got " +
                            std::to_string(id));
    ids->push_back(id);
  }
  return {};
}

} // namespace bitnet::runtime
