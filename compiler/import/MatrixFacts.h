// What a reader wants to know of a ternary matrix without seeing it: for the report of a model and its
// doctor.
#pragma once
#include "compiler/import/Checkpoint.h"

namespace bitnet::import {

struct MatrixFacts {
  uint64_t weights = 0, zeros = 0;
  uint64_t scales = 0; ///< how many the matrix has
  int32_t groupCols = 0;
  float smallestScale = 0, largestScale = 0; ///< of those that belong to a weight other than 0
};
MatrixFacts factsOf(const TernaryMatrix &matrix);

/// A neuron is a row of the gate and of up and a column of down: what training made of it shows in all three.
/// Spearman's correlation of the number of zeros in the rows of `gate` [N, K] with that in the columns of
/// `down` [M, N]: 0.45 to 0.83 in the layers of a trained model, at most 0.21 if the columns of down are read
/// in another order than they were written, 0 in random matrices. NaN where one of them has as many zeros
/// everywhere.
double neuronAgreement(const TernaryMatrix &gate, const TernaryMatrix &down);

} // namespace bitnet::import
