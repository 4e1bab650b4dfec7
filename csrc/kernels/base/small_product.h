// Products of small row-major matrices of floats, on the calling thread.
//
// Nothing is packed or allocated, so they cost little where one factor is small and stays in the
// cache; for large matrices see matmul.h. The order of additions depends only on the shapes and the
// kind of processor, as does whether a multiplication and an addition round once.

#ifndef HVDREC_KERNELS_BASE_SMALL_PRODUCT_H_
#define HVDREC_KERNELS_BASE_SMALL_PRODUCT_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__FMA__)
#include <immintrin.h>
#endif

namespace hvdrec {

// Numbers that a register holds, and registers of one row of a tile: kTileRows times as many sums
// fit into the registers of a processor.
#if defined(__AVX512F__)
constexpr int kProductLanes = 16, kProductRegisters = 4;
#elif defined(__AVX__)
constexpr int kProductLanes = 8, kProductRegisters = 2;
#else
constexpr int kProductLanes = 4, kProductRegisters = 2;
#endif
constexpr int kTileRows = 6;

// A matrix whose element (i, j) is data[i * row + j * column].
struct Strided {
  const float* data;
  int64_t row;
  int64_t column;
};

template <int lanes>
struct LaneVector;
template <>
struct LaneVector<1> {
  using Type = float;
};
template <>
struct LaneVector<4> {
  using Type = float __attribute__((vector_size(16)));
};
template <>
struct LaneVector<8> {
  using Type = float __attribute__((vector_size(32)));
};
template <>
struct LaneVector<16> {
  using Type = float __attribute__((vector_size(64)));
};

// a * b + c.
template <int lanes>
inline typename LaneVector<lanes>::Type MultiplyAdd(typename LaneVector<lanes>::Type a,
                                                    typename LaneVector<lanes>::Type b,
                                                    typename LaneVector<lanes>::Type c) {
#if defined(__AVX512F__)
  if constexpr (lanes == 16) return _mm512_fmadd_ps(a, b, c);
#endif
#if defined(__FMA__)
  if constexpr (lanes == 8) return _mm256_fmadd_ps(a, b, c);
  if constexpr (lanes == 4) return _mm_fmadd_ps(a, b, c);
  if constexpr (lanes == 1) return __builtin_fmaf(a, b, c);
#endif
  return a * b + c;
}

// `rows` rows and `registers` * `lanes` columns of a product.
template <int lanes, int rows, int registers>
inline void ProductTile(const Strided& a, const float* b, int64_t b_stride, int64_t depth,
                        bool adds, float* out, int64_t stride) {
  using V = typename LaneVector<lanes>::Type;
  V sums[rows][registers];
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < registers; ++v) {
      sums[r][v] = V{};
      if (adds) std::memcpy(&sums[r][v], out + r * stride + v * lanes, sizeof(V));
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    V right[registers];
    for (int v = 0; v < registers; ++v) {
      std::memcpy(&right[v], b + k * b_stride + v * lanes, sizeof(V));
    }
    for (int r = 0; r < rows; ++r) {
      const V left = V{} + a.data[r * a.row + k * a.column];
      for (int v = 0; v < registers; ++v) {
        sums[r][v] = MultiplyAdd<lanes>(left, right[v], sums[r][v]);
      }
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < registers; ++v) {
      std::memcpy(out + r * stride + v * lanes, &sums[r][v], sizeof(V));
    }
  }
}

// All rows of `registers` * `lanes` columns.
template <int lanes, int registers>
inline void ProductColumns(const Strided& a, int64_t rows, const float* b, int64_t b_stride,
                           int64_t depth, bool adds, float* out, int64_t stride) {
  int64_t r = 0;
  const auto at = [&](int64_t row) { return Strided{a.data + row * a.row, a.row, a.column}; };
  for (; r + kTileRows <= rows; r += kTileRows) {
    ProductTile<lanes, kTileRows, registers>(at(r), b, b_stride, depth, adds, out + r * stride,
                                             stride);
  }
  if (rows - r >= 4) {
    ProductTile<lanes, 4, registers>(at(r), b, b_stride, depth, adds, out + r * stride, stride);
    r += 4;
  }
  if (rows - r >= 2) {
    ProductTile<lanes, 2, registers>(at(r), b, b_stride, depth, adds, out + r * stride, stride);
    r += 2;
  }
  if (rows - r >= 1) {
    ProductTile<lanes, 1, registers>(at(r), b, b_stride, depth, adds, out + r * stride, stride);
  }
}

// As many groups of columns as fit, and half as wide ones for what is left.
template <int lanes, int registers>
inline void ProductRest(const Strided& a, int64_t rows, const float* b, int64_t b_stride,
                        int64_t depth, int64_t columns, bool adds, float* out, int64_t stride) {
  constexpr int kWidth = lanes * registers;
  int64_t c = 0;
  for (; c + kWidth <= columns; c += kWidth) {
    ProductColumns<lanes, registers>(a, rows, b + c, b_stride, depth, adds, out + c, stride);
  }
  if (c == columns) return;
  if constexpr (registers > 1) {
    ProductRest<lanes, registers / 2>(a, rows, b + c, b_stride, depth, columns - c, adds, out + c,
                                      stride);
  } else if constexpr (lanes > 1) {
    ProductRest<(lanes > 4 ? lanes / 2 : 1), 1>(a, rows, b + c, b_stride, depth, columns - c, adds,
                                                out + c, stride);
  }
}

// out [rows, columns] = a [rows, depth] b [depth, columns], added to `out` if `adds`; rows of b and
// of `out` are `b_stride` and `stride` numbers apart.
inline void SmallProduct(const Strided& a, int64_t rows, const float* b, int64_t b_stride,
                         int64_t depth, int64_t columns, bool adds, float* out, int64_t stride) {
  ProductRest<kProductLanes, kProductRegisters>(a, rows, b, b_stride, depth, columns, adds, out,
                                                stride);
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_SMALL_PRODUCT_H_
