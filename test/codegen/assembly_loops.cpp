#include "test/codegen/assembly_loops.h"
#include "codegen/compile.h"
#include <algorithm>
#include <cctype>
#include <gtest/gtest.h>
#include <iterator>
#include <regex>
#include <sstream>

namespace bitnet::codegen {

size_t count(const Instructions &instructions, const char *pattern) {
  const std::regex regex(pattern);
  return size_t(std::count_if(instructions.begin(), instructions.end(),
                              [&](const std::string &i) { return std::regex_search(i, regex); }));
}

std::vector<Instructions> Assembly::loops_with(const char *pattern, size_t least) const {
  std::vector<Instructions> found;
  std::copy_if(loops.begin(), loops.end(), std::back_inserter(found),
               [&](const Instructions &loop) { return count(loop, pattern) >= least; });
  return found;
}

Instructions Assembly::hottest_loop(const char *pattern) const {
  Instructions hottest;
  for (const Instructions &loop : loops)
    if (count(loop, pattern) > count(hottest, pattern))
      hottest = loop;
  return hottest;
}

Assembly assembly_of(const std::string &kernel) {
  std::string error, text;
  const std::optional<KernelSpec> spec = parse_kernel_spec(kernel, &error);
  EXPECT_TRUE(spec && compile_kernel(*spec, Emit::assembly, &text, &error)) << error;
  Assembly assembly;
  std::istringstream lines(text);
  std::string jump_back; // how a jump to the last label ends
  Instructions body;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(".LBB", 0) == 0 || (line.rfind(".L", 0) == 0 && std::isdigit(line[2]))) { // LLVM's, gcc's
      jump_back = "\t" + line.substr(0, line.find(':'));
      body.clear();
    } else if (line.size() > 1 && line[0] == '\t' && line[1] != '.') {
      assembly.all.push_back(line.substr(1));
      body.push_back(line.substr(1));
      if (line[1] == 'j' && !jump_back.empty() && line.size() > jump_back.size() &&
          line.compare(line.size() - jump_back.size(), std::string::npos, jump_back) == 0)
        assembly.loops.push_back(body);
    }
  }
  return assembly;
}

} // namespace bitnet::codegen
