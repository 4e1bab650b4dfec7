#include "kernels/text/edit_distance.h"

#include <algorithm>
#include <numeric>

#include "kernels/text/utf8.h"

namespace hvdrec {

void EditDistance::Read(std::string_view text, std::vector<uint32_t>* characters) const {
  if (utf8_) {
    DecodeUtf8(text, characters);
    return;
  }
  characters->clear();
  for (const char c : text) characters->push_back(static_cast<uint8_t>(c));
}

int32_t EditDistance::operator()(std::string_view one, std::string_view other) {
  Read(one, &one_);
  Read(other, &other_);
  size_t begin = 0, end = one_.size(), other_end = other_.size();
  while (begin < end && begin < other_end && one_[begin] == other_[begin]) ++begin;
  while (end > begin && other_end > begin && one_[end - 1] == other_[other_end - 1]) {
    --end;
    --other_end;
  }
  // row_[j]: the distance of the characters of `one` so far to the first j of `other`.
  const size_t width = other_end - begin;
  row_.resize(width + 1);
  std::iota(row_.begin(), row_.end(), 0);
  for (size_t i = begin; i < end; ++i) {
    int32_t diagonal = row_[0];
    ++row_[0];
    for (size_t j = 0; j < width; ++j) {
      const int32_t replaced = diagonal + (one_[i] == other_[begin + j] ? 0 : 1);
      diagonal = row_[j + 1];
      row_[j + 1] = std::min({replaced, row_[j] + 1, diagonal + 1});
    }
  }
  return row_[width];
}

}  // namespace hvdrec
