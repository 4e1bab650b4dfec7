#include "kernels/pairwise/masked.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/base/scratch.h"
#include "kernels/pairwise/axis.h"
#include "kernels/pairwise/moments.h"

namespace hvdrec {
namespace {

// Fewer lower rows than this act one by one at the edge of a run.
constexpr int64_t kBlockRows = 16;
// Upper rows come in a few pieces, each with sums of its own for the lower rows: O(n) memory.
constexpr int64_t kPieces = 8;
constexpr int64_t kPieceRows = 2048;
constexpr int64_t kChunkRows = 4096;
// Time of one pair in AddPairs, in multiply-additions of Interact.
constexpr int64_t kDirectCost = 20;

template <int P>
class MaskedSum {
 public:
  MaskedSum(const PairFunction& f, const PairTable& table, const PairSide& upper,
            const PairSide& lower, const std::vector<PairRun>& runs, double share,
            const Parallel& parallel)
      : f_(f),
        table_(table),
        upper_(upper),
        lower_(lower),
        runs_(runs),
        share_(share),
        parallel_(parallel),
        above_(FindPanels(upper, table.width)),
        below_(FindPanels(lower, table.width)) {}

  double Run() {
    TakeMoments();
    const int64_t size = std::max(ChunkCount(upper_.count, kPieces), kPieceRows);
    std::vector<Piece> pieces(static_cast<size_t>(ChunkCount(upper_.count, size)));
    ForChunks(parallel_, upper_.count, size, [&](int64_t piece, int64_t begin, int64_t end) {
      Piece& p = pieces[static_cast<size_t>(piece)];
      p.rows.assign(static_cast<size_t>(lower_.count), 0.0);
      p.blocks.assign(static_cast<size_t>(block_begin_.back() * P), 0.0);
      p.panels.assign(static_cast<size_t>(below_.size() * P), 0.0);
      p.far.assign(static_cast<size_t>(below_.size() + 1), 0.0);
      ForParts(above_, begin, end,
               [&](int64_t a, int64_t from, int64_t to, bool) { Act(a, from, to, &p); });
    });
    ActOnLower(&pieces);
    double loss = 0;
    for (const Piece& piece : pieces) loss += piece.loss;
    return loss;
  }

 private:
  // The effect of some upper rows on the lower ones.
  struct Piece {
    double loss = 0;
    Scratch<double> rows;        // [lower row]: of pairs one by one, as gradient
    Scratch<double> blocks;      // [block][P]: sums of w f' as coefficients, from that block on
    std::vector<double> panels;  // [panel][P]: the same on all rows of the panel
    std::vector<double> far;     // [panel]: sums of w beyond the table's reach, from that panel on
  };

  // The panels of the lower side that one upper panel acts on, and their effect on it.
  struct Reach {
    int64_t from, to;            // within the table's reach; those from `to` on are linear
    std::vector<double> slopes;  // [from .. to][P]: f' summed over the panels from each one on
    std::vector<double> acting;  // [from .. to][P]: moments of upper rows whose runs begin there
  };

  static void Polynomials(Doubles x, Doubles* t) {
    t[0] = Fill(1.0);
    t[1] = x;
    for (int k = 2; k < P; ++k) t[k] = x * 2.0 * t[k - 1] - t[k - 2];
  }

  int64_t BlockRow(int64_t panel, int64_t block) const {
    return std::min(below_.begin[static_cast<size_t>(panel)] +
                        (block - block_begin_[static_cast<size_t>(panel)]) * kBlockRows,
                    below_.begin[static_cast<size_t>(panel + 1)]);
  }

  const double* Suffix(int64_t block) const { return &suffix_[static_cast<size_t>(block * P)]; }
  const double* PanelMoments(int64_t panel) const {
    return Suffix(block_begin_[static_cast<size_t>(panel)]);
  }

  double Score(int64_t panel, const double* moments) const {
    return SumOfScores(moments, below_.number[static_cast<size_t>(panel)], table_.width);
  }

  // The lower rows' moments, summed from each block to the end of its panel, and sums over panels.
  void TakeMoments() {
    block_begin_.assign(1, 0);
    for (int64_t b = 0; b < below_.size(); ++b) {
      const int64_t rows =
          below_.begin[static_cast<size_t>(b + 1)] - below_.begin[static_cast<size_t>(b)];
      block_begin_.push_back(block_begin_.back() + ChunkCount(rows, kBlockRows));
    }
    suffix_.assign(static_cast<size_t>(block_begin_.back() * P), 0.0);
    ForBlocks([&](int64_t panel, int64_t block) {
      const int64_t first = BlockRow(panel, block);
      AddMoments<P>(lower_.scores + first, nullptr, BlockRow(panel, block + 1) - first,
                    below_.number[static_cast<size_t>(panel)], table_.width,
                    &suffix_[static_cast<size_t>(block * P)]);
    });
    const auto panels = static_cast<size_t>(below_.size());
    count_from_.assign(panels + 1, 0.0);
    score_from_.assign(panels + 1, 0.0);
    for (int64_t b = below_.size() - 1; b >= 0; --b) {
      const int64_t first = block_begin_[static_cast<size_t>(b)];
      for (int64_t block = block_begin_[static_cast<size_t>(b + 1)] - 2; block >= first; --block) {
        for (int k = 0; k < P; ++k) {
          suffix_[static_cast<size_t>(block * P + k)] +=
              suffix_[static_cast<size_t>((block + 1) * P + k)];
        }
      }
      const auto at = static_cast<size_t>(b);
      count_from_[at] = count_from_[at + 1] + PanelMoments(b)[0];
      score_from_[at] = score_from_[at + 1] + Score(b, PanelMoments(b));
    }
  }

  int64_t PanelOfBlock(int64_t block) const {
    return std::upper_bound(block_begin_.begin(), block_begin_.end(), block) -
           block_begin_.begin() - 1;
  }

  // Calls body(panel, block) for all blocks of lower rows.
  template <typename Body>
  void ForBlocks(const Body& body) const {
    ForChunks(parallel_, block_begin_.back(), kChunkRows / kBlockRows,
              [&](int64_t, int64_t begin, int64_t end) {
                int64_t panel = PanelOfBlock(begin);
                for (int64_t block = begin; block < end; ++block) {
                  while (block >= block_begin_[static_cast<size_t>(panel + 1)]) ++panel;
                  body(panel, block);
                }
              });
  }

  // Everything that upper rows begin .. end of panel `a` take part in.
  void Act(int64_t a, int64_t begin, int64_t end, Piece* piece) const {
    const double number = above_.number[static_cast<size_t>(a)];
    Reach reach = Within(number);
    int64_t least = lower_.count;
    for (int64_t i = begin; i < end; ++i) {
      least = std::min(least, runs_[static_cast<size_t>(i)].some);
    }
    if (least == lower_.count) return;
    reach.from = std::clamp(PanelOfRow(least), reach.from, reach.to);
    const int64_t rows =
        below_.begin[static_cast<size_t>(reach.to)] - below_.begin[static_cast<size_t>(reach.from)];
    const bool direct = (end - begin) * rows * kDirectCost < (reach.to - reach.from) * P * P;
    if (!direct) SumSlopes(number, &reach);
    for (int64_t i = begin; i < end; i += kLanes) {
      const int64_t left = std::min<int64_t>(end - i, kLanes);
      Doubles lanes[P];
      Polynomials(PanelCoordinate(LoadSome(upper_.scores + i, left, upper_.scores[i]), number,
                                  table_.width),
                  lanes);
      for (int64_t lane = 0; lane < left; ++lane) {
        double t[P];
        for (int k = 0; k < P; ++k) t[k] = lanes[k][lane];
        ActRow(i + lane, number, t, direct, &reach, piece);
      }
    }
    if (!direct) SumActing(number, reach, piece);
  }

  int64_t PanelOfRow(int64_t row) const {
    return std::upper_bound(below_.begin.begin(), below_.begin.end(), row) - below_.begin.begin() -
           1;
  }

  Reach Within(double number) const {
    Reach reach;
    reach.from = FirstAtLeast(below_, number - static_cast<double>(table_.last));
    reach.to = FirstAtLeast(below_, number - static_cast<double>(table_.first) + 1);
    // Beyond 2^53 those sums are rounded; differences of neighbours never are.
    const auto outside = [&](int64_t b) {
      return !table_.InReach(number - below_.number[static_cast<size_t>(b)]);
    };
    while (reach.from < reach.to && outside(reach.from)) ++reach.from;
    while (reach.from < reach.to && outside(reach.to - 1)) --reach.to;
    return reach;
  }

  int64_t Distance(double number, int64_t b) const {
    return static_cast<int64_t>(number - below_.number[static_cast<size_t>(b)]);
  }

  void SumSlopes(double number, Reach* reach) const {
    const auto size = static_cast<size_t>((reach->to - reach->from + 1) * P);
    reach->slopes.assign(size, 0.0);
    reach->acting.assign(size, 0.0);
    for (int64_t b = reach->to - 1; b >= reach->from; --b) {
      double* const out = &reach->slopes[static_cast<size_t>((b - reach->from) * P)];
      std::copy(out + P, out + 2 * P, out);
      Interact<P>(table_.At(table_.slope, Distance(number, b)), PanelMoments(b), out);
    }
  }

  // Upper row i with the polynomials `t` at its position in its panel.
  void ActRow(int64_t i, double number, const double* t, bool direct, Reach* reach,
              Piece* piece) const {
    const double weight = upper_.weights == nullptr ? 1.0 : upper_.weights[i];
    const PairRun& run = runs_[static_cast<size_t>(i)];
    if (weight == 0 || run.some == lower_.count) return;
    double gradient = 0;
    const auto act = [&](int64_t first, double w) {
      if (first == lower_.count || w == 0) return;
      gradient += ActFrom(i, first, w, number, t, direct, reach, piece);
    };
    if (run.some == run.all) {
      act(run.all, weight);
    } else {
      act(run.some, weight * share_);
      act(run.all, weight * (1 - share_));
    }
    upper_.gradient[i] += gradient;
  }

  // The pairs of upper row i with the lower rows from `first` on, weighted w; returns i's gradient.
  double ActFrom(int64_t i, int64_t first, double w, double number, const double* t, bool direct,
                 Reach* reach, Piece* piece) const {
    const double score = upper_.scores[i];
    PairSum pairs{0, 0};
    int64_t next;  // the first panel that acts as a whole
    if (direct && first < below_.begin[static_cast<size_t>(reach->to)]) {
      const int64_t begin = std::max(first, below_.begin[static_cast<size_t>(reach->from)]);
      next = reach->to;
      pairs = AddPairs(f_, score, w, lower_.scores + begin, piece->rows.data() + begin,
                       below_.begin[static_cast<size_t>(next)] - begin);
    } else {
      const int64_t edge = PanelOfRow(first);
      pairs = ActOnEdge(edge, score, first, w, number, t, piece);
      next = std::max(edge + 1, reach->from);
      if (next < reach->to) {
        const auto at = static_cast<size_t>((next - reach->from) * P);
        for (int k = 0; k < P; ++k) pairs.slope += reach->slopes[at + k] * t[k];
        for (int k = 0; k < P; ++k) reach->acting[at + k] += w * t[k];
        next = reach->to;
      }
    }
    const double far = count_from_[static_cast<size_t>(next)];
    pairs.value += far * table_.margin + score_from_[static_cast<size_t>(next)] - far * score;
    piece->far[static_cast<size_t>(next)] += w;
    piece->loss += w * pairs.value;
    return w * (pairs.slope - far);
  }

  // The pairs with the rows of one lower panel from `first` on.
  PairSum ActOnEdge(int64_t panel, double score, int64_t first, double w, double number,
                    const double* t, Piece* piece) const {
    const int64_t begin = below_.begin[static_cast<size_t>(panel)];
    const int64_t block =
        block_begin_[static_cast<size_t>(panel)] + ChunkCount(first - begin, kBlockRows);
    const int64_t whole = BlockRow(panel, block);
    PairSum pairs{0, 0};
    if (first < whole) {
      pairs =
          AddPairs(f_, score, w, lower_.scores + first, piece->rows.data() + first, whole - first);
    }
    if (block == block_begin_[static_cast<size_t>(panel + 1)]) return pairs;
    const double* const moments = Suffix(block);
    double* const acting = &piece->blocks[static_cast<size_t>(block * P)];
    const double distance = number - below_.number[static_cast<size_t>(panel)];
    if (table_.InReach(distance)) {
      const auto d = static_cast<int64_t>(distance);
      double value[P] = {}, slope[P] = {};
      Interact<P>(table_.At(table_.value, d), moments, value);
      Interact<P>(table_.At(table_.slope_transposed, d), t, slope);
      for (int k = 0; k < P; ++k) {
        pairs.value += value[k] * t[k];
        pairs.slope += slope[k] * moments[k];
        acting[k] += w * slope[k];
      }
    } else if (distance < static_cast<double>(table_.first)) {
      pairs.value += moments[0] * (table_.margin - score) + Score(panel, moments);
      pairs.slope -= moments[0];
      acting[0] -= w;
    }
    return pairs;
  }

  // Lets the upper rows' moments act on the lower panels within reach.
  void SumActing(double number, const Reach& reach, Piece* piece) const {
    double acting[P] = {};
    for (int64_t b = reach.from; b < reach.to; ++b) {
      for (int k = 0; k < P; ++k) {
        acting[k] += reach.acting[static_cast<size_t>((b - reach.from) * P + k)];
      }
      const int64_t distance = Distance(number, b);
      double value[P] = {};
      Interact<P>(table_.At(table_.value, distance), PanelMoments(b), value);
      for (int k = 0; k < P; ++k) piece->loss += value[k] * acting[k];
      Interact<P>(table_.At(table_.slope_transposed, distance), acting,
                  &piece->panels[static_cast<size_t>(b * P)]);
    }
  }

  // The gradient of the lower rows.
  void ActOnLower(std::vector<Piece>* pieces) const {
    Piece& sum = pieces->front();
    const int64_t blocks = block_begin_.back();
    for (size_t p = 1; p < pieces->size(); ++p) {
      Accumulate((*pieces)[p].far, &sum.far);
      Accumulate((*pieces)[p].panels, &sum.panels);
    }
    ForChunks(parallel_, blocks * P, kChunkRows, [&](int64_t, int64_t begin, int64_t end) {
      for (size_t p = 1; p < pieces->size(); ++p) {
        for (int64_t k = begin; k < end; ++k) {
          sum.blocks[static_cast<size_t>(k)] += (*pieces)[p].blocks[static_cast<size_t>(k)];
        }
      }
    });
    double far = 0;
    for (int64_t b = 0; b < below_.size(); ++b) {
      far += sum.far[static_cast<size_t>(b)];
      double* coefficients = &sum.panels[static_cast<size_t>(b * P)];
      coefficients[0] -= far;
      for (int64_t block = block_begin_[static_cast<size_t>(b)];
           block < block_begin_[static_cast<size_t>(b + 1)]; ++block) {
        double* const own = &sum.blocks[static_cast<size_t>(block * P)];
        for (int k = 0; k < P; ++k) own[k] += coefficients[k];
        coefficients = own;
      }
    }
    ForBlocks([&](int64_t panel, int64_t block) { ActOnBlock(panel, block, *pieces); });
  }

  static void Accumulate(const std::vector<double>& from, std::vector<double>* to) {
    for (size_t k = 0; k < from.size(); ++k) (*to)[k] += from[k];
  }

  void ActOnBlock(int64_t panel, int64_t block, const std::vector<Piece>& pieces) const {
    const int64_t first = BlockRow(panel, block), end = BlockRow(panel, block + 1);
    AddPotential<P>(lower_.scores + first, nullptr, end - first,
                    below_.number[static_cast<size_t>(panel)], table_.width,
                    &pieces.front().blocks[static_cast<size_t>(block * P)], -1.0, 0.0,
                    lower_.gradient + first);
    for (const Piece& piece : pieces) {
      for (int64_t j = first; j < end; ++j) {
        lower_.gradient[j] += piece.rows[static_cast<size_t>(j)];
      }
    }
  }

  const PairFunction& f_;
  const PairTable& table_;
  const PairSide upper_, lower_;
  const std::vector<PairRun>& runs_;
  const double share_;
  const Parallel& parallel_;
  const Panels above_, below_;
  std::vector<int64_t> block_begin_;             // of each lower panel; one more at the end
  Scratch<double> suffix_;                       // [block][P]
  std::vector<double> count_from_, score_from_;  // [panel + 1]
};

}  // namespace

double SumOverMaskedPanels(const PairFunction& f, const PairTable& table, const PairSide& upper,
                           const PairSide& lower, const std::vector<PairRun>& runs, double share,
                           const Parallel& parallel) {
  if (upper.count == 0 || lower.count == 0) return 0;
  switch (table.order) {
    case 8:
      return MaskedSum<8>(f, table, upper, lower, runs, share, parallel).Run();
    case 12:
      return MaskedSum<12>(f, table, upper, lower, runs, share, parallel).Run();
    default:
      throw std::logic_error("no masked panel sum of that order");
  }
}

}  // namespace hvdrec
