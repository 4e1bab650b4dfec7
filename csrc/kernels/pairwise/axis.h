// The panels that contain rows (kernels/pairwise/table.h), for the sums over them.

#ifndef HVDREC_KERNELS_PAIRWISE_AXIS_H_
#define HVDREC_KERNELS_PAIRWISE_AXIS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/pairwise/side.h"

namespace hvdrec {

// The occupied panels of one side, lowest first.
struct Panels {
  std::vector<double> number;  // score >= width * number; whole, maybe beyond 2^53
  std::vector<int64_t> begin;  // first row; one more at the end

  int64_t size() const { return static_cast<int64_t>(number.size()); }
};

// In time O(B log n) for B panels: their numbers are ascending, so the end of each is searched for.
inline Panels FindPanels(const PairSide& side, double width) {
  Panels panels;
  const double inverse = 1 / width;
  for (int64_t i = 0; i < side.count;) {
    const double number = std::floor(side.scores[i] * inverse);
    panels.number.push_back(number);
    panels.begin.push_back(i);
    const auto within = [&](int64_t k) { return std::floor(side.scores[k] * inverse) == number; };
    int64_t low = i, step = 1;
    for (; low + step < side.count && within(low + step); step *= 2) low += step;
    int64_t high = std::min(low + step, side.count);
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      (within(middle) ? low : high) = middle;
    }
    i = high;
  }
  panels.begin.push_back(side.count);
  return panels;
}

// Calls body(panel, begin, end, first) for the parts of panels that make up rows begin .. end;
// `first` is whether a part begins its panel.
template <typename Body>
void ForParts(const Panels& panels, int64_t begin, int64_t end, const Body& body) {
  const auto after = std::upper_bound(panels.begin.begin(), panels.begin.end(), begin);
  for (int64_t p = after - panels.begin.begin() - 1; begin < end; ++p) {
    const int64_t stop = std::min(panels.begin[static_cast<size_t>(p + 1)], end);
    body(p, begin, stop, begin == panels.begin[static_cast<size_t>(p)]);
    begin = stop;
  }
}

// The first panel with that number or a higher one.
inline int64_t FirstAtLeast(const Panels& panels, double number) {
  return std::lower_bound(panels.number.begin(), panels.number.end(), number) -
         panels.number.begin();
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_PAIRWISE_AXIS_H_
