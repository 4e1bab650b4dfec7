// The elements of a cell as texts: the parts of a text, or the values of a list.

#ifndef HVDREC_KERNELS_FEATURES_ELEMENTS_H_
#define HVDREC_KERNELS_FEATURES_ELEMENTS_H_

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/rows/arrow_cells.h"

namespace hvdrec {

// Calls `use` with each part of `text` between whole separators; empty parts count, so an empty
// text has one.
template <typename Use>
void ForEachElement(std::string_view text, std::string_view separator, const Use& use) {
  size_t begin = 0;
  for (;;) {
    const size_t end = text.find(separator, begin);
    use(text.substr(begin, end == std::string_view::npos ? end : end - begin));
    if (end == std::string_view::npos) return;
    begin = end + separator.size();
  }
}

// Calls `use` with each value of a list cell as text, a null as an empty text: in the form of ids,
// or with `ids` false, fractions in a form that is parsed to the same value.
template <typename Use>
void ForEachListValue(ArrowCells* cells, const Column& column, int64_t row, bool ids,
                      std::string* scratch, const Use& use) {
  int64_t begin, end;
  column.List(row, &begin, &end);
  const Column& values = column.elements();
  for (int64_t i = begin; i < end; ++i) {
    if (values.Null(i)) {
      use(std::string_view());
      continue;
    }
    const Column::Storage storage = values.storage();
    if (!ids && storage == Column::Storage::kNumber) {
      char buffer[32];
      const auto written = std::to_chars(buffer, buffer + sizeof(buffer), values.RawNumber(i));
      use(std::string_view(buffer, static_cast<size_t>(written.ptr - buffer)));
    } else {
      use(cells->ElementText(values, i, row, scratch));
    }
  }
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_FEATURES_ELEMENTS_H_
