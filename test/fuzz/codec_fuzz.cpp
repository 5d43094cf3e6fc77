// Every codec on any bytes: it refuses them, or it gives trits, and scales that are finite and not negative;
// what it gives, encoded, decodes to the same.
#include "test/fuzz/checkpoint_checks.h"
#include "test/fuzz/fuzz_target.h"
#include <cmath>
#include <cstring>

using namespace bitnet::import;
using bitnet::fuzz::check;

namespace {

/// The first bytes of an input.
struct Head {
  uint8_t codec, rows, cols, settings;
};

constexpr int32_t kRows = 32, kCols = 128; ///< sizes are multiples, and a little more if Head says so

TernaryMatrix shapeOf(const Head &head) {
  TernaryMatrix m;
  m.rows = head.rows & 0x80 ? head.rows & 0x7f : kRows * (1 + head.rows % 4);
  m.cols = head.cols & 0x80 ? head.cols & 0x7f : kCols * (1 + head.cols % 8);
  return m;
}

CodecSettings settingsOf(const Head &head, const TernaryMatrix &m) {
  CodecSettings settings;
  settings.i2sLayout = I2SLayout(head.settings % 3);
  settings.ternarize = Ternarize(head.settings / 3 % 3);
  settings.absMean = AbsMean(head.settings / 9 % 2);
  const int32_t tileCols = head.settings & 0x40 ? 96 : 64, stripe = head.settings & 0x80 ? 64 : 32;
  settings.tlKernels = {{m.rows, m.cols, stripe, tileCols, stripe}};
  return settings;
}

void checkFault(const Fault &fault, size_t nBytes) {
  check(!fault.what.empty() && fault.what.find('\n') == std::string::npos);
  check(fault.at == 0 || fault.at < nBytes);
}

void checkMatrix(const TernaryMatrix &m) {
  const size_t rows = size_t(m.rows), n = rows * size_t(m.cols);
  check(m.trits.size() == n);
  for (int8_t trit : m.trits)
    check(trit >= -1 && trit <= 1);
  check(m.groupCols >= 0 && (m.groupCols == 0 || m.cols % m.groupCols == 0));
  check(m.groupCols ? m.scales.size() == n / size_t(m.groupCols)
                    : m.scales.size() == 1 || m.scales.size() == rows);
  for (float scale : m.scales)
    check(std::isfinite(scale) && scale >= 0);
}

/// Encodings with scales of their own: the bytes of what was decoded decode to it again.
void checkRoundTrip(const Codec &codec, const TernaryMatrix &m, CodecSettings settings) {
  if (!codec.encode || codec.scales == Codec::Scales::none)
    return;
  settings.ternarize = Ternarize::refuse;
  std::vector<uint8_t> bytes;
  if (encodeTernary(codec, m, settings, bytes))
    return;
  TernaryMatrix again;
  check(!decodeTernary(codec, {bytes.data(), bytes.size()}, settings, m.rows, m.cols, again));
  check(again.trits == m.trits && again.scales == m.scales && again.groupCols == m.groupCols);
}

/// Floats beside the codes, of groups of 64 columns; finite, as StoredCheckpoint makes sure.
std::vector<float> besides(const std::vector<uint8_t> &bytes, size_t n) {
  std::vector<float> values(n, 0.5f);
  for (size_t i = 0; i < n && 4 * i + 4 <= bytes.size(); ++i) {
    std::memcpy(&values[i], &bytes[4 * i], 4);
    if (!std::isfinite(values[i]))
      values[i] = 1;
  }
  return values;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Head head;
  if (size < sizeof head)
    return 0;
  std::memcpy(&head, data, sizeof head);
  const Codec &codec = *codecs()[head.codec % codecs().size()];
  TernaryMatrix m = shapeOf(head);
  const CodecSettings settings = settingsOf(head, m);
  std::vector<uint8_t> bytes(data + sizeof head, data + size);
  // Mutations rarely keep the one right size.
  if (std::optional<uint64_t> right = encodedBytes(codec, m.rows, m.cols); right && head.settings % 5 != 0)
    bytes.resize(size_t(*right), 0x55);
  const size_t groups = size_t(m.rows) * size_t(m.cols) / 64;
  std::vector<float> scales, biases;
  if (m.cols % 64 == 0 && std::strcmp(codec.name, "mlx_2bit") == 0) {
    scales = besides(bytes, groups);
    for (size_t i = 0; i < groups; ++i)
      biases.push_back(i % 3 == 2 ? scales[(i * 7 + 1) % groups] : -scales[i]);
  }
  const Encoded in = {bytes.data(), bytes.size(), scales, biases};
  std::vector<float> dense(size_t(m.rows) * size_t(m.cols));
  if (m.rows > 0 && m.cols > 0)
    if (Decoded fault = decodeDense(codec, in, settings, m.rows, m.cols, dense.data()))
      checkFault(*fault, bytes.size());
  if (!codec.decode)
    return 0;
  if (Decoded fault = decodeTernary(codec, in, settings, m.rows, m.cols, m)) {
    checkFault(*fault, bytes.size());
    return 0;
  }
  checkMatrix(m);
  checkRoundTrip(codec, m, settings);
  return 0;
}

std::vector<std::string> bitnet::fuzz::seeds() {
  std::vector<std::string> seeds;
  for (size_t i = 0; i < codecs().size(); ++i)
    for (const uint8_t size : {0, 1, 2}) {
      const Head head = {uint8_t(i), size, uint8_t(3 * size), 1};
      TernaryMatrix m = shapeOf(head);
      uint32_t state = 1;
      for (int32_t k = 0; k < m.rows * m.cols; ++k) {
        state = state * 1664525 + 1013904223;
        m.trits.push_back(codecs()[i]->name == std::string("q1_0") ? int8_t(state >> 31) * 2 - 1
                                                                   : int8_t((state >> 16) % 3) - 1);
      }
      m.scales = {0.25f};
      std::vector<uint8_t> bytes;
      if (!codecs()[i]->encode || encodeTernary(*codecs()[i], m, settingsOf(head, m), bytes))
        bytes.assign(size_t(encodedBytes(*codecs()[i], m.rows, m.cols).value_or(64)), 0x35);
      std::string seed(reinterpret_cast<const char *>(&head), sizeof head);
      seeds.push_back(seed.append(bytes.begin(), bytes.end()));
    }
  return seeds;
}
