#include "kernels/pair_hardest.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace hvdrec {
namespace {

constexpr int64_t kPieceRows = 2048;

// Doubles in their order as integers, and back.
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

// The first place in first .. last where `test`, false and then true, holds; `last` where it
// doesn't. Looks around `guess` first, as the next row's place is near the last row's.
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

// How hard a pair is, as a number that grows along the lower side.
class Hardness {
 public:
  Hardness(const PairFunction& f, bool weighted) : f_(f), weighted_(weighted) {}

  double operator()(const PairCut& cut, int64_t i, int64_t j) const {
    const double lead = cut.upper.scores[i] - cut.lower.scores[j];
    if (!weighted_) return -lead;
    const double value = f_.loss == PairLoss::kHinge ? f_.margin - lead : f_.Value(lead);
    return cut.upper.weights[i] * value;
  }

 private:
  const PairFunction& f_;
  const bool weighted_;
};

class Selection {
 public:
  Selection(const PairFunction& f, std::vector<PairCut>* cuts, const Parallel& parallel)
      : cuts_(*cuts),
        parallel_(parallel),
        hardness_(f, !cuts->empty() && cuts->front().upper.weights != nullptr),
        pieces_(Pieces(*cuts)),
        counts_(pieces_.size()) {}

  // Pairs at least, or with `above` more than, so hard.
  int64_t Count(double least, bool above) {
    ForPieces([&](size_t piece, const PairCut& cut, int64_t begin, int64_t end) {
      int64_t guess = 0, count = 0;
      for (int64_t i = begin; i < end; ++i) {
        guess = First(cut, i, guess, least, above);
        count += cut.lower.count - guess;
      }
      counts_[piece] = count;
    });
    int64_t sum = 0;
    for (const int64_t count : counts_) sum += count;
    return sum;
  }

  void Cut(double least) {
    ForPieces([&](size_t, PairCut& cut, int64_t begin, int64_t end) {
      int64_t guess = 0;
      for (int64_t i = begin; i < end; ++i) {
        guess = First(cut, i, guess, least, false);
        const int64_t all = First(cut, i, guess, least, true);
        cut.runs[static_cast<size_t>(i)] = {guess, all};
      }
    });
  }

 private:
  int64_t First(const PairCut& cut, int64_t i, int64_t guess, double least, bool above) const {
    return Search(cut.runs[static_cast<size_t>(i)].some, cut.lower.count, guess, [&](int64_t j) {
      const double hardness = hardness_(cut, i, j);
      return above ? hardness > least : hardness >= least;
    });
  }

  template <typename Body>
  void ForPieces(const Body& body) {
    parallel_.Run(static_cast<int64_t>(pieces_.size()), [&](int64_t p) {
      const Piece& piece = pieces_[static_cast<size_t>(p)];
      body(static_cast<size_t>(p), cuts_[static_cast<size_t>(piece.cut)], piece.begin, piece.end);
    });
  }

  std::vector<PairCut>& cuts_;
  const Parallel& parallel_;
  const Hardness hardness_;
  const std::vector<Piece> pieces_;
  std::vector<int64_t> counts_;
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
  // Only losses above 0 are kept; the smooth ones fall as exp(-(1 + gamma) t).
  const double reach = f.loss == PairLoss::kHinge ? 0.0 : 745 / (1 + f.gamma);
  CutAtLead(f.margin + reach, cuts, parallel);
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
  Selection selection(f, cuts, parallel);
  // The hardness of the last place: the largest that `kept` pairs reach.
  int64_t low = Rank(-std::numeric_limits<double>::max());
  int64_t high = Rank(std::numeric_limits<double>::infinity());
  while (high - 1 > low) {
    const int64_t middle = low / 2 + high / 2 + (low % 2 + high % 2) / 2;
    (selection.Count(Unrank(middle), false) >= hardest.kept ? low : high) = middle;
  }
  const int64_t reached = selection.Count(Unrank(low), false);
  const int64_t harder = selection.Count(Unrank(low), true);
  selection.Cut(Unrank(low));
  hardest.share =
      static_cast<double>(hardest.kept - harder) / static_cast<double>(reached - harder);
  return hardest;
}

}  // namespace hvdrec
