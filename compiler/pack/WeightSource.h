// Where packed constants come from: the checkpoint, or seeded random weights in the interpreter's tests.
#pragma once
#include "compiler/import/MatrixFacts.h"
#include <map>
#include <mutex>

namespace bitnet::compiler {

class WeightSource {
public:
  virtual ~WeightSource() = default;
  /// Thread-safe. Names are canonical (Checkpoint.h).
  virtual llvm::Expected<import::TernaryMatrix> ternary(const std::string &name) const = 0;
  /// Scales of a ternary matrix, row by row: one for each of `groups` equal groups of columns.
  virtual llvm::Expected<std::vector<float>> scales(const std::string &name, int32_t groups) const {
    llvm::Expected<import::TernaryMatrix> m = ternary(name);
    if (!m)
      return m.takeError();
    return expandScales(name, *m, groups);
  }
  /// Rows [begin, min(end, rows)) of a dense tensor; a vector is one row.
  virtual llvm::Expected<import::DenseTensor> dense(const std::string &name, int32_t begin,
                                                    int32_t end) const = 0;

protected:
  /// Of a matrix whose own groups are as fine or coarser. Its trits are not looked at.
  static llvm::Expected<std::vector<float>> expandScales(const std::string &name,
                                                         const import::TernaryMatrix &m, int32_t groups) {
    const int32_t own = m.groupCols ? m.cols / m.groupCols : 1;
    if (groups % own || m.cols % groups)
      return llvm::createStringError("'%s': expected scales of %d groups of columns, got those of %d",
                                     name.c_str(), groups, own);
    const size_t step = m.scales.size() == 1 ? 0 : 1;
    std::vector<float> scales(size_t(m.rows) * size_t(groups));
    for (size_t i = 0; i < scales.size(); ++i)
      scales[i] = m.scales[i / size_t(groups / own) * step];
    return scales;
  }
};

/// Keeps the scales of matrices that were decoded, so that asking for them afterwards does not decode again,
/// and the facts for the report.
class CheckpointWeights final : public WeightSource {
public:
  /// The checkpoint must outlive this.
  explicit CheckpointWeights(const import::Checkpoint &checkpoint) : checkpoint_(checkpoint) {}
  llvm::Expected<import::TernaryMatrix> ternary(const std::string &name) const override {
    llvm::Expected<import::TernaryMatrix> m = checkpoint_.ternary(name);
    if (m) {
      const import::MatrixFacts facts = import::factsOf(*m);
      std::lock_guard<std::mutex> lock(mutex_);
      facts_[name] = facts;
      decoded_[name] = {m->rows, m->cols, m->groupCols, {}, m->scales};
    }
    return m;
  }
  llvm::Expected<std::vector<float>> scales(const std::string &name, int32_t groups) const override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (auto known = decoded_.find(name); known != decoded_.end())
        return expandScales(name, known->second, groups);
    }
    return WeightSource::scales(name, groups);
  }
  llvm::Expected<import::DenseTensor> dense(const std::string &name, int32_t begin,
                                            int32_t end) const override {
    return checkpoint_.dense(name, begin, end);
  }

  /// Of every matrix decoded so far, by name. Not while others decode.
  const std::map<std::string, import::MatrixFacts> &facts() const { return facts_; }

private:
  const import::Checkpoint &checkpoint_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, import::TernaryMatrix> decoded_; ///< without their trits
  mutable std::map<std::string, import::MatrixFacts> facts_;
};

} // namespace bitnet::compiler
