// See chat.h.
#include "runtime/tokenizer/chat.h"
#include "runtime/format/chat_templates.h"
#include "runtime/tokenizer/utf8.h"

#include <cctype>

namespace bitnet::runtime {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

std::string_view strip_blanks(std::string_view text, bool front, bool back) {
  while (front && !text.empty() && is_blank(text.front()))
    text.remove_prefix(1);
  while (back && !text.empty() && is_blank(text.back()))
    text.remove_suffix(1);
  return text;
}

/// Python's str.strip(): Unicode white space and the separators U+001C to U+001F.
std::string_view strip_text(std::string_view text) {
  const auto strips = [](int32_t c) { return is_white_space(c) || (c >= 0x1C && c <= 0x1F); };
  while (!text.empty()) {
    const Utf8Char c = decode_utf8_char(text);
    if (!strips(c.code_point))
      break;
    text.remove_prefix(c.size);
  }
  for (size_t size = 1; size <= 3 && size <= text.size();) { // white space has at most 3 bytes
    const std::string_view last = text.substr(text.size() - size);
    const Utf8Char c = decode_utf8_char(last);
    if (c.code_point >= 0 && c.size == size && strips(c.code_point)) {
      text.remove_suffix(size);
      size = 1;
    } else {
      ++size;
    }
  }
  return text;
}

/// One tag's inside: blanks dropped outside of quotes, \n and its kin resolved inside.
std::string normalize_tag(std::string_view tag) {
  std::string out;
  char quote = 0;
  for (size_t i = 0; i < tag.size(); ++i) {
    const char c = tag[i];
    if (!quote) {
      if (c == '\'' || c == '"')
        quote = c;
      if (is_blank(c)) { // one space where two words would run together
        const bool word_before =
            !out.empty() && (std::isalnum(static_cast<unsigned char>(out.back())) || out.back() == '_');
        size_t next = i;
        while (next < tag.size() && is_blank(tag[next]))
          ++next;
        if (word_before && next < tag.size() &&
            (std::isalnum(static_cast<unsigned char>(tag[next])) || tag[next] == '_'))
          out += ' ';
        i = next - 1;
      } else {
        out += quote ? '\'' : c;
      }
    } else if (c == quote) {
      quote = 0;
      out += '\'';
    } else if (c == '\\' && i + 1 < tag.size()) {
      const char escaped = tag[++i];
      out += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped;
    } else {
      out += c;
    }
  }
  return out;
}

std::string capitalize(std::string_view role) {
  std::string out(role);
  for (size_t i = 0; i < out.size(); ++i) {
    const char c = out[i];
    if (i == 0 && c >= 'a' && c <= 'z')
      out[i] = static_cast<char>(c - 'a' + 'A');
    else if (i > 0 && c >= 'A' && c <= 'Z')
      out[i] = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string render_bitnet(std::string_view bos, const ChatMessage *messages, size_t n, bool prompt) {
  std::string text;
  for (size_t i = 0; i < n; ++i) {
    if (i == 0)
      text += bos;
    text.append(capitalize(messages[i].role))
        .append(": ")
        .append(strip_text(messages[i].content))
        .append("<|eot_id|>");
  }
  return prompt ? text + "Assistant: " : text;
}

std::string render_llama3(std::string_view bos, const ChatMessage *messages, size_t n, bool prompt) {
  std::string text;
  for (size_t i = 0; i < n; ++i) {
    if (i == 0)
      text += bos;
    text.append("<|start_header_id|>").append(messages[i].role).append("<|end_header_id|>\n\n");
    text.append(strip_text(messages[i].content)).append("<|eot_id|>");
  }
  return prompt ? text + "<|start_header_id|>assistant<|end_header_id|>\n\n" : text;
}

std::string render_chatml(std::string_view, const ChatMessage *messages, size_t n, bool prompt) {
  std::string text;
  for (size_t i = 0; i < n; ++i)
    text.append("<|im_start|>")
        .append(messages[i].role)
        .append("\n")
        .append(messages[i].content)
        .append("<|im_end|>\n");
  return prompt ? text + "<|im_start|>assistant\n" : text;
}

struct KnownTemplate {
  const char *source;
  std::string (*render)(std::string_view bos, const ChatMessage *messages, size_t n,
                        bool add_generation_prompt);
};
constexpr KnownTemplate kKnown[] = {{format::kChatBitNet, render_bitnet},
                                    {format::kChatLlama3, render_llama3},
                                    {format::kChatMl, render_chatml}};

} // namespace

std::string normalize_template(std::string_view source) {
  std::string out;
  bool trim_newline = false, trim_all = false; // asked for by the tag before
  while (!source.empty()) {
    size_t open = 0;
    while (open < source.size() &&
           !(source[open] == '{' && open + 1 < source.size() &&
             (source[open + 1] == '%' || source[open + 1] == '{' || source[open + 1] == '#')))
      ++open;
    std::string_view text = source.substr(0, open);
    if (trim_newline && !text.empty() && text.front() == '\n')
      text.remove_prefix(1);
    text = strip_blanks(text, trim_all, false);
    if (open == source.size())
      return out.append(
          strip_blanks(text, false, !text.empty() && text == "\n")); // the engine drops one last line end
    const char kind = source[open + 1];
    const std::string closing{kind == '{' ? '}' : kind, '}'};
    const size_t close = source.find(closing, open + 2);
    if (close == std::string_view::npos)
      return out.append(source); // no template at all; equal to none
    std::string_view tag = source.substr(open + 2, close - open - 2);
    if (!tag.empty() && tag.front() == '-') {
      text = strip_blanks(text, false, true);
      tag.remove_prefix(1);
    } else if (kind != '{') { // lstrip_blocks: blanks between the line's start and a block tag
      size_t end = text.size();
      while (end > 0 && (text[end - 1] == ' ' || text[end - 1] == '\t'))
        --end;
      if (end > 0 ? text[end - 1] == '\n' : out.empty() || trim_newline)
        text = text.substr(0, end);
    }
    trim_all = !tag.empty() && tag.back() == '-';
    if (trim_all)
      tag.remove_suffix(1);
    trim_newline = kind != '{';
    out += text;
    if (kind != '#')
      out.append("{").append(1, kind).append(normalize_tag(tag)).append(closing);
    source.remove_prefix(close + 2);
  }
  return out;
}

Result<std::string> render_chat(std::string_view chat_template, std::string_view bos,
                                const ChatMessage *messages, size_t n_messages, bool add_generation_prompt) {
  if (chat_template.empty())
    return unsupported("chat template: the model has none; give the text as a prompt");
  const std::string wanted = normalize_template(chat_template);
  for (const KnownTemplate &known : kKnown)
    if (wanted == normalize_template(known.source))
      return known.render(bos, messages, n_messages, add_generation_prompt);
  return unsupported(
      "chat template: expected that of BitNet 2B-4T, Llama 3 or ChatML, got another one of " +
      std::to_string(chat_template.size()) +
      " bytes; render it with a Jinja engine (the Python package does) and give the text as a prompt");
}

} // namespace bitnet::runtime
