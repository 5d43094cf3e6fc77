#include "tools/bitnet/arguments.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <sstream>

namespace bitnet::tools {
namespace {

constexpr size_t kHelpColumn = 30;

/// The whole text as a number, or a UsageError that shows the text.
template <typename T> T number(const std::string &text, const char *expected) {
  T value{};
  const char *end = text.data() + text.size();
  auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || text.empty())
    throw UsageError(std::string("expected ") + expected + ", got '" + text + "'");
  return value;
}

std::vector<std::string> spellings(const std::string &names) {
  std::vector<std::string> result;
  std::istringstream stream(names);
  for (std::string name; stream >> name;) {
    if (name.back() == ',')
      name.pop_back();
    result.push_back(name);
  }
  return result;
}

std::string joined(const std::vector<int32_t> &values) {
  std::string text;
  for (int32_t value : values)
    text += (text.empty() ? "" : ",") + std::to_string(value);
  return text;
}

/// "help (default 5)", where there is a default worth showing.
std::string withDefault(const std::string &help, const std::string &value) {
  return value.empty() ? help : help + " (default " + value + ")";
}

} // namespace

void Arguments::add(const std::string &names, const std::string &metavar, const std::string &help,
                    std::function<void(const std::string &)> set) {
  flags_.push_back({names, metavar, help, std::move(set)});
}

void Arguments::positional(const std::string &name, std::string &value, const std::string &help) {
  positionals_.push_back({name, help, &value});
}

void Arguments::rest(const std::string &name, std::vector<std::string> &values, const std::string &help) {
  restName_ = name, restHelp_ = help, rest_ = &values;
}

void Arguments::flag(const std::string &names, bool &value, const std::string &help) {
  add(names, "", help, [&value](const std::string &) { value = true; });
}

void Arguments::option(const std::string &names, const std::string &metavar, std::string &value,
                       const std::string &help) {
  add(names, metavar, withDefault(help, value), [&value](const std::string &text) { value = text; });
}

void Arguments::option(const std::string &names, const std::string &metavar, int32_t &value,
                       const std::string &help) {
  add(names, metavar, withDefault(help, std::to_string(value)),
      [&value](const std::string &text) { value = number<int32_t>(text, "a whole number"); });
}

void Arguments::option(const std::string &names, const std::string &metavar, uint64_t &value,
                       const std::string &help) {
  add(names, metavar, withDefault(help, std::to_string(value)),
      [&value](const std::string &text) { value = number<uint64_t>(text, "a number that is not negative"); });
}

void Arguments::option(const std::string &names, const std::string &metavar, float &value,
                       const std::string &help) {
  std::ostringstream shown;
  shown << value;
  add(names, metavar, withDefault(help, shown.str()), [&value](const std::string &text) {
    const float given = number<float>(text, "a number");
    if (!std::isfinite(given)) // from_chars takes "nan" and "inf"
      throw UsageError("expected a number, got '" + text + "'");
    value = given;
  });
}

void Arguments::option(const std::string &names, const std::string &metavar, std::vector<std::string> &values,
                       const std::string &help) {
  add(names, metavar, help, [&values](const std::string &text) { values.push_back(text); });
}

void Arguments::option(const std::string &names, const std::string &metavar, std::vector<int32_t> &values,
                       const std::string &help) {
  add(names, metavar, withDefault(help, joined(values)), [&values](const std::string &text) {
    values.clear();
    for (size_t begin = 0; begin <= text.size();) {
      const size_t comma = std::min(text.find(',', begin), text.size());
      values.push_back(
          number<int32_t>(text.substr(begin, comma - begin), "whole numbers with commas between"));
      begin = comma + 1;
    }
  });
}

const Arguments::Flag *Arguments::find(const std::string &spelling) const {
  for (const Flag &flag : flags_)
    for (const std::string &name : spellings(flag.names))
      if (name == spelling)
        return &flag;
  return nullptr;
}

bool Arguments::given(const std::string &long_name) const {
  const Flag *flag = find(long_name);
  return flag && flag->given;
}

bool Arguments::parse(int argc, char **argv) const {
  size_t filled = 0;
  bool only_positionals = false;
  for (int i = 0; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--" && !only_positionals) {
      only_positionals = true;
      continue;
    }
    if (only_positionals || argument.size() < 2 || argument[0] != '-') {
      if (filled == positionals_.size() && rest_) {
        rest_->push_back(argument);
        continue;
      }
      if (filled == positionals_.size())
        throw UsageError("unexpected argument '" + argument + "'");
      *positionals_[filled++].value = argument;
      continue;
    }
    if (argument == "--help" || argument == "-h") {
      std::fputs(help().c_str(), stdout);
      return false;
    }
    const size_t equals = argument.compare(0, 2, "--") == 0 ? argument.find('=') : std::string::npos;
    const std::string spelling = argument.substr(0, equals);
    const Flag *flag = find(spelling);
    if (!flag)
      throw UsageError("unknown flag '" + spelling + "'");
    std::string value;
    if (flag->metavar.empty()) {
      if (equals != std::string::npos)
        throw UsageError("flag '" + spelling + "' takes no value");
    } else if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (++i < argc) {
      value = argv[i];
    } else {
      throw UsageError("flag '" + spelling + "' needs a value: " + flag->metavar);
    }
    try {
      flag->set(value);
    } catch (const UsageError &error) {
      throw UsageError("flag '" + spelling + "': " + error.what());
    }
    flag->given = true;
  }
  if (filled < positionals_.size())
    throw UsageError("missing argument " + positionals_[filled].name + ": " + positionals_[filled].help);
  return true;
}

std::string Arguments::help() const {
  auto line = [](std::string left, const std::string &right) {
    left.resize(std::max(left.size() + 2, kHelpColumn), ' ');
    return left + right + "\n";
  };
  std::string text = summary_ + "\n\nusage: " + command_;
  for (const Positional &positional : positionals_)
    text += " " + positional.name;
  text += (rest_ ? " [" + restName_ + "...]" : "") + " [flags]\n\n";
  for (const Positional &positional : positionals_)
    text += line("  " + positional.name, positional.help);
  if (rest_)
    text += line("  " + restName_, restHelp_);
  for (const Flag &flag : flags_)
    text += line("  " + flag.names + (flag.metavar.empty() ? "" : " " + flag.metavar), flag.help);
  return text + line("  -h, --help", "this text");
}

} // namespace bitnet::tools
