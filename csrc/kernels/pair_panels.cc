#include "kernels/pair_panels.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

namespace hvdrec {
namespace {

constexpr int64_t kPieceRows = 4096;
constexpr int64_t kPiecePanels = 16;
// Time of one pair in SumDirectly, in multiply-additions of Interact.
constexpr int64_t kDirectCost = 20;

// The occupied panels of one side, lowest first.
struct Panels {
  std::vector<double> number;  // score >= width * number; whole, maybe beyond 2^53
  std::vector<int64_t> begin;  // first row; one more at the end

  int64_t size() const { return static_cast<int64_t>(number.size()); }
};

Panels FindPanels(const PairSide& side, double width) {
  Panels panels;
  const double inverse = 1 / width;
  double last = 0;
  for (int64_t i = 0; i < side.count; ++i) {
    const double number = std::floor(side.scores[i] * inverse);
    if (i == 0 || number != last) {
      panels.number.push_back(number);
      panels.begin.push_back(i);
      last = number;
    }
  }
  panels.begin.push_back(side.count);
  return panels;
}

// Calls body(panel, begin, end, whole) for the parts of panels that make up rows begin .. end;
// `first` tells whether a part begins its panel.
template <typename Body>
void ForParts(const Panels& panels, int64_t begin, int64_t end, const Body& body) {
  const auto after = std::upper_bound(panels.begin.begin(), panels.begin.end(), begin);
  for (int64_t p = after - panels.begin.begin() - 1; begin < end; ++p) {
    const int64_t stop = std::min(panels.begin[static_cast<size_t>(p + 1)], end);
    body(p, begin, stop, begin == panels.begin[static_cast<size_t>(p)]);
    begin = stop;
  }
}

template <int P>
class PanelSum {
 public:
  PanelSum(const PairFunction& f, const PairTable& table, const PairSide& upper,
           const PairSide& lower, const Parallel& parallel)
      : f_(f),
        table_(table),
        upper_(upper),
        lower_{lower.scores, nullptr, lower.gradient, lower.count},
        parallel_(parallel),
        above_(FindPanels(upper, table.width)),
        below_(FindPanels(lower, table.width)) {}

  double Run() {
    const std::vector<double> weights = Moments(upper_, above_);
    const std::vector<double> counts = Moments(lower_, below_);
    const double loss = ActOnUpper(weights, counts);
    ActOnLower(weights);
    return loss;
  }

 private:
  // [panel][P]: sums of w T_k(x) over the rows of each panel.
  std::vector<double> Moments(const PairSide& side, const Panels& panels) const {
    std::vector<double> moments(static_cast<size_t>(panels.size() * P));
    // What a piece adds to a panel that began in an earlier one.
    const int64_t pieces = ChunkCount(side.count, kPieceRows);
    std::vector<double> heads(static_cast<size_t>(pieces * P));
    std::vector<int64_t> head_panels(static_cast<size_t>(pieces), -1);
    ForChunks(parallel_, side.count, kPieceRows, [&](int64_t piece, int64_t begin, int64_t end) {
      ForParts(panels, begin, end, [&](int64_t p, int64_t from, int64_t to, bool first) {
        if (!first) head_panels[static_cast<size_t>(piece)] = p;
        double* const out =
            first ? &moments[static_cast<size_t>(p * P)] : &heads[static_cast<size_t>(piece * P)];
        AddMoments(side, panels.number[static_cast<size_t>(p)], from, to, out);
      });
    });
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t p = head_panels[static_cast<size_t>(piece)];
      for (int k = 0; p >= 0 && k < P; ++k) {
        moments[static_cast<size_t>(p * P + k)] += heads[static_cast<size_t>(piece * P + k)];
      }
    }
    return moments;
  }

  Doubles Coordinate(Doubles scores, double number) const {
    return (scores * (1 / table_.width) - number) * 2.0 - 1.0;
  }

  void AddMoments(const PairSide& side, double number, int64_t begin, int64_t end,
                  double* out) const {
    Doubles sums[P] = {};
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t left = end - i;
      Doubles x, w;
      if (left >= kLanes) {
        x = Load(side.scores + i);
        w = side.weights == nullptr ? Fill(1.0) : Load(side.weights + i);
      } else {
        x = LoadSome(side.scores + i, left, side.scores[i]);
        const Doubles one = Fill(1.0);
        w = LoadSome(
            side.weights == nullptr ? reinterpret_cast<const double*>(&one) : side.weights + i,
            left, 0.0);
      }
      x = Coordinate(x, number);
      const Doubles twice = x * 2.0;
      Doubles before = w, now = w * x;
      sums[0] += before;
      sums[1] += now;
      for (int k = 2; k < P; ++k) {
        const Doubles following = twice * now - before;
        before = now;
        now = following;
        sums[k] += now;
      }
    }
    for (int k = 0; k < P; ++k) out[k] += Sum(sums[k]);
  }

  // Sums of w and of w s over a panel, from its moments.
  double Weight(const std::vector<double>& moments, int64_t p) const {
    return moments[static_cast<size_t>(p * P)];
  }
  double Score(const Panels& panels, const std::vector<double>& moments, int64_t p) const {
    const double middle = (panels.number[static_cast<size_t>(p)] + 0.5) * table_.width;
    return middle * moments[static_cast<size_t>(p * P)] +
           table_.width / 2 * moments[static_cast<size_t>(p * P + 1)];
  }

  // out += C m for the coefficients [l][k] of one panel pair.
  static void Interact(const double* coefficients, const double* moments, double* out) {
    for (int l = 0; l < P; ++l) {
      for (int k = 0; k < P; ++k) out[k] += coefficients[l * P + k] * moments[l];
    }
  }

  // Adds scale * w * (sum over k of c_k T_k(x) + shift) to the gradient of some rows of a panel.
  void Evaluate(const PairSide& side, double number, int64_t begin, int64_t end, const double* c,
                double scale, double shift) const {
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t left = std::min<int64_t>(end - i, kLanes);
      const Doubles scores =
          left == kLanes ? Load(side.scores + i) : LoadSome(side.scores + i, left, side.scores[i]);
      const Doubles x = Coordinate(scores, number);
      const Doubles twice = x * 2.0;
      Doubles next = Fill(0.0), now = Fill(c[P - 1]);  // Clenshaw's recurrence
      for (int k = P - 2; k >= 1; --k) {
        const Doubles earlier = twice * now - next + c[k];
        next = now;
        now = earlier;
      }
      const Doubles value = (x * now - next + c[0] + shift) * scale;
      for (int64_t k = 0; k < left; ++k) {
        side.gradient[i + k] += side.weights == nullptr ? value[k] : side.weights[i + k] * value[k];
      }
    }
  }

  // Sums f and its derivative over scores from - others, the pairs of one row.
  void SumDirectly(double score, double sign, const PairSide& other, int64_t begin, int64_t end,
                   double* value, double* slope) const {
    Doubles values = Fill(0.0), slopes = Fill(0.0);
    for (int64_t j = begin; j < end; j += kLanes) {
      const int64_t left = std::min<int64_t>(end - j, kLanes);
      Doubles scores = LoadSome(other.scores + j, left, score);
      Doubles w = Fill(1.0);
      if (left == kLanes) {
        scores = Load(other.scores + j);
        if (other.weights != nullptr) w = Load(other.weights + j);
      } else {
        w = LoadSome(
            other.weights == nullptr ? reinterpret_cast<const double*>(&w) : other.weights + j,
            left, 0.0);
      }
      Doubles v, s;
      f_((score - scores) * sign, &v, &s);
      values += w * v;
      slopes += w * s;
    }
    *value = Sum(values);
    *slope = Sum(slopes);
  }

  // Whether the pairs of panel `p` with rows begin .. end of `count` panels are fewer operations
  // than its panel pairs.
  static bool Direct(const Panels& panels, int64_t p, int64_t rows, int64_t count) {
    const int64_t own =
        panels.begin[static_cast<size_t>(p + 1)] - panels.begin[static_cast<size_t>(p)];
    return own * rows * kDirectCost < count * P * P;
  }

  // The loss, and the gradient of the upper rows.
  double ActOnUpper(const std::vector<double>& weights, const std::vector<double>& counts) {
    // Over the panels from each one on: rows and sum of scores.
    const int64_t size = below_.size();
    std::vector<double> count_from(static_cast<size_t>(size + 1));
    std::vector<double> score_from(static_cast<size_t>(size + 1));
    for (int64_t p = size - 1; p >= 0; --p) {
      count_from[static_cast<size_t>(p)] =
          count_from[static_cast<size_t>(p + 1)] + Weight(counts, p);
      score_from[static_cast<size_t>(p)] =
          score_from[static_cast<size_t>(p + 1)] + Score(below_, counts, p);
    }
    std::vector<double> losses(static_cast<size_t>(above_.size()));
    ForChunks(parallel_, above_.size(), kPiecePanels, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t a = begin; a < end; ++a) {
        const double number = above_.number[static_cast<size_t>(a)];
        // Lower panels at distance last .. first.
        int64_t from = FirstAtLeast(below_, number - static_cast<double>(table_.last));
        int64_t to = FirstAtLeast(below_, number - static_cast<double>(table_.first) + 1);
        // Beyond 2^53 those sums are rounded; differences of neighbours never are.
        while (from < to && !InReach(number - below_.number[static_cast<size_t>(from)])) ++from;
        while (from < to && !InReach(number - below_.number[static_cast<size_t>(to - 1)])) --to;
        const double far = count_from[static_cast<size_t>(to)];
        double& loss = losses[static_cast<size_t>(a)];
        loss = Weight(weights, a) * (far * table_.margin + score_from[static_cast<size_t>(to)]) -
               far * Score(above_, weights, a);
        const int64_t first = above_.begin[static_cast<size_t>(a)];
        const int64_t last = above_.begin[static_cast<size_t>(a + 1)];
        double value[P] = {}, slope[P] = {};
        const int64_t j = below_.begin[static_cast<size_t>(from)];
        const int64_t k = below_.begin[static_cast<size_t>(to)];
        if (Direct(above_, a, k - j, to - from)) {
          for (int64_t i = first; i < last; ++i) {
            double v, s;
            SumDirectly(upper_.scores[i], 1.0, lower_, j, k, &v, &s);
            const double w = upper_.weights == nullptr ? 1.0 : upper_.weights[i];
            loss += w * v;
            upper_.gradient[i] += w * (s - far);
          }
          continue;
        }
        for (int64_t b = from; b < to; ++b) {
          const auto distance =
              static_cast<int64_t>(number - below_.number[static_cast<size_t>(b)]);
          const double* const moments = &counts[static_cast<size_t>(b * P)];
          Interact(table_.At(table_.value, distance), moments, value);
          Interact(table_.At(table_.slope, distance), moments, slope);
        }
        for (int q = 0; q < P; ++q) loss += weights[static_cast<size_t>(a * P + q)] * value[q];
        // A panel may hold all rows: its evaluation is cut up below.
        if (last - first <= kPieceRows) {
          Evaluate(upper_, number, first, last, slope, 1.0, -far);
        } else {
          const std::vector<double> kept(slope, slope + P);
          ForChunks(parallel_, last - first, kPieceRows, [&](int64_t, int64_t x, int64_t y) {
            Evaluate(upper_, number, first + x, first + y, kept.data(), 1.0, -far);
          });
        }
      }
    });
    double loss = 0;
    for (const double part : losses) loss += part;
    return loss;
  }

  // The gradient of the lower rows.
  void ActOnLower(const std::vector<double>& weights) {
    std::vector<double> weight_before(static_cast<size_t>(above_.size() + 1));
    for (int64_t p = 0; p < above_.size(); ++p) {
      weight_before[static_cast<size_t>(p + 1)] =
          weight_before[static_cast<size_t>(p)] + Weight(weights, p);
    }
    ForChunks(parallel_, below_.size(), kPiecePanels, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const double number = below_.number[static_cast<size_t>(b)];
        int64_t from = FirstAtLeast(above_, number + static_cast<double>(table_.first));
        int64_t to = FirstAtLeast(above_, number + static_cast<double>(table_.last) + 1);
        while (from < to && !InReach(above_.number[static_cast<size_t>(from)] - number)) ++from;
        while (from < to && !InReach(above_.number[static_cast<size_t>(to - 1)] - number)) --to;
        const double far = weight_before[static_cast<size_t>(from)];
        const int64_t first = below_.begin[static_cast<size_t>(b)];
        const int64_t last = below_.begin[static_cast<size_t>(b + 1)];
        const int64_t i = above_.begin[static_cast<size_t>(from)];
        const int64_t k = above_.begin[static_cast<size_t>(to)];
        if (Direct(below_, b, k - i, to - from)) {
          for (int64_t j = first; j < last; ++j) {
            double v, s;
            SumDirectly(lower_.scores[j], -1.0, upper_, i, k, &v, &s);
            lower_.gradient[j] += far - s;
          }
          continue;
        }
        double slope[P] = {};
        for (int64_t a = from; a < to; ++a) {
          const auto distance =
              static_cast<int64_t>(above_.number[static_cast<size_t>(a)] - number);
          Interact(table_.At(table_.slope_transposed, distance),
                   &weights[static_cast<size_t>(a * P)], slope);
        }
        if (last - first <= kPieceRows) {
          Evaluate(lower_, number, first, last, slope, -1.0, -far);
        } else {
          const std::vector<double> kept(slope, slope + P);
          ForChunks(parallel_, last - first, kPieceRows, [&](int64_t, int64_t x, int64_t y) {
            Evaluate(lower_, number, first + x, first + y, kept.data(), -1.0, -far);
          });
        }
      }
    });
  }

  bool InReach(double distance) const {
    return distance >= static_cast<double>(table_.first) &&
           distance <= static_cast<double>(table_.last);
  }

  static int64_t FirstAtLeast(const Panels& panels, double number) {
    return std::lower_bound(panels.number.begin(), panels.number.end(), number) -
           panels.number.begin();
  }

  const PairFunction& f_;
  const PairTable& table_;
  const PairSide upper_, lower_;
  const Parallel& parallel_;
  const Panels above_, below_;
};

}  // namespace

double SumOverPanels(const PairFunction& f, const PairTable& table, const PairSide& upper,
                     const PairSide& lower, const Parallel& parallel) {
  switch (table.order) {
    case 8:
      return PanelSum<8>(f, table, upper, lower, parallel).Run();
    case 12:
      return PanelSum<12>(f, table, upper, lower, parallel).Run();
    default:
      throw std::logic_error("no panel sum of that order");
  }
}

}  // namespace hvdrec
