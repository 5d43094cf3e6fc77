// make-dummy-model: command line.
#include "tools/bitnet/arguments.h"
#include "tools/make-dummy-model/dummy_model.h"
#include "tools/make-dummy-model/ffn_zeros.h"
#include "tools/make-dummy-model/vocabulary.h"
#include <cstdio>
#include <cstring>
#include <exception>

using bitnet::tools::UsageError;

namespace {

bitnet::tools::Arguments declare(bitnet::dummy::Options &o, std::string &preset) {
  bitnet::tools::Arguments args("make-dummy-model",
                                "writes a model of any shape with random ternary weights");
  args.positional("OUT", o.output, "file (gguf) or folder (hf) to write");
  args.option("--preset", "NAME", preset, "2b4t (the default) or tiny: a shape that other flags change");
  args.option("--format", "NAME", o.format, "gguf or hf (a Hugging Face folder)");
  args.option("--encoding", "NAME", o.encoding,
              "i2_s (i2_s_64, i2_s_row4: its other orders), tq1_0, tq2_0, q1_0 (--zeros 0), q2_0, pq2_0, "
              "ptq1_0, iq1_bn, iq2_bn, iq2_bn_r4, tl1, tl2 (tiles of 32/64/32 and 32/96/32), f32, f16, bf16; "
              "hf: packed, mlx, f32, f16, bf16");
  args.option("--embedding", "NAME", o.embedding, "gguf: f16, f32, bf16; q6_k for llama.cpp");
  args.option("--embedding-values", "NAME", o.embedding_values,
              "gaussian, or t5: Student's t with 5 degrees of freedom, which has far outliers");
  args.option("--architecture", "NAME", o.architecture,
              "gguf: bitnet-b1.58, or bitnet as llama.cpp knows it (which runs it with SiLU)");
  args.option("--dim", "N", o.dim, "width");
  args.option("--layers", "N", o.layers, "layers");
  args.option("--heads", "N", o.heads, "attention heads");
  args.option("--kv-heads", "N", o.kv_heads, "key/value heads");
  args.option("--ffn", "N", o.ffn, "width of the feed-forward network");
  args.option("--vocab", "N", o.vocab, "tokens");
  args.option("--context", "N", o.context, "positions");
  args.option("--zeros", "SHARE", o.zeros, "share of zero weights");
  args.option(
      "--gate-zeros", "SHARE", o.gate_zeros,
      "share of gates that are shut, e.g. 0.75 as in a trained model, or 0 (about half if not given)");
  args.option("--down-zeros", "SHARE", o.down_zeros,
              "share of inputs of down that are 0, e.g. 0.85; at least what the gates give");
  args.option("--scale-group", "N", o.scale_group,
              "columns that share a scale, for encodings that have room for such; 0: one a matrix");
  args.option("--seed", "N", o.seed, "same seed and shape: same model, whatever its form");
  args.option("--tokenizer", "PATH", o.tokenizer,
              "copy the tokenizer of this .gguf file (gguf) or folder (hf)");
  return args;
}

void check(const bitnet::dummy::Options &o) {
  struct Size {
    const char *flag;
    int32_t value, multiple;
  };
  for (Size s : {Size{"--dim", o.dim, 16},
                 {"--layers", o.layers, 1},
                 {"--heads", o.heads, 1},
                 {"--kv-heads", o.kv_heads, 1},
                 {"--ffn", o.ffn, 16},
                 {"--vocab", o.vocab, 1},
                 {"--context", o.context, 1}})
    if (s.value < 1 || s.value > 1 << 22 || s.value % s.multiple != 0)
      throw UsageError(std::string(s.flag) + ": expected a multiple of " + std::to_string(s.multiple) +
                       " of 1 to 4194304, got " + std::to_string(s.value));
  if (o.heads % o.kv_heads != 0 || o.dim % (4 * o.heads) != 0)
    throw UsageError("--heads: expected a multiple of --kv-heads with heads of a multiple of 4, got " +
                     std::to_string(o.heads));
  if (o.tokenizer.empty() && o.vocab < bitnet::dummy::kSmallestVocabulary)
    throw UsageError("--vocab: expected at least 259 for the made-up tokenizer, got " +
                     std::to_string(o.vocab));
  if (o.embedding_values != "gaussian" && o.embedding_values != "t5")
    throw UsageError("--embedding-values: expected gaussian or t5, got " + o.embedding_values);
  if (!(o.zeros >= 0 && o.zeros <= 1))
    throw UsageError("--zeros: expected 0 to 1, got " + std::to_string(o.zeros));
  if (o.scale_group < 0 || (o.scale_group > 0 && (o.dim % o.scale_group != 0 || o.ffn % o.scale_group != 0)))
    throw UsageError("--scale-group: expected a divisor of --dim and --ffn, got " +
                     std::to_string(o.scale_group));
  bitnet::dummy::check_zeros(o);
  if (o.format != "gguf" && o.format != "hf")
    throw UsageError("--format: expected gguf or hf, got " + o.format);
}

int run(int argc, char **argv) {
  bitnet::dummy::Options options;
  std::string preset = "2b4t";
  bitnet::tools::Arguments args = declare(options, preset);
  if (!args.parse(argc, argv))
    return 0;
  if (preset == "tiny") { // the other flags, once more, on top of the preset
    bitnet::dummy::Options tiny;
    tiny.dim = 256, tiny.layers = 2, tiny.heads = 4, tiny.kv_heads = 2, tiny.ffn = 512, tiny.vocab = 512,
    tiny.context = 256;
    options = tiny;
    args.parse(argc, argv);
  } else if (preset != "2b4t") {
    throw UsageError("--preset: expected 2b4t or tiny, got " + preset);
  }
  if (options.architecture != "bitnet-b1.58" && options.architecture != "bitnet")
    throw UsageError("--architecture: expected bitnet-b1.58 or bitnet, got " + options.architecture);
  if (options.format == "hf" && !args.given("--encoding"))
    options.encoding = "packed";
  check(options);
  options.format == "hf" ? bitnet::dummy::write_hugging_face(options) : bitnet::dummy::write_gguf(options);
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    std::puts("make-dummy-model " BITNET_VERSION);
    return 0;
  }
  try {
    return run(argc - 1, argv + 1);
  } catch (const UsageError &error) {
    std::fprintf(stderr, "error: %s; --help lists the flags\n", error.what());
    return 2;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
