// The cells of one batch: Arrow columns read as text, integers or numbers by EasyRec's rules.

#ifndef HVDREC_KERNELS_CELLS_H_
#define HVDREC_KERNELS_CELLS_H_

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/arrow_abi.h"

namespace hvdrec {

// The declared type of an input field.
enum class FieldType { kString, kInt32, kInt64, kFloat, kDouble, kBool };

// A declared input field and what stands in an empty cell.
struct Field {
  std::string name;
  FieldType type;
  std::string default_text;
};

// A cell that can't be used; thrown unless bad rows are to be collected.
class BadCell : public std::runtime_error {
 public:
  BadCell(int64_t row, const std::string& field, const std::string& what)
      : std::runtime_error("column '" + field + "': " + what), row(row) {}
  const int64_t row;
};

// One column of the batch. Everything is indexed by row of the batch; lists by element.
class Column {
 public:
  // What the column holds.
  enum class Storage { kText, kInteger, kNumber, kList };

  // Binds to an Arrow array of type binary, utf8, int64, double or a list of one of these. The
  // array must outlive the use of this object.
  void Bind(const Field* field, const ArrowSchema& schema, const ArrowArray& array, int64_t offset);

  const Field& field() const { return *field_; }
  Storage storage() const { return storage_; }

  // The cell's bytes; empty for a null. Only for text.
  std::string_view Raw(int64_t row) const {
    const int64_t i = offset_ + row;
    if (IsNull(i)) return {};
    return {data_ + offsets_[i], static_cast<size_t>(offsets_[i + 1] - offsets_[i])};
  }
  int64_t RawInteger(int64_t row) const { return integers_[offset_ + row]; }
  double RawNumber(int64_t row) const { return numbers_[offset_ + row]; }
  bool Null(int64_t row) const { return IsNull(offset_ + row); }

  // The elements [begin, end) of a list cell, to be read from `elements()`.
  void List(int64_t row, int64_t* begin, int64_t* end) const {
    const int64_t i = offset_ + row;
    *begin = IsNull(i) ? 0 : offsets_[i];
    *end = IsNull(i) ? 0 : offsets_[i + 1];
  }
  const Column& elements() const { return *elements_; }

 private:
  bool IsNull(int64_t i) const {
    return validity_ != nullptr && ((validity_[i >> 3] >> (i & 7)) & 1) == 0;
  }

  const Field* field_ = nullptr;
  Storage storage_ = Storage::kText;
  int64_t offset_ = 0;
  const uint8_t* validity_ = nullptr;
  const int32_t* offsets_ = nullptr;
  const char* data_ = nullptr;
  const int64_t* integers_ = nullptr;
  const double* numbers_ = nullptr;
  std::vector<Column> element_storage_;
  const Column* elements_ = nullptr;
};

// The columns of a batch and the rows found bad in it.
class Cells {
 public:
  // With `collect`, a bad cell marks its row instead of being thrown.
  Cells(const std::vector<Field>& fields, const ArrowSchema& schema, const ArrowArray& array,
        bool collect);

  int64_t rows() const { return rows_; }
  const Column& column(int field) const { return columns_[field]; }

  // A cell as text: an empty one becomes the default, an integer its decimal form (that of a
  // field declared as integer is made canonical: "007" is "7"). `scratch` backs the view.
  // `precision` is the number of digits behind the point for fractional numbers.
  std::string_view Text(int field, int64_t row, std::string* scratch, int precision = -1);

  // A cell as a whole number.
  int64_t Integer(int field, int64_t row);

  // A cell as a number.
  double Number(int field, int64_t row);

  // Reads one token of a cell.
  int64_t ParseInteger(std::string_view text, const Field& field, int64_t row);
  double ParseNumber(std::string_view text, const Field& field, int64_t row);

  // Reports a bad cell: throws, or marks the row.
  void Bad(int64_t row, const Field& field, const std::string& what);

  // For each row whether it is bad; empty if none is.
  const std::vector<uint8_t>& bad() const { return bad_; }

 private:
  int64_t rows_;
  bool collect_;
  std::vector<Column> columns_;
  std::vector<uint8_t> bad_;
};

// Appends the decimal form of an integer.
void AppendInteger(int64_t value, std::string* text);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_CELLS_H_
