// Renders a chat template (template_syntax.h) over the variables that it is given, as Jinja in transformers'
// environment would, or says why not. It reaches nothing but those variables, and is stopped when it takes
// too many steps or writes too much.
#pragma once
#include "runtime/base/status.h"
#include "runtime/tokenizer/template_operations.h"
#include "runtime/tokenizer/template_syntax.h"

namespace bitnet::runtime {

/// Errors: `unsupported` for what only a whole engine can do, `invalid_argument` where the template fails on
/// its variables or refuses them (raise_exception), or exceeds a limit.
Result<std::string> render_template(const std::vector<TemplateStep> &steps, TemplateValue::Map variables,
                                    const TemplateLimits &limits = {});

} // namespace bitnet::runtime
