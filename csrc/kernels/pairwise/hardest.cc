#include "kernels/pairwise/hardest.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace hvdrec {
namespace {

constexpr int64_t kPieceRows = 2048;

// Maps doubles to integers in the same order, and back.
int64_t Rank(double value) {
  int64_t bits;
  value += 0.0;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits < 0 ? std::numeric_limits<int64_t>::min() - bits : bits;
}

double Unrank(int64_t rank) {
  const int64_t bits = rank < 0 ? std::numeric_limits<int64_t>::min() - rank : rank;
  double value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// The first position in first .. last where `test`, which is false and then true, is true; `last`
// if there is none. Searches around `guess` first, because the next row's position is near the last
// row's.
template <typename Test>
int64_t Search(int64_t first, int64_t last, int64_t guess, const Test& test) {
  guess = std::clamp(guess, first, last);
  int64_t low = first, high = last;
  if (guess < last && !test(guess)) {
    low = guess + 1;
    for (int64_t step = 1; low + step < last; step *= 2) {
      if (test(low + step)) {
        high = low + step;
        break;
      }
      low += step + 1;
      if (low >= last) return last;
    }
  } else {
    high = guess;
    for (int64_t step = 1; high - step >= first; step *= 2) {
      if (!test(high - step)) {
        low = high - step + 1;
        break;
      }
      high -= step;
    }
  }
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (test(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

// Pieces of upper rows over all cuts.
struct Piece {
  int64_t cut, begin, end;
};

std::vector<Piece> Pieces(const std::vector<PairCut>& cuts) {
  std::vector<Piece> pieces;
  for (size_t c = 0; c < cuts.size(); ++c) {
    for (int64_t begin = 0; begin < cuts[c].upper.count; begin += kPieceRows) {
      pieces.push_back(
          {static_cast<int64_t>(c), begin, std::min(begin + kPieceRows, cuts[c].upper.count)});
    }
  }
  return pieces;
}

// The hardness of pairs, as numbers that increase along the lower side.
class Hardness {
 public:
  Hardness(const PairFunction& f, bool weighted) : f_(f), weighted_(weighted) {}

  double operator()(const PairCut& cut, int64_t i, int64_t j) const {
    const double lead = cut.upper.scores[i] - cut.lower.scores[j];
    return weighted_ ? Weighted(Fill(lead), Fill(cut.upper.weights[i]))[0] : -lead;
  }

  // Of several pairs, with weights.
  Doubles Weighted(Doubles leads, Doubles weights) const {
    Doubles value = f_.margin - leads, slope;
    if (f_.loss != PairLoss::kHinge) f_(leads, &value, &slope);
    return weights * value;
  }

 private:
  const PairFunction& f_;
  const bool weighted_;
};

// Bisection for the hardness that a given number of pairs reaches, all rows at once: each row keeps
// the two positions between which its edge is, and no longer takes part once they are equal.
class Selection {
 public:
  Selection(const PairFunction& f, std::vector<PairCut>* cuts, const Parallel& parallel)
      : cuts_(*cuts),
        parallel_(parallel),
        weighted_(!cuts->empty() && cuts->front().upper.weights != nullptr),
        hardness_(f, weighted_) {
    for (const Piece& piece : Pieces(*cuts)) pieces_.push_back({piece, {}, 0, 0, 0, 0});
  }

  // Sets each row's run: the pairs with the last place's hardness are in some .. all, harder ones
  // from `all` on. `kept` is at least 1 and at most the pairs there are.
  HardestPairs Keep(int64_t kept) {
    Open();
    int64_t low = Rank(std::numeric_limits<double>::infinity()), high = -low;
    for (const OpenPiece& piece : pieces_) {
      low = std::min(low, piece.least);
      high = std::max(high, piece.most + 1);
    }
    while (high - 1 > low) {
      const int64_t middle = low / 2 + high / 2 + (low % 2 + high % 2) / 2;
      const bool reached = Count(Unrank(middle)) >= kept;
      (reached ? low : high) = middle;
      Narrow(reached);
    }
    HardestPairs hardest;
    hardest.kept = kept;
    int64_t reached = 0, harder = 0;
    for (OpenPiece& piece : pieces_) {
      PairCut& cut = cuts_[static_cast<size_t>(piece.rows.cut)];
      reached += piece.closed;
      harder += piece.closed;
      for (const OpenRow& row : piece.open) {
        cut.runs[static_cast<size_t>(row.row)] = {row.low, row.high};
        reached += cut.lower.count - row.low;
        harder += cut.lower.count - row.high;
      }
    }
    hardest.share = static_cast<double>(kept - harder) / static_cast<double>(reached - harder);
    return hardest;
  }

 private:
  struct OpenRow {
    int64_t row;
    int64_t low, high;  // places from which on pairs reach the bounds of the bisection
    int64_t middle;
  };
  struct OpenPiece {
    Piece rows;
    std::vector<OpenRow> open;
    int64_t closed;       // pairs of rows that are no longer open
    int64_t least, most;  // ranks of the hardness of the pairs
    int64_t reached;
  };

  void Open() {
    ForPieces([&](OpenPiece* piece, PairCut* cut) {
      piece->least = Rank(std::numeric_limits<double>::infinity());
      piece->most = -piece->least;
      for (int64_t i = piece->rows.begin; i < piece->rows.end; ++i) {
        const int64_t first = cut->runs[static_cast<size_t>(i)].some, last = cut->lower.count;
        if (first == last) continue;
        piece->open.push_back({i, first, last, first});
        piece->least = std::min(piece->least, Rank(hardness_(*cut, i, first)));
        piece->most = std::max(piece->most, Rank(hardness_(*cut, i, last - 1)));
      }
    });
  }

  // The number of pairs that are at least this hard.
  int64_t Count(double least) {
    ForPieces([&](OpenPiece* piece, PairCut* cut) {
      piece->reached = piece->closed;
      if (weighted_) {
        for (size_t r = 0; r < piece->open.size(); r += kLanes) {
          SearchWeighted(*cut, least, &piece->open[r],
                         std::min<size_t>(piece->open.size() - r, kLanes));
        }
      } else {
        SearchLeads(*cut, least, &piece->open);
      }
      for (const OpenRow& row : piece->open) piece->reached += cut->lower.count - row.middle;
    });
    int64_t sum = 0;
    for (const OpenPiece& piece : pieces_) sum += piece.reached;
    return sum;
  }

  void SearchLeads(const PairCut& cut, double least, std::vector<OpenRow>* rows) const {
    int64_t place = 0;  // a row's edge is near that of the row before
    for (OpenRow& row : *rows) {
      place = Search(row.low, row.high, place,
                     [&](int64_t j) { return hardness_(cut, row.row, j) >= least; });
      row.middle = place;
    }
  }

  // A few rows at once, like the computation of losses: one takes as long as kLanes.
  void SearchWeighted(const PairCut& cut, double least, OpenRow* rows, size_t count) const {
    int64_t low[kLanes], high[kLanes], middle[kLanes];
    Doubles scores = Fill(0.0), weights = Fill(0.0);
    for (size_t k = 0; k < count; ++k) {
      low[k] = rows[k].low;
      high[k] = rows[k].high;
      scores[k] = cut.upper.scores[rows[k].row];
      weights[k] = cut.upper.weights[rows[k].row];
    }
    for (bool open = true; open;) {
      Doubles leads = Fill(0.0);
      open = false;
      for (size_t k = 0; k < count; ++k) {
        middle[k] = low[k] + (high[k] - low[k]) / 2;
        if (low[k] == high[k]) continue;
        leads[k] = scores[k] - cut.lower.scores[middle[k]];
        open = true;
      }
      const Doubles hardness = hardness_.Weighted(leads, weights);
      for (size_t k = 0; k < count; ++k) {
        if (low[k] == high[k]) continue;
        (hardness[k] >= least ? high[k] : low[k]) = middle[k] + (hardness[k] < least);
      }
    }
    for (size_t k = 0; k < count; ++k) rows[k].middle = low[k];
  }

  void Narrow(bool from_below) {
    ForPieces([&](OpenPiece* piece, PairCut* cut) {
      size_t left = 0;
      for (OpenRow row : piece->open) {
        (from_below ? row.low : row.high) = row.middle;
        if (row.low < row.high) {
          piece->open[left++] = row;
        } else {
          cut->runs[static_cast<size_t>(row.row)] = {row.low, row.low};
          piece->closed += cut->lower.count - row.low;
        }
      }
      piece->open.resize(left);
    });
  }

  template <typename Body>
  void ForPieces(const Body& body) {
    parallel_.Run(static_cast<int64_t>(pieces_.size()), [&](int64_t p) {
      OpenPiece& piece = pieces_[static_cast<size_t>(p)];
      body(&piece, &cuts_[static_cast<size_t>(piece.rows.cut)]);
    });
  }

  std::vector<PairCut>& cuts_;
  const Parallel& parallel_;
  const bool weighted_;
  const Hardness hardness_;
  std::vector<OpenPiece> pieces_;
};

}  // namespace

void CutAtLead(double limit, std::vector<PairCut>* cuts, const Parallel& parallel) {
  const std::vector<Piece> pieces = Pieces(*cuts);
  parallel.Run(static_cast<int64_t>(pieces.size()), [&](int64_t p) {
    const Piece& piece = pieces[static_cast<size_t>(p)];
    PairCut& cut = (*cuts)[static_cast<size_t>(piece.cut)];
    int64_t first = 0;
    for (int64_t i = piece.begin; i < piece.end; ++i) {
      PairRun& run = cut.runs[static_cast<size_t>(i)];
      first = Search(run.some, cut.lower.count, first,
                     [&](int64_t j) { return cut.upper.scores[i] - cut.lower.scores[j] < limit; });
      run = {first, first};
    }
  });
}

int64_t CountPairs(const std::vector<PairCut>& cuts, bool weighted) {
  int64_t count = 0;
  for (const PairCut& cut : cuts) {
    for (int64_t i = 0; i < cut.upper.count; ++i) {
      if (weighted && cut.upper.weights != nullptr && cut.upper.weights[i] == 0) continue;
      count += cut.lower.count - cut.runs[static_cast<size_t>(i)].some;
    }
  }
  return count;
}

HardestPairs KeepHardest(const PairFunction& f, int64_t count, std::vector<PairCut>* cuts,
                         const Parallel& parallel) {
  CutAtLead(f.margin + f.Reach(), cuts, parallel);  // only losses above 0 are kept
  for (PairCut& cut : *cuts) {
    for (int64_t i = 0; cut.upper.weights != nullptr && i < cut.upper.count; ++i) {
      if (!(cut.upper.weights[i] > 0)) {
        cut.runs[static_cast<size_t>(i)] = {cut.lower.count, cut.lower.count};
      }
    }
  }
  HardestPairs hardest;
  hardest.kept = std::min(count, CountPairs(*cuts, false));
  if (hardest.kept == 0) {
    for (PairCut& cut : *cuts) {
      for (PairRun& run : cut.runs) run = {cut.lower.count, cut.lower.count};
    }
    return hardest;
  }
  return Selection(f, cuts, parallel).Keep(hardest.kept);
}

}  // namespace hvdrec
