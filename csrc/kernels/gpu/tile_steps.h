// Work on the similarities of two sets of rows, s_ij = a_i . b_j, a tile at a time: the matrix of
// all of them never is.
//
// A block has kTile rows of the first set and goes over some tiles of the second's, in order. Its
// threads hold a tile's products in registers, 4 x 4 each, while kDepth columns of the rows at a
// time come through shared memory.

#ifndef HVDREC_KERNELS_GPU_TILE_STEPS_H_
#define HVDREC_KERNELS_GPU_TILE_STEPS_H_

#include <cmath>

#include "kernels/gpu/steps.h"

namespace hvdrec {

constexpr int kTile = 64;
constexpr int kDepth = 8;
constexpr int kTileThreads = 256;
constexpr int kEdge = 4;                // of a thread's products
constexpr int kAcross = kTile / kEdge;  // threads along a tile's edge
constexpr int64_t kEnoughBlocks = 256;

// Two sets of rows of `dim` numbers, and into how many parts the second one's tiles are cut so that
// few rows of the first still make enough blocks. By their sizes alone.
template <typename T>
struct TileSets {
  const T* rows;
  const T* columns;
  int64_t row_count, column_count, dim;

  HVDREC_HD int64_t row_tiles() const { return (row_count + kTile - 1) / kTile; }
  HVDREC_HD int64_t column_tiles() const { return (column_count + kTile - 1) / kTile; }
  HVDREC_HD int64_t parts() const {
    if (row_count == 0) return 1;
    const int64_t wanted = kEnoughBlocks / row_tiles();
    const int64_t tiles = column_tiles();
    return wanted < 1 ? 1 : wanted < tiles ? wanted : tiles < 1 ? 1 : tiles;
  }
  HVDREC_HD int64_t blocks() const { return row_tiles() * parts(); }
  // Of a block.
  HVDREC_HD int64_t first_row(int64_t block) const { return block / parts() * kTile; }
  HVDREC_HD int64_t first_tile(int64_t block) const {
    return block % parts() * column_tiles() / parts();
  }
  HVDREC_HD int64_t last_tile(int64_t block) const {
    return (block % parts() + 1) * column_tiles() / parts();
  }
};

template <typename T>
struct TileStage {
  T rows[kDepth][kTile];
  T columns[kDepth][kTile];
};

template <typename T>
struct TileProducts {
  T sums[kEdge][kEdge];
};

// Steps that make the products of one tile: a load and a multiplication for each kDepth numbers.
HVDREC_HD inline int ProductSteps(int64_t dim) {
  return 2 * static_cast<int>((dim + kDepth - 1) / kDepth);
}

template <typename T>
HVDREC_HD inline void ProductStep(const TileSets<T>& sets, int step, int64_t first_row,
                                  int64_t first_column, int thread, TileStage<T>* stage,
                                  TileProducts<T>* products) {
  if (step == 0) {
    HVDREC_UNROLL
    for (int i = 0; i < kEdge; ++i) {
      HVDREC_UNROLL
      for (int j = 0; j < kEdge; ++j) products->sums[i][j] = 0;
    }
  }
  if (step % 2 == 0) {
    const int64_t from = static_cast<int64_t>(step / 2) * kDepth;
    for (int at = thread; at < kTile * kDepth; at += kTileThreads) {
      const int r = at / kDepth, k = at % kDepth;
      const bool inside = from + k < sets.dim;
      const int64_t row = first_row + r, column = first_column + r;
      stage->rows[k][r] =
          inside && row < sets.row_count ? sets.rows[row * sets.dim + from + k] : T(0);
      stage->columns[k][r] =
          inside && column < sets.column_count ? sets.columns[column * sets.dim + from + k] : T(0);
    }
    return;
  }
  const int r = thread / kAcross * kEdge, c = thread % kAcross * kEdge;
  for (int k = 0; k < kDepth; ++k) {
    HVDREC_UNROLL
    for (int i = 0; i < kEdge; ++i) {
      HVDREC_UNROLL
      for (int j = 0; j < kEdge; ++j) {
        products->sums[i][j] += stage->rows[k][r + i] * stage->columns[k][c + j];
      }
    }
  }
}

// Folds the similarities of each row into a state. `Visit` is a struct with
//   State                               plain values
//   Clear(State*)
//   Add(State*, row, column, s)
//   Merge(State*, other)                states of one row, the later columns second
template <typename T, typename Visit>
struct TileReduce {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kSharers = kThreads / kTile;  // threads to a row
  using State = typename Visit::State;
  struct Shared {
    TileStage<T> stage;
    union {
      T tile[kTile][kTile + 1];
      State states[kThreads];
    };
  };
  struct Local {
    TileProducts<T> products;
    State state;
  };

  TileSets<T> sets;
  Visit visit;
  State* out;  // [row][part]

  HVDREC_HD int PerTile() const { return ProductSteps(sets.dim) + 2; }
  HVDREC_HD int64_t Steps(int64_t block) const {
    return (sets.last_tile(block) - sets.first_tile(block)) * PerTile() + 2;
  }

  HVDREC_HD void Step(int64_t step, int64_t block, int thread, Shared* shared, Local* local) const {
    if (step == 0) visit.Clear(&local->state);
    const int per_tile = PerTile();
    const int64_t tile = sets.first_tile(block) + step / per_tile;
    const int phase = static_cast<int>(step % per_tile);
    const int64_t first_row = sets.first_row(block), first_column = tile * kTile;
    if (tile >= sets.last_tile(block)) {
      End(phase, block, first_row, thread, shared, *local);
    } else if (phase < per_tile - 2) {
      ProductStep(sets, phase, first_row, first_column, thread, &shared->stage, &local->products);
    } else if (phase == per_tile - 2) {
      const int r = thread / kAcross * kEdge, c = thread % kAcross * kEdge;
      HVDREC_UNROLL
      for (int i = 0; i < kEdge; ++i) {
        HVDREC_UNROLL
        for (int j = 0; j < kEdge; ++j) shared->tile[r + i][c + j] = local->products.sums[i][j];
      }
    } else {
      const int r = thread / kSharers, own = kTile / kSharers;
      const int64_t row = first_row + r;
      if (row >= sets.row_count) return;
      for (int c = thread % kSharers * own; c < (thread % kSharers + 1) * own; ++c) {
        const int64_t column = first_column + c;
        if (column < sets.column_count) visit.Add(&local->state, row, column, shared->tile[r][c]);
      }
    }
  }

  HVDREC_HD void End(int phase, int64_t block, int64_t first_row, int thread, Shared* shared,
                     const Local& local) const {
    if (phase == 0) {
      shared->states[thread] = local.state;
      return;
    }
    const int64_t row = first_row + thread;
    if (thread >= kTile || row >= sets.row_count) return;
    State sum = shared->states[thread * kSharers];
    for (int k = 1; k < kSharers; ++k) visit.Merge(&sum, shared->states[thread * kSharers + k]);
    out[row * sets.parts() + block % sets.parts()] = sum;
  }
};

// out_i = sum over j of coefficient(i, j, s_ij) b_j, of each part of the columns apart.
template <typename T, typename Coefficient>
struct TileApply {
  static constexpr int kThreads = kTileThreads;
  struct Shared {
    TileStage<T> stage;
    T tile[kTile][kTile + 1];  // coefficients
  };
  using Local = TileProducts<T>;

  TileSets<T> sets;
  Coefficient coefficient;
  T* out;  // [part][row][dim], 0 at first

  HVDREC_HD int PerTile() const { return ProductSteps(sets.dim) + 2; }
  HVDREC_HD int64_t Steps(int64_t block) const {
    return (sets.last_tile(block) - sets.first_tile(block)) * PerTile();
  }

  HVDREC_HD void Step(int64_t step, int64_t block, int thread, Shared* shared, Local* local) const {
    const int per_tile = PerTile();
    const int phase = static_cast<int>(step % per_tile);
    const int64_t first_row = sets.first_row(block);
    const int64_t first_column = (sets.first_tile(block) + step / per_tile) * kTile;
    const int r = thread / kAcross * kEdge, c = thread % kAcross * kEdge;
    if (phase < per_tile - 2) {
      ProductStep(sets, phase, first_row, first_column, thread, &shared->stage, local);
    } else if (phase == per_tile - 2) {
      HVDREC_UNROLL
      for (int i = 0; i < kEdge; ++i) {
        HVDREC_UNROLL
        for (int j = 0; j < kEdge; ++j) {
          const int64_t row = first_row + r + i, column = first_column + c + j;
          const bool inside = row < sets.row_count && column < sets.column_count;
          shared->tile[r + i][c + j] = inside ? coefficient(row, column, local->sums[i][j]) : T(0);
        }
      }
    } else {
      const int64_t part = block % sets.parts();
      for (int64_t d = c; d < sets.dim; d += kTile) {
        Multiply(first_row + r, first_column, d, r, shared, out + part * sets.row_count * sets.dim);
      }
    }
  }

  // Adds the tile's share to kEdge numbers of kEdge rows, which no other thread writes.
  HVDREC_HD void Multiply(int64_t row, int64_t first_column, int64_t d, int r, const Shared* shared,
                          T* to) const {
    T sums[kEdge][kEdge] = {};
    const int64_t left = sets.column_count - first_column;
    const int columns = left < kTile ? static_cast<int>(left) : kTile;
    for (int c = 0; c < columns; ++c) {
      const T* const other = sets.columns + (first_column + c) * sets.dim + d;
      HVDREC_UNROLL
      for (int j = 0; j < kEdge; ++j) {
        const T value = d + j < sets.dim ? other[j] : T(0);
        HVDREC_UNROLL
        for (int i = 0; i < kEdge; ++i) sums[i][j] += shared->tile[r + i][c] * value;
      }
    }
    HVDREC_UNROLL
    for (int i = 0; i < kEdge; ++i) {
      HVDREC_UNROLL
      for (int j = 0; j < kEdge; ++j) {
        if (row + i < sets.row_count && d + j < sets.dim)
          to[(row + i) * sets.dim + d + j] += sums[i][j];
      }
    }
  }
};

template <typename T>
struct AddParts {
  const T* parts;
  int64_t count, size;  // of parts, and of values in each
  T* out;

  HVDREC_HD void operator()(int64_t i) const {
    T sum = 0;
    for (int64_t part = 0; part < count; ++part) sum += parts[part * size + i];
    out[i] = sum;
  }
};

// Fills out [row_count, dim] with the sums of TileApply.
template <typename T, typename Coefficient, typename Machine>
void ApplyTiles(Machine& machine, const TileSets<T>& sets, const Coefficient& coefficient, T* out) {
  const int64_t size = sets.row_count * sets.dim, parts = sets.parts();
  T* const sums = parts == 1 ? out : machine.template Allocate<T>(size * parts);
  machine.Zero(sums, size * parts);
  machine.Launch(TileApply<T, Coefficient>{sets, coefficient, sums}, sets.blocks());
  if (parts > 1) ForEach(machine, size, AddParts<T>{sums, parts, size, out});
}

// The states of each row's parts, [row_count][sets.parts()].
template <typename T, typename Visit, typename Machine>
typename Visit::State* ReduceTiles(Machine& machine, const TileSets<T>& sets, const Visit& visit) {
  using State = typename Visit::State;
  State* const states = machine.template Allocate<State>(sets.row_count * sets.parts());
  machine.Launch(TileReduce<T, Visit>{sets, visit, states}, sets.blocks());
  return states;
}

// A row's state, of those of its parts.
template <typename Visit>
HVDREC_HD inline typename Visit::State MergeParts(const Visit& visit,
                                                  const typename Visit::State* states, int64_t row,
                                                  int64_t parts) {
  typename Visit::State sum = states[row * parts];
  for (int64_t part = 1; part < parts; ++part) visit.Merge(&sum, states[row * parts + part]);
  return sum;
}

// A sum of exponentials, exp(shift) * sum, that grows term by term.
template <typename T>
struct RunningExpSum {
  T shift;
  double sum;

  HVDREC_HD void Clear() {
    shift = static_cast<T>(-INFINITY);
    sum = 0;
  }
  // Adds exp(exponent).
  HVDREC_HD void Add(T exponent) {
    if (exponent > shift) {
      sum = sum * std::exp(shift - exponent) + 1;
      shift = exponent;
    } else {
      sum += std::exp(exponent - shift);
    }
  }
  HVDREC_HD void Merge(const RunningExpSum& other) {
    if (other.sum == 0) return;
    if (other.shift > shift) {
      sum = sum * exp(static_cast<double>(shift) - other.shift) + other.sum;
      shift = other.shift;
    } else {
      sum += other.sum * exp(static_cast<double>(other.shift) - shift);
    }
  }
  HVDREC_HD bool empty() const { return sum == 0; }
  HVDREC_HD double Log() const { return shift + log(sum); }
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_GPU_TILE_STEPS_H_
