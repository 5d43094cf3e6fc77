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

/// Opens and keeps a checkpoint; else its error, with `shown` for `where`, a path that differs from run to
/// run.
inline std::string openInto(std::unique_ptr<Checkpoint> &checkpoint, const std::string &path,
                            const ImportOptions &options, const std::string &where,
                            const std::string &shown) {
  checkpoint.reset();
  llvm::Expected<std::unique_ptr<Checkpoint>> opened = openCheckpoint(path, options);
  if (opened) {
    checkpoint = std::move(*opened);
    return "";
  }
  std::string error = llvm::toString(opened.takeError());
  expectOneLine(error);
  for (size_t at; (at = error.find(where)) != std::string::npos;)
    error.replace(at, where.size(), shown);
  return error;
}

} // namespace bitnet::import
