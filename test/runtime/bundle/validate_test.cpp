// The validator: a good bundle passes, and each thing that it checks has a message that is quoted here.
#include "runtime/format/bundle_header.h"
#include "runtime/format/layouts.h"
#include "test/runtime/tiny_bundle.h"
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <random>

namespace bitnet::runtime {
namespace {

using test::TinyBundle;

Status validate(const std::string &file) {
  // A copy of exactly this size, so that a sanitizer sees a read past the end.
  const std::vector<uint8_t> bytes(file.begin(), file.end());
  auto bundle = validate_bundle({bytes.data(), bytes.size()});
  return bundle.ok() ? Status() : bundle.status();
}

/// The message for a tiny bundle that was changed before it was written (so that all checksums are right).
std::string rejects(const std::function<void(TinyBundle &)> &change) {
  TinyBundle bundle;
  change(bundle);
  const Status status = validate(bundle.file());
  EXPECT_EQ(status.code(), StatusCode::bad_bundle);
  return status.message();
}

/// The message for a change to the 64 header bytes; with the header's own checksum right again, or not.
std::string rejects_header(size_t at, uint64_t value, size_t width, bool sealed = true) {
  std::string file = TinyBundle().file();
  std::memcpy(file.data() + at, &value, width);
  if (sealed)
    test::seal_header(&file);
  return validate(file).message();
}

TEST(Validate, AcceptsTheTinyBundle) {
  const TinyBundle tiny;
  const std::string file = tiny.file();
  auto bundle = validate_bundle({reinterpret_cast<const uint8_t *>(file.data()), file.size()});
  ASSERT_TRUE(bundle.ok()) << bundle.status().message();
  EXPECT_EQ(bundle->model.name, "tiny");
  EXPECT_EQ(bundle->plan.calls.size(), 7u);
  EXPECT_EQ(bundle->plan.logits.row_stride, 304u * 4)
      << "a dense slice gets its stride from the call that fills it";
  EXPECT_EQ(bundle->images[0].entries.size(), bundle->kernels.size());
}

TEST(Validate, ChecksTheHeader) {
  EXPECT_EQ(rejects_header(1, 'X', 1),
            "header: expected a .bnx bundle, got another kind of file; compile the model with bitnetc");
  EXPECT_EQ(rejects_header(16, 8, 1, false),
            "header: its bytes do not match its checksum: the file is damaged; compile or copy it again");
  EXPECT_EQ(rejects_header(12, 4, 4),
            "header: format version: expected at most 3, got 4; use a newer runtime or compile again");
  EXPECT_EQ(rejects_header(32, 5, 8),
            "index: its bytes do not match its checksum: the file is damaged; compile or copy it again");
  EXPECT_EQ(rejects_header(16, ~uint64_t(7), 8),
            "header: index: expected 8-aligned bytes inside the file, got [18446744073709551608, +" +
                std::to_string(TinyBundle().index().size()) + ")");
  EXPECT_EQ(validate("").message(), "header: expected at least 64 bytes, got 0");
}

TEST(Validate, NamesCutAndGrownFiles) {
  const std::string file = TinyBundle().file(), n = std::to_string(file.size());
  EXPECT_EQ(validate(file.substr(0, 5000)).message(),
            "header: file size: expected " + n +
                " bytes, got 5000; the file is cut or has grown, copy it again");
  EXPECT_EQ(validate(file + "x").message(), "header: file size: expected " + n + " bytes, got " +
                                                std::to_string(file.size() + 1) +
                                                "; the file is cut or has grown, copy it again");
}

TEST(Validate, NamesTheDamagedSection) {
  std::string file = TinyBundle().file();
  file[4096 + 77] ^= 1;
  EXPECT_EQ(
      validate(file).message(),
      "section weights: its bytes do not match its checksum: the file is damaged; compile or copy it again");
}

TEST(Validate, ChecksSections) {
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.payloads.push_back({SectionKind::weights, "x"});
            }),
            "sections: expected one of kind weights, got 2");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.payloads[0].kind = SectionKind::report; }),
            "sections: expected one of kind weights, got none");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.payloads[0].kind = SectionKind(5); }),
            "section 0: kind: expected at most 4, got 5");
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.move_section = [](size_t, uint64_t *offset, uint64_t *) { ++*offset; };
            }),
            "section 0: expected 4096-aligned bytes inside the file, got [4097, +103424)");
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.move_section = [](size_t, uint64_t *, uint64_t *size) { *size = ~uint64_t(0) - 4095; };
            }),
            "section 0: expected 4096-aligned bytes inside the file, got [4096, +18446744073709547520)");
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.move_section = [](size_t, uint64_t *offset, uint64_t *) { *offset = 4096; };
            }),
            "sections: two parts of the file overlap at byte 4096");
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.move_section = [](size_t, uint64_t *offset, uint64_t *) { *offset = 0; };
            }),
            "sections: two parts of the file overlap at byte 0");
}

TEST(Validate, ChecksTheModel) {
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.model.layers = 0; }),
            "model: layers: expected [1, 4096], got 0");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.model.vocab = -1; }),
            "model: vocab: expected [1, 4194304], got -1");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.model.heads = 3, b.bundle.model.kv_heads = 2; }),
            "model: heads: expected a multiple of kv_heads 2, got 3");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.model.act = format::Act(9); }),
            "model: act: unknown activation 9");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.model.rope_theta = 0; }),
            "model: rope_theta and norm_eps: expected finite numbers above 0 and in [0, 1]");
}

TEST(Validate, WithoutAHeadTheResultIsAsWideAsTheModel) {
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.bundle.model.head = "none";
              b.bundle.model.width = 512;
            }),
            "plan: logits: expected at least the width of 512, got 304");
}

TEST(Validate, ChecksKernels) {
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.kernels[0].op = Op(77); }), "kernel 0: unknown op 77");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.kernels[0].dims.n = 17; }),
            "kernel 0: embed: n must be a multiple of 16 in [16, 2^22]");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.kernels[6].rows = 3; }),
            "kernel 6: rows: expected 0 or a divisor of 8, got 3");
}

/// Puts a product with scales of groups of columns first: 16 x 64, kernel and call of these dims, scales at
/// this offset.
void add_product(TinyBundle &b, int32_t kernel_group, int32_t call_group, uint64_t scales = 0) {
  format::OpDims dims;
  dims.n = 16, dims.k = 64, dims.group = kernel_group;
  b.bundle.kernels.push_back({Op::linear_t2, dims, 0, "t2"});
  b.bundle.images[0].entries.push_back(0);
  dims.group = call_group;
  runtime::Call call{};
  call.op = Op::linear_t2;
  call.dims = dims;
  call.choices = {{0, uint32_t(b.bundle.kernels.size() - 1)}};
  for (int i = 0; i < 6; ++i) // q, s, group_sums, w, group_scale, y
    call.args.push_back({i == 3 || i == 4 ? Space::weights : Space::arena, i == 4 ? scales : 0, 0});
  b.bundle.plan.calls.insert(b.bundle.plan.calls.begin(), call);
}

TEST(Validate, ChecksGroups) {
  TinyBundle fine;
  add_product(fine, 16, 16);
  EXPECT_EQ(validate(fine.file()).message(), "");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.kernels[0].dims.group = 16; }),
            "kernel 0: embed: group is not used by this op and must be 0");
  for (const int32_t group : {-16, 8, 48, 128, INT32_MIN, INT32_MAX}) {
    const std::string why = ": linear_t2: group must be a multiple of 16 that divides k";
    EXPECT_EQ(rejects([&](TinyBundle &b) { add_product(b, group, 16); }), "kernel 7" + why);
    EXPECT_EQ(rejects([&](TinyBundle &b) { add_product(b, 16, group); }), "call 0" + why);
  }
  EXPECT_EQ(rejects([](TinyBundle &b) { add_product(b, 16, 32); }),
            "call 0: kernel 7 is of another op or size");
  const uint64_t end = TinyBundle().payloads[0].bytes.size();
  EXPECT_EQ(rejects([&](TinyBundle &b) { add_product(b, 16, 16, end - 192); }),
            "call 0: argument 'group_scale': expected 64-aligned bytes inside the weights of " +
                std::to_string(end) + ", got [" + std::to_string(end - 192) + ", +256)");
}

TEST(Validate, ChecksImages) {
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.images.clear(), b.image_section.clear(); }),
            "images: expected at least one, got none");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.images[0].variant = CpuVariant(9); }),
            "image: unknown CPU variant 9");
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.bundle.images.push_back(b.bundle.images[0]);
              b.image_section.push_back(1);
            }),
            "image portable: there are two of this variant");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.images[0].variant = CpuVariant::avx2; }),
            "image avx2: features: expected known bits with those of the variant");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.images[0].features = uint64_t(1) << 60; }),
            "image portable: features: expected known bits with those of the variant");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.image_section[0] = 0; }),
            "image portable: section: expected a code section, got 0");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.images[0].ro_offset = 8192; }),
            "image portable: code size: expected a multiple of 4096 up to 4096, got 8192");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.images[0].entries.pop_back(); }),
            "image portable: entries: expected 7, got 6");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.images[0].entries[2] = 4096; }),
            "image portable: entry 2 outside the code");
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.bundle.images[0].fixups = {{4089, 0}};
            }),
            "image portable: fixup at 4089 outside the image");
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.bundle.images[0].fixups = {{0, 4097}};
            }),
            "image portable: fixup at 0 outside the image");
}

TEST(Validate, ChecksThePlan) {
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.plan.max_rows = 0; }),
            "plan: max_rows: expected [1, 65536], got 0");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.plan.arena_bytes = ~uint64_t(0); }),
            "plan: arena: expected at most 2^40 bytes, got 18446744073709551615");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.plan.logits.offset += 64; }),
            "plan: logits: expected the output of a call over wanted rows, got arena offset 10304");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.plan.logits.row_stride = 64; }),
            "plan: logits: expected row stride 1216 in the arena, got 64");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.plan.calls.clear(); }),
            "plan: logits: expected the output of a call over wanted rows, got arena offset 10240");
}

TEST(Validate, ChecksCalls) {
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::add).op = Op::count; }),
            "call 4 'tiny.add': unknown op " + std::to_string(int(Op::count)));
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::add).choices.clear(); }),
            "call 4 'tiny.add': choices: expected ascending max_rows with 0 last");
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.call(Op::add).choices = {{4, 4}, {4, 4}, {0, 4}};
            }),
            "call 4 'tiny.add': choices: expected ascending max_rows with 0 last");
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.call(Op::add).choices = {{0, 4}, {8, 4}};
            }),
            "call 4 'tiny.add': choices: expected ascending max_rows with 0 last");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::add).choices[0].kernel = 7; }),
            "call 4 'tiny.add': kernel: expected below 7, got 7");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::add).choices[0].kernel = 0; }),
            "call 4 'tiny.add': kernel 0 is of another op or size");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::add).args.pop_back(); }),
            "call 4 'tiny.add': add: expected 3 arguments, got 2");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::embed).over_logit_rows = true; }),
            "call 0 'tiny.embed': embed runs over the wrong kind of rows");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::gather_rows).over_logit_rows = false; }),
            "call 5 'tiny.gather_rows': gather_rows runs over the wrong kind of rows");
}

/// The message for a tiny bundle with a screen that was changed.
std::string rejects_screen(const std::function<void(TinyBundle &, Screen &)> &change) {
  return rejects([&](TinyBundle &b) {
    b.add_screen();
    change(b, *b.bundle.plan.screen);
  });
}

TEST(Validate, ChecksTheScreen) {
  TinyBundle good;
  good.add_screen();
  EXPECT_EQ(validate(good.file()).message(), "");
  const std::string other =
      "plan: screen: expected a head of 304 rows of 64 f16 values as the last call, got another call";
  EXPECT_EQ(rejects_screen([](TinyBundle &, Screen &s) { s.dims.n = 8; }),
            "plan: screen: screen_q4: n must be a multiple of 16 in [16, 2^22]");
  EXPECT_EQ(rejects_screen([](TinyBundle &b, Screen &) {
              b.bundle.model.width = 128; // so that the head's input is not what hidden states are
            }),
            other);
  EXPECT_EQ(
      rejects_screen([](TinyBundle &b, Screen &) { b.bundle.plan.calls.push_back(b.call(Op::gather_rows)); }),
      other);
  EXPECT_EQ(rejects_screen([](TinyBundle &, Screen &s) { s.choices[0].kernel = 1; }),
            "plan: screen: kernel 1 is of another op or size");
  EXPECT_EQ(rejects_screen([](TinyBundle &, Screen &s) { s.choices.clear(); }),
            "plan: screen: choices: expected ascending max_rows with 0 last");
  EXPECT_EQ(rejects_screen([](TinyBundle &, Screen &s) { s.rescore = 99; }),
            "plan: screen: rescore: kernel 99 is of another op or size, or does not exist");
  EXPECT_NE(rejects_screen([](TinyBundle &, Screen &s) {
              s.offset += 64;
            }).find("plan: screen: expected 64-aligned bytes inside the weights of "),
            std::string::npos);
  EXPECT_EQ(rejects_screen([](TinyBundle &b, Screen &s) {
              const uint32_t column = 64; // beyond the row
              std::memcpy(&b.payloads[0].bytes[s.offset + format::screen_layout(304, 64).outliers + 40],
                          &column, 4);
            }),
            "plan: screen: outlier column: expected below 64, got 64");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::linear_f16).op = Op::rescore_f16; }),
            "call 6 'tiny.linear_f16': rescore_f16 is no call of a plan");
}

/// Up to version 2 a screen had other parts; all else can be read.
TEST(Validate, RefusesTheScreenOfAnOlderFormat) {
  TinyBundle screened;
  screened.add_screen();
  std::string old = screened.file(), without = TinyBundle().file();
  for (std::string *file : {&old, &without}) {
    (*file)[8] = 2;
    test::seal_header(file);
  }
  EXPECT_EQ(validate(old).message(),
            "plan: screen: of a compiler before format version 3; compile the model again");
  EXPECT_EQ(validate(without).message(), "");
}

TEST(Validate, TiesCallsToTheModel) {
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.model.vocab = 305; }),
            "call 0 'tiny.embed': table rows: expected at least the vocabulary of 305, got 304");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.model.context = 201; }),
            "call 1 'tiny.rope': rope table: expected at least the context of 201, got 200");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.model.kv_heads = 2; }),
            "call 2 'tiny.kv_append': cache shape: expected 2 heads of 32, got 1 of 32");
}

TEST(Validate, TiesTheCacheToTheModel) {
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.model.kv = "q4"; }),
            "model: kv: expected f16 or q8, got 'q4'");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.model.kv = "q8"; }),
            "call 2 'tiny.kv_append': cache: expected an op over the model's q8, got kv_append");
  const auto chunk = [](TinyBundle &b) {
    Call &call = b.call(Op::attention);
    call.op = Op::attention_chunk;
    call.args.back() = {Space::parts, 0, 0};
    b.bundle.kernels[call.choices[0].kernel].op = Op::attention_chunk;
  };
  EXPECT_EQ(rejects([&](TinyBundle &b) {
              chunk(b);
              b.call(Op::attention_chunk).args.back().offset = 1;
              b.call(Op::attention_chunk).choices = {{8, b.call(Op::attention_chunk).choices[0].kernel},
                                                     {0, format::kNoKernel}};
            }),
            "call 3 'tiny.attention': argument 'parts': offset: expected 0, got 1");
  EXPECT_EQ(rejects(chunk), "call 3 'tiny.attention': choices: expected no kernel for more than 8 rows");
  EXPECT_EQ(rejects([&](TinyBundle &b) {
              chunk(b);
              b.bundle.model.heads = 4;
            }),
            "call 3 'tiny.attention': chunks: expected 4 heads, got 2");
}

TEST(Validate, ChecksArguments) {
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::add).args[0].space = Space::weights; }),
            "call 4 'tiny.add': argument 'a': space: expected 0, got 1");
  EXPECT_EQ(
      rejects([](TinyBundle &b) { b.call(Op::add).args[0].offset = 8; }),
      "call 4 'tiny.add': argument 'a': expected 64-aligned bytes inside the arena of 19968, got [8, +2048)");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::add).args[2].offset = 19968 - 1984; }),
            "call 4 'tiny.add': argument 'y': expected 64-aligned bytes inside the arena of 19968, got "
            "[17984, +2048)");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::add).args[0].row_stride = 252; }),
            "call 4 'tiny.add': argument 'a': row stride: expected a multiple of 4 from 256, got 252");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::add).args[0].row_stride = 258; }),
            "call 4 'tiny.add': argument 'a': row stride: expected a multiple of 4 from 256, got 258");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::add).args[0].row_stride = uint64_t(1) << 61; }),
            "call 4 'tiny.add': argument 'a': its size overflows");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::add).args[0].row_stride = 4096; }),
            "call 4 'tiny.add': argument 'a': expected 64-aligned bytes inside the arena of 19968, got [0, "
            "+28928)");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::embed).args[1].offset = 103424; }),
            "call 0 'tiny.embed': argument 'table': expected 64-aligned bytes inside the weights of 103424, "
            "got [103424, +38912)");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::embed).args[1].row_stride = 64; }),
            "call 0 'tiny.embed': argument 'table': row stride: expected 0 outside the arena, got 64");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::attention).args[2].offset = 1; }),
            "call 3 'tiny.attention': argument 'v_cache': layer: expected below 1, got 1");
  EXPECT_EQ(rejects([](TinyBundle &b) { b.call(Op::attention).args[3].offset = 3; }),
            "call 3 'tiny.attention': argument 'positions': input: expected 1, got 3");
}

TEST(Validate, CountsPadRows) {
  // max_rows 9 needs room for 16 rows; the arena has 8.
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.plan.max_rows = 9, b.bundle.plan.arena_bytes = 2048; }),
            "call 0 'tiny.embed': argument 'x': expected 64-aligned bytes inside the arena of 2048, got [0, "
            "+4096)");
}

TEST(Validate, ChecksTensors) {
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.tensors[0].size = 103425; }),
            "tensor 'embed': expected bytes inside the weights, got [0, +103425)");
}

TEST(Validate, NamesStandInErrorsOnOneLine) {
  EXPECT_EQ(rejects([](TinyBundle &b) { b.bundle.model.kv = "a\nb"; }),
            "model: kv: expected f16 or q8, got 'a\\x0ab'");
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.bundle.tensors[0].name = "a\nb";
              b.bundle.tensors[0].size = 103425;
            }),
            "tensor 'a\\x0ab': expected bytes inside the weights, got [0, +103425)");
  EXPECT_EQ(rejects([](TinyBundle &b) {
              b.bundle.plan.calls[0].label = "a\nb";
              b.bundle.model.vocab = 305;
            }),
            "call 0 'a\\x0ab': table rows: expected at least the vocabulary of 305, got 304");
}

// The deep checks on random damage with right checksums: an error of one line, or a bundle. Run under asan
// and ubsan.
TEST(Validate, SurvivesDamagedIndexes) {
  const TinyBundle tiny({16, 16, 16, 4});
  const std::string good = tiny.index();
  std::mt19937 random(7);
  int accepted = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string index = good;
    for (int i = 0; i < 1 + round % 3; ++i)
      index[random() % index.size()] = char(random() % 4 ? random() : 0xff);
    const Status status = validate(test::with_index(tiny, index));
    accepted += status.ok();
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
  }
  EXPECT_GT(accepted, 100) << "names and numbers for people may change";
  EXPECT_LT(accepted, 1200) << "damage is found";
}

TEST(Validate, RefusesEveryTruncation) {
  const std::string good = TinyBundle({16, 16, 16, 4}).file();
  for (size_t n = 0; n < good.size(); n += 1 + good.size() / 200) {
    std::string cut = good.substr(0, n);
    EXPECT_FALSE(validate(cut).ok()) << n;
    test::reseal(&cut);
    EXPECT_FALSE(validate(cut).ok()) << n << ", sealed";
  }
}

} // namespace
} // namespace bitnet::runtime
