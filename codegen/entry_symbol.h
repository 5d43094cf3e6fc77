// Names in a kernel's object. Halide gives a function of typed arguments ("body") and a wrapper `<body>_argv`
// that takes an array of pointers; the wrapper is our kernel ABI, and has to carry the kernel's own symbol.
#pragma once
#include <string>

namespace bitnet::codegen {

/// The name to give Halide for the kernel `symbol`.
std::string body_symbol(const std::string &symbol);

/// In an ELF64 object that Halide just made: renames the wrapper to `symbol` and hides the body. False if
/// either is missing.
bool keep_entry_symbol(const std::string &symbol, std::string *object);

/// Gives a symbol of an ELF64 object another name. False if there is none of the old name.
bool rename_symbol(const std::string &from, const std::string &to, std::string *object);

} // namespace bitnet::codegen
