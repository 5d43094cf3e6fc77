// See image.h. Memory is never writable and executable at once.
#include "runtime/bundle/image.h"
#include <cerrno>
#include <cstring>
#include <sys/mman.h>

namespace bitnet::runtime {

Result<LoadedImage> load_image(const Image &image) {
  auto memory = map_memory(image.bytes.size, "kernel image");
  if (!memory.ok())
    return std::move(memory).status();
  uint8_t *const base = memory->data();
  std::memcpy(base, image.bytes.data, image.bytes.size);
  for (const Fixup &f : image.fixups) {
    const uint64_t address = reinterpret_cast<uint64_t>(base) + f.target;
    std::memcpy(base + f.at, &address, sizeof address);
  }
  const size_t code = image.ro_offset, data = image.bytes.size - code;
  if (mprotect(base, code, PROT_READ | PROT_EXEC) != 0 ||
      (data > 0 && mprotect(base + code, data, PROT_READ) != 0))
    return unsupported(std::string("kernel image: the system does not allow executable memory: ") +
                       strerror(errno));
  __builtin___clear_cache(reinterpret_cast<char *>(base), reinterpret_cast<char *>(base) + code);
  LoadedImage loaded;
  loaded.memory_ = std::move(*memory);
  return loaded;
}

} // namespace bitnet::runtime
