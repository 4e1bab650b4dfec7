#include "kernels/layers/repeats.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "kernels/base/parallel.h"
#include "kernels/base/small_product.h"

namespace hvdrec {
namespace {

// Classes that are multiplied, and columns that are summed, as one piece of work.
constexpr int64_t kClasses = 128;
constexpr int64_t kColumns = 64;
// Rows whose gradients are added up one by one.
constexpr int64_t kBlock = 1024;

inline void AddColumns(const float* __restrict from, int64_t columns, float* __restrict to) {
  if (columns == kColumns) {
    for (int64_t o = 0; o < kColumns; ++o) to[o] += from[o];
  } else {
    for (int64_t o = 0; o < columns; ++o) to[o] += from[o];
  }
}

// Finds the first rows of a feature's classes; false if there are more than `most`.
bool FindFirst(int64_t rows, int64_t most, Repeats::Feature* feature) {
  feature->first.resize(static_cast<size_t>(rows));
  int32_t* const first = feature->first.data();
  int32_t seen = 0;
  bool numbered = true;
  // Without branches, as no processor foresees which rows begin a class.
  for (int32_t r = 0; r < rows; ++r) {
    const int32_t c = feature->class_of[r];
    first[seen] = r;
    numbered &= c >= 0 && c <= seen;
    seen += static_cast<int32_t>(c == seen);
    if (r % 64 == 0 && seen > most) break;
  }
  if (!numbered) {
    throw std::invalid_argument("the classes of rows aren't numbered in the order of their rows");
  }
  feature->first.resize(static_cast<size_t>(seen));
  return seen <= most;
}

// The columns of each class side by side, [C, W].
Scratch<float> Distinct(const Repeats::Feature& feature, int64_t begin, int64_t end, const float* x,
                        int64_t inputs) {
  Scratch<float> found(static_cast<size_t>((end - begin) * feature.width));
  for (int64_t c = begin; c < end; ++c) {
    std::copy_n(x + feature.first[static_cast<size_t>(c)] * inputs + feature.start, feature.width,
                found.data() + (c - begin) * feature.width);
  }
  return found;
}

std::vector<int64_t> Offsets(const Repeats& repeats, int64_t outputs) {
  std::vector<int64_t> offsets{0};
  for (const auto& feature : repeats.features()) {
    offsets.push_back(offsets.back() + static_cast<int64_t>(feature.first.size()) * outputs);
  }
  return offsets;
}

}  // namespace

void NumberClasses(const int32_t* index, int64_t rows, int64_t features, int32_t* classes) {
  int32_t smallest = 0, largest = 0;
  for (int64_t i = 0; i < rows * features; ++i) {
    smallest = std::min(smallest, index[i]);
    largest = std::max(largest, index[i]);
  }
  if (smallest < 0) {
    throw std::invalid_argument("number " + std::to_string(smallest) + " of an id is negative");
  }
  std::vector<int32_t> numbers(static_cast<size_t>(largest) + 1, -1);
  for (int64_t f = 0; f < features; ++f) {
    int32_t seen = 0;
    for (int64_t r = 0; r < rows; ++r) {
      int32_t& number = numbers[static_cast<size_t>(index[r * features + f])];
      if (number < 0) number = seen++;
      classes[f * rows + r] = number;
    }
    for (int64_t r = 0; r < rows; ++r) {
      numbers[static_cast<size_t>(index[r * features + f])] = -1;
    }
  }
}

Repeats::Repeats(const RepeatedColumns& columns, int64_t rows, int64_t inputs, int64_t added)
    : rows_(rows), inputs_(inputs) {
  int64_t end = 0;
  Feature feature;
  const auto add_range = [this](int64_t begin, int64_t next) {
    if (begin < next) ranges_.push_back({begin, next});
    rest_ += next - begin;
  };
  int64_t before = 0;
  for (int64_t f = 0; f < columns.features; ++f) {
    feature.start = columns.starts[f];
    feature.width = columns.widths[f];
    if (feature.start < before || feature.width < 1 || feature.start + feature.width > inputs) {
      throw std::invalid_argument("repeated columns " + std::to_string(feature.start) + " to " +
                                  std::to_string(feature.start + feature.width) +
                                  " overlap or are outside of " + std::to_string(inputs));
    }
    before = feature.start + feature.width;
    // Saves width multiplications for each row without a class of its own, and adds once per row.
    const int64_t most = rows * (feature.width - added) / feature.width;
    feature.class_of = columns.classes + f * rows;
    if (most < 1 || !FindFirst(rows, most, &feature)) continue;
    add_range(end, feature.start);
    end = feature.start + feature.width;
    features_.push_back(std::move(feature));
  }
  add_range(end, inputs);
}

void Repeats::TakeRest(const float* x, int64_t rows, float* out) const {
  for (int64_t r = 0; r < rows; ++r, x += inputs_) {
    for (const Range& range : ranges_) out = std::copy(x + range.begin, x + range.end, out);
  }
}

void Repeats::PutRest(const float* rest, int64_t rows, float* x) const {
  for (int64_t r = 0; r < rows; ++r, x += inputs_) {
    for (const Feature& feature : features_) std::fill_n(x + feature.start, feature.width, 0.0F);
    for (const Range& range : ranges_) {
      std::copy_n(rest, range.end - range.begin, x + range.begin);
      rest += range.end - range.begin;
    }
  }
}

void Repeats::TakeRestRows(const float* kernel, int64_t outputs, float* out) const {
  for (const Range& range : ranges_) {
    out = std::copy(kernel + range.begin * outputs, kernel + range.end * outputs, out);
  }
}

void Repeats::PutRestRows(const float* rest, int64_t outputs, float* kernel) const {
  for (const Range& range : ranges_) {
    const int64_t size = (range.end - range.begin) * outputs;
    std::copy_n(rest, size, kernel + range.begin * outputs);
    rest += size;
  }
}

RepeatedProduct::RepeatedProduct(const Repeats& repeats, int64_t outputs)
    : repeats_(repeats),
      outputs_(outputs),
      offsets_(Offsets(repeats, outputs)),
      products_(static_cast<size_t>(offsets_.back())) {
  for (size_t f = 0; f < repeats.features().size(); ++f) {
    const auto classes = static_cast<int64_t>(repeats.features()[f].first.size());
    for (int64_t c = 0; c < classes; c += kClasses) {
      pieces_.push_back({f, c, std::min(c + kClasses, classes)});
    }
  }
}

void RepeatedProduct::Multiply(int64_t piece, const float* x, const float* kernel) {
  const Piece& own = pieces_[static_cast<size_t>(piece)];
  const Repeats::Feature& feature = repeats_.features()[own.feature];
  const Scratch<float> distinct = Distinct(feature, own.begin, own.end, x, repeats_.inputs());
  SmallProduct({distinct.data(), feature.width, 1}, own.end - own.begin,
               kernel + feature.start * outputs_, outputs_, feature.width, outputs_, false,
               products_.data() + offsets_[own.feature] + own.begin * outputs_, outputs_);
}

void RepeatedProduct::Add(int64_t begin, int64_t end, float* product) const {
  const auto& features = repeats_.features();
  const auto of = [&](size_t f, int64_t r) {
    return products_.data() + offsets_[f] + features[f].class_of[r] * outputs_;
  };
  for (int64_t r = begin; r < end; ++r, product += outputs_) {
    float* const __restrict to = product;
    size_t f = 0;
    for (; f + 4 <= features.size(); f += 4) {
      const float *const a = of(f, r), *const b = of(f + 1, r), *const c = of(f + 2, r),
                         *const d = of(f + 3, r);
      for (int64_t o = 0; o < outputs_; ++o) to[o] += (a[o] + b[o]) + (c[o] + d[o]);
    }
    for (; f < features.size(); ++f) {
      const float* const a = of(f, r);
      for (int64_t o = 0; o < outputs_; ++o) to[o] += a[o];
    }
  }
}

RepeatedGradient::RepeatedGradient(const Repeats& repeats, int64_t outputs)
    : repeats_(repeats),
      outputs_(outputs),
      offsets_(Offsets(repeats, outputs)),
      sums_(static_cast<size_t>(offsets_.back())) {}

int64_t RepeatedGradient::sums() const {
  return static_cast<int64_t>(repeats_.features().size()) * ChunkCount(outputs_, kColumns);
}

void RepeatedGradient::Sum(int64_t piece, const float* gradient, const float* x,
                           float* kernel_gradient) {
  const int64_t across = ChunkCount(outputs_, kColumns);
  const auto f = static_cast<size_t>(piece / across);
  const int64_t begin = piece % across * kColumns;
  const int64_t columns = std::min(kColumns, outputs_ - begin);
  const Repeats::Feature& feature = repeats_.features()[f];
  const auto classes = static_cast<int64_t>(feature.first.size());
  float* const sums = sums_.data() + offsets_[f] + begin;
  // Rows are added up block by block, so that the error of large classes doesn't grow with them.
  std::vector<int32_t> last(static_cast<size_t>(classes), -1), touched;
  Scratch<float> parts(static_cast<size_t>(repeats_.rows() > kBlock ? classes * kColumns : 0));
  for (int64_t row = 0, block = 0; row < repeats_.rows(); row += kBlock, ++block) {
    const bool first = block == 0;
    float* const to = first ? sums : parts.data();
    const int64_t stride = first ? outputs_ : kColumns;
    const int64_t end = std::min(row + kBlock, repeats_.rows());
    touched.clear();
    for (int64_t r = row; r < end; ++r) {
      const int32_t c = feature.class_of[r];
      const float* const from = gradient + r * outputs_ + begin;
      if (last[static_cast<size_t>(c)] == block) {
        AddColumns(from, columns, to + c * stride);
        continue;
      }
      std::copy_n(from, columns, to + c * stride);
      // A class that is new has no sum yet.
      if (!first && last[static_cast<size_t>(c)] < 0)
        std::fill_n(sums + c * outputs_, columns, 0.0F);
      last[static_cast<size_t>(c)] = static_cast<int32_t>(block);
      if (!first) touched.push_back(c);
    }
    for (const int32_t c : touched)
      AddColumns(parts.data() + c * kColumns, columns, sums + c * outputs_);
  }
  const Scratch<float> distinct = Distinct(feature, 0, classes, x, repeats_.inputs());
  SmallProduct({distinct.data(), 1, feature.width}, feature.width, sums, outputs_, classes, columns,
               false, kernel_gradient + feature.start * outputs_ + begin, outputs_);
}

void RepeatedGradient::Multiply(int64_t f, const float* kernel, float* x_gradient) const {
  const Repeats::Feature& feature = repeats_.features()[static_cast<size_t>(f)];
  const auto classes = static_cast<int64_t>(feature.first.size());
  const int64_t width = feature.width;
  const float* const own = kernel + feature.start * outputs_;
  Scratch<float> transposed(static_cast<size_t>(outputs_ * width));
  for (int64_t w = 0; w < width; ++w) {
    for (int64_t o = 0; o < outputs_; ++o) transposed[o * width + w] = own[w * outputs_ + o];
  }
  Scratch<float> gradients(static_cast<size_t>(classes * width));
  SmallProduct({sums_.data() + offsets_[static_cast<size_t>(f)], outputs_, 1}, classes,
               transposed.data(), width, outputs_, width, false, gradients.data(), width);
  for (int64_t c = 0; c < classes; ++c) {
    std::copy_n(
        gradients.data() + c * width, width,
        x_gradient + feature.first[static_cast<size_t>(c)] * repeats_.inputs() + feature.start);
  }
}

}  // namespace hvdrec
