// Columns of a batch that repeat, such as the embeddings of an id that many rows share: their part
// of a product is computed once for each distinct id instead of once for each row.
//
// In feature f, a class is all rows with the same id; their columns of x are equal. With x_f [C, W]
// the columns of each class and kernel_f [W, O] the feature's rows of the kernel, and the rest of
// the columns of x and rows of the kernel as they are:
//
//   x kernel     = x_rest kernel_rest + sum over f of (x_f kernel_f)[class of the row]
//   sums_f       = of the product's gradient over the rows of each class, [C, O]
//   d kernel_f   = x_f^T sums_f
//   d x_f        = sums_f kernel_f^T, in the first row of a class, zeros in its other rows
//
// The gradient of x is thus that of each class, and not of each row: what is behind x must add up
// the rows of a class, as the gradient of a lookup does.

#ifndef HVDREC_KERNELS_LAYERS_REPEATS_H_
#define HVDREC_KERNELS_LAYERS_REPEATS_H_

#include <cstdint>
#include <vector>

#include "kernels/base/scratch.h"

namespace hvdrec {

// Numbers the classes of each feature in the order of their first rows: `classes` is [features, B]
// from `index` [B, features], of which rows of a class have equal numbers. Throws
// std::invalid_argument where a number is negative.
void NumberClasses(const int32_t* index, int64_t rows, int64_t features, int32_t* classes);

// Which columns repeat. Features are in the order of their columns and don't overlap.
struct RepeatedColumns {
  const int32_t* classes = nullptr;  // [features, B], of NumberClasses
  int64_t features = 0;
  const int64_t* starts = nullptr;  // the first column of each
  const int64_t* widths = nullptr;
};

// The features of a batch that repeat so often that it saves time.
class Repeats {
 public:
  // `added` is the time of adding a number in memory, in multiplications. Throws
  // std::invalid_argument where columns are outside of [0, inputs), or classes aren't numbered so.
  Repeats(const RepeatedColumns& columns, int64_t rows, int64_t inputs, int64_t added);

  struct Feature {
    int64_t start;
    int64_t width;
    const int32_t* class_of;     // [B]
    std::vector<int32_t> first;  // [C], the first row of each class
  };

  const std::vector<Feature>& features() const { return features_; }
  bool none() const { return features_.empty(); }
  int64_t rows() const { return rows_; }
  int64_t inputs() const { return inputs_; }
  int64_t rest() const { return rest_; }  // columns of no feature

  // Copies the columns of no feature of some rows of x, [rows, inputs], to `out` [rows, rest()].
  void TakeRest(const float* x, int64_t rows, float* out) const;
  // The reverse; fills the features' columns with zeros.
  void PutRest(const float* rest, int64_t rows, float* x) const;
  // The same for the rows of a kernel [inputs, outputs].
  void TakeRestRows(const float* kernel, int64_t outputs, float* out) const;
  void PutRestRows(const float* rest, int64_t outputs, float* kernel) const;

 private:
  struct Range {
    int64_t begin;
    int64_t end;
  };

  std::vector<Feature> features_;
  std::vector<Range> ranges_;  // the rest
  const int64_t rows_;
  const int64_t inputs_;
  int64_t rest_ = 0;
};

// The features' part of the product.
class RepeatedProduct {
 public:
  RepeatedProduct(const Repeats& repeats, int64_t outputs);

  int64_t pieces() const { return static_cast<int64_t>(pieces_.size()); }
  // Multiplies some classes of a feature; all pieces come before Add.
  void Multiply(int64_t piece, const float* x, const float* kernel);
  // Adds the products of some rows to theirs, [end - begin, outputs].
  void Add(int64_t begin, int64_t end, float* product) const;

 private:
  struct Piece {
    size_t feature;
    int64_t begin;  // classes
    int64_t end;
  };

  const Repeats& repeats_;
  const int64_t outputs_;
  std::vector<Piece> pieces_;
  std::vector<int64_t> offsets_;  // of each feature in products_
  Scratch<float> products_;
};

// The features' part of the gradients.
class RepeatedGradient {
 public:
  RepeatedGradient(const Repeats& repeats, int64_t outputs);

  int64_t sums() const;
  // Adds up some columns of the product's gradient [B, outputs] for a feature, and sets these
  // columns of its rows of the kernel's gradient; all pieces come before Multiply.
  void Sum(int64_t piece, const float* gradient, const float* x, float* kernel_gradient);
  // Sets the gradient of a feature's columns in each class's first row.
  void Multiply(int64_t feature, const float* kernel, float* x_gradient) const;

 private:
  const Repeats& repeats_;
  const int64_t outputs_;
  std::vector<int64_t> offsets_;  // of each feature in sums_
  Scratch<float> sums_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_LAYERS_REPEATS_H_
