// The terms of a text: its parts between separators.

#ifndef HVDREC_KERNELS_TEXT_TERMS_H_
#define HVDREC_KERNELS_TEXT_TERMS_H_

#include <algorithm>
#include <string_view>
#include <vector>

namespace hvdrec {

// Replaces `terms` by the parts of `text` between separators, without the empty ones. A separator
// of several characters separates only as a whole; it isn't empty.
inline void SplitTerms(std::string_view text, std::string_view separator,
                       std::vector<std::string_view>* terms) {
  terms->clear();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    if (end > begin) terms->push_back(text.substr(begin, end - begin));
    begin = end + separator.size();
  }
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_TEXT_TERMS_H_
