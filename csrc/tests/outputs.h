// Outputs of kernels before and after they are written.

#ifndef HVDREC_TESTS_OUTPUTS_H_
#define HVDREC_TESTS_OUTPUTS_H_

#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <limits>
#include <vector>

namespace hvdrec {

// NaN, because an element that a kernel doesn't write has the content of memory that was in use.
template <typename T>
std::vector<T> Unwritten(size_t count) {
  return std::vector<T>(count, std::numeric_limits<T>::quiet_NaN());
}

// The greatest error; NaN if one is NaN, which std::max would leave out.
inline double Worst(std::initializer_list<double> errors) {
  double worst = 0;
  for (const double error : errors) {
    if (std::isnan(error)) return error;
    if (error > worst) worst = error;
  }
  return worst;
}

}  // namespace hvdrec

#endif  // HVDREC_TESTS_OUTPUTS_H_
