#include "kernels/layers/panels.h"

#include <algorithm>
#include <cstring>

#include "kernels/layers/amx_product.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#endif

namespace hvdrec {
namespace {

constexpr int64_t kLanes = Panels::kColumns / 2;
using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));

// Rows of a product that are computed together: as many as there are registers for.
#if defined(__AVX512F__)
constexpr int kRows = 8;
#else
constexpr int kRows = 4;
#endif

inline Vector Load(const float* from) {
  Vector v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

inline void Store(float* to, Vector v) { std::memcpy(to, &v, sizeof(v)); }

// a * b + c.
inline Vector MultiplyAdd(float a, Vector b, Vector c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(_mm512_set1_ps(a), b, c);
#elif defined(__AVX2__) && defined(__FMA__)
  return _mm256_fmadd_ps(_mm256_set1_ps(a), b, c);
#else
  return a * b + c;
#endif
}

// The part of a product that is computed at once: some rows of `a` times a panel.
struct Tile {
  const float* rows[kRows];  // the last ones repeat where there are fewer
  int64_t step;              // between the terms of a row
  int64_t terms;
  int64_t height;  // rows and columns that are written
  int64_t width;
  bool add;
  float* out;
  int64_t stride;
};

// Writes or adds the first rows and columns of a tile's sums.
void WritePart(const Tile& tile, const Vector (&sums)[kRows][2]) {
  for (int64_t r = 0; r < tile.height; ++r) {
    float whole[Panels::kColumns];
    Store(whole, sums[r][0]);
    Store(whole + kLanes, sums[r][1]);
    float* const to = tile.out + r * tile.stride;
    for (int64_t c = 0; c < tile.width; ++c) to[c] = tile.add ? to[c] + whole[c] : whole[c];
  }
}

// Sums over k of rows[r][k * step] * panel[k].
void Multiply(const Tile& tile, const float* panel) {
  Vector sums[kRows][2] = {};
  const float* rows[kRows];
  std::copy_n(tile.rows, kRows, rows);
  const int64_t step = tile.step;
  for (int64_t k = 0; k < tile.terms; ++k, panel += Panels::kColumns) {
    const Vector left = Load(panel);
    const Vector right = Load(panel + kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const float factor = rows[r][k * step];
      sums[r][0] = MultiplyAdd(factor, left, sums[r][0]);
      sums[r][1] = MultiplyAdd(factor, right, sums[r][1]);
    }
  }
  if (tile.height < kRows || tile.width < Panels::kColumns) {
    Vector kept[kRows][2];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      kept[r][0] = sums[r][0];
      kept[r][1] = sums[r][1];
    }
    WritePart(tile, kept);
    return;
  }
  float* to = tile.out;
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r, to += tile.stride) {
    Store(to, tile.add ? Load(to) + sums[r][0] : sums[r][0]);
    Store(to + kLanes, tile.add ? Load(to + kLanes) + sums[r][1] : sums[r][1]);
  }
}

}  // namespace

bool Panels::SplitsBest([[maybe_unused]] int64_t k, [[maybe_unused]] int64_t n) {
#if HVDREC_AMX
  return AmxMultipliesFaster(k, n) && HasAmx();
#else
  return false;
#endif
}

Panels::Panels(int64_t k, int64_t n, bool split)
    : k_(k),
      n_(n),
      split_(split),
#if HVDREC_AMX
      size_(split ? AmxPanelSize(k) : k * kColumns),
#else
      size_(k * kColumns),
#endif
      storage_(static_cast<size_t>(size_ * count())) {
}

void Panels::Pack(int64_t panel, const float* matrix, int64_t stride) {
  const int64_t columns = std::min(kColumns, n_ - panel * kColumns);
  float* to = this->panel(panel);
  const float* from = matrix + panel * kColumns;
#if HVDREC_AMX
  if (split_) return AmxPack({from, k_, columns, stride}, false, to);
#endif
  for (int64_t k = 0; k < k_; ++k, from += stride, to += kColumns) {
    if (columns == kColumns) {
      std::memcpy(to, from, sizeof(float) * kColumns);
    } else {
      std::fill(std::copy_n(from, columns, to), to + kColumns, 0.0F);
    }
  }
}

void Panels::PackTransposed(int64_t panel, const float* matrix, int64_t stride) {
  const int64_t columns = std::min(kColumns, n_ - panel * kColumns);
  float* const to = this->panel(panel);
  const float* const first = matrix + panel * kColumns * stride;
#if HVDREC_AMX
  if (split_) return AmxPack({first, columns, k_, stride}, true, to);
#endif
  if (columns < kColumns) std::fill_n(to, size_, 0.0F);
  for (int64_t c = 0; c < columns; ++c) {
    const float* const from = first + c * stride;
    for (int64_t k = 0; k < k_; ++k) to[k * kColumns + c] = from[k];
  }
}

void Panels::Multiply(const float* a, int64_t m, float* out) const {
#if HVDREC_AMX
  if (split_) return AmxMultiply({a, m, k_, k_}, panel(0), n_, out);
#endif
  for (int64_t p = 0; p < count(); ++p) {
    Tile tile{{}, 1, k_, kRows, std::min(kColumns, n_ - p * kColumns), false, nullptr, n_};
    for (int64_t row = 0; row < m; row += kRows) {
      for (int64_t r = 0; r < kRows; ++r) tile.rows[r] = a + std::min(row + r, m - 1) * k_;
      tile.height = std::min<int64_t>(kRows, m - row);
      tile.out = out + row * n_ + p * kColumns;
      hvdrec::Multiply(tile, panel(p));
    }
  }
}

void Panels::MultiplyTransposed(const float* a, int64_t m, int64_t a_stride, bool add, float* out,
                                int64_t stride) const {
  for (int64_t p = 0; p < count(); ++p) {
    Tile tile{{}, a_stride, k_, kRows, std::min(kColumns, n_ - p * kColumns), add, nullptr, stride};
    for (int64_t row = 0; row < m; row += kRows) {
      for (int64_t r = 0; r < kRows; ++r) tile.rows[r] = a + std::min(row + r, m - 1);
      tile.height = std::min<int64_t>(kRows, m - row);
      tile.out = out + row * stride + p * kColumns;
      hvdrec::Multiply(tile, panel(p));
    }
  }
}

}  // namespace hvdrec
