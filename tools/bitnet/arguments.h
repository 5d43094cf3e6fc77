// The flags of one subcommand, declared once: parsing, checks and the --help text come from the same table,
// so that help cannot miss a flag. Not a general parser: no abbreviations, no flags joined ("-n4"); "--flag
// value" and "--flag=value".
#pragma once
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace bitnet::tools {

/// The command line is wrong: exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// The work could not be done: exit code 1.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Arguments {
public:
  Arguments(std::string command, std::string summary)
      : command_(std::move(command)), summary_(std::move(summary)) {}

  /// A required argument without a dash, in order of declaration.
  void positional(const std::string &name, std::string &value, const std::string &help);

  /// Any number of arguments after the positional ones.
  void rest(const std::string &name, std::vector<std::string> &values, const std::string &help);

  /// names: "-n, --n-gen" or "--seed". The value that a variable holds when declared is the default. A vector
  /// of strings takes the flag any number of times; a vector of numbers takes "1,2,3".
  void flag(const std::string &names, bool &value, const std::string &help);
  void option(const std::string &names, const std::string &metavar, std::string &value,
              const std::string &help);
  void option(const std::string &names, const std::string &metavar, int32_t &value, const std::string &help);
  void option(const std::string &names, const std::string &metavar, uint64_t &value, const std::string &help);
  void option(const std::string &names, const std::string &metavar, float &value, const std::string &help);
  void option(const std::string &names, const std::string &metavar, std::vector<std::string> &values,
              const std::string &help);
  void option(const std::string &names, const std::string &metavar, std::vector<int32_t> &values,
              const std::string &help);

  /// Sets the variables. False: --help was asked for and is printed. Throws UsageError. argv[0] is the first
  /// argument.
  bool parse(int argc, char **argv) const;
  /// Whether the flag with this long name was on the last parsed command line.
  bool given(const std::string &long_name) const;
  std::string help() const;

private:
  struct Flag {
    std::string names, metavar, help; // metavar empty: takes no value
    std::function<void(const std::string &)> set;
    mutable bool given = false;
  };
  struct Positional {
    std::string name, help;
    std::string *value;
  };
  void add(const std::string &names, const std::string &metavar, const std::string &help,
           std::function<void(const std::string &)> set);
  const Flag *find(const std::string &spelling) const;

  std::string command_, summary_;
  std::vector<Flag> flags_;
  std::vector<Positional> positionals_;
  std::string restName_, restHelp_;
  std::vector<std::string> *rest_ = nullptr;
};

} // namespace bitnet::tools
