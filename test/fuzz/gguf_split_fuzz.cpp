// A GGUF model in two or three parts: an input is the parts, one after the other, each behind its length.
#include "test/compiler/import/gguf_writer.h"
#include "test/fuzz/checkpoint_checks.h"
#include "test/fuzz/fuzz_target.h"
#include <cstring>

using namespace bitnet::import;
using namespace bitnet::fuzz;

namespace {

std::string join(const std::vector<std::string> &parts) {
  std::string input;
  for (const std::string &part : parts) {
    GgufWriter::put<uint32_t>(input, uint32_t(part.size()));
    input += part;
  }
  return input;
}

/// At most three; the last takes what is left when its length is too long.
std::vector<std::string> split(std::string input) {
  std::vector<std::string> parts;
  while (parts.size() < 3 && input.size() >= sizeof(uint32_t)) {
    uint32_t length = 0;
    std::memcpy(&length, input.data(), sizeof length);
    parts.push_back(input.substr(sizeof length, length));
    input.erase(0, sizeof length + parts.back().size());
  }
  return parts;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<std::shared_ptr<ByteSource>> sources;
  for (std::string &part : split(std::string(reinterpret_cast<const char *>(data), size)))
    sources.push_back(bytesInMemory("part" + std::to_string(sources.size()), std::move(part)));
  if (sources.empty())
    return 0;
  llvm::Expected<GgufFile> file = GgufFile::read(sources, nullptr);
  if (!ok(file))
    return 0;
  check(file->parts() == sources.size());
  for (const GgufTensor &tensor : file->tensors())
    check(tensor.offset <= tensor.file->size() && tensor.bytes <= tensor.file->size() - tensor.offset);
  decodeModel(partsOfGguf(*file, ModelSettings(), ImportOptions()), ModelSettings());
  return 0;
}

std::vector<std::string> bitnet::fuzz::seeds() {
  std::vector<std::string> seeds;
  for (const char *arch : {"bitnet-b1.58", "llama"})
    for (size_t parts : {2, 3})
      seeds.push_back(join(TinyModel(arch).finishParts(parts)));
  // One ambiguous type, whose tensors lie in both parts; the smaller ones fit two meanings.
  TinyModel packed;
  for (auto &[name, tensor] : packed.tensors)
    if (tensor.dims == std::vector<uint64_t>{32, 16})
      tensor = {{128, 1}, 42, std::string(34, '\x15')};
  packed.tensors["blk.0.ffn_up.weight"] = {{256, 48}, 42, std::string(256 * 48 / 128 * 34, '\x15')};
  seeds.push_back(join(packed.finishParts(2)));
  return seeds;
}
