#include "kernels/layers/amx_product.h"

#if HVDREC_AMX

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "kernels/base/scratch.h"

namespace hvdrec {
namespace {

// A tile register: 16 rows of 64 bytes. Of the first factor it holds 16 rows of 32 terms, of the
// second one 16 columns of 32 terms: row i is terms i and i + 16 of each column.
constexpr int64_t kSide = 16;
constexpr int64_t kTerms = 32;
constexpr int64_t kTile = kSide * 16;  // in floats
// Results are computed in blocks of 2 x 2 tiles.
constexpr int64_t kBlock = 2 * kSide;
// A step of 32 terms in memory: both tiles of the high parts, of the middle ones, and of the low
// ones.
constexpr int64_t kParts = 3;
constexpr int64_t kPart = 2 * kTile;
constexpr int64_t kStep = kParts * kPart;

constexpr int64_t Steps(int64_t terms) { return (terms + kTerms - 1) / kTerms; }

constexpr int64_t RoundUp(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// The tile registers of the calling thread during the lifetime of this object.
class Tiles {
 public:
  Tiles() {
    struct alignas(64) {
      uint8_t palette = 1;
      uint8_t start = 0;
      uint8_t reserved[14] = {};
      uint16_t bytes[16] = {};
      uint8_t rows[16] = {};
    } shapes;
    for (int i = 0; i < 8; ++i) {
      shapes.bytes[i] = 64;
      shapes.rows[i] = kSide;
    }
    _tile_loadconfig(&shapes);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

inline __m512i Bits(__m512 x) { return _mm512_castps_si512(x); }
inline __m512 Floats(__m512i x) { return _mm512_castsi512_ps(x); }

// The nearest bfloat16 as floats, of two the larger one; infinite for numbers close to it.
inline __m512 Nearest(__m512 x) {
  const __m512i bits = _mm512_add_epi32(Bits(x), _mm512_set1_epi32(0x8000));
  return Floats(_mm512_and_si512(bits, _mm512_set1_epi32(-0x10000)));
}

// The same, but finite.
inline __m512 NearestFinite(__m512 x) {
  const __m512 largest = Floats(_mm512_set1_epi32(0x7f7f0000));
  constexpr int kSmallerMagnitudeWithFirstSign = 0b0010;
  return _mm512_range_ps(Nearest(x), largest, kSmallerMagnitudeWithFirstSign);
}

// Pairs of bfloat16: the upper halves of the numbers, those of `first` in the lower halves.
inline void StorePairs(__m512 first, __m512 second, float* to) {
  const __m512i lower = _mm512_srli_epi32(Bits(first), 16);
  const __m512i mask = _mm512_set1_epi32(-0x10000);
  constexpr int kFirstOrSecondWithinThird = 0xf8;
  _mm512_store_si512(
      to, _mm512_ternarylogic_epi32(lower, Bits(second), mask, kFirstOrSecondWithinThird));
}

// Row i of a tile, from its first and its last 16 terms, or from terms i and i + 16. Of infinite
// numbers, `middle` is infinite and `low` NaN.
inline void StoreSplit(__m512 first, __m512 second, int64_t i, float* tile) {
  float* const to = tile + i * 16;
  __m512 a = NearestFinite(first), b = NearestFinite(second);
  StorePairs(a, b, to);
  first = _mm512_sub_ps(first, a);
  second = _mm512_sub_ps(second, b);
  a = Nearest(first), b = Nearest(second);
  StorePairs(a, b, to + kPart);
  // What is left has at most 8 bits.
  StorePairs(_mm512_sub_ps(first, a), _mm512_sub_ps(second, b), to + 2 * kPart);
}

// 16 numbers of a row, zeros beyond the matrix.
inline __m512 Load(const Matrix<float>& m, int64_t row, int64_t column) {
  const int64_t count = std::clamp<int64_t>(row < m.rows ? m.columns - column : 0, 0, kSide);
  if (count == 0) return _mm512_setzero_ps();
  const float* const from = m.data + row * m.stride + column;
  if (count == kSide) return _mm512_loadu_ps(from);
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << count) - 1), from);
}

using Square = __m512[kSide];

inline __m512i LoadQuarters(const float* from, int64_t stride) {
  const auto quarter = [&](int64_t row) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + row * stride));
  };
  __m512i v = _mm512_castsi128_si512(quarter(0));
  v = _mm512_inserti32x4(v, quarter(4), 1);
  v = _mm512_inserti32x4(v, quarter(8), 2);
  return _mm512_inserti32x4(v, quarter(12), 3);
}

// out[i] is column i of 16 x 16 numbers.
inline void TransposeWhole(const float* from, int64_t stride, Square& out) {
  for (int64_t q = 0; q < 4; ++q) {
    // Each vector has four columns of rows r, r + 4, r + 8, r + 12.
    const float* const at = from + 4 * q;
    const __m512i v0 = LoadQuarters(at, stride);
    const __m512i v1 = LoadQuarters(at + stride, stride);
    const __m512i v2 = LoadQuarters(at + 2 * stride, stride);
    const __m512i v3 = LoadQuarters(at + 3 * stride, stride);
    const __m512i low01 = _mm512_unpacklo_epi32(v0, v1), high01 = _mm512_unpackhi_epi32(v0, v1);
    const __m512i low23 = _mm512_unpacklo_epi32(v2, v3), high23 = _mm512_unpackhi_epi32(v2, v3);
    out[4 * q] = Floats(_mm512_unpacklo_epi64(low01, low23));
    out[4 * q + 1] = Floats(_mm512_unpackhi_epi64(low01, low23));
    out[4 * q + 2] = Floats(_mm512_unpacklo_epi64(high01, high23));
    out[4 * q + 3] = Floats(_mm512_unpackhi_epi64(high01, high23));
  }
}

// The same from a place in a matrix, zeros beyond it.
inline void Transpose(const Matrix<float>& m, int64_t row, int64_t column, Square& out) {
  if (row + kSide <= m.rows && column + kSide <= m.columns) {
    TransposeWhole(m.data + row * m.stride + column, m.stride, out);
    return;
  }
  alignas(64) float part[kSide * kSide];
  for (int64_t i = 0; i < kSide; ++i) {
    _mm512_store_ps(part + i * kSide, Load(m, row + i, column));
  }
  TransposeWhole(part, kSide, out);
}

// Splits a tile whose row i is, of a matrix from (row, column) on: its row i, in two halves;
// `pairs`: its rows i and i + 16; if `transposed`, columns instead of rows.
template <bool pairs, bool transposed>
void SplitTile(const Matrix<float>& m, int64_t row, int64_t column, float* tile) {
  constexpr int64_t kDown = pairs != transposed ? kSide : 0;
  constexpr int64_t kRight = kSide - kDown;
  if constexpr (transposed) {
    Square first, second;
    Transpose(m, row, column, first);
    Transpose(m, row + kDown, column + kRight, second);
    for (int64_t i = 0; i < kSide; ++i) StoreSplit(first[i], second[i], i, tile);
  } else {
    for (int64_t i = 0; i < kSide; ++i) {
      StoreSplit(Load(m, row + i, column), Load(m, row + i + kDown, column + kRight), i, tile);
    }
  }
}

// Splits `count` rows or columns of a factor from `at` on, those of its results: of the first
// factor rows, of the second one, which has `pairs`, columns; the other way round if `transposed`.
template <bool pairs, bool transposed>
void SplitFactor(const Matrix<float>& m, int64_t at, int64_t count, float* to) {
  constexpr bool kTermsDown = pairs != transposed;
  const int64_t terms = kTermsDown ? m.rows : m.columns;
  for (int64_t k = 0; k < terms; k += kTerms, to += kStep) {
    for (int64_t i = 0; i < count; i += kSide) {
      float* const tile = to + i / kSide * kTile;
      SplitTile<pairs, transposed>(m, kTermsDown ? k : at + i, kTermsDown ? at + i : k, tile);
    }
  }
}

constexpr int64_t kLine = 64;  // bytes between rows of a tile

template <int down, int across>
inline void LoadFirst(const float* part) {
  _tile_loadd(4, part, kLine);
  if constexpr (down > 1) _tile_loadd(5, part + kTile, kLine);
}

template <int down, int across>
inline void LoadSecond(const float* part) {
  _tile_loadd(6, part, kLine);
  if constexpr (across > 1) _tile_loadd(7, part + kTile, kLine);
}

template <int down, int across>
inline void AddProducts() {
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (across > 1) _tile_dpbf16ps(1, 4, 7);
  if constexpr (down > 1) _tile_dpbf16ps(2, 5, 6);
  if constexpr (down > 1 && across > 1) _tile_dpbf16ps(3, 5, 7);
}

// Adds the products of `down` x `across` tiles to `out`.
template <int down, int across>
void AddTiles(const float* a, const float* b, int64_t steps, bool adds, float* out,
              int64_t stride) {
  const int64_t bytes = stride * static_cast<int64_t>(sizeof(float));
  float* const below = out + kSide * stride;
  if (adds) {
    _tile_loadd(0, out, bytes);
    if constexpr (across > 1) _tile_loadd(1, out + kSide, bytes);
    if constexpr (down > 1) _tile_loadd(2, below, bytes);
    if constexpr (down > 1 && across > 1) _tile_loadd(3, below + kSide, bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t s = 0; s < steps; ++s, a += kStep, b += kStep) {
    // Small products first, and one new factor at a time.
    LoadFirst<down, across>(a + 2 * kPart);
    LoadSecond<down, across>(b);
    AddProducts<down, across>();
    LoadFirst<down, across>(a + kPart);
    AddProducts<down, across>();
    LoadSecond<down, across>(b + kPart);
    AddProducts<down, across>();
    LoadFirst<down, across>(a);
    AddProducts<down, across>();
    LoadSecond<down, across>(b + 2 * kPart);
    AddProducts<down, across>();
    LoadSecond<down, across>(b);
    AddProducts<down, across>();
  }
  _tile_stored(0, out, bytes);
  if constexpr (across > 1) _tile_stored(1, out + kSide, bytes);
  if constexpr (down > 1) _tile_stored(2, below, bytes);
  if constexpr (down > 1 && across > 1) _tile_stored(3, below + kSide, bytes);
}

// The first rows and columns of a block.
void Block(const float* a, const float* b, int64_t steps, int64_t rows, int64_t columns, bool adds,
           float* out, int64_t stride) {
  const auto add = rows > kSide ? (columns > kSide ? AddTiles<2, 2> : AddTiles<2, 1>)
                                : (columns > kSide ? AddTiles<1, 2> : AddTiles<1, 1>);
  if (rows % kSide == 0 && columns % kSide == 0) {
    add(a, b, steps, adds, out, stride);
    return;
  }
  alignas(64) float whole[kBlock * kBlock] = {};
  for (int64_t r = 0; adds && r < rows; ++r) {
    std::copy_n(out + r * stride, columns, whole + r * kBlock);
  }
  add(a, b, steps, adds, whole, kBlock);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(whole + r * kBlock, columns, out + r * stride);
  }
}

// Whether AMX is clearly faster, by calculated times, of which its own is a tenth too short.
bool Faster(int64_t amx, int64_t avx) { return 4 * amx <= 3 * avx; }

}  // namespace

bool HasAmx() {
  static const bool has = [] {
    constexpr long kRequest = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long kTileData = 18;
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  }();
  return has;
}

bool AmxMultipliesFaster(int64_t terms, int64_t columns) {
  // A 64th of a cycle for a row: splitting takes 26 for a term; products take 1 for a term and a
  // column, and 2 with AVX-512 (Sapphire Rapids).
  const int64_t amx = RoundUp(terms, kTerms) * (26 + RoundUp(columns, kSide));
  const int64_t avx = 2 * terms * RoundUp(columns, 2 * kSide);
  return Faster(amx, avx);
}

bool AmxMultipliesTransposedFaster(int64_t rows, int64_t columns) {
  const int64_t down = RoundUp(rows, kSide), across = RoundUp(columns, kSide);
  const int64_t amx = down * across + 26 * down + 20 * across;
  const int64_t avx = 2 * rows * RoundUp(columns, 2 * kSide);
  return Faster(amx, avx);
}

int64_t AmxPanelSize(int64_t terms) { return Steps(terms) * kStep; }

void AmxPack(const Matrix<float>& matrix, bool transposed, float* panel) {
  if (transposed) {
    SplitFactor<true, true>(matrix, 0, matrix.rows, panel);
  } else {
    SplitFactor<true, false>(matrix, 0, matrix.columns, panel);
  }
}

void AmxMultiply(const Matrix<float>& a, const float* panels, int64_t columns, float* out) {
  const int64_t steps = Steps(a.columns);
  const AlignedScratch<float> memory(static_cast<size_t>(steps * kStep));
  float* const split = memory.data();
  const Tiles tiles;
  for (int64_t row = 0; row < a.rows; row += kBlock) {
    const int64_t rows = std::min(kBlock, a.rows - row);
    SplitFactor<false, false>(a, row, rows, split);
    for (int64_t c = 0; c < columns; c += kBlock) {
      Block(split, panels + c / kBlock * steps * kStep, steps, rows, std::min(kBlock, columns - c),
            false, out + row * columns + c, columns);
    }
  }
}

void AmxMultiplyTransposed(const Matrix<float>& a, const Matrix<float>& b, bool adds, float* out,
                           int64_t stride) {
  const int64_t steps = Steps(a.rows);
  const int64_t across = (b.columns + kBlock - 1) / kBlock;
  const AlignedScratch<float> memory(static_cast<size_t>((across + 1) * steps * kStep));
  float* const first = memory.data();
  float* const second = first + steps * kStep;
  for (int64_t c = 0; c < across; ++c) {
    SplitFactor<true, false>(b, c * kBlock, std::min(kBlock, b.columns - c * kBlock),
                             second + c * steps * kStep);
  }
  const Tiles tiles;
  for (int64_t row = 0; row < a.columns; row += kBlock) {
    const int64_t rows = std::min(kBlock, a.columns - row);
    SplitFactor<false, true>(a, row, rows, first);
    for (int64_t c = 0; c < across; ++c) {
      Block(first, second + c * steps * kStep, steps, rows,
            std::min(kBlock, b.columns - c * kBlock), adds, out + row * stride + c * kBlock,
            stride);
    }
  }
}

}  // namespace hvdrec

#else

namespace hvdrec {
bool HasAmx() { return false; }
}  // namespace hvdrec

#endif
