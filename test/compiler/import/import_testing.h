// What the importer's tests share: where the data lies, errors as text, a GGUF file made in memory.
#pragma once
#include "compiler/import/Checkpoint.h"
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <sys/stat.h>

namespace bitnet::import {

/// Path below the shared data folder; empty when it is not there.
inline std::string sharedData(const std::string &name) {
  const char *root = std::getenv("BITNET_SHARED_DATA");
  std::string path = std::string(root ? root : "") + "/" + name;
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 ? path : "";
}
#define SKIP_WITHOUT(path)                                                                                   \
  if ((path).empty())                                                                                        \
  GTEST_SKIP() << "shared test data not found (BITNET_SHARED_DATA)"

template <typename T> std::string errorOf(llvm::Expected<T> &value) {
  return value ? "" : llvm::toString(value.takeError());
}

inline std::string slurp(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

inline void spill(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), std::streamsize(bytes.size()));
}

/// One line, with a place and something expected: the form that every error of the importer has.
inline void expectOneLine(const std::string &error) {
  EXPECT_FALSE(error.empty());
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  EXPECT_NE(error.find(": "), std::string::npos) << error;
  for (unsigned char c : error)
    EXPECT_TRUE(c >= 0x20 && c < 0x7f) << "byte " << int(c) << " in: " << error;
}

/// Writes a GGUF file piece by piece; nothing is checked, so it makes bad files as well.
class GgufWriter {
public:
  std::string infos, keys, data;
  uint64_t nTensors = 0, nKeys = 0;

  template <typename T> static void put(std::string &to, T value) {
    to.append(reinterpret_cast<const char *>(&value), sizeof value);
  }
  static void putString(std::string &to, const std::string &text) {
    put<uint64_t>(to, text.size());
    to += text;
  }
  template <typename T> GgufWriter &number(const std::string &key, uint32_t kind, T value) {
    ++nKeys;
    putString(keys, key);
    put<uint32_t>(keys, kind);
    put(keys, value);
    return *this;
  }
  GgufWriter &u32(const std::string &key, uint32_t value) { return number(key, 4, value); }
  GgufWriter &f32(const std::string &key, float value) { return number(key, 6, value); }
  GgufWriter &text(const std::string &key, const std::string &value) {
    ++nKeys;
    putString(keys, key);
    put<uint32_t>(keys, 8);
    putString(keys, value);
    return *this;
  }
  GgufWriter &tensor(const std::string &name, std::vector<uint64_t> dims, uint32_t type,
                     const std::string &bytes) {
    ++nTensors;
    putString(infos, name);
    put<uint32_t>(infos, uint32_t(dims.size()));
    for (uint64_t dim : dims)
      put(infos, dim);
    put(infos, type);
    put<uint64_t>(infos, data.size());
    data += bytes;
    data.resize((data.size() + 31) / 32 * 32);
    return *this;
  }
  std::string finish() const {
    std::string out = "GGUF";
    put<uint32_t>(out, 3);
    put(out, nTensors);
    put(out, nKeys);
    out += keys + infos;
    out.resize((out.size() + 31) / 32 * 32);
    return out + data;
  }
};

} // namespace bitnet::import
