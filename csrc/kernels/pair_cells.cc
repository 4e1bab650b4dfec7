#include "kernels/pair_cells.h"

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

// Distinct cells in the order of their first rows.
class CellTable {
 public:
  // The number of a cell, which gets one if it has none; -1 where there are too many.
  int32_t Find(double label, double panel) {
    if (places_.empty()) places_.assign(kPlaces, -1);
    for (uint64_t place = Hash(label, panel);; ++place) {
      int32_t& cell = places_[place & (kPlaces - 1)];
      if (cell < 0) {
        if (static_cast<int64_t>(cells.size()) == kMostCells) return -1;
        cell = static_cast<int32_t>(cells.size());
        cells.push_back({label, panel, 0, 0});
        return cell;
      }
      const PairCell& found = cells[static_cast<size_t>(cell)];
      if (found.label == label && found.panel == panel) return cell;
    }
  }

  std::vector<PairCell> cells;

 private:
  static constexpr int kPlaceBits = 12;
  static constexpr size_t kPlaces = size_t{1} << kPlaceBits;
  static_assert(kPlaces >= 4 * kMostCells);

  static uint64_t Hash(double label, double panel) {
    uint64_t a, b;
    std::memcpy(&a, &label, sizeof(a));
    std::memcpy(&b, &panel, sizeof(b));
    // Whole numbers differ in the upper bits alone, and so do their products.
    return ((a * 0x9E3779B97F4A7C15u + b) * 0xD6E8FEB86659FD93u) >> (64 - kPlaceBits);
  }

  std::vector<int32_t> places_;
};

// Cells sorted, each once, its rows added up.
std::vector<PairCell> Together(std::vector<PairCell> cells) {
  std::sort(cells.begin(), cells.end(), ComesBefore);
  size_t last = 0;
  for (size_t c = 1; c < cells.size(); ++c) {
    if (SameCell(cells[c], cells[last])) {
      cells[last].rows += cells[c].rows;
      cells[last].weighing += cells[c].weighing;
    } else {
      cells[++last] = cells[c];
    }
  }
  if (!cells.empty()) cells.resize(last + 1);
  return cells;
}

}  // namespace

template <typename T>
std::shared_ptr<const PairTable> CellPanels(const PairwiseRows<T>& rows,
                                            const PairwiseOptions& options) {
  CheckPairwise(options);
  const bool focal = options.loss == PairLoss::kFocal;
  if (!focal && options.loss != PairLoss::kLogistic) {
    throw std::invalid_argument("only the logistic and the focal loss go by cells");
  }
  if (std::isfinite(options.limit) || options.hardest < 1 || rows.sessions != nullptr) {
    throw std::invalid_argument("cells know no limit, no share of hardest pairs and no sessions");
  }
  if (rows.count > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument("more than 2^31 - 1 rows");
  }
  return GetPairTable({options.loss, options.margin, focal ? options.gamma : 0.0},
                      kPanelTolerance<T>);
}

template <typename T>
PairCellRows FindCells(const PairwiseRows<T>& rows, const PairwiseOptions& options,
                       const Parallel& parallel) {
  const double inverse = 1 / CellPanels(rows, options)->width;
  const int64_t n = rows.count, chunks = ChunkCount(n, kChunk);
  std::vector<CellTable> tables(static_cast<size_t>(chunks));
  std::vector<int32_t> cell_of(static_cast<size_t>(n));
  ForChunks(parallel, n, kChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
    CellTable& table = tables[static_cast<size_t>(chunk)];
    for (int64_t i = begin; i < end; ++i) {
      const double score = CellScore(rows, options, i),
                   weight = rows.weights ? rows.weights[i] : 1.0;
      // Adding 0 makes -0 and 0 one label, one panel.
      const double label = rows.labels[i] + 0.0, panel = std::floor(score * inverse) + 0.0;
      const bool fine = std::isfinite(panel) && std::isfinite(label) && std::isfinite(weight);
      const int32_t cell = fine ? table.Find(label, panel) : -1;
      if (cell < 0) {
        table.cells.assign(1, {label, std::numeric_limits<double>::quiet_NaN(), 0, 0});
        return;
      }
      cell_of[static_cast<size_t>(i)] = cell;
      table.cells[static_cast<size_t>(cell)].rows += 1;
      table.cells[static_cast<size_t>(cell)].weighing += weight != 0;
    }
  });
  PairCellRows found;
  found.order.resize(static_cast<size_t>(n));
  std::vector<PairCell> each;
  for (const CellTable& table : tables) {
    each.insert(each.end(), table.cells.begin(), table.cells.end());
  }
  const auto bad = [](const PairCell& cell) { return std::isnan(cell.panel); };
  const bool summable = std::none_of(each.begin(), each.end(), bad);
  if (summable) found.cells = Together(std::move(each));
  if (!summable || static_cast<int64_t>(found.cells.size()) > kMostCells) {
    std::iota(found.order.begin(), found.order.end(), 0);
    found.cells.assign(1, {0, std::numeric_limits<double>::quiet_NaN(), static_cast<double>(n), 0});
    return found;
  }
  // Where the rows of each cell begin, then of each chunk in it.
  std::vector<int64_t> starts;
  int64_t sum = 0;
  for (const PairCell& cell : found.cells) {
    starts.push_back(sum);
    sum += static_cast<int64_t>(cell.rows);
  }
  std::vector<std::vector<int64_t>> places;
  for (const CellTable& table : tables) {
    places.emplace_back();
    for (const PairCell& cell : table.cells) {
      const auto at = std::lower_bound(found.cells.begin(), found.cells.end(), cell, ComesBefore);
      int64_t& start = starts[static_cast<size_t>(at - found.cells.begin())];
      places.back().push_back(start);
      start += static_cast<int64_t>(cell.rows);
    }
  }
  ForChunks(parallel, n, kChunk, [&](int64_t chunk, int64_t begin, int64_t end) {
    std::vector<int64_t>& place = places[static_cast<size_t>(chunk)];
    for (int64_t i = begin; i < end; ++i) {
      const auto cell = static_cast<size_t>(cell_of[static_cast<size_t>(i)]);
      found.order[static_cast<size_t>(place[cell]++)] = static_cast<int32_t>(i);
    }
  });
  return found;
}

std::vector<PairCell> MergeCells(const PairCell* cells, int64_t count, double rows_per_cell) {
  double rows = 0;
  for (int64_t c = 0; c < count; ++c) {
    if (std::isnan(cells[c].panel) || std::isnan(cells[c].label)) return {};
    rows += cells[c].rows;
  }
  std::vector<PairCell> all = Together(std::vector<PairCell>(cells, cells + count));
  const auto size = static_cast<int64_t>(all.size());
  if (size > kMostCells || static_cast<double>(size) * rows_per_cell > rows) return {};
  return all;
}

template std::shared_ptr<const PairTable> CellPanels<float>(const PairwiseRows<float>&,
                                                            const PairwiseOptions&);
template std::shared_ptr<const PairTable> CellPanels<double>(const PairwiseRows<double>&,
                                                             const PairwiseOptions&);
template PairCellRows FindCells<float>(const PairwiseRows<float>&, const PairwiseOptions&,
                                       const Parallel&);
template PairCellRows FindCells<double>(const PairwiseRows<double>&, const PairwiseOptions&,
                                        const Parallel&);

}  // namespace hvdrec
