// Replaces the characters of a text by a table.

#ifndef HVDREC_KERNELS_TEXT_NORMALIZE_H_
#define HVDREC_KERNELS_TEXT_NORMALIZE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hvdrec {

// Whether a code point is a Chinese character.
bool IsHan(uint32_t point);

// Replaces code points. Keeps its memory between calls; use one per thread.
class NormalizeText {
 public:
  // `table` has what each code point below `size` becomes, -1 for nothing; code points above it are
  // removed if `remove_others`, and otherwise stay. With `split`, a space is put between a Chinese
  // character and a neighbour that isn't a space.
  NormalizeText(const int32_t* table, int64_t size, bool remove_others, bool split)
      : table_(table), size_(size), remove_others_(remove_others), split_(split) {}

  // Replaces `out` by the normalized text; throws std::invalid_argument if it isn't UTF-8.
  void operator()(std::string_view text, std::string* out);

 private:
  const int32_t* const table_;
  const int64_t size_;
  const bool remove_others_;
  const bool split_;
  std::vector<uint32_t> points_;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_TEXT_NORMALIZE_H_
