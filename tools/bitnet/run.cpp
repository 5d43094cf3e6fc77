// bitnet run: text that continues a prompt, streamed as it is made. Chat here is one question and its answer;
// the conversation is another subcommand's work.
#include "tools/bitnet/handles.h"
#include "tools/bitnet/interrupt.h"
#include "tools/bitnet/progress.h"
#include "tools/bitnet/subcommands.h"
#include "tools/bitnet/text_input.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

namespace bitnet::tools {
namespace {

struct Flags {
  ModelFlags model;
  TextInput input;
  std::vector<int32_t> tokens;
  int32_t max_tokens = 128, chunk = 0;
  bitnet_sampling sampling{};
  bool ignore_eos = false, chat = false, echo = false, json = false;
  std::string system, logits_file;
  std::vector<std::string> stop;

  Flags() { bitnet_sampling_default(&sampling); }
  void declare(Arguments &arguments);
};

void Flags::declare(Arguments &arguments) {
  model.declareModel(arguments);
  input.declare(arguments);
  arguments.option("--tokens", "IDS", tokens, "token ids instead of a text: 1,2,3");
  arguments.option("-n, --n-predict", "N", max_tokens, "new tokens at most; -1 = until the context is full");
  arguments.option("--temp", "T", sampling.temperature, "temperature; 0 = always the likeliest token");
  arguments.option("--top-k", "K", sampling.top_k, "draw from the K likeliest tokens; 0 = off");
  arguments.option("--top-p", "P", sampling.top_p,
                   "draw from the likeliest tokens that sum up to P; 1 = off");
  arguments.option("--min-p", "P", sampling.min_p,
                   "drop tokens less likely than P times the likeliest; 0 = off");
  arguments.option("--repeat-penalty", "F", sampling.repetition_penalty,
                   "make seen tokens less likely; 1 = off");
  arguments.option("--repeat-last-n", "N", sampling.repetition_window,
                   "tokens looked back; -1 = all, 0 = 64");
  arguments.option("--seed", "N", sampling.seed, "the same seed gives the same text");
  arguments.option("--stop", "TEXT", stop, "end before this text; may be given several times");
  arguments.flag("--ignore-eos", ignore_eos, "go on past tokens that end a text");
  arguments.flag("--chat", chat, "the prompt is a user's message: apply the model's chat template");
  arguments.option("--system", "TEXT", system, "system message for --chat");
  arguments.flag("--echo", echo, "print the prompt first");
  arguments.flag("--json", json, "print one object: prompt_tokens, tokens, text, finish_reason, timings");
  arguments.option("--dump-logits", "FILE", logits_file,
                   "write raw f32 [tokens, vocab]: row i is what token i was drawn from");
  arguments.option("--chunk", "N", chunk, "feed the prompt N tokens at a time; 0 = as many as suits");
  model.declareSession(arguments);
}

std::vector<int32_t> promptTokens(const Flags &flags, const Arguments &arguments, const bitnet_model *model) {
  std::vector<int32_t> prompt = flags.tokens;
  if (!arguments.given("--tokens")) {
    std::string text = flags.input.read(arguments);
    if (!arguments.given("--prompt") && !text.empty() && text.back() == '\n')
      text.pop_back(); // the line end that an editor or echo put there
    if (flags.chat) {
      std::vector<bitnet_message> messages;
      if (!flags.system.empty())
        messages.push_back({"system", flags.system.c_str()});
      messages.push_back({"user", text.c_str()});
      prompt = encode(tokenizerOf(model), renderChat(model, messages), BITNET_ENCODE_PARSE_SPECIAL);
    } else {
      prompt = encode(tokenizerOf(model), text, BITNET_ENCODE_ADD_SPECIAL | BITNET_ENCODE_PARSE_SPECIAL);
    }
  } else if (arguments.given("--prompt") || arguments.given("--file") || flags.chat) {
    throw UsageError("expected --tokens alone, got also --prompt, --file or --chat");
  }
  if (prompt.empty())
    throw Failure("prompt: expected at least one token, got none; give a text that is not empty");
  return prompt;
}

/// Refuses a prompt that the positions of the session cannot hold, before any of it is computed.
void requireRoom(size_t prompt_tokens, int32_t context, int32_t model_context) {
  if (prompt_tokens > static_cast<size_t>(context))
    throw Failure("prompt: expected at most " + std::to_string(context) + " tokens (" +
                  (context < model_context ? "--context" : "the model's context") + "), got " +
                  std::to_string(prompt_tokens) +
                  (context < model_context ? "; raise --context" : "; shorten the prompt"));
}

/// Feeds all of the prompt but a last part, which the generation takes. Returns how many tokens were fed.
size_t feedAhead(const Flags &flags, const std::vector<int32_t> &prompt, bitnet_session *session,
                 const Interrupt &interrupt) {
  // Enough rows for the tiled kernels at full speed, few enough for a bar that moves and a quick answer to
  // Ctrl-C.
  constexpr size_t kRowsAtOnce = 256;
  if (flags.chunk == 0 && flags.sampling.repetition_penalty != 1.0f)
    return 0; // the generation must see the whole prompt, since the penalty looks back into it
  const size_t chunk = flags.chunk > 0 ? flags.chunk : kRowsAtOnce;
  Progress progress("prompt", "tokens", prompt.size());
  size_t fed = 0;
  for (; prompt.size() - fed > chunk && !interrupt.requested(); fed += chunk) {
    feed(session, prompt.data() + fed, chunk, 0, false);
    progress.update(fed + chunk);
  }
  return fed;
}

const char *nameOf(bitnet_finish finish) {
  return finish == BITNET_FINISH_STOP ? "stop" : finish == BITNET_FINISH_LENGTH ? "length" : "cancelled";
}

/// The file of --dump-logits; does nothing without a path.
class LogitsFile {
public:
  LogitsFile(const std::string &path, int32_t vocab) : path_(path), vocab_(vocab) {
    if (!path.empty() && !(file_ = std::fopen(path.c_str(), "wb")))
      throw Failure(path + ": cannot open: " + std::strerror(errno));
  }
  ~LogitsFile() {
    if (file_)
      std::fclose(file_);
  }
  LogitsFile(const LogitsFile &) = delete;
  LogitsFile &operator=(const LogitsFile &) = delete;

  void append(const bitnet_session *session) {
    if (!file_)
      return;
    const float *logits = bitnet_session_logits(session, 0); // f32 [vocab]
    if (!logits || std::fwrite(logits, sizeof(float), vocab_, file_) != static_cast<size_t>(vocab_))
      throw Failure(path_ + ": cannot write the logits");
  }
  void close() {
    if (file_ && std::fclose(std::exchange(file_, nullptr)) != 0)
      throw Failure(path_ + ": cannot write: " + std::strerror(errno));
  }

private:
  const std::string path_;
  const int32_t vocab_;
  FILE *file_ = nullptr;
};

struct Outcome {
  std::vector<int32_t> tokens; // all drawn, with the stop token if one ended the text
  std::string text;
  bitnet_finish finish = BITNET_FINISH_NONE;
};

/// Draws to the end; streams the text unless it goes into the object of --json.
Outcome generate(const Flags &flags, bitnet_generation *generation, const bitnet_session *session,
                 LogitsFile &logits) {
  Outcome outcome;
  while (outcome.finish == BITNET_FINISH_NONE) {
    bitnet_token_event event{};
    bitnet_error error{};
    const bitnet_status status = bitnet_generation_next(generation, &event, &error);
    if (status == BITNET_CANCELLED) {
      outcome.finish = BITNET_FINISH_CANCELLED;
      break;
    }
    check(status, error);
    if (event.token >= 0) {
      outcome.tokens.push_back(event.token);
      logits.append(session);
    }
    outcome.text.append(event.text ? event.text : "", event.text_bytes);
    outcome.finish = event.finish;
    if (!flags.json && event.text_bytes > 0) {
      std::fwrite(event.text, 1, event.text_bytes, stdout);
      if (std::fflush(stdout) != 0 || std::ferror(stdout))
        throw Failure("standard output: cannot write"); // nobody would read the rest
    }
  }
  return outcome;
}

double perSecond(double count, double seconds) { return count > 0 && seconds > 0 ? count / seconds : 0; }
/// The first token comes from the prompt's own step: the others took one step each.
double generationSpeed(const bitnet_timings &timings) {
  return perSecond(timings.generated_tokens - 1, timings.generation_seconds);
}

nlohmann::ordered_json toJson(const std::vector<int32_t> &prompt, const Outcome &outcome,
                              const bitnet_timings &timings, double load_seconds) {
  return {{"prompt_tokens", prompt},
          {"tokens", outcome.tokens},
          {"text", outcome.text},
          {"finish_reason", nameOf(outcome.finish)},
          {"timings",
           {{"load_seconds", load_seconds},
            {"prompt_tokens", timings.prompt_tokens},
            {"prompt_seconds", timings.prompt_seconds},
            {"prompt_tokens_per_second", perSecond(timings.prompt_tokens, timings.prompt_seconds)},
            {"generated_tokens", timings.generated_tokens},
            {"generation_seconds", timings.generation_seconds},
            {"generation_tokens_per_second", generationSpeed(timings)}}}};
}

} // namespace

int run(int argc, char **argv) {
  Flags flags;
  Arguments arguments("bitnet run", "Writes text that continues a prompt.");
  flags.declare(arguments);
  if (!arguments.parse(argc, argv))
    return 0;
  if (flags.max_tokens < -1 || flags.max_tokens == 0)
    throw UsageError("flag '--n-predict': expected 1 or more, or -1, got " +
                     std::to_string(flags.max_tokens));
  if (flags.chunk < 0)
    throw UsageError("flag '--chunk': expected 0 or more, got " + std::to_string(flags.chunk));
  if (flags.chunk > 0 && flags.sampling.repetition_penalty != 1.0f)
    throw UsageError("--chunk cannot go with --repeat-penalty");
  if (!flags.system.empty() && !flags.chat)
    throw UsageError("--system needs --chat");

  using Clock = std::chrono::steady_clock;
  auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const Clock::time_point start = Clock::now();
  Interrupt interrupt;
  const Model model = flags.model.open();
  const bitnet_model_info info = infoOf(model.get());
  const std::vector<int32_t> prompt = promptTokens(flags, arguments, model.get());
  const int32_t context = flags.model.context > 0 ? flags.model.context : info.context;
  requireRoom(prompt.size(), std::min(context, info.context), info.context);
  const int64_t positions = static_cast<int64_t>(prompt.size()) + flags.max_tokens;
  const Session session = flags.model.createSession(
      model.get(),
      flags.max_tokens < 0 ? 0 : static_cast<int32_t>(std::min<int64_t>(positions, info.context)));
  const double load_seconds = since(start);
  LogitsFile logits(flags.logits_file, info.vocab);

  if (flags.echo && !flags.json) {
    const std::string text = decode(tokenizerOf(model.get()), prompt, false);
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }
  const Clock::time_point prompt_start = Clock::now();
  interrupt.enter(nullptr);
  const size_t fed = feedAhead(flags, prompt, session.get(), interrupt);
  const double fed_seconds = since(prompt_start);

  std::vector<const char *> stop;
  for (const std::string &text : flags.stop)
    stop.push_back(text.c_str());
  bitnet_generation_options options{};
  bitnet_generation_default(&options);
  options.sampling = flags.sampling;
  options.max_tokens = flags.max_tokens;
  options.ignore_eos = flags.ignore_eos;
  options.stop = stop.data();
  options.n_stop = stop.size();
  bitnet_error error{};
  bitnet_generation *created = nullptr;
  check(bitnet_generation_create(session.get(), prompt.data() + fed, prompt.size() - fed, &options, &created,
                                 &error),
        error);
  const Generation generation(created);
  interrupt.enter(generation.get());
  const Outcome outcome = generate(flags, generation.get(), session.get(), logits);
  interrupt.leave();
  logits.close();

  bitnet_timings timings{};
  bitnet_generation_get_timings(generation.get(), &timings);
  timings.prompt_tokens += static_cast<int32_t>(fed);
  timings.prompt_seconds += fed_seconds;
  if (flags.json)
    std::puts(toJson(prompt, outcome, timings, load_seconds)
                  .dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
                  .c_str());
  else
    std::putchar('\n');
  std::fflush(stdout);
  std::fprintf(stderr,
               "prompt: %d tokens, %.1f tok/s; generation: %d tokens, %.1f tok/s; %s (%s, %d threads)\n",
               timings.prompt_tokens, perSecond(timings.prompt_tokens, timings.prompt_seconds),
               timings.generated_tokens, generationSpeed(timings), nameOf(outcome.finish), info.cpu,
               bitnet_session_threads(session.get()));
  return outcome.finish == BITNET_FINISH_CANCELLED ? kExitInterrupted : 0;
}

} // namespace bitnet::tools
