#include "kernels/pairwise/plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "kernels/base/sessions.h"

namespace hvdrec {
namespace {

constexpr int kDigitBits = 11;
constexpr int64_t kDigits = 1 << kDigitBits;
constexpr int64_t kSortChunk = 1 << 16;

struct Keyed {
  uint32_t key;
  int32_t row;
};

// Stable radix sort; least significant digit first, only as many digits as `bits` has.
void RadixSort(Scratch<Keyed>* items, int bits, const Parallel& parallel) {
  const auto n = static_cast<int64_t>(items->size());
  const int64_t chunks = ChunkCount(n, kSortChunk);
  Scratch<Keyed> other(items->size());
  std::vector<int64_t> starts(static_cast<size_t>(chunks * kDigits));
  for (int shift = 0; shift < bits; shift += kDigitBits) {
    const int64_t digits = std::min(kDigits, int64_t{1} << (bits - shift));
    std::fill(starts.begin(), starts.end(), 0);
    const auto digit = [&](const Keyed& item) { return (item.key >> shift) & (kDigits - 1); };
    ForChunks(parallel, n, kSortChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
      int64_t* const counts = &starts[static_cast<size_t>(chunk * kDigits)];
      for (int64_t i = begin; i < end; ++i) ++counts[digit((*items)[static_cast<size_t>(i)])];
    });
    int64_t sum = 0;
    for (int64_t d = 0; d < digits; ++d) {
      for (int64_t c = 0; c < chunks; ++c) {
        sum += std::exchange(starts[static_cast<size_t>(c * kDigits + d)], sum);
      }
    }
    ForChunks(parallel, n, kSortChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
      int64_t* const to = &starts[static_cast<size_t>(chunk * kDigits)];
      for (int64_t i = begin; i < end; ++i) {
        const Keyed& item = (*items)[static_cast<size_t>(i)];
        other[static_cast<size_t>(to[digit(item)]++)] = item;
      }
    });
    items->swap(other);
  }
}

template <typename T>
struct Bounds {
  T low, high;
};

// The least and the largest of value(0) .. value(n - 1), n > 0.
template <typename T, typename Value>
Bounds<T> FindBounds(int64_t n, const Parallel& parallel, const Value& value) {
  std::vector<Bounds<T>> bounds(static_cast<size_t>(ChunkCount(n, kSortChunk)));
  ForChunks(parallel, n, kSortChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
    // Several of each: one would wait for itself at every row.
    constexpr int64_t kWays = 4;
    T low[kWays], high[kWays];
    std::fill(low, low + kWays, value(begin));
    std::fill(high, high + kWays, value(begin));
    int64_t i = begin;
    for (; i + kWays <= end; i += kWays) {
      for (int64_t k = 0; k < kWays; ++k) {
        const T v = value(i + k);
        low[k] = v < low[k] ? v : low[k];
        high[k] = v > high[k] ? v : high[k];
      }
    }
    for (; i < end; ++i) {
      low[0] = std::min(low[0], value(i));
      high[0] = std::max(high[0], value(i));
    }
    bounds[static_cast<size_t>(chunk)] = {*std::min_element(low, low + kWays),
                                          *std::max_element(high, high + kWays)};
  });
  Bounds<T> all = bounds[0];
  for (const Bounds<T>& each : bounds) {
    all = {std::min(all.low, each.low), std::max(all.high, each.high)};
  }
  return all;
}

// Unsigned numbers in the same order as the floats.
uint32_t OrderedBits(float value) {
  uint32_t bits;
  value += 0.0f;  // -0 and 0 are equal
  std::memcpy(&bits, &value, sizeof(bits));
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The panels that contain scores, numbered from the lowest.
struct PanelRange {
  double inverse;  // of their width
  double first;    // the lowest
  double last;     // number of the highest, counted from it; maybe beyond any integer

  int64_t Number(double score) const {
    return static_cast<int64_t>(std::floor(score * inverse) - first);
  }
};

PanelRange FindPanelRange(const double* scores, int64_t n, double width, const Parallel& parallel) {
  const Bounds<double> bounds =
      FindBounds<double>(n, parallel, [scores](int64_t i) { return scores[i]; });
  // By the product, as in Number: a quotient may be rounded to a different panel.
  const double inverse = 1 / width, first = std::floor(bounds.low * inverse);
  return {inverse, first, std::floor(bounds.high * inverse) - first};
}

// Sorts by panel; false, with nothing done, if there are too many panels for this to be worthwhile.
bool SortByPanel(const double* scores, const PanelRange& panels, Scratch<Keyed>* items,
                 const Parallel& parallel) {
  const auto n = static_cast<int64_t>(items->size());
  if (!(panels.last < (1 << 22))) return false;
  ForChunks(parallel, n, kSortChunk, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      (*items)[static_cast<size_t>(i)] = {static_cast<uint32_t>(panels.Number(scores[i])),
                                          static_cast<int32_t>(i)};
    }
  });
  int bits = 0;
  while (panels.last >= std::ldexp(1.0, bits)) ++bits;
  RadixSort(items, bits, parallel);
  return true;
}

// Places all rows by label and panel, if that is a few ranges of memory: one session, two labels
// and not many panels. Otherwise false, with nothing done. The positions are the same as those of
// SortByPanel and Splitter.
template <typename T>
bool PlaceByLabelAndPanel(const double* scores, const PanelRange& range, const T* labels, int64_t n,
                          const Parallel& parallel, PairPlan* plan) {
  if (!(range.last < kDigits / 2)) return false;
  const Bounds<T> label = FindBounds<T>(n, parallel, [labels](int64_t i) { return labels[i]; });
  if (!(label.low < label.high)) return false;
  const int64_t panels = static_cast<int64_t>(range.last) + 1, digits = 2 * panels;
  const int64_t chunks = ChunkCount(n, kSortChunk);
  Scratch<uint16_t> digit(static_cast<size_t>(n));
  std::vector<int64_t> starts(static_cast<size_t>(chunks * digits));
  std::vector<int64_t> strays(static_cast<size_t>(chunks));
  ForChunks(parallel, n, kSortChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
    int64_t* const counts = &starts[static_cast<size_t>(chunk * digits)];
    int64_t others = 0;
    for (int64_t i = begin; i < end; ++i) {
      const bool high = labels[i] == label.high;
      others += !high && labels[i] != label.low;
      const int64_t panel = range.Number(scores[i]);
      digit[static_cast<size_t>(i)] = static_cast<uint16_t>(high ? panels + panel : panel);
    }
    strays[static_cast<size_t>(chunk)] = others;
    if (others > 0) return;
    for (int64_t i = begin; i < end; ++i) ++counts[digit[static_cast<size_t>(i)]];
  });
  for (const int64_t others : strays) {
    if (others > 0) return false;
  }
  PairLevel level;
  level.places.resize(static_cast<size_t>(n));
  int64_t sum = 0, middle = 0;
  for (int64_t d = 0; d < digits; ++d) {
    if (d == panels) middle = sum;
    for (int64_t c = 0; c < chunks; ++c) {
      sum += std::exchange(starts[static_cast<size_t>(c * digits + d)], sum);
    }
  }
  ForChunks(parallel, n, kSortChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
    int64_t* const to = &starts[static_cast<size_t>(chunk * digits)];
    for (int64_t i = begin; i < end; ++i) {
      level.places[static_cast<size_t>(i)] =
          static_cast<int32_t>(to[digit[static_cast<size_t>(i)]]++);
    }
  });
  level.splits.push_back({0, middle, n});
  plan->levels.push_back(std::move(level));
  return true;
}

void SortByScore(const double* scores, Scratch<Keyed>* items, const Parallel& parallel) {
  const auto n = static_cast<int64_t>(items->size());
  ForChunks(parallel, n, kSortChunk, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      (*items)[static_cast<size_t>(i)] = {OrderedBits(static_cast<float>(scores[i])),
                                          static_cast<int32_t>(i)};
    }
  });
  RadixSort(items, 32, parallel);
  // Scores that are one float may be several doubles.
  for (auto run = items->begin(); run != items->end();) {
    auto end = run + 1;
    bool several = false;
    for (; end != items->end() && end->key == run->key; ++end) {
      several = several || scores[end->row] != scores[run->row];
    }
    if (several) {
      std::stable_sort(
          run, end, [&](const Keyed& a, const Keyed& b) { return scores[a.row] < scores[b.row]; });
    }
    run = end;
  }
}

template <typename T>
class Splitter {
 public:
  Splitter(const T* labels, int64_t leaf_size, const Parallel& parallel, PairPlan* plan)
      : labels_(labels), leaf_size_(leaf_size), parallel_(parallel), plan_(plan) {}

  void Run(Scratch<int32_t> rows, std::vector<Group> groups) {
    while (!groups.empty()) {
      PairLevel level;
      std::vector<Group> next;
      for (const Group& group : groups) Take(rows.data() + group.begin, group, &level, &next);
      if (level.splits.empty()) return;
      plan_->levels.push_back(std::move(level));
      rows = plan_->levels.back().rows;
      groups = std::move(next);
    }
  }

 private:
  void Take(const int32_t* rows, const Group& group, PairLevel* level, std::vector<Group>* next) {
    const int64_t count = group.end - group.begin;
    const Bounds<T> bounds =
        FindBounds<T>(count, parallel_, [&](int64_t i) { return labels_[rows[i]]; });
    if (!(bounds.low < bounds.high)) return;
    if (count <= leaf_size_) {
      AddLeaf(rows, count);
      return;
    }
    // Two labels, the common case, are split without a search for their median.
    const std::vector<int64_t> lowest =
        Counts(rows, count, [&](T label) { return label == bounds.low; });
    const std::vector<int64_t> highest =
        Counts(rows, count, [&](T label) { return label == bounds.high; });
    if (Sum(lowest) + Sum(highest) == count) {
      Split(rows, count, bounds.high, lowest, level, next);
      return;
    }
    const T pivot = Pivot(rows, count, bounds);
    Split(rows, count, pivot, Counts(rows, count, [&](T label) { return label < pivot; }), level,
          next);
  }

  // How many labels pass `test`, by chunk. No branch on the outcome, because labels are in random
  // order.
  template <typename Test>
  std::vector<int64_t> Counts(const int32_t* rows, int64_t count, const Test& test) const {
    std::vector<int64_t> counts(static_cast<size_t>(ChunkCount(count, kSortChunk)));
    ForChunks(parallel_, count, kSortChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
      int64_t passed = 0;
      for (int64_t i = begin; i < end; ++i) passed += test(labels_[rows[i]]);
      counts[static_cast<size_t>(chunk)] = passed;
    });
    return counts;
  }

  static int64_t Sum(const std::vector<int64_t>& counts) {
    return std::accumulate(counts.begin(), counts.end(), int64_t{0});
  }

  // Labels below `pivot`, `below` of each chunk, and the others.
  void Split(const int32_t* rows, int64_t count, T pivot, const std::vector<int64_t>& below,
             PairLevel* level, std::vector<Group>* next) const {
    const auto begin = static_cast<int64_t>(level->rows.size());
    const int64_t lower = Sum(below);
    level->rows.resize(static_cast<size_t>(begin + count));
    int32_t* const out = level->rows.data() + begin;
    ForChunks(parallel_, count, kSortChunk, [&](int64_t chunk, int64_t first, int64_t last) {
      int64_t to_lower = std::accumulate(below.begin(), below.begin() + chunk, int64_t{0});
      int64_t to_upper = lower + first - to_lower;
      for (int64_t i = first; i < last; ++i) {
        const bool under = labels_[rows[i]] < pivot;
        out[under ? to_lower : to_upper] = rows[i];
        to_lower += under;
        to_upper += !under;
      }
    });
    const PairSplit split{begin, begin + lower, begin + count};
    level->splits.push_back(split);
    next->push_back({split.begin, split.middle});
    next->push_back({split.middle, split.end});
  }

  // A label above the lowest that splits the rows as evenly as the median does.
  T Pivot(const int32_t* rows, int64_t count, const Bounds<T>& bounds) {
    scratch_.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) scratch_[static_cast<size_t>(i)] = labels_[rows[i]];
    const auto middle = scratch_.begin() + count / 2;
    std::nth_element(scratch_.begin(), middle, scratch_.end());
    if (*middle > bounds.low) return *middle;
    T pivot = bounds.high;
    for (const T label : scratch_) {
      if (label > bounds.low) pivot = std::min(pivot, label);
    }
    return pivot;
  }

  void AddLeaf(const int32_t* rows, int64_t count) {
    std::vector<int32_t>& all = plan_->leaf_rows;
    const auto begin = static_cast<int64_t>(all.size());
    all.insert(all.end(), rows, rows + count);
    std::stable_sort(all.begin() + begin, all.end(),
                     [this](int32_t a, int32_t b) { return labels_[a] < labels_[b]; });
    plan_->leaves.push_back({begin, begin + count});
  }

  const T* const labels_;
  const int64_t leaf_size_;
  const Parallel& parallel_;
  PairPlan* const plan_;
  std::vector<T> scratch_;
};

}  // namespace

template <typename T>
PairPlan PlanPairs(const double* scores, const T* labels, const int64_t* sessions, int64_t n,
                   const PairPlanOptions& options, const Parallel& parallel) {
  PairPlan plan;
  if (n < 2) return plan;
  Scratch<int32_t> rows(static_cast<size_t>(n));
  if (n <= options.leaf_size) {
    std::iota(rows.begin(), rows.end(), 0);
  } else {
    const bool by_panel = options.panel_width > 0;
    PanelRange panels{};
    if (by_panel) panels = FindPanelRange(scores, n, options.panel_width, parallel);
    if (by_panel && sessions == nullptr &&
        PlaceByLabelAndPanel(scores, panels, labels, n, parallel, &plan)) {
      return plan;
    }
    Scratch<Keyed> items(static_cast<size_t>(n));
    if (!(by_panel && SortByPanel(scores, panels, &items, parallel))) {
      SortByScore(scores, &items, parallel);
    }
    ForChunks(parallel, n, kSortChunk, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        rows[static_cast<size_t>(i)] = items[static_cast<size_t>(i)].row;
      }
    });
  }
  std::vector<Group> groups{{0, n}};
  if (sessions != nullptr) groups = GroupBySession(sessions, &rows);
  Splitter<T>(labels, options.leaf_size, parallel, &plan).Run(std::move(rows), std::move(groups));
  return plan;
}

template PairPlan PlanPairs<float>(const double*, const float*, const int64_t*, int64_t,
                                   const PairPlanOptions&, const Parallel&);
template PairPlan PlanPairs<double>(const double*, const double*, const int64_t*, int64_t,
                                    const PairPlanOptions&, const Parallel&);

}  // namespace hvdrec
