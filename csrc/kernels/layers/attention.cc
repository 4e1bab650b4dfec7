#include "kernels/layers/attention.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/base/array.h"
#include "kernels/base/exp_row.h"
#include "kernels/base/row_math.h"
#include "kernels/base/small_product.h"

namespace hvdrec {
namespace {

// Rows of the batch that are processed together.
constexpr int64_t kRows = 32;
// A gradient that rows share is summed in at most this many parts, each as large as the kernel.
constexpr int64_t kParts = 32;

// Where the elements of each row begin, and E.
std::vector<int64_t> Starts(const Histories& histories) {
  std::vector<int64_t> starts(static_cast<size_t>(histories.rows) + 1);
  for (int64_t b = 0; b < histories.rows; ++b) {
    const int64_t length = histories.lengths[b];
    if (length < 0) {
      throw std::invalid_argument("row " + std::to_string(b) + " has " + std::to_string(length) +
                                  " elements");
    }
    starts[b + 1] = starts[b] + length;
  }
  if (starts.back() != histories.elements) {
    throw std::invalid_argument("the lengths have sum " + std::to_string(starts.back()) +
                                ", and there are " + std::to_string(histories.elements) +
                                " elements");
  }
  return starts;
}

// The parts of a kernel in the order of its rows, and what is computed from them once.
struct Parts {
  const float* query;       // Kq, [D, O]
  const float* element;     // Kh
  const float* difference;  // Kd
  const float* factor;      // Kp
  Array<float> of_query;    // Kq + Kd
  Array<float> of_element;  // Kh - Kd

  explicit Parts(const AttentionProduct& p)
      : query(p.kernel),
        element(query + p.width * p.outputs),
        difference(element + p.width * p.outputs),
        factor(difference + p.width * p.outputs) {
    const int64_t size = p.width * p.outputs;
    of_query.resize(size);
    of_element.resize(size);
    for (int64_t i = 0; i < size; ++i) {
      of_query[i] = query[i] + difference[i];
      of_element[i] = element[i] - difference[i];
    }
  }
};

Array<float> Transposed(const float* matrix, int64_t rows, int64_t columns) {
  Array<float> out(static_cast<size_t>(rows * columns));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) out[c * rows + r] = matrix[r * columns + c];
  }
  return out;
}

// out = plain + diag(query) factor, for [D, O].
void RowMatrix(const float* __restrict plain, const float* __restrict factor,
               const float* __restrict query, int64_t width, int64_t outputs,
               float* __restrict out) {
  for (int64_t d = 0; d < width; ++d) {
    for (int64_t o = 0; o < outputs; ++o) {
      const int64_t i = d * outputs + o;
      out[i] = plain[i] + query[d] * factor[i];
    }
  }
}

// The same for transposed matrices, [O, D].
void RowMatrixTransposed(const float* __restrict plain, const float* __restrict factor,
                         const float* __restrict query, int64_t width, int64_t outputs,
                         float* __restrict out) {
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t d = 0; d < width; ++d) {
      const int64_t i = o * width + d;
      out[i] = plain[i] + query[d] * factor[i];
    }
  }
}

// One row's matrix M takes the gradient `own` [D, O]: adds it to that of Kh - Kd, and to those of
// the factor and of the query.
void FromRowMatrix(const float* __restrict own, const float* __restrict factor,
                   const float* __restrict query, int64_t width, int64_t outputs,
                   float* __restrict of_element, float* __restrict of_factor,
                   float* __restrict by_query) {
  for (int64_t d = 0; d < width; ++d) {
    const int64_t at = d * outputs;
    for (int64_t o = 0; o < outputs; ++o) {
      of_element[at + o] += own[at + o];
      of_factor[at + o] += query[d] * own[at + o];
    }
    by_query[d] += Dot(factor + at, own + at, outputs);
  }
}

// What a chunk of rows adds to the gradients that all rows share.
struct Shared {
  Array<float> of_query, of_element, of_factor, padding;

  Shared(int64_t size, int64_t width)
      : of_query(size, 0.0F), of_element(size, 0.0F), of_factor(size, 0.0F), padding(width, 0.0F) {}
};

// Sums the chunks in their order.
void Combine(const AttentionProduct& p, const std::vector<Shared>& chunks,
             const AttentionProductGradients& out, const Parallel& parallel) {
  const int64_t size = p.width * p.outputs;
  std::fill_n(out.kernel, 4 * size, 0.0F);
  float* const query = out.kernel;
  float* const element = query + size;
  float* const difference = element + size;
  float* const factor = difference + size;
  ForChunks(parallel, size, 1024, [&](int64_t, int64_t begin, int64_t end) {
    for (const Shared& chunk : chunks) {
      AddRow(chunk.of_query.data() + begin, end - begin, query + begin);
      AddRow(chunk.of_element.data() + begin, end - begin, element + begin);
      AddRow(chunk.of_factor.data() + begin, end - begin, factor + begin);
    }
    for (int64_t i = begin; i < end; ++i) difference[i] = query[i] - element[i];
  });
  if (p.padding == nullptr) return;
  std::fill_n(out.padding, p.width, 0.0F);
  for (const Shared& chunk : chunks) AddRow(chunk.padding.data(), p.width, out.padding);
}

}  // namespace

void AttentionProductForward(const AttentionProduct& p, float* linear, const Parallel& parallel) {
  const int64_t width = p.width, outputs = p.outputs;
  const std::vector<int64_t> starts = Starts(p.histories);
  const Parts parts(p);
  float* const padded = linear + p.histories.elements * outputs;
  ForChunks(parallel, p.histories.rows, kRows, [&](int64_t, int64_t begin, int64_t end) {
    Array<float> matrix(static_cast<size_t>(width * outputs));
    Array<float> by_row(static_cast<size_t>((end - begin) * outputs));
    SmallProduct({p.query + begin * width, width, 1}, end - begin, parts.of_query.data(), outputs,
                 width, outputs, false, by_row.data(), outputs);
    for (int64_t b = begin; b < end; ++b) {
      const float* const own = by_row.data() + (b - begin) * outputs;
      const int64_t length = starts[b + 1] - starts[b];
      const bool pads = p.padded && p.padding != nullptr;
      if (length > 0 || pads) {
        RowMatrix(parts.of_element.data(), parts.factor, p.query + b * width, width, outputs,
                  matrix.data());
      }
      float* const out = linear + starts[b] * outputs;
      for (int64_t e = 0; e < length; ++e) std::copy_n(own, outputs, out + e * outputs);
      SmallProduct({p.values + starts[b] * width, width, 1}, length, matrix.data(), outputs, width,
                   outputs, true, out, outputs);
      if (!p.padded) continue;
      std::copy_n(own, outputs, padded + b * outputs);
      if (pads) {
        SmallProduct({p.padding, width, 1}, 1, matrix.data(), outputs, width, outputs, true,
                     padded + b * outputs, outputs);
      }
    }
  });
}

void AttentionProductBackward(const AttentionProduct& p, const float* upstream,
                              const AttentionProductGradients& out, const Parallel& parallel) {
  const int64_t width = p.width, outputs = p.outputs, size = width * outputs;
  const std::vector<int64_t> starts = Starts(p.histories);
  const Parts parts(p);
  const Array<float> of_query = Transposed(parts.of_query.data(), width, outputs);
  const Array<float> of_element = Transposed(parts.of_element.data(), width, outputs);
  const Array<float> of_factor = Transposed(parts.factor, width, outputs);
  const float* const padded = upstream + p.histories.elements * outputs;
  const int64_t rows = std::max(kRows, ChunkCount(p.histories.rows, kParts));
  std::vector<Shared> chunks(ChunkCount(p.histories.rows, rows), Shared(0, 0));
  ForChunks(parallel, p.histories.rows, rows, [&](int64_t chunk, int64_t begin, int64_t end) {
    Shared& shared = chunks[chunk] = Shared(size, width);
    Array<float> matrix(static_cast<size_t>(size)), own(static_cast<size_t>(size));
    Array<float> sums(static_cast<size_t>((end - begin) * outputs), 0.0F);
    for (int64_t b = begin; b < end; ++b) {
      const int64_t length = starts[b + 1] - starts[b];
      const float* const g = upstream + starts[b] * outputs;
      for (int64_t e = 0; e < length; ++e) {
        AddRow(g + e * outputs, outputs, sums.data() + (b - begin) * outputs);
      }
      if (p.padded) AddRow(padded + b * outputs, outputs, sums.data() + (b - begin) * outputs);
    }
    SmallProduct({sums.data(), outputs, 1}, end - begin, of_query.data(), width, outputs, width,
                 false, out.query + begin * width, width);
    SmallProduct({p.query + begin * width, 1, width}, width, sums.data(), outputs, end - begin,
                 outputs, false, shared.of_query.data(), outputs);
    for (int64_t b = begin; b < end; ++b) {
      const int64_t length = starts[b + 1] - starts[b];
      const bool pads = p.padded && p.padding != nullptr;
      if (length == 0 && !pads) continue;
      const float* const query = p.query + b * width;
      const float* const g = upstream + starts[b] * outputs;
      RowMatrixTransposed(of_element.data(), of_factor.data(), query, width, outputs,
                          matrix.data());
      SmallProduct({g, outputs, 1}, length, matrix.data(), width, outputs, width, false,
                   out.values + starts[b] * width, width);
      SmallProduct({p.values + starts[b] * width, 1, width}, width, g, outputs, length, outputs,
                   false, own.data(), outputs);
      if (pads) {
        const float* const g_padded = padded + b * outputs;
        SmallProduct({g_padded, outputs, 1}, 1, matrix.data(), width, outputs, width, true,
                     shared.padding.data(), width);
        SmallProduct({p.padding, 1, width}, width, g_padded, outputs, 1, outputs, true, own.data(),
                     outputs);
      }
      FromRowMatrix(own.data(), parts.factor, query, width, outputs, shared.of_element.data(),
                    shared.of_factor.data(), out.query + b * width);
    }
  });
  Combine(p, chunks, out, parallel);
}

void AttendForward(const Histories& histories, int64_t width, const float* scores,
                   const float* values, float* attended, float* shares, const Parallel& parallel) {
  const std::vector<int64_t> starts = Starts(histories);
  ForChunks(parallel, histories.rows, kRows, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      float* const out = attended + b * width;
      std::fill_n(out, width, 0.0F);
      const int64_t first = starts[b], length = starts[b + 1] - first;
      if (length == 0) continue;
      const float most = *std::max_element(scores + first, scores + first + length);
      float* const own = shares + first;
      // The largest score is subtracted before, so that no exponent is above 0 by rounding.
      bool defined = true;
      for (int64_t e = 0; e < length; ++e) {
        own[e] = scores[first + e] - most;
        defined &= own[e] <= 0.0F;
      }
      const float sum = ExpRow(own, length, 1.0F, 0.0F);
      const float factor = defined ? 1.0F / sum : std::numeric_limits<float>::quiet_NaN();
      for (int64_t e = 0; e < length; ++e) own[e] *= factor;
      SmallProduct({own, length, 1}, 1, values + first * width, width, length, width, false, out,
                   width);
    }
  });
}

void AttendBackward(const Histories& histories, int64_t width, const float* shares,
                    const float* values, const float* by_attended, const float* by_shares,
                    float* by_scores, float* by_values, const Parallel& parallel) {
  const std::vector<int64_t> starts = Starts(histories);
  ForChunks(parallel, histories.rows, kRows, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const float* const __restrict g = by_attended + b * width;
      float mean = 0;
      for (int64_t e = starts[b]; e < starts[b + 1]; ++e) {
        const float* const __restrict value = values + e * width;
        float* const __restrict out = by_values + e * width;
        for (int64_t d = 0; d < width; ++d) out[d] = shares[e] * g[d];
        by_scores[e] = Dot(g, value, width) + by_shares[e];
        mean += shares[e] * by_scores[e];
      }
      for (int64_t e = starts[b]; e < starts[b + 1]; ++e) {
        by_scores[e] = shares[e] * (by_scores[e] - mean);
      }
    }
  });
}

}  // namespace hvdrec
