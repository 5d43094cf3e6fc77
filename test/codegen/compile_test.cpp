// What compile_kernel emits: the same bytes for the same kernel, whatever was compiled before or at the same
// time, with one symbol to call.
#include "codegen/compile.h"
#include "codegen/elf_object.h"
#include <gtest/gtest.h>
#include <thread>

namespace bitnet::codegen {
namespace {

std::string emit(const char *text, Emit what) {
  std::string bytes, error;
  const std::optional<KernelSpec> spec = parse_kernel_spec(text, &error);
  EXPECT_TRUE(spec && compile_kernel(*spec, what, &bytes, &error)) << error;
  return bytes;
}

constexpr const char *kSome = "linear_t2 n=128 k=64 epilogue=residual rows=4 cpu=avx2";
constexpr const char *kOther = "linear_s8 n=128 k=64 rows=8 cpu=avx2";

TEST(Compile, IsDeterministic) {
  const std::string first = emit(kSome, Emit::object);
  for (int i = 0; i < 12; ++i)
    emit(kOther, Emit::object);
  EXPECT_EQ(emit(kSome, Emit::object), first);
}

TEST(Compile, IsThreadSafe) {
  const std::string some = emit(kSome, Emit::object), other = emit(kOther, Emit::object);
  std::thread thread([&] {
    for (int i = 0; i < 6; ++i)
      EXPECT_EQ(emit(kSome, Emit::object), some);
  });
  for (int i = 0; i < 6; ++i)
    EXPECT_EQ(emit(kOther, Emit::object), other);
  thread.join();
}

TEST(Compile, EmitsTextForPeople) {
  EXPECT_NE(emit(kSome, Emit::assembly).find("vpmaddubsw"), std::string::npos);
  EXPECT_NE(emit(kSome, Emit::stmt).find("produce y"), std::string::npos);
}

TEST(Compile, DefinesOneSymbolToCall) {
  const std::string bytes = emit(kSome, Emit::object);
  ElfObject object;
  std::string error, defined;
  ASSERT_TRUE(parse_elf(bytes, &object, &error)) << error;
  for (const ElfSymbol &s : object.symbols)
    if (s.name == "linear_t2_n128_k64_epilogueresidual_rows4__avx2" && s.section != ElfSymbol::kUndefined)
      defined += s.name;
  EXPECT_EQ(defined, "linear_t2_n128_k64_epilogueresidual_rows4__avx2");
}

} // namespace
} // namespace bitnet::codegen
