// The subcommands of `bitnet`, one file each. Each takes the arguments after its name, prints results on
// standard output and the rest on standard error, and returns the exit code or throws UsageError or Failure.
#pragma once

namespace bitnet::tools {

int bench(int argc, char **argv);
int embed(int argc, char **argv);
int inspect(int argc, char **argv);
int perplexity(int argc, char **argv);
int run(int argc, char **argv);
int tokenize(int argc, char **argv);

} // namespace bitnet::tools
