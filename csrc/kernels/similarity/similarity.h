// Common to the similarity losses: the rows they are computed over, and their results.

#ifndef HVDREC_KERNELS_SIMILARITY_SIMILARITY_H_
#define HVDREC_KERNELS_SIMILARITY_SIMILARITY_H_

#include <cstdint>

namespace hvdrec {

// Embeddings e with their classes. s_ij = e_i . e_j is the similarity of two rows; rows of one
// label and one session are positives of each other, all other pairs are negatives.
//
// A loss is the mean over rows, as anchors, of a function of the row's similarities. The anchors
// may be limited to a range of the rows: the sum over them is then still divided by `rows`, so
// that the losses and the gradients of ranges that make up all rows add up to those of all rows.
template <typename T>
struct SimilarityBatch {
  const T* embeddings;      // [rows, dim], row by row
  const int64_t* labels;    // [rows]
  const int64_t* sessions;  // [rows], or null if all rows are one session
  int64_t rows;
  int64_t dim;
  int64_t first_anchor;
  int64_t anchors;
};

struct SimilarityResult {
  double loss = 0;
  // The first row with a number that isn't finite; -1 if there is none. If there is one,
  // loss and gradient are NaN.
  int64_t bad_row = -1;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_SIMILARITY_SIMILARITY_H_
