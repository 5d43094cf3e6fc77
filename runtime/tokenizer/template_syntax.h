// Chat templates are programs in Jinja; this is their syntax: source to tree. The part of the language that
// chat templates use: texts, {{ }}, for (with if, else, break, continue), if, set (names, attributes of a
// namespace, blocks), macro, generation; expressions without floats and tuples. Line ends and blanks around
// tags go as in transformers' environment (trim_blocks, lstrip_blocks). Another construct is an error, never
// skipped.
#pragma once
#include "runtime/base/status.h"
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::runtime {

struct TemplateExpr {
  enum Kind : uint8_t {
    text,      ///< name: the text
    integer,   ///< number
    truth,     ///< number: 0 or 1
    none,      //
    variable,  ///< name
    list,      ///< args
    map,       ///< args: key, value, key, value ...
    attribute, ///< args[0] . name
    item,      ///< args[0] [ args[1] ]
    slice,     ///< args[0] [ args[1] : args[2] : args[3] ], null where left out
    call,      ///< args[0] ( the others, named )
    filter,    ///< args[0] | name ( the others, named )
    test,      ///< args[0] is name ( the others )
    negate,    ///< not args[0]
    minus,     ///< - args[0]
    binary,    ///< args[0] name args[1]; name: + - * // % ~ and or
    compare,   ///< args[0] ops[0] args[1] ops[1] ...; ops: == != < <= > >= in, not in
    either,    ///< args[0] if args[1] else args[2] (null: nothing)
  };
  Kind kind;
  int line;
  std::string name;
  int64_t number = 0;
  std::vector<std::unique_ptr<TemplateExpr>> args;
  std::vector<std::pair<std::string, std::unique_ptr<TemplateExpr>>> named;
  std::vector<std::string> ops;
};

struct TemplateStep {
  enum Kind : uint8_t {
    text,          ///< names[0]
    print,         ///< value
    loop,          ///< for names in value [if condition] body [else other]
    branch,        ///< if value body else other
    set,           ///< names = value
    set_attribute, ///< names[0] . names[1] = value
    set_block,     ///< names[0] = what body writes
    scope,         ///< body, whose names are its own
    macro,         ///< names[0] ( the other names; the last `defaults` have values ) body
    break_loop,    //
    continue_loop, //
  };
  Kind kind;
  int line;
  std::vector<std::string> names;
  std::unique_ptr<TemplateExpr> value, condition;
  std::vector<std::unique_ptr<TemplateExpr>> defaults;
  std::vector<TemplateStep> body, other;
};

/// Errors have the code `unsupported`: a template that is broken, or that needs a whole engine.
Result<std::vector<TemplateStep>> parse_template(std::string_view source);

} // namespace bitnet::runtime
