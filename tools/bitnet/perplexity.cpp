// bitnet perplexity: how well the model predicts a text.
//
// The method: blank lines separate documents. A document's text is encoded without special tokens and ended
// with the end-of-text token; it is cut into windows of at most --window tokens, each beginning with BOS;
// every token after the first of its window is scored, none twice. Nothing carries over between windows.
// perplexity = exp(mean -ln p).
#include "tools/bitnet/handles.h"
#include "tools/bitnet/progress.h"
#include "tools/bitnet/subcommands.h"
#include "tools/bitnet/text_input.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace bitnet::tools {
namespace {

/// Parts of a text between blank lines, each with its last line end.
std::vector<std::string> documentsOf(const std::string &text) {
  std::vector<std::string> documents;
  for (size_t begin = text.find_first_not_of('\n'); begin != std::string::npos;) {
    const size_t blank = text.find("\n\n", begin);
    documents.push_back(text.substr(begin, blank == std::string::npos ? blank : blank + 1 - begin));
    begin = text.find_first_not_of('\n', blank); // npos stays npos
  }
  return documents;
}

/// Windows of one document: BOS (if the model has one) and at most window - 1 tokens of it.
void appendWindows(const bitnet_model_info &info, const std::vector<int32_t> &document, int32_t window,
                   std::vector<std::vector<int32_t>> &windows) {
  const size_t body = info.bos >= 0 ? window - 1 : window;
  for (size_t begin = 0; begin < document.size(); begin += body) {
    std::vector<int32_t> tokens;
    if (info.bos >= 0)
      tokens.push_back(info.bos);
    const size_t end = std::min(document.size(), begin + body);
    tokens.insert(tokens.end(), document.begin() + begin, document.begin() + end);
    if (tokens.size() > 1)
      windows.push_back(std::move(tokens));
  }
}

/// -ln softmax(logits)[token]; logits: f32 [vocab]. In double, since the sum has up to 10^5 terms.
double negativeLogLikelihood(const float *logits, int32_t vocab, int32_t token) {
  const double largest = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (int32_t i = 0; i < vocab; ++i)
    sum += std::exp(logits[i] - largest);
  return largest + std::log(sum) - logits[token];
}

/// Sum over tokens[1..]. Row i predicts token i + 1, so the last token is not fed.
double scoreWindow(bitnet_session *session, const bitnet_model_info &info,
                   const std::vector<int32_t> &tokens) {
  bitnet_error error{};
  check(bitnet_session_truncate(session, 0, 0, &error), error);
  double sum = 0;
  const size_t n_rows = tokens.size() - 1;
  for (size_t begin = 0; begin < n_rows; begin += info.max_rows) {
    std::vector<bitnet_row> rows; // at most max_rows, since each wants logits
    for (size_t i = begin; i < std::min<size_t>(n_rows, begin + info.max_rows); ++i)
      rows.push_back({tokens[i], static_cast<int32_t>(i), 0, 1, 0, 0});
    check(bitnet_session_step(session, rows.data(), rows.size(), &error), error);
    for (size_t i = 0; i < rows.size(); ++i)
      sum += negativeLogLikelihood(bitnet_session_logits(session, i), info.vocab, tokens[begin + i + 1]);
  }
  return sum;
}

} // namespace

int perplexity(int argc, char **argv) {
  ModelFlags flags;
  std::string file;
  int32_t window = 256;
  bool one_document = false, json = false;
  Arguments arguments("bitnet perplexity", "Measures how well a model predicts a text (lower is better).");
  flags.declareModel(arguments);
  arguments.positional("FILE", file, "the text; - is standard input");
  arguments.option("-w, --window", "N", window, "tokens a window, BOS included");
  arguments.flag("--one-document", one_document,
                 "blank lines separate nothing; no end-of-text token is added");
  arguments.flag("--json", json,
                 "print one object: perplexity, mean_nll, bits_per_byte, tokens, window_nll, ...");
  flags.declareSession(arguments);
  if (!arguments.parse(argc, argv))
    return 0;

  const Model model = flags.open();
  const bitnet_model_info info = infoOf(model.get());
  if (window < 2 || window > info.context)
    throw UsageError("flag '--window': expected 2 to " + std::to_string(info.context) +
                     " (the model's context), got " + std::to_string(window));
  if (flags.context > 0 && flags.context < window)
    throw UsageError("flag '--context': expected at least " + std::to_string(window) + " (the window), got " +
                     std::to_string(flags.context));
  const std::string text = readFile(file);
  const std::vector<std::string> documents =
      one_document ? std::vector<std::string>{text} : documentsOf(text);
  std::vector<std::vector<int32_t>> windows;
  for (const std::string &document : documents) {
    std::vector<int32_t> tokens = encode(tokenizerOf(model.get()), document, 0);
    if (!one_document && info.eos >= 0)
      tokens.push_back(info.eos);
    appendWindows(info, tokens, window, windows);
  }
  if (windows.empty())
    throw Failure(file + ": expected a text of at least two tokens, got none");

  const Session session = flags.createSession(model.get(), window);
  const auto start = std::chrono::steady_clock::now();
  double nll = 0;
  uint64_t tokens = 0;
  std::vector<double> window_nll;
  {
    Progress progress("perplexity", "windows", windows.size());
    for (const std::vector<int32_t> &tokens_of_window : windows) {
      window_nll.push_back(scoreWindow(session.get(), info, tokens_of_window));
      nll += window_nll.back();
      tokens += tokens_of_window.size() - 1;
      progress.update(window_nll.size(), "perplexity so far " + std::to_string(std::exp(nll / tokens)));
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double mean = nll / tokens, bits_per_byte = nll / std::log(2.0) / text.size();
  if (json) {
    const nlohmann::ordered_json object = {{"perplexity", std::exp(mean)},
                                           {"mean_nll", mean},
                                           {"nll_sum", nll},
                                           {"bits_per_byte", bits_per_byte},
                                           {"tokens", tokens},
                                           {"windows", windows.size()},
                                           {"window", window},
                                           {"documents", documents.size()},
                                           {"bytes", text.size()},
                                           {"window_nll", window_nll},
                                           {"seconds", seconds}};
    std::puts(object.dump(2).c_str());
  } else {
    std::printf("perplexity %.4f, %.4f nats per token, %.4f bits per byte\n", std::exp(mean), mean,
                bits_per_byte);
  }
  std::fprintf(stderr, "%llu tokens in %zu windows of %d, %zu documents, %.1f tok/s\n",
               static_cast<unsigned long long>(tokens), windows.size(), window, documents.size(),
               tokens / seconds);
  return 0;
}

} // namespace bitnet::tools
