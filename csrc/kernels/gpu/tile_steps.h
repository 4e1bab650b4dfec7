// Work on the similarities of two sets of rows, s_ij = a_i . b_j, a tile at a time: the whole
// matrix is never stored.
//
// A block has kTile rows of the first set and goes over some tiles of the second's, in order. Its
// threads hold a tile's products in registers, kTall x kWide each, while kDepth columns of the rows
// at a time come through shared memory: one panel of them is filled as another is multiplied.

#ifndef HVDREC_KERNELS_GPU_TILE_STEPS_H_
#define HVDREC_KERNELS_GPU_TILE_STEPS_H_

#include <cmath>

#include "kernels/gpu/steps.h"

namespace hvdrec {

constexpr int kTile = 64;
constexpr int kTall = 8, kWide = 4;     // of a thread's products
constexpr int kAcross = kTile / kWide;  // threads along a tile's edge
constexpr int kTileThreads = kAcross * kTile / kTall;
constexpr int kStride = kTile + 4;       // of shared memory: four at a time, on other banks
constexpr int64_t kEnoughBlocks = 1024;  // a few for each multiprocessor of the largest GPUs

// Columns of a panel. Fewer for double, because a block has 48 KB.
template <typename T>
constexpr int kDepth = sizeof(T) > 4 ? 8 : 16;

// Two sets of rows of `dim` numbers, and the number of parts that the second one's tiles are
// divided into, so that few rows of the first still give enough blocks. Determined only by their
// sizes.
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
};

// The position of a thread: in the block's tiles, and in the steps of one tile. Incremented from
// step to step, because 64-bit divisions take longer than a step.
struct TilePlace {
  int64_t first_row, part, tile, last_tile;
  int phase;

  template <typename T>
  HVDREC_HD static TilePlace First(const TileSets<T>& sets, int64_t block) {
    const int64_t parts = sets.parts(), tiles = sets.column_tiles(), part = block % parts;
    return {block / parts * kTile, part, part * tiles / parts, (part + 1) * tiles / parts, 0};
  }
  HVDREC_HD void Advance(int phases) {
    if (++phase < phases || tile == last_tile) return;
    phase = 0;
    ++tile;
  }
  // The number of tiles of the block.
  template <typename T>
  HVDREC_HD static int64_t Tiles(const TileSets<T>& sets, int64_t block) {
    const TilePlace place = First(sets, block);
    return place.last_tile - place.tile;
  }
};

// kDepth numbers of each of kTile rows, those of a column adjacent.
template <typename T>
struct alignas(16) TilePanel {
  T at[kDepth<T>][kStride];
};

template <typename T>
struct TileStage {
  TilePanel<T> rows[2], columns[2];
};

template <typename T>
struct TileProducts {
  T sums[kTall][kWide];

  HVDREC_HD void Clear() {
    HVDREC_UNROLL
    for (int i = 0; i < kTall; ++i) {
      HVDREC_UNROLL
      for (int j = 0; j < kWide; ++j) sums[i][j] = 0;
    }
  }
};

// A thread's position among the products.
HVDREC_HD inline int FirstTall(int thread) { return thread / kAcross * kTall; }
HVDREC_HD inline int FirstWide(int thread) { return thread % kAcross * kWide; }

// Four numbers of shared memory at once.
template <typename T>
struct alignas(16) Four {
  T at[4];

  HVDREC_HD static Four Load(const T* from) { return *reinterpret_cast<const Four*>(from); }
  HVDREC_HD void Store(T* to) const { *reinterpret_cast<Four*>(to) = *this; }
};

// A thread's numbers of a panel, on their way from the GPU's memory.
template <typename T>
struct PanelShare {
  static constexpr int kCount = kTile * kDepth<T> / kTileThreads;
  static constexpr int kApart = kTileThreads / kDepth<T>;  // rows from one number to the next

  T values[kCount];

  // The numbers from `from` on of kTile rows from `first` on; 0 past the end of either.
  HVDREC_HD void Fetch(const T* rows, int64_t count, int64_t dim, int64_t first, int64_t from,
                       int thread) {
    const int k = thread % kDepth<T>, r = thread / kDepth<T>;
    const int64_t left = from + k < dim ? count - first - r : 0;
    const T* const at = rows + (first + r) * dim + from + k;
    HVDREC_UNROLL
    for (int i = 0; i < kCount; ++i) {
      values[i] = i * kApart < left ? at[i * kApart * dim] : T(0);
    }
  }
  HVDREC_HD void Keep(int thread, TilePanel<T>* panel) const {
    const int k = thread % kDepth<T>, r = thread / kDepth<T>;
    HVDREC_UNROLL
    for (int i = 0; i < kCount; ++i) panel->at[k][r + i * kApart] = values[i];
  }

  // The same for kTile numbers of kDepth rows: the transposed panel.
  HVDREC_HD void FetchTurned(const T* rows, int64_t count, int64_t dim, int64_t first, int64_t from,
                             int thread) {
    const int d = thread % kTile, r = thread / kTile;
    const int64_t left = from + d < dim ? count - first - r : 0;
    const T* const at = rows + (first + r) * dim + from + d;
    HVDREC_UNROLL
    for (int i = 0; i < kCount; ++i) {
      values[i] = i * (kTileThreads / kTile) < left ? at[i * (kTileThreads / kTile) * dim] : T(0);
    }
  }
  HVDREC_HD void KeepTurned(int thread, TilePanel<T>* panel) const {
    const int d = thread % kTile, r = thread / kTile;
    HVDREC_UNROLL
    for (int i = 0; i < kCount; ++i) panel->at[r + i * (kTileThreads / kTile)][d] = values[i];
  }
};

// Adds the products of two panels' columns.
template <typename T>
HVDREC_HD inline void AddProducts(const T (*tall)[kStride], const T (*wide)[kStride], int thread,
                                  TileProducts<T>* products) {
  const int r = FirstTall(thread), c = FirstWide(thread);
  HVDREC_UNROLL
  for (int k = 0; k < kDepth<T>; ++k) {
    const Four<T> upper = Four<T>::Load(&tall[k][r]), lower = Four<T>::Load(&tall[k][r + 4]);
    const Four<T> across = Four<T>::Load(&wide[k][c]);
    HVDREC_UNROLL
    for (int i = 0; i < kTall; ++i) {
      HVDREC_UNROLL
      for (int j = 0; j < kWide; ++j) {
        products->sums[i][j] += (i < 4 ? upper.at[i % 4] : lower.at[i % 4]) * across.at[j];
      }
    }
  }
}

// Steps that make the products of one tile: one for each panel, and one before them.
template <typename T>
HVDREC_HD inline int ProductSteps(int64_t dim) {
  return 1 + static_cast<int>((dim + kDepth<T> - 1) / kDepth<T>);
}

template <typename T>
HVDREC_HD inline void ProductStep(const TileSets<T>& sets, int step, int64_t first_row,
                                  int64_t first_column, int thread, TileStage<T>* stage,
                                  TileProducts<T>* products) {
  PanelShare<T> rows, columns;
  const int64_t from = static_cast<int64_t>(step) * kDepth<T>;
  const bool more = from < sets.dim;
  if (more) {
    rows.Fetch(sets.rows, sets.row_count, sets.dim, first_row, from, thread);
    columns.Fetch(sets.columns, sets.column_count, sets.dim, first_column, from, thread);
  }
  if (step == 0) {
    products->Clear();
  } else {
    AddProducts(stage->rows[(step - 1) % 2].at, stage->columns[(step - 1) % 2].at, thread,
                products);
  }
  if (more) {
    rows.Keep(thread, &stage->rows[step % 2]);
    columns.Keep(thread, &stage->columns[step % 2]);
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
    union {
      TileStage<T> stage;
      T tile[kTile][kStride];
      State states[kThreads];
    };
  };
  struct Local {
    TilePlace place;
    TileProducts<T> products;
    State state;
  };

  TileSets<T> sets;
  Visit visit;
  State* out;  // [row][part]

  HVDREC_HD int PerTile() const { return ProductSteps<T>(sets.dim) + 2; }
  HVDREC_HD int64_t Steps(int64_t block) const {
    return TilePlace::Tiles(sets, block) * PerTile() + 2;
  }

  HVDREC_HD void Step(int64_t step, int64_t block, int thread, Shared* shared, Local* local) const {
    TilePlace* const place = &local->place;
    if (step == 0) {
      *place = TilePlace::First(sets, block);
      visit.Clear(&local->state);
    }
    const int per_tile = PerTile();
    const int64_t first_column = place->tile * kTile;
    if (place->tile == place->last_tile) {
      End(*place, thread, shared, local->state);
    } else if (place->phase < per_tile - 2) {
      ProductStep(sets, place->phase, place->first_row, first_column, thread, &shared->stage,
                  &local->products);
    } else if (place->phase == per_tile - 2) {
      const int r = FirstTall(thread), c = FirstWide(thread);
      HVDREC_UNROLL
      for (int i = 0; i < kTall; ++i) {
        const T* const sums = local->products.sums[i];
        Four<T>{sums[0], sums[1], sums[2], sums[3]}.Store(&shared->tile[r + i][c]);
      }
    } else {
      Add(place->first_row, first_column, thread, *shared, &local->state);
    }
    place->Advance(per_tile);
  }

  // A thread's part of a row of the tile. Adjacent threads have consecutive rows.
  HVDREC_HD void Add(int64_t first_row, int64_t first_column, int thread, const Shared& shared,
                     State* state) const {
    constexpr int kOwn = kTile / kSharers;
    const int r = thread % kTile, first = thread / kTile * kOwn;
    const int64_t row = first_row + r, left = sets.column_count - first_column;
    if (row >= sets.row_count) return;
    for (int c = first; c < first + kOwn && c < left; c += 4) {
      const Four<T> four = Four<T>::Load(&shared.tile[r][c]);
      HVDREC_UNROLL
      for (int j = 0; j < 4; ++j) {
        if (c + j < left) visit.Add(state, row, first_column + c + j, four.at[j]);
      }
    }
  }

  HVDREC_HD void End(const TilePlace& place, int thread, Shared* shared, const State& state) const {
    if (place.phase == 0) {
      shared->states[thread] = state;
      return;
    }
    const int64_t row = place.first_row + thread;
    if (thread >= kTile || row >= sets.row_count) return;
    State sum = shared->states[thread];
    for (int k = 1; k < kSharers; ++k) visit.Merge(&sum, shared->states[thread + k * kTile]);
    out[row * sets.parts() + place.part] = sum;
  }
};

// out_i = sum over j of coefficient(i, j, s_ij) b_j, separately for each part of the columns.
template <typename T, typename Coefficient>
struct TileApply {
  static constexpr int kThreads = kTileThreads;
  static constexpr int kPanels = kTile / kDepth<T>;  // of a tile's columns
  struct Shared {
    union {
      TileStage<T> stage;
      T tile[kTile][kStride];  // coefficients, those of a column adjacent
    };
    TilePanel<T> others[2];  // of the columns' rows, kTile numbers
  };
  struct Local {
    TilePlace place;
    TileProducts<T> products;
  };

  TileSets<T> sets;
  Coefficient coefficient;
  T* out;  // [part][row][dim], 0 at first

  // After the products: a step for the coefficients, and for each kTile numbers of a row as many as
  // a tile has panels.
  HVDREC_HD int AfterProducts() const {
    return 1 + kPanels * static_cast<int>((sets.dim + kTile - 1) / kTile);
  }
  HVDREC_HD int64_t Steps(int64_t block) const {
    return TilePlace::Tiles(sets, block) * (ProductSteps<T>(sets.dim) + AfterProducts());
  }

  HVDREC_HD void Step(int64_t step, int64_t block, int thread, Shared* shared, Local* local) const {
    TilePlace* const place = &local->place;
    if (step == 0) *place = TilePlace::First(sets, block);
    const int products = ProductSteps<T>(sets.dim);
    const int64_t first_column = place->tile * kTile;
    if (place->phase < products) {
      ProductStep(sets, place->phase, place->first_row, first_column, thread, &shared->stage,
                  &local->products);
    } else if (place->phase == products) {
      SetCoefficients(place->first_row, first_column, thread, local->products, shared);
    } else {
      Multiply(*place, place->phase - products - 1, thread, shared, &local->products);
    }
    place->Advance(products + AfterProducts());
  }

  HVDREC_HD void SetCoefficients(int64_t first_row, int64_t first_column, int thread,
                                 const TileProducts<T>& products, Shared* shared) const {
    PanelShare<T> others;
    others.FetchTurned(sets.columns, sets.column_count, sets.dim, first_column, 0, thread);
    const int r = FirstTall(thread), c = FirstWide(thread);
    HVDREC_UNROLL
    for (int j = 0; j < kWide; ++j) {
      HVDREC_UNROLL
      for (int i = 0; i < kTall; ++i) {
        const int64_t row = first_row + r + i, column = first_column + c + j;
        const bool inside = row < sets.row_count && column < sets.column_count;
        shared->tile[c + j][r + i] = inside ? coefficient(row, column, products.sums[i][j]) : T(0);
      }
    }
    others.KeepTurned(thread, &shared->others[0]);
  }

  // One panel of columns of the coefficients times kTile numbers of their rows. The sum after the
  // last
  // panel is written to the numbers of `out` that no other thread writes.
  HVDREC_HD void Multiply(const TilePlace& place, int step, int thread, Shared* shared,
                          TileProducts<T>* sums) const {
    const int panel = step % kPanels;
    const int64_t first_number = static_cast<int64_t>(step / kPanels) * kTile;
    const int next = (step + 1) % kPanels;
    const int64_t next_number = static_cast<int64_t>((step + 1) / kPanels) * kTile;
    const bool more = next_number < sets.dim;
    PanelShare<T> others;
    if (more) {
      others.FetchTurned(sets.columns, sets.column_count, sets.dim,
                         place.tile * kTile + next * kDepth<T>, next_number, thread);
    }
    if (panel == 0) sums->Clear();
    AddProducts(&shared->tile[panel * kDepth<T>], shared->others[step % 2].at, thread, sums);
    if (more) others.KeepTurned(thread, &shared->others[(step + 1) % 2]);
    if (panel == kPanels - 1) AddTo(place, first_number, thread, *sums);
  }

  HVDREC_HD void AddTo(const TilePlace& place, int64_t first_number, int thread,
                       const TileProducts<T>& sums) const {
    const int64_t row = place.first_row + FirstTall(thread), d = first_number + FirstWide(thread);
    T* const to = out + (place.part * sets.row_count + row) * sets.dim + d;
    HVDREC_UNROLL
    for (int i = 0; i < kTall; ++i) {
      HVDREC_UNROLL
      for (int j = 0; j < kWide; ++j) {
        if (row + i < sets.row_count && d + j < sets.dim) to[i * sets.dim + j] += sums.sums[i][j];
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

// A row's state, merged from those of its parts.
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
