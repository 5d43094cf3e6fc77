// See template_operations.h.
#include "runtime/tokenizer/template_operations.h"
#include "runtime/format/quoted.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <limits>
#include <string.h> // memmem, linear where std::string_view::find is not

namespace bitnet::runtime {
namespace {

using Value = TemplateValue;

constexpr int kMaxDepth = 64;           ///< of lists in lists
constexpr uint64_t kStepsOfElement = 8; ///< what an element of a new list counts, for its memory

/// Errors are one line; texts of the template can be in them.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x20; }, ' ');
  return text;
}

std::string at_line(int line, const std::string &text) {
  return "line " + std::to_string(line) + ": " + one_line(text);
}

/// Where `part` begins in `text`, or npos.
size_t position(std::string_view text, std::string_view part) {
  const void *found = ::memmem(text.data(), text.size(), part.data(), part.size());
  return found ? static_cast<const char *>(found) - text.data() : std::string_view::npos;
}

/// Of a dictionary.
bool is_method(std::string_view name) {
  for (const char *method : {"clear", "copy", "fromkeys", "get", "items", "keys", "pop", "popitem",
                             "setdefault", "update", "values"})
    if (name == method)
      return true;
  return false;
}

void append_json_text(std::string_view text, std::string *out) {
  static constexpr char kDigits[] = "0123456789abcdef";
  *out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out->append({'\\', c});
    else if (c == '\n')
      out->append("\\n");
    else if (c == '\r')
      out->append("\\r");
    else if (c == '\t')
      out->append("\\t");
    else if (c == '\b')
      out->append("\\b");
    else if (c == '\f')
      out->append("\\f");
    else if (static_cast<uint8_t>(c) < 0x20)
      out->append("\\u00").append({kDigits[c >> 4], kDigits[c & 15]});
    else
      *out += c;
  }
  *out += '"';
}

/// A list by its elements, a text by its characters; `of` must stay.
class Sequence {
public:
  explicit Sequence(const Value &of) : of_(of) {
    if (of.kind == Value::text)
      starts_ = character_starts(of.str());
  }
  int64_t size() const {
    return static_cast<int64_t>(of_.kind == Value::list ? of_.items().size() : starts_.size() - 1);
  }
  std::string_view character(int64_t i) const {
    return of_.str().substr(starts_[i], starts_[i + 1] - starts_[i]);
  }
  Value operator[](int64_t i) const {
    return of_.kind == Value::list ? of_.items()[i] : Value(std::string(character(i)));
  }

private:
  const Value &of_;
  std::vector<size_t> starts_; ///< of the characters; one more: the end
};
/// What finding a text's characters counts.
uint64_t steps_of(const Value &of) { return of.kind == Value::text ? of.str().size() : 0; }

} // namespace

Status TemplateOperations::fails(int line, const std::string &text) {
  return invalid_argument(at_line(line, text));
}

Status TemplateOperations::needs_engine(int line, const std::string &what) {
  return unsupported(at_line(line, "expected what chat templates commonly use, got " + what));
}

Status TemplateOperations::wrong_kind(int line, const std::string &what, const Value &got) {
  return fails(line, what + ", got " + kind_name(got.kind));
}

Status TemplateOperations::count(int line, uint64_t steps) {
  steps_ += steps;
  if (steps_ > limits_.steps)
    return fails(line, "expected at most " + std::to_string(limits_.steps) + " steps");
  return {};
}

Status TemplateOperations::fits(int line, size_t bytes) {
  if (bytes > limits_.text_bytes)
    return fails(line, "expected texts of at most " + std::to_string(limits_.text_bytes) + " bytes");
  return count(line, bytes / 64);
}

Result<Value> TemplateOperations::made(int line, std::string text) {
  BITNET_RETURN_IF_ERROR(fits(line, text.size()));
  return Value(std::move(text));
}

Status TemplateOperations::write(int line, std::string_view text, std::string *out) {
  const size_t all = out->size() + text.size();
  BITNET_RETURN_IF_ERROR(fits(line, all > limits_.text_bytes ? all : text.size()));
  out->append(text);
  return {};
}

Result<Value> TemplateOperations::nested(int line, Value collection) {
  if (collection.depth > kMaxDepth)
    return fails(line, "expected lists nested at most " + std::to_string(kMaxDepth) + " deep");
  if (collection.holds_namespace) // that could hold the list
    return needs_engine(line, "a namespace in a list");
  return collection;
}

Result<const Value *> TemplateOperations::entry(int line, const Value &of, std::string_view key) {
  BITNET_RETURN_IF_ERROR(count(line, of.entries().size() / 16));
  return static_cast<const Value *>(of.entry(key));
}

Result<bool> TemplateOperations::equal(int line, const Value &a, const Value &b) {
  uint64_t left = limits_.steps - steps_ + 1;
  const uint64_t before = left;
  const bool same = is_equal(a, b, &left);
  BITNET_RETURN_IF_ERROR(count(line, before - left));
  return same;
}

Result<std::string> TemplateOperations::as_text(int line, const Value &value) {
  switch (value.kind) {
  case Value::undefined:
    return std::string();
  case Value::none:
    return std::string("None");
  case Value::truth:
    return std::string(value.number ? "True" : "False");
  case Value::integer:
    return std::to_string(value.number);
  case Value::text:
    return std::string(value.str());
  default:
    return needs_engine(line, std::string(kind_name(value.kind)) + " written as text");
  }
}

Result<Value::List> TemplateOperations::elements(int line, const Value &value) {
  switch (value.kind) {
  case Value::undefined:
    return Value::List();
  case Value::list:
    BITNET_RETURN_IF_ERROR(count(line, kStepsOfElement * value.items().size()));
    return value.items();
  case Value::map: {
    BITNET_RETURN_IF_ERROR(count(line, kStepsOfElement * value.entries().size()));
    Value::List keys;
    for (const auto &entry : value.entries())
      keys.emplace_back(entry.first);
    return keys;
  }
  case Value::text: {
    BITNET_RETURN_IF_ERROR(count(line, kStepsOfElement * value.str().size()));
    const Sequence all(value);
    Value::List characters;
    for (int64_t i = 0; i < all.size(); ++i)
      characters.push_back(all[i]);
    return characters;
  }
  case Value::name_space:
    return needs_engine(line, "a namespace or loop as a list");
  default:
    return wrong_kind(line, "expected a list", value);
  }
}

Result<Value> TemplateOperations::attribute(int line, const std::string &name, const Value &of) {
  if (of.kind == Value::undefined)
    return fails(line, "expected something to take '" + name + "' of, got something undefined");
  // Python finds a dictionary's methods before its keys, and has other values' too.
  if (name[0] == '_' || (of.kind == Value::map && is_method(name)) || of.kind == Value::text ||
      of.kind == Value::list || of.kind == Value::macro || of.is_number())
    return needs_engine(line, "'" + name + "' of " + kind_name(of.kind));
  if (of.kind != Value::map && of.kind != Value::name_space)
    return Value();
  const Result<const Value *> found = entry(line, of, name);
  return !found.ok() ? Result<Value>(found.status()) : *found ? **found : Value();
}

Result<Value> TemplateOperations::item(int line, const Value &of, const Value &key) {
  if (of.kind == Value::undefined)
    return fails(line, "expected something to take an item of, got something undefined");
  if (of.kind == Value::map && key.kind == Value::text) {
    const Result<const Value *> found = entry(line, of, key.str());
    if (!found.ok())
      return found.status();
    if (!*found && (is_method(key.str()) || key.str().substr(0, 1) == "_"))
      return needs_engine(line, format::quoted(key.str()) + " of a dictionary");
    return *found ? **found : Value();
  }
  if ((of.kind == Value::list || of.kind == Value::text) && key.is_number()) {
    BITNET_RETURN_IF_ERROR(count(line, steps_of(of)));
    const Sequence all(of);
    const int64_t at = key.number < 0 ? key.number + all.size() : key.number;
    return at < 0 || at >= all.size() ? Value() : all[at];
  }
  if (of.kind == Value::map ||
      (of.kind == Value::none && key.kind == Value::text && key.str().substr(0, 1) != "_"))
    return Value();
  return needs_engine(line, "such an item of " + std::string(kind_name(of.kind)));
}

Result<Value> TemplateOperations::slice(int line, const Value &of, const std::array<Value, 3> &bounds) {
  if (of.kind != Value::list && of.kind != Value::text)
    return wrong_kind(line, "expected a list or text to cut", of);
  for (const Value &bound : bounds)
    if (!bound.is_number() && bound.kind != Value::none)
      return wrong_kind(line, "expected an integer in [:]", bound);
  BITNET_RETURN_IF_ERROR(count(line, steps_of(of)));
  const Sequence all(of);
  const int64_t n = all.size();
  const int64_t step = bounds[2].is_number() ? std::clamp(bounds[2].number, -n - 1, n + 1) : 1;
  if (step == 0)
    return fails(line, "expected a step other than 0 in [::]");
  const auto clamp = [&](const Value &bound, int64_t otherwise) {
    if (!bound.is_number())
      return otherwise;
    const int64_t at = bound.number < 0 ? bound.number + n : bound.number;
    return std::clamp<int64_t>(at, step < 0 ? -1 : 0, step < 0 ? n - 1 : n);
  };
  const int64_t begin = clamp(bounds[0], step < 0 ? n - 1 : 0), end = clamp(bounds[1], step < 0 ? -1 : n);
  Value::List taken;
  std::string text;
  for (int64_t at = begin; step < 0 ? at > end : at < end; at += step) {
    if (of.kind == Value::list) {
      BITNET_RETURN_IF_ERROR(count(line, kStepsOfElement));
      taken.push_back(all[at]);
    } else {
      text.append(all.character(at));
    }
  }
  return of.kind == Value::list ? Value(std::move(taken)) : made(line, std::move(text));
}

Result<Value> TemplateOperations::negative(int line, const Value &value) {
  if (!value.is_number())
    return wrong_kind(line, "expected a number after '-'", value);
  if (value.number == std::numeric_limits<int64_t>::min())
    return needs_engine(line, "an integer beyond 64 bits");
  return Value::of(-value.number);
}

Result<Value> TemplateOperations::combine(int line, const std::string &op, const Value &left,
                                          const Value &right) {
  if (op == "~") {
    Result<std::string> a = as_text(line, left), b = as_text(line, right);
    if (!a.ok() || !b.ok())
      return a.ok() ? std::move(b).status() : std::move(a).status();
    return made(line, *a + *b);
  }
  if (op == "+" && left.kind == Value::text && right.kind == Value::text)
    return made(line, std::string(left.str()).append(right.str()));
  if (op == "+" && left.kind == Value::list && right.kind == Value::list) {
    BITNET_RETURN_IF_ERROR(count(line, kStepsOfElement * (left.items().size() + right.items().size())));
    Value::List both = left.items();
    both.insert(both.end(), right.items().begin(), right.items().end());
    return Value(std::move(both));
  }
  if (left.is_number() && right.is_number())
    return arithmetic(line, op, left.number, right.number);
  if ((op == "%" && left.kind == Value::text) || op == "*")
    return needs_engine(line, "'" + op + "' with " + kind_name(left.kind));
  return fails(line,
               "cannot apply '" + op + "' to " + kind_name(left.kind) + " and " + kind_name(right.kind));
}

Result<Value> TemplateOperations::arithmetic(int line, const std::string &op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflows = false;
  if (op == "+")
    overflows = __builtin_add_overflow(a, b, &result);
  else if (op == "-")
    overflows = __builtin_sub_overflow(a, b, &result);
  else if (op == "*")
    overflows = __builtin_mul_overflow(a, b, &result);
  else if (b == 0)
    return fails(line, "expected a divisor other than 0");
  else if (b == -1) // the smallest integer has no negative
    overflows = op == "//" && __builtin_sub_overflow(int64_t(0), a, &result);
  else { // rounds down
    const int64_t rest = a % b;
    const bool down = rest != 0 && (rest < 0) != (b < 0);
    result = op == "//" ? a / b - down : rest + (down ? b : 0);
  }
  if (overflows)
    return needs_engine(line, "an integer beyond 64 bits");
  return Value::of(result);
}

Result<Value> TemplateOperations::compare(int line, const std::string &op, const Value &a, const Value &b) {
  if (op == "==" || op == "!=") {
    const Result<bool> same = equal(line, a, b);
    return same.ok() ? Result<Value>(Value::of_truth(*same == (op == "=="))) : same.status();
  }
  if (op == "in" || op == "not in") {
    bool found = false;
    if (b.kind == Value::text) {
      if (a.kind != Value::text)
        return wrong_kind(line, "expected a text before 'in' a text", a);
      BITNET_RETURN_IF_ERROR(count(line, (a.str().size() + b.str().size()) / 64));
      found = position(b.str(), a.str()) != std::string_view::npos;
    } else {
      if (b.kind == Value::map && (a.kind == Value::list || a.kind == Value::map))
        return wrong_kind(line, "expected what can be a key before 'in' a dictionary", a);
      Result<Value::List> all = elements(line, b);
      if (!all.ok())
        return std::move(all).status();
      for (size_t i = 0; i < all->size() && !found; ++i) {
        const Result<bool> same = equal(line, a, (*all)[i]);
        if (!same.ok())
          return same.status();
        found = *same;
      }
    }
    return Value::of_truth(found == (op == "in"));
  }
  int order = 0;
  if (a.is_number() && b.is_number())
    order = a.number < b.number ? -1 : a.number > b.number;
  else if (a.kind == Value::text && b.kind == Value::text) {
    BITNET_RETURN_IF_ERROR(count(line, std::min(a.str().size(), b.str().size()) / 64));
    order = a.str().compare(b.str()); // UTF-8 has the order of code points
  } else if (a.kind == Value::list && b.kind == Value::list)
    return needs_engine(line, "lists compared by order");
  else
    return fails(line, "cannot compare " + std::string(kind_name(a.kind)) + " and " + kind_name(b.kind));
  return Value::of_truth(op == "<"    ? order < 0
                         : op == "<=" ? order <= 0
                         : op == ">"  ? order > 0
                                      : order >= 0);
}

Result<Value> TemplateOperations::test(int line, const std::string &name, const Value &input,
                                       const Value *argument) {
  using Kind = Value::Kind;
  const auto any_of = [&](std::initializer_list<Kind> kinds) -> Result<Value> {
    return Value::of_truth(std::find(kinds.begin(), kinds.end(), input.kind) != kinds.end());
  };
  if (argument) {
    if (name == "equalto" || name == "eq" || name == "==")
      return compare(line, "==", input, *argument);
    if (name == "ne" || name == "!=")
      return compare(line, "!=", input, *argument);
    if (name == "in")
      return compare(line, "in", input, *argument);
  } else if (name == "defined") {
    return Value::of_truth(input.kind != Kind::undefined);
  } else if (name == "undefined") {
    return any_of({Kind::undefined});
  } else if (name == "none") {
    return any_of({Kind::none});
  } else if (name == "string") {
    return any_of({Kind::text});
  } else if (name == "mapping") {
    return any_of({Kind::map});
  } else if ((name == "iterable" || name == "sequence") && input.kind != Kind::name_space) {
    return any_of({Kind::undefined, Kind::text, Kind::list, Kind::map});
  } else if (name == "boolean") {
    return any_of({Kind::truth});
  } else if (name == "integer") {
    return any_of({Kind::integer});
  } else if (name == "number") {
    return any_of({Kind::integer, Kind::truth});
  } else if (name == "true" || name == "false") {
    return Value::of_truth(input.kind == Kind::truth && (input.number != 0) == (name == "true"));
  }
  return needs_engine(line, "the test '" + name + "'");
}

Result<Value> TemplateOperations::call_global(int line, const std::string &name, const Arguments &given) {
  const bool one_text =
      given.values.size() == 1 && given.named.empty() && given.values[0].kind == Value::text;
  if (name == "namespace" && given.values.empty()) {
    Value made = Value::of_namespace(given.named);
    if (made.holds_namespace)
      return needs_engine(line, "a namespace in a namespace");
    return made;
  }
  if (name == "raise_exception" && one_text) {
    return invalid_argument(one_line(std::string(given.values[0].str())));
  }
  if (name == "strftime_now" && one_text) {
    const std::string format(given.values[0].str());
    bool known = format.find('\0') == std::string::npos; // others are Python's own, or of a zone
    for (size_t at = 0; known && (at = format.find('%', at)) != std::string::npos; ++at) {
      at += 1 + (format.compare(at + 1, 1, "-") == 0);
      known = at < format.size() && std::strchr("aAbBdDeFGHIjmMpRSTuUVwWyY%", format[at]);
    }
    if (!known)
      return needs_engine(line, "a date of the form " + format::quoted(format));
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    char text[256];
    ::localtime_r(&now, &local);
    const size_t size = std::strftime(text, sizeof text, format.c_str(), &local);
    if (size == 0 && !format.empty())
      return needs_engine(line, "a date of this form");
    return Value(std::string(text, size));
  }
  if (name == "range" && given.named.empty() && !given.values.empty() && given.values.size() <= 3 &&
      std::all_of(given.values.begin(), given.values.end(), [](const Value &v) { return v.is_number(); })) {
    const size_t n = given.values.size();
    int64_t at = n > 1 ? given.values[0].number : 0;
    const int64_t end = given.values[n > 1 ? 1 : 0].number, step = n > 2 ? given.values[2].number : 1;
    if (step == 0)
      return fails(line, "expected a step other than 0 in range()");
    Value::List list;
    for (; step > 0 ? at < end : at > end;) {
      BITNET_RETURN_IF_ERROR(count(line, kStepsOfElement));
      list.push_back(Value::of(at));
      if (__builtin_add_overflow(at, step, &at))
        break;
    }
    return Value(std::move(list));
  }
  return needs_engine(line, "a call of '" + name + "'");
}

Result<Value> TemplateOperations::call_method(int line, const std::string &name, const Value &of,
                                              const Arguments &given) {
  if (of.kind == Value::undefined)
    return fails(line, "expected something to call '" + name + "' of, got something undefined");
  const size_t n = given.values.size();
  const auto is_text = [&](size_t i) { return given.values[i].kind == Value::text; };
  if (of.kind == Value::map && given.named.empty()) {
    if (name == "get" && (n == 1 || n == 2) && is_text(0)) {
      const Result<const Value *> found = entry(line, of, given.values[0].str());
      if (!found.ok())
        return found.status();
      return *found ? **found : n == 2 ? given.values[1] : Value::of_none();
    }
    if (n == 0 && (name == "items" || name == "keys" || name == "values")) {
      BITNET_RETURN_IF_ERROR(count(line, 2 * kStepsOfElement * of.entries().size()));
      Value::List list;
      for (const auto &[key, value] : of.entries())
        list.push_back(name == "keys"     ? Value(key)
                       : name == "values" ? value
                                          : Value(Value::List{Value(key), value}));
      return Value(std::move(list));
    }
  }
  if (of.kind == Value::text && given.named.empty()) {
    const std::string_view text = of.str();
    const bool first_text = n > 0 && is_text(0);
    BITNET_RETURN_IF_ERROR(count(line, text.size() / 64));
    if ((name == "strip" || name == "lstrip" || name == "rstrip") && n <= 1 && (n == 0 || first_text)) {
      const std::string_view characters = n ? given.values[0].str() : "";
      BITNET_RETURN_IF_ERROR(count(line, text.size() * characters.size() / 64));
      return made(
          line, std::string(strip_text(text, name != "rstrip", name != "lstrip", n ? &characters : nullptr)));
    }
    if (n == 1 && first_text && (name == "startswith" || name == "endswith")) {
      const std::string_view part = given.values[0].str();
      const bool fits = part.size() <= text.size();
      return Value::of_truth(fits && (name == "startswith" ? text.substr(0, part.size())
                                                           : text.substr(text.size() - part.size())) == part);
    }
    if (name == "split" && first_text && (n == 1 || (n == 2 && given.values[1].is_number())))
      return split(line, text, given.values[0].str(), n == 2 ? given.values[1].number : -1);
    if (name == "replace" && n == 2 && is_text(0) && is_text(1))
      return replace(line, text, given.values[0].str(), given.values[1].str());
    if (n == 0 && (name == "upper" || name == "lower" || name == "capitalize"))
      return change_case(line, name, text);
  }
  return needs_engine(line, "a call of '" + name + "' of " + kind_name(of.kind));
}

Result<Value> TemplateOperations::split(int line, std::string_view text, std::string_view separator,
                                        int64_t most) {
  if (separator.empty())
    return fails(line, "expected a separator, got an empty text");
  Value::List parts;
  uint64_t cuts = most < 0 ? std::numeric_limits<uint64_t>::max() : static_cast<uint64_t>(most);
  for (size_t at; cuts > 0 && (at = position(text, separator)) != std::string_view::npos; --cuts) {
    BITNET_RETURN_IF_ERROR(count(line, kStepsOfElement));
    parts.emplace_back(std::string(text.substr(0, at)));
    text.remove_prefix(at + separator.size());
  }
  parts.emplace_back(std::string(text));
  return Value(std::move(parts));
}

Result<Value> TemplateOperations::replace(int line, std::string_view text, std::string_view from,
                                          std::string_view to) {
  if (from.empty())
    return needs_engine(line, "a replacement of the empty text");
  std::string out;
  for (size_t at; (at = position(text, from)) != std::string_view::npos;) {
    out.append(text.substr(0, at)).append(to);
    BITNET_RETURN_IF_ERROR(out.size() > limits_.text_bytes ? fits(line, out.size())
                                                           : count(line, 1 + to.size() / 64));
    text.remove_prefix(at + from.size());
  }
  return made(line, out.append(text));
}

Result<Value> TemplateOperations::change_case(int line, const std::string &how, std::string_view text) {
  std::string out(text);
  for (size_t i = 0; i < out.size(); ++i) {
    const char c = out[i];
    if (static_cast<uint8_t>(c) >= 0x80)
      return needs_engine(line, "'" + how + "' of a text beyond ASCII");
    const bool up = how == "upper" || (how == "capitalize" && i == 0);
    if (up && c >= 'a' && c <= 'z')
      out[i] = static_cast<char>(c - 'a' + 'A');
    else if (!up && c >= 'A' && c <= 'Z')
      out[i] = static_cast<char>(c - 'A' + 'a');
  }
  return made(line, std::move(out));
}

Result<Value> TemplateOperations::filter(int line, const std::string &name, const Value &input,
                                         const Arguments &given) {
  const size_t n = given.values.size();
  const bool bare = n == 0 && given.named.empty();
  if (bare &&
      (name == "trim" || name == "upper" || name == "lower" || name == "capitalize" || name == "string")) {
    Result<std::string> text = as_text(line, input);
    if (!text.ok())
      return std::move(text).status();
    if (name == "trim")
      return made(line, std::string(strip_text(*text, true, true)));
    return name == "string" ? made(line, std::move(*text)) : change_case(line, name, *text);
  }
  if (bare && (name == "length" || name == "count" || name == "first" || name == "last" || name == "list")) {
    if (input.kind == Value::undefined && name == "last")
      return needs_engine(line, "the last element of something undefined");
    if (name == "length" || name == "count") {
      if (input.kind == Value::list || input.kind == Value::text) {
        BITNET_RETURN_IF_ERROR(count(line, steps_of(input)));
        return Value::of(Sequence(input).size());
      }
    }
    Result<Value::List> all = elements(line, input);
    if (!all.ok())
      return std::move(all).status();
    if (name == "list")
      return Value(std::move(*all));
    if (name == "first" || name == "last")
      return all->empty() ? Value() : name == "first" ? all->front() : all->back();
    return Value::of(static_cast<int64_t>(all->size()));
  }
  const bool named_boolean = given.named.size() == 1 && given.named[0].first == "boolean" && n == 1;
  if ((name == "default" || name == "d") && (named_boolean || (given.named.empty() && (n == 1 || n == 2)))) {
    const bool all_false =
        named_boolean ? is_true(given.named[0].second) : n == 2 && is_true(given.values[1]);
    const bool empty = input.kind == Value::undefined || (all_false && !is_true(input));
    return empty ? given.values[0] : input;
  }
  if (name == "replace" && n == 2 && given.named.empty() && input.kind == Value::text &&
      given.values[0].kind == Value::text && given.values[1].kind == Value::text)
    return replace(line, input.str(), given.values[0].str(), given.values[1].str());
  if (name == "join" && n <= 1 && given.named.empty() && (n == 0 || given.values[0].kind == Value::text))
    return join(line, input, n ? given.values[0].str() : std::string_view());
  if (name == "tojson" && bare) {
    std::string json;
    BITNET_RETURN_IF_ERROR(append_json(line, input, &json));
    return made(line, std::move(json));
  }
  if ((name == "selectattr" || name == "rejectattr") && n >= 1 && n <= 3 && given.named.empty() &&
      given.values[0].kind == Value::text && (n == 1 || given.values[1].kind == Value::text))
    return select(line, input, given.values, name == "selectattr");
  return needs_engine(line, "the filter '" + name + "'");
}

Result<Value> TemplateOperations::join(int line, const Value &input, std::string_view separator) {
  Result<Value::List> all = elements(line, input);
  if (!all.ok())
    return std::move(all).status();
  std::string joined;
  for (size_t i = 0; i < all->size(); ++i) {
    Result<std::string> text = as_text(line, (*all)[i]);
    if (!text.ok())
      return std::move(text).status();
    if (i > 0)
      joined.append(separator);
    joined.append(*text);
    BITNET_RETURN_IF_ERROR(joined.size() > limits_.text_bytes
                               ? fits(line, joined.size())
                               : count(line, 1 + (separator.size() + text->size()) / 64));
  }
  return made(line, std::move(joined));
}

Result<Value> TemplateOperations::select(int line, const Value &input, const std::vector<Value> &given,
                                         bool keep) {
  const std::string_view attribute = given[0].str();
  if (attribute.find('.') != std::string_view::npos)
    return needs_engine(line, "an attribute of an attribute");
  if (!is_true(input))
    return Value(Value::List());
  Result<Value::List> all = elements(line, input);
  if (!all.ok())
    return std::move(all).status();
  Value::List selected;
  for (const Value &one : *all) {
    if (one.kind != Value::map)
      return needs_engine(line, "attributes of " + std::string(kind_name(one.kind)));
    const Result<const Value *> found = entry(line, one, attribute);
    if (!found.ok())
      return found.status();
    const Value value = *found ? **found : Value();
    Result<Value> holds = given.size() == 1 ? Result<Value>(Value::of_truth(is_true(value)))
                                            : test(line, std::string(given[1].str()), value,
                                                   given.size() == 3 ? &given[2] : nullptr);
    if (!holds.ok())
      return holds;
    if ((holds->number != 0) == keep)
      selected.push_back(one);
  }
  return Value(std::move(selected));
}

/// json.dumps(value, ensure_ascii=False).
Status TemplateOperations::append_json(int line, const Value &value, std::string *out, int depth) {
  if (depth > 64)
    return needs_engine(line, "JSON nested this deep");
  BITNET_RETURN_IF_ERROR(out->size() > limits_.text_bytes ? fits(line, out->size()) : count(line));
  switch (value.kind) {
  case Value::none:
    out->append("null");
    return {};
  case Value::truth:
    out->append(value.number ? "true" : "false");
    return {};
  case Value::integer:
    out->append(std::to_string(value.number));
    return {};
  case Value::text:
    append_json_text(value.str(), out);
    return count(line, value.str().size() / 64);
  case Value::list:
  case Value::map: {
    const bool list = value.kind == Value::list;
    const size_t n = list ? value.items().size() : value.entries().size();
    *out += list ? '[' : '{';
    for (size_t i = 0; i < n; ++i) {
      if (i > 0)
        out->append(", ");
      if (!list) {
        append_json_text(value.entries()[i].first, out);
        out->append(": ");
      }
      BITNET_RETURN_IF_ERROR(
          append_json(line, list ? value.items()[i] : value.entries()[i].second, out, depth + 1));
    }
    *out += list ? ']' : '}';
    return {};
  }
  default:
    return wrong_kind(line, "expected what JSON can say", value);
  }
}

} // namespace bitnet::runtime
