// What the operators, tests, filters, methods and global functions of a chat template make of values
// (template_value.h), as Python's and Jinja's do, within limits of work and memory. It knows values only:
// names and the order in which a template is evaluated are template_render.cpp's.
#pragma once
#include "runtime/base/status.h"
#include "runtime/tokenizer/template_value.h"
#include <array>

namespace bitnet::runtime {

struct TemplateLimits {
  uint64_t steps = 20'000'000;  ///< about one for each part of an expression, and for 64 bytes of text
  size_t text_bytes = 64 << 20; ///< of one text, the result included
};

/// Errors begin with the line of the template: `unsupported` for what only a whole engine can do,
/// `invalid_argument` for what Python would not do either, or beyond a limit.
class TemplateOperations {
public:
  using Value = TemplateValue;
  struct Arguments {
    std::vector<Value> values;
    Value::Map named;
  };

  explicit TemplateOperations(const TemplateLimits &limits) : limits_(limits) {}

  static Status fails(int line, const std::string &text);
  static Status needs_engine(int line, const std::string &what);
  static Status wrong_kind(int line, const std::string &what, const Value &got);

  /// So many steps more.
  Status count(int line, uint64_t steps = 1);
  Status write(int line, std::string_view text, std::string *out);
  /// A new text.
  Result<Value> made(int line, std::string text);
  /// A new list or dictionary, if it may hold what it holds.
  Result<Value> nested(int line, Value collection);

  /// As Jinja writes a value.
  Result<std::string> as_text(int line, const Value &value);
  /// What a loop over it goes through.
  Result<Value::List> elements(int line, const Value &value);

  Result<Value> attribute(int line, const std::string &name, const Value &of);
  Result<Value> item(int line, const Value &of, const Value &key);
  /// Begin, end and step; none where left out.
  Result<Value> slice(int line, const Value &of, const std::array<Value, 3> &bounds);
  Result<Value> negative(int line, const Value &value);
  /// + - * // % ~
  Result<Value> combine(int line, const std::string &op, const Value &a, const Value &b);
  /// == != < <= > >= in, not in
  Result<Value> compare(int line, const std::string &op, const Value &a, const Value &b);
  /// argument: nullptr without one.
  Result<Value> test(int line, const std::string &name, const Value &input, const Value *argument);
  Result<Value> filter(int line, const std::string &name, const Value &input, const Arguments &given);
  Result<Value> call_global(int line, const std::string &name, const Arguments &given);
  Result<Value> call_method(int line, const std::string &name, const Value &of, const Arguments &given);

private:
  /// Before a text of so many bytes is kept.
  Status fits(int line, size_t bytes);
  /// Of a dictionary or namespace; nullptr when absent.
  Result<const Value *> entry(int line, const Value &of, std::string_view key);
  Result<bool> equal(int line, const Value &a, const Value &b);
  Result<Value> arithmetic(int line, const std::string &op, int64_t a, int64_t b);
  Result<Value> split(int line, std::string_view text, std::string_view separator, int64_t most);
  Result<Value> replace(int line, std::string_view text, std::string_view from, std::string_view to);
  Result<Value> change_case(int line, const std::string &how, std::string_view text);
  Result<Value> join(int line, const Value &input, std::string_view separator);
  Result<Value> select(int line, const Value &input, const std::vector<Value> &given, bool keep);
  Status append_json(int line, const Value &value, std::string *out, int depth = 0);

  const TemplateLimits limits_;
  uint64_t steps_ = 0;
};

} // namespace bitnet::runtime
