// The part of the ZIP format that torch.save writes: entries stored as they are, with the 64-bit extension.
// Only finds the entries; reads none of their bytes.
#pragma once
#include "compiler/import/ByteSource.h"
#include <map>
#include <string>

namespace bitnet::import {

struct ZipEntry {
  uint64_t offset = 0; ///< of the data, from the start of the file
  uint64_t bytes = 0;  ///< offset + bytes lie before the central directory
};

/// The entries by name. Refused: compressed or encrypted entries, archives of several parts, names that are
/// there twice, entries that overlap or lie outside, and a central directory that disagrees with the headers
/// before the data. Checksums are not compared: torch can leave them out, and the weights are read once only.
llvm::Expected<std::map<std::string, ZipEntry>> readStoredZip(const ByteSource &source);

} // namespace bitnet::import
