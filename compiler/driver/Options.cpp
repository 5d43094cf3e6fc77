// See Options.h.
#include "compiler/driver/Options.h"
#include "compiler/import/Checkpoint.h"
#include "runtime/cpu/cpu.h"
#include "llvm/ADT/StringRef.h"
#include <algorithm>
#include <functional>

using namespace llvm;

namespace bitnet::compiler {
namespace {

struct Flag {
  const char *name;  // without the dashes; "-o" style aliases in `alias`
  const char *alias; // or nullptr
  const char *value; // metavariable (in brackets: it may be left out), or nullptr for a switch
  const char *help;
  std::function<Error(Options &, const std::string &)> set;
};

Error badValue(const char *flag, const std::string &value, const char *expected) {
  return createStringError("--%s: expected %s, got '%s'", flag, expected, value.c_str());
}

std::function<Error(Options &, const std::string &)> text(std::string Options::*field) {
  return [field](Options &o, const std::string &v) {
    o.*field = v;
    return Error::success();
  };
}

std::function<Error(Options &, const std::string &)> on(bool Options::*field, bool value = true) {
  return [field, value](Options &o, const std::string &) {
    o.*field = value;
    return Error::success();
  };
}

std::function<Error(Options &, const std::string &)> number(const char *flag, int Options::*field, int low,
                                                            int high, const char *expected) {
  return [=](Options &o, const std::string &v) -> Error {
    int n;
    if (StringRef(v).getAsInteger(10, n) || n < low || n > high)
      return badValue(flag, v, expected);
    o.*field = n;
    return Error::success();
  };
}

Error setEmit(Options &o, const std::string &v) {
  static const std::pair<const char *, EmitKind> kinds[] = {
      {"bnx", EmitKind::bnx},     {"bitnet", EmitKind::bitnet},      {"kernel", EmitKind::kernel},
      {"specs", EmitKind::specs}, {"stmt", EmitKind::stmt},          {"asm", EmitKind::assembly},
      {"obj", EmitKind::object},  {"tokenizer", EmitKind::tokenizer}};
  for (const auto &[name, kind] : kinds)
    if (v == name) {
      o.emit = kind;
      return Error::success();
    }
  return badValue("emit", v, "bnx, bitnet, kernel, specs, stmt, asm, obj or tokenizer");
}

Error setTune(Options &o, const std::string &v) {
  constexpr int kStandard = 60;
  int n = kStandard;
  if (!v.empty() && (StringRef(v).getAsInteger(10, n) || n < 1 || n > 86400))
    return badValue("tune", v, "seconds from 1 to 86400");
  o.tuneSeconds = n;
  return Error::success();
}

const std::vector<Flag> &flags() {
  static const std::vector<Flag> table = {
      {"target", nullptr, "LIST",
       "CPU families to build for, comma-separated: portable, avx2, avx512, host (default)",
       text(&Options::targetText)},
      {"output", "o", "FILE",
       "output; default: the input's name with .bnx; '-' or none is stdout for text forms",
       text(&Options::output)},
      {"tokenizer", nullptr, "FILE",
       "tokenizer.json, tokenizer.model or a folder to use instead of the checkpoint's",
       text(&Options::tokenizer)},
      {"set", nullptr, "KEY=VALUE",
       "decide what the checkpoint does not say, or override it (repeatable; keys below)",
       [](Options &o, const std::string &v) -> Error {
         const size_t eq = v.find('=');
         if (eq == std::string::npos || eq == 0)
           return badValue("set", v, "KEY=VALUE");
         o.settings.emplace_back(v.substr(0, eq), v.substr(eq + 1));
         return Error::success();
       }},
      {"head", nullptr, "KIND",
       "output head: exact (default, unless the head is small): f16 rows behind a 4-bit screen, the same "
       "tokens "
       "as f16; f16: all rows for every token; q8: int8 rows, half the bytes, not exact",
       [](Options &o, const std::string &v) -> Error {
         if (v != "exact" && v != "f16" && v != "q8")
           return badValue("head", v, "exact, f16 or q8");
         o.head = v;
         return Error::success();
       }},
      {"kv", nullptr, "KIND",
       "key/value cache: f16 (default), or q8: int8 with a scale a head, half the bytes, not exact",
       [](Options &o, const std::string &v) -> Error {
         if (v != "f16" && v != "q8")
           return badValue("kv", v, "f16 or q8");
         o.kv = v;
         return Error::success();
       }},
      {"packing", nullptr, "KIND",
       "ternary weights: t2 (2 bits a weight), t3 (5 weights a byte), t5 (3 weights in 5 bits), or auto "
       "(default): by measured rates",
       [](Options &o, const std::string &v) -> Error {
         if (v != "auto" && v != "t2" && v != "t3" && v != "t5")
           return badValue("packing", v, "auto, t2, t3 or t5");
         o.packing = v;
         return Error::success();
       }},
      {"emit", nullptr, "KIND",
       "bnx (default); bitnet or kernel: the IR; specs: the kernels' names; stmt, asm: Halide's loops or "
       "assembly of "
       "each kernel; obj: a folder of objects; tokenizer: the tokenizer alone, also of a tokenizer file",
       setEmit},
      {"max-rows", nullptr, "N", "rows of one step: tokens of a prompt processed together (default 128)",
       number("max-rows", &Options::maxRows, 8, 4096, "a number from 8 to 4096")},
      {"no-fuse", nullptr, nullptr, "leave out the fusing passes (to compare)", on(&Options::fuse, false)},
      {"no-skip", nullptr, nullptr, "read all weights of the FFN, also those that cannot matter (to compare)",
       on(&Options::skip, false)},
      {"explain", nullptr, nullptr, "say what the compiler chose and why, one line a decision",
       on(&Options::explain)},
      {"print-ir-after-all", nullptr, nullptr, "print the IR to stderr after each pass",
       on(&Options::printIrAfterAll)},
      {"print-ir-after", nullptr, "PASS",
       "print the IR to stderr after this pass, e.g. bitnet-fuse-norm-quant", text(&Options::printIrAfter)},
      {"time-passes", nullptr, nullptr, "print the time of each pass and stage to stderr",
       on(&Options::timePasses)},
      {"list-targets", nullptr, nullptr, "list the CPU families and variants, and what this CPU has",
       on(&Options::listTargets)},
      {"jobs", "j", "N", "threads (default: one for each CPU)",
       number("jobs", &Options::jobs, 1, 1024, "a number from 1 to 1024")},
      {"cache-dir", nullptr, "DIR",
       "kernel cache (default: $XDG_CACHE_HOME/bitnet/kernels or ~/.cache/bitnet/kernels)",
       text(&Options::cacheDir)},
      {"tune", nullptr, "[SECONDS]",
       "measure which tile of each linear kernel is the fastest on this CPU, for at most SECONDS (60), and "
       "keep "
       "that in the cache: later compiles with --target=host use it. No result changes",
       setTune},
      {"no-tuned", nullptr, nullptr, "leave alone what --tune has found", on(&Options::useTuned, false)},
      {"no-cache", nullptr, nullptr, "compile every kernel anew", on(&Options::useCache, false)},
      {"json", nullptr, nullptr, "print the result as one JSON object on stdout", on(&Options::json)},
      {"verbose", "v", nullptr, "say what is done and decided", on(&Options::verbose)},
      {"version", nullptr, nullptr, "print the version", on(&Options::version)},
      {"help", "h", nullptr, "print this text", on(&Options::help)},
  };
  return table;
}

const Flag *find(StringRef name, bool isShort) {
  for (const Flag &f : flags())
    if (isShort ? (f.alias && name == f.alias) : name == f.name)
      return &f;
  return nullptr;
}

} // namespace

Expected<std::vector<format::CpuVariant>> parseTargets(const std::string &text) {
  std::vector<format::CpuVariant> out;
  SmallVector<StringRef> parts;
  StringRef(text).split(parts, ',');
  for (StringRef part : parts) {
    if (part == "host") {
      out.push_back(cpu::best_variant(cpu::features()));
      continue;
    }
    bool known = false;
    for (int v = 0; v < int(format::CpuVariant::count); ++v)
      if (part == format::cpu_variant(format::CpuVariant(v)).target) {
        out.push_back(format::CpuVariant(v));
        known = true;
      }
    if (!known)
      return createStringError(
          "--target: expected portable, avx2, avx512 or host, got '%s'; see --list-targets",
          part.str().c_str());
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Expected<Options> parseOptions(const std::vector<std::string> &args) {
  Options o;
  size_t first = 0;
  if (!args.empty() && args[0] == "check") {
    o.command = Command::check;
    first = 1;
  }
  for (size_t i = first; i < args.size(); ++i) {
    StringRef arg = args[i];
    if (!arg.starts_with("-") || arg == "-") {
      if (!o.input.empty())
        return createStringError("expected one checkpoint, got '%s' and '%s'", o.input.c_str(),
                                 args[i].c_str());
      o.input = args[i];
      continue;
    }
    const bool isShort = !arg.starts_with("--");
    auto [name, attached] = arg.drop_front(isShort ? 1 : 2).split('=');
    const Flag *flag = find(name, isShort);
    if (!flag)
      return createStringError("unknown option '%s'; see bitnetc --help", args[i].c_str());
    std::string value = attached.str();
    const bool hasValue = arg.contains('=');
    const bool optional = flag->value && *flag->value == '[';
    if (flag->value && !hasValue && !optional) {
      if (++i == args.size())
        return createStringError("--%s: expected %s, got nothing", flag->name, flag->value);
      value = args[i];
    } else if (!flag->value && hasValue) {
      return createStringError("--%s: expected no value, got '%s'", flag->name, value.c_str());
    }
    if (Error e = flag->set(o, value))
      return e;
  }
  if (o.help || o.version || o.listTargets)
    return o;
  Expected<std::vector<format::CpuVariant>> targets = parseTargets(o.targetText);
  if (!targets)
    return targets.takeError();
  o.targets = std::move(*targets);
  if (o.input.empty())
    return createStringError(
        "expected a checkpoint (.gguf, .safetensors, .pt or a folder), got nothing; see bitnetc --help");
  if (o.emit == EmitKind::bnx && o.output == "-")
    return createStringError("--output: expected FILE for a bundle, got '-'; only text goes to stdout");
  if (o.emit == EmitKind::tokenizer && (o.output.empty() || o.output == "-"))
    return createStringError("--emit=tokenizer: expected -o FILE, got nothing");
  if (o.tuneSeconds && !o.useTuned)
    return createStringError("--tune and --no-tuned: expected one of them, got both");
  if (o.tuneSeconds && o.emit != EmitKind::bnx)
    return createStringError("--tune: expected to make a bundle, got another --emit");
  if (o.emit == EmitKind::object && o.output.empty())
    return createStringError("--emit=obj: expected -o FOLDER, got nothing");
  return o;
}

std::string helpText() {
  std::string s =
      "usage: bitnetc CHECKPOINT [options]\n"
      "       bitnetc check CHECKPOINT [--json] [options]\n\n"
      "Compiles a ternary checkpoint (.gguf, .safetensors, the .pt of microsoft/BitNet's gpu "
      "folder, or a folder\n"
      "that holds one of them) into one .bnx bundle. `check` reads all of it and says what it is, "
      "what was\n"
      "decided that the files do not say, and everything that is wrong with it; exit status 1 if it "
      "would not compile.\n\n"
      "options:\n";
  for (const Flag &f : flags()) {
    std::string left = std::string("  ") + (f.alias ? std::string("-") + f.alias + ", " : "    ") + "--" +
                       f.name +
                       (!f.value          ? ""
                        : *f.value == '[' ? "[=" + std::string(f.value + 1)
                                          : "=" + std::string(f.value));
    left.resize(std::max<size_t>(left.size() + 2, 28), ' ');
    s += left + f.help + "\n";
  }
  s += "\nkeys of --set:\n";
  for (const import::SettingInfo &info : import::importSettings()) {
    std::string left = "  " + info.key;
    left.resize(std::max<size_t>(left.size() + 2, 28), ' ');
    s += left + info.help + "\n";
  }
  s += "\nexit status: 0 done, 1 failed, 2 wrong usage. Environment: XDG_CACHE_HOME.\n";
  return s;
}

std::string targetsText() {
  const uint64_t have = cpu::features();
  std::string s;
  for (int v = 0; v < int(format::CpuVariant::count); ++v) {
    const format::CpuVariantInfo &info = format::cpu_variant(format::CpuVariant(v));
    std::string line = std::string(info.target);
    line.resize(10, ' ');
    line += info.name;
    line.resize(24, ' ');
    line += (info.features & ~have) ? "not on this CPU" : "runs on this CPU";
    s += line + "\n";
  }
  return s;
}

} // namespace bitnet::compiler
