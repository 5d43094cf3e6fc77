// Status text and its way into the C interface.
#include "runtime/base/status.h"
#include <algorithm>
#include <cstring>

namespace bitnet::runtime {

Status Status::in(std::string_view where) && {
  if (!ok())
    message_ = std::string(where) + ": " + message_;
  return std::move(*this);
}

bitnet_status to_c(const Status &status, bitnet_error *error) {
  const auto code = static_cast<bitnet_status>(status.code());
  if (!error)
    return code;
  error->status = code;
  const std::string &text = status.message();
  size_t n = std::min(text.size(), sizeof error->message - 1);
  while (n < text.size() && n > 0 && (text[n] & 0xc0) == 0x80)
    --n; // never cut inside a UTF-8 character
  std::memcpy(error->message, text.data(), n);
  error->message[n] = 0;
  // A file name or token text inside the message may hold anything; one line is the promise.
  std::replace_if(
      error->message, error->message + n, [](char c) { return c == '\n' || c == '\r' || c == 0; }, ' ');
  return code;
}

} // namespace bitnet::runtime
