// Errors of the runtime: values, never exceptions. A Status is ok or a code with one line of text made where
// the failure was seen ("where: what: expected X, got Y; the way out"); callers prepend what they know on the
// way up. The codes are those of the public header, so the C interface hands them on unchanged.
#pragma once
#include "runtime/api/bitnet.h"
#include <cassert>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::runtime {

enum class StatusCode : uint8_t {
  ok = BITNET_OK,
  invalid_argument = BITNET_INVALID_ARGUMENT,
  not_found = BITNET_NOT_FOUND,
  bad_bundle = BITNET_BAD_BUNDLE,
  unsupported = BITNET_UNSUPPORTED,
  out_of_memory = BITNET_OUT_OF_MEMORY,
  context_full = BITNET_CONTEXT_FULL,
  cancelled = BITNET_CANCELLED,
  internal = BITNET_INTERNAL
};

class [[nodiscard]] Status {
public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}
  bool ok() const { return code_ == StatusCode::ok; }
  StatusCode code() const { return code_; }
  const std::string &message() const { return message_; }
  /// "where: message"; an ok status stays ok.
  Status in(std::string_view where) &&;

private:
  StatusCode code_ = StatusCode::ok;
  std::string message_;
};

inline Status invalid_argument(std::string m) { return {StatusCode::invalid_argument, std::move(m)}; }
inline Status not_found(std::string m) { return {StatusCode::not_found, std::move(m)}; }
inline Status bad_bundle(std::string m) { return {StatusCode::bad_bundle, std::move(m)}; }
inline Status unsupported(std::string m) { return {StatusCode::unsupported, std::move(m)}; }
inline Status out_of_memory(std::string m) { return {StatusCode::out_of_memory, std::move(m)}; }
inline Status internal_error(std::string m) { return {StatusCode::internal, std::move(m)}; }

/// A T, or why there is none.
template <typename T> class [[nodiscard]] Result {
public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {
    assert(!status_.ok() && "a Result without value needs a reason");
  }
  bool ok() const { return value_.has_value(); }
  /// The reason; ok if there is a value.
  const Status &status() const & { return status_; }
  Status status() && { return std::move(status_); }
  T &operator*() & { return *value_; }
  const T &operator*() const & { return *value_; }
  T &&operator*() && { return std::move(*value_); }
  T *operator->() { return &*value_; }
  const T *operator->() const { return &*value_; }

private:
  std::optional<T> value_;
  Status status_;
};

/// Hands a status to the C interface: returns its code and fills *error (when not NULL; text cut to its
/// size).
bitnet_status to_c(const Status &status, bitnet_error *error);

/// Runs `body` (returning Status) at the border to C: whatever it throws becomes a status.
template <typename Body> bitnet_status at_c_border(bitnet_error *error, Body body) noexcept {
  try {
    return to_c(body(), error);
  } catch (const std::bad_alloc &) {
    return to_c({StatusCode::out_of_memory, "out of memory"}, error); // short enough to need no allocation
  } catch (...) {
    return to_c({StatusCode::internal, "unexpected exception"}, error);
  }
}

} // namespace bitnet::runtime

/// Leaves the function with the status if it is an error.
#define BITNET_RETURN_IF_ERROR(expr)                                                                         \
  do {                                                                                                       \
    if (::bitnet::runtime::Status status_ = (expr); !status_.ok())                                           \
      return status_;                                                                                        \
  } while (0)
