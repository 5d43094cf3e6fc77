// The kernel cache: one file an object, named by the kernel's symbol and the version of everything that
// decides its bytes. A file is its key and a checksum on one line, then the object; what does not match is
// compiled again. Several processes may share a folder: entries appear by rename, whole or not at all.
#include "codegen/compile.h"
#include "codegen/generators_version.h"
#include "runtime/format/checksum.h"
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>
#include <vector>

namespace bitnet::codegen {
namespace {

namespace fs = std::filesystem;

std::string entry_header(const KernelSpec &spec, const std::string &object) {
  char sum[17];
  std::snprintf(sum, sizeof sum, "%016" PRIx64, format::bytes_checksum(object.data(), object.size()));
  return to_string(spec) + " generators=" BITNET_GENERATORS_VERSION " xxh3=" + sum + "\n";
}

bool read_entry(const fs::path &path, const KernelSpec &spec, std::string *object) {
  std::ifstream file(path, std::ios::binary);
  std::string header;
  if (!std::getline(file, header))
    return false;
  std::ostringstream rest;
  rest << file.rdbuf();
  *object = rest.str();
  return header + "\n" == entry_header(spec, *object);
}

/// A cache that cannot be written costs time, not correctness: failures are not reported.
void write_entry(const fs::path &path, const KernelSpec &spec, const std::string &object) {
  std::error_code ignored;
  fs::create_directories(path.parent_path(), ignored);
  std::string temporary = path.string() + ".XXXXXX";
  const int file = mkstemp(temporary.data());
  if (file < 0)
    return;
  const std::string bytes = entry_header(spec, object) + object;
  const bool written = write(file, bytes.data(), bytes.size()) == ssize_t(bytes.size());
  close(file);
  if (!written || std::rename(temporary.c_str(), path.c_str()) != 0)
    unlink(temporary.c_str());
}

} // namespace

const char *generators_version() { return BITNET_GENERATORS_VERSION; }

void trim_kernel_cache(const std::string &cache_dir, uint64_t max_bytes) {
  struct Entry {
    fs::file_time_type used;
    uint64_t size;
    fs::path path;
  };
  std::vector<Entry> entries;
  uint64_t total = 0;
  std::error_code error; // what another process removes meanwhile is gone as well
  for (const fs::directory_entry &file : fs::directory_iterator(cache_dir, error)) {
    const auto used = file.last_write_time(error);
    const uint64_t size = error ? 0 : file.file_size(error);
    const std::string name = file.path().filename().string();
    if (error)
      continue;
    if (name.size() > 2 && name.compare(name.size() - 2, 2, ".o") == 0) {
      entries.push_back({used, size, file.path()});
      total += size;
    } else if (name.find(".o.") != std::string::npos &&
               fs::file_time_type::clock::now() - used > std::chrono::hours(1)) {
      fs::remove(file.path(), error);
    }
  }
  std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) { return a.used < b.used; });
  for (const Entry &entry : entries) {
    if (total <= max_bytes)
      return;
    fs::remove(entry.path, error);
    total -= entry.size;
  }
}

bool compile_kernel_cached(const KernelSpec &spec, const std::string &cache_dir, std::string *object,
                           bool *hit, std::string *error) {
  *hit = false;
  if (cache_dir.empty() || !spec_error(spec).empty())
    return compile_kernel(spec, Emit::object, object, error);
  const fs::path path = fs::path(cache_dir) / (symbol(spec) + "-" BITNET_GENERATORS_VERSION ".o");
  if (read_entry(path, spec, object)) {
    *hit = true;
    std::error_code ignored;
    fs::last_write_time(path, fs::file_time_type::clock::now(),
                        ignored); // when it was used: trim_kernel_cache
    return true;
  }
  if (!compile_kernel(spec, Emit::object, object, error))
    return false;
  write_entry(path, spec, *object);
  return true;
}

} // namespace bitnet::codegen
