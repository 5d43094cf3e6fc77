// Text form of KernelSpec: one table says which fields an op prints, and printing and parsing both walk it.
#include "codegen/spec/kernel_spec.h"
#include "runtime/format/layouts.h"
#include <algorithm>
#include <charconv>
#include <vector>

namespace bitnet::codegen {

using format::Act;
using format::CpuVariant;
using format::Epilogue;
using format::Op;
using format::OpDims;

namespace {

enum class Field { n, k, heads, kv_heads, head_dim, context, epilogue, act, eps, group };
constexpr const char *kFieldNames[] = {"n",       "k",        "heads", "kv_heads", "head_dim",
                                       "context", "epilogue", "act",   "eps",      "group"};
const char *name_of(Field f) { return kFieldNames[size_t(f)]; }

/// Fields of an op in the order of OpDims.
std::vector<Field> fields_of(Op op) {
  switch (op) {
  case Op::embed:
  case Op::linear_s8:
  case Op::linear_f16:
  case Op::screen_q4:
  case Op::rescore_f16:
    return {Field::n, Field::k};
  case Op::linear_t2:
    return {Field::n, Field::k, Field::epilogue, Field::act, Field::group};
  case Op::linear_t3:
  case Op::linear_t5:
    return {Field::n, Field::k, Field::epilogue, Field::act};
  case Op::group_sums:
    return {Field::k, Field::group};
  case Op::rms_norm:
  case Op::norm_quant:
    return {Field::k, Field::eps};
  case Op::quantize:
  case Op::add:
  case Op::gather_rows:
    return {Field::k};
  case Op::gate:
  case Op::gate_quant:
    return {Field::k, Field::act};
  case Op::gate_norm_quant:
    return {Field::k, Field::act, Field::eps};
  case Op::rope:
    return {Field::heads, Field::head_dim, Field::context};
  case Op::head_norm:
    return {Field::heads, Field::head_dim, Field::eps};
  case Op::kv_append:
  case Op::kv_append_q8:
    return {Field::kv_heads, Field::head_dim};
  case Op::attention:
  case Op::attention_q8:
  case Op::attention_chunk:
  case Op::attention_chunk_q8:
  case Op::attention_merge:
    return {Field::heads, Field::kv_heads, Field::head_dim};
  case Op::skip_up:
  case Op::skip_down:
    return {Field::n, Field::k};
  case Op::skip_sum:
    return {Field::n, Field::epilogue};
  case Op::count:
    break;
  }
  return {};
}

/// A linear has an activation only where it is the gate's (the field before it says so), and groups only
/// where its columns are not one.
bool is_present(const OpDims &d, Op op, Field f) {
  const bool ternary = op == Op::linear_t2 || op == Op::linear_t3 || op == Op::linear_t5;
  if (ternary && f == Field::act)
    return d.epilogue == Epilogue::gate;
  return !ternary || f != Field::group || d.group != 0;
}

int32_t *integer_of(OpDims &d, Field f) {
  switch (f) {
  case Field::n:
    return &d.n;
  case Field::k:
    return &d.k;
  case Field::heads:
    return &d.heads;
  case Field::kv_heads:
    return &d.kv_heads;
  case Field::head_dim:
    return &d.head_dim;
  case Field::context:
    return &d.context;
  case Field::group:
    return &d.group;
  case Field::epilogue:
  case Field::act:
  case Field::eps:
    break;
  }
  return nullptr;
}

std::string value_text(OpDims d, Field f) {
  if (const int32_t *integer = integer_of(d, f))
    return std::to_string(*integer);
  if (f == Field::epilogue)
    return format::epilogue_name(d.epilogue);
  if (f == Field::act)
    return format::act_name(d.act);
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, d.eps).ptr};
}

template <class Number> bool parse_number(std::string_view text, Number *value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

bool parse_value(std::string_view text, Field f, OpDims *d) {
  if (int32_t *integer = integer_of(*d, f))
    return parse_number(text, integer);
  if (f == Field::epilogue)
    return (d->epilogue = format::epilogue_from_name(std::string(text).c_str())) != Epilogue::count;
  if (f == Field::act)
    return (d->act = format::act_from_name(std::string(text).c_str())) != Act::count;
  return parse_number(text, &d->eps);
}

/// Takes the text up to the next space, and that space.
std::string_view next_word(std::string_view *rest) {
  const size_t space = std::min(rest->find(' '), rest->size());
  const std::string_view word = rest->substr(0, space);
  rest->remove_prefix(std::min(space + 1, rest->size()));
  return word;
}

/// `<op> <field>=<value>... rows=<r>` with other separators for symbols.
std::string join(const KernelSpec &spec, const char *between, const char *equals) {
  std::string text = format::op_name(spec.op);
  for (const Field f : fields_of(spec.op))
    if (is_present(spec.dims, spec.op, f))
      text += between + std::string(name_of(f)) + equals + value_text(spec.dims, f);
  text += between + std::string("rows") + equals + std::to_string(spec.rows);
  if (spec.tile.stripes)
    text += between + std::string("stripes") + equals + std::to_string(spec.tile.stripes);
  if (spec.tile.tokens)
    text += between + std::string("tokens") + equals + std::to_string(spec.tile.tokens);
  return text;
}

/// Why a tile is not legal, or empty. The op's dims are.
std::string tile_error(const KernelSpec &spec) {
  const auto [stripes, tokens] = spec.tile;
  if (!stripes && !tokens)
    return "";
  if (!is_linear(spec.op))
    return "stripes, tokens: only linear ops have a tile";
  const int32_t streams = format::weight_streams(spec.dims.n), rows = spec.rows ? spec.rows : format::kRowPad;
  if (stripes < 0 || (stripes && streams % stripes))
    return "stripes: expected a divisor of " + std::to_string(streams) + ", got " + std::to_string(stripes);
  if (tokens < 0 || (tokens && rows % tokens))
    return "tokens: expected a divisor of " + std::to_string(rows) + ", got " + std::to_string(tokens);
  return "";
}

} // namespace

std::string kernel_name(const KernelSpec &spec) { return join(spec, " ", "="); }

std::string to_string(const KernelSpec &spec) {
  return kernel_name(spec) + " cpu=" + format::cpu_variant(spec.cpu).name;
}

std::string symbol(const KernelSpec &spec) {
  std::string name;
  for (const char c : join(spec, "_", ""))
    if (c != '+')
      name += c == '.' ? 'p' : c == '-' ? 'm' : c;
  return name + "__" + format::cpu_variant(spec.cpu).name;
}

std::optional<KernelSpec> parse_kernel_spec(std::string_view text, std::string *error) {
  const auto fail = [&](std::string why) {
    *error = "kernel spec '" + std::string(text) + "': " + why;
    return std::nullopt;
  };
  std::string_view rest = text;
  KernelSpec spec;
  const std::string op(next_word(&rest));
  spec.op = format::op_from_name(op.c_str());
  if (spec.op == Op::count)
    return fail("expected an op name, got '" + op + "'");

  // Takes `<name>=<value>` and returns the value.
  const auto expect = [&](const char *name, std::string_view *value) {
    const std::string_view word = next_word(&rest);
    const size_t equals = word.find('=');
    if (equals == word.npos || word.substr(0, equals) != name) {
      *error = "expected " + std::string(name) + "=<value>, got '" + std::string(word) + "'";
      return false;
    }
    *value = word.substr(equals + 1);
    return true;
  };
  std::string_view value;
  for (const Field f : fields_of(spec.op)) {
    if (f == Field::group ? rest.rfind("group=", 0) != 0 : !is_present(spec.dims, spec.op, f))
      continue;
    if (!expect(name_of(f), &value))
      return fail(*error);
    if (!parse_value(value, f, &spec.dims))
      return fail(std::string(name_of(f)) + ": '" + std::string(value) + "' is not a value of it");
  }
  if (!expect("rows", &value))
    return fail(*error);
  if (!parse_number(value, &spec.rows))
    return fail("rows: '" + std::string(value) + "' is not a number");
  for (const auto &[name, field] :
       {std::pair("stripes", &spec.tile.stripes), std::pair("tokens", &spec.tile.tokens)}) {
    if (rest.rfind(std::string(name) + "=", 0) != 0)
      continue;
    if (!expect(name, &value) || !parse_number(value, field) || *field == 0)
      return fail(std::string(name) + ": '" + std::string(value) + "' is not a positive number");
  }
  if (!expect("cpu", &value))
    return fail(*error);
  spec.cpu = format::cpu_variant_from_name(std::string(value).c_str());
  if (spec.cpu == CpuVariant::count)
    return fail("cpu: expected portable, avx2, avx512 or avx512vnni, got '" + std::string(value) + "'");
  if (!rest.empty())
    return fail("expected the end, got '" + std::string(rest) + "'");
  if (const std::string why = spec_error(spec); !why.empty())
    return fail(why);
  return spec;
}

std::string spec_error(const KernelSpec &spec) {
  if (const char *why = format::op_dims_error(spec.op, spec.dims))
    return why;
  if (spec.cpu >= CpuVariant::count)
    return "unknown cpu variant";
  const RowTiles known = row_tiles(spec.op);
  std::string expected;
  for (int32_t i = 0; i < known.count; ++i) {
    if (known.tiles[i] == spec.rows)
      return tile_error(spec);
    expected += (i ? ", " : "") + std::to_string(known.tiles[i]);
  }
  return "rows: expected " + expected + ", got " + std::to_string(spec.rows);
}

RowTiles row_tiles(Op op) {
  const bool has_tiles = is_linear(op) || op == Op::skip_up || op == Op::skip_down;
  return has_tiles ? RowTiles{{1, 2, 4, 8, 0}, 5} : RowTiles{{0}, 1};
}

} // namespace bitnet::codegen
