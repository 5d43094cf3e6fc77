// bitnetc as a program: what --help says, what a wrong command line or a bad checkpoint gets, what --emit
// prints, and that nothing half-written stays behind.
#include "test/tools/program.h"
#include <algorithm>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
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
  for (const char *flag : {"--target=LIST",
                           "-o, --output=FILE",
                           "--tokenizer=FILE",
                           "--set=KEY=VALUE",
                           "--head=KIND",
                           "--emit=KIND",
                           "--packing=KIND",
                           "--max-rows=N",
                           "--no-fuse",
                           "--no-skip",
                           "--explain",
                           "--print-ir-after-all",
                           "--print-ir-after=PASS",
                           "--time-passes",
                           "--list-targets",
                           "-j, --jobs=N",
                           "--cache-dir=DIR",
                           "--no-cache",
                           "--json",
                           "--tune[=SECONDS]",
                           "--no-tuned",
                           "-v, --verbose",
                           "--version",
                           "-h, --help",
                           "activation"})
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
      {{"a.gguf", "--tune=0"}, "--tune: expected seconds from 1 to 86400, got '0'"},
      {{"a.gguf", "--tune", "--no-tuned"}, "--tune and --no-tuned: expected one of them, got both"},
      {{"a.gguf", "--tune", "--emit=asm"}, "--tune: expected to make a bundle, got another --emit"},
      {{"a.gguf", "--head=f8"}, "--head: expected exact, f16 or q8, got 'f8'"},
      {{"a.gguf", "--packing=t4"}, "--packing: expected auto, t2, t3 or t5, got 't4'"},
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
  EXPECT_NE(specs.out.find("linear_t2 n=512 k=256 epilogue=none rows=1 cpu=avx2\n"), std::string::npos)
      << specs.out;
  EXPECT_NE(specs.out.find("cpu=avx512vnni\n"), std::string::npos);
  for (const std::string packing : {"t3", "t5"}) {
    const Ran other = bitnetc({model(), "--emit=specs", "--target=avx512", "--packing=" + packing});
    EXPECT_NE(other.out.find("linear_" + packing + " n=512 k=256"), std::string::npos) << other.out;
    EXPECT_EQ(other.out.find("linear_t2"), std::string::npos) << other.out;
  }
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

/// The file of tiles in a cache folder, or empty.
std::string tilesIn(const std::string &cache) {
  for (const auto &entry : std::filesystem::directory_iterator(cache))
    if (entry.path().filename().string().rfind("tiles-", 0) == 0)
      return entry.path().string();
  return "";
}

std::string said(const std::string &bundle) {
  const Ran ran = runBitnet({"run", bundle, "--prompt", "In the beginning", "-n", "24"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  return ran.out;
}

TEST(BitnetcTune, KeepsWhatItFoundAndChangesNoNumber) {
  const std::string cache = scratch("tune-cache"), plain = scratch("plain.bnx"), tuned = scratch("tuned.bnx");
  ASSERT_EQ(bitnetc({model(), "-o", plain, "--cache-dir", cache}).code, 0);
  EXPECT_EQ(tilesIn(cache), "");
  // Ten seconds are enough for some kernels, but not on a slow machine.
  for (const char *seconds : {"10", "60", "600"})
    if (tilesIn(cache).empty()) {
      const Ran first =
          bitnetc({model(), "-o", tuned, "--cache-dir", cache, std::string("--tune=") + seconds, "--json"});
      ASSERT_EQ(first.code, 0) << first.err;
    }
  const std::string tiles = tilesIn(cache), found = contents(tiles);
  EXPECT_EQ(found.rfind("bitnet tiles: cpu ", 0), 0u) << found;
  ASSERT_GT(std::count(found.begin(), found.end(), '\n'), 1);

  // Whatever was found, from here on every kernel of the file has a tile that is not the generator's own.
  std::istringstream lines(found);
  std::string forced, line;
  std::getline(lines, forced);
  while (std::getline(lines, line)) {
    const std::string spec = line.substr(line.find("linear"));
    const bool single = spec.find("rows=1 ") != std::string::npos;
    forced += (single ? "\n1 1 0.5 " : "\n1 2 0.5 ") + spec;
  }
  std::ofstream(tiles) << forced
                       << "\nnonsense\n9 9 0.5 linear_t2 n=512 k=256 epilogue=none rows=1 cpu=portable\n";
  const Ran second = bitnetc({model(), "-o", tuned, "--cache-dir", cache, "--json"});
  ASSERT_EQ(second.code, 0) << second.err;
  const auto json = nlohmann::json::parse(second.out);
  ASSERT_FALSE(json["tuned_kernels"].empty());
  EXPECT_NE(json["tuned_kernels"][0].get<std::string>().find(": tile of "), std::string::npos);
  EXPECT_TRUE(contents(tuned) != contents(plain));
  EXPECT_EQ(said(tuned), said(plain));

  // Left alone, and for a named family (the same on every machine), the bytes are those of a plain compile.
  ASSERT_EQ(bitnetc({model(), "-o", tuned, "--cache-dir", cache, "--no-tuned"}).code, 0);
  EXPECT_TRUE(contents(tuned) == contents(plain));
  std::filesystem::remove_all(cache);
}

TEST(BitnetcTune, AnInterruptLeavesWholeLines) {
  const std::string cache = scratch("tune-interrupt");
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int milliseconds : {300, 1500}) {
    const pid_t child = start(
        {binary("bitnetc"), model(), "--cache-dir", cache, "--tune=30", "-o", scratch("interrupted.bnx")},
        null, null, null);
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(child, SIGINT);
    const int code = waitFor(child);
    if (!std::filesystem::exists(cache))
      continue;
    for (const auto &entry : std::filesystem::directory_iterator(cache)) {
      const std::string name = entry.path().filename().string();
      if (name.rfind("tiles-", 0) != 0)
        continue;
      EXPECT_EQ(name.substr(name.size() - 4), ".txt") << "no temporary file, exit status " << code;
      const std::string text = contents(entry.path().string());
      EXPECT_EQ(text.back(), '\n');
      EXPECT_TRUE(
          std::regex_match(text, std::regex("bitnet tiles: [^\n]+\n(\\d \\d [0-9.]+ linear[^\n]+\n)+")))
          << text;
    }
  }
  close(null);
  std::filesystem::remove_all(cache);
}

} // namespace
