// f32 [rows, columns] that Python sees through the buffer protocol: memoryview and NumPy read it without a
// copy.
#pragma once
#include "python/binding/binding.h"

namespace bitnet::python {

struct Floats {
  size_t rows = 0, columns = 0;
  std::vector<float> values; ///< row-major

  /// One row.
  static std::shared_ptr<Floats> copyOf(const float *from, size_t columns) {
    return std::make_shared<Floats>(Floats{1, columns, {from, from + columns}});
  }
};

} // namespace bitnet::python
