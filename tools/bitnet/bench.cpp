// bitnet bench: prompt and generation speed, in the words of llama-bench (pp512, tg128, depth). All
// configurations take turns within each repetition, so that a slow minute of the machine falls on all of them
// alike. Tokens are arbitrary but fixed; nothing is drawn.
#include "tools/bitnet/handles.h"
#include "tools/bitnet/progress.h"
#include "tools/bitnet/read_bandwidth.h"
#include "tools/bitnet/subcommands.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace bitnet::tools {
namespace {

struct Flags {
  ModelFlags model; // --threads is a list here
  std::vector<int32_t> n_prompt{512}, n_gen{128}, depth{0}, threads{0};
  int32_t repetitions = 5;
  bool limits = false, json = false;
};

/// Measurements of one quantity.
struct Samples {
  std::vector<double> values;

  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const size_t half = sorted.size() / 2;
    return sorted.size() % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }
  double min() const { return *std::min_element(values.begin(), values.end()); }
  double max() const { return *std::max_element(values.begin(), values.end()); }
  nlohmann::ordered_json toJson() const {
    return {{"median", median()}, {"min", min()}, {"max", max()}, {"runs", values}};
  }
};

/// One line of the result: n tokens at once (prompt) or one by one (generation), behind `depth` positions.
struct Case {
  bool generation;
  int32_t n, depth, threads;
  bitnet_session *session;
  int32_t sequence; // holds `depth` positions between runs
  Samples tokens_per_second;

  std::string name() const {
    return (generation ? "tg" : "pp") + std::to_string(n) + (depth ? " @ d" + std::to_string(depth) : "");
  }
};

struct Bandwidth {
  int threads;
  Samples bytes_per_second;
};

std::vector<int32_t> someTokens(int32_t count, int32_t vocab) {
  std::vector<int32_t> tokens(count);
  for (int32_t i = 0; i < count; ++i)
    tokens[i] = static_cast<int32_t>((static_cast<int64_t>(i) * 7919 + 11) % vocab);
  return tokens;
}

/// Runs a case over n tokens and puts its sequence back to `depth` positions. Tokens per second.
double timeCase(const Case &measured, const std::vector<int32_t> &tokens, int32_t n) {
  const auto start = std::chrono::steady_clock::now();
  if (measured.generation)
    for (int32_t i = 0; i < n; ++i)
      feed(measured.session, &tokens[i], 1, measured.sequence, true);
  else
    feed(measured.session, tokens.data(), n, measured.sequence, true);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  bitnet_error error{};
  check(bitnet_session_truncate(measured.session, measured.sequence, measured.depth, &error), error);
  return n / seconds;
}

const Bandwidth *bandwidthOf(const std::vector<Bandwidth> &limits, int threads) {
  for (const Bandwidth &limit : limits)
    if (limit.threads == threads)
      return &limit;
  return nullptr;
}

/// Share of the read bandwidth that a generation uses for weights; 0 = not known.
double shareOf(const Case &measured, const bitnet_model_info &info, const std::vector<Bandwidth> &limits) {
  const Bandwidth *limit = bandwidthOf(limits, measured.threads);
  if (!measured.generation || !limit)
    return 0;
  return info.bytes_per_token * measured.tokens_per_second.median() / limit->bytes_per_second.median();
}

nlohmann::ordered_json toJson(const bitnet_model_info &info, const std::vector<Case> &cases,
                              const std::vector<Bandwidth> &limits) {
  nlohmann::ordered_json object = {{"version", bitnet_version()},
                                   {"model", info.name},
                                   {"cpu", info.cpu},
                                   {"head", info.head},
                                   {"bytes_per_token", info.bytes_per_token}};
  for (const Case &measured : cases) {
    nlohmann::ordered_json line = {{"test", measured.name()},
                                   {"n_prompt", measured.generation ? 0 : measured.n},
                                   {"n_gen", measured.generation ? measured.n : 0},
                                   {"depth", measured.depth},
                                   {"threads", measured.threads},
                                   {"tokens_per_second", measured.tokens_per_second.toJson()}};
    if (const double share = shareOf(measured, info, limits))
      line["share_of_read_bandwidth"] = share;
    object["results"].push_back(line);
  }
  for (const Bandwidth &limit : limits)
    object["read_bandwidth"].push_back(
        {{"threads", limit.threads}, {"bytes_per_second", limit.bytes_per_second.toJson()}});
  return object;
}

void printTable(const bitnet_model_info &info, const std::vector<Case> &cases,
                const std::vector<Bandwidth> &limits) {
  std::printf("%s, %s, head %s, %.1f MB of weights per token\n\n", info.name, info.cpu, info.head,
              info.bytes_per_token / 1e6);
  std::printf("| %-16s | threads | tok/s median | min..max %14s |%s\n", "test", "",
              limits.empty() ? "" : " of read bandwidth |");
  std::printf("|%.18s|--------:|-------------:|%.25s|%s\n", "------------------", "-------------------------",
              limits.empty() ? "" : "-------------------:|");
  for (const Case &measured : cases) {
    const Samples &speed = measured.tokens_per_second;
    std::printf("| %-16s | %7d | %12.2f | %10.2f..%-11.2f |", measured.name().c_str(), measured.threads,
                speed.median(), speed.min(), speed.max());
    if (const double share = shareOf(measured, info, limits))
      std::printf(" %16.1f %% |", share * 100);
    else if (!limits.empty())
      std::printf(" %18s |", "");
    std::putchar('\n');
  }
  if (std::any_of(cases.begin(), cases.end(), [&](const Case &c) { return shareOf(c, info, limits) > 1; }))
    std::printf("over 100 %%: the weights are small enough to stay in the caches\n");
  for (const Bandwidth &limit : limits)
    std::printf("%sread bandwidth, %d thread%s: %.2f GB/s (%.2f..%.2f)\n",
                &limit == limits.data() ? "\n" : "", limit.threads, limit.threads == 1 ? "" : "s",
                limit.bytes_per_second.median() / 1e9, limit.bytes_per_second.min() / 1e9,
                limit.bytes_per_second.max() / 1e9);
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
  arguments.option("-t, --threads", "LIST", flags.threads,
                   "threads; 0 = one for each CPU this process may use");
  arguments.option("-c, --context", "N", flags.model.context, "positions to hold; 0 = as many as needed");
  arguments.option("-r, --repetitions", "N", flags.repetitions, "runs of each; the median counts");
  arguments.flag("--limits", flags.limits,
                 "measure the memory's read bandwidth between, and print the share used");
  arguments.flag("--json", flags.json, "print one object with every run");
  if (!arguments.parse(argc, argv))
    return false;
  requireAtLeast(0, flags.n_prompt, "--n-prompt");
  requireAtLeast(0, flags.n_gen, "--n-gen");
  requireAtLeast(0, flags.depth, "--depth");
  requireAtLeast(0, flags.threads, "--threads");
  requireAtLeast(1, {flags.repetitions}, "--repetitions");
  auto none = [](const std::vector<int32_t> &lengths) {
    return *std::max_element(lengths.begin(), lengths.end()) == 0;
  };
  if (none(flags.n_prompt) && none(flags.n_gen))
    throw UsageError("nothing to measure: expected --n-prompt or --n-gen above 0");
  return true;
}

/// A session for each number of threads, and in it a sequence for each depth.
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
  std::vector<Session> sessions;
  for (int32_t threads : flags.threads) {
    ModelFlags session_flags = flags.model;
    session_flags.threads = threads;
    sessions.push_back(session_flags.createSession(model, std::max<int32_t>(static_cast<int32_t>(needed), 1),
                                                   static_cast<int32_t>(flags.depth.size())));
    for (size_t d = 0; d < flags.depth.size(); ++d)
      if (flags.depth[d] > 0)
        feed(sessions.back().get(), someTokens(flags.depth[d], info.vocab).data(), flags.depth[d],
             static_cast<int32_t>(d), false);
  }
  return sessions;
}

std::vector<Case> casesOf(const Flags &flags, const std::vector<Session> &sessions) {
  std::vector<Case> cases;
  for (const Session &session : sessions)
    for (size_t d = 0; d < flags.depth.size(); ++d)
      for (bool generation : {false, true})
        for (int32_t n : generation ? flags.n_gen : flags.n_prompt)
          if (n > 0)
            cases.push_back({generation,
                             n,
                             flags.depth[d],
                             bitnet_session_threads(session.get()),
                             session.get(),
                             static_cast<int32_t>(d),
                             {}});
  return cases;
}

} // namespace

int bench(int argc, char **argv) {
  Flags flags;
  if (!parseFlags(argc, argv, flags))
    return 0;
  const Model model = flags.model.open();
  const bitnet_model_info info = infoOf(model.get());
  const std::vector<Session> sessions = createSessions(flags, model.get());
  std::vector<Case> cases = casesOf(flags, sessions);

  std::unique_ptr<ReadBandwidth> memory;
  std::vector<Bandwidth> limits;
  if (flags.limits) {
    memory = std::make_unique<ReadBandwidth>();
    limits.push_back({1, {}});
    for (const Session &session : sessions)
      if (!bandwidthOf(limits, bitnet_session_threads(session.get())))
        limits.push_back({bitnet_session_threads(session.get()), {}});
  }

  constexpr int32_t kWarmUpPrompt = 32, kWarmUpGeneration = 4; // tokens, not counted: pages in, threads awake
  std::vector<int32_t> tokens = someTokens(info.context, info.vocab);
  for (const Case &measured : cases)
    timeCase(measured, tokens, std::min(measured.n, measured.generation ? kWarmUpGeneration : kWarmUpPrompt));
  {
    Progress progress("bench", "runs", static_cast<uint64_t>(flags.repetitions) * cases.size());
    uint64_t done = 0;
    for (int32_t repetition = 0; repetition < flags.repetitions; ++repetition) {
      for (Bandwidth &limit : limits)
        limit.bytes_per_second.values.push_back(memory->measure(limit.threads));
      for (Case &measured : cases) {
        measured.tokens_per_second.values.push_back(timeCase(measured, tokens, measured.n));
        progress.update(++done, measured.name());
      }
    }
  }
  if (flags.json)
    std::puts(
        toJson(info, cases, limits).dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  else
    printTable(info, cases, limits);
  return 0;
}

} // namespace bitnet::tools
