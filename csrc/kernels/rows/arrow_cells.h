// The cells of one batch: Arrow columns read as text, integers or numbers by EasyRec's rules.

#ifndef HVDREC_KERNELS_ROWS_ARROW_CELLS_H_
#define HVDREC_KERNELS_ROWS_ARROW_CELLS_H_

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/rows/arrow_abi.h"
#include "kernels/rows/decimal.h"

namespace hvdrec {

// The declared type of an input field.
enum class FieldType { kString, kInt32, kInt64, kFloat, kDouble, kBool };

// A declared input field and the value of an empty cell.
struct Field {
  std::string name;
  FieldType type;
  std::string default_text;
};

// An unusable cell; thrown unless bad rows are collected.
class BadCell : public std::runtime_error {
 public:
  BadCell(int64_t row, const std::string& field, const std::string& what)
      : std::runtime_error("column '" + field + "': " + what), row(row) {}
  const int64_t row;
};

// Text by row, as in an Arrow array of type binary or utf8. A null is empty.
struct TextValues {
  const int32_t* offsets = nullptr;
  const char* data = nullptr;
  const uint8_t* validity = nullptr;  // nullptr: no nulls
  int64_t first = 0;                  // where row 0 is

  bool IsNull(int64_t row) const {
    const int64_t i = first + row;
    return validity != nullptr && ((validity[i >> 3] >> (i & 7)) & 1) == 0;
  }
  std::string_view operator[](int64_t row) const {
    if (IsNull(row)) return {};
    const int32_t begin = offsets[first + row];
    return {data + begin, static_cast<size_t>(offsets[first + row + 1] - begin)};
  }
};

// One column of the batch. Everything is indexed by row of the batch; lists by element.
class Column {
 public:
  // The type of the column's values.
  enum class Storage { kText, kInteger, kNumber, kList };

  // Binds to an Arrow array of type binary, utf8, int64, double or a list of one of these. The
  // array must outlive the use of this object.
  void Bind(const Field* field, const ArrowSchema& schema, const ArrowArray& array, int64_t offset);

  const Field& field() const { return *field_; }
  Storage storage() const { return storage_; }
  // Whether cells are plain texts, whole numbers as text, or other numbers.
  bool words() const { return words_; }
  bool written_integers() const { return written_integers_; }
  bool written_decimals() const { return written_decimals_; }

  // The cell's bytes; empty for a null. Only for text.
  std::string_view Raw(int64_t row) const { return text_[row]; }
  const TextValues& text() const { return text_; }
  int64_t RawInteger(int64_t row) const { return integers_[text_.first + row]; }
  double RawNumber(int64_t row) const { return numbers_[text_.first + row]; }
  bool Null(int64_t row) const { return text_.IsNull(row); }

  // The elements [begin, end) of a list cell, to be read from `elements()`.
  void List(int64_t row, int64_t* begin, int64_t* end) const {
    const int64_t i = text_.first + row;
    *begin = Null(row) ? 0 : text_.offsets[i];
    *end = Null(row) ? 0 : text_.offsets[i + 1];
  }
  const Column& elements() const { return *elements_; }
  // Whether a cell must be read as a list: a null in a column of lists is its field's default.
  bool HasList(int64_t row) const {
    return storage_ == Storage::kList && (field_->default_text.empty() || !Null(row));
  }

 private:
  const Field* field_ = nullptr;
  Storage storage_ = Storage::kText;
  bool words_ = false;
  bool written_integers_ = false;
  bool written_decimals_ = false;
  // Offsets, validity and first row serve all kinds of storage.
  TextValues text_;
  const int64_t* integers_ = nullptr;
  const double* numbers_ = nullptr;
  std::vector<Column> element_storage_;
  const Column* elements_ = nullptr;
};

// The columns of a batch and its bad rows.
class ArrowCells {
 public:
  // With `collect`, a bad cell marks its row instead of being thrown.
  ArrowCells(const std::vector<Field>& fields, const ArrowSchema& schema, const ArrowArray& array,
             bool collect);

  int64_t rows() const { return rows_; }
  const Column& column(int field) const { return columns_[field]; }

  // The declared type of a field determines the values of its cells, whatever the column's
  // type: 3.0
  // is the INT64 3 and the STRING "3", and 2.5 is not an INT64. Numbers are finite.

  // A cell as text: an empty one becomes the default, a whole number its decimal form (that of a
  // field declared as integer is made canonical: "007" is "7"). `scratch` backs the view.
  // `precision` is the number of decimal places for fields declared FLOAT or DOUBLE.
  std::string_view Text(int field, int64_t row, std::string* scratch, int precision = -1) {
    const Column& column = columns_[field];
    if (column.words()) {
      const std::string_view text = column.Raw(row);
      return text.empty() ? std::string_view(column.field().default_text) : text;
    }
    if (column.storage() == Column::Storage::kList && !column.HasList(row)) {
      return column.field().default_text;
    }
    return WrittenOut(column, row, row, scratch, precision);
  }

  // A cell as a whole number.
  int64_t Integer(int field, int64_t row) {
    const Column& column = columns_[field];
    int64_t value;
    if (column.storage() == Column::Storage::kText && ReadShortInteger(column.Raw(row), &value)) {
      return value;
    }
    return AnyInteger(column, row, row);
  }

  // A cell as a number.
  double Number(int field, int64_t row) {
    const Column& column = columns_[field];
    return column.storage() == Column::Storage::kText ? WrittenNumber(column, column.Raw(row), row)
                                                      : AnyNumber(column, row, row);
  }

  // An element of a list cell of `row` by the same rules: elements()'s number `at`.
  std::string_view ElementText(const Column& elements, int64_t at, int64_t row,
                               std::string* scratch, int precision = -1) {
    return WrittenOut(elements, at, row, scratch, precision);
  }
  int64_t ElementInteger(const Column& elements, int64_t at, int64_t row) {
    return AnyInteger(elements, at, row);
  }
  double ElementNumber(const Column& elements, int64_t at, int64_t row) {
    return AnyNumber(elements, at, row);
  }

  // Calls use(row, text) for all rows, as `Text` gives it.
  template <typename Use>
  void EachText(int field, int precision, const Use& use) {
    const Column& column = columns_[field];
    if (!column.words()) {
      std::string scratch;
      for (int64_t row = 0; row < rows_; ++row) {
        use(row, WrittenOut(column, row, row, &scratch, precision));
      }
      return;
    }
    const TextValues text = column.text();
    const std::string_view otherwise = column.field().default_text;
    for (int64_t row = 0; row < rows_; ++row) {
      const std::string_view cell = text[row];
      use(row, cell.empty() ? otherwise : cell);
    }
  }

  // Calls use(row, number) for all rows, as `Number` gives it.
  template <typename Use>
  void EachNumber(int field, const Use& use) {
    const Column& column = columns_[field];
    if (column.storage() != Column::Storage::kText) {
      for (int64_t row = 0; row < rows_; ++row) use(row, AnyNumber(column, row, row));
      return;
    }
    const TextValues text = column.text();
    for (int64_t row = 0; row < rows_; ++row) use(row, WrittenNumber(column, text[row], row));
  }

  // Reads one token of a cell.
  int64_t ParseInteger(std::string_view text, const Field& field, int64_t row);
  double ParseNumber(std::string_view text, const Field& field, int64_t row);

  // During its lifetime, errors about a text that isn't a number include this advice.
  class Advice {
   public:
    Advice(ArrowCells* cells, const char* text) : cells_(cells) { cells_->advice_ = text; }
    ~Advice() { cells_->advice_ = nullptr; }
    Advice(const Advice&) = delete;
    Advice& operator=(const Advice&) = delete;

   private:
    ArrowCells* cells_;
  };

  // The number, or 0 if it isn't finite, which is reported.
  double Finite(double value, const Field& field, int64_t row);
  // The number as a float: one beyond their range isn't finite.
  float FiniteFloat(double value, const Field& field, int64_t row) {
    const float narrow = static_cast<float>(value);
    if (std::isfinite(narrow)) return narrow;
    Bad(row, field, NotFinite(value));
    return 0.0f;
  }
  // What is wrong with a number that isn't finite as a float.
  static std::string NotFinite(double value);
  // The same for a field's cell, from which a float that isn't finite was read.
  std::string NotFinite(const Field& field, int64_t row, float value) const;

  // Reports a bad cell: throws, or marks the row.
  void Bad(int64_t row, const Field& field, const std::string& what);

  // For each row whether it is bad; empty if none is.
  const std::vector<uint8_t>& bad() const { return bad_; }
  // The first bad cell found: its row and what is wrong.
  int64_t first_bad_row() const { return first_bad_row_; }
  const std::string& first_bad() const { return first_bad_; }

 private:
  double WrittenNumber(const Column& column, std::string_view text, int64_t row) {
    int64_t whole;
    double number;
    if (column.written_decimals() && ReadShortDecimal(text, &number)) return number;
    if (column.written_integers() && ReadShortInteger(text, &whole)) {
      return static_cast<double>(whole);
    }
    return AnyNumber(column, row, row);
  }
  // These read value `at` of a column, a cell or an element of one, and report to `row`.
  std::string_view WrittenOut(const Column& column, int64_t at, int64_t row, std::string* scratch,
                              int precision);
  int64_t AnyInteger(const Column& column, int64_t at, int64_t row);
  double AnyNumber(const Column& column, int64_t at, int64_t row);
  // The values of a column of numbers that aren't null.
  int64_t StoredInteger(const Column& column, int64_t at, int64_t row);
  double StoredNumber(const Column& column, int64_t at, int64_t row);
  void NotA(const char* wanted, std::string_view text, const Field& field, int64_t row);

  int64_t rows_;
  bool collect_;
  std::vector<Column> columns_;
  std::vector<uint8_t> bad_;
  int64_t first_bad_row_ = -1;
  std::string first_bad_;
  const char* advice_ = nullptr;
};

// Reports rows with a number that isn't finite; each row has `width` numbers. `after` describes
// what was done to the cells, if anything; `infinite` allows infinite numbers.
void RequireFinite(ArrowCells* cells, const Field& field, const float* values, size_t count,
                   int64_t width, const std::string& after = "", bool infinite = false);

// A cell's bytes for a message: short, and printable.
std::string Quoted(std::string_view text);

// Appends the decimal form of an integer.
void AppendInteger(int64_t value, std::string* text);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_ROWS_ARROW_CELLS_H_
