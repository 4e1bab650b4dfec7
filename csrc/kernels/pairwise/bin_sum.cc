#include "kernels/pairwise/bin_sum.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <type_traits>

#include "kernels/pairwise/moments.h"

namespace hvdrec {
namespace {

constexpr int64_t kChunk = 1 << 14;
constexpr int64_t kPieceRows = 4096;
constexpr int64_t kPieceBins = 16;

// Which of `all` each of `some` is, both sorted.
std::vector<int64_t> Places(const std::vector<PairBin>& some, const std::vector<PairBin>& all) {
  std::vector<int64_t> places;
  auto at = all.begin();
  for (const PairBin& bin : some) {
    at = std::lower_bound(at, all.end(), bin, ComesBefore);
    if (at == all.end() || !SameBin(*at, bin)) throw std::invalid_argument("a bin is missing");
    places.push_back(at - all.begin());
  }
  return places;
}

// The rows of this process in the order of bins, divided into pieces of one bin each.
struct BinnedRows {
  struct Piece {
    int64_t bin;  // of all
    int64_t begin, end;
  };

  template <typename T>
  BinnedRows(const PairwiseRows<T>& rows, const PairwiseOptions& options, const PairBinRows& own,
             const std::vector<PairBin>& all, const Parallel& parallel) {
    const std::vector<int64_t> places = Places(own.bins, all);
    int64_t end = 0;
    for (size_t c = 0; c < own.bins.size(); ++c) {
      int64_t begin = end;
      end += static_cast<int64_t>(own.bins[c].rows);
      for (; begin < end; begin += kPieceRows) {
        pieces.push_back({places[c], begin, std::min(begin + kPieceRows, end)});
      }
    }
    if (end != rows.count || own.order.size() != static_cast<size_t>(rows.count)) {
      throw std::invalid_argument("the bins do not match the rows");
    }
    scores.resize(own.order.size());
    if (rows.weights != nullptr) weights.resize(own.order.size());
    ForChunks(parallel, rows.count, kChunk, [&](int64_t, int64_t from, int64_t to) {
      for (int64_t k = from; k < to; ++k) {
        const int32_t row = own.order[static_cast<size_t>(k)];
        if (row < 0 || row >= rows.count)
          throw std::invalid_argument("a row index is out of range");
        scores[static_cast<size_t>(k)] = BinScore(rows, options, row);
        if (rows.weights != nullptr) weights[static_cast<size_t>(k)] = rows.weights[row];
      }
    });
  }

  const double* Weights(int64_t at) const {
    return weights.empty() ? nullptr : weights.data() + at;
  }

  std::vector<Piece> pieces;
  std::vector<double> scores, weights;
};

template <int P>
std::vector<double> Moments(const BinnedRows& lined, const std::vector<PairBin>& all, double width,
                            int64_t kinds, const Parallel& parallel) {
  const auto size = static_cast<size_t>(kinds * P);
  std::vector<double> parts(lined.pieces.size() * size);
  parallel.Run(static_cast<int64_t>(lined.pieces.size()), [&](int64_t p) {
    const BinnedRows::Piece& piece = lined.pieces[static_cast<size_t>(p)];
    const double panel = all[static_cast<size_t>(piece.bin)].panel;
    const double* const scores = lined.scores.data() + piece.begin;
    double* const out = &parts[static_cast<size_t>(p) * size];
    AddMoments<P>(scores, lined.Weights(piece.begin), piece.end - piece.begin, panel, width, out);
    if (kinds == 2) {
      AddMoments<P>(scores, nullptr, piece.end - piece.begin, panel, width, out + P);
    }
  });
  std::vector<double> moments(all.size() * size);
  for (size_t p = 0; p < lined.pieces.size(); ++p) {
    double* const out = &moments[static_cast<size_t>(lined.pieces[p].bin) * size];
    for (size_t k = 0; k < size; ++k) out[k] += parts[p * size + k];
  }
  return moments;
}

// What acts on the rows of one bin: lower rows on them as upper ones, and upper rows on them as
// lower ones. Coefficients of the slopes within reach, and the weight of the rows beyond it.
template <int P>
struct Potential {
  double up[P] = {}, down[P] = {};
  double far_up = 0, far_down = 0;
  double loss = 0;
};

template <int P>
class BinSum {
 public:
  BinSum(const PairTable& table, const std::vector<PairBin>& all, const double* moments,
         int64_t kinds, const std::vector<bool>& own, const Parallel& parallel)
      : table_(table),
        all_(all),
        moments_(moments),
        kinds_(kinds),
        own_(own),
        parallel_(parallel),
        potentials_(all.size()) {
    for (const PairBin& bin : all) panels_.push_back(bin.panel);
    std::sort(panels_.begin(), panels_.end());
    panels_.erase(std::unique(panels_.begin(), panels_.end()), panels_.end());
    for (int64_t c = 0; c < count(); ++c) {
      if (c == 0 || all[At(c)].label != all[At(c - 1)].label) grades_.push_back(c);
    }
    grades_.push_back(count());
  }

  // The potentials of all bins.
  const std::vector<Potential<P>>& Run() {
    const int64_t grades = static_cast<int64_t>(grades_.size()) - 1;
    Reset();
    for (int64_t g = 0; g < grades; ++g) {
      if (g > 0) ActOnUpper(grades_[At(g)], grades_[At(g + 1)]);
      AddGrade(g, kinds_ - 1);
    }
    Reset();
    for (int64_t g = grades - 1; g >= 0; --g) {
      if (g < grades - 1) ActOnLower(grades_[At(g)], grades_[At(g + 1)]);
      AddGrade(g, 0);
    }
    return potentials_;
  }

 private:
  static size_t At(int64_t i) { return static_cast<size_t>(i); }
  int64_t count() const { return static_cast<int64_t>(all_.size()); }
  int64_t panel_count() const { return static_cast<int64_t>(panels_.size()); }
  const double* Of(int64_t bin, int64_t kind) const { return moments_ + (bin * kinds_ + kind) * P; }
  int64_t FirstAtLeast(double panel) const {
    return std::lower_bound(panels_.begin(), panels_.end(), panel) - panels_.begin();
  }

  void Reset() {
    rows_.assign(panels_.size(), 0.0);
    sums_.assign(panels_.size() * P, 0.0);
  }

  // Adds the rows of a grade to those that act.
  void AddGrade(int64_t grade, int64_t kind) {
    for (int64_t c = grades_[At(grade)]; c < grades_[At(grade + 1)]; ++c) {
      const int64_t p = FirstAtLeast(all_[At(c)].panel);
      rows_[At(p)] += all_[At(c)].rows;
      for (int k = 0; k < P; ++k) sums_[At(p * P + k)] += Of(c, kind)[k];
    }
  }

  struct Reach {
    int64_t from, to;
  };

  // The panels at distance low .. high above `panel`.
  Reach Within(double panel, int64_t low, int64_t high) const {
    const auto first = static_cast<double>(low), last = static_cast<double>(high);
    Reach reach{FirstAtLeast(panel + first), FirstAtLeast(panel + last + 1)};
    // Beyond 2^53 those sums are rounded; differences of neighbours never are.
    const auto in = [&](int64_t p) {
      const double distance = panels_[At(p)] - panel;
      return distance >= first && distance <= last;
    };
    while (reach.from < reach.to && !in(reach.from)) ++reach.from;
    while (reach.from < reach.to && !in(reach.to - 1)) --reach.to;
    return reach;
  }

  void ActOnUpper(int64_t begin, int64_t end) {
    // Over the panels from each one on: rows and sum of scores.
    std::vector<double> count_from(panels_.size() + 1), score_from(panels_.size() + 1);
    for (int64_t p = panel_count() - 1; p >= 0; --p) {
      count_from[At(p)] = count_from[At(p + 1)] + sums_[At(p * P)];
      score_from[At(p)] =
          score_from[At(p + 1)] + SumOfScores(&sums_[At(p * P)], panels_[At(p)], table_.width);
    }
    ForChunks(parallel_, end - begin, kPieceBins, [&](int64_t, int64_t x, int64_t y) {
      for (int64_t c = begin + x; c < begin + y; ++c) {
        const double panel = all_[At(c)].panel;
        const Reach reach = Within(panel, -table_.last, -table_.first);
        Potential<P>& out = potentials_[At(c)];
        const double* const weights = Of(c, 0);
        out.far_up = count_from[At(reach.to)];
        out.loss = weights[0] * (out.far_up * table_.margin + score_from[At(reach.to)]) -
                   out.far_up * SumOfScores(weights, panel, table_.width);
        double value[P] = {};
        for (int64_t p = reach.from; p < reach.to; ++p) {
          if (rows_[At(p)] == 0) continue;
          const auto distance = static_cast<int64_t>(panel - panels_[At(p)]);
          Interact<P>(table_.At(table_.value, distance), &sums_[At(p * P)], value);
          if (own_[At(c)])
            Interact<P>(table_.At(table_.slope, distance), &sums_[At(p * P)], out.up);
        }
        for (int k = 0; k < P; ++k) out.loss += weights[k] * value[k];
      }
    });
  }

  void ActOnLower(int64_t begin, int64_t end) {
    std::vector<double> weight_before(panels_.size() + 1);
    for (int64_t p = 0; p < panel_count(); ++p) {
      weight_before[At(p + 1)] = weight_before[At(p)] + sums_[At(p * P)];
    }
    ForChunks(parallel_, end - begin, kPieceBins, [&](int64_t, int64_t x, int64_t y) {
      for (int64_t c = begin + x; c < begin + y; ++c) {
        if (!own_[At(c)]) continue;
        const double panel = all_[At(c)].panel;
        const Reach reach = Within(panel, table_.first, table_.last);
        Potential<P>& out = potentials_[At(c)];
        out.far_down = weight_before[At(reach.from)];
        for (int64_t p = reach.from; p < reach.to; ++p) {
          if (rows_[At(p)] == 0) continue;
          const auto distance = static_cast<int64_t>(panels_[At(p)] - panel);
          Interact<P>(table_.At(table_.slope_transposed, distance), &sums_[At(p * P)], out.down);
        }
      }
    });
  }

  const PairTable& table_;
  const std::vector<PairBin>& all_;
  const double* const moments_;
  const int64_t kinds_;
  const std::vector<bool>& own_;
  const Parallel& parallel_;
  std::vector<double> panels_;       // distinct, rising
  std::vector<int64_t> grades_;      // first bin of each label; one more at the end
  std::vector<double> rows_, sums_;  // by panel, of what acts: rows, and moments [panel][P]
  std::vector<Potential<P>> potentials_;
};

// The loss, not yet divided; adds the gradient of the lined rows.
template <int P>
double Act(const PairTable& table, const BinnedRows& lined, const std::vector<PairBin>& all,
           const double* moments, int64_t kinds, const Parallel& parallel, double* gradient) {
  std::vector<bool> own(all.size());
  for (const BinnedRows::Piece& piece : lined.pieces) own[static_cast<size_t>(piece.bin)] = true;
  BinSum<P> sum(table, all, moments, kinds, own, parallel);
  const std::vector<Potential<P>>& potentials = sum.Run();
  parallel.Run(static_cast<int64_t>(lined.pieces.size()), [&](int64_t p) {
    const BinnedRows::Piece& piece = lined.pieces[static_cast<size_t>(p)];
    const Potential<P>& potential = potentials[static_cast<size_t>(piece.bin)];
    const double panel = all[static_cast<size_t>(piece.bin)].panel;
    const auto add = [&](const double* weights, const double* c, double scale, double far) {
      AddPotential<P>(lined.scores.data() + piece.begin, weights, piece.end - piece.begin, panel,
                      table.width, c, scale, far, gradient + piece.begin);
    };
    add(lined.Weights(piece.begin), potential.up, 1.0, -potential.far_up);
    add(nullptr, potential.down, -1.0, -potential.far_down);
  });
  double loss = 0;
  for (const Potential<P>& potential : potentials) loss += potential.loss;
  return loss;
}

// Pairs whose upper row has a weight that isn't 0.
double CountPairs(const std::vector<PairBin>& all) {
  double pairs = 0, lower = 0, same = 0;
  for (size_t c = 0; c < all.size(); ++c) {
    if (c > 0 && all[c].label != all[c - 1].label) {
      lower += same;
      same = 0;
    }
    pairs += all[c].weighing * lower;
    same += all[c].rows;
  }
  return pairs;
}

// Calls body(std::integral_constant<int, P>) for the order of a table.
template <typename Body>
auto WithOrder(int order, const Body& body) {
  switch (order) {
    case 8:
      return body(std::integral_constant<int, 8>());
    case 12:
      return body(std::integral_constant<int, 12>());
    default:
      throw std::logic_error("no panel sum of that order");
  }
}

}  // namespace

template <typename T>
int64_t MomentsPerBin(const PairwiseRows<T>& rows, const PairwiseOptions& options) {
  return (rows.weights == nullptr ? 1 : 2) * BinPanels(rows, options)->order;
}

template <typename T>
std::vector<double> BinMoments(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                               const PairBinRows& own, const std::vector<PairBin>& all,
                               const Parallel& parallel) {
  const auto table = BinPanels(rows, options);
  const BinnedRows lined(rows, options, own, all, parallel);
  const int64_t kinds = rows.weights == nullptr ? 1 : 2;
  return WithOrder(table->order, [&](auto order) {
    return Moments<decltype(order)::value>(lined, all, table->width, kinds, parallel);
  });
}

template <typename T>
PairwiseResult SumOverBins(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                           const PairBinRows& own, const std::vector<PairBin>& all,
                           const double* moments, const Parallel& parallel, T* gradient) {
  const auto table = BinPanels(rows, options);
  const BinnedRows lined(rows, options, own, all, parallel);
  const int64_t kinds = rows.weights == nullptr ? 1 : 2;
  std::vector<double> sums(static_cast<size_t>(rows.count));
  PairwiseResult result;
  result.pairs = CountPairs(all);
  const double scale = result.pairs > 0 ? 1 / result.pairs : 0;
  result.loss = scale * WithOrder(table->order, [&](auto order) {
                  return Act<decltype(order)::value>(*table, lined, all, moments, kinds, parallel,
                                                     sums.data());
                });
  ForChunks(parallel, rows.count, kChunk, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      gradient[own.order[static_cast<size_t>(k)]] =
          static_cast<T>(sums[static_cast<size_t>(k)] * (scale / options.temperature));
    }
  });
  return result;
}

#define HVDREC_CELLS(T)                                                                       \
  template int64_t MomentsPerBin<T>(const PairwiseRows<T>&, const PairwiseOptions&);          \
  template std::vector<double> BinMoments<T>(const PairwiseRows<T>&, const PairwiseOptions&,  \
                                             const PairBinRows&, const std::vector<PairBin>&, \
                                             const Parallel&);                                \
  template PairwiseResult SumOverBins<T>(const PairwiseRows<T>&, const PairwiseOptions&,      \
                                         const PairBinRows&, const std::vector<PairBin>&,     \
                                         const double*, const Parallel&, T*)
HVDREC_CELLS(float);
HVDREC_CELLS(double);
#undef HVDREC_CELLS

}  // namespace hvdrec
