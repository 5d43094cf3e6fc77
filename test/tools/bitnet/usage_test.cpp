// The command line itself: what --help says, and what a wrong command line gets.
#include "test/tools/program.h"

#include <gtest/gtest.h>
#include <regex>

using namespace bitnet::test;

namespace {

const std::vector<std::pair<std::string, std::vector<std::string>>> kFlags = {
    {"run",
     {"--prompt",
      "--file",
      "--tokens",
      "--n-predict",
      "--temp",
      "--top-k",
      "--top-p",
      "--min-p",
      "--seed",
      "--stop",
      "--repeat-penalty",
      "--repeat-last-n",
      "--ignore-eos",
      "--chat",
      "--system",
      "--template-arg",
      "--echo",
      "--json",
      "--dump-logits",
      "--chunk",
      "--cpu",
      "--threads",
      "--context",
      "--presence-penalty",
      "--frequency-penalty",
      "--speculate"}},
    {"tokenize", {"--prompt", "--file", "--ids", "--no-special", "--parse-special", "--json"}},
    {"embed", {"--file", "--json", "--cpu", "--threads", "--context"}},
    {"perplexity", {"--window", "--one-document", "--json", "--cpu", "--threads", "--context"}},
    {"bench",
     {"--n-prompt", "--n-gen", "--depth", "--rows", "--without-head", "--threads", "--repetitions",
      "--limits", "--on-request", "--json", "--cpu", "--context"}},
    {"inspect", {"--all", "--verify", "--json", "--cpu"}},
};

TEST(BitnetUsage, HelpNamesEverySubcommand) {
  const Ran help = runBitnet({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.err, "");
  for (const auto &[subcommand, flags] : kFlags)
    EXPECT_NE(help.out.find("\n  " + subcommand + " "), std::string::npos) << subcommand;
}

TEST(BitnetUsage, HelpOfASubcommandListsItsFlagsAndNoOthers) {
  for (const auto &[subcommand, flags] : kFlags) {
    const Ran help = runBitnet({subcommand, "--help"});
    EXPECT_EQ(help.code, 0);
    std::vector<std::string> found;
    const std::regex flag_line("\n  (?:-[a-z], )?(--[a-z-]+)");
    for (std::sregex_iterator it(help.out.begin(), help.out.end(), flag_line), end; it != end; ++it)
      found.push_back((*it)[1]);
    std::vector<std::string> expected = flags;
    expected.push_back("--help");
    std::sort(found.begin(), found.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(found, expected) << subcommand;
  }
}

TEST(BitnetUsage, VersionIsOneLine) {
  const Ran version = runBitnet({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(std::regex_match(version.out, std::regex("bitnet \\d+\\.\\d+\\.\\d+\\S*\n"))) << version.out;
}

struct Wrong {
  std::vector<std::string> arguments;
  std::string message;
};

TEST(BitnetUsage, WrongCommandLinesSayWhatIsWrongAndExitWith2) {
  const std::vector<Wrong> cases = {
      {{}, "error: bitnet: expected a subcommand; see bitnet --help\n"},
      {{"fly"}, "error: bitnet: unknown subcommand 'fly'; see bitnet --help\n"},
      {{"run"},
       "error: bitnet run: missing argument MODEL: a compiled model (.bnx), see bitnetc; see bitnet run "
       "--help\n"},
      {{"run", "m.bnx", "--wings"}, "error: bitnet run: unknown flag '--wings'; see bitnet run --help\n"},
      {{"run", "m.bnx", "other"}, "error: bitnet run: unexpected argument 'other'; see bitnet run --help\n"},
      {{"run", "m.bnx", "-n"}, "error: bitnet run: flag '-n' needs a value: N; see bitnet run --help\n"},
      {{"run", "m.bnx", "-n", "2x"},
       "error: bitnet run: flag '-n': expected a whole number, got '2x'; see bitnet run --help\n"},
      {{"run", "m.bnx", "-n", "0"},
       "error: bitnet run: flag '--n-predict': expected 1 or more, or -1, got 0; see bitnet run --help\n"},
      {{"run", "m.bnx", "--speculate", "16"},
       "error: bitnet run: flag '--speculate': expected auto, off, ngram or a number from 1 to 15, got '16'; "
       "see bitnet "
       "run --help\n"},
      {{"run", "m.bnx", "--temp", ""},
       "error: bitnet run: flag '--temp': expected a number, got ''; see bitnet run --help\n"},
      {{"run", "m.bnx", "--temp", "nan"},
       "error: bitnet run: flag '--temp': expected a number, got 'nan'; see bitnet run --help\n"},
      {{"run", "m.bnx", "--json=1"},
       "error: bitnet run: flag '--json' takes no value; see bitnet run --help\n"},
      {{"run", "m.bnx", "--tokens", "1,,2"},
       "error: bitnet run: flag '--tokens': expected whole numbers with commas between, got ''; see bitnet "
       "run --help\n"},
      {{"bench", "m.bnx", "-r", "0"},
       "error: bitnet bench: flag '--repetitions': expected 1 or more, got 0; see bitnet bench --help\n"},
      {{"bench", "m.bnx", "--rows", "0"},
       "error: bitnet bench: flag '--rows': expected 1 or more, got 0; see bitnet bench --help\n"},
      {{"bench", "m.bnx", "-p", "0", "-n", "0"},
       "error: bitnet bench: nothing to measure: expected --n-prompt or --n-gen above 0; see bitnet bench "
       "--help\n"},
      {{"embed", "m.bnx"},
       "error: bitnet embed: expected texts, or a file with -f; see bitnet embed --help\n"},
      {{"embed", "m.bnx", "a", "-f", "b"},
       "error: bitnet embed: expected texts or -f, got both; see bitnet embed --help\n"},
      {{"perplexity", "m.bnx"},
       "error: bitnet perplexity: missing argument FILE: the text; - is standard input; see bitnet "
       "perplexity --help\n"},
  };
  for (const Wrong &wrong : cases) {
    const Ran ran = runBitnet(wrong.arguments);
    EXPECT_EQ(ran.code, 2) << wrong.message;
    EXPECT_EQ(ran.err, wrong.message);
    EXPECT_EQ(ran.out, "");
  }
}

TEST(BitnetUsage, AMissingModelIsAFailureOfOneLine) {
  const Ran ran = runBitnet({"run", "/nowhere/m.bnx", "-p", "x"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err.rfind("error: /nowhere/m.bnx: ", 0), 0u) << ran.err;
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
}

TEST(BitnetUsage, OutputThatCannotBeWrittenIsAFailure) {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  const std::string err = scratch("full.err");
  const int errors = open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  EXPECT_EQ(waitFor(start({binary("bitnet"), "run", "--help"}, STDIN_FILENO, full, errors)), 1);
  EXPECT_EQ(contents(err), "error: standard output: cannot write\n");
  close(full);
  close(errors);
}

} // namespace
