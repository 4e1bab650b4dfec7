// The squared Euclidean norm of an array.

#ifndef HVDREC_KERNELS_OPTIM_SUM_OF_SQUARES_H_
#define HVDREC_KERNELS_OPTIM_SUM_OF_SQUARES_H_

#include <cstdint>

#include "kernels/base/parallel.h"

namespace hvdrec {

// Sum of x^2 over `n` values, accumulated in double. T is float or double.
template <typename T>
double SumOfSquares(const T* values, int64_t n, const Parallel& parallel);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_OPTIM_SUM_OF_SQUARES_H_
