#include "tools/bitnet/bench_report.h"

#include <algorithm>
#include <cstdio>
#include <sys/resource.h>

namespace bitnet::tools {

double Samples::median() const {
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const size_t half = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
double Samples::min() const { return *std::min_element(values.begin(), values.end()); }
double Samples::max() const { return *std::max_element(values.begin(), values.end()); }
nlohmann::ordered_json Samples::toJson() const {
  return {{"median", median()}, {"min", min()}, {"max", max()}, {"runs", values}};
}

std::string Case::name() const {
  return (generation ? "tg" : "pp") + std::to_string(n) + (rows > 1 ? " x" + std::to_string(rows) : "") +
         (head ? "" : " no head") + (depth ? " @ d" + std::to_string(depth) : "");
}

const Limit *Bench::limitOf(int threads) const {
  for (const Limit &limit : limits)
    if (limit.threads == threads)
      return &limit;
  return nullptr;
}

const Case *Bench::sibling(const Case &of, int32_t rows, bool head) const {
  for (const Case &other : cases)
    if (other.generation == of.generation && other.n == of.n && other.depth == of.depth &&
        other.threads == of.threads && other.rows == rows && other.head == head)
      return &other;
  return nullptr;
}

double Bench::shareOfReads(const Case &measured) const {
  const Limit *limit = limitOf(measured.threads);
  if (!measured.generation || !measured.head || !limit)
    return 0;
  const double steps_per_second = measured.tokens_per_second.median() / measured.rows;
  const double positions = measured.depth + (measured.n + 1) / 2.0; // a step reads its own position, too
  const double cache = info.kv_bytes_per_token * positions * measured.rows;
  return (info.bytes_per_token + cache) * steps_per_second / limit->bytes_per_second.median();
}

double Bench::shareOfDotProducts(const Case &measured) const {
  const Limit *limit = limitOf(measured.threads);
  if (measured.generation || !limit || limit->macs_per_second.median() <= 0)
    return 0;
  return info.ternary_weights * measured.tokens_per_second.median() / limit->macs_per_second.median();
}

double Bench::costOfRows(const Case &measured) const {
  const Case *one = sibling(measured, 1, measured.head);
  if (measured.rows == 1 || !one)
    return 0;
  return one->tokens_per_second.median() * measured.rows / measured.tokens_per_second.median();
}

double Bench::secondsOfHead(const Case &measured) const {
  const Case *without = sibling(measured, measured.rows, false);
  if (!measured.head || !measured.generation || !without)
    return 0;
  return measured.rows / measured.tokens_per_second.median() -
         measured.rows / without->tokens_per_second.median();
}

nlohmann::ordered_json Bench::toJson() const {
  nlohmann::ordered_json object = {{"version", bitnet_version()},
                                   {"model", info.name},
                                   {"cpu", info.cpu},
                                   {"head", info.head},
                                   {"file_bytes", info.file_bytes},
                                   {"bytes_per_token", info.bytes_per_token},
                                   {"kv_bytes_per_token", info.kv_bytes_per_token},
                                   {"ternary_weights", info.ternary_weights},
                                   {"load_seconds", load_seconds}};
  if (limits.empty())
    object["peak_memory_bytes"] = peakMemory();
  for (const Case &measured : cases) {
    nlohmann::ordered_json line = {{"test", measured.name()},
                                   {"n_prompt", measured.generation ? 0 : measured.n},
                                   {"n_gen", measured.generation ? measured.n : 0},
                                   {"depth", measured.depth},
                                   {"rows", measured.rows},
                                   {"head", measured.head},
                                   {"threads", measured.threads},
                                   {"tokens_per_second", measured.tokens_per_second.toJson()}};
    if (const double share = shareOfReads(measured))
      line["share_of_read_bandwidth"] = share;
    if (const double share = shareOfDotProducts(measured))
      line["share_of_dot_product_peak"] = share;
    if (const double cost = costOfRows(measured))
      line["cost_of_rows"] = cost;
    if (const double seconds = secondsOfHead(measured))
      line["head_seconds"] = seconds;
    if (measured.generation && measured.head_stats.rows > 0) {
      line["candidates_per_token"] = measured.candidatesPerToken();
      line["full_head_tokens"] = measured.head_stats.full_rows;
    }
    object["results"].push_back(line);
  }
  for (const Limit &limit : limits) {
    object["read_bandwidth"].push_back(
        {{"threads", limit.threads}, {"bytes_per_second", limit.bytes_per_second.toJson()}});
    object["dot_product_peak"].push_back({{"threads", limit.threads},
                                          {"instruction", dot_product},
                                          {"macs_per_second", limit.macs_per_second.toJson()}});
  }
  return object;
}

void Bench::printTable() const {
  std::printf("%s, %s, head %s, %.1f MB of weights per token, loaded in %.0f ms\n\n", info.name, info.cpu,
              info.head, info.bytes_per_token / 1e6, load_seconds * 1e3);
  std::printf("| %-20s | threads | tok/s median | min..max %14s |%s\n", "test", "",
              limits.empty() ? "" : " of the limit   |");
  std::printf("|%.22s|--------:|-------------:|%.25s|%s\n", "----------------------",
              "-------------------------", limits.empty() ? "" : "---------------:|");
  for (const Case &measured : cases) {
    const Samples &speed = measured.tokens_per_second;
    std::printf("| %-20s | %7d | %12.2f | %10.2f..%-11.2f |", measured.name().c_str(), measured.threads,
                speed.median(), speed.min(), speed.max());
    if (const double share = shareOfReads(measured))
      std::printf(" %6.1f %% bytes |", share * 100);
    else if (const double share = shareOfDotProducts(measured))
      std::printf(" %6.1f %% MACs  |", share * 100);
    else if (!limits.empty())
      std::printf(" %14s |", "");
    std::putchar('\n');
  }
  if (std::any_of(cases.begin(), cases.end(), [&](const Case &c) { return shareOfReads(c) > 1; }))
    std::printf("over 100 %%: the weights are small enough to stay in the caches\n");
  auto threads = [](int n) { return std::to_string(n) + (n == 1 ? " thread" : " threads"); };
  const char *gap = "\n";
  for (const Case &measured : cases) {
    if (const double cost = costOfRows(measured))
      std::printf("%s%s: %d rows cost %.2f times one (%s)\n", gap, measured.name().c_str(), measured.rows,
                  cost, threads(measured.threads).c_str()),
          gap = "";
    if (const double seconds = secondsOfHead(measured))
      std::printf("%s%s: %.2f ms of a step are the head (%s)\n", gap, measured.name().c_str(), seconds * 1e3,
                  threads(measured.threads).c_str()),
          gap = "";
    if (measured.generation && measured.head_stats.rows > 0)
      std::printf(
          "%s%s: %.1f candidates a token behind the head's screen, %llu of %llu tokens in full (%s)\n", gap,
          measured.name().c_str(), measured.candidatesPerToken(),
          static_cast<unsigned long long>(measured.head_stats.full_rows),
          static_cast<unsigned long long>(measured.head_stats.rows), threads(measured.threads).c_str()),
          gap = "";
  }
  gap = "\n";
  for (const Limit &limit : limits) {
    std::printf("%sread bandwidth, %s: %.2f GB/s (%.2f..%.2f)\n", gap, threads(limit.threads).c_str(),
                limit.bytes_per_second.median() / 1e9, limit.bytes_per_second.min() / 1e9,
                limit.bytes_per_second.max() / 1e9);
    gap = "";
    if (limit.macs_per_second.median() > 0)
      std::printf("dot product peak, %s: %.1f GMAC/s (%.1f..%.1f), %s\n", threads(limit.threads).c_str(),
                  limit.macs_per_second.median() / 1e9, limit.macs_per_second.min() / 1e9,
                  limit.macs_per_second.max() / 1e9, dot_product.c_str());
  }
  if (limits.empty())
    std::printf("\npeak memory: %.0f MB, of which the model's file is %.0f MB\n", peakMemory() / 1e6,
                info.file_bytes / 1e6);
}

uint64_t peakMemory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024; // Linux counts in KiB
}

} // namespace bitnet::tools
