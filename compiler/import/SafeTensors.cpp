// The header is read with a SAX handler: it sees duplicate keys, keeps 64-bit integers exact and needs no
// memory for what it ignores. Stricter than the reference reader in three points: a tensor named twice, an
// empty name and text before the opening brace are refused.
#include "compiler/import/SafeTensors.h"
#include "compiler/import/ImportError.h"
#include "compiler/import/JsonText.h"
#include <algorithm>
#include <optional>

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kMaxDim = uint64_t(1) << 48;

/// Bits of an element, 0 for an unknown dtype.
unsigned dtypeBits(StringRef dtype) {
  static const std::map<std::string, unsigned> bits = {
      {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"U8", 8},   {"I8", 8},
      {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8},     {"F8_E4M3FNUZ", 8}, {"I16", 16}, {"U16", 16},
      {"F16", 16},    {"BF16", 16},   {"F8_E5M2FNUZ", 8}, {"I32", 32},        {"U32", 32}, {"F32", 32},
      {"C64", 64},    {"F64", 64},    {"I64", 64},        {"U64", 64}};
  auto found = bits.find(dtype.str());
  return found == bits.end() ? 0 : found->second;
}

/// {"__metadata__": {string: string} | null, name: {"dtype", "shape", "data_offsets", anything else}}
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
public:
  explicit HeaderHandler(std::map<std::string, SafeTensor> &tensors) : tensors_(tensors) {}
  const std::string &fault() const { return fault_; }

  bool null() override {
    if (depth_ == 1 && key_ == kMetadata)
      return true;
    return scalar("null");
  }
  bool boolean(bool) override { return scalar("a boolean"); }
  bool number_integer(number_integer_t) override { return scalar("a negative number"); }
  bool number_float(number_float_t, const string_t &text) override {
    return scalar(text.find_first_of(".eE") == std::string::npos ? "a number beyond 64 bits" : "a fraction");
  }
  bool binary(binary_t &) override { return scalar("binary data"); }
  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ == 3 && numbers_) {
      numbers_->push_back(value);
      return numbers_->size() <= 64 || fail("expected at most 64 numbers in a list");
    }
    return scalar("a number");
  }
  bool string(string_t &text) override {
    if (depth_ == 2 && !inMetadata_ && field_ == "dtype") {
      current_.dtype = text;
      return true;
    }
    return (depth_ == 2 && inMetadata_) || scalar("a string");
  }
  bool start_object(std::size_t) override {
    if (depth_ >= 2 && !ignored("an object"))
      return false;
    if (++depth_ == 2) {
      inMetadata_ = key_ == kMetadata;
      current_ = SafeTensor();
      offsets_.clear();
      fields_.clear();
    }
    return true;
  }
  bool end_object() override {
    if (depth_-- == 2 && !inMetadata_)
      return keepTensor();
    return true;
  }
  bool start_array(std::size_t) override {
    numbers_ = nullptr;
    if (depth_ == 2 && !inMetadata_ && field_ == "shape")
      numbers_ = &current_.shape;
    if (depth_ == 2 && !inMetadata_ && field_ == "data_offsets")
      numbers_ = &offsets_;
    if (!numbers_ && !ignored("a list"))
      return false;
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    numbers_ = nullptr;
    return true;
  }
  bool key(string_t &name) override {
    if (depth_ == 1) {
      key_ = name;
      if (name.empty())
        return fail("expected tensor names that are not empty");
      if (name == kMetadata ? sawMetadata_ : tensors_.count(name) != 0)
        return fail("key " + quoted(name) + ": expected it once, got it twice");
      sawMetadata_ |= name == kMetadata;
    } else if (depth_ == 2) {
      field_ = name;
      if (!inMetadata_ && std::find(fields_.begin(), fields_.end(), name) != fields_.end())
        return fail("tensor " + quoted(key_) + ": expected field " + quoted(name) + " once, got it twice");
      if (!inMetadata_)
        fields_.push_back(name);
      if (fields_.size() > 64)
        return fail("tensor " + quoted(key_) + ": expected at most 64 fields");
    }
    return true;
  }
  bool parse_error(std::size_t at, const std::string &, const nlohmann::detail::exception &) override {
    return fail("byte " + std::to_string(at + 8) + ": expected JSON, got text that does not parse");
  }

private:
  static constexpr const char *kMetadata = "__metadata__";

  bool fail(const std::string &text) {
    if (fault_.empty())
      fault_ = text;
    return false;
  }
  bool known() const { return field_ == "dtype" || field_ == "shape" || field_ == "data_offsets"; }
  /// A value where only an unknown field of a tensor may have one. depth_ is that of what it is in.
  bool ignored(const char *what) {
    if (depth_ > 1 && !inMetadata_ && !known())
      return true;
    const bool metadata = key_ == kMetadata;
    const std::string who = metadata ? quoted(key_) : "tensor " + quoted(key_);
    if (depth_ <= 1)
      return fail(who + ": expected an object, got " + what);
    if (metadata)
      return fail(who + ": expected strings, got " + what);
    return fail(who + ": field " + quoted(field_) + ": expected " +
                (field_ == "dtype" ? "a string" : "a list of whole numbers") + ", got " + what);
  }
  bool scalar(const char *what) { return ignored(what); }

  bool keepTensor() {
    std::string who = "tensor " + quoted(key_) + ": ";
    if (tensors_.size() >= kMaxTensors)
      return fail("expected at most 1048576 tensors");
    unsigned bits = dtypeBits(current_.dtype);
    if (bits == 0)
      return fail(who + "expected a known dtype in capitals, got " + quoted(current_.dtype));
    if (std::find(fields_.begin(), fields_.end(), "shape") == fields_.end())
      return fail(who + "expected a field 'shape', got none");
    if (offsets_.size() != 2 || offsets_[0] > offsets_[1])
      return fail(who + "expected data_offsets [begin, end], got " + std::to_string(offsets_.size()) +
                  " numbers or a reversed pair");
    uint64_t elements = 1, nBits = 0;
    for (uint64_t dim : current_.shape)
      if (dim > kMaxDim || __builtin_mul_overflow(elements, dim, &elements))
        return fail(who + "expected a shape whose product fits 64 bits, got " + std::to_string(dim) +
                    " in it");
    if (__builtin_mul_overflow(elements, uint64_t(bits), &nBits) || nBits % 8 != 0 ||
        nBits / 8 != offsets_[1] - offsets_[0])
      return fail(who + "expected " + std::to_string(nBits / 8) + " bytes for its shape, got " +
                  std::to_string(offsets_[1] - offsets_[0]));
    current_.name = key_;
    current_.offset = offsets_[0];
    current_.bytes = offsets_[1] - offsets_[0];
    tensors_.emplace(key_, std::move(current_));
    return true;
  }

  std::map<std::string, SafeTensor> &tensors_;
  std::string fault_, key_, field_;
  std::vector<std::string> fields_;
  SafeTensor current_;
  std::vector<uint64_t> offsets_;
  std::vector<uint64_t> *numbers_ = nullptr;
  int depth_ = 0;
  bool inMetadata_ = false, sawMetadata_ = false;
};

} // namespace

Expected<SafeTensorsFile> SafeTensorsFile::read(std::shared_ptr<ByteSource> source) {
  SafeTensorsFile file;
  file.source_ = std::move(source);
  const ByteSource &bytes = *file.source_;
  const std::string &where = bytes.name();
  uint64_t length = 0;
  if (bytes.size() < sizeof length)
    return failure(where + ": expected 8 bytes of header length, got a file of " + Twine(bytes.size()) +
                   " bytes");
  if (Error error = bytes.read(0, &length, sizeof length))
    return error;
  if (length < 2 || length > kMaxJsonBytes || length > bytes.size() - sizeof length)
    return failure(where + ": byte 0: expected a header of 2 to " +
                   Twine(std::min(kMaxJsonBytes, bytes.size() - sizeof length)) + " bytes, got " +
                   Twine(length) + "; no safetensors file, or one that was cut off");
  std::string text(size_t(length), '\0');
  if (Error error = bytes.read(sizeof length, text.data(), text.size()))
    return error;
  if (text[0] != '{')
    return failure(where + ": byte 8: expected '{', got " + quoted(text.substr(0, 1)));
  if (const char *fault = jsonTextFault(text))
    return failure(where + ": header: " + fault);
  HeaderHandler handler(file.tensors_);
  if (!nlohmann::json::sax_parse(text, &handler))
    return failure(where + ": header: " + handler.fault());

  // The data must be tiled exactly: sorted by begin, each tensor starts where the one before it ends.
  std::vector<SafeTensor *> order;
  for (auto &[name, tensor] : file.tensors_)
    order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const SafeTensor *a, const SafeTensor *b) {
    return std::make_pair(a->offset, a->bytes) < std::make_pair(b->offset, b->bytes);
  });
  uint64_t start = sizeof length + length, space = bytes.size() - start, end = 0;
  for (SafeTensor *tensor : order) {
    if (tensor->offset != end || tensor->bytes > space - end)
      return failure(where + ": tensor " + quoted(tensor->name) + ": expected data from byte " + Twine(end) +
                     " to at most " + Twine(space) + ", got " + Twine(tensor->offset) + " to " +
                     Twine(tensor->offset + tensor->bytes) + "; the file may be cut off");
    end += tensor->bytes;
    tensor->offset += start;
  }
  if (end != space)
    return failure(where + ": expected " + Twine(end) + " bytes of data after the header, got " +
                   Twine(space));
  return file;
}

} // namespace bitnet::import
