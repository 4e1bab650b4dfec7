// Outputs of kernels before and after they are written.

#ifndef HVDREC_TESTS_OUTPUTS_H_
#define HVDREC_TESTS_OUTPUTS_H_

#include <algorithm>
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

// The largest error, in units of the largest expected number or of 1.
inline double RelativeError(const std::vector<float>& found, const std::vector<double>& expected) {
  double most = 1, error = found.size() == expected.size() ? 0 : 1e9;
  for (const double v : expected) most = std::max(most, std::abs(v));
  for (size_t i = 0; i < std::min(found.size(), expected.size()); ++i) {
    error = Worst({error, std::abs(found[i] - expected[i])});
  }
  return error / most;
}

}  // namespace hvdrec

#endif  // HVDREC_TESTS_OUTPUTS_H_
