// GGUF files in several parts, as gguf-split writes them: NAME-00001-of-00003.gguf and so on in one folder.
// The key/values of the model are in the first part; each part has a tensor table of its own, and keys that
// say which of how many parts it is. Any part may be named; the names of the others are made from its name,
// so nothing that a file holds becomes a path.
#include "compiler/import/Gguf.h"
#include "compiler/import/ImportError.h"
#include "compiler/import/SafeTensors.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr unsigned kMaxParts = 512; // each is a file that stays open
constexpr size_t kDigits = 5;

/// Takes five digits off the end of a name.
std::optional<unsigned> consumeDigits(StringRef &name) {
  unsigned number = 0;
  StringRef digits = name.take_back(kDigits);
  if (digits.size() != kDigits || digits.find_first_not_of("0123456789") != StringRef::npos ||
      digits.getAsInteger(10, number))
    return std::nullopt;
  name = name.drop_back(kDigits);
  return number;
}

} // namespace

std::vector<std::string> ggufSplitNames(StringRef fileName) {
  StringRef stem = fileName;
  if (!stem.consume_back(".gguf"))
    return {};
  std::optional<unsigned> count = consumeDigits(stem);
  if (!count || !stem.consume_back("-of-"))
    return {};
  std::optional<unsigned> number = consumeDigits(stem);
  if (!number || !stem.ends_with("-") || *number < 1 || *number > *count || *count > kMaxParts)
    return {};
  std::vector<std::string> names(*count);
  for (unsigned i = 0; i < *count; ++i)
    raw_string_ostream(names[i]) << stem << llvm::format("%05u-of-%05u.gguf", i + 1, *count);
  return names;
}

Error GgufFile::checkSplit(const std::vector<GgufFile> &parts) {
  uint64_t tensors = 0;
  for (const GgufFile &part : parts)
    tensors += part.tensors_.size();
  auto number = [](const GgufFile &part, const char *key, int64_t expected, const Twine &why,
                   bool optional) -> Error {
    Expected<std::optional<int64_t>> value = part.integer(key);
    if (!value)
      return value.takeError();
    if (value->value_or(optional ? expected : -1) == expected)
      return Error::success();
    return failure(part.name() + ": key " + quoted(key) + ": expected " + Twine(expected) + why + ", got " +
                   (*value ? std::to_string(**value) : std::string("none")));
  };
  if (parts.size() == 1) {
    Expected<std::optional<int64_t>> count = parts[0].integer("split.count");
    if (!count)
      return count.takeError();
    if (count->value_or(1) != 1 && count->value_or(1) != 0)
      return failure(parts[0].name() + ": key 'split.count': expected a whole model, got one of " +
                     Twine(**count) + " parts; keep the names that end in -00001-of-000NN.gguf (at most " +
                     Twine(kMaxParts) + " parts) and all parts in one folder");
    return Error::success();
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    if (Error error = number(parts[i], "split.count", int64_t(parts.size()), ", as its name says", false))
      return error;
    if (Error error = number(parts[i], "split.no", int64_t(i), ", as its name says (counted from 0)", false))
      return error;
  }
  for (const GgufFile &part : parts)
    if (Error error =
            number(part, "split.tensors.count", int64_t(tensors), ", the tensors of all parts", true))
      return error;
  return Error::success();
}

Expected<GgufFile> openGguf(const std::string &path, const GgufFile::Warn &warn,
                            const GgufTypeChoice &chosen) {
  StringRef parent = sys::path::parent_path(path);
  const std::string folder = parent.empty() ? "." : parent.str();
  std::vector<std::shared_ptr<ByteSource>> sources;
  std::vector<std::string> names = ggufSplitNames(sys::path::filename(path));
  if (names.empty())
    names.push_back(sys::path::filename(path).str());
  for (const std::string &name : names) {
    std::string part = path; // the one that the user named may lie anywhere
    if (name != sys::path::filename(path)) {
      part = folder + "/" + name;
      if (!sys::fs::exists(part))
        return failure(part + ": expected this part beside " + quoted(path) + ", got no such file; all " +
                       Twine(names.size()) + " parts belong into one folder");
      if (Expected<std::string> inside = plainFileIn(folder, name); !inside)
        return inside.takeError();
    }
    Expected<std::shared_ptr<ByteSource>> source = openFile(part);
    if (!source)
      return source.takeError();
    sources.push_back(std::move(*source));
  }
  return GgufFile::read(std::move(sources), warn, chosen);
}

} // namespace bitnet::import
