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
  /// Scale of each row of a ternary matrix.
  virtual llvm::Expected<std::vector<float>> rowScales(const std::string &name) const {
    llvm::Expected<import::TernaryMatrix> m = ternary(name);
    if (!m)
      return m.takeError();
    return expandScales(*m);
  }
  /// Rows [begin, min(end, rows)) of a dense tensor; a vector is one row.
  virtual llvm::Expected<import::DenseTensor> dense(const std::string &name, int32_t begin,
                                                    int32_t end) const = 0;

protected:
  static std::vector<float> expandScales(const import::TernaryMatrix &m) {
    return m.scales.size() == 1 ? std::vector<float>(size_t(m.rows), m.scales[0]) : m.scales;
  }
};

/// Keeps the scales of matrices that were decoded, so that asking for them afterwards does not decode again, and the
/// facts for the report.
class CheckpointWeights final : public WeightSource {
public:
  /// The checkpoint must outlive this.
  explicit CheckpointWeights(const import::Checkpoint &checkpoint) : checkpoint_(checkpoint) {}
  llvm::Expected<import::TernaryMatrix> ternary(const std::string &name) const override {
    llvm::Expected<import::TernaryMatrix> m = checkpoint_.ternary(name);
    if (m && m->groupCols)
      return llvm::createStringError("'%s': expected a scale for a tensor or a row, got one for %d columns",
                                     name.c_str(), m->groupCols);
    if (m) {
      const import::MatrixFacts facts = import::factsOf(*m);
      std::lock_guard<std::mutex> lock(mutex_);
      facts_[name] = facts;
      scales_[name] = expandScales(*m);
    }
    return m;
  }
  llvm::Expected<std::vector<float>> rowScales(const std::string &name) const override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (auto known = scales_.find(name); known != scales_.end())
        return known->second;
    }
    return WeightSource::rowScales(name);
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
  mutable std::map<std::string, std::vector<float>> scales_;
  mutable std::map<std::string, import::MatrixFacts> facts_;
};

} // namespace bitnet::compiler
