// From the end of the file back: the end record, with 64-bit sizes where there are, the central directory,
// and for each entry the header before its data. All numbers are checked against the file's size before use.
#include "compiler/import/TorchZip.h"
#include "compiler/import/ImportError.h"
#include "llvm/Support/Endian.h"
#include <algorithm>
#include <vector>

using namespace llvm;

namespace bitnet::import {
namespace {

constexpr uint32_t kEnd = 0x06054b50, kEnd64 = 0x06064b50, kLocator64 = 0x07064b50, kCentral = 0x02014b50,
                   kLocal = 0x04034b50;
constexpr uint64_t kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20, kCentralBytes = 46,
                   kLocalBytes = 30;
constexpr uint64_t kMaxEntries = 1 << 16, kMaxDirectory = 1 << 26;
constexpr uint32_t kIn64 = 0xffffffff; ///< the number is in the 64-bit extension

uint16_t u16(const char *at) { return support::endian::read16le(at); }
uint32_t u32(const char *at) { return support::endian::read32le(at); }
uint64_t u64(const char *at) { return support::endian::read64le(at); }

class ZipReader {
public:
  explicit ZipReader(const ByteSource &source) : source_(source) {}

  Expected<std::map<std::string, ZipEntry>> run() {
    if (Error error = readEnd())
      return error;
    std::string directory(size_t(directoryBytes_), '\0');
    if (Error error = source_.read(directory_, directory.data(), directory.size()))
      return error;
    StringRef rest(directory);
    for (uint64_t i = 0; i < count_; ++i)
      if (Error error = readCentral(rest))
        return error;
    if (!rest.empty())
      return fail(directory_ + directoryBytes_ - rest.size(),
                  "expected the end of the central directory after " + Twine(count_) +
                      " entries, got more bytes");
    if (Error error = checkOverlaps())
      return error;
    return std::move(entries_);
  }

private:
  struct Span {
    uint64_t begin, end;
    std::string name;
  };

  Error fail(uint64_t at, const Twine &text) const {
    return failure(source_.name() + ": byte " + Twine(at) + ": " + text);
  }

  Error readEnd() {
    // The record is last but for a comment of at most 65535 bytes.
    std::string tail(size_t(std::min<uint64_t>(source_.size(), kEndBytes + 0xffff)), '\0');
    uint64_t base = source_.size() - tail.size();
    if (Error error = source_.read(base, tail.data(), tail.size()))
      return error;
    for (uint64_t at = tail.size() - std::min<uint64_t>(tail.size(), kEndBytes - 1); at-- > 0;) {
      const char *record = tail.data() + at;
      if (u32(record) != kEnd || at + kEndBytes + u16(record + 20) != tail.size())
        continue;
      end_ = base + at;
      if (u16(record + 4) != 0 || u16(record + 6) != 0 || u16(record + 8) != u16(record + 10))
        return fail(end_, "expected an archive in one part, got a part of several");
      count_ = u16(record + 10);
      directoryBytes_ = u32(record + 12);
      directory_ = u32(record + 16);
      if (Error error = readEnd64())
        return error;
      if (directory_ > end_ || directoryBytes_ > end_ - directory_ || directoryBytes_ > kMaxDirectory)
        return fail(end_, "expected a central directory of at most " + Twine(kMaxDirectory) +
                              " bytes before byte " + Twine(end_) + ", got " + Twine(directoryBytes_) +
                              " bytes at byte " + Twine(directory_));
      if (count_ > kMaxEntries || count_ * kCentralBytes > directoryBytes_)
        return fail(end_, "expected at most " +
                              Twine(std::min(kMaxEntries, directoryBytes_ / kCentralBytes)) +
                              " entries, got " + Twine(count_));
      return Error::success();
    }
    return failure(source_.name() + ": expected the end record of a ZIP archive in the last " +
                   Twine(tail.size()) + " bytes, got none; the file may be cut off");
  }

  /// Sizes of 64 bits stand in a record of their own, which a locator just before the end record points to.
  Error readEnd64() {
    char locator[kLocator64Bytes], record[kEnd64Bytes];
    bool needed = count_ == 0xffff || directoryBytes_ == kIn64 || directory_ == kIn64;
    if (end_ < sizeof locator + sizeof record)
      return needed ? fail(end_, "expected 64-bit sizes before the end record, got none") : Error::success();
    if (Error error = source_.read(end_ - sizeof locator, locator, sizeof locator))
      return error;
    if (u32(locator) != kLocator64)
      return needed ? fail(end_, "expected 64-bit sizes before the end record, got none") : Error::success();
    uint64_t at = u64(locator + 8), limit = end_ - sizeof locator;
    if (at > limit || limit - at < sizeof record)
      return fail(end_ - sizeof locator, "expected the record of 64-bit sizes before byte " + Twine(limit) +
                                             ", got byte " + Twine(at));
    if (Error error = source_.read(at, record, sizeof record))
      return error;
    if (u32(record) != kEnd64 || u32(locator + 4) != 0 || u32(record + 16) != 0 || u32(record + 20) != 0 ||
        u64(record + 24) != u64(record + 32))
      return fail(at, "expected the 64-bit sizes of an archive in one part, got something else");
    end_ = at; // the directory lies before it
    count_ = u64(record + 32);
    directoryBytes_ = u64(record + 40);
    directory_ = u64(record + 48);
    return Error::success();
  }

  /// One entry of the directory, which it takes off `rest`.
  Error readCentral(StringRef &rest) {
    uint64_t at = directory_ + directoryBytes_ - rest.size();
    if (rest.size() < kCentralBytes || u32(rest.data()) != kCentral)
      return fail(at, "expected an entry of the central directory, got something else");
    const char *head = rest.data();
    uint16_t flags = u16(head + 8), method = u16(head + 10);
    uint64_t packed = u32(head + 20), bytes = u32(head + 24), local = u32(head + 42);
    size_t nameBytes = u16(head + 28), extraBytes = u16(head + 30), commentBytes = u16(head + 32);
    rest = rest.drop_front(kCentralBytes);
    if (rest.size() < nameBytes + extraBytes + commentBytes)
      return fail(at, "expected an entry inside the central directory, got one that leaves it");
    std::string name = rest.take_front(nameBytes).str();
    StringRef extra = rest.substr(nameBytes, extraBytes);
    rest = rest.drop_front(nameBytes + extraBytes + commentBytes);
    const std::string who = "entry " + quoted(name) + ": ";
    if (!wide(extra, {&bytes, &packed, &local}))
      return fail(at, who + "expected 64-bit sizes in its extra field, got none");
    if (flags & 1)
      return fail(at, who + "expected a plain entry, got an encrypted one");
    if (method != 0 || packed != bytes)
      return fail(at, who + "expected a stored entry, got a compressed one (method " + Twine(method) +
                          "); torch.save stores");
    char header[kLocalBytes];
    if (local > directory_ || directory_ - local < sizeof header)
      return fail(at,
                  who + "expected a header before byte " + Twine(directory_) + ", got byte " + Twine(local));
    if (Error error = source_.read(local, header, sizeof header))
      return error;
    std::string localName(u16(header + 26), '\0');
    uint64_t data = local + sizeof header + localName.size() + u16(header + 28);
    if (u32(header) != kLocal || data > directory_ || bytes > directory_ - data)
      return fail(local, who + "expected a header and " + Twine(bytes) +
                             " bytes before the central directory at " + Twine(directory_) +
                             ", got something else");
    if (Error error = source_.read(local + sizeof header, localName.data(), localName.size()))
      return error;
    if (localName != name || u16(header + 8) != method)
      return fail(local,
                  who + "expected the name and method of the central directory, got " + quoted(localName));
    if (!entries_.emplace(name, ZipEntry{data, bytes}).second)
      return fail(at, who + "expected it once, got it twice");
    spans_.push_back({local, data + bytes, std::move(name)});
    return Error::success();
  }

  /// Replaces the numbers that are all ones by those of extra field 1, which holds just these, in this order.
  static bool wide(StringRef extra, std::initializer_list<uint64_t *> numbers) {
    StringRef field;
    while (extra.size() >= 4) {
      size_t n = u16(extra.data() + 2);
      if (u16(extra.data()) == 1)
        field = extra.substr(4, n);
      extra = extra.drop_front(std::min(extra.size(), 4 + n));
    }
    for (uint64_t *number : numbers) {
      if (*number != kIn64)
        continue;
      if (field.size() < 8)
        return false;
      *number = u64(field.data());
      field = field.drop_front(8);
    }
    return true;
  }

  Error checkOverlaps() {
    std::sort(spans_.begin(), spans_.end(), [](const Span &a, const Span &b) { return a.begin < b.begin; });
    for (size_t i = 1; i < spans_.size(); ++i)
      if (spans_[i].begin < spans_[i - 1].end)
        return fail(spans_[i].begin, "entry " + quoted(spans_[i].name) + ": expected it after entry " +
                                         quoted(spans_[i - 1].name) + ", got two that overlap");
    return Error::success();
  }

  const ByteSource &source_;
  uint64_t end_ = 0, count_ = 0, directory_ = 0, directoryBytes_ = 0;
  std::map<std::string, ZipEntry> entries_;
  std::vector<Span> spans_;
};

} // namespace

Expected<std::map<std::string, ZipEntry>> readStoredZip(const ByteSource &source) {
  return ZipReader(source).run();
}

} // namespace bitnet::import
