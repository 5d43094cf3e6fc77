// JSON files of a checkpoint folder. Real config files hold duplicate keys (the last one wins) and NaN or
// Infinity; both are let through here, with a warning for the first. Depth and size are bounded, so no input
// exhausts the stack.
#pragma once
#include "llvm/Support/Error.h"
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace bitnet::import {

constexpr uint64_t kMaxJsonBytes = 100'000'000;
constexpr int kMaxJsonDepth = 64;

/// Why this text is not to be parsed: not UTF-8 JSON's outer form (a NUL byte, a byte order mark) or nested
/// deeper than kMaxJsonDepth. nlohmann would skip the mark and take NUL for the end. nullptr when fine.
const char *jsonTextFault(const std::string &text);

/// `where` starts every error and warning. NaN, Infinity and -Infinity become strings of
/// that name: a reader that wants a number refuses them, instead of taking them for a value that is not
/// there.
llvm::Expected<nlohmann::json> parseJson(std::string text, const std::string &where,
                                         const std::function<void(const std::string &)> &warn);

} // namespace bitnet::import
