// One kernel: a built one as it is, any other through Halide: generate, lower, put the arguments into the
// ABI's order, emit. The only file that catches Halide's exceptions (which are not std::exceptions).
#include "codegen/compile.h"
#include "codegen/entry_symbol.h"
#include "codegen/generators/generator.h"
#include "codegen/intrinsics/built_kernels.h"
#include "codegen/target.h"
#include <Halide.h>
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace bitnet::codegen {
namespace {

using Halide::OutputFileType;

/// Inputs, scalars, outputs (Halide's order) → inputs, outputs, scalars (kernel_ops.h, Signature).
void order_arguments(std::vector<Halide::Internal::LoweredArgument> &arguments) {
  const auto scalars =
      std::find_if(arguments.begin(), arguments.end(), [](auto &a) { return a.is_scalar(); });
  const auto outputs = std::find_if(scalars, arguments.end(), [](auto &a) { return !a.is_scalar(); });
  std::rotate(scalars, outputs, arguments.end());
}

/// The lowered kernel as a function `body` and Halide's wrapper of it that takes an array of pointers.
Halide::Module lower(const KernelSpec &spec) {
  const Generated kernel = generate(spec);
  const Halide::Target target = halide_target(spec.cpu);
  const Halide::Module lowered = Halide::Pipeline(kernel.pipeline)
                                     .compile_to_module(kernel.inputs, body_symbol(symbol(spec)), target,
                                                        Halide::LinkageType::ExternalPlusArgv);
  Halide::Module module(symbol(spec), target);
  module.set_any_strict_float(lowered.any_strict_float());
  for (Halide::Internal::LoweredFunc function : lowered.functions()) {
    order_arguments(function.args);
    module.append(function);
  }
  return module;
}

/// Halide emits text to named files only.
std::string emit_text(const Halide::Module &module, OutputFileType type) {
  const char *folder = std::getenv("TMPDIR");
  std::string path = std::string(folder ? folder : "/tmp") + "/bitnet-kernel-XXXXXX";
  const int file = mkstemp(path.data());
  if (file < 0)
    throw Halide::RuntimeError("cannot create " + path);
  close(file);
  module.compile({{type, path}});
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  unlink(path.c_str());
  return text.str();
}

std::string emit_object(const Halide::Module &module) {
  const Halide::Buffer<uint8_t> object = module.compile_to_buffer();
  return {reinterpret_cast<const char *>(object.data()), object.size_in_bytes()};
}

std::string one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

} // namespace

bool compile_kernel(const KernelSpec &spec, Emit what, std::string *bytes, std::string *error) {
  const auto fail = [&](const std::string &why) {
    *error = "kernel '" + to_string(spec) + "': " + one_line(why);
    return false;
  };
  if (const std::string why = spec_error(spec); !why.empty())
    return fail(why);
  if (is_built(spec.op))
    return built_kernel(spec, what, bytes, error) || fail(*error);
  try {
    const Halide::Module module = lower(spec);
    switch (what) {
    case Emit::object:
      *bytes = emit_object(module);
      if (!keep_entry_symbol(symbol(spec), bytes))
        return fail("expected the entry symbol in the object, got none");
      return true;
    case Emit::assembly:
      *bytes = emit_text(module, OutputFileType::assembly);
      return true;
    case Emit::stmt:
      *bytes = emit_text(module, OutputFileType::stmt);
      return true;
    }
  } catch (const Halide::Error &e) {
    return fail(e.what());
  } catch (const std::exception &e) {
    return fail(e.what());
  }
  return fail("nothing to emit");
}

} // namespace bitnet::codegen
