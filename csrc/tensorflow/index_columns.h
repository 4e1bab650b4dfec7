// Some columns of a matrix of indices.

#ifndef HVDREC_TENSORFLOW_INDEX_COLUMNS_H_
#define HVDREC_TENSORFLOW_INDEX_COLUMNS_H_

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "kernels/base/scratch.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace hvdrec {

// Which columns an op reads; fewer than 0 stands for an index of any shape, as a whole.
struct ColumnRange {
  explicit ColumnRange(tensorflow::OpKernelConstruction* context) {
    OP_REQUIRES_OK(context, context->GetAttr("first", &first));
    OP_REQUIRES_OK(context, context->GetAttr("columns", &columns));
  }

  int64_t first = 0;
  int64_t columns = -1;
};

// The columns side by side. TensorFlow's own StridedSlice takes as long as the lookup itself.
class IndexColumns {
 public:
  // Throws std::invalid_argument where the index has fewer.
  IndexColumns(const tensorflow::Tensor& index, const ColumnRange& range) : shape_(index.shape()) {
    const int32_t* const from = index.flat<int32_t>().data();
    data_ = from;
    if (range.columns < 0) return;
    if (index.dims() != 2 || range.first + range.columns > index.dim_size(1)) {
      throw std::invalid_argument("an index has fewer columns than an op reads");
    }
    const int64_t rows = index.dim_size(0), stride = index.dim_size(1);
    shape_ = {rows, range.columns};
    if (range.columns == stride) return;
    copy_.resize(static_cast<size_t>(rows * range.columns));
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(from + r * stride + range.first, range.columns, copy_.data() + r * range.columns);
    }
    data_ = copy_.data();
  }

  const int32_t* data() const { return data_; }
  const tensorflow::TensorShape& shape() const { return shape_; }

 private:
  tensorflow::TensorShape shape_;
  Scratch<int32_t> copy_;
  const int32_t* data_;
};

}  // namespace hvdrec

#endif  // HVDREC_TENSORFLOW_INDEX_COLUMNS_H_
