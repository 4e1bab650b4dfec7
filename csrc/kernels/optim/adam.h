// One update by Adam, in one pass over a variable and its two moments.
//
// With g the gradient, in float32 and in this order (TensorFlow 1's AdamOptimizer):
//
//   m += (g - m) first;  v += (g g - v) second;  variable -= (m rate) / (sqrt(v) + epsilon)

#ifndef HVDREC_KERNELS_OPTIM_ADAM_H_
#define HVDREC_KERNELS_OPTIM_ADAM_H_

#include <cstdint>
#include <vector>

#include "kernels/base/parallel.h"

namespace hvdrec {

struct AdamStep {
  float rate;    // learning rate sqrt(1 - beta2^t) / (1 - beta1^t)
  float first;   // 1 - beta1
  float second;  // 1 - beta2
  float epsilon;
};

// A variable with its moments; all of one size.
struct AdamVariable {
  float* value;
  float* m;
  float* v;
};

// The rows of a table whose moments may not be 0, from one update to the next: finding the others
// by their moments takes longer than updating these.
class MovingRows {
 public:
  // Any of `rows` rows may have moments: of a new table, or after others have changed the moments.
  void Reset(int64_t rows);

  int64_t rows() const { return rows_; }

 private:
  friend class RowSweep;

  int64_t rows_ = 0;
  std::vector<uint64_t> moving_;   // a bit for each row, and 0 beyond
  std::vector<uint64_t> touched_;  // 0 between updates
};

struct DenseUpdate {
  const float* gradient;
  int64_t size;  // of the variable
  AdamVariable variable;
};

void AdamDense(const AdamStep& step, const std::vector<DenseUpdate>& updates,
               const Parallel& parallel);

// Updates a variable [rows, dim] whose gradient is given for some rows and 0 for the others, which
// still change by their moments. A row whose moments are 0 doesn't change, so it is skipped.
//
// `touched` are `count` distinct rows, `gradient` is [count, dim]; `moving` has the number of rows.
// Throws std::invalid_argument if a touched row is out of range, before anything changes.
void AdamRows(const AdamStep& step, const int32_t* touched, int64_t count, const float* gradient,
              int64_t dim, const AdamVariable& variable, MovingRows* moving,
              const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_OPTIM_ADAM_H_
