// See ModelReport.h.
#include "compiler/driver/ModelReport.h"
#include "runtime/format/tokenizer_generated.h"
#include <algorithm>
#include <cmath>
#include <cstdio>

namespace bitnet::compiler {
namespace fb = format::fb;
namespace {

/// Six digits say enough of a float, and are the same everywhere.
double sixDigits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return std::strtod(text, nullptr);
}

std::string scalesText(const import::MatrixFacts &facts, int32_t rows) {
  if (facts.groupCols)
    return "one for " + std::to_string(facts.groupCols) + " columns of a row";
  return facts.scales == uint64_t(rows) && rows > 1 ? "one a row" : "one a matrix";
}

/// A row for each encoding and kind of scales, in the order of the first matrix that has them.
Json weightsJson(const import::Checkpoint &checkpoint,
                 const std::map<std::string, import::MatrixFacts> &matrices) {
  struct Kind {
    std::string encoding, scales;
    uint64_t matrices = 0;
    import::MatrixFacts sum;
  };
  std::vector<Kind> kinds;
  for (const auto &[name, facts] : matrices) {
    const import::TensorInfo info = checkpoint.info(name);
    const std::string scales = scalesText(facts, info.rows);
    auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const Kind &k) {
      return k.encoding == info.encoding && k.scales == scales;
    });
    if (kind == kinds.end())
      kind = kinds.insert(kinds.end(), Kind{info.encoding, scales, 0, {}});
    kind->matrices++;
    kind->sum.weights += facts.weights;
    kind->sum.zeros += facts.zeros;
    if (facts.largestScale > 0)
      kind->sum.smallestScale = kind->sum.smallestScale > 0
                                    ? std::min(kind->sum.smallestScale, facts.smallestScale)
                                    : facts.smallestScale;
    kind->sum.largestScale = std::max(kind->sum.largestScale, facts.largestScale);
  }
  Json list = Json::array();
  for (const Kind &k : kinds)
    list.push_back({{"encoding", k.encoding},
                    {"matrices", k.matrices},
                    {"weights", k.sum.weights},
                    {"zeros", sixDigits(double(k.sum.zeros) / double(k.sum.weights))},
                    {"scales", k.scales},
                    {"smallest_scale", sixDigits(k.sum.smallestScale)},
                    {"largest_scale", sixDigits(k.sum.largestScale)}});
  return list;
}

const char *kindName(fb::TokenizerKind kind) {
  switch (kind) {
  case fb::TokenizerKind::byte_bpe:
    return "byte-level BPE";
  case fb::TokenizerKind::sentencepiece:
    return "SentencePiece";
  case fb::TokenizerKind::character_bpe:
    return "BPE of characters";
  }
  return "unknown";
}

Json tokenizerJson(const import::Checkpoint &checkpoint) {
  if (checkpoint.tokenizer().empty())
    return nullptr;
  const fb::Tokenizer &t = *fb::GetTokenizer(checkpoint.tokenizer().data()); // the importer's own bytes
  Json stop = Json::array();
  if (t.stop_tokens())
    for (int32_t id : *t.stop_tokens())
      stop.push_back(id);
  return {{"kind", kindName(t.kind())},
          {"pre", t.pre_name() ? t.pre_name()->str() : ""},
          {"tokens", checkpoint.tokenizerSize()},
          {"added_tokens", t.added() ? t.added()->size() : 0},
          {"bos", t.bos()},
          {"eos", t.eos()},
          {"add_bos", t.add_bos()},
          {"add_eos", t.add_eos()},
          {"stop", stop}};
}

/// Beside those that every layer has before attention and feed-forward network, and the last one.
Json normsJson(const import::ModelConfig &c) {
  Json norms = Json::array();
  for (const auto &[has, name] : {std::pair(c.attnSubNorm || c.ffnSubNorm, "sub"),
                                  {c.headNorms, "head"},
                                  {c.postNorms, "post"},
                                  {c.linearNorms, "input"}})
    if (has)
      norms.push_back(name);
  return norms;
}

Json sizesJson(const import::ModelConfig &c) {
  return {{"layers", c.layers},
          {"width", c.width},
          {"ffn_width", c.ffnWidth},
          {"heads", c.heads},
          {"kv_heads", c.kvHeads},
          {"head_dim", c.headDim},
          {"vocab", c.vocab},
          {"context", c.context},
          {"activation", format::act_name(c.act)},
          {"norms", normsJson(c)},
          {"norm_eps", sixDigits(c.normEps)},
          {"sub_norm_eps", sixDigits(c.subNormEps > 0 ? c.subNormEps : c.normEps)},
          {"rope_theta", sixDigits(c.ropeTheta)},
          {"rope_scaling", import::ropeScalingName(c.ropeScaling.kind)}};
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", 100 * share);
  return text;
}

std::string number(const Json &value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.7g", value.get<double>());
  return text;
}

} // namespace

std::string withCommas(uint64_t value) {
  std::string text = std::to_string(value);
  for (size_t at = text.size(); at > 3;)
    text.insert(at -= 3, ",");
  return text;
}

std::vector<std::string> emptyMatrices(const std::map<std::string, import::MatrixFacts> &matrices) {
  std::vector<std::string> lines;
  for (const auto &[name, facts] : matrices)
    if (facts.zeros == facts.weights)
      lines.push_back(name + ": every weight is 0");
  return lines;
}

Json decisionsJson(const std::vector<import::Decision> &decisions) {
  Json list = Json::array();
  for (const import::Decision &d : decisions)
    list.push_back({{"what", d.what}, {"value", d.value}, {"reason", d.reason}, {"flag", d.flag}});
  return list;
}

Json modelReport(const import::Checkpoint &checkpoint,
                 const std::map<std::string, import::MatrixFacts> &matrices, uint64_t rounded,
                 const std::vector<std::string> &warnings) {
  const import::ModelConfig &c = checkpoint.config();
  return {{"source", checkpoint.source()},
          {"family", c.family},
          {"sizes", sizesJson(c)},
          {"weights", weightsJson(checkpoint, matrices)},
          {"embedding", checkpoint.info("token_embd.weight").encoding},
          {"rounded_to_f16", rounded},
          {"head", c.embeds     ? "none"
                   : c.tiedHead ? "tied to the embedding"
                                : checkpoint.info("output.weight").encoding},
          {"tokenizer", tokenizerJson(checkpoint)},
          {"chat_template", !checkpoint.chatTemplate().empty()},
          {"decisions", decisionsJson(checkpoint.decisions())},
          {"warnings", warnings}};
}

std::string reportText(const Json &report) {
  std::string text;
  const auto line = [&](const char *what, const std::string &said) {
    text += std::string(what) + ": " + said + "\n";
  };
  const auto str = [](const Json &value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  };
  line("source", str(report["source"]));
  const Json &s = report["sizes"];
  std::string norms;
  for (const Json &norm : s["norms"])
    norms += (norms.empty() ? " and " : ", ") + str(norm) + "-norms";
  line("family", str(report["family"]) + ", " + str(s["layers"]) + " layers of width " + str(s["width"]) +
                     ", feed-forward " + str(s["ffn_width"]) + " with " + str(s["activation"]) + norms +
                     ", " + str(s["heads"]) + " heads of " + str(s["head_dim"]) + " (" + str(s["kv_heads"]) +
                     " for keys and values), vocabulary " + str(s["vocab"]) + ", context " +
                     str(s["context"]) + ", rope base " + number(s["rope_theta"]) +
                     (s["rope_scaling"] == "none" ? "" : " scaled (" + str(s["rope_scaling"]) + ")") +
                     ", norm epsilon " + number(s["norm_eps"]));
  for (const Json &w : report["weights"])
    line("weights", withCommas(w["weights"].get<uint64_t>()) + " ternary in " + str(w["matrices"]) +
                        " matrices of " + str(w["encoding"]) + ", " + percent(w["zeros"].get<double>()) +
                        " % zero, scales " + str(w["scales"]) + ", " + number(w["smallest_scale"]) + " to " +
                        number(w["largest_scale"]));
  const uint64_t rounded = report["rounded_to_f16"].get<uint64_t>();
  line("embedding",
       str(report["embedding"]) +
           (rounded ? ", " + withCommas(rounded) + " values of it and the head rounded to f16" : ""));
  line("head", str(report["head"]));
  const Json &t = report["tokenizer"];
  if (t.is_null())
    line("tokenizer", "none");
  else
    line("tokenizer", str(t["kind"]) + (str(t["pre"]).empty() ? "" : " (" + str(t["pre"]) + ")") + ", " +
                          str(t["tokens"]) + " tokens, " + str(t["added_tokens"]) + " of them added, bos " +
                          str(t["bos"]) + (t["add_bos"].get<bool>() ? " (put first)" : "") + ", eos " +
                          str(t["eos"]) + (t["add_eos"].get<bool>() ? " (put last)" : "") +
                          ", a generation stops at " + str(t["stop"]));
  line("chat template", report["chat_template"].get<bool>() ? "yes" : "none");
  for (const Json &d : report["decisions"])
    line("decided", str(d["what"]) + " = " + str(d["value"]) + ": " + str(d["reason"]) +
                        (str(d["flag"]).empty() ? "" : "; " + str(d["flag"])));
  for (const Json &w : report["warnings"])
    line("warning", str(w));
  return text;
}

} // namespace bitnet::compiler
