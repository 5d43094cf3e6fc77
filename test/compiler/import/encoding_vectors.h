// The vectors of data/encodings, which the original programs wrote: bytes, a shape, and what they mean as
// trits or as floats.
#pragma once
#include "compiler/import/Codec.h"
#include "test/compiler/import/import_testing.h"
#include <nlohmann/json.hpp>

namespace bitnet::import {

inline std::vector<uint8_t> fromHex(const std::string &hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(uint8_t(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

inline std::vector<float> floatsFromHex(const std::string &hex) {
  std::vector<uint8_t> bytes = fromHex(hex);
  std::vector<float> values(bytes.size() / 4);
  if (!bytes.empty()) // memcpy takes no null
    std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

struct EncodingVector {
  nlohmann::json data;
  TernaryMatrix shape; ///< rows and cols only
  std::vector<uint8_t> bytes;
  std::vector<int8_t> trits;
  std::vector<float> decoded;

  explicit EncodingVector(const std::string &path) : data(nlohmann::json::parse(slurp(path))) {
    if (data.contains("shape")) {
      shape.rows = data["shape"][0];
      shape.cols = data["shape"][1];
    }
    bytes = fromHex(data.value("bytes_hex", ""));
    decoded = floatsFromHex(data.value("decoded_f32_hex", ""));
    if (data.contains("trits"))
      for (const std::string row : data["trits"])
        for (char c : row)
          trits.push_back(int8_t((c == '+') - (c == '-')));
  }
};

/// EncodingVector v, or the test is skipped.
#define LOAD(variable, name)                                                                                 \
  const std::string variable##Path = sharedData(std::string("encodings/") + name + ".json");                 \
  SKIP_WITHOUT(variable##Path);                                                                              \
  const EncodingVector variable(variable##Path)

inline std::vector<float> values(const TernaryMatrix &m) {
  std::vector<float> out;
  for (int32_t r = 0; r < m.rows; ++r)
    for (int32_t c = 0; c < m.cols; ++c)
      out.push_back(float(m.trits[size_t(r) * size_t(m.cols) + size_t(c)]) * scaleAt(m, r, c));
  return out;
}

inline void expectFault(const Decoded &fault, uint64_t at, const std::string &part) {
  ASSERT_TRUE(fault.has_value()) << "expected: " << part;
  EXPECT_EQ(fault->at, at) << fault->what;
  EXPECT_NE(fault->what.find(part), std::string::npos) << fault->what;
}

inline const Codec &codec(const std::string &name) {
  const Codec *found = codecNamed(name);
  EXPECT_TRUE(found) << name;
  return found ? *found : *codecs().front();
}

inline Decoded decode(const std::string &name, const std::vector<uint8_t> &bytes, TernaryMatrix &out,
                      const CodecSettings &settings = {}) {
  return decodeTernary(codec(name), {bytes.data(), bytes.size()}, settings, out.rows, out.cols, out);
}

inline std::vector<uint8_t> encode(const std::string &name, const TernaryMatrix &matrix,
                                   const CodecSettings &settings = {}) {
  std::vector<uint8_t> bytes;
  const Decoded fault = encodeTernary(codec(name), matrix, settings, bytes);
  EXPECT_FALSE(fault) << name << ": " << fault->what;
  return bytes;
}

/// Trits without a pattern that an encoding's order could hide, and one scale.
inline TernaryMatrix matrix(int32_t rows, int32_t cols) {
  TernaryMatrix m;
  m.rows = rows;
  m.cols = cols;
  uint32_t state = 1;
  for (int32_t i = 0; i < rows * cols; ++i) {
    state = state * 1664525 + 1013904223;
    m.trits.push_back(int8_t((state >> 16) % 3) - 1);
  }
  m.scales = {0.25f};
  return m;
}

} // namespace bitnet::import
