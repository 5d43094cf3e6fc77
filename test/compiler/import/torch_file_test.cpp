// Files of torch.save: those that torch wrote (data/ms_gpu), and every way in which one can be wrong or evil.
#include "compiler/import/TorchFile.h"
#include "test/compiler/import/import_testing.h"
#include "test/compiler/import/torch_writer.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SHA256.h"
#include <nlohmann/json.hpp>

using namespace bitnet::import;
using nlohmann::json;

namespace {

llvm::Expected<TorchFile> read(const std::string &bytes) {
  return TorchFile::read(bytesInMemory("x.pt", bytes));
}

std::string errorOfBytes(const std::string &bytes) {
  llvm::Expected<TorchFile> file = read(bytes);
  return errorOf(file);
}

TorchFile open(const std::string &bytes) {
  llvm::Expected<TorchFile> file = read(bytes);
  if (!file) {
    ADD_FAILURE() << llvm::toString(file.takeError());
    return TorchFile();
  }
  return std::move(*file);
}

/// The elements in row-major order, by strides.
std::string elements(const TorchFile &file, const TorchTensor &tensor) {
  const TorchStorage &storage = file.storages()[tensor.storage];
  const unsigned width = torchBytes(storage.type);
  std::string out;
  std::vector<uint64_t> index(tensor.shape.size(), 0);
  for (uint64_t i = 0; i < tensor.elements(); ++i) {
    uint64_t at = tensor.offset;
    for (size_t d = 0; d < index.size(); ++d)
      at += index[d] * tensor.strides[d];
    char value[8];
    if (llvm::Error error = file.source()->read(storage.offset + at * width, value, width))
      ADD_FAILURE() << llvm::toString(std::move(error));
    out.append(value, width);
    for (size_t d = index.size(); d-- > 0 && ++index[d] == tensor.shape[d];)
      index[d] = 0;
  }
  return out;
}

double value(TorchType type, const char *at) {
  auto as = [&](auto zero) {
    std::memcpy(&zero, at, sizeof zero);
    return double(zero);
  };
  switch (type) {
  case TorchType::bf16: {
    uint16_t half;
    std::memcpy(&half, at, 2);
    const uint32_t bits = uint32_t(half) << 16;
    float wide;
    std::memcpy(&wide, &bits, 4);
    return wide;
  }
  case TorchType::f16: {
    uint16_t half;
    std::memcpy(&half, at, 2);
    return std::ldexp(1024 + (half & 1023), (half >> 10 & 31) - 25) * (half >> 15 ? -1 : 1); // a normal one
  }
  case TorchType::f32:
    return as(float());
  case TorchType::i64:
    return as(int64_t());
  default:
    return as(int8_t());
  }
}

void flatten(const json &values, std::vector<double> &out) {
  if (!values.is_array())
    out.push_back(values);
  else
    for (const json &one : values)
      flatten(one, out);
}

TEST(TorchViews, AreReadFromBothContainers) {
  const std::string truth = sharedData("ms_gpu/pt-views.json");
  SKIP_WITHOUT(truth);
  const json expected = json::parse(slurp(truth));
  for (const char *name : {"ms_gpu/pt-views.pt", "ms_gpu/pt-views-legacy.pt"}) {
    SCOPED_TRACE(name);
    const TorchFile file = open(slurp(sharedData(name)));
    ASSERT_EQ(file.tensors().size(), expected.size());
    for (const auto &[key, want] : expected.items()) {
      SCOPED_TRACE(key);
      const TorchTensor &tensor = file.tensors().at(key);
      EXPECT_EQ(json(tensor.shape), want["shape"]);
      EXPECT_EQ(json(tensor.strides), want["stride"]);
      EXPECT_EQ(tensor.offset, want["storage_offset"]);
      EXPECT_EQ(tensor.contiguous(), key != "transposed");
      std::vector<double> values, got;
      flatten(want["values"], values);
      const TorchType type = file.storages()[tensor.storage].type;
      const std::string bytes = elements(file, tensor);
      for (size_t at = 0; at < bytes.size(); at += torchBytes(type))
        got.push_back(value(type, &bytes[at]));
      EXPECT_EQ(got, values);
    }
    EXPECT_EQ(file.tensors().at("a").storage, file.tensors().at("same_storage").storage);
  }
}

TEST(TorchCheckpoints, HoldTheBytesThatTorchWrote) {
  const std::string folder = sharedData("ms_gpu/tiny-ckpt");
  SKIP_WITHOUT(folder);
  const json expected = json::parse(slurp(folder + "/expected.json"));
  for (const auto &[name, tensors] : expected["files"].items()) {
    SCOPED_TRACE(name);
    const TorchFile file = open(slurp(folder + "/" + name));
    ASSERT_EQ(file.tensors().size(), tensors.size());
    for (const auto &[key, want] : tensors.items()) {
      const TorchTensor &tensor = file.tensors().at(key);
      EXPECT_EQ(json(tensor.shape), want["shape"]) << key;
      const std::string bytes = elements(file, tensor);
      const auto hash = llvm::SHA256::hash(llvm::arrayRefFromStringRef(bytes));
      EXPECT_EQ(llvm::toHex(hash, /*LowerCase=*/true), want["sha256"]) << key;
    }
  }
}

TEST(TorchTruncated, IsRefusedAtEveryFiftiethByte) {
  for (const char *name :
       {"ms_gpu/tiny-ckpt/model_state_int2.pt", "ms_gpu/pt-views-legacy.pt", "ms_gpu/pt-views.pt"}) {
    const std::string path = sharedData(name);
    SKIP_WITHOUT(path);
    const std::string good = slurp(path);
    for (size_t length = 0; length < good.size(); length += 50) {
      const std::string error = errorOfBytes(good.substr(0, length));
      ASSERT_NE(error, "") << name << " " << length;
      expectOneLine(error);
    }
  }
}

TorchWriter small() {
  TorchWriter writer;
  writer.bf16("a", {4, 2});
  writer.bf16("b", {3});
  return writer;
}

TEST(TorchZip, IsReadWith64BitSizesAndWithAComment) {
  ZipWriter zip = small().zip();
  zip.comment = "made by hand PK";
  EXPECT_EQ(open(zip.finish()).tensors().size(), 2u);
  zip.wide = true;
  const TorchFile file = open(zip.finish());
  EXPECT_EQ(file.tensors().at("a").shape, (std::vector<uint64_t>{4, 2}));
  EXPECT_EQ(elements(file, file.tensors().at("b")), std::string("\x80\x3f\x80\x3f\x80\x3f", 6));
}

/// The error of a small file after one change.
std::string broken(const std::function<void(ZipWriter &)> &change) {
  ZipWriter zip = small().zip();
  change(zip);
  return errorOfBytes(zip.finish());
}

TEST(TorchZip, SaysWhatIsWrong) {
  EXPECT_EQ(broken([](ZipWriter &z) { z.entries[2].method = 8; }),
            "x.pt: byte 697: entry 'm/data/a': expected a stored entry, got a compressed one (method 8); "
            "torch.save "
            "stores");
  EXPECT_NE(broken([](ZipWriter &z) {
              z.entries[2].flags = 1;
            }).find("expected a plain entry, got an encrypted one"),
            std::string::npos);
  EXPECT_NE(
      broken([](ZipWriter &z) {
        z.entries[2].localName = "m/data/b";
      }).find("entry 'm/data/a': expected the name and method of the central directory, got 'm/data/b'"),
      std::string::npos);
  EXPECT_NE(broken([](ZipWriter &z) {
              z.entries.push_back(z.entries[2]);
            }).find("entry 'm/data/a': expected it once, got it twice"),
            std::string::npos);
  EXPECT_NE(broken([](ZipWriter &z) {
              z.entries[2].bytes = 70;
            }).find("expected it after entry 'm/data/a', got two that overlap"),
            std::string::npos);
  EXPECT_NE(broken([](ZipWriter &z) {
              z.entries[2].bytes = 1 << 20;
            }).find("expected a header and 1048576 bytes before the central directory"),
            std::string::npos);
  for (bool wide : {false, true})
    for (int64_t offset : {int64_t(1) << 20, int64_t(INT64_MAX), int64_t(1)}) {
      const std::string error = broken([&](ZipWriter &z) {
        z.wide = wide;
        z.entries[2].offset = offset;
      });
      expectOneLine(error);
    }
  EXPECT_EQ(broken([](ZipWriter &z) { z.entries[1].data = "big"; }),
            "x.pt: byteorder: expected 'little', got 'big'");
  EXPECT_EQ(broken([](ZipWriter &z) { z.entries.erase(z.entries.begin()); }),
            "x.pt: expected an entry NAME/data.pkl of at most 16777216 bytes, got none");
  EXPECT_EQ(broken([](ZipWriter &z) {
              z.entries.push_back({"n/data.pkl", "."});
            }),
            "x.pt: expected one entry data.pkl, got 'm/data.pkl' and 'n/data.pkl'");
  EXPECT_EQ(broken([](ZipWriter &z) { z.entries.erase(z.entries.begin() + 2); }),
            "x.pt: storage 'a': expected an entry of 16 bytes for bf16 [8], got none");
  EXPECT_EQ(broken([](ZipWriter &z) { z.entries[2].data += "x"; }),
            "x.pt: storage 'a': expected an entry of 16 bytes for bf16 [8], got 17");
  EXPECT_EQ(errorOfBytes("{\"a\": 1}"),
            "x.pt: byte 0: expected a file of torch.save ('PK' or a pickle), got '{\"a\"'");
  EXPECT_EQ(errorOfBytes(""), "x.pt: expected a file of torch.save, got 0 bytes");
}

TEST(TorchZip, EveryNumberOfTheEndRecordsMayBeWrong) {
  for (bool wide : {false, true}) {
    ZipWriter zip = small().zip();
    zip.wide = wide;
    const std::string good = zip.finish();
    const size_t tail = wide ? 22 + 20 + 56 : 22;
    for (size_t at = good.size() - tail; at < good.size(); ++at)
      for (unsigned char value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
        std::string bad = good;
        bad[at] = char(value);
        const std::string error = errorOfBytes(bad);
        if (!error.empty())
          expectOneLine(error);
      }
  }
}

/// The error of a file whose pickle is this.
std::string pickled(const std::string &pickle) { return errorOfBytes(small().zipOf(pickle).finish()); }

TEST(TorchPickle, RunsNothing) {
  const char *way =
      ": expected collections.OrderedDict, torch._utils._rebuild_tensor_v2 or a storage of torch, got a "
      "name that a dictionary of tensors has no use for; nothing of the file was run";
  EXPECT_EQ(pickled("\x80\x02"
                    "cos\nsystem\n(X\2\0\0\0idtR."),
            std::string("x.pt: byte 42: global 'os.system'") + way);
  EXPECT_EQ(pickled(std::string("\x80\x04\x8c\2os\x8c\6system\x93.", 16)),
            std::string("x.pt: byte 54: global 'os.system'") + way);
  EXPECT_EQ(pickled("\x80\x02(ios\nsystem\n."), std::string("x.pt: byte 43: global 'os.system'") + way);
  for (const char *name : {"builtins\neval", "torch\nload", "torch._utils\n_rebuild_tensor_v3",
                           "torch.storage\n_load_from_bytes", "collections\nOrderedDict.fromkeys",
                           "torch\nFloatStorage.__init__", "__main__\nx\x1b[31m"}) {
    const std::string error = pickled(std::string("\x80\x02"
                                                  "c") +
                                      name + "\n)R.");
    expectOneLine(error);
    EXPECT_NE(error.find("nothing of the file was run"), std::string::npos) << error;
  }
  // A known name where it does not belong.
  EXPECT_NE(pickled("\x80\x02"
                    "ctorch\nFloatStorage\n)R.")
                .find("expected a storage to be referred to"),
            std::string::npos);
  EXPECT_NE(pickled("\x80\x02"
                    "(icollections\nOrderedDict\n.")
                .find("got INST"),
            std::string::npos);
  EXPECT_NE(pickled("\x80\x02)R.").find("expected a value on the stack"), std::string::npos);
  EXPECT_NE(pickled("\x80\x02}}b}R.").find("expected a name and a tuple"), std::string::npos);
}

TEST(TorchPickle, EveryOtherInstructionIsRefused) {
  const std::string known = std::string("\x80\x95(})]t\x85\x86\x87qr\x94hjX\x8cKMJ\x8aGN\x88\x89"
                                        "ci\x93QRsaueb.");
  for (int op = 0; op < 256; ++op) {
    if (known.find(char(op)) != std::string::npos)
      continue;
    const std::string error = pickled("\x80\x02" + std::string(1, char(op)) + ".");
    EXPECT_NE(error.find("expected those of a dictionary of tensors, got another"), std::string::npos)
        << op << error;
  }
}

TEST(TorchPickle, KnownInstructionsWithoutTheirValuesAreRefused) {
  for (const char *text : {"\x80",    "\x80\x02",  "\x80\x06.", "t.",         "\x85.", "\x87.",
                           "q",       "q\1.",      "h\7.",      "j\7\0\0\0.", "X",     "X\xff\xff\xff\x7f.",
                           "\x8a",    "\x8a\xff.", "Q.",        "R.",         "s.",    "a.",
                           "u.",      "e.",        "b.",        "(}s.",       "}(Ku.", "}(K\1u.",
                           "](K\1u.", "c",         "cos\n",     "\x93.",      "NQ.",   "N.",
                           "].",      "K\1.",      "}K\1K\2s.", ")."}) {
    const std::string error = pickled(text);
    ASSERT_NE(error, "") << text;
    expectOneLine(error);
  }
}

TEST(TorchPickle, CyclesAndDepthDoNoHarm) {
  // A dictionary that contains itself, tuples 100,000 deep, and one remembered value pushed a million times.
  EXPECT_EQ(pickled(std::string("}q\0(X\4\0\0\0selfh\0u.", 18)), "");
  std::string deep = "}(X" + std::string("\1\0\0\0d", 5) + "N";
  for (int i = 0; i < 100000; ++i)
    deep += '\x85';
  EXPECT_EQ(pickled(deep + "u."), "");
  std::string many("Nq\0", 3);
  for (int i = 0; i < 1000000; ++i)
    many += std::string("h\0", 2);
  expectOneLine(pickled(many));
  EXPECT_NE(pickled(std::string(2000000, ')')).find("expected at most 1048576 values"), std::string::npos);
  EXPECT_NE(pickled(std::string(2000000, '(')).find("expected at most 1048576 marks"), std::string::npos);
  EXPECT_NE(pickled(std::string("Nr\xff\xff\xff\x7f", 6)).find("got number 2147483647"), std::string::npos);
}

/// The error of a file with one tensor that views eight elements like this.
std::string view(int64_t offset, std::vector<int64_t> shape, std::vector<int64_t> strides,
                 int64_t elements = 8) {
  TorchWriter writer = small();
  writer.tensors["a"] = {"a", offset, std::move(shape), std::move(strides)};
  writer.storages["a"].elements = elements;
  return errorOfBytes(writer.finish());
}

TEST(TorchTensor, StaysInsideItsStorage) {
  EXPECT_EQ(view(0, {4, 2}, {2, 1}), "");
  EXPECT_EQ(view(2, {3, 2}, {2, 1}), "");
  EXPECT_EQ(view(0, {2, 4}, {1, 2}), "");
  EXPECT_EQ(view(7, {5}, {0}), ""); // one element five times
  EXPECT_EQ(view(8, {0, 3}, {3, 1}), "");
  EXPECT_EQ(view(0, {}, {}), "");
  for (const std::string &error :
       {view(1, {4, 2}, {2, 1}), view(0, {4, 2}, {3, 1}), view(8, {1}, {1}), view(9, {0}, {1}),
        view(0, {2}, {int64_t(1) << 48}), view(0, {int64_t(1) << 48}, {1}),
        view(0, {int64_t(1) << 40, int64_t(1) << 40}, {0, 0})}) {
    EXPECT_NE(error.find("tensor: expected elements inside the 8 of storage 'a', got a view that leaves it"),
              std::string::npos)
        << error;
    expectOneLine(error);
  }
  for (const std::string &error : {view(-1, {2}, {1}), view(0, {-2}, {1}), view(0, {2}, {-1}),
                                   view(0, {INT64_MAX}, {1}), view(0, {2, 2}, {1}), view(INT64_MIN, {2}, {1}),
                                   view(0, std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1))})
    EXPECT_NE(error.find("tensor: expected a shape and strides"), std::string::npos) << error;
  for (int64_t elements : {int64_t(-1), int64_t(INT64_MAX), int64_t(1) << 49})
    EXPECT_NE(view(0, {4, 2}, {2, 1}, elements).find("storage 'a': expected 0 to"), std::string::npos);
  EXPECT_EQ(view(0, {4, 2}, {2, 1}, 9),
            "x.pt: storage 'a': expected an entry of 18 bytes for bf16 [9], got 16");
}

TEST(TorchTensor, ADictionaryHoldsEachNameOnce) {
  TorchWriter writer = small();
  const std::string a = TorchWriter::pickled(writer.tensors["a"], writer.storages["a"]);
  writer.extra["a"] = a;
  EXPECT_EQ(errorOfBytes(writer.finish()), "x.pt: expected names of tensors as keys, each once, got 'a'");
  writer.extra = {{"step", "K\5"}, {"_metadata", "}"}};
  EXPECT_EQ(open(writer.finish()).others(), (std::vector<std::string>{"_metadata", "step"}));
  writer.extra = {{"p", TorchWriter::global("torch._utils", "_rebuild_parameter") + "(" + a + "\x89}tR"}};
  EXPECT_EQ(open(writer.finish()).tensors().at("p").shape, (std::vector<uint64_t>{4, 2}));
  // The same storage with another length.
  TorchWriter::Storage longer = writer.storages["a"];
  longer.elements = 4;
  writer.extra = {{"p", TorchWriter::pickled(writer.tensors["b"], writer.storages["b"])}};
  TorchWriter::Tensor other = writer.tensors["a"];
  other.shape = {2}, other.strides = {1};
  writer.extra["q"] = TorchWriter::pickled(other, longer);
  EXPECT_NE(errorOfBytes(writer.finish()).find("storage 'a': expected bf16 [8] as before, got bf16 [4]"),
            std::string::npos);
}

TEST(TorchLegacy, SaysWhatIsWrong) {
  const std::string path = sharedData("ms_gpu/pt-views-legacy.pt");
  SKIP_WITHOUT(path);
  const std::string good = slurp(path);
  auto with = [&](size_t at, char value) {
    std::string bad = good;
    bad[at] = value;
    return errorOfBytes(bad);
  };
  EXPECT_EQ(with(4, 0), "x.pt: byte 0: expected the magic number of torch.save, got another pickle");
  EXPECT_EQ(with(18, 0), "x.pt: expected version 1001 of the stream, got another");
  EXPECT_EQ(with(73, '\x89'), "x.pt: expected a file of a little-endian machine, got another");
  EXPECT_EQ(
      with(1107, 3),
      "x.pt: byte 1107: storage '792920992': expected int64 [2], got 3 elements; the file may be cut off");
  EXPECT_EQ(with(1000, 'x'), "x.pt: expected each storage of the dictionary once, got '79x920992'");
}

} // namespace
