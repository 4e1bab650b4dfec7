#include "kernels/similarity/circle.h"

#include "kernels/base/logistic.h"
#include "kernels/similarity/similarity_sweep.h"

namespace hvdrec {
namespace {

// Both exponents are g [u + m]_+ (u - m), with u = s for negatives and u = 1 - s for positives.
template <typename T>
class CircleForm {
 public:
  explicit CircleForm(const CircleOptions& options)
      : margin_(static_cast<T>(options.margin)), gamma_(static_cast<T>(options.gamma)) {}

  template <bool kPositive, typename A>
  auto Exponent(const A& s) const {
    if constexpr (kPositive) {
      return (T(1) + margin_ - s).max(T(0)) * (T(1) - margin_ - s) * gamma_;
    } else {
      return (s + margin_).max(T(0)) * (s - margin_) * gamma_;
    }
  }

  template <bool kPositive, typename A>
  auto Slope(const A& s) const {
    if constexpr (kPositive) {
      return (T(1) + margin_ - s).max(T(0)) * -gamma_;
    } else {
      return (s + margin_).max(T(0)) * gamma_;
    }
  }

  template <bool kPositive>
  std::optional<double> Shift(double low, double high) const {
    if (kPositive) {
      std::swap(low, high);
      low = 1 - low;
      high = 1 - high;
    }
    const double a = At(low), b = At(high);
    double least = std::min(a, b), greatest = std::max(a, b);
    // Between its zeros -m and m the parabola dips to -g m^2 at 0; left of -m it is 0.
    if (low < 0 && high > 0) least = std::min(least, At(0));
    if (low < -margin_ && high > -margin_) greatest = std::max(greatest, 0.0);
    if (greatest - least <= SharedRange<T>()) return greatest;
    return std::nullopt;
  }

  AnchorResult Finish(const ExpSum& positives, const ExpSum& negatives) const {
    if (positives.empty() || negatives.empty()) return {};
    const double p = positives.Log(), n = negatives.Log();
    const double log_sigmoid = -Softplus(-p - n);
    return {Softplus(p + n), log_sigmoid - p, log_sigmoid - n};
  }

  static constexpr bool mining() { return false; }
  static constexpr double eps() { return 0; }

 private:
  double At(double u) const { return gamma_ * std::max(u + margin_, 0.0) * (u - margin_); }

  const T margin_, gamma_;
};

}  // namespace

template <typename T>
SimilarityResult CircleLoss(const SimilarityBatch<T>& batch, const CircleOptions& options,
                            const Parallel& parallel, T* gradient) {
  return SimilarityLoss(batch, CircleForm<T>(options), parallel, gradient);
}

template SimilarityResult CircleLoss(const SimilarityBatch<float>&, const CircleOptions&,
                                     const Parallel&, float*);
template SimilarityResult CircleLoss(const SimilarityBatch<double>&, const CircleOptions&,
                                     const Parallel&, double*);

}  // namespace hvdrec
