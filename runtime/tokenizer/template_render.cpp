// See template_render.h.
#include "runtime/tokenizer/template_render.h"

#include <algorithm>
#include <map>

namespace bitnet::runtime {
namespace {

using Expr = TemplateExpr;
using Step = TemplateStep;
using Value = TemplateValue;

constexpr int kMaxNesting = 200; ///< of blocks, expressions and macros that call macros

#define TEMPLATE_TRY(name, expr)                                                                             \
  Result<Value> name##_result = (expr);                                                                      \
  if (!name##_result.ok())                                                                                   \
    return std::move(name##_result).status();                                                                \
  Value &name = *name##_result

class Renderer : TemplateOperations {
public:
  Renderer(Value::Map variables, const TemplateLimits &limits) : TemplateOperations(limits) {
    for (auto &one : variables)
      scopes_.back().insert_or_assign(one.first, std::move(one.second));
  }

  Result<std::string> run(const std::vector<Step> &steps) {
    std::string out;
    BITNET_RETURN_IF_ERROR(run_steps(steps, &out));
    return out;
  }

private:
  using Scope = std::map<std::string, Value>;
  enum class Flow : uint8_t { goes_on, breaks, continues };

  /// Before one more level of blocks or expressions.
  Status enter(int line) {
    if (++nesting_ > kMaxNesting)
      return fails(line, "expected blocks, expressions and calls nested at most " +
                             std::to_string(kMaxNesting) + " deep");
    return count(line);
  }

  // ---- names

  const Value *find(const std::string &name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (const auto one = scope->find(name); one != scope->end())
        return &one->second;
    return nullptr;
  }
  void assign(const std::string &name, Value value) {
    scopes_.back().insert_or_assign(name, std::move(value));
  }
  /// One name, or as many as the value has elements.
  Status assign(int line, const std::vector<std::string> &names, const Value &value) {
    if (names.size() == 1) {
      assign(names[0], value);
      return {};
    }
    Result<Value::List> all = elements(line, value);
    if (!all.ok())
      return std::move(all).status();
    if (all->size() != names.size())
      return fails(line, "expected " + std::to_string(names.size()) + " elements to assign, got " +
                             std::to_string(all->size()));
    for (size_t i = 0; i < names.size(); ++i)
      assign(names[i], (*all)[i]);
    return {};
  }

  // ---- steps

  Status run_steps(const std::vector<Step> &steps, std::string *out) {
    for (const Step &step : steps) {
      BITNET_RETURN_IF_ERROR(enter(step.line));
      BITNET_RETURN_IF_ERROR(run_step(step, out));
      --nesting_;
      if (flow_ != Flow::goes_on)
        return {};
    }
    return {};
  }

  /// Names that these steps set are gone after them.
  Status run_scope(const std::vector<Step> &steps, std::string *out) {
    scopes_.emplace_back();
    const Status status = run_steps(steps, out);
    scopes_.pop_back();
    return status;
  }

  Status run_step(const Step &step, std::string *out) {
    switch (step.kind) {
    case Step::text:
      return write(step.line, step.names[0], out);
    case Step::print: {
      TEMPLATE_TRY(value, evaluate(*step.value));
      Result<std::string> text = as_text(step.line, value);
      if (!text.ok())
        return std::move(text).status();
      return write(step.line, *text, out);
    }
    case Step::loop:
      return run_loop(step, out);
    case Step::branch: {
      TEMPLATE_TRY(value, evaluate(*step.value));
      return run_steps(is_true(value) ? step.body : step.other, out);
    }
    case Step::set: {
      TEMPLATE_TRY(value, evaluate(*step.value));
      return assign(step.line, step.names, value);
    }
    case Step::set_attribute: {
      TEMPLATE_TRY(value, evaluate(*step.value));
      if (value.kind == Value::name_space) // could hold itself
        return needs_engine(step.line, "a namespace in a namespace");
      const Value *target = find(step.names[0]);
      if (!target || target->kind != Value::name_space)
        return fails(step.line, "expected a namespace to set an attribute of");
      BITNET_RETURN_IF_ERROR(count(step.line, target->entries().size() / 16));
      if (Value *known = target->entry(step.names[1]))
        *known = value;
      else
        target->entries().emplace_back(step.names[1], value);
      return {};
    }
    case Step::set_block: {
      std::string text;
      BITNET_RETURN_IF_ERROR(run_scope(step.body, &text));
      TEMPLATE_TRY(value, made(step.line, std::move(text)));
      assign(step.names[0], value);
      return {};
    }
    case Step::scope:
      return run_scope(step.body, out);
    case Step::macro:
      if (scopes_.size() > 1) // would see the names around it
        return needs_engine(step.line, "a macro inside of a loop");
      assign(step.names[0], Value::of_macro(&step));
      return {};
    case Step::break_loop:
      flow_ = Flow::breaks;
      return {};
    case Step::continue_loop:
      flow_ = Flow::continues;
      return {};
    }
    return internal_error("template step");
  }

  Status run_loop(const Step &step, std::string *out) {
    TEMPLATE_TRY(source, evaluate_iterable(*step.value));
    Result<Value::List> all = elements(step.line, source);
    if (!all.ok())
      return std::move(all).status();
    Value::List list;
    if (step.condition) {
      for (const Value &one : *all) {
        scopes_.emplace_back();
        Status status = assign(step.line, step.names, one);
        Result<Value> keep = status.ok() ? evaluate(*step.condition) : Result<Value>(Value());
        scopes_.pop_back();
        BITNET_RETURN_IF_ERROR(status);
        if (!keep.ok())
          return std::move(keep).status();
        if (is_true(*keep))
          list.push_back(one);
      }
    } else {
      list = std::move(*all);
    }
    bool passes = false; // a turn comes to its end: as Jinja has it, `break` and `continue` are none
    for (size_t i = 0; i < list.size(); ++i) {
      scopes_.emplace_back(); // anew each time round: what the body sets is gone after it
      assign("loop", loop_at(list, i));
      Status status = assign(step.line, step.names, list[i]);
      if (status.ok())
        status = run_steps(step.body, out);
      scopes_.pop_back();
      BITNET_RETURN_IF_ERROR(status);
      const Flow flow = std::exchange(flow_, Flow::goes_on);
      passes |= flow == Flow::goes_on;
      if (flow == Flow::breaks)
        break;
    }
    return passes ? Status() : run_scope(step.other, out);
  }

  /// `loop`: as a namespace, since it has attributes only.
  static Value loop_at(const Value::List &list, size_t i) {
    const auto at = static_cast<int64_t>(i), n = static_cast<int64_t>(list.size());
    Value::Map loop{{"index0", Value::of(at)},
                    {"index", Value::of(at + 1)},
                    {"first", Value::of_truth(i == 0)},
                    {"last", Value::of_truth(at + 1 == n)},
                    {"length", Value::of(n)},
                    {"revindex", Value::of(n - at)},
                    {"revindex0", Value::of(n - at - 1)},
                    {"depth", Value::of(1)}, // of loops that call themselves: there are none
                    {"depth0", Value::of(0)}};
    loop.emplace_back("previtem", i > 0 ? list[i - 1] : Value());
    loop.emplace_back("nextitem", at + 1 < n ? list[i + 1] : Value());
    return Value::of_namespace(std::move(loop));
  }

  Result<Value> call_macro(int line, const Expr &call, const Step &macro) {
    const size_t n = macro.names.size() - 1, n_given = call.args.size() - 1;
    if (n_given > n)
      return needs_engine(line, "more than " + std::to_string(n) + " arguments of " + macro.names[0]);
    Scope scope;
    for (size_t i = 0; i < n_given; ++i) {
      TEMPLATE_TRY(value, evaluate(*call.args[i + 1]));
      scope.emplace(macro.names[i + 1], value);
    }
    for (const auto &named : call.named) {
      const auto name = std::find(macro.names.begin() + 1, macro.names.end(), named.first);
      if (name == macro.names.end() || scope.count(named.first))
        return needs_engine(line, "an argument " + named.first + " too many of " + macro.names[0]);
      TEMPLATE_TRY(value, evaluate(*named.second));
      scope.emplace(named.first, value);
    }
    std::vector<Scope> caller(std::make_move_iterator(scopes_.begin() + 1),
                              std::make_move_iterator(scopes_.end()));
    scopes_.resize(1); // a macro sees the template's names, not its caller's
    scopes_.push_back(std::move(scope));
    std::string text;
    const Status status = run_macro(macro, &text);
    scopes_.resize(1);
    for (Scope &one : caller)
      scopes_.push_back(std::move(one));
    BITNET_RETURN_IF_ERROR(status);
    return made(line, std::move(text));
  }

  /// In a scope with the arguments that were given. A default sees them all, and those before it.
  Status run_macro(const Step &macro, std::string *out) {
    const size_t n = macro.names.size() - 1, first = n - macro.defaults.size(); // of those with a default
    std::vector<size_t> left_out;
    for (size_t i = 0; i < n; ++i)
      if (scopes_.back().emplace(macro.names[i + 1], Value()).second)
        left_out.push_back(i);
    for (const size_t i : left_out)
      if (i >= first) {
        TEMPLATE_TRY(value, evaluate(*macro.defaults[i - first]));
        assign(macro.names[i + 1], value);
      }
    return run_steps(macro.body, out);
  }

  // ---- expressions

  /// What Python makes an iterator or a view of, not a list.
  static bool makes_iterator(const Expr &e) {
    const auto is_one_of = [](const std::string &name, std::initializer_list<const char *> names) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    if (e.kind == Expr::filter)
      return is_one_of(e.name, {"selectattr", "rejectattr"});
    if (e.kind != Expr::call)
      return false;
    const Expr &target = *e.args[0];
    return target.kind == Expr::variable    ? target.name == "range"
           : target.kind == Expr::attribute ? is_one_of(target.name, {"items", "keys", "values"})
                                            : false;
  }
  Result<Value> evaluate(const Expr &e) {
    if (makes_iterator(e))
      return needs_engine(e.line, "'" + (e.kind == Expr::filter ? e.name : e.args[0]->name) +
                                      "' without a loop over it or '| list'");
    return evaluate_iterable(e);
  }
  /// For what goes through the value once.
  Result<Value> evaluate_iterable(const Expr &e) {
    BITNET_RETURN_IF_ERROR(enter(e.line));
    Result<Value> value = evaluate_inside(e);
    --nesting_;
    return value;
  }
  Result<Value> evaluate_inside(const Expr &e) {
    switch (e.kind) {
    case Expr::text:
      return Value(e.name);
    case Expr::integer:
      return Value::of(e.number);
    case Expr::truth:
      return Value::of_truth(e.number != 0);
    case Expr::none:
      return Value::of_none();
    case Expr::variable: {
      const Value *found = find(e.name);
      if (!found && (is_global(e.name) || e.name == "varargs" || e.name == "kwargs" || e.name == "caller" ||
                     e.name == "self"))
        return needs_engine(e.line, "'" + e.name + "' by itself");
      return found ? *found : Value();
    }
    case Expr::list: {
      Value::List list;
      for (const auto &argument : e.args) {
        TEMPLATE_TRY(value, evaluate(*argument));
        list.push_back(value);
      }
      return nested(e.line, Value(std::move(list)));
    }
    case Expr::map: {
      Value::Map map;
      for (size_t i = 0; i < e.args.size(); i += 2) {
        TEMPLATE_TRY(key, evaluate(*e.args[i]));
        TEMPLATE_TRY(value, evaluate(*e.args[i + 1]));
        if (key.kind != Value::text)
          return needs_engine(e.line, "a dictionary with a key that is no text");
        BITNET_RETURN_IF_ERROR(count(e.line, map.size() / 16));
        const auto same =
            std::find_if(map.begin(), map.end(), [&](const auto &one) { return one.first == key.str(); });
        if (same != map.end())
          same->second = value;
        else
          map.emplace_back(std::string(key.str()), value);
      }
      return nested(e.line, Value::of_map(std::move(map)));
    }
    case Expr::attribute: {
      TEMPLATE_TRY(of, evaluate(*e.args[0]));
      return attribute(e.line, e.name, of);
    }
    case Expr::item: {
      TEMPLATE_TRY(of, evaluate(*e.args[0]));
      TEMPLATE_TRY(key, evaluate(*e.args[1]));
      return item(e.line, of, key);
    }
    case Expr::slice: {
      TEMPLATE_TRY(of, evaluate(*e.args[0]));
      std::array<Value, 3> bounds;
      for (size_t i = 0; i < bounds.size(); ++i) {
        bounds[i] = Value::of_none();
        if (e.args[i + 1]) {
          TEMPLATE_TRY(bound, evaluate(*e.args[i + 1]));
          bounds[i] = bound;
        }
      }
      return slice(e.line, of, bounds);
    }
    case Expr::call:
      return call(e);
    case Expr::filter: {
      static constexpr std::string_view kGoThrough[] = {"list", "first", "join", "selectattr", "rejectattr"};
      const bool goes =
          std::find(std::begin(kGoThrough), std::end(kGoThrough), e.name) != std::end(kGoThrough);
      TEMPLATE_TRY(input, goes ? evaluate_iterable(*e.args[0]) : evaluate(*e.args[0]));
      Result<Arguments> given = arguments(e);
      if (!given.ok())
        return std::move(given).status();
      return filter(e.line, e.name, input, *given);
    }
    case Expr::test: {
      if (const Expr &of = *e.args[0]; e.name == "defined" && of.kind == Expr::variable && is_global(of.name))
        return Value::of_truth(true);
      TEMPLATE_TRY(input, evaluate(*e.args[0]));
      Value argument;
      if (e.args.size() > 2 || !e.named.empty())
        return needs_engine(e.line, "the test '" + e.name + "' with these arguments");
      if (e.args.size() == 2) {
        TEMPLATE_TRY(given, evaluate(*e.args[1]));
        argument = given;
      }
      return test(e.line, e.name, input, e.args.size() == 2 ? &argument : nullptr);
    }
    case Expr::negate: {
      TEMPLATE_TRY(value, evaluate(*e.args[0]));
      return Value::of_truth(!is_true(value));
    }
    case Expr::minus: {
      TEMPLATE_TRY(value, evaluate(*e.args[0]));
      return negative(e.line, value);
    }
    case Expr::binary:
      return binary(e);
    case Expr::compare:
      return compare_chain(e);
    case Expr::either: {
      TEMPLATE_TRY(condition, evaluate(*e.args[1]));
      if (is_true(condition))
        return evaluate(*e.args[0]);
      return e.args[2] ? evaluate(*e.args[2]) : Result<Value>(Value());
    }
    }
    return internal_error("template expression");
  }

  static bool is_global(std::string_view name) {
    for (const char *global :
         {"range", "dict", "lipsum", "cycler", "joiner", "namespace", "raise_exception", "strftime_now"})
      if (name == global)
        return true;
    return false;
  }

  Result<Value> binary(const Expr &e) {
    TEMPLATE_TRY(left, evaluate(*e.args[0]));
    if (e.name == "and" || e.name == "or")
      return is_true(left) == (e.name == "or") ? Result<Value>(left) : evaluate(*e.args[1]);
    TEMPLATE_TRY(right, evaluate(*e.args[1]));
    return combine(e.line, e.name, left, right);
  }

  Result<Value> compare_chain(const Expr &e) {
    Result<Value> left = evaluate(*e.args[0]);
    for (size_t i = 0; i < e.ops.size(); ++i) {
      if (!left.ok())
        return left;
      const bool within = i + 1 == e.ops.size() && (e.ops[i] == "in" || e.ops[i] == "not in");
      TEMPLATE_TRY(right, within ? evaluate_iterable(*e.args[i + 1]) : evaluate(*e.args[i + 1]));
      Result<Value> holds = compare(e.line, e.ops[i], *left, right);
      if (!holds.ok() || !holds->number)
        return holds;
      left = right;
    }
    return Value::of_truth(true);
  }

  // ---- calls

  Result<Arguments> arguments(const Expr &e) {
    Arguments all;
    for (size_t i = 1; i < e.args.size(); ++i) {
      TEMPLATE_TRY(value, evaluate(*e.args[i]));
      all.values.push_back(value);
    }
    for (const auto &named : e.named) {
      TEMPLATE_TRY(value, evaluate(*named.second));
      all.named.emplace_back(named.first, value);
    }
    return all;
  }

  Result<Value> call(const Expr &e) {
    const Expr &target = *e.args[0];
    if (target.kind == Expr::variable) {
      if (const Value *found = find(target.name)) {
        if (found->kind == Value::macro)
          return call_macro(e.line, e, *found->macro_step);
        return wrong_kind(e.line, "expected something to call", *found);
      }
      Result<Arguments> given = arguments(e);
      if (!given.ok())
        return std::move(given).status();
      return call_global(e.line, target.name, *given);
    }
    if (target.kind != Expr::attribute)
      return needs_engine(e.line, "a call of this kind");
    TEMPLATE_TRY(of, evaluate(*target.args[0]));
    Result<Arguments> given = arguments(e);
    if (!given.ok())
      return std::move(given).status();
    return call_method(e.line, target.name, of, *given);
  }

  std::vector<Scope> scopes_{Scope()};
  int nesting_ = 0;
  Flow flow_ = Flow::goes_on;
};

} // namespace

Result<std::string> render_template(const std::vector<TemplateStep> &steps, TemplateValue::Map variables,
                                    const TemplateLimits &limits) {
  return Renderer(std::move(variables), limits).run(steps);
}

} // namespace bitnet::runtime
