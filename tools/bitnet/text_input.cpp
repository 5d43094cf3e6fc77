#include "tools/bitnet/text_input.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <unistd.h>

namespace bitnet::tools {

std::string readFile(const std::string &path) {
  const bool standard_input = path == "-";
  std::unique_ptr<FILE, int (*)(FILE *)> opened(nullptr, std::fclose);
  FILE *file = stdin;
  if (!standard_input) {
    opened.reset(std::fopen(path.c_str(), "rb"));
    file = opened.get();
    if (!file)
      throw Failure(path + ": cannot open: " + std::strerror(errno));
  }
  std::string bytes;
  char block[1 << 16];
  for (size_t n; (n = std::fread(block, 1, sizeof block, file)) > 0;)
    bytes.append(block, n);
  if (std::ferror(file))
    throw Failure((standard_input ? "standard input" : path) + ": cannot read: " + std::strerror(errno));
  return bytes;
}

void TextInput::declare(Arguments &arguments) {
  arguments.option("-p, --prompt", "TEXT", text, "the text; - is standard input");
  arguments.option("-f, --file", "FILE", file, "the text is in this file; - is standard input");
}

std::string TextInput::read(const Arguments &arguments) const {
  const bool has_text = arguments.given("--prompt"), has_file = arguments.given("--file");
  if (has_text && has_file)
    throw UsageError("expected one of --prompt and --file, got both");
  if (has_text && text != "-")
    return text;
  if (has_file)
    return readFile(file);
  if (!has_text && isatty(STDIN_FILENO))
    throw UsageError("no text: give --prompt TEXT or --file FILE, or pipe it in");
  return readFile("-");
}

} // namespace bitnet::tools
