// Levenshtein's distance of two texts.

#ifndef HVDREC_KERNELS_TEXT_EDIT_DISTANCE_H_
#define HVDREC_KERNELS_TEXT_EDIT_DISTANCE_H_

#include <cstdint>
#include <string_view>
#include <vector>

namespace hvdrec {

// The smallest number of insertions, deletions and replacements of characters that make one text
// from the other. Keeps its memory between calls; use one per thread.
class EditDistance {
 public:
  // With `utf8` a character is a code point, otherwise a byte.
  explicit EditDistance(bool utf8) : utf8_(utf8) {}

  // Throws std::invalid_argument if a text must be UTF-8 but isn't.
  int32_t operator()(std::string_view one, std::string_view other);

 private:
  void Read(std::string_view text, std::vector<uint32_t>* characters) const;

  const bool utf8_;
  std::vector<uint32_t> one_, other_;
  std::vector<int32_t> row_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_TEXT_EDIT_DISTANCE_H_
