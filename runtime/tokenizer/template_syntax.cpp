// See template_syntax.h.
#include "runtime/tokenizer/template_syntax.h"
#include "runtime/format/quoted.h"
#include "runtime/tokenizer/template_value.h"

#include <charconv>
#include <cstring>

namespace bitnet::runtime {
namespace {

using Expr = TemplateExpr;
using ExprPtr = std::unique_ptr<Expr>;
using Step = TemplateStep;

constexpr int kMaxNesting = 100;
constexpr size_t kMaxTagTokens = 1000; ///< and with it the depth of an expression's tree: a + b + c ...

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

struct Token {
  enum Kind : uint8_t {
    name,
    text,
    integer,
    sign,
    block_begin,
    block_end,
    print_begin,
    print_end,
    data,
    end
  };
  Kind kind;
  int line;
  std::string value;
};

/// As the engine has it before anything else: \n for every line end, and one at the end of the source gone.
std::string with_plain_line_ends(std::string_view source) {
  std::string plain;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r')
      plain += '\n', i += source.substr(i + 1, 1) == "\n";
    else
      plain += source[i];
  }
  if (!plain.empty() && plain.back() == '\n')
    plain.pop_back();
  return plain;
}

class Lexer {
public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Status run(std::vector<Token> *tokens) {
    tokens_ = tokens;
    while (at_ < source_.size())
      BITNET_RETURN_IF_ERROR(read_data_and_tag());
    push(Token::end, "");
    return {};
  }

private:
  Status broken(const std::string &what) const {
    return unsupported("line " + std::to_string(line_) + ": " + what);
  }
  void push(Token::Kind kind, std::string value) { tokens_->push_back({kind, line_, std::move(value)}); }
  void pass(size_t n) {
    for (const size_t end = at_ + n; at_ < end; ++at_)
      line_ += source_[at_] == '\n';
  }
  bool follows(std::string_view text) const { return source_.compare(at_, text.size(), text) == 0; }

  Status read_data_and_tag() {
    size_t open = at_;
    while (open < source_.size() &&
           !(source_[open] == '{' && open + 1 < source_.size() && std::strchr("%{#", source_[open + 1])))
      ++open;
    std::string_view data = std::string_view(source_).substr(at_, open - at_);
    if (open < source_.size()) {
      const char sign = open + 2 < source_.size() ? source_[open + 2] : '\0';
      if (sign == '-') {
        data = strip_text(data, false, true);
      } else if (sign != '+' && source_[open + 1] != '{') { // lstrip_blocks
        const size_t line = data.rfind('\n') + 1;
        if ((line > 0 || line_starts_) && strip_text(data.substr(line), true, false).empty())
          data = data.substr(0, line);
      }
    }
    if (!data.empty())
      push(Token::data, std::string(data));
    pass(open - at_);
    line_starts_ = false;
    if (at_ == source_.size())
      return {};
    const char kind = source_[at_ + 1];
    pass(2);
    if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+'))
      pass(1);
    if (kind == '#') {
      const size_t close = source_.find("#}", at_);
      if (close == std::string::npos)
        return broken("expected '#}', got the end");
      const bool strip = close > at_ && source_[close - 1] == '-',
                 keep = close > at_ && source_[close - 1] == '+';
      pass(close + 2 - at_);
      after_tag(strip, !keep);
      return {};
    }
    push(kind == '%' ? Token::block_begin : Token::print_begin, "");
    return read_tag(kind == '%');
  }

  /// What a tag's end takes along of the text after it.
  void after_tag(bool strip, bool trims) {
    const size_t from = at_;
    if (strip) {
      const std::string_view rest = std::string_view(source_).substr(at_);
      pass(rest.size() - strip_text(rest, true, false).size());
    } else if (trims && at_ < source_.size() && source_[at_] == '\n')
      pass(1);
    line_starts_ = at_ > from && source_[at_ - 1] == '\n';
  }

  Status read_tag(bool block) {
    const std::string_view close = block ? "%}" : "}}";
    size_t open = 0; // brackets
    const size_t first = tokens_->size();
    while (at_ < source_.size()) {
      if (tokens_->size() - first > kMaxTagTokens)
        return broken("expected at most " + std::to_string(kMaxTagTokens) + " words and signs in a tag");
      const char c = source_[at_];
      const char sign = c == '-' || (block && c == '+') ? c : '\0';
      if (open == 0 && source_.compare(at_ + (sign ? 1 : 0), 2, close) == 0) {
        push(block ? Token::block_end : Token::print_end, "");
        pass(sign ? 3 : 2);
        after_tag(sign == '-', block && sign != '+');
        return {};
      }
      if (is_blank(c)) {
        pass(1);
      } else if (starts_name(c)) {
        size_t end = at_;
        while (end < source_.size() && (starts_name(source_[end]) || is_digit(source_[end])))
          ++end;
        push(Token::name, source_.substr(at_, end - at_));
        pass(end - at_);
      } else if (is_digit(c)) {
        BITNET_RETURN_IF_ERROR(read_integer());
      } else if (c == '\'' || c == '"') {
        BITNET_RETURN_IF_ERROR(read_text());
      } else {
        static constexpr std::string_view kSigns[] = {"==", "!=", "<=", ">=", "//", "**", "+", "-", "*",
                                                      "/",  "%",  "~",  "<",  ">",  "=",  "(", ")", "[",
                                                      "]",  "{",  "}",  ".",  ":",  ",",  "|"};
        std::string_view found;
        for (const std::string_view one : kSigns)
          if (found.empty() && follows(one))
            found = one;
        if (found.empty())
          return broken("got " + format::quoted(source_.substr(at_, 1)) + " in a tag");
        if (std::strchr("([{", c))
          ++open;
        else if (std::strchr(")]}", c) && open > 0)
          --open;
        push(Token::sign, std::string(found));
        pass(found.size());
      }
    }
    return broken("expected '" + std::string(close) + "', got the end");
  }

  Status read_integer() {
    size_t end = at_;
    while (end < source_.size() && is_digit(source_[end]))
      ++end;
    int64_t value = 0;
    if (std::from_chars(&source_[at_], &source_[end - 1] + 1, value).ec != std::errc() ||
        (source_[at_] == '0' && value != 0) ||
        (end < source_.size() &&
         (starts_name(source_[end]) ||
          (source_[end] == '.' && end + 1 < source_.size() && is_digit(source_[end + 1])))))
      return broken("expected an integer, got " + format::quoted(source_.substr(at_, end + 2 - at_)));
    push(Token::integer, source_.substr(at_, end - at_));
    pass(end - at_);
    return {};
  }

  static int hex(char c) {
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  }

  static void append_utf8(uint32_t code, std::string *out) {
    if (code < 0x80) {
      *out += static_cast<char>(code);
      return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    *out += static_cast<char>((0xFF00 >> (more + 1) & 0xFF) | code >> 6 * more);
    for (int i = more - 1; i >= 0; --i)
      *out += static_cast<char>(0x80 | (code >> 6 * i & 0x3F));
  }

  /// Escapes as Python has them; octal ones and names are refused.
  Status read_text() {
    const char quote = source_[at_];
    std::string value;
    size_t at = at_ + 1;
    for (; at < source_.size() && source_[at] != quote; ++at) {
      if (source_[at] != '\\') {
        value += source_[at];
        continue;
      }
      if (++at == source_.size())
        break;
      static constexpr char kFrom[] = "ntrabfv\\'\"", kTo[] = "\n\t\r\a\b\f\v\\'\"";
      const char c = source_[at];
      if (const char *found = std::strchr(kFrom, c)) {
        value += kTo[found - kFrom];
      } else if (c == 'x' || c == 'u' || c == 'U') {
        uint32_t code = 0;
        for (int digits = c == 'x' ? 2 : c == 'u' ? 4 : 8; digits > 0; --digits) {
          const int digit = ++at < source_.size() ? hex(source_[at]) : -1;
          if (digit < 0)
            return broken("expected hexadecimal digits after '\\" + std::string(1, c) + "'");
          code = code << 4 | static_cast<uint32_t>(digit);
        }
        if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
          return broken("expected a character, got code point " + std::to_string(code));
        append_utf8(code, &value);
      } else if (is_digit(c) || c == 'N' || c == '\n' || static_cast<uint8_t>(c) >= 0x80) {
        return broken("got the escape " + format::quoted("\\" + std::string(1, c)));
      } else {
        value += {'\\', c};
      }
    }
    if (at >= source_.size())
      return broken("expected the end of a text, got the end");
    push(Token::text, std::move(value));
    pass(at + 1 - at_);
    return {};
  }

  const std::string source_;
  std::vector<Token> *tokens_ = nullptr;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;
};

class Parser {
public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<std::vector<Step>> run() {
    std::vector<Step> steps;
    BITNET_RETURN_IF_ERROR(parse_steps(&steps, {}));
    return steps;
  }

private:
  const Token &now() const { return tokens_[at_]; }
  const Token &take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is(Token::Kind kind, std::string_view value) const {
    return now().kind == kind && now().value == value;
  }
  bool is_sign(std::string_view value) const { return is(Token::sign, value); }
  bool is_name(std::string_view value) const { return is(Token::name, value); }
  bool skip_sign(std::string_view value) { return is_sign(value) && (take(), true); }
  bool skip_name(std::string_view value) { return is_name(value) && (take(), true); }

  Status expected(const std::string &what) const {
    static constexpr const char *kKinds[] = {
        "", "a text", "", "", "'{%'", "'%}'", "'{{'", "'}}'", "text outside of tags", "the end"};
    const Token &token = now();
    const char *kind = kKinds[token.kind];
    return unsupported("line " + std::to_string(token.line) + ": expected " + what + ", got " +
                       (*kind ? kind : format::quoted(token.value)));
  }
  Status need_sign(std::string_view value) {
    if (!skip_sign(value))
      return expected("'" + std::string(value) + "'");
    return {};
  }
  Status need_name(std::string *name) {
    if (now().kind != Token::name)
      return expected("a name");
    *name = take().value;
    return {};
  }
  /// A name that can be assigned to.
  Status need_target(std::string *name) {
    for (const std::string_view constant : {"true", "True", "false", "False", "none", "None", "loop"})
      if (is_name(constant))
        return expected("a name to assign to");
    return need_name(name);
  }
  Status need_end_of_block() {
    if (now().kind != Token::block_end)
      return expected("'%}'");
    take();
    return {};
  }

  /// Steps up to a block whose name is one of `ends` (which stays, after its '{%'), or to the end.
  Status parse_steps(std::vector<Step> *steps, std::initializer_list<std::string_view> ends) {
    if (++depth_ > kMaxNesting)
      return expected("nesting of at most " + std::to_string(kMaxNesting));
    while (true) {
      const Token &token = now();
      if (token.kind == Token::end) {
        if (ends.size() != 0)
          return expected("'" + std::string(*(ends.end() - 1)) + "'");
        break;
      }
      if (token.kind == Token::data) {
        steps->push_back({Step::text, token.line, {take().value}, nullptr, nullptr, {}, {}, {}});
        continue;
      }
      take();
      Step step{Step::print, token.line, {}, nullptr, nullptr, {}, {}, {}};
      if (token.kind == Token::print_begin) {
        BITNET_RETURN_IF_ERROR(parse_expr(&step.value));
        if (now().kind != Token::print_end)
          return expected("'}}'");
        take();
        steps->push_back(std::move(step));
        continue;
      }
      for (const std::string_view end : ends)
        if (is_name(end)) {
          --depth_;
          return {};
        }
      BITNET_RETURN_IF_ERROR(parse_block(&step));
      steps->push_back(std::move(step));
    }
    --depth_;
    return {};
  }

  /// From the end of a block's opening tag to the end of its closing one.
  Status parse_body(std::vector<Step> *body, std::string_view end) {
    BITNET_RETURN_IF_ERROR(need_end_of_block());
    BITNET_RETURN_IF_ERROR(parse_steps(body, {end}));
    take();
    return need_end_of_block();
  }

  /// A body that no `break` leaves.
  Status parse_function(std::vector<Step> *body, std::string_view end) {
    const int outer = std::exchange(loops_, 0);
    BITNET_RETURN_IF_ERROR(parse_body(body, end));
    loops_ = outer;
    return {};
  }

  Status parse_block(Step *step) {
    if (skip_name("for"))
      return parse_loop(step);
    if (skip_name("if"))
      return parse_branch(step);
    if (skip_name("set"))
      return parse_set(step);
    if (skip_name("macro"))
      return parse_macro(step);
    if (skip_name("generation")) { // marks what an assistant says, for training
      step->kind = Step::scope;
      return parse_function(&step->body, "endgeneration");
    }
    if (loops_ > 0 && (is_name("break") || is_name("continue"))) {
      step->kind = take().value == "break" ? Step::break_loop : Step::continue_loop;
      return need_end_of_block();
    }
    return expected("for, if, set, macro or generation");
  }

  Status parse_loop(Step *step) {
    step->kind = Step::loop;
    do {
      BITNET_RETURN_IF_ERROR(need_target(&step->names.emplace_back()));
    } while (skip_sign(","));
    if (!skip_name("in"))
      return expected("'in'");
    BITNET_RETURN_IF_ERROR(parse_or(&step->value)); // a bare `if` belongs to the loop
    if (skip_name("if"))
      BITNET_RETURN_IF_ERROR(parse_expr(&step->condition));
    BITNET_RETURN_IF_ERROR(need_end_of_block());
    ++loops_;
    BITNET_RETURN_IF_ERROR(parse_steps(&step->body, {"else", "endfor"}));
    --loops_;
    if (skip_name("else"))
      return parse_body(&step->other, "endfor");
    take();
    return need_end_of_block();
  }

  Status parse_branch(Step *step) {
    step->kind = Step::branch;
    BITNET_RETURN_IF_ERROR(parse_or(&step->value)); // Jinja takes no `if` here either
    BITNET_RETURN_IF_ERROR(need_end_of_block());
    BITNET_RETURN_IF_ERROR(parse_steps(&step->body, {"elif", "else", "endif"}));
    if (skip_name("elif")) {
      if (++depth_ > kMaxNesting)
        return expected("nesting of at most " + std::to_string(kMaxNesting));
      step->other.push_back({Step::branch, now().line, {}, nullptr, nullptr, {}, {}, {}});
      BITNET_RETURN_IF_ERROR(parse_branch(&step->other.back()));
      --depth_;
      return {};
    }
    if (skip_name("else"))
      return parse_body(&step->other, "endif");
    take();
    return need_end_of_block();
  }

  Status parse_set(Step *step) {
    step->kind = Step::set;
    BITNET_RETURN_IF_ERROR(need_target(&step->names.emplace_back()));
    if (skip_sign(".")) {
      step->kind = Step::set_attribute;
      BITNET_RETURN_IF_ERROR(need_name(&step->names.emplace_back()));
    } else {
      while (skip_sign(","))
        BITNET_RETURN_IF_ERROR(need_target(&step->names.emplace_back()));
    }
    if (step->names.size() == 1 && now().kind == Token::block_end) {
      step->kind = Step::set_block;
      return parse_body(&step->body, "endset");
    }
    BITNET_RETURN_IF_ERROR(need_sign("="));
    BITNET_RETURN_IF_ERROR(parse_expr(&step->value));
    return need_end_of_block();
  }

  Status parse_macro(Step *step) {
    step->kind = Step::macro;
    BITNET_RETURN_IF_ERROR(need_name(&step->names.emplace_back()));
    BITNET_RETURN_IF_ERROR(need_sign("("));
    while (!is_sign(")")) {
      for (size_t i = 1; i < step->names.size(); ++i)
        if (is_name(step->names[i]))
          return expected("another name");
      BITNET_RETURN_IF_ERROR(need_target(&step->names.emplace_back()));
      if (skip_sign("="))
        BITNET_RETURN_IF_ERROR(parse_expr(&step->defaults.emplace_back()));
      else if (!step->defaults.empty())
        return expected("'=' after the other defaults");
      if (!is_sign(")"))
        BITNET_RETURN_IF_ERROR(need_sign(","));
    }
    take();
    return parse_function(&step->body, "endmacro");
  }

  ExprPtr make(Expr::Kind kind, std::string name = "") const {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->line = now().line;
    expr->name = std::move(name);
    return expr;
  }
  /// `*expr` becomes the first argument of a new one.
  Expr *wrap(Expr::Kind kind, std::string name, ExprPtr *expr) const {
    ExprPtr outer = make(kind, std::move(name));
    outer->args.push_back(std::move(*expr));
    *expr = std::move(outer);
    return expr->get();
  }

  Status parse_expr(ExprPtr *expr) {
    if (++depth_ > kMaxNesting)
      return expected("nesting of at most " + std::to_string(kMaxNesting));
    BITNET_RETURN_IF_ERROR(parse_or(expr));
    while (skip_name("if")) {
      Expr *choice = wrap(Expr::either, "", expr);
      BITNET_RETURN_IF_ERROR(parse_or(&choice->args.emplace_back()));
      choice->args.emplace_back();
      if (skip_name("else"))
        BITNET_RETURN_IF_ERROR(parse_expr(&choice->args[2]));
    }
    --depth_;
    return {};
  }

  /// operand (sign operand)*, to the left.
  template <typename Operand>
  Status parse_binary(ExprPtr *expr, std::initializer_list<std::string_view> signs, Token::Kind kind,
                      Operand operand) {
    BITNET_RETURN_IF_ERROR(operand(expr));
    while (true) {
      const std::string_view *sign = nullptr;
      for (const std::string_view &one : signs)
        if (is(kind, one))
          sign = &one;
      if (!sign)
        return {};
      Expr *both = wrap(Expr::binary, std::string(*sign), expr);
      take();
      BITNET_RETURN_IF_ERROR(operand(&both->args.emplace_back()));
    }
  }

  Status parse_or(ExprPtr *expr) {
    return parse_binary(expr, {"or"}, Token::name, [this](ExprPtr *e) { return parse_and(e); });
  }
  Status parse_and(ExprPtr *expr) {
    return parse_binary(expr, {"and"}, Token::name, [this](ExprPtr *e) { return parse_not(e); });
  }
  Status parse_not(ExprPtr *expr) {
    if (!skip_name("not"))
      return parse_compare(expr);
    if (++depth_ > kMaxNesting)
      return expected("nesting of at most " + std::to_string(kMaxNesting));
    BITNET_RETURN_IF_ERROR(parse_not(expr));
    wrap(Expr::negate, "", expr);
    --depth_;
    return {};
  }

  Status parse_compare(ExprPtr *expr) {
    BITNET_RETURN_IF_ERROR(parse_sum(expr));
    for (bool chained = false;;) {
      std::string op;
      for (const std::string_view sign : {"==", "!=", "<=", ">=", "<", ">"})
        if (op.empty() && skip_sign(sign))
          op = sign;
      if (op.empty() && skip_name("in")) {
        op = "in";
      } else if (op.empty() && is_name("not") && tokens_[at_ + 1].kind == Token::name &&
                 tokens_[at_ + 1].value == "in") {
        take();
        take();
        op = "not in";
      }
      if (op.empty())
        return {};
      if (!chained)
        wrap(Expr::compare, "", expr);
      chained = true;
      (*expr)->ops.push_back(op);
      BITNET_RETURN_IF_ERROR(parse_sum(&(*expr)->args.emplace_back()));
    }
  }

  Status parse_sum(ExprPtr *expr) {
    return parse_binary(expr, {"+", "-"}, Token::sign, [this](ExprPtr *e) { return parse_join(e); });
  }
  Status parse_join(ExprPtr *expr) {
    return parse_binary(expr, {"~"}, Token::sign, [this](ExprPtr *e) { return parse_product(e); });
  }
  Status parse_product(ExprPtr *expr) {
    return parse_binary(expr, {"*", "//", "%"}, Token::sign,
                        [this](ExprPtr *e) { return parse_unary(e, true); });
  }

  Status parse_unary(ExprPtr *expr, bool with_filters) {
    if (++depth_ > kMaxNesting)
      return expected("nesting of at most " + std::to_string(kMaxNesting));
    if (skip_sign("-")) {
      BITNET_RETURN_IF_ERROR(parse_unary(expr, false));
      wrap(Expr::minus, "", expr);
    } else {
      BITNET_RETURN_IF_ERROR(parse_primary(expr));
    }
    BITNET_RETURN_IF_ERROR(parse_postfix(expr));
    if (with_filters)
      BITNET_RETURN_IF_ERROR(parse_filters(expr));
    --depth_;
    return {};
  }

  Status parse_primary(ExprPtr *expr) {
    if (now().kind == Token::name) {
      for (const std::string_view word : {"and", "or", "not", "if", "else", "elif", "in", "is"})
        if (is_name(word))
          return expected("a value");
      const std::string &name = now().value;
      if (name == "true" || name == "True" || name == "false" || name == "False") {
        *expr = make(Expr::truth);
        (*expr)->number = name == "true" || name == "True";
      } else if (name == "none" || name == "None") {
        *expr = make(Expr::none);
      } else {
        *expr = make(Expr::variable, name);
      }
      take();
      return {};
    }
    if (now().kind == Token::integer) {
      *expr = make(Expr::integer);
      (*expr)->number = std::stoll(take().value);
      return {};
    }
    if (now().kind == Token::text) {
      *expr = make(Expr::text);
      while (now().kind == Token::text)
        (*expr)->name += take().value;
      return {};
    }
    if (skip_sign("(")) {
      BITNET_RETURN_IF_ERROR(parse_expr(expr));
      return need_sign(")");
    }
    if (is_sign("[") || is_sign("{"))
      return parse_collection(expr);
    return expected("a value");
  }

  Status parse_collection(ExprPtr *expr) {
    const bool list = take().value == "[";
    const char *close = list ? "]" : "}";
    *expr = make(list ? Expr::list : Expr::map);
    while (!is_sign(close)) {
      BITNET_RETURN_IF_ERROR(parse_expr(&(*expr)->args.emplace_back()));
      if (!list) {
        BITNET_RETURN_IF_ERROR(need_sign(":"));
        BITNET_RETURN_IF_ERROR(parse_expr(&(*expr)->args.emplace_back()));
      }
      if (!is_sign(close))
        BITNET_RETURN_IF_ERROR(need_sign(","));
    }
    take();
    return {};
  }

  Status parse_postfix(ExprPtr *expr) {
    while (is_sign(".") || is_sign("[") || is_sign("(")) {
      if (skip_sign(".")) {
        if (now().kind != Token::name)
          return expected("a name after '.'");
        wrap(Expr::attribute, take().value, expr);
      } else if (skip_sign("[")) {
        BITNET_RETURN_IF_ERROR(parse_subscript(expr));
      } else {
        BITNET_RETURN_IF_ERROR(parse_arguments(wrap(Expr::call, "", expr)));
      }
    }
    return {};
  }

  Status parse_subscript(ExprPtr *expr) {
    ExprPtr bounds[3];
    bool slice = false;
    size_t n = 0;
    while (!is_sign("]")) {
      if (skip_sign(":")) {
        slice = true;
        if (++n == 3)
          return expected("']'");
        continue;
      }
      if (bounds[n])
        return expected("']'");
      BITNET_RETURN_IF_ERROR(parse_expr(&bounds[n]));
    }
    if (!slice && !bounds[0])
      return expected("a value");
    take();
    Expr *outer = wrap(slice ? Expr::slice : Expr::item, "", expr);
    for (size_t i = 0; i < (slice ? 3 : 1); ++i)
      outer->args.push_back(std::move(bounds[i]));
    return {};
  }

  /// ( value, ..., name=value, ... )
  Status parse_arguments(Expr *call) {
    BITNET_RETURN_IF_ERROR(need_sign("("));
    while (!is_sign(")")) {
      if (now().kind == Token::name && tokens_[at_ + 1].kind == Token::sign &&
          tokens_[at_ + 1].value == "=") {
        for (const auto &named : call->named)
          if (is_name(named.first))
            return expected("another name");
        call->named.emplace_back(take().value, nullptr);
        take();
        BITNET_RETURN_IF_ERROR(parse_expr(&call->named.back().second));
      } else if (!call->named.empty()) {
        return expected("name=value");
      } else {
        BITNET_RETURN_IF_ERROR(parse_expr(&call->args.emplace_back()));
      }
      if (!is_sign(")"))
        BITNET_RETURN_IF_ERROR(need_sign(","));
    }
    take();
    return {};
  }

  Status parse_filters(ExprPtr *expr) {
    while (is_sign("|") || is_name("is") || is_sign("(")) {
      if (is_sign("(")) {
        BITNET_RETURN_IF_ERROR(parse_arguments(wrap(Expr::call, "", expr)));
        continue;
      }
      const bool filter = take().value == "|";
      const bool negated = !filter && skip_name("not");
      std::string name;
      BITNET_RETURN_IF_ERROR(need_name(&name));
      Expr *outer = wrap(filter ? Expr::filter : Expr::test, name, expr);
      if (is_sign("(")) {
        BITNET_RETURN_IF_ERROR(parse_arguments(outer));
      } else if (!filter) { // an argument without brackets
        const bool value =
            now().kind == Token::text || now().kind == Token::integer || is_sign("[") || is_sign("{") ||
            (now().kind == Token::name && !is_name("else") && !is_name("or") && !is_name("and"));
        for (const std::string_view word : {"is", "if", "in", "not"}) // Jinja takes these for an argument
          if (is_name(word))
            return expected("brackets around the test");
        if (value) {
          ExprPtr *argument = &outer->args.emplace_back();
          BITNET_RETURN_IF_ERROR(parse_primary(argument));
          BITNET_RETURN_IF_ERROR(parse_postfix(argument));
        }
      }
      if (negated)
        wrap(Expr::negate, "", expr);
    }
    return {};
  }

  const std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
};

} // namespace

Result<std::vector<TemplateStep>> parse_template(std::string_view source) {
  std::vector<Token> tokens;
  BITNET_RETURN_IF_ERROR(Lexer(with_plain_line_ends(source)).run(&tokens));
  return Parser(std::move(tokens)).run();
}

} // namespace bitnet::runtime
