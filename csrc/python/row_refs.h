// References to rows of blocks from Python, checked.

#ifndef HVDREC_PYTHON_ROW_REFS_H_
#define HVDREC_PYTHON_ROW_REFS_H_

#include <pybind11/numpy.h>

#include <stdexcept>
#include <vector>

namespace hvdrec {

using Numbers = pybind11::array_t<int32_t, pybind11::array::c_style>;

// Row index[i] of blocks[block[i]] must exist, for all i.
template <typename Block>
void CheckRows(const std::vector<const Block*>& blocks, const Numbers& block,
               const Numbers& index) {
  if (block.size() != index.size()) throw std::invalid_argument("block and index differ in length");
  for (pybind11::ssize_t i = 0; i < block.size(); ++i) {
    const size_t b = static_cast<size_t>(block.data()[i]);
    if (b >= blocks.size() || static_cast<size_t>(index.data()[i]) >= blocks[b]->rows()) {
      throw std::out_of_range("no such row");
    }
  }
}

}  // namespace hvdrec

#endif  // HVDREC_PYTHON_ROW_REFS_H_
