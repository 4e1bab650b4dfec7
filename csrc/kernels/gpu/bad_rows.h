// Finds rows with numbers that aren't finite, for the CUDA versions.

#ifndef HVDREC_KERNELS_GPU_BAD_ROWS_H_
#define HVDREC_KERNELS_GPU_BAD_ROWS_H_

#include "kernels/gpu/steps.h"

namespace hvdrec {

struct KeepFirst {
  const int32_t* bad;
  const int32_t* running;
  int64_t* first;

  HVDREC_HD void operator()(int64_t i) const {
    if (bad[i] && running[i] == 1) *first = i;
  }
};

// The first of `count` rows that is marked with 1, or -1.
template <typename Machine>
int64_t FirstBad(Machine& machine, const int32_t* bad, int64_t count) {
  if (count == 0) return -1;
  int32_t* const running = machine.template Allocate<int32_t>(count);
  int64_t* const first = machine.template Allocate<int64_t>(1);
  const int64_t none = -1;
  machine.Upload(&none, 1, first);
  machine.InclusiveSum(bad, running, count);
  ForEach(machine, count, KeepFirst{bad, running, first});
  return machine.Read(first);
}

template <typename T>
struct MarkBadRow {
  const T* values;
  int64_t dim;
  int32_t* bad;

  HVDREC_HD void operator()(int64_t row) const {
    bool fine = true;
    for (int64_t d = 0; d < dim; ++d) fine = fine && IsFinite(values[row * dim + d]);
    bad[row] = !fine;
  }
};

// The first row of values [rows, dim] with a number that isn't finite, or -1.
template <typename T, typename Machine>
int64_t FirstBadRow(Machine& machine, const T* values, int64_t rows, int64_t dim) {
  int32_t* const bad = machine.template Allocate<int32_t>(rows);
  ForEach(machine, rows, MarkBadRow<T>{values, dim, bad});
  return FirstBad(machine, bad, rows);
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_GPU_BAD_ROWS_H_
