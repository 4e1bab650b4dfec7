#include "kernels/rows/arrow_cells.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace hvdrec {
namespace {

bool IsSpace(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

const char* TypeName(FieldType type) {
  switch (type) {
    case FieldType::kString:
      return "a number";
    case FieldType::kInt32:
      return "an INT32";
    case FieldType::kInt64:
      return "an INT64";
    case FieldType::kFloat:
      return "a FLOAT";
    case FieldType::kDouble:
      return "a DOUBLE";
    case FieldType::kBool:
      return "a BOOL";
  }
  return "";
}

// Like printf's "%.*f"; six decimal places if `precision` is below 0.
void AppendFixed(double value, int precision, std::string* text) {
  char buffer[400];
  const int length = std::snprintf(buffer, sizeof(buffer), "%.*f", precision, value);
  if (static_cast<size_t>(length) < sizeof(buffer)) {
    text->append(buffer, static_cast<size_t>(length));
    return;
  }
  std::string long_text(static_cast<size_t>(length) + 1, '\0');
  std::snprintf(long_text.data(), long_text.size(), "%.*f", precision, value);
  text->append(long_text, 0, static_cast<size_t>(length));
}

// A number of a STRING field: as an integer if it is whole, otherwise with the fewest digits that
// distinguish it from other doubles, never with an exponent.
void AppendPlain(double value, std::string* text) {
  char buffer[400];
  if (value == 0.0) value = 0.0;  // No -0.
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed);
  text->append(buffer, static_cast<size_t>(end.ptr - buffer));
}

// For messages.
std::string Shown(double value) {
  if (std::isnan(value)) return "nan";  // For either sign.
  char buffer[40];
  return {buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr};
}

bool IsWhole(FieldType type) { return type == FieldType::kInt32 || type == FieldType::kInt64; }

// A null is an empty cell: the default, or without one, 0 if the field is declared as a number.
std::string_view TextOfNull(const Field& field, int precision, std::string* scratch) {
  if (!field.default_text.empty() || field.type == FieldType::kString) return field.default_text;
  if (field.type == FieldType::kFloat || field.type == FieldType::kDouble) {
    AppendFixed(0.0, precision, scratch);
    return *scratch;
  }
  return "0";
}

// Whether the text equals the printed form of the parsed integer.
bool IsCanonicalInteger(std::string_view text) {
  if (text.empty() || text.size() > 9) return false;
  size_t i = text[0] == '-' ? 1 : 0;
  if (i == text.size() || (text[i] == '0' && text.size() > 1)) return false;
  for (; i < text.size(); ++i) {
    if (text[i] < '0' || text[i] > '9') return false;
  }
  return true;
}

}  // namespace

std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (size_t i = 0; i < text.size() && i < 40; ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c >= 32 && c < 127) {
      out += static_cast<char>(c);
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\x%02x", c);
      out += escaped;
    }
  }
  return out + (text.size() > 40 ? "...'" : "'");
}

void AppendInteger(int64_t value, std::string* text) {
  char buffer[24];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  text->append(buffer, static_cast<size_t>(end - buffer));
}

void Column::Bind(const Field* field, const ArrowSchema& schema, const ArrowArray& array,
                  int64_t offset) {
  field_ = field;
  text_.first = offset + array.offset;
  text_.validity = array.null_count == 0 ? nullptr : static_cast<const uint8_t*>(array.buffers[0]);
  const std::string_view format = schema.format;
  if (format == "z" || format == "u") {
    storage_ = Storage::kText;
    text_.offsets = static_cast<const int32_t*>(array.buffers[1]);
    text_.data = static_cast<const char*>(array.buffers[2]);
    words_ = field->type == FieldType::kString;
    written_integers_ = IsWhole(field->type);
    written_decimals_ = !written_integers_ && field->type != FieldType::kBool;
  } else if (format == "l") {
    storage_ = Storage::kInteger;
    integers_ = static_cast<const int64_t*>(array.buffers[1]);
  } else if (format == "g") {
    storage_ = Storage::kNumber;
    numbers_ = static_cast<const double*>(array.buffers[1]);
  } else if (format == "+l") {
    storage_ = Storage::kList;
    text_.offsets = static_cast<const int32_t*>(array.buffers[1]);
    element_storage_.resize(1);
    element_storage_[0].Bind(field, *schema.children[0], *array.children[0], 0);
    elements_ = &element_storage_[0];
  } else {
    throw std::invalid_argument("column '" + field->name + "' has Arrow format '" +
                                std::string(format) + "', which the packer doesn't support");
  }
}

ArrowCells::ArrowCells(const std::vector<Field>& fields, const ArrowSchema& schema,
                       const ArrowArray& array, bool collect)
    : rows_(array.length), collect_(collect), columns_(fields.size()) {
  if (array.n_children != static_cast<int64_t>(fields.size())) {
    throw std::invalid_argument("the batch doesn't have one column for each field");
  }
  for (size_t i = 0; i < fields.size(); ++i) {
    columns_[i].Bind(&fields[i], *schema.children[i], *array.children[i], array.offset);
  }
}

void ArrowCells::Bad(int64_t row, const Field& field, const std::string& what) {
  BadCell bad(row, field.name, what);
  if (!collect_) throw bad;
  if (bad_.empty()) {
    bad_.resize(static_cast<size_t>(rows_));
    first_bad_row_ = row;
    first_bad_ = bad.what();
  }
  bad_[static_cast<size_t>(row)] = 1;
}

int64_t ArrowCells::ParseInteger(std::string_view text, const Field& field, int64_t row) {
  std::string_view digits = Trim(text);
  if (digits.size() > 1 && digits.front() == '+' && digits[1] != '-') digits.remove_prefix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool narrow = field.type == FieldType::kInt32;
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty() ||
      (narrow && (value < std::numeric_limits<int32_t>::min() ||
                  value > std::numeric_limits<int32_t>::max()))) {
    const char* wanted = IsWhole(field.type) ? TypeName(field.type) : "a whole number";
    NotA(wanted, text, field, row);
    return 0;
  }
  return value;
}

double ArrowCells::ParseNumber(std::string_view text, const Field& field, int64_t row) {
  if (IsWhole(field.type)) return static_cast<double>(ParseInteger(text, field, row));
  std::string_view digits = Trim(text);
  if (field.type == FieldType::kBool) {
    if (digits == "1" || digits == "true" || digits == "True" || digits == "TRUE") return 1.0;
    if (digits == "0" || digits == "false" || digits == "False" || digits == "FALSE") return 0.0;
    NotA("a BOOL", text, field, row);
    return 0.0;
  }
  if (digits.size() > 1 && digits.front() == '+' && digits[1] != '-') digits.remove_prefix(1);
  double value = 0.0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc::result_out_of_range && end == digits.data() + digits.size()) {
    // from_chars leaves the value unchanged; strtod gives 0 or infinity, as TensorFlow does.
    value = std::strtod(std::string(digits).c_str(), nullptr);
    if (std::isfinite(value)) return value;
    Bad(row, field, Quoted(text) + " is too large for a 64-bit float");
    return 0.0;
  } else if (error != std::errc() || end != digits.data() + digits.size() || digits.empty()) {
    NotA(TypeName(field.type), text, field, row);
    return 0.0;
  }
  return Finite(value, field, row);
}

void ArrowCells::NotA(const char* wanted, std::string_view text, const Field& field, int64_t row) {
  std::string advice = advice_ == nullptr ? "" : std::string("; ") + advice_;
  if (Trim(text) == field.name) advice = "; if the file has a header, set data_config.with_header";
  Bad(row, field, Quoted(text) + " is not " + wanted + advice);
}

double ArrowCells::Finite(double value, const Field& field, int64_t row) {
  if (std::isfinite(value)) return value;
  Bad(row, field, Shown(value) + " is not a finite number");
  return 0.0;
}

std::string ArrowCells::NotFinite(double value) {
  return Shown(value) +
         (std::isfinite(value) ? " is too large for a 32-bit float" : " is not a finite number");
}

std::string ArrowCells::NotFinite(const Field& field, int64_t row, float value) const {
  for (const Column& column : columns_) {
    if (&column.field() != &field || std::isnan(value)) continue;
    if (column.storage() == Column::Storage::kNumber) return NotFinite(column.RawNumber(row));
    if (column.storage() != Column::Storage::kText) break;
    const std::string_view text = column.Raw(row);
    // Infinity is written as "inf" or "infinity".
    if (text.find_first_of("iI") != std::string_view::npos) break;
    return Quoted(text.empty() ? field.default_text : text) + " is too large for 32-bit floats";
  }
  return NotFinite(static_cast<double>(value));
}

int64_t ArrowCells::StoredInteger(const Column& column, int64_t at, int64_t row) {
  const Field& field = column.field();
  int64_t value = 0;
  bool fits = true;
  if (column.storage() == Column::Storage::kInteger) {
    value = column.RawInteger(at);
  } else {
    const double number = column.RawNumber(at);
    fits = number >= -0x1p63 && number < 0x1p63 && number == std::trunc(number);
    if (fits) value = static_cast<int64_t>(number);
  }
  if (field.type == FieldType::kInt32) fits = fits && value == static_cast<int32_t>(value);
  if (field.type == FieldType::kBool) fits = fits && (value == 0 || value == 1);
  if (fits) return value;
  const std::string shown = column.storage() == Column::Storage::kInteger
                                ? std::to_string(value)
                                : Shown(column.RawNumber(at));
  const bool named = IsWhole(field.type) || field.type == FieldType::kBool;
  Bad(row, field, shown + " is not " + (named ? TypeName(field.type) : "a whole number"));
  return 0;
}

double ArrowCells::StoredNumber(const Column& column, int64_t at, int64_t row) {
  const Field& field = column.field();
  if (IsWhole(field.type) || field.type == FieldType::kBool) {
    return static_cast<double>(StoredInteger(column, at, row));
  }
  return column.storage() == Column::Storage::kInteger ? static_cast<double>(column.RawInteger(at))
                                                       : Finite(column.RawNumber(at), field, row);
}

std::string_view ArrowCells::WrittenOut(const Column& column, int64_t at, int64_t row,
                                        std::string* scratch, int precision) {
  const Field& field = column.field();
  const bool fractions = field.type == FieldType::kFloat || field.type == FieldType::kDouble;
  scratch->clear();
  if (column.storage() == Column::Storage::kList) {
    Bad(row, field, "a list can't be used here");
    return {};
  }
  if (column.storage() != Column::Storage::kText) {
    if (column.Null(at)) return TextOfNull(field, precision, scratch);
    if (fractions) {
      double value = StoredNumber(column, at, row);
      if (field.type == FieldType::kFloat) value = static_cast<float>(value);
      AppendFixed(value, precision, scratch);
    } else if (field.type == FieldType::kString && column.storage() == Column::Storage::kNumber) {
      AppendPlain(Finite(column.RawNumber(at), field, row), scratch);
    } else {
      AppendInteger(StoredInteger(column, at, row), scratch);
    }
    return *scratch;
  }
  std::string_view text = column.Raw(at);
  if (text.empty()) text = field.default_text;
  if (field.type == FieldType::kString) return text;
  if (IsWhole(field.type)) {
    if (IsCanonicalInteger(text)) return text;
    AppendInteger(text.empty() ? 0 : ParseInteger(text, field, row), scratch);
    return *scratch;
  }
  double value = text.empty() ? 0.0 : ParseNumber(text, field, row);
  if (field.type == FieldType::kBool) return value != 0.0 ? "1" : "0";
  if (field.type == FieldType::kFloat) value = static_cast<float>(value);
  AppendFixed(value, precision, scratch);
  return *scratch;
}

int64_t ArrowCells::AnyInteger(const Column& column, int64_t at, int64_t row) {
  const Field& field = column.field();
  if (column.storage() == Column::Storage::kList) {
    Bad(row, field, "a list can't be used here");
    return 0;
  }
  const bool stored = column.storage() != Column::Storage::kText;
  if (stored && !column.Null(at)) return StoredInteger(column, at, row);
  std::string_view text = stored ? std::string_view() : column.Raw(at);
  if (text.empty()) text = field.default_text;
  if (text.empty()) return 0;
  return field.type == FieldType::kBool ? static_cast<int64_t>(ParseNumber(text, field, row))
                                        : ParseInteger(text, field, row);
}

double ArrowCells::AnyNumber(const Column& column, int64_t at, int64_t row) {
  const Field& field = column.field();
  if (column.storage() == Column::Storage::kList) {
    Bad(row, field, "a list can't be used here");
    return 0.0;
  }
  const bool stored = column.storage() != Column::Storage::kText;
  if (stored && !column.Null(at)) return StoredNumber(column, at, row);
  std::string_view text = stored ? std::string_view() : column.Raw(at);
  if (text.empty()) text = field.default_text;
  return text.empty() ? 0.0 : ParseNumber(text, field, row);
}

void RequireFinite(ArrowCells* cells, const Field& field, const float* values, size_t count,
                   int64_t width, const std::string& after, bool infinite) {
  constexpr uint32_t kExponent = 0x7f800000;
  uint32_t found = 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof(bits));
    found |= static_cast<uint32_t>((bits & kExponent) == kExponent);
  }
  if (found == 0) return;
  for (size_t i = 0; i < count; ++i) {
    if (std::isfinite(values[i]) || (infinite && std::isinf(values[i]))) continue;
    const int64_t row = static_cast<int64_t>(i) / width;
    cells->Bad(row, field,
               after.empty() ? cells->NotFinite(field, row, values[i])
                             : Shown(values[i]) + ", " + after + ", is not a finite number");
  }
}

}  // namespace hvdrec
