// Chat templates that are known by their exact source (Jinja). The importer puts them in place of a wrong
// one, the runtime renders them without a template engine; both must mean the same text, so it stands here.
#pragma once

namespace bitnet::format {

/// BitNet b1.58 2B-4T, as in its Hugging Face repository: "User: ...<|eot_id|>Assistant: ".
inline constexpr char kChatBitNet[] =
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | "
    "capitalize + "
    "': '+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + "
    "content %}"
    "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}";

/// Llama 3: headers between <|start_header_id|> and <|end_header_id|>.
inline constexpr char kChatLlama3[] = "{% set loop_messages = messages %}{% for message in loop_messages "
                                      "%}{% set content = '<|start_header_id|>' + "
                                      "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim "
                                      "+ '<|eot_id|>' %}{% if loop.index0 == 0 %}"
                                      "{% set content = bos_token + content %}{% endif %}{{ content }}{% "
                                      "endfor %}{% if add_generation_prompt %}"
                                      "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

/// ChatML, the plain form: every message between <|im_start|> and <|im_end|>.
inline constexpr char kChatMl[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

} // namespace bitnet::format
