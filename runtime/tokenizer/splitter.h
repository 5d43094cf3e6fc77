// Cuts text into the pieces that byte-pair encoding works on, by a regular expression (PCRE2, compiled to
// machine code where the machine allows). A piece is a match, or the text between two matches; together they
// are the text. \p{L} and the like mean Unicode 16.0 at least, whatever PCRE2's tables are.
#pragma once
#include "runtime/base/status.h"
#include <memory>
#include <string>
#include <string_view>

namespace bitnet::runtime {

/// Immutable; shared by threads, each with its own Scratch.
class Splitter {
public:
  class Scratch {
  public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;

  private:
    friend class Splitter;
    struct State;
    std::unique_ptr<State> state_;
  };

  /// An empty pattern makes every text one piece. The pattern comes from a file: it is bounded in size and
  /// nesting.
  static Result<std::unique_ptr<Splitter>> create(const std::string &pattern);
  ~Splitter();

  /// *end = end of the piece that starts at `begin` < text.size(). `text` must be well-formed UTF-8, `begin`
  /// 0 or the end of the piece before. Fails where the pattern needs more steps than its limit.
  Status next_piece(std::string_view text, size_t begin, Scratch *scratch, size_t *end) const;

private:
  Splitter() = default;
  struct Code;
  static Status compile(const std::string &pattern, size_t max_bytes, std::unique_ptr<Code> *compiled);
  std::unique_ptr<Code> code_;       ///< null: one piece
  std::unique_ptr<Code> newer_code_; ///< for text with newer characters (newer_characters.h); null: code_
};

} // namespace bitnet::runtime
