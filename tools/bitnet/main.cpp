// bitnet: the runtime's command line. It knows which subcommand to call and what an exit code means, nothing
// more. Exit codes: 0 done, 1 it failed, 2 the command line is wrong, 130 ended by Ctrl-C.
#include "runtime/api/bitnet.h"
#include "tools/bitnet/arguments.h"
#include "tools/bitnet/subcommands.h"

#include <cstdio>
#include <new>
#include <string>

namespace {

struct Subcommand {
  const char *name;
  int (*call)(int argc, char **argv);
  const char *summary;
};
constexpr Subcommand kSubcommands[] = {
    {"run", bitnet::tools::run, "write text that continues a prompt"},
    {"embed", bitnet::tools::embed, "turn texts into vectors, with a model made for it"},
    {"tokenize", bitnet::tools::tokenize, "turn text into token ids, and ids into text"},
    {"perplexity", bitnet::tools::perplexity, "measure how well a model predicts a text"},
    {"bench", bitnet::tools::bench, "measure prompt and generation speed"},
    {"inspect", bitnet::tools::inspect, "show what a bundle holds"},
};

void printHelp() {
  std::printf("bitnet runs ternary language models that bitnetc has compiled (.bnx).\n\n"
              "usage: bitnet SUBCOMMAND MODEL [flags]\n\n");
  for (const Subcommand &subcommand : kSubcommands)
    std::printf("  %-12s %s\n", subcommand.name, subcommand.summary);
  std::printf("\nflags: --help, --version; 'bitnet SUBCOMMAND --help' lists a subcommand's flags\n"
              "exit codes: 0 done, 1 failed, 2 wrong command line, 130 interrupted\n");
}

int usageError(const std::string &where, const std::string &message) {
  std::fprintf(stderr, "error: %s: %s; see %s --help\n", where.c_str(), message.c_str(), where.c_str());
  return 2;
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2)
    return usageError("bitnet", "expected a subcommand");
  const std::string name = argv[1];
  if (name == "--help" || name == "-h" || name == "help")
    return printHelp(), 0;
  if (name == "--version")
    return std::printf("bitnet %s\n", bitnet_version()), 0;
  for (const Subcommand &subcommand : kSubcommands) {
    if (name != subcommand.name)
      continue;
    try {
      const int code = subcommand.call(argc - 2, argv + 2);
      if (std::fflush(stdout) != 0 || std::ferror(stdout))
        throw bitnet::tools::Failure("standard output: cannot write");
      return code;
    } catch (const bitnet::tools::UsageError &error) {
      return usageError("bitnet " + name, error.what());
    } catch (const bitnet::tools::Failure &error) {
      return std::fprintf(stderr, "error: %s\n", error.what()), 1;
    } catch (const std::bad_alloc &) {
      return std::fprintf(stderr, "error: bitnet %s: out of memory\n", name.c_str()), 1;
    }
  }
  return usageError("bitnet", "unknown subcommand '" + name + "'");
}
