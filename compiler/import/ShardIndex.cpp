// Which shard holds which tensor. File names come from the checkpoint, so they may not lead out of its
// folder.
#include "compiler/import/ImportError.h"
#include "compiler/import/JsonText.h"
#include "compiler/import/SafeTensors.h"
#include "llvm/ADT/STLExtras.h"
#include <climits>
#include <cstdlib>
#include <memory>

using namespace llvm;

namespace bitnet::import {

Expected<std::map<std::string, std::string>>
parseShardIndex(const std::string &text, const std::string &where,
                const std::function<void(const std::string &)> &warn) {
  Expected<nlohmann::json> json = parseJson(text, where, warn);
  if (!json)
    return json.takeError();
  auto map = json->is_object() ? json->find("weight_map") : json->end();
  if (!json->is_object() || map == json->end() || !map->is_object())
    return failure(where + ": expected an object 'weight_map'");
  // A line break would go on into the message of whoever cannot open the file.
  const auto isControl = [](unsigned char c) { return c < ' ' || c == 0x7f; };
  std::map<std::string, std::string> shards;
  for (auto &[tensor, file] : map->items()) {
    if (!file.is_string())
      return failure(where + ": tensor " + quoted(tensor) + ": expected a file name, got " + file.dump());
    const std::string &name = file.get_ref<const std::string &>();
    if (name.empty() || name == "." || name == ".." || name.size() > 255 ||
        name.find_first_of("/\\") != std::string::npos || any_of(name, isControl))
      return failure(where + ": tensor " + quoted(tensor) +
                     ": expected a plain file name in the same folder, got " + quoted(name));
    shards.emplace(tensor, name);
  }
  return shards;
}

namespace {
/// Path with all links followed, or empty.
std::string resolved(const std::string &path) {
  std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
  return real ? real.get() : "";
}
} // namespace

Expected<std::string> plainFileIn(const std::string &folder, const std::string &file) {
  std::string path = folder + "/" + file;
  StringRef base, parent;
  std::string realFolder = resolved(folder), real = resolved(path);
  if (real.empty())
    return failure(path + ": expected a file, got none; all parts of a model belong into one folder");
  base = realFolder;
  parent = StringRef(real).take_front(StringRef(real).rfind('/'));
  // The hub client keeps models--X/snapshots/REVISION/file as links to models--X/blobs/HASH.
  auto [cache, revision] = base.rsplit('/');
  bool hubBlob = cache.consume_back("/snapshots") && !revision.empty() && parent == (cache + "/blobs").str();
  if (parent != base && !hubBlob)
    return failure(path + ": expected a file inside its folder, got a link to " + quoted(real) +
                   "; copy the file there, or name the folder that holds the files");
  return path;
}

} // namespace bitnet::import
