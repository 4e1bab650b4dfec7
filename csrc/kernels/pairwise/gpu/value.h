// The loss of a pair of rows, one pair at a time; kernels/pairwise/function.h computes several at
// once.

#ifndef HVDREC_KERNELS_PAIRWISE_GPU_VALUE_H_
#define HVDREC_KERNELS_PAIRWISE_GPU_VALUE_H_

#include <cmath>

#include "kernels/gpu/steps.h"
#include "kernels/pairwise/function.h"

namespace hvdrec {

// f of a pair with lead t and its derivative by t, of any of the losses.
struct PairValue {
  PairLoss loss;
  double margin;
  double gamma;

  HVDREC_HD void operator()(double t, double* value, double* slope) const {
    const double x = margin - t;
    const double reach = x > 0 ? x : 0.0;
    switch (loss) {
      case PairLoss::kHinge:
        *value = reach;
        *slope = x > 0 ? -1.0 : 0.0;
        return;
      case PairLoss::kSquaredHinge:
        *value = reach * reach;
        *slope = -2 * reach;
        return;
      case PairLoss::kSquare:
        *value = x * x;
        *slope = -2 * x;
        return;
      case PairLoss::kLogistic:
      case PairLoss::kFocal:
        break;
    }
    const double e = exp(-fabs(x));
    const double tail = log1p(e);
    const double softplus = reach + tail;
    const double miss = (x > 0 ? 1.0 : e) / (1 + e);
    if (loss == PairLoss::kLogistic) {
      *value = softplus;
      *slope = -miss;
      return;
    }
    // sigmoid(x) = exp(-softplus(-x)), which avoids the power of a number that may be 0.
    const double modulation = exp(-gamma * ((x > 0 ? 0.0 : -x) + tail));
    *value = modulation * softplus;
    *slope = -modulation * (gamma * (1 - miss) * softplus + miss);
  }
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_GPU_VALUE_H_
