#include "kernels/pairwise/panels.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "kernels/pairwise/axis.h"
#include "kernels/pairwise/moments.h"

namespace hvdrec {
namespace {

constexpr int64_t kPieceRows = 4096;
constexpr int64_t kPiecePanels = 16;
// Time of one pair in SumDirectly, in multiply-additions of Interact.
constexpr int64_t kDirectCost = 20;

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
    // The contribution of a piece to a panel that began in an earlier one.
    const int64_t pieces = ChunkCount(side.count, kPieceRows);
    std::vector<double> heads(static_cast<size_t>(pieces * P));
    std::vector<int64_t> head_panels(static_cast<size_t>(pieces), -1);
    ForChunks(parallel_, side.count, kPieceRows, [&](int64_t piece, int64_t begin, int64_t end) {
      ForParts(panels, begin, end, [&](int64_t p, int64_t from, int64_t to, bool first) {
        if (!first) head_panels[static_cast<size_t>(piece)] = p;
        double* const out =
            first ? &moments[static_cast<size_t>(p * P)] : &heads[static_cast<size_t>(piece * P)];
        AddMoments<P>(side.scores + from, side.weights == nullptr ? nullptr : side.weights + from,
                      to - from, panels.number[static_cast<size_t>(p)], table_.width, out);
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

  // Sums of w and of w s over a panel, from its moments.
  double Weight(const std::vector<double>& moments, int64_t p) const {
    return moments[static_cast<size_t>(p * P)];
  }
  double Score(const Panels& panels, const std::vector<double>& moments, int64_t p) const {
    return SumOfScores(&moments[static_cast<size_t>(p * P)], panels.number[static_cast<size_t>(p)],
                       table_.width);
  }

  void Evaluate(const PairSide& side, double number, int64_t begin, int64_t end, const double* c,
                double scale, double shift) const {
    AddPotential<P>(side.scores + begin, side.weights == nullptr ? nullptr : side.weights + begin,
                    end - begin, number, table_.width, c, scale, shift, side.gradient + begin);
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
        while (from < to && !table_.InReach(number - below_.number[static_cast<size_t>(from)]))
          ++from;
        while (from < to && !table_.InReach(number - below_.number[static_cast<size_t>(to - 1)]))
          --to;
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
          Interact<P>(table_.At(table_.value, distance), moments, value);
          Interact<P>(table_.At(table_.slope, distance), moments, slope);
        }
        for (int q = 0; q < P; ++q) loss += weights[static_cast<size_t>(a * P + q)] * value[q];
        // A panel may contain all rows: its evaluation is divided below.
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
        while (from < to && !table_.InReach(above_.number[static_cast<size_t>(from)] - number))
          ++from;
        while (from < to && !table_.InReach(above_.number[static_cast<size_t>(to - 1)] - number))
          --to;
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
          Interact<P>(table_.At(table_.slope_transposed, distance),
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
