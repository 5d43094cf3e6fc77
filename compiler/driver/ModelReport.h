// What a model is and what was decided about it, as JSON: kept in the bundle, printed by `bitnetc check`.
#pragma once
#include "compiler/import/Checkpoint.h"
#include "compiler/import/MatrixFacts.h"
#include <map>
#include <nlohmann/json.hpp>

namespace bitnet::compiler {

using Json = nlohmann::ordered_json;

Json decisionsJson(const std::vector<import::Decision> &decisions);

/// Its keys: tools/README.md. Depends on the checkpoint alone, not on where it lies. `matrices`: the facts of
/// each ternary matrix by its canonical name; `rounded`: how many values of embedding and head f16 does not
/// hold exactly; `warnings`: as the importer gave them, without the path.
Json modelReport(const import::Checkpoint &checkpoint,
                 const std::map<std::string, import::MatrixFacts> &matrices, uint64_t rounded,
                 const std::vector<std::string> &warnings);

/// A line for each matrix that decodes and yet is all zeros.
std::vector<std::string> emptyMatrices(const std::map<std::string, import::MatrixFacts> &matrices);

/// The report for people, a line for each matter.
std::string reportText(const Json &report);

/// "2,084,044,800"
std::string withCommas(uint64_t number);

} // namespace bitnet::compiler
