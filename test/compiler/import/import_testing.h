// What the importer's tests share: where the data lies, errors as text, files.
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

} // namespace bitnet::import
