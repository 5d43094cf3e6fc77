// bitnet inspect: what a bundle holds. The runtime describes it as JSON; this prints that JSON, or the same
// for people.
#include "tools/bitnet/handles.h"
#include "tools/bitnet/subcommands.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace bitnet::tools {
namespace {

using Json = nlohmann::ordered_json;

/// A value in one piece of text: lists with spaces between, objects as their values with colons between.
std::string shortText(const Json &value) {
  if (!value.is_structured())
    return value.is_string() ? value.get<std::string>() : value.dump();
  std::string text;
  for (const Json &element : value)
    text += (text.empty() ? "" : value.is_array() ? " " : ":") + shortText(element);
  return text;
}

/// Whether every element is an object of plain values: then it is a table.
bool isTable(const Json &value) {
  if (!value.is_array() || value.empty())
    return false;
  return std::all_of(value.begin(), value.end(), [](const Json &row) {
    return row.is_object() &&
           std::none_of(row.begin(), row.end(), [](const Json &cell) { return cell.is_object(); });
  });
}

bool isTextList(const Json &value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(), [](const Json &element) { return element.is_string(); });
}

void printTable(const Json &rows, const std::string &indent) {
  std::vector<std::string> columns; // keys in order of first appearance
  for (const Json &row : rows)
    for (const auto &cell : row.items())
      if (std::find(columns.begin(), columns.end(), cell.key()) == columns.end())
        columns.push_back(cell.key());
  std::stable_partition(
      columns.begin(), columns.end(), [&](const std::string &column) { // lists are long: last
        return std::none_of(rows.begin(), rows.end(),
                            [&](const Json &row) { return row.value(column, Json()).is_array(); });
      });
  std::vector<std::vector<std::string>> lines{columns};
  for (const Json &row : rows) {
    lines.emplace_back();
    for (const std::string &column : columns)
      lines.back().push_back(row.contains(column) ? shortText(row[column]) : "");
  }
  for (const std::vector<std::string> &line : lines) {
    std::string text = indent;
    for (size_t c = 0; c < columns.size(); ++c) {
      size_t width = 0;
      for (const std::vector<std::string> &other : lines)
        width = std::max(width, other[c].size());
      text += line[c];
      if (c + 1 < columns.size())
        text.append(width + 2 - line[c].size(), ' ');
    }
    text.erase(text.find_last_not_of(' ') + 1);
    std::puts(text.c_str());
  }
}

void printTree(const Json &object, const std::string &indent) {
  for (const auto &entry : object.items()) {
    const Json &value = entry.value();
    const bool nested = value.is_object() || isTable(value) || isTextList(value);
    std::printf("%s%s:%s%s\n", indent.c_str(), entry.key().c_str(), nested ? "" : " ",
                nested ? "" : shortText(value).c_str());
    if (isTable(value))
      printTable(value, indent + "  ");
    else if (isTextList(value))
      for (const Json &line : value)
        std::printf("%s  %s\n", indent.c_str(), line.get_ref<const std::string &>().c_str());
    else if (nested)
      printTree(value, indent + "  ");
  }
}

/// Puts the number of elements in the place of a list that is long in every real model.
void shorten(Json &object, const char *key) {
  if (object.is_object() && object.contains(key))
    object[key] = std::to_string(object[key].size()) + ", listed with --all";
}

} // namespace

int inspect(int argc, char **argv) {
  ModelFlags flags;
  bool all = false, verify = false, json = false;
  Arguments arguments("bitnet inspect",
                      "Shows what a bundle holds: model, targets, kernels, packing, sections.");
  flags.declareModel(arguments);
  arguments.flag("--all", all, "list every tensor and every call of the plan too");
  arguments.flag("--verify", verify, "only check the bundle: every offset, count and checksum");
  arguments.flag("--json", json, "print everything (with --verify: path, valid) as one object");
  if (!arguments.parse(argc, argv))
    return 0;
  const Model model = flags.open(); // validates the whole file
  if (verify) {
    if (json)
      std::puts(Json{{"path", flags.path}, {"valid", true}}
                    .dump(2, ' ', false, Json::error_handler_t::replace)
                    .c_str());
    else
      std::printf("%s: valid, every checksum matches\n", flags.path.c_str());
    return 0;
  }
  const char *description = bitnet_model_describe(model.get());
  if (json) {
    std::puts(description);
    return 0;
  }
  Json object = Json::parse(description, nullptr, false);
  if (object.is_discarded())
    throw Failure(flags.path + ": the runtime's description is not JSON");
  if (!all) {
    shorten(object, "tensors");
    if (object.contains("plan"))
      shorten(object["plan"], "calls");
  }
  printTree(object, "");
  return 0;
}

} // namespace bitnet::tools
