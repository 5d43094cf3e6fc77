// Where a subcommand's text comes from: -p TEXT, -f FILE or standard input.
#pragma once
#include "tools/bitnet/arguments.h"

namespace bitnet::tools {

/// The bytes of a file; "-" is standard input.
std::string readFile(const std::string &path);

struct TextInput {
  std::string text, file;
  void declare(Arguments &arguments);
  /// The text, exactly as given. Standard input is read where "-" was asked for, or where nothing was given
  /// and it is not a terminal.
  std::string read(const Arguments &arguments) const;
};

} // namespace bitnet::tools
