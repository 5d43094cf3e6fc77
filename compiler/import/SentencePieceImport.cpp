// A SentencePiece tokenizer.model: kept as it is; read here only for the size, the control pieces and the
// special ids.
#include "compiler/import/ImportError.h"
#include "compiler/import/TokenizerParts.h"
#include "runtime/format/protobuf_wire.h"

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr int64_t kControlPiece = 3; ///< ModelProto.SentencePiece.Type.CONTROL

struct Piece {
  std::string text;
  int64_t type = 1;
};

Expected<Piece> readPiece(std::string_view bytes, size_t id, const std::string &where) {
  Piece piece;
  format::ProtobufReader fields(bytes);
  while (fields.next()) {
    if (fields.field() == 1 && fields.is_bytes())
      piece.text = std::string(fields.bytes());
    else if (fields.field() == 3 && fields.is_varint())
      piece.type = static_cast<int64_t>(fields.value());
  }
  if (!fields.ok() || piece.text.empty())
    return failure(where + ": piece " + std::to_string(id) +
                   ": expected a protobuf SentencePiece with a text");
  return piece;
}

/// TrainerSpec: unk_id = 40, bos_id = 41, eos_id = 42, pad_id = 43, with the defaults of its schema. int32:
/// -1 is a varint of ten bytes.
bool readTrainer(std::string_view bytes, int32_t (&ids)[4]) {
  format::ProtobufReader fields(bytes);
  while (fields.next())
    if (fields.field() >= 40 && fields.field() <= 43 && fields.is_varint())
      ids[fields.field() - 40] = static_cast<int32_t>(fields.value());
  return fields.ok();
}

} // namespace

Expected<ImportedTokenizer> importSentencePiece(const std::string &model,
                                                const std::map<std::string, int64_t> &added,
                                                const SpecialIds &ids, const std::string &where,
                                                const TokenizerSettings &settings) {
  TokenizerParts parts;
  int32_t special[4] = {0, 1, 2, -1};
  format::ProtobufReader fields(model);
  bool ok = true;
  while (ok && fields.next()) {
    if (fields.field() == 2 && fields.is_bytes())
      ok = readTrainer(fields.bytes(), special);
    if (fields.field() != 1 || !fields.is_bytes())
      continue;
    if (parts.spmPieces == kMaxTokens)
      return failure(where + ": expected at most " + std::to_string(kMaxTokens) + " pieces, got more");
    Expected<Piece> piece = readPiece(fields.bytes(), parts.spmPieces, where);
    if (!piece)
      return piece.takeError();
    if (piece->type == kControlPiece) {
      TokenizerParts::Added token;
      token.id = parts.spmPieces;
      token.content = piece->text;
      parts.added.push_back(std::move(token));
    }
    ++parts.spmPieces;
  }
  if (!ok || !fields.ok() || parts.spmPieces == 0)
    return failure(where + ": expected a SentencePiece ModelProto, got other or damaged bytes");
  for (const auto &[content, id] : added) {
    if (id < parts.spmPieces) // added_tokens.json repeats pieces of the model at times
      continue;
    TokenizerParts::Added token;
    token.id = id;
    token.content = content;
    parts.added.push_back(std::move(token));
  }
  parts.spmModel = model;
  parts.preName = "sentencepiece";
  if (ids.legacy)
    parts.front = TokenizerParts::Front::always;
  parts.ids = ids;
  const auto fallback = [](std::optional<int64_t> &id, const std::string &text, int32_t other) {
    if (!id && text.empty() && other >= 0)
      id = other;
  };
  parts.ids.unkText.clear();
  parts.ids.unk = special[0];
  // Their names are pieces of the model, which the resolver cannot see: ids of the model count.
  for (std::string *text : {&parts.ids.bosText, &parts.ids.eosText, &parts.ids.padText}) {
    bool known = added.count(*text) > 0;
    for (const TokenizerParts::Added &token : parts.added)
      known |= token.content == *text;
    if (!known)
      text->clear();
  }
  fallback(parts.ids.bos, parts.ids.bosText, special[1]);
  fallback(parts.ids.eos, parts.ids.eosText, special[2]);
  fallback(parts.ids.pad, parts.ids.padText, special[3]);
  if (!parts.ids.addBos)
    parts.ids.addBos = parts.ids.bos.has_value() || !parts.ids.bosText.empty();
  return finishTokenizer(std::move(parts), where, settings);
}

} // namespace bitnet::import
