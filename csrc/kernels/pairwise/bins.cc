#include "kernels/pairwise/bins.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace hvdrec {
namespace {

constexpr int64_t kChunk = 1 << 14;

// Distinct bins in the order of their first rows.
class BinTable {
 public:
  // The number of a bin, which is assigned if it has none; -1 if there are too many.
  int32_t Find(double label, double panel) {
    if (places_.empty()) places_.assign(kPlaces, -1);
    for (uint64_t place = Hash(label, panel);; ++place) {
      int32_t& bin = places_[place & (kPlaces - 1)];
      if (bin < 0) {
        if (static_cast<int64_t>(bins.size()) == kMostBins) return -1;
        bin = static_cast<int32_t>(bins.size());
        bins.push_back({label, panel, 0, 0});
        return bin;
      }
      const PairBin& found = bins[static_cast<size_t>(bin)];
      if (found.label == label && found.panel == panel) return bin;
    }
  }

  std::vector<PairBin> bins;

 private:
  static constexpr int kPlaceBits = 12;
  static constexpr size_t kPlaces = size_t{1} << kPlaceBits;
  static_assert(kPlaces >= 4 * kMostBins);

  static uint64_t Hash(double label, double panel) {
    uint64_t a, b;
    std::memcpy(&a, &label, sizeof(a));
    std::memcpy(&b, &panel, sizeof(b));
    // Whole numbers differ only in the upper bits, and so do their products.
    return ((a * 0x9E3779B97F4A7C15u + b) * 0xD6E8FEB86659FD93u) >> (64 - kPlaceBits);
  }

  std::vector<int32_t> places_;
};

// Sorts bins and merges equal ones, adding up their rows.
std::vector<PairBin> Together(std::vector<PairBin> bins) {
  std::sort(bins.begin(), bins.end(), ComesBefore);
  size_t last = 0;
  for (size_t c = 1; c < bins.size(); ++c) {
    if (SameBin(bins[c], bins[last])) {
      bins[last].rows += bins[c].rows;
      bins[last].weighing += bins[c].weighing;
    } else {
      bins[++last] = bins[c];
    }
  }
  if (!bins.empty()) bins.resize(last + 1);
  return bins;
}

}  // namespace

template <typename T>
std::shared_ptr<const PairTable> BinPanels(const PairwiseRows<T>& rows,
                                           const PairwiseOptions& options) {
  CheckPairwise(options);
  const bool focal = options.loss == PairLoss::kFocal;
  if (!focal && options.loss != PairLoss::kLogistic) {
    throw std::invalid_argument("only the logistic and the focal loss can use bins");
  }
  if (std::isfinite(options.limit) || options.hardest < 1 || rows.sessions != nullptr) {
    throw std::invalid_argument("bins support no limit, no share of hardest pairs and no sessions");
  }
  if (rows.count > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("more than 2^31 - 1 rows");
  }
  return GetPairTable({options.loss, options.margin, focal ? options.gamma : 0.0},
                      kPanelTolerance<T>);
}

template <typename T>
PairBinRows FindBins(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                     const Parallel& parallel) {
  const double inverse = 1 / BinPanels(rows, options)->width;
  const int64_t n = rows.count, chunks = ChunkCount(n, kChunk);
  std::vector<BinTable> tables(static_cast<size_t>(chunks));
  std::vector<int32_t> bin_of(static_cast<size_t>(n));
  ForChunks(parallel, n, kChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
    BinTable& table = tables[static_cast<size_t>(chunk)];
    for (int64_t i = begin; i < end; ++i) {
      const double score = BinScore(rows, options, i),
                   weight = rows.weights ? rows.weights[i] : 1.0;
      // Adding 0 makes -0 and 0 one label, one panel.
      const double label = rows.labels[i] + 0.0, panel = std::floor(score * inverse) + 0.0;
      const bool fine = std::isfinite(panel) && std::isfinite(label) && std::isfinite(weight);
      const int32_t bin = fine ? table.Find(label, panel) : -1;
      if (bin < 0) {
        table.bins.assign(1, {label, std::numeric_limits<double>::quiet_NaN(), 0, 0});
        return;
      }
      bin_of[static_cast<size_t>(i)] = bin;
      table.bins[static_cast<size_t>(bin)].rows += 1;
      table.bins[static_cast<size_t>(bin)].weighing += weight != 0;
    }
  });
  PairBinRows found;
  found.order.resize(static_cast<size_t>(n));
  std::vector<PairBin> each;
  for (const BinTable& table : tables) {
    each.insert(each.end(), table.bins.begin(), table.bins.end());
  }
  const auto bad = [](const PairBin& bin) { return std::isnan(bin.panel); };
  const bool summable = std::none_of(each.begin(), each.end(), bad);
  if (summable) found.bins = Together(std::move(each));
  if (!summable || static_cast<int64_t>(found.bins.size()) > kMostBins) {
    std::iota(found.order.begin(), found.order.end(), 0);
    found.bins.assign(1, {0, std::numeric_limits<double>::quiet_NaN(), static_cast<double>(n), 0});
    return found;
  }
  // The begin of the rows of each bin, then of each chunk in it.
  std::vector<int64_t> starts;
  int64_t sum = 0;
  for (const PairBin& bin : found.bins) {
    starts.push_back(sum);
    sum += static_cast<int64_t>(bin.rows);
  }
  std::vector<std::vector<int64_t>> places;
  for (const BinTable& table : tables) {
    places.emplace_back();
    for (const PairBin& bin : table.bins) {
      const auto at = std::lower_bound(found.bins.begin(), found.bins.end(), bin, ComesBefore);
      int64_t& start = starts[static_cast<size_t>(at - found.bins.begin())];
      places.back().push_back(start);
      start += static_cast<int64_t>(bin.rows);
    }
  }
  ForChunks(parallel, n, kChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
    std::vector<int64_t>& place = places[static_cast<size_t>(chunk)];
    for (int64_t i = begin; i < end; ++i) {
      const auto bin = static_cast<size_t>(bin_of[static_cast<size_t>(i)]);
      found.order[static_cast<size_t>(place[bin]++)] = static_cast<int32_t>(i);
    }
  });
  return found;
}

std::vector<PairBin> MergeBins(const PairBin* bins, int64_t count, double rows_per_bin) {
  double rows = 0;
  for (int64_t c = 0; c < count; ++c) {
    if (std::isnan(bins[c].panel) || std::isnan(bins[c].label)) return {};
    rows += bins[c].rows;
  }
  std::vector<PairBin> all = Together(std::vector<PairBin>(bins, bins + count));
  const auto size = static_cast<int64_t>(all.size());
  if (size > kMostBins || static_cast<double>(size) * rows_per_bin > rows) return {};
  return all;
}

template std::shared_ptr<const PairTable> BinPanels<float>(const PairwiseRows<float>&,
                                                           const PairwiseOptions&);
template std::shared_ptr<const PairTable> BinPanels<double>(const PairwiseRows<double>&,
                                                            const PairwiseOptions&);
template PairBinRows FindBins<float>(const PairwiseRows<float>&, const PairwiseOptions&,
                                     const Parallel&);
template PairBinRows FindBins<double>(const PairwiseRows<double>&, const PairwiseOptions&,
                                      const Parallel&);

}  // namespace hvdrec
