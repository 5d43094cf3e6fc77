// A model told in JSON, for people and tools (bitnet inspect).
#pragma once
#include <string>

namespace bitnet::runtime {

class Model;
std::string describe(const Model &model);

} // namespace bitnet::runtime
