// Guards on the machine code of every op and CPU variant: what a schedule or an upgrade of Halide could
// silently lose, and what would break a promise made elsewhere (bit identity, the CPU check at load, no
// runtime behind a kernel).
#include "codegen/compile.h"
#include "codegen/elf_object.h"
#include "test/codegen/assembly_loops.h"
#include <cstdio>
#include <gtest/gtest.h>
#include <map>
#include <regex>
#include <sstream>
#include <unistd.h>

namespace bitnet::codegen {
namespace {

using format::CpuFeature;
using format::CpuVariant;

const char *const kKernels[] = {
    "embed n=1024 k=256 rows=0",
    "rms_norm k=320 eps=1e-05 rows=0",
    "quantize k=256 rows=0",
    "norm_quant k=2560 eps=1e-05 rows=0",
    "gate k=320 act=silu rows=0",
    "gate_quant k=256 act=gelu rows=0",
    "gate_norm_quant k=6912 act=relu2 eps=1e-05 rows=0",
    "add k=320 rows=0",
    "linear_t2 n=2560 k=6912 epilogue=residual rows=1",
    "linear_t2 n=2560 k=6912 epilogue=residual rows=2",
    "linear_t2 n=2560 k=6912 epilogue=residual rows=4",
    "linear_t2 n=2560 k=6912 epilogue=residual rows=8",
    "linear_t2 n=2560 k=6912 epilogue=residual rows=0",
    "linear_t2 n=2560 k=6912 epilogue=residual group=128 rows=1",
    "linear_t2 n=2560 k=6912 epilogue=residual group=64 rows=2",
    "linear_t2 n=2560 k=6912 epilogue=residual group=256 rows=8",
    "linear_t2 n=2560 k=6912 epilogue=residual group=128 rows=0",
    "group_sums k=2560 group=128 rows=0",
    "linear_t3 n=2560 k=6912 epilogue=residual rows=1",
    "linear_t3 n=2560 k=6912 epilogue=residual rows=4",
    "linear_t3 n=2560 k=6912 epilogue=residual rows=0",
    "linear_t5 n=2560 k=6912 epilogue=residual rows=1",
    "linear_t5 n=2560 k=6912 epilogue=residual rows=4",
    "linear_t5 n=2560 k=6912 epilogue=residual rows=8",
    "linear_t5 n=2560 k=6912 epilogue=residual rows=0",
    "linear_t2 n=6912 k=2560 epilogue=gate act=silu rows=1",
    "linear_t2 n=6912 k=2560 epilogue=gate act=relu2 rows=8",
    "linear_t3 n=6912 k=2560 epilogue=gate act=relu2 rows=1",
    "linear_s8 n=2560 k=2560 rows=1",
    "linear_s8 n=2560 k=2560 rows=0",
    "linear_f16 n=2560 k=2560 rows=1",
    "linear_f16 n=2560 k=2560 rows=0",
    "screen_q4 n=2560 k=2560 rows=1",
    "screen_q4 n=2560 k=2560 rows=0",
    "rescore_f16 n=2560 k=2560 rows=0",
    "rope heads=25 head_dim=128 context=4096 rows=0",
    "kv_append kv_heads=5 head_dim=128 rows=0",
    "attention heads=20 kv_heads=5 head_dim=128 rows=0",
    "kv_append_q8 kv_heads=5 head_dim=128 rows=0",
    "attention_q8 heads=20 kv_heads=5 head_dim=128 rows=0",
    "attention_chunk heads=20 kv_heads=5 head_dim=128 rows=0",
    "attention_chunk_q8 heads=20 kv_heads=5 head_dim=128 rows=0",
    "attention_merge heads=20 kv_heads=5 head_dim=128 rows=0",
    "gather_rows k=320 rows=0",
    "skip_up n=6912 k=2560 rows=0",
    "skip_up n=6912 k=2560 rows=1",
    "skip_up n=6912 k=2560 rows=2",
    "skip_up n=6912 k=2560 rows=4",
    "skip_up n=6912 k=2560 rows=8",
    "skip_down n=2560 k=6912 rows=0",
    "skip_down n=2560 k=6912 rows=1",
    "skip_down n=2560 k=6912 rows=2",
    "skip_down n=2560 k=6912 rows=4",
    "skip_down n=2560 k=6912 rows=8",
    "skip_sum n=2560 epilogue=residual rows=0",
};

/// Compiled once for all tests.
const std::string &emit(const std::string &text, Emit what) {
  static std::map<std::pair<std::string, Emit>, std::string> done;
  const auto [at, is_new] = done.try_emplace({text, what});
  if (is_new) {
    std::string error;
    const std::optional<KernelSpec> spec = parse_kernel_spec(text, &error);
    EXPECT_TRUE(spec && compile_kernel(*spec, what, &at->second, &error)) << error;
  }
  return at->second;
}

using codegen::count; // beside those of a text

/// Instructions that the pattern is found in; their text starts with the mnemonic and ends with LLVM's
/// comment.
size_t count(const std::string &assembly, const std::regex &pattern) {
  std::istringstream lines(assembly);
  size_t n = 0;
  for (std::string line; std::getline(lines, line);)
    n += line.size() > 1 && line[0] == '\t' && line[1] != '.' && std::regex_search(line.substr(1), pattern);
  return n;
}
size_t count(const std::string &assembly, const char *pattern) {
  return count(assembly, std::regex(pattern));
}

class GeneratedCode : public testing::TestWithParam<CpuVariant> {
protected:
  std::string variant() const { return format::cpu_variant(GetParam()).name; }
  std::string with_cpu(const char *kernel) const { return std::string(kernel) + " cpu=" + variant(); }
};

/// The variant as GNU as spells it. (LLVM's assembler accepts every x86 instruction whatever -mattr says.)
std::string assembler_machine(CpuVariant cpu) {
  static const std::map<std::string, std::string> spelling = {{"bmi1", "bmi"},
                                                              {"avx512vnni", "avx512_vnni"},
                                                              {"avx512vbmi2", "avx512_vbmi2"},
                                                              {"avx512bitalg", "avx512_bitalg"},
                                                              {"avx512vpopcntdq", "avx512_vpopcntdq"}};
  std::string text = "generic64";
  for (size_t f = 0; f < size_t(CpuFeature::count); ++f)
    if (format::cpu_variant(cpu).features & format::bit(CpuFeature(f))) {
      const std::string name = format::cpu_feature_name(CpuFeature(f));
      text += "+" + (spelling.count(name) ? spelling.at(name) : name);
    }
  return text;
}

/// First line that the assembler says about this code on a machine with only these features, or empty.
std::string assembler_says(const std::string &assembly, const std::string &machine) {
  char path[] = "/tmp/bitnet-generated-code-XXXXXX";
  FILE *file = fdopen(mkstemp(path), "w");
  fwrite(assembly.data(), 1, assembly.size(), file);
  fclose(file);
  FILE *assembler =
      popen(("as -march=" + machine + " -o /dev/null " + path + " 2>&1 | grep -v Assembler").c_str(), "r");
  char line[512] = "";
  const std::string said = fgets(line, sizeof line, assembler) ? line : "";
  pclose(assembler);
  unlink(path);
  return said;
}

TEST_P(GeneratedCode, NeedsNoFeatureThatTheVariantLacks) {
  for (const char *kernel : kKernels)
    EXPECT_EQ(assembler_says(emit(with_cpu(kernel), Emit::assembly), assembler_machine(GetParam())), "")
        << kernel;
}

/// The guard above must be able to fail: these kernels need what sets their variant apart.
TEST(FeatureGuard, SeesMissingFeatures) {
  const std::string &vnni =
      emit("linear_t2 n=3840 k=2560 epilogue=none rows=1 cpu=avx512vnni", Emit::assembly);
  EXPECT_NE(assembler_says(vnni, assembler_machine(CpuVariant::avx512)).find("not supported"),
            std::string::npos);
  const std::string &avx2 = emit("linear_t2 n=3840 k=2560 epilogue=none rows=1 cpu=avx2", Emit::assembly);
  EXPECT_NE(assembler_says(avx2, assembler_machine(CpuVariant::portable)).find("not supported"),
            std::string::npos);
}

TEST_P(GeneratedCode, NeverContractsOrApproximates) {
  for (const char *kernel : kKernels)
    EXPECT_EQ(count(emit(with_cpu(kernel), Emit::assembly), "^(vfn?m|v?rsqrt|v?rcp)"), 0u) << kernel;
}

TEST_P(GeneratedCode, CallsNothing) {
  for (const char *kernel : kKernels) {
    const std::string bytes = emit(with_cpu(kernel), Emit::object);
    ElfObject object;
    std::string error;
    ASSERT_TRUE(parse_elf(bytes, &object, &error)) << error;
    for (const ElfSymbol &s : object.symbols)
      if (s.section == ElfSymbol::kUndefined && !s.local) {
        EXPECT_TRUE(s.name == "memset" || s.name == "memcpy") << with_cpu(kernel) << " needs " << s.name;
      }
  }
}

/// Layouts that do not match a schedule show as bytes moved one by one, tiles that do not fit as spilled
/// registers. With 16 registers the one-token kernels spill some sums on purpose (generators/linear.cpp).
TEST_P(GeneratedCode, LinearKernelsStayInVectorRegisters) {
  // Base 3 without vpdpbusd is there for bundles of several targets, and not tuned.
  for (const char *kernel : kKernels) {
    if (std::string(kernel).rfind("linear", 0) != 0)
      continue;
    const bool untuned =
        std::string(kernel).rfind("linear_t3", 0) == 0 && GetParam() != CpuVariant::avx512vnni;
    // The float sums of a tile wait beside the loop over a group's inputs, if need be on the stack.
    const size_t waiting = std::string(kernel).find(" group=") != std::string::npos ? 16 : 0;
    const size_t allowed = waiting + (untuned ? 256 : GetParam() >= CpuVariant::avx512 ? 16 : 128);
    const std::string assembly = emit(with_cpu(kernel), Emit::assembly);
    EXPECT_EQ(count(assembly, "^v?(pinsrb|pextrb|pgather)"), 0u) << with_cpu(kernel);
    EXPECT_LE(count(assembly, "(16|32|64)-byte (Folded )?Spill"), allowed) << with_cpu(kernel);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryVariant, GeneratedCode,
                         testing::Values(CpuVariant::portable, CpuVariant::avx2, CpuVariant::avx512,
                                         CpuVariant::avx512vnni),
                         [](const auto &info) { return std::string(format::cpu_variant(info.param).name); });

void expect_no_vector_spilled(const Assembly &assembly) {
  EXPECT_EQ(count(assembly.all, "(16|32|64)-byte (Folded )?Spill"), 0u);
}

void expect_one_dot_product_for_every_plane(const Instructions &loop) {
  EXPECT_EQ(count(loop, "^vpdpbusd\t"), 16u);
  EXPECT_EQ(count(loop, "^vpand"), 16u);
  EXPECT_EQ(count(loop, "^(vgf2p8affineqb|vps[rl]l)"), 0u);
  EXPECT_EQ(count(loop, "^vmov.*\\(%r"), 4u);
  EXPECT_EQ(count(loop, "^vpbroadcastd.*\\(%r"), 4u);
  EXPECT_EQ(count(loop, "Spill|Reload"), 0u);
}

/// The decode loop at its best: for 16 inputs of 4 stripes, 4 lines loaded, none of them shifted, 4
/// activations broadcast, 16 dot products.
TEST(DecodeLoop, HasOneDotProductForEveryPlaneOfEveryLine) {
  const Assembly assembly = assembly_of("linear_t2 n=3840 k=2560 epilogue=none rows=1 cpu=avx512vnni");
  const Instructions loop = assembly.hottest_loop("^vpdpbusd\t");
  expect_one_dot_product_for_every_plane(loop);
  expect_no_vector_spilled(assembly);
}

/// Scales of groups leave the loop over a group's inputs as it is, their sums wait in registers, and what
/// they cost stands after it.
TEST(DecodeLoop, IsTheSameForScalesOfGroups) {
  const Assembly assembly =
      assembly_of("linear_t2 n=3840 k=2560 epilogue=none group=128 rows=1 cpu=avx512vnni");
  const Instructions loop = assembly.hottest_loop("^vpdpbusd\t");
  expect_one_dot_product_for_every_plane(loop);
  expect_no_vector_spilled(assembly);
  EXPECT_LE(loop.size(), 47u);
  EXPECT_EQ(count(assembly.all, "^vcvtdq2ps\t"), 4u);
}

/// Base 3, 20 inputs of 4 stripes: two dot products and two additions a code, four of them kept apart by an
/// exclusive or, and no multiplication.
TEST(DecodeLoop, TriplesBase3ByAdditions) {
  const Assembly assembly = assembly_of("linear_t3 n=3840 k=2560 epilogue=none rows=1 cpu=avx512vnni");
  const Instructions loop = assembly.hottest_loop("^vpdpbusd\t");
  EXPECT_EQ(count(loop, "^vpdpbusd\t"), 40u);
  EXPECT_EQ(count(loop, "^vpaddb\t"), 40u);
  EXPECT_EQ(count(loop, "^vpxor"), 16u);
  EXPECT_EQ(count(loop, "^vpm"), 0u);
  expect_no_vector_spilled(assembly);
}

/// Three in five bits: for each of 4 stripes five lines, asked for ahead, become six, which the loop of 2-bit
/// codes takes from the stack.
TEST(DecodeLoop, UnpacksSixLinesFromFive) {
  const Assembly assembly = assembly_of("linear_t5 n=3840 k=2560 epilogue=none rows=1 cpu=avx512vnni");
  const Instructions unpacking = assembly.hottest_loop("^prefetcht1\t");
  EXPECT_EQ(count(unpacking, "^prefetcht1\t"), 5u);
  EXPECT_EQ(count(unpacking, "^vmovdqa64\t[^%]*\\(%r.*, %zmm"), 5u);
  EXPECT_EQ(count(unpacking, "^vmovdqa64\t%zmm[0-9]+, .*\\(%r"), 6u);
  EXPECT_EQ(count(unpacking, "^(vpternlog|vpand)"), 13u);
  EXPECT_EQ(count(unpacking, "^vpaddb\t"), 3u);
  EXPECT_EQ(count(unpacking, "^(vgf2p8affineqb|vpsrlw)\t"), 3u);
  EXPECT_EQ(count(unpacking, "Spill|Reload"), 0u);
  expect_one_dot_product_for_every_plane(assembly.hottest_loop("^vpdpbusd\t"));
}

/// A few rows share what is unpacked: as many dot products as codes and rows, as many masks as with one row,
/// no shifts, and each line is asked for ahead.
TEST(FewRowsLoop, UnpacksOnceForAllRows) {
  for (const char *group : {"", "group=128 "})
    for (const int rows : {2, 4, 8}) {
      const std::string spec = std::string("linear_t2 n=3840 k=2560 epilogue=none ") + group +
                               "rows=" + std::to_string(rows) + " cpu=avx512vnni";
      const Instructions loop = assembly_of(spec).hottest_loop("^vpdpbusd\t");
      const size_t stripes = rows == 2 ? 2 : 1, tokens = rows == 2 ? 2 : 4;
      EXPECT_EQ(count(loop, "^vpdpbusd\t"), 4 * stripes * tokens) << spec;
      EXPECT_EQ(count(loop, "^vpand"), 4 * stripes) << spec;
      EXPECT_EQ(count(loop, "^(vgf2p8affineqb|vps[rl]l)"), 0u) << spec;
      EXPECT_EQ(count(loop, "^prefetcht1\t"), stripes) << spec;
      EXPECT_EQ(count(loop, "(Spill|Reload)"), 0u) << spec;
    }
}

TEST(DecodeLoop, UsesPairDotsWithoutVnni) {
  EXPECT_GT(
      count(emit("linear_t2 n=3840 k=2560 epilogue=none rows=1 cpu=avx2", Emit::assembly), "^vpmaddubsw\t"),
      0u);
  EXPECT_GT(count(emit("linear_t2 n=3840 k=2560 epilogue=none rows=1 cpu=avx512", Emit::assembly),
                  "^vpmaddubsw.*zmm"),
            0u);
  EXPECT_GT(count(emit("linear_s8 n=3840 k=2560 rows=1 cpu=avx2", Emit::assembly), "^vpmaddwd\t"), 0u);
  EXPECT_GT(
      count(emit("linear_t2 n=3840 k=2560 epilogue=none rows=1 cpu=portable", Emit::assembly), "^pmaddwd\t"),
      0u);
}

void expect_lists_and_no_vectors_on_the_stack(const Assembly &kernel, const std::string &name) {
  EXPECT_EQ(count(kernel.all, "^vmov[a-z0-9]+\t-?[0-9]*\\(%r[sb]p\\), %zmm"), 0u) << name;
  EXPECT_EQ(count(kernel.all, "^vmov[a-z0-9]+\t%zmm[0-9]+, -?[0-9]*\\(%r[sb]p\\)"), 0u) << name;
  EXPECT_EQ(count(kernel.all, "gather"), 0u) << name;
  EXPECT_GT(count(kernel.all, "^vpcompressd\t"), 0u) << name;
}

/// The kernels that skip: a line of up takes four dot products a row, one of each four columns of down
/// sixteen (in two halves; the compiler makes one loop for each eight of them, for two rows together); the
/// next group is prefetched; and no vector of sums goes to the stack.
TEST(SkipLoop, PrefetchesAndKeepsItsSums) {
  const std::tuple<const char *, int, size_t> kernels[] = {{"skip_up n=6912 k=2560", 2, 8},
                                                           {"skip_up n=6912 k=2560", 4, 16},
                                                           {"skip_down n=2560 k=6912", 2, 32},
                                                           {"skip_down n=2560 k=6912", 8, 32}};
  for (const auto &[kernel, rows, dots] : kernels) {
    const std::string spec = std::string(kernel) + " rows=" + std::to_string(rows) + " cpu=avx512vnni";
    const Assembly assembly = assembly_of(spec);
    EXPECT_EQ(count(assembly.all, "^vpdpbusd "), dots) << spec;
    EXPECT_EQ(count(assembly.all, "^prefetcht1\t"), 1u) << spec;
    expect_lists_and_no_vectors_on_the_stack(assembly, spec);
  }
}

/// One row: up's list takes four dot products and a prefetch a neuron's line, down's eight for a half of four
/// columns, in turns of two. Where nearly all are in use four lines of up are side by side in one loop,
/// without prefetches, and eight of down.
TEST(SkipLoop, OneRowHasLoopsForListsAndForAll) {
  const Assembly up = assembly_of("skip_up n=6912 k=2560 rows=1 cpu=avx512vnni"),
                 down = assembly_of("skip_down n=2560 k=6912 rows=1 cpu=avx512vnni");
  for (const Instructions &listed : up.loops_with("^prefetcht1\t"))
    EXPECT_EQ(count(listed, "^vpdpbusd "), 4u);
  EXPECT_FALSE(up.loops_with("^prefetcht1\t").empty());
  const Instructions all_up = up.hottest_loop("^vpdpbusd "), all_down = down.hottest_loop("^vpdpbusd ");
  EXPECT_EQ(count(all_up, "^vpdpbusd "), 16u);
  EXPECT_EQ(count(all_up, "^prefetch"), 0u);
  EXPECT_EQ(count(all_down, "^vpdpbusd "), 32u);
  EXPECT_EQ(count(all_down, "^prefetcht1\t"), 8u);
  size_t halves = 0;
  for (const Instructions &listed : down.loops_with("^vpdpbusd ", 16))
    halves += count(listed, "^vpdpbusd ") == 16;
  EXPECT_EQ(halves, 2u);
  expect_lists_and_no_vectors_on_the_stack(up, "up");
  expect_lists_and_no_vectors_on_the_stack(down, "down");
}

/// Gate and scale of a neuron, one after the other, took 8 % of a prompt's time.
TEST(SkipLoop, GatesManyNeuronsAtOnce) {
  for (const char *cpu : {"portable", "avx2", "avx512", "avx512vnni"})
    for (const int rows : {0, 1, 8}) {
      const std::string spec =
          "skip_up n=6912 k=2560 rows=" + std::to_string(rows) + " cpu=" + std::string(cpu);
      const std::string assembly = emit(spec, Emit::assembly);
      EXPECT_EQ(count(assembly, "^v?(mul|div)ss\t"), 0u) << spec;
      EXPECT_GT(count(assembly, "^v?divps\t"), 0u) << spec;
    }
}

TEST(SkipLoop, ManyRowsTakeOneTileInRegisters) {
  for (const char *kernel : {"skip_up n=6912 k=2560", "skip_down n=2560 k=6912"}) {
    const Assembly assembly = assembly_of(std::string(kernel) + " rows=0 cpu=avx512vnni");
    const Instructions tile = assembly.hottest_loop("^vpdpbusd ");
    EXPECT_EQ(count(tile, "^vpdpbusd "), 16u) << kernel; // 4 vectors of outputs, 4 rows
    EXPECT_EQ(count(assembly.all, "^vpdpbusd "), 16u) << kernel;
    EXPECT_EQ(count(tile, "\\(%r[sb]p[,)]"), 0u) << kernel;
  }
}

} // namespace
} // namespace bitnet::codegen
