// See splitter.h.
#include "runtime/tokenizer/splitter.h"
#include "runtime/tokenizer/newer_characters.h"
#include "runtime/tokenizer/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace bitnet::runtime {
namespace {

constexpr size_t kMaxPatternBytes = 16 << 10;
/// With newer characters: each \p{L} becomes 650 bytes longer, and real patterns have up to 20 such
/// properties.
constexpr size_t kMaxExtendedBytes = 64 << 10;
constexpr uint32_t kMaxNesting = 64;
constexpr uint32_t kHeapLimitKiB = 64 << 10;
/// Steps of one match. Real patterns need about one for each byte of a run of spaces (\s*[\r\n]+ tries every
/// length); the constant part is PCRE2's own default.
constexpr uint64_t kMatchSteps = 10'000'000, kMatchStepsPerByte = 4;
constexpr size_t kJitStackStart = 32 << 10, kJitStackMax = 1 << 20;

std::string pcre2_text(int code) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char *>(text);
}

struct CompileContext {
  pcre2_compile_context *context = pcre2_compile_context_create(nullptr);
  ~CompileContext() { pcre2_compile_context_free(context); }
};

} // namespace

struct Splitter::Code {
  pcre2_code *code = nullptr;
  bool jit = false;
  ~Code() { pcre2_code_free(code); }
};

struct Splitter::Scratch::State {
  pcre2_match_data *match = pcre2_match_data_create(1, nullptr);
  pcre2_match_context *context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack *stack = pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr);
  const Code *code = nullptr; // of the text that was begun
  // The match found last: pieces before it may be asked for first.
  size_t found_begin = 0, found_end = 0;
  ~State() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
  }
};

Splitter::Scratch::Scratch() : state_(std::make_unique<State>()) {}
Splitter::Scratch::~Scratch() = default;
Splitter::~Splitter() = default;

Status Splitter::compile(const std::string &pattern, size_t max_bytes, std::unique_ptr<Code> *compiled) {
  CompileContext limits;
  if (!limits.context)
    return out_of_memory("split pattern: out of memory");
  pcre2_set_max_pattern_length(limits.context, max_bytes);
  pcre2_set_parens_nest_limit(limits.context, kMaxNesting);
  int code = 0;
  PCRE2_SIZE offset = 0;
  *compiled = std::make_unique<Code>();
  (*compiled)->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &offset, limits.context);
  if (!(*compiled)->code)
    return bad_bundle("split pattern: at byte " + std::to_string(offset) +
                      ": expected a PCRE2 regular expression, got: " + pcre2_text(code));
  // Machines that forbid writable code have no JIT; the interpreter gives the same pieces.
  (*compiled)->jit = pcre2_jit_compile((*compiled)->code, PCRE2_JIT_COMPLETE) == 0;
  return {};
}

Result<std::unique_ptr<Splitter>> Splitter::create(const std::string &pattern) {
  std::unique_ptr<Splitter> splitter(new Splitter);
  if (pattern.empty())
    return splitter;
  BITNET_RETURN_IF_ERROR(compile(pattern, kMaxPatternBytes, &splitter->code_));
  if (const std::string extended = with_newer_characters(pattern); extended != pattern)
    BITNET_RETURN_IF_ERROR(compile(extended, kMaxExtendedBytes, &splitter->newer_code_));
  return splitter;
}

Status Splitter::next_piece(std::string_view text, size_t begin, Scratch *scratch, size_t *end) const {
  *end = text.size();
  if (!code_)
    return {};
  Scratch::State &s = *scratch->state_;
  if (!s.match || !s.context || !s.stack)
    return out_of_memory("split pattern: out of memory");
  if (begin != 0 && begin == s.found_begin) { // the text before this match was the last piece
    *end = s.found_end;
    return {};
  }
  if (begin == 0) {
    const uint64_t steps = kMatchSteps + kMatchStepsPerByte * text.size();
    pcre2_set_match_limit(s.context, static_cast<uint32_t>(steps < UINT32_MAX ? steps : UINT32_MAX));
    pcre2_set_heap_limit(s.context, kHeapLimitKiB);
    pcre2_jit_stack_assign(s.context, nullptr, s.stack);
    s.code = newer_code_ && has_newer_characters(text) ? newer_code_.get() : code_.get();
  }
  s.found_begin = s.found_end = text.size();
  const auto *subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  for (size_t from = begin; from < text.size();) {
    const int found =
        s.code->jit
            ? pcre2_jit_match(s.code->code, subject, text.size(), from, 0, s.match, s.context)
            : pcre2_match(s.code->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, s.match, s.context);
    if (found == PCRE2_ERROR_NOMATCH)
      return {};
    if (found < 0)
      return invalid_argument("split pattern: at byte " + std::to_string(from) +
                              " of the text: " + pcre2_text(found));
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(s.match);
    if (range[0] < begin || range[1] <= range[0]) { // an empty match cuts nothing; look further on
      const size_t at = range[0] > from ? range[0] : from;
      from = at < text.size() ? at + decode_utf8_char(text.substr(at)).size : text.size();
      continue;
    }
    s.found_begin = range[0];
    s.found_end = range[1];
    *end = range[0] == begin ? range[1] : range[0];
    return {};
  }
  return {};
}

} // namespace bitnet::runtime
