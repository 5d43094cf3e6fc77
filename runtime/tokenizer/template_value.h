// Values of a chat template while it is rendered: what Python's are to Jinja, without floats.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::runtime {

struct TemplateStep;

/// Cheap to copy; texts and collections are shared and never changed (but a namespace).
class TemplateValue {
public:
  enum Kind : uint8_t { undefined, none, truth, integer, text, list, map, name_space, macro };
  using List = std::vector<TemplateValue>;
  /// In the order of insertion, as Python's.
  using Map = std::vector<std::pair<std::string, TemplateValue>>;

  TemplateValue() = default;
  TemplateValue(std::string text) : kind(Kind::text), text_(std::make_shared<std::string>(std::move(text))) {}
  TemplateValue(const char *text) : TemplateValue(std::string(text)) {}
  TemplateValue(List list) : kind(Kind::list) {
    for (const TemplateValue &one : list)
      holds(one);
    list_ = std::make_shared<List>(std::move(list));
  }
  static TemplateValue of(int64_t number) { return {Kind::integer, number}; }
  static TemplateValue of_truth(bool truth) { return {Kind::truth, truth}; }
  static TemplateValue of_none() { return {Kind::none, 0}; }
  static TemplateValue of_map(Map map) { return of_map(Kind::map, std::move(map)); }
  static TemplateValue of_namespace(Map map) { return of_map(Kind::name_space, std::move(map)); }
  static TemplateValue of_macro(const TemplateStep *step) {
    TemplateValue value(Kind::macro, 0);
    value.macro_step = step;
    return value;
  }

  std::string_view str() const { return *text_; }
  const List &items() const { return *list_; }
  Map &entries() const { return *map_; }
  /// nullptr when absent.
  TemplateValue *entry(std::string_view key) const {
    for (auto &one : *map_)
      if (one.first == key)
        return &one.second;
    return nullptr;
  }
  bool is_number() const { return kind == Kind::integer || kind == Kind::truth; }

  Kind kind = undefined;
  int64_t number = 0; ///< integer, truth
  int depth = 0;      ///< of collections in collections
  bool holds_namespace = false;
  const TemplateStep *macro_step = nullptr;

private:
  TemplateValue(Kind kind, int64_t number) : kind(kind), number(number) {}
  void holds(const TemplateValue &one) {
    depth = depth > one.depth ? depth : one.depth + 1;
    holds_namespace |= one.kind == Kind::name_space || one.holds_namespace;
  }
  static TemplateValue of_map(Kind kind, Map map) {
    TemplateValue value(kind, 0);
    for (const auto &entry : map)
      value.holds(entry.second);
    value.map_ = std::make_shared<Map>(std::move(map));
    return value;
  }
  std::shared_ptr<const std::string> text_;
  std::shared_ptr<const List> list_;
  std::shared_ptr<Map> map_;
};

/// Python's bool(v).
bool is_true(const TemplateValue &value);
/// Python's ==. Takes one from `left` for each pair of values and 64 bytes compared; false once that is 0.
bool is_equal(const TemplateValue &a, const TemplateValue &b, uint64_t *left);
/// "a text", "none", ... for errors.
const char *kind_name(TemplateValue::Kind kind);

/// Python's str.strip() in either direction, of white space (with U+001C to U+001F) or of these characters.
std::string_view strip_text(std::string_view text, bool front, bool back,
                            const std::string_view *characters = nullptr);
/// Characters of a text (an ill-formed byte is one) by their starts; one more: the end.
std::vector<size_t> character_starts(std::string_view text);

} // namespace bitnet::runtime
