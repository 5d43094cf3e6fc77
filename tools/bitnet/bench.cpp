// bitnet bench: prompt and generation speed, in the words of llama-bench (pp512, tg128, depth). All
// configurations take turns within each repetition, so that a slow minute of the machine falls on all of them
// alike. Tokens are arbitrary but fixed; nothing is drawn.
#include "tools/bitnet/bench_report.h"
#include "tools/bitnet/dot_product_peak.h"
#include "tools/bitnet/handles.h"
#include "tools/bitnet/progress.h"
#include "tools/bitnet/read_bandwidth.h"
#include "tools/bitnet/subcommands.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>

namespace bitnet::tools {
namespace {

struct Flags {
  ModelFlags model; // --threads is a list here
  std::vector<int32_t> n_prompt{512}, n_gen{128}, depth{0}, rows{1}, threads{0};
  int32_t repetitions = 5;
  bool without_head = false, limits = false, on_request = false, json = false;

  int32_t mostRows() const { return *std::max_element(rows.begin(), rows.end()); }
};

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<int32_t> someTokens(int32_t count, int32_t vocab) {
  std::vector<int32_t> tokens(count);
  for (int32_t i = 0; i < count; ++i)
    tokens[i] = static_cast<int32_t>((static_cast<int64_t>(i) * 7919 + 11) % vocab);
  return tokens;
}

/// Grows the case's sequences by n tokens, one step after another.
void generate(const Case &measured, const std::vector<int32_t> &tokens, int32_t n) {
  const int32_t want = measured.head ? BITNET_WANT_LOGITS : BITNET_WANT_HIDDEN;
  std::vector<bitnet_row> rows(measured.rows);
  for (int32_t i = 0; i < n; ++i) {
    for (int32_t r = 0; r < measured.rows; ++r) {
      rows[r] = {};
      rows[r].token = tokens[(i + r) % tokens.size()];
      rows[r].position = measured.depth + i;
      rows[r].sequence = measured.sequence + r;
      rows[r].want = want;
      rows[r].best = 1; // as greedy sampling asks
    }
    bitnet_error error{};
    check(bitnet_session_step(measured.session, rows.data(), rows.size(), &error), error);
  }
}

/// Runs a case over n tokens and puts its sequences back to `depth` positions. Tokens per second.
double timeCase(const Case &measured, const std::vector<int32_t> &tokens, int32_t n) {
  const auto start = std::chrono::steady_clock::now();
  if (measured.generation)
    generate(measured, tokens, n);
  else
    feed(measured.session, tokens.data(), n, measured.sequence, true);
  const double seconds = secondsSince(start);
  for (int32_t r = 0; r < measured.rows; ++r) {
    bitnet_error error{};
    check(bitnet_session_truncate(measured.session, measured.sequence + r, measured.depth, &error), error);
  }
  return static_cast<double>(n) * measured.rows / seconds;
}

void requireAtLeast(int32_t least, const std::vector<int32_t> &values, const char *flag) {
  for (int32_t value : values)
    if (value < least)
      throw UsageError(std::string("flag '") + flag + "': expected " + std::to_string(least) +
                       " or more, got " + std::to_string(value));
}

bool parseFlags(int argc, char **argv, Flags &flags) {
  Arguments arguments("bitnet bench", "Measures prompt (pp) and generation (tg) speed: medians and spread.");
  flags.model.declareModel(arguments);
  arguments.option("-p, --n-prompt", "LIST", flags.n_prompt, "prompt lengths to measure; 0 = none");
  arguments.option("-n, --n-gen", "LIST", flags.n_gen, "numbers of tokens to generate; 0 = none");
  arguments.option("-d, --depth", "LIST", flags.depth, "positions that the cache holds before");
  arguments.option("--rows", "LIST", flags.rows, "sequences that grow side by side, a token each in a step");
  arguments.flag("--without-head", flags.without_head,
                 "generate without the head as well, and print the time that the head takes");
  arguments.option("-t, --threads", "LIST", flags.threads,
                   "threads; 0 = one for each CPU this process may use");
  arguments.option("-c, --context", "N", flags.model.context, "positions to hold; 0 = as many as needed");
  arguments.option("-r, --repetitions", "N", flags.repetitions, "runs of each; the median counts");
  arguments.flag(
      "--limits", flags.limits,
      "measure the machine's read bandwidth and dot product peak between, and print the shares used");
  arguments.flag("--on-request", flags.on_request,
                 "for programs that let several engines take turns: bench.cpp has the protocol");
  arguments.flag("--json", flags.json, "print one object with every run");
  if (!arguments.parse(argc, argv))
    return false;
  requireAtLeast(0, flags.n_prompt, "--n-prompt");
  requireAtLeast(0, flags.n_gen, "--n-gen");
  requireAtLeast(0, flags.depth, "--depth");
  requireAtLeast(1, flags.rows, "--rows");
  requireAtLeast(0, flags.threads, "--threads");
  requireAtLeast(1, {flags.repetitions}, "--repetitions");
  auto none = [](const std::vector<int32_t> &lengths) {
    return *std::max_element(lengths.begin(), lengths.end()) == 0;
  };
  if (none(flags.n_prompt) && none(flags.n_gen))
    throw UsageError("nothing to measure: expected --n-prompt or --n-gen above 0");
  return true;
}

/// A session for each number of threads, and in it as many sequences as --rows asks for at each depth.
std::vector<Session> createSessions(const Flags &flags, const bitnet_model *model) {
  const bitnet_model_info info = infoOf(model);
  const int64_t longest = std::max(*std::max_element(flags.n_prompt.begin(), flags.n_prompt.end()),
                                   *std::max_element(flags.n_gen.begin(), flags.n_gen.end()));
  const int64_t needed = longest + *std::max_element(flags.depth.begin(), flags.depth.end());
  if (flags.model.context > 0 && needed > flags.model.context)
    throw UsageError("flag '--context': expected at least " + std::to_string(needed) +
                     " (the longest run behind the greatest depth), got " +
                     std::to_string(flags.model.context));
  if (needed > info.context)
    throw Failure("bench: expected at most " + std::to_string(info.context) +
                  " positions (the model's context), got " + std::to_string(needed) +
                  "; lower --n-prompt, --n-gen or --depth");
  if (flags.mostRows() > info.max_rows)
    throw UsageError("flag '--rows': expected at most " + std::to_string(info.max_rows) +
                     " (the bundle's rows of a step), got " + std::to_string(flags.mostRows()));
  const int32_t rows = flags.mostRows();
  std::vector<Session> sessions;
  for (int32_t threads : flags.threads) {
    ModelFlags session_flags = flags.model;
    session_flags.threads = threads;
    sessions.push_back(session_flags.createSession(model, std::max<int32_t>(static_cast<int32_t>(needed), 1),
                                                   static_cast<int32_t>(flags.depth.size()) * rows));
    for (size_t d = 0; d < flags.depth.size(); ++d)
      for (int32_t r = 0; r < rows && flags.depth[d] > 0; ++r)
        feed(sessions.back().get(), someTokens(flags.depth[d], info.vocab).data(), flags.depth[d],
             static_cast<int32_t>(d) * rows + r, false);
  }
  return sessions;
}

std::vector<Case> casesOf(const Flags &flags, const std::vector<Session> &sessions) {
  std::vector<Case> cases;
  for (const Session &session : sessions)
    for (size_t d = 0; d < flags.depth.size(); ++d) {
      Case measured{};
      measured.depth = flags.depth[d];
      measured.threads = bitnet_session_threads(session.get());
      measured.session = session.get();
      measured.sequence = static_cast<int32_t>(d) * flags.mostRows();
      measured.rows = 1;
      measured.head = true;
      auto add = [&](int32_t n) {
        measured.n = n;
        if (n > 0)
          cases.push_back(measured);
      };
      for (int32_t n : flags.n_prompt)
        add(n);
      measured.generation = true;
      for (int32_t n : flags.n_gen)
        for (int32_t rows : flags.rows)
          for (bool head : {true, false}) {
            measured.rows = rows;
            measured.head = head;
            if (head || flags.without_head)
              add(n);
          }
    }
  return cases;
}

/// Everything that is measured: the cases, and the machine's limits.
class Measurements {
public:
  Measurements(const Flags &flags, Bench &bench)
      : bench_(bench), tokens_(someTokens(bench.info.context, bench.info.vocab)) {
    if (flags.limits) {
      memory_ = std::make_unique<ReadBandwidth>();
      bench_.limits.push_back({1, {}, {}});
      for (const Case &measured : bench_.cases)
        if (!bench_.limitOf(measured.threads))
          bench_.limits.push_back({measured.threads, {}, {}});
    }
  }

  void warmUp() const {
    constexpr int32_t kPrompt = 32, kGeneration = 4; // tokens, not counted: pages in, threads awake
    for (const Case &measured : bench_.cases)
      timeCase(measured, tokens_, std::min(measured.n, measured.generation ? kGeneration : kPrompt));
  }
  double measure(Case &measured) const {
    bitnet_head_stats before, after;
    bitnet_session_head_stats(measured.session, &before);
    measured.tokens_per_second.values.push_back(timeCase(measured, tokens_, measured.n));
    bitnet_session_head_stats(measured.session, &after);
    measured.head_stats.rows += after.rows - before.rows;
    measured.head_stats.candidates += after.candidates - before.candidates;
    measured.head_stats.full_rows += after.full_rows - before.full_rows;
    return measured.tokens_per_second.values.back();
  }
  double measureReads(Limit &limit) const {
    limit.bytes_per_second.values.push_back(memory_->measure(limit.threads));
    return limit.bytes_per_second.values.back();
  }
  double measureDotProducts(Limit &limit) const {
    const DotProductPeak peak = measureDotProductPeak(bench_.info.cpu, limit.threads);
    bench_.dot_product = peak.instruction;
    limit.macs_per_second.values.push_back(peak.macs_per_second);
    return peak.macs_per_second;
  }

private:
  Bench &bench_;
  const std::vector<int32_t> tokens_;
  std::unique_ptr<ReadBandwidth> memory_;
};

void repeat(int32_t repetitions, Bench &bench, const Measurements &measurements) {
  Progress progress("bench", "runs", static_cast<uint64_t>(repetitions) * bench.cases.size());
  uint64_t done = 0;
  for (int32_t repetition = 0; repetition < repetitions; ++repetition) {
    for (Limit &limit : bench.limits) {
      measurements.measureReads(limit);
      measurements.measureDotProducts(limit);
    }
    for (Case &measured : bench.cases) {
      measurements.measure(measured);
      progress.update(++done, measured.name());
    }
  }
}

/// The protocol of --on-request. First one line of JSON: what there is to measure, in a list, and the model.
/// Then for each line "N" on standard input the N-th of the list is measured once, and a line with the number
/// is printed (tokens, bytes or multiply-adds per second), until the input ends.
void serve(Bench &bench, const Measurements &measurements) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  std::vector<std::function<double()>> runs;
  auto add = [&](const std::string &test, int threads, std::function<double()> run) {
    list.push_back({{"test", test}, {"threads", threads}});
    runs.push_back(std::move(run));
  };
  for (Case &measured : bench.cases)
    add(measured.name(), measured.threads, [&] { return measurements.measure(measured); });
  for (Limit &limit : bench.limits) {
    add("read bandwidth", limit.threads, [&] { return measurements.measureReads(limit); });
    add("dot product peak", limit.threads, [&] { return measurements.measureDotProducts(limit); });
  }
  const nlohmann::ordered_json hello = {{"tests", list},
                                        {"engine", "bitnet"},
                                        {"version", bitnet_version()},
                                        {"model", bench.info.name},
                                        {"cpu", bench.info.cpu},
                                        {"head", bench.info.head},
                                        {"bytes_per_token", bench.info.bytes_per_token},
                                        {"kv_bytes_per_token", bench.info.kv_bytes_per_token},
                                        {"ternary_weights", bench.info.ternary_weights}};
  std::puts(hello.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    char *end = nullptr;
    const unsigned long index = std::strtoul(line.c_str(), &end, 10);
    if (line.empty() || *end || index >= runs.size())
      throw Failure("standard input: expected a number below " + std::to_string(runs.size()) + ", got '" +
                    line + "'");
    std::printf("%.17g\n", runs[index]());
    std::fflush(stdout);
  }
}

} // namespace

int bench(int argc, char **argv) {
  Flags flags;
  if (!parseFlags(argc, argv, flags))
    return 0;
  Bench bench;
  const auto start = std::chrono::steady_clock::now();
  const Model model = flags.model.open();
  bench.load_seconds = secondsSince(start);
  bench.info = infoOf(model.get());
  const std::vector<Session> sessions = createSessions(flags, model.get());
  bench.cases = casesOf(flags, sessions);
  const Measurements measurements(flags, bench);
  measurements.warmUp();
  if (flags.on_request) {
    serve(bench, measurements);
    return 0;
  }
  repeat(flags.repetitions, bench, measurements);
  if (flags.json)
    std::puts(bench.toJson().dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  else
    bench.printTable();
  return 0;
}

} // namespace bitnet::tools
