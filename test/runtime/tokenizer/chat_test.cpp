#include "runtime/format/chat_templates.h"
#include "runtime/tokenizer/chat.h"
#include <gtest/gtest.h>

namespace bitnet::runtime {
namespace {

constexpr ChatMessage kTalk[] = {{"system", "Be brief."}, {"user", "  Hi!\n\u3000"}, {"assistant", "Hello."}};

std::string render(const std::string &source, bool prompt = true) {
  const auto text = render_chat(source, "<s>", kTalk, 3, prompt);
  return text.ok() ? *text : text.status().message();
}

TEST(Chat, BitNetWritesRolesAsWords) {
  EXPECT_EQ(render(format::kChatBitNet),
            "<s>System: Be brief.<|eot_id|>User: Hi!<|eot_id|>Assistant: Hello.<|eot_id|>Assistant: ");
  EXPECT_EQ(*render_chat(format::kChatBitNet, "<s>", nullptr, 0, true), "Assistant: ");
}

TEST(Chat, Llama3WritesHeaders) {
  EXPECT_EQ(render(format::kChatLlama3, false),
            "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi!<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>");
}

TEST(Chat, ChatMlKeepsBlanksOfAMessage) {
  EXPECT_EQ(render(format::kChatMl),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n  Hi!\n\u3000<|im_end|>\n"
            "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Chat, RecognisesATemplateWrittenOverLines) {
  const std::string source =
      "{%- for message in messages -%}\n"
      "    {{ \"<|im_start|>\" + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
      "{%- endfor %}\n{% if add_generation_prompt %}\n"
      "    {%- if true %}{% endif %}";
  EXPECT_NE(render(source), render(format::kChatMl)); // not the same program
  const std::string same =
      "{% for message in messages %}\n{{'<|im_start|>' + message['role'] + '\\n' + message['content'] "
      "+ '<|im_end|>' + '\\n'}}{% endfor %}\n{% if add_generation_prompt %}\n"
      "{{ '<|im_start|>assistant\\n' }}\n    {%- endif %}\n";
  EXPECT_EQ(render(same), render(format::kChatMl));
}

TEST(Chat, BlanksInsideATextMakeAnotherTemplate) {
  std::string source = format::kChatBitNet;
  source.replace(source.find("'Assistant: '"), 13, "'Assistant:'");
  EXPECT_EQ(render(source).find(
                "chat template: expected that of BitNet 2B-4T, Llama 3 or ChatML, got another one of "),
            0u);
}

TEST(Chat, RefusesWhatItDoesNotKnow) {
  const auto none = render_chat("", "", nullptr, 0, true);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.status().code(), StatusCode::unsupported);
  EXPECT_EQ(none.status().message(), "chat template: the model has none; give the text as a prompt");
  for (const char *source : {"{{", "{% for", "plain", "{{ x }}", "{#", "{%-", "{%%}"})
    EXPECT_FALSE(render_chat(source, "", nullptr, 0, true).ok()) << source;
}

} // namespace
} // namespace bitnet::runtime
