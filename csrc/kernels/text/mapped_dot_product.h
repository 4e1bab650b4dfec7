// The dot product of two sparse vectors that are written as texts.

#ifndef HVDREC_KERNELS_TEXT_MAPPED_DOT_PRODUCT_H_
#define HVDREC_KERNELS_TEXT_MAPPED_DOT_PRODUCT_H_

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hvdrec {

// Multiplies vectors such as "a:0.5|b:2": entries of key and value, in which ":" is the last colon,
// or keys alone, whose value is 1. The last entry of a key counts. Keeps its memory between calls;
// use one per thread.
class MappedDotProduct {
 public:
  // `otherwise` is the product if a text has no entry.
  MappedDotProduct(std::string separator, float otherwise)
      : separator_(std::move(separator)), otherwise_(otherwise) {}

  // Throws std::invalid_argument if a value isn't a finite number.
  float operator()(std::string_view query, std::string_view document);

 private:
  using Vector = std::unordered_map<std::string_view, double>;
  void Read(std::string_view text, Vector* vector);

  const std::string separator_;
  const float otherwise_;
  std::vector<std::string_view> entries_;
  Vector query_, document_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_TEXT_MAPPED_DOT_PRODUCT_H_
