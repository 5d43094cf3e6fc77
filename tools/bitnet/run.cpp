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
#include <cstdlib>
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
  std::string system, logits_file, speculate = "auto";
  std::vector<std::string> stop, template_args;

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
  arguments.option("--presence-penalty", "F", sampling.presence_penalty,
                   "taken from the logits of drawn tokens; 0 = off");
  arguments.option("--frequency-penalty", "F", sampling.frequency_penalty,
                   "taken once for each time a token was drawn; 0 = off");
  arguments.option("--repeat-last-n", "N", sampling.repetition_window,
                   "tokens looked back; -1 = all, 0 = 64");
  arguments.option("--seed", "N", sampling.seed, "the same seed gives the same text");
  arguments.option("--stop", "TEXT", stop, "end before this text; may be given several times");
  arguments.flag("--ignore-eos", ignore_eos, "go on past tokens that end a text");
  arguments.flag("--chat", chat, "the prompt is a user's message: apply the model's chat template");
  arguments.option("--system", "TEXT", system, "system message for --chat");
  arguments.option(
      "--template-arg", "NAME=VALUE", template_args,
      "a variable for the chat template, e.g. enable_thinking=false; true, false, none and integers "
      "are these, anything else is a text; may be given several times");
  arguments.flag("--echo", echo, "print the prompt first");
  arguments.flag("--json", json, "print one object: prompt_tokens, tokens, text, finish_reason, timings");
  arguments.option("--dump-logits", "FILE", logits_file,
                   "write raw f32 [tokens, vocab]: row i is what token i was drawn from");
  arguments.option(
      "--speculate", "HOW", speculate,
      "also run guesses from the text so far, which never changes it: auto (greedy, where it pays), "
      "ngram (any sampling, where it pays), off, or how many, up to 15");
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
      prompt = encode(tokenizerOf(model), renderChat(model, messages, flags.template_args),
                      BITNET_ENCODE_PARSE_SPECIAL);
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

const char *nameOf(bitnet_finish finish) {
  return finish == BITNET_FINISH_STOP ? "stop" : finish == BITNET_FINISH_LENGTH ? "length" : "cancelled";
}

/// --speculate as the C interface has it.
int32_t speculationOf(const std::string &how) {
  if (how == "auto")
    return BITNET_SPECULATE_AUTO;
  if (how == "off")
    return BITNET_SPECULATE_OFF;
  if (how == "ngram")
    return BITNET_SPECULATE_NGRAM;
  if (how.size() <= 2 && how.find_first_not_of("0123456789") == std::string::npos)
    if (const int count = std::atoi(how.c_str()); count >= 1 && count <= 15)
      return count;
  throw UsageError("flag '--speculate': expected auto, off, ngram or a number from 1 to 15, got '" + how +
                   "'");
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

  void append(bitnet_generation *generation) {
    if (!file_)
      return;
    const float *logits = bitnet_generation_logits(generation); // f32 [vocab]
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
Outcome generate(const Flags &flags, bitnet_generation *generation, size_t prompt_tokens,
                 LogitsFile &logits) {
  Outcome outcome;
  auto progress = std::make_unique<Progress>("prompt", "tokens", prompt_tokens);
  while (outcome.finish == BITNET_FINISH_NONE) {
    bitnet_token_event event{};
    bitnet_error error{};
    check(bitnet_generation_next(generation, &event, &error), error);
    if (event.token < 0 && event.finish == BITNET_FINISH_NONE) { // a part of the prompt
      bitnet_timings timings{};
      bitnet_generation_get_timings(generation, &timings);
      progress->update(timings.prompt_tokens);
      continue;
    }
    progress.reset(); // off the terminal before any text
    if (event.token >= 0) {
      outcome.tokens.push_back(event.token);
      logits.append(generation);
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
            {"drafted_tokens", timings.drafted_tokens},
            {"accepted_tokens", timings.accepted_tokens},
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
  const int32_t speculate = speculationOf(flags.speculate);
  if (!flags.system.empty() && !flags.chat)
    throw UsageError("--system needs --chat");
  if (!flags.template_args.empty() && !flags.chat)
    throw UsageError("--template-arg needs --chat");

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
  const Engine engine = flags.model.createEngine(
      model.get(),
      flags.max_tokens < 0 ? 0 : static_cast<int32_t>(std::min<int64_t>(positions, info.context)));
  const double load_seconds = since(start);
  LogitsFile logits(flags.logits_file, info.vocab);

  if (flags.echo && !flags.json) {
    const std::string text = decode(tokenizerOf(model.get()), prompt, false);
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }
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
  options.prompt_rows = flags.chunk;
  options.speculate = speculate;
  options.all_logits = !flags.logits_file.empty();
  bitnet_error error{};
  bitnet_generation *created = nullptr;
  check(bitnet_generation_create(engine.get(), prompt.data(), prompt.size(), &options, &created, &error),
        error);
  const Generation generation(created);
  interrupt.enter(generation.get());
  const Outcome outcome = generate(flags, generation.get(), prompt.size(), logits);
  interrupt.leave();
  logits.close();

  bitnet_timings timings{};
  bitnet_generation_get_timings(generation.get(), &timings);
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
               bitnet_engine_threads(engine.get()));
  return outcome.finish == BITNET_FINISH_CANCELLED ? kExitInterrupted : 0;
}

} // namespace bitnet::tools
