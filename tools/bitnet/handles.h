// The C interface's objects with destructors, and its status values as the program's Failure. Nothing else is
// wrapped.
#pragma once
#include "runtime/api/bitnet.h"
#include "tools/bitnet/arguments.h"

#include <memory>
#include <string>
#include <vector>

namespace bitnet::tools {

struct Release {
  void operator()(bitnet_model *model) const { bitnet_model_close(model); }
  void operator()(bitnet_tokenizer *tokenizer) const { bitnet_tokenizer_close(tokenizer); }
  void operator()(bitnet_session *session) const { bitnet_session_destroy(session); }
  void operator()(bitnet_engine *engine) const { bitnet_engine_destroy(engine); }
  void operator()(bitnet_generation *generation) const { bitnet_generation_destroy(generation); }
};
using Model = std::unique_ptr<bitnet_model, Release>;
using Tokenizer = std::unique_ptr<bitnet_tokenizer, Release>;
using Session = std::unique_ptr<bitnet_session, Release>;
using Engine = std::unique_ptr<bitnet_engine, Release>;
using Generation = std::unique_ptr<bitnet_generation, Release>;

inline void check(bitnet_status status, const bitnet_error &error) {
  if (status != BITNET_OK)
    throw Failure(error.message);
}

/// The flags that every subcommand with a model takes, and what they make.
struct ModelFlags {
  std::string path, cpu;
  int32_t threads = 0, context = 0;

  void declareModel(Arguments &arguments);   // MODEL and --cpu
  void declareSession(Arguments &arguments); // --threads and --context
  Model open() const;
  /// context_needed, here and below: positions the work takes, used when --context is not given; 0 = the
  /// model's.
  Engine createEngine(const bitnet_model *model, int32_t context_needed = 0) const;
  Session createSession(const bitnet_model *model, int32_t context_needed = 0, int32_t sequences = 1) const;

private:
  int32_t contextFor(const bitnet_model *model, int32_t context_needed) const;
};

bitnet_model_info infoOf(const bitnet_model *model);
/// The model's tokenizer; fails where the bundle has none.
const bitnet_tokenizer *tokenizerOf(const bitnet_model *model);
std::vector<int32_t> encode(const bitnet_tokenizer *tokenizer, const std::string &text, int flags);
std::string decode(const bitnet_tokenizer *tokenizer, const std::vector<int32_t> &tokens, bool keep_special);
/// The conversation as the model's chat template writes it, with the opening of the assistant's answer.
/// `variables`: NAME=VALUE each, of --template-arg.
std::string renderChat(const bitnet_model *model, const std::vector<bitnet_message> &messages,
                       const std::vector<std::string> &variables);

/// Appends `count` tokens to a sequence; only the last one's logits are kept, and only if asked for: as
/// greedy needs them.
void feed(bitnet_session *session, const int32_t *tokens, size_t count, int32_t sequence,
          bool want_last_logits);

} // namespace bitnet::tools
