// The pickle of a torch.save file, read by a machine that makes plain values only: numbers, texts, tuples,
// lists, dictionaries, and tensors as views of named storages. The names that a pickle may use are a table of
// a dozen; each stands for a check and a value made here. Nothing is imported, nothing is called, and any
// other name or instruction ends the reading.
#pragma once
#include "compiler/import/TorchFile.h"
#include "llvm/ADT/StringRef.h"
#include <deque>

namespace bitnet::import {

struct PickleValue {
  enum Kind { none, boolean, integer, real, text, tuple, list, dict, global, storage, tensor };
  Kind kind = none;
  int64_t number = 0;               ///< boolean, integer; index of a global, storage or tensor
  llvm::StringRef bytes;            ///< text; an integer of more than 8 bytes, which has no number
  std::vector<PickleValue *> items; ///< tuple, list; dict: key, value, key, value ...; may contain itself
};

class TorchPickle {
public:
  /// `bytes` (which must outlive this) begin at byte `base` of the file `where`, both for messages.
  TorchPickle(llvm::StringRef bytes, std::string where, uint64_t base);

  /// Reads one pickle, which may be followed by others. The value lives as long as this.
  llvm::Expected<const PickleValue *> next();
  /// Bytes that were read so far.
  uint64_t position() const { return at_; }

  /// Offsets in the file are not known here and stay 0.
  std::vector<TorchStorage> storages;
  std::vector<TorchTensor> tensors; ///< without names

private:
  using Value = PickleValue;
  llvm::Error fail(const llvm::Twine &text) const;
  llvm::Expected<uint64_t> take(size_t bytes); ///< a little-endian number
  llvm::Expected<llvm::StringRef> takeText(uint64_t bytes);
  llvm::Expected<llvm::StringRef> takeLine();
  llvm::Expected<Value *> make(Value::Kind kind, int64_t number = 0);
  llvm::Error push(Value::Kind kind, int64_t number = 0, llvm::StringRef bytes = {});
  llvm::Expected<Value *> pop();
  llvm::Expected<std::vector<Value *>> popToMark();
  llvm::Error step(uint8_t op);
  llvm::Error pushLong();
  llvm::Error pushGlobal(llvm::StringRef module, llvm::StringRef name);
  llvm::Error pushTuple(size_t n);
  llvm::Error remember(uint64_t index);
  llvm::Error recall(uint64_t index);
  llvm::Error extend(Value::Kind kind, const std::vector<Value *> &items);
  llvm::Error load();   ///< BINPERSID: a storage
  llvm::Error reduce(); ///< REDUCE: what the table of names has for it
  llvm::Error rebuildTensor(const std::vector<Value *> &args);

  llvm::StringRef bytes_;
  const std::string where_;
  const uint64_t base_;
  uint64_t at_ = 0, start_ = 0; ///< start_: of the instruction that runs
  std::deque<Value> values_;    ///< all of them; freed together, so that cycles do no harm
  std::vector<Value *> stack_, memo_;
  std::vector<size_t> marks_;
  std::map<std::string, uint32_t> storageOf_;
};

} // namespace bitnet::import
