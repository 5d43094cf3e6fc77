// Instructions of pickle protocols 2 to 5 as torch.save uses them. Every value costs at least one byte of the
// pickle, and their number is bounded; there is no recursion.
#include "compiler/import/TorchPickle.h"
#include "compiler/import/ImportError.h"
#include <cstring>

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr size_t kMaxValues = 1 << 20;
constexpr size_t kMaxDims = 64; // torch's own limit
constexpr uint64_t kMaxElements = uint64_t(1) << 48;

enum class Makes { dictionary, tensor, parameter, storage };
struct Name {
  const char *module, *name;
  Makes makes;
  TorchType type = TorchType::f32; ///< of a storage
};

/// All that a pickle may name.
const Name kNames[] = {{"collections", "OrderedDict", Makes::dictionary},
                       {"torch._utils", "_rebuild_tensor_v2", Makes::tensor},
                       {"torch._utils", "_rebuild_parameter", Makes::parameter},
                       {"torch", "DoubleStorage", Makes::storage, TorchType::f64},
                       {"torch", "FloatStorage", Makes::storage, TorchType::f32},
                       {"torch", "HalfStorage", Makes::storage, TorchType::f16},
                       {"torch", "BFloat16Storage", Makes::storage, TorchType::bf16},
                       {"torch", "LongStorage", Makes::storage, TorchType::i64},
                       {"torch", "IntStorage", Makes::storage, TorchType::i32},
                       {"torch", "ShortStorage", Makes::storage, TorchType::i16},
                       {"torch", "CharStorage", Makes::storage, TorchType::i8},
                       {"torch", "ByteStorage", Makes::storage, TorchType::u8},
                       {"torch", "BoolStorage", Makes::storage, TorchType::boolean}};

std::string hex(uint8_t byte) {
  static const char digits[] = "0123456789abcdef";
  return {'0', 'x', digits[byte >> 4], digits[byte & 15]};
}

const char *kindName(PickleValue::Kind kind) {
  static const char *names[] = {"None",   "a boolean",    "a number", "a number",  "a text",  "a tuple",
                                "a list", "a dictionary", "a name",   "a storage", "a tensor"};
  return names[kind];
}

} // namespace

TorchPickle::TorchPickle(StringRef bytes, std::string where, uint64_t base)
    : bytes_(bytes), where_(std::move(where)), base_(base) {}

Error TorchPickle::fail(const Twine &text) const {
  return failure(where_ + ": byte " + Twine(base_ + start_) + ": " + text);
}

Expected<StringRef> TorchPickle::takeText(uint64_t bytes) {
  if (bytes > bytes_.size() - at_)
    return fail("expected " + Twine(bytes) + " bytes, got the end of the pickle");
  StringRef text = bytes_.substr(size_t(at_), size_t(bytes));
  at_ += bytes;
  return text;
}

Expected<uint64_t> TorchPickle::take(size_t bytes) {
  Expected<StringRef> text = takeText(bytes);
  if (!text)
    return text.takeError();
  uint64_t number = 0;
  std::memcpy(&number, text->data(), bytes);
  return number;
}

Expected<StringRef> TorchPickle::takeLine() {
  size_t end = bytes_.find('\n', size_t(at_));
  if (end == StringRef::npos)
    return fail("expected a line, got the end of the pickle");
  StringRef line = bytes_.slice(size_t(at_), end);
  at_ = end + 1;
  return line;
}

Expected<PickleValue *> TorchPickle::make(Value::Kind kind, int64_t number) {
  if (values_.size() >= kMaxValues)
    return fail("expected at most " + Twine(kMaxValues) + " values, got more");
  Value &value = values_.emplace_back();
  value.kind = kind;
  value.number = number;
  return &value;
}

Error TorchPickle::push(Value::Kind kind, int64_t number, StringRef bytes) {
  Expected<Value *> value = make(kind, number);
  if (!value)
    return value.takeError();
  (*value)->bytes = bytes;
  stack_.push_back(*value);
  return Error::success();
}

Expected<PickleValue *> TorchPickle::pop() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back()))
    return fail("expected a value on the stack, got none");
  Value *value = stack_.back();
  stack_.pop_back();
  return value;
}

Expected<std::vector<PickleValue *>> TorchPickle::popToMark() {
  if (marks_.empty())
    return fail("expected a mark on the stack, got none");
  auto first = stack_.begin() + ptrdiff_t(marks_.back());
  std::vector<Value *> items(first, stack_.end());
  stack_.erase(first, stack_.end());
  marks_.pop_back();
  return items;
}

Expected<const PickleValue *> TorchPickle::next() {
  stack_.clear();
  memo_.clear();
  marks_.clear();
  while (true) {
    start_ = at_;
    Expected<uint64_t> op = take(1);
    if (!op)
      return op.takeError();
    if (*op == '.') {
      Expected<Value *> result = pop();
      if (!result)
        return result.takeError();
      return *result;
    }
    if (Error error = step(uint8_t(*op)))
      return error;
  }
}

Error TorchPickle::step(uint8_t op) {
  auto number = [&](size_t bytes, auto use) -> Error {
    Expected<uint64_t> value = take(bytes);
    return value ? use(*value) : value.takeError();
  };
  auto text = [&](size_t bytes) {
    return number(bytes, [&](uint64_t n) -> Error {
      Expected<StringRef> value = takeText(n);
      return value ? push(Value::text, 0, *value) : value.takeError();
    });
  };
  auto integer = [&](uint64_t value) { return push(Value::integer, int64_t(value)); };
  auto items = [&](Value::Kind kind) -> Error {
    Expected<std::vector<Value *>> values = popToMark();
    return values ? extend(kind, *values) : values.takeError();
  };
  switch (op) {
  case 0x80: // PROTO
    return number(1, [&](uint64_t v) {
      return v >= 2 && v <= 5 ? Error::success() : fail("expected pickle protocol 2 to 5, got " + Twine(v));
    });
  case 0x95: // FRAME
    return number(8, [](uint64_t) { return Error::success(); });
  case '(':
    if (marks_.size() >= kMaxValues)
      return fail("expected at most " + Twine(kMaxValues) + " marks, got more");
    marks_.push_back(stack_.size());
    return Error::success();
  case '}':
    return push(Value::dict);
  case ']':
    return push(Value::list);
  case ')':
    return push(Value::tuple);
  case 't': {
    if (marks_.empty())
      return fail("expected a mark on the stack, got none");
    size_t n = stack_.size() - marks_.back();
    marks_.pop_back();
    return pushTuple(n);
  }
  case 0x85:
  case 0x86:
  case 0x87:
    return pushTuple(op - 0x84u);
  case 'q':
    return number(1, [&](uint64_t v) { return remember(v); });
  case 'r':
    return number(4, [&](uint64_t v) { return remember(v); });
  case 0x94: // MEMOIZE
    return remember(memo_.size());
  case 'h':
    return number(1, [&](uint64_t v) { return recall(v); });
  case 'j':
    return number(4, [&](uint64_t v) { return recall(v); });
  case 'X':
    return text(4);
  case 0x8c: // SHORT_BINUNICODE
    return text(1);
  case 'K':
    return number(1, integer);
  case 'M':
    return number(2, integer);
  case 'J':
    return number(4, [&](uint64_t v) { return push(Value::integer, int32_t(uint32_t(v))); });
  case 0x8a:
    return pushLong();
  case 'G': // BINFLOAT: nothing here needs its value
    return number(8, [&](uint64_t) { return push(Value::real); });
  case 'N':
    return push(Value::none);
  case 0x88:
  case 0x89:
    return push(Value::boolean, op == 0x88);
  case 'c':   // GLOBAL
  case 'i': { // INST, which would call what it names
    Expected<StringRef> module = takeLine();
    if (!module)
      return module.takeError();
    Expected<StringRef> name = takeLine();
    if (!name)
      return name.takeError();
    if (Error error = pushGlobal(*module, *name))
      return error;
    return op == 'c' ? Error::success() : fail("expected a name to be used with REDUCE, got INST");
  }
  case 0x93: { // STACK_GLOBAL
    Expected<Value *> name = pop();
    if (!name)
      return name.takeError();
    Expected<Value *> module = pop();
    if (!module)
      return module.takeError();
    if ((*name)->kind != Value::text || (*module)->kind != Value::text)
      return fail("expected a module and a name as texts, got something else");
    return pushGlobal((*module)->bytes, (*name)->bytes);
  }
  case 'Q':
    return load();
  case 'R':
    return reduce();
  case 's':
  case 'a': {
    size_t n = op == 's' ? 2 : 1, base = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() - base < n)
      return fail("expected values on the stack, got none");
    std::vector<Value *> values(stack_.end() - ptrdiff_t(n), stack_.end());
    stack_.resize(stack_.size() - n);
    return extend(op == 's' ? Value::dict : Value::list, values);
  }
  case 'u':
    return items(Value::dict);
  case 'e':
    return items(Value::list);
  case 'b': { // BUILD: attributes of a dictionary (state_dict's _metadata), which say nothing of tensors
    Expected<Value *> state = pop();
    if (!state)
      return state.takeError();
    if (stack_.empty() || stack_.back()->kind != Value::dict || (*state)->kind != Value::dict)
      return fail("expected attributes of a dictionary, got those of something else");
    return Error::success();
  }
  default:
    return fail("pickle instruction " + hex(op) +
                ": expected those of a dictionary of tensors, got another; "
                "nothing of the file was run");
  }
}

Error TorchPickle::pushLong() {
  Expected<uint64_t> length = take(1);
  if (!length)
    return length.takeError();
  Expected<StringRef> text = takeText(*length);
  if (!text)
    return text.takeError();
  if (text->size() > 8)
    return push(Value::integer, 0, *text);
  uint64_t value = !text->empty() && (text->back() & 0x80) ? ~uint64_t(0) : 0; // the sign goes on
  std::memcpy(&value, text->data(), text->size());
  return push(Value::integer, int64_t(value));
}

Error TorchPickle::pushGlobal(StringRef module, StringRef name) {
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (module == kNames[i].module && name == kNames[i].name)
      return push(Value::global, int64_t(i));
  return fail(
      "global " + quoted((module + "." + name).str()) +
      ": expected collections.OrderedDict, torch._utils._rebuild_tensor_v2 or a storage of torch, got a "
      "name that a dictionary of tensors has no use for; nothing of the file was run");
}

Error TorchPickle::pushTuple(size_t n) {
  size_t base = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() < n || stack_.size() - n < base)
    return fail("expected " + Twine(n) + " values on the stack, got fewer");
  Expected<Value *> tuple = make(Value::tuple);
  if (!tuple)
    return tuple.takeError();
  (*tuple)->items.assign(stack_.end() - ptrdiff_t(n), stack_.end());
  stack_.resize(stack_.size() - n);
  stack_.push_back(*tuple);
  return Error::success();
}

Error TorchPickle::remember(uint64_t index) {
  if (stack_.empty() || index >= kMaxValues)
    return fail("expected a value to remember as one of " + Twine(kMaxValues) + ", got number " +
                Twine(index));
  if (memo_.size() <= index)
    memo_.resize(size_t(index) + 1);
  memo_[size_t(index)] = stack_.back();
  return Error::success();
}

Error TorchPickle::recall(uint64_t index) {
  if (index >= memo_.size() || !memo_[size_t(index)])
    return fail("expected the number of a remembered value, got " + Twine(index));
  stack_.push_back(memo_[size_t(index)]);
  return Error::success();
}

Error TorchPickle::extend(Value::Kind kind, const std::vector<Value *> &items) {
  size_t base = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() <= base || stack_.back()->kind != kind || (kind == Value::dict && items.size() % 2 != 0))
    return fail(Twine("expected ") + (kind == Value::dict ? "pairs for a dictionary" : "values for a list") +
                ", got something else");
  std::vector<Value *> &to = stack_.back()->items;
  to.insert(to.end(), items.begin(), items.end());
  return Error::success();
}

Error TorchPickle::load() {
  Expected<Value *> id = pop();
  if (!id)
    return id.takeError();
  const std::vector<Value *> &args = (*id)->items;
  const Value::Kind kinds[] = {Value::text, Value::global, Value::text, Value::text, Value::integer};
  bool fits = (*id)->kind == Value::tuple && (args.size() == 5 || args.size() == 6);
  for (size_t i = 0; fits && i < std::size(kinds); ++i)
    fits = args[i]->kind == kinds[i];
  // The sixth, in the stream before ZIP, would make it a view of another storage; torch stopped using it in
  // 2017.
  if (!fits || args[0]->bytes != "storage" || kNames[args[1]->number].makes != Makes::storage ||
      (args.size() == 6 && args[5]->kind != Value::none))
    return fail("expected a reference ('storage', type, key, device, length), got something else");
  TorchStorage storage;
  storage.key = args[2]->bytes.str();
  storage.type = kNames[args[1]->number].type;
  storage.elements = uint64_t(args[4]->number);
  if (args[4]->number < 0 || storage.elements > kMaxElements || !args[4]->bytes.empty())
    return fail("storage " + quoted(storage.key) + ": expected 0 to " + Twine(kMaxElements) +
                " elements, got " +
                (args[4]->bytes.empty() ? std::to_string(args[4]->number) : std::string("more")));
  auto [known, added] = storageOf_.emplace(storage.key, uint32_t(storages.size()));
  if (added)
    storages.push_back(storage);
  const TorchStorage &first = storages[known->second];
  if (first.type != storage.type || first.elements != storage.elements)
    return fail("storage " + quoted(storage.key) + ": expected " + torchTypeName(first.type) + " [" +
                Twine(first.elements) + "] as before, got " + torchTypeName(storage.type) + " [" +
                Twine(storage.elements) + "]");
  return push(Value::storage, known->second);
}

Error TorchPickle::reduce() {
  Expected<Value *> args = pop();
  if (!args)
    return args.takeError();
  Expected<Value *> callee = pop();
  if (!callee)
    return callee.takeError();
  if ((*callee)->kind != Value::global || (*args)->kind != Value::tuple)
    return fail(Twine("expected a name and a tuple, got ") + kindName((*callee)->kind) + " and " +
                kindName((*args)->kind));
  const std::vector<Value *> &items = (*args)->items;
  const Name &name = kNames[(*callee)->number];
  switch (name.makes) {
  case Makes::dictionary:
    return items.empty() ? push(Value::dict) : fail("OrderedDict: expected no values, got some");
  case Makes::tensor:
    return rebuildTensor(items);
  case Makes::parameter:
    if (items.size() != 3 || items[0]->kind != Value::tensor)
      return fail("_rebuild_parameter: expected a tensor and two values, got something else");
    stack_.push_back(items[0]);
    return Error::success();
  case Makes::storage:
    return fail("expected a storage to be referred to, got a call of torch." + Twine(name.name));
  }
  return fail("expected a name to call, got another");
}

Error TorchPickle::rebuildTensor(const std::vector<Value *> &args) {
  // storage, offset, shape, strides, requires_grad, hooks [, metadata]
  if (args.size() < 6 || args.size() > 7 || args[0]->kind != Value::storage ||
      args[1]->kind != Value::integer || args[2]->kind != Value::tuple || args[3]->kind != Value::tuple)
    return fail("_rebuild_tensor_v2: expected a storage, a number, two tuples and more, got something else");
  TorchTensor tensor;
  tensor.storage = uint32_t(args[0]->number);
  auto numbers = [](const Value &tuple, std::vector<uint64_t> &out) {
    for (const Value *item : tuple.items) {
      if (item->kind != Value::integer || !item->bytes.empty() || item->number < 0 ||
          uint64_t(item->number) > kMaxElements)
        return false;
      out.push_back(uint64_t(item->number));
    }
    return out.size() <= kMaxDims;
  };
  const Value &offset = *args[1];
  if (offset.number < 0 || !offset.bytes.empty() || !numbers(*args[2], tensor.shape) ||
      !numbers(*args[3], tensor.strides) || tensor.shape.size() != tensor.strides.size())
    return fail("tensor: expected a shape and strides of at most 64 numbers from 0 to " +
                Twine(kMaxElements) + ", got others");
  tensor.offset = uint64_t(offset.number);
  // The last element, in elements of the storage.
  uint64_t elements = 1, last = tensor.offset;
  bool wraps = false;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    uint64_t dim = tensor.shape[i], step = 0;
    wraps |= __builtin_mul_overflow(elements, dim, &elements);
    wraps |= dim > 0 && (__builtin_mul_overflow(dim - 1, tensor.strides[i], &step) ||
                         __builtin_add_overflow(last, step, &last));
  }
  const TorchStorage &storage = storages[tensor.storage];
  if (wraps || elements > kMaxElements ||
      (elements == 0 ? tensor.offset > storage.elements : last >= storage.elements))
    return fail("tensor: expected elements inside the " + Twine(storage.elements) + " of storage " +
                quoted(storage.key) + ", got a view that leaves it");
  Error error = push(Value::tensor, int64_t(tensors.size()));
  tensors.push_back(std::move(tensor));
  return error;
}

} // namespace bitnet::import
