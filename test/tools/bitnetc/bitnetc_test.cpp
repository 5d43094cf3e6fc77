// bitnetc as a program: what --help says, what a wrong command line or a bad checkpoint gets, what --emit
// prints, and that nothing half-written stays behind.
#include "test/tools/program.h"
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <regex>
#include <sys/stat.h>
#include <thread>

using namespace bitnet::test;

namespace {

std::string model() { return environment("BITNET_SOURCE_DIR") + "/test/data/kjv-tq1_0.gguf"; }

Ran bitnetc(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), binary("bitnetc"));
  return run(std::move(arguments));
}

TEST(BitnetcUsage, HelpListsEveryFlag) {
  const Ran help = bitnetc({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.err, "");
  for (const char *flag : {"--target=LIST",        "-o, --output=FILE",
                           "--tokenizer=FILE",     "--set=KEY=VALUE",
                           "--head=KIND",          "--emit=KIND",
                           "--max-rows=N",         "--no-fuse",
                           "--print-ir-after-all", "--print-ir-after=PASS",
                           "--time-passes",        "--list-targets",
                           "-j, --jobs=N",         "--cache-dir=DIR",
                           "--no-cache",           "--json",
                           "-v, --verbose",        "--version",
                           "-h, --help",           "activation"})
    EXPECT_NE(help.out.find(flag), std::string::npos) << flag;
}

TEST(BitnetcUsage, VersionIsOneLine) {
  const Ran version = bitnetc({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_TRUE(std::regex_match(version.out, std::regex("bitnetc \\d+\\.\\d+\\.\\d+\n"))) << version.out;
}

TEST(BitnetcUsage, ListTargetsNamesEachVariant) {
  const Ran targets = bitnetc({"--list-targets"});
  EXPECT_EQ(targets.code, 0);
  for (const char *name : {"portable", "avx2", "avx512 ", "avx512vnni"})
    EXPECT_NE(targets.out.find(name), std::string::npos) << name;
}

TEST(BitnetcUsage, WrongCommandLinesSayWhatIsWrongAndExitWith2) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "expected a checkpoint (.gguf, .safetensors, .pt or a folder), got nothing; see bitnetc --help"},
      {{"a.gguf", "b.gguf"}, "expected one checkpoint, got 'a.gguf' and 'b.gguf'"},
      {{"a.gguf", "--frobnicate"}, "unknown option '--frobnicate'; see bitnetc --help"},
      {{"a.gguf", "--target=sparc"},
       "--target: expected portable, avx2, avx512 or host, got 'sparc'; see --list-targets"},
      {{"a.gguf", "--head=f8"}, "--head: expected f16 or q8, got 'f8'"},
      {{"a.gguf", "--emit=exe"},
       "--emit: expected bnx, bitnet, kernel, specs, stmt, asm, obj or tokenizer, got 'exe'"},
      {{"a.gguf", "--emit=obj"}, "--emit=obj: expected -o FOLDER, got nothing"},
      {{"a.gguf", "--emit=tokenizer"}, "--emit=tokenizer: expected -o FILE, got nothing"},
      {{"a.gguf", "--jobs=0"}, "--jobs: expected a number from 1 to 1024, got '0'"},
      {{"a.gguf", "--json=yes"}, "--json: expected no value, got 'yes'"},
      {{"a.gguf", "--set", "x"}, "--set: expected KEY=VALUE, got 'x'"},
      {{"a.gguf", "-o", "-"}, "--output: expected FILE for a bundle, got '-'; only text goes to stdout"},
      {{"a.gguf", "-o"}, "--output: expected FILE, got nothing"},
  };
  for (const auto &[arguments, message] : cases) {
    const Ran ran = bitnetc(arguments);
    EXPECT_EQ(ran.code, 2) << message;
    EXPECT_EQ(ran.err, "error: " + message + "\n");
    EXPECT_EQ(ran.out, "");
  }
}

TEST(BitnetcErrors, AMissingCheckpointExitsWith1AndOneLine) {
  const Ran ran = bitnetc({"/nowhere/model.gguf", "-o", scratch("x.bnx")});
  EXPECT_EQ(ran.code, 1);
  EXPECT_TRUE(std::regex_match(ran.err, std::regex("error: /nowhere/model.gguf: [^\n]+\n"))) << ran.err;
}

TEST(BitnetcErrors, UnknownSettingsAndPassesAreNamed) {
  EXPECT_NE(bitnetc({model(), "--set", "colour=red"}).err.find("colour"), std::string::npos);
  const Ran pass = bitnetc({model(), "--print-ir-after=nonsense", "-o", scratch("x.bnx")});
  EXPECT_EQ(pass.code, 1);
  EXPECT_EQ(pass.err,
            "error: --print-ir-after: no pass 'nonsense' in the pipeline; compiler/README.md lists them\n");
}

TEST(BitnetcErrors, AFolderThatIsNotThereLeavesNothing) {
  const Ran ran = bitnetc({model(), "-o", scratch("no/such/folder/x.bnx")});
  EXPECT_EQ(ran.code, 1);
  EXPECT_NE(ran.err.find("cannot create: No such file or directory"), std::string::npos) << ran.err;
}

TEST(BitnetcErrors, TheCheckpointIsNotOverwritten) {
  const std::string bytes = contents(model()), copy = fileWith("same.gguf", bytes);
  const Ran ran = bitnetc({copy, "-o", copy});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.err, "error: " + copy +
                         ": expected an output other than the checkpoint, got the same file; -o names "
                         "another\n");
  EXPECT_TRUE(contents(copy) == bytes);
}

/// A pipe of our own stands for /dev/null, which a failing test run as root must not replace.
TEST(BitnetcErrors, WhatIsNotAFileIsNotReplaced) {
  const std::string pipe = scratch("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const char *emit : {"--emit=bnx", "--emit=specs"}) {
    const Ran ran = bitnetc({model(), emit, "-o", pipe});
    EXPECT_EQ(ran.code, 1);
    EXPECT_EQ(ran.err, "error: " + pipe + ": expected a file to write, got a device, pipe or socket\n");
    EXPECT_TRUE(std::filesystem::is_fifo(pipe)) << emit;
  }
}

TEST(BitnetcErrors, ATruncatedCheckpointLeavesNothing) {
  const std::string all = contents(model());
  const std::string cut = fileWith("cut.gguf", all.substr(0, all.size() - 100000));
  const Ran ran = bitnetc({cut, "-o", scratch("cut.bnx")});
  EXPECT_EQ(ran.code, 1);
  for (const auto &entry :
       std::filesystem::directory_iterator(std::filesystem::path(scratch("cut.bnx")).parent_path()))
    EXPECT_EQ(entry.path().filename().string().rfind("cut.bnx", 0), std::string::npos) << entry.path();
}

/// Interrupted at several moments of its work: the status says so and the folder holds only what was there
/// before.
TEST(BitnetcInterrupt, LeavesNothingHalfWritten) {
  const std::filesystem::path folder = scratch("interrupt");
  std::filesystem::create_directory(folder);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int milliseconds : {5, 20, 60, 200}) {
    const pid_t child = start({binary("bitnetc"), model(), "--no-cache", "-o", (folder / "x.bnx").string()},
                              null, null, null);
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(child, SIGINT);
    const int code = waitFor(child);
    if (code == 0) { // it was quicker
      std::filesystem::remove(folder / "x.bnx");
      continue;
    }
    EXPECT_EQ(code, 128 + SIGINT);
    EXPECT_TRUE(std::filesystem::is_empty(folder)) << "after " << milliseconds << " ms";
  }
  close(null);
}

TEST(BitnetcEmit, TheDialectsAndTheKernels) {
  const Ran graph = bitnetc({model(), "--emit=bitnet"});
  EXPECT_EQ(graph.code, 0);
  EXPECT_NE(graph.out.find("bitnet.ternary_linear"), std::string::npos);
  EXPECT_EQ(graph.out.find("kernel.call"), std::string::npos);
  const Ran plan = bitnetc({model(), "--emit=kernel"});
  EXPECT_EQ(plan.code, 0);
  EXPECT_NE(plan.out.find("kernel.call"), std::string::npos);
  const Ran specs = bitnetc({model(), "--emit=specs", "--target=avx2,avx512"});
  EXPECT_EQ(specs.code, 0);
  EXPECT_NE(specs.out.find("linear_t2 n=512 k=256 add=0 rows=1 cpu=avx2\n"), std::string::npos) << specs.out;
  EXPECT_NE(specs.out.find("cpu=avx512vnni\n"), std::string::npos);
}

TEST(BitnetcEmit, TheTokenizerOfACheckpointAndOfATokenizerFile) {
  const std::string folder = scratch("tokenizers");
  std::filesystem::create_directories(folder);
  const std::string gguf = folder + "/gguf.tok", ranks = folder + "/ranks.tok",
                    rankFile = folder + "/tokenizer.model";
  const Ran ran = bitnetc({model(), "--emit=tokenizer", "-o", gguf, "--json"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(nlohmann::json::parse(ran.out)["tokens"], 4096);
  EXPECT_EQ(contents(gguf).substr(4, 4), "BNXT"); // the file identifier of tokenizer.fbs
  std::string lines;                              // a tiktoken rank file of the tokens "A", "B" and "AB"
  for (const char *line : {"QQ== 0", "Qg== 1", "QUI= 2"})
    lines += std::string(line) + "\n";
  std::ofstream(rankFile) << lines;
  std::ofstream(folder + "/model_state.pt"); // is not looked at
  std::string first;
  for (const std::string &source : {rankFile, folder, folder + "/model_state.pt"}) {
    const Ran one = bitnetc({source, "--emit=tokenizer", "-o", ranks});
    ASSERT_EQ(one.code, 0) << one.err;
    EXPECT_EQ(one.err, "wrote " + ranks + ": a tokenizer of 259 tokens\n");
    EXPECT_EQ(contents(ranks).substr(4, 4), "BNXT");
    EXPECT_EQ(first.empty() ? contents(ranks) : first, contents(ranks));
    first = contents(ranks);
  }
  std::filesystem::remove(rankFile);
  const Ran none = bitnetc({folder, "--emit=tokenizer", "-o", ranks});
  EXPECT_EQ(none.code, 1);
  EXPECT_EQ(none.err,
            "error: " + folder +
                ": expected a tokenizer in it or beside it (tokenizer.json or tokenizer.model), got none\n");
}

TEST(BitnetcEmit, PrintsIrAfterAPass) {
  const Ran ran = bitnetc({model(), "--emit=specs", "--print-ir-after=bitnet-merge-projections"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_NE(ran.err.find("bitnet-merge-projections"), std::string::npos);
  EXPECT_NE(ran.err.find("bitnet.split"), std::string::npos);
}

TEST(BitnetcJson, IsOneObjectOnStdout) {
  const Ran ran = bitnetc({model(), "--json", "-o", scratch("json.bnx")});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const auto result = nlohmann::json::parse(ran.out);
  EXPECT_EQ(result["ternary_weights"], 4718592);
  EXPECT_EQ(result["file_bytes"], std::filesystem::file_size(scratch("json.bnx")));
}

} // namespace
