// The loss of a pair of rows, as a function of the difference of their scores.

#ifndef HVDREC_KERNELS_PAIRWISE_FUNCTION_H_
#define HVDREC_KERNELS_PAIRWISE_FUNCTION_H_

#include <stdexcept>
#include <string>

#include "kernels/base/vector_math.h"

namespace hvdrec {

enum class PairLoss {
  kLogistic,      // log(1 + exp(m - t))
  kFocal,         // sigmoid(m - t)^gamma log(1 + exp(m - t))
  kHinge,         // max(0, m - t)
  kSquaredHinge,  // max(0, m - t)^2
  kSquare,        // (m - t)^2
};

// By its name in Python. Throws std::invalid_argument if there is none with that name.
inline PairLoss ParsePairLoss(const std::string& name) {
  if (name == "logistic") return PairLoss::kLogistic;
  if (name == "focal") return PairLoss::kFocal;
  if (name == "hinge") return PairLoss::kHinge;
  if (name == "squared_hinge") return PairLoss::kSquaredHinge;
  if (name == "square") return PairLoss::kSquare;
  throw std::invalid_argument("kind '" + name +
                              "' is not one of logistic, focal, hinge, squared_hinge, square");
}

// f(t) of a smooth loss (the first two), t the lead of the higher-labelled row.
struct PairFunction {
  PairLoss loss = PairLoss::kLogistic;
  double margin = 0;
  double gamma = 0;

  // f and its derivative by t.
  void operator()(Doubles t, Doubles* value, Doubles* slope) const {
    const Doubles zero = Fill(0.0);
    const Doubles x = Fill(margin) - t;
    const Doubles e = Exp(-Abs(x));
    const Doubles tail = Log1pOfFraction(e);
    const Longs behind = x > zero;
    const Doubles softplus = Select(behind, x, zero) + tail;
    const Doubles miss = Select(behind, Fill(1.0), e) / (e + 1.0);
    if (loss == PairLoss::kLogistic) {
      *value = softplus;
      *slope = -miss;
      return;
    }
    // sigmoid(x) = exp(-softplus(-x)), which avoids the power of a number that may be 0.
    const Doubles modulation = Exp((Select(behind, zero, -x) + tail) * -gamma);
    *value = modulation * softplus;
    *slope = -modulation * (gamma * (1.0 - miss) * softplus + miss);
  }

  // Pairs that lead by more than the margin and this cost 0 to the last bit (hinge and smooth
  // losses): the smooth ones decay like exp(-(1 + gamma) t).
  double Reach() const { return loss == PairLoss::kHinge ? 0.0 : 745 / (1 + gamma); }

  double Value(double t) const {
    Doubles value, slope;
    (*this)(Fill(t), &value, &slope);
    return value[0];
  }
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_FUNCTION_H_
