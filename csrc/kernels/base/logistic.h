// The logistic function and its integral, on the CPU and on a GPU, for any x, including infinities.

#ifndef HVDREC_KERNELS_BASE_LOGISTIC_H_
#define HVDREC_KERNELS_BASE_LOGISTIC_H_

#include <cmath>

#include "kernels/base/host_device.h"

namespace hvdrec {

// log(1 + exp(x))
HVDREC_HD inline double Softplus(double x) { return (x > 0 ? x : 0.0) + log1p(exp(-fabs(x))); }

// 1 / (1 + exp(-x)), its derivative
HVDREC_HD inline double Sigmoid(double x) { return 1 / (1 + exp(-x)); }

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_LOGISTIC_H_
