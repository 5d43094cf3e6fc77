// End-to-end tests: compile a checkpoint with the real bitnetc, run it through the public C interface.
#pragma once
#include "runtime/api/bitnet.h"
#include "test/tools/program.h"
#include <gtest/gtest.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace bitnet::e2e {

using test::contents;
using test::environment;

/// Path below ../shared/data, or empty when that folder is not there.
inline std::string sharedData(const std::string &path) {
  const std::string full = environment("BITNET_SHARED_DATA") + "/" + path;
  return std::filesystem::exists(full) ? full : "";
}

/// The model that ships with the repository.
inline std::string shippedModel() { return environment("BITNET_SOURCE_DIR") + "/test/data/kjv-tq1_0.gguf"; }

/// Compiles once for each name with these flags; returns the bundle's path. Fails the test on an error.
inline std::string compiled(const std::string &checkpoint, const std::string &name,
                            std::vector<std::string> flags) {
  const std::string path = test::scratch(name + ".bnx");
  if (!std::filesystem::exists(path)) {
    flags.insert(flags.begin(), {test::binary("bitnetc"), checkpoint, "-o", path});
    const test::Ran ran = test::run(flags);
    EXPECT_EQ(ran.code, 0) << checkpoint << ": " << ran.err;
  }
  return path;
}

struct ModelDeleter {
  void operator()(bitnet_model *m) const { bitnet_model_close(m); }
};
struct SessionDeleter {
  void operator()(bitnet_session *s) const { bitnet_session_destroy(s); }
};
using Model = std::unique_ptr<bitnet_model, ModelDeleter>;
using Session = std::unique_ptr<bitnet_session, SessionDeleter>;

inline Model openModel(const std::string &path, const char *cpu = nullptr) {
  bitnet_model_options options{cpu};
  bitnet_error error{};
  bitnet_model *model = nullptr;
  EXPECT_EQ(bitnet_model_open(path.c_str(), &options, &model, &error), BITNET_OK) << error.message;
  return Model(model);
}

inline Session openSession(const bitnet_model *model, int threads = 1, int sequences = 1, int context = 0) {
  bitnet_session_options options{context, threads, sequences};
  bitnet_error error{};
  bitnet_session *session = nullptr;
  EXPECT_EQ(bitnet_session_create(model, &options, &session, &error), BITNET_OK) << error.message;
  return Session(session);
}

inline int vocabulary(const bitnet_model *model) {
  bitnet_model_info info;
  bitnet_model_get_info(model, &info);
  return info.vocab;
}

using Tokens = std::vector<int32_t>;
using Logits = std::vector<float>; // [tokens, vocab]

/// Logits of every position of `tokens`, fed to sequence 0 in chunks of `chunk` rows.
inline Logits allLogits(const bitnet_model *model, bitnet_session *session, const Tokens &tokens,
                        size_t chunk) {
  Logits out;
  const int vocab = vocabulary(model);
  for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
    std::vector<bitnet_row> rows;
    for (size_t i = begin; i < std::min(begin + chunk, tokens.size()); ++i)
      rows.push_back({tokens[i], int32_t(i), 0, 1, 0, 0});
    bitnet_error error{};
    EXPECT_EQ(bitnet_session_step(session, rows.data(), rows.size(), &error), BITNET_OK) << error.message;
    for (size_t i = 0; i < rows.size(); ++i) {
      const float *row = bitnet_session_logits(session, i);
      if (!row) {
        ADD_FAILURE() << "no logits for row " << i;
        return out;
      }
      out.insert(out.end(), row, row + vocab);
    }
  }
  return out;
}

/// Checksums of the packed weights of a compiled bundle.
inline std::set<std::string> weightSums(const std::string &bundle) {
  std::set<std::string> sums;
  const Model model = openModel(bundle);
  if (!model)
    return sums;
  const auto description = nlohmann::json::parse(bitnet_model_describe(model.get()));
  for (const auto &section : description["sections"])
    if (section["kind"] == "weights")
      sums.insert(section["checksum"].get<std::string>());
  return sums;
}

} // namespace bitnet::e2e
