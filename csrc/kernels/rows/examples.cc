// Parses the tf.Examples and tf.SequenceExamples of records into columns; see records.h.
//
// First every cell is found and its values are counted, which determines the bad rows; then each
// column is written in one pass.

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>

#include "kernels/rows/arrow_cells.h"
#include "kernels/rows/records.h"
#include "kernels/rows/wire.h"

namespace hvdrec {
namespace {

// The kind of a tf.train.Feature, by the number of its field.
enum Kind : uint8_t { kNothing = 0, kTexts = 1, kFloats = 2, kIntegers = 3 };

// The values of one row and field: a serialized BytesList, FloatList or Int64List.
struct Cell {
  const char* data = nullptr;
  uint32_t size = 0;
  Kind kind = kNothing;
  uint32_t count = 0;

  std::string_view list() const { return {data, size}; }
};

// Calls use(value) for each value of a list of numbers, packed or not; `read` takes one from a
// reader. Returns whether the list could be read.
template <typename Value, typename Read, typename Use>
bool EachNumber(std::string_view list, uint32_t plain, const Read& read, const Use& use) {
  WireReader reader(list);
  uint32_t number, type;
  Value value;
  while (reader.Next(&number, &type)) {
    if (number == 1 && type == WireReader::kBytes) {
      std::string_view packed;
      if (!reader.Bytes(&packed)) return false;
      WireReader values(packed);
      while (!values.done()) {
        if (!read(&values, &value)) return false;
        use(value);
      }
    } else if (number == 1 && type == plain) {
      if (!read(&reader, &value)) return false;
      use(value);
    } else if (!reader.Skip(type)) {
      return false;
    }
  }
  return !reader.failed();
}

template <typename Use>
bool EachInteger(std::string_view list, const Use& use) {
  return EachNumber<uint64_t>(
      list, WireReader::kVarint,
      [](WireReader* reader, uint64_t* value) { return reader->Varint(value); },
      [&](uint64_t value) { use(static_cast<int64_t>(value)); });
}

template <typename Use>
bool EachFloat(std::string_view list, const Use& use) {
  return EachNumber<float>(
      list, WireReader::kFixed32,
      [](WireReader* reader, float* value) { return reader->Float(value); }, use);
}

template <typename Use>
bool EachText(std::string_view list, const Use& use) {
  return EachBytes(list, 1, [&](std::string_view text) {
    use(text);
    return true;
  });
}

// Finds the list of a Feature and counts its values; false if it can't be read.
bool FindValues(std::string_view feature, Cell* cell) {
  *cell = Cell();
  WireReader reader(feature);
  uint32_t number, type;
  while (reader.Next(&number, &type)) {
    std::string_view list;
    const bool known = type == WireReader::kBytes && number >= kTexts && number <= kIntegers;
    if (!(known ? reader.Bytes(&list) : reader.Skip(type))) return false;
    if (known) *cell = {list.data(), static_cast<uint32_t>(list.size()), Kind(number), 0};
  }
  if (reader.failed()) return false;
  uint32_t count = 0;
  const auto add = [&](auto) { ++count; };
  const bool sound = cell->kind == kTexts      ? EachText(cell->list(), add)
                     : cell->kind == kFloats   ? EachFloat(cell->list(), add)
                     : cell->kind == kIntegers ? EachInteger(cell->list(), add)
                                               : true;
  cell->count = count;
  return sound;
}

// The cells of the requested rows, field by field, and what is wrong with the bad ones.
class Cells {
 public:
  Cells(const std::vector<ExampleField>& fields, size_t rows)
      : fields_(fields), rows_(rows), cells_(fields.size() * rows), faults_(rows) {
    for (size_t f = 0; f < fields.size(); ++f) numbers_[fields[f].name] = static_cast<int>(f);
  }

  const Cell& at(size_t field, size_t row) const { return cells_[field * rows_ + row]; }
  const std::string& fault(size_t row) const { return faults_[row]; }
  void Fault(size_t row, std::string text) {
    if (faults_[row].empty()) faults_[row] = std::move(text);
  }

  // Takes the cells of one row from a tf.Example.
  void AddExample(std::string_view record, size_t row) {
    size_t entry_number = 0;
    const bool sound = EachBytes(record, 1, [&](std::string_view features) {
      return EachBytes(features, 1, [&](std::string_view entry) {
        std::string_view key, feature;
        if (!MapEntry(entry, &key, &feature)) return false;
        const int field = Number(key, entry_number++);
        return field < 0 || Add(feature, static_cast<size_t>(field), row);
      });
    });
    if (!sound) Fault(row, "it is not a tf.Example");
  }

  // Takes cells from a tf.SequenceExample: pairs of a position in it and a row, by position.
  void AddSequences(std::string_view record,
                    const std::vector<std::pair<uint32_t, size_t>>& wanted) {
    size_t entry_number = 0;
    const bool sound = EachBytes(record, 2, [&](std::string_view lists) {
      return EachBytes(lists, 1, [&](std::string_view entry) {
        std::string_view key, list;
        if (!MapEntry(entry, &key, &list)) return false;
        const int field = Number(key, entry_number++);
        return field < 0 || AddSequence(list, static_cast<size_t>(field), wanted);
      });
    });
    if (sound) return;
    for (const auto& [place, row] : wanted) Fault(row, "it is not in a tf.SequenceExample");
  }

 private:
  bool AddSequence(std::string_view list, size_t field,
                   const std::vector<std::pair<uint32_t, size_t>>& wanted) {
    uint32_t place = 0;
    size_t next = 0;
    if (!EachBytes(list, 1, [&](std::string_view feature) {
          for (; next < wanted.size() && wanted[next].first == place; ++next) {
            if (!Add(feature, field, wanted[next].second)) return false;
          }
          ++place;
          return true;
        })) {
      return false;
    }
    for (; place > 0 && next < wanted.size(); ++next) {
      Fault(wanted[next].second, "'" + fields_[field].name + "' has only " + std::to_string(place) +
                                     " of the rows of its record");
    }
    return true;
  }

  bool Add(std::string_view feature, size_t field, size_t row) {
    Cell& cell = cells_[field * rows_ + row];
    if (!FindValues(feature, &cell)) return false;
    const uint32_t width = static_cast<uint32_t>(fields_[field].width);
    if (cell.count > 0 && cell.count != width) {
      Fault(row, "column '" + fields_[field].name + "': found " + std::to_string(cell.count) +
                     " values, expected " + std::to_string(width));
    }
    return true;
  }

  // The field of a key, -1 if it isn't needed. Most records have their keys in the same order.
  int Number(std::string_view key, size_t entry) {
    if (entry < keys_.size() && keys_[entry].first == key) return keys_[entry].second;
    const auto found = numbers_.find(std::string(key));
    const int number = found == numbers_.end() ? -1 : found->second;
    if (entry >= keys_.size()) keys_.resize(entry + 1);
    keys_[entry] = {std::string(key), number};
    return number;
  }

  const std::vector<ExampleField>& fields_;
  const size_t rows_;
  std::vector<Cell> cells_;
  std::vector<std::string> faults_;
  std::unordered_map<std::string, int> numbers_;
  std::vector<std::pair<std::string, int>> keys_;
};

// Rows of one SequenceExample are taken from it together.
void AddAllSequences(const std::vector<const RecordBlock*>& blocks, const int32_t* block,
                     const int32_t* index, const std::vector<uint8_t>& sound, Cells* cells) {
  std::vector<size_t> order;
  for (size_t i = 0; i < sound.size(); ++i) {
    if (sound[i]) order.push_back(i);
  }
  const auto record = [&](size_t i) {
    return std::make_pair(block[i], blocks[block[i]]->record(index[i]));
  };
  const auto place = [&](size_t i) { return blocks[block[i]]->place(index[i]); };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::make_pair(record(a), place(a)) < std::make_pair(record(b), place(b));
  });
  std::vector<std::pair<uint32_t, size_t>> wanted;
  for (size_t i = 0; i < order.size(); ++i) {
    wanted.emplace_back(place(order[i]), order[i]);
    if (i + 1 < order.size() && record(order[i + 1]) == record(order[i])) continue;
    cells->AddSequences(blocks[block[order[i]]]->data(record(order[i]).second), wanted);
    wanted.clear();
  }
}

void Require31Bits(size_t size) {
  if (size > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw std::length_error("the text of one column exceeds 2 GiB in one batch");
  }
}

void AppendText(std::string_view text, ExampleColumn* column) {
  const size_t size = column->text.size();
  column->text.resize(size + text.size());
  std::memcpy(column->text.data() + size, text.data(), text.size());
}

// Writes the texts of cells; numbers in their printed form.
void AppendTexts(const Cell& cell, ExampleColumn* column) {
  std::string scratch;
  const auto end = [&](std::string_view text) {
    AppendText(text, column);
    column->offsets.push_back(static_cast<int32_t>(column->text.size()));
  };
  if (cell.kind == kTexts) {
    EachText(cell.list(), end);
  } else if (cell.kind == kIntegers) {
    EachInteger(cell.list(), [&](int64_t value) {
      scratch.clear();
      AppendInteger(value, &scratch);
      end(scratch);
    });
  } else {
    EachFloat(cell.list(), [&](float value) {
      char buffer[64];
      const auto written =
          std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::fixed);
      end({buffer, static_cast<size_t>(written.ptr - buffer)});
    });
  }
}

void AppendValues(const Cell& cell, ExampleColumn* column) {
  switch (column->kind) {
    case ExampleColumn::Kind::kTexts:
      AppendTexts(cell, column);
      break;
    case ExampleColumn::Kind::kIntegers:
      EachInteger(cell.list(), [&](int64_t value) { column->integers.push_back(value); });
      break;
    case ExampleColumn::Kind::kNumbers:
      EachFloat(cell.list(), [&](float value) { column->numbers.push_back(value); });
      break;
  }
}

// Writes the representation of a missing value.
void AppendNothing(ExampleColumn* column) {
  switch (column->kind) {
    case ExampleColumn::Kind::kTexts:
      column->offsets.push_back(static_cast<int32_t>(column->text.size()));
      break;
    case ExampleColumn::Kind::kIntegers:
      column->integers.push_back(0);
      break;
    case ExampleColumn::Kind::kNumbers:
      column->numbers.push_back(0.0);
      break;
  }
}

// Makes the column of a field from the good rows.
ExampleColumn MakeColumn(const Cells& cells, size_t field, bool lists,
                         const std::vector<size_t>& rows) {
  ExampleColumn column;
  column.lists = lists;
  bool has[4] = {false, false, false, false};
  size_t text = 0;
  for (const size_t row : rows) {
    const Cell& cell = cells.at(field, row);
    has[cell.count > 0 ? cell.kind : kNothing] = true;
    text += cell.size;
  }
  if (has[kFloats] != has[kIntegers] && !has[kTexts]) {
    column.kind = has[kFloats] ? ExampleColumn::Kind::kNumbers : ExampleColumn::Kind::kIntegers;
  }
  if (column.kind == ExampleColumn::Kind::kTexts) {
    column.offsets.push_back(0);
    column.text.reserve(text);
  }
  if (lists) column.starts.push_back(0);
  if (has[kNothing] && !lists) column.valid.assign((rows.size() + 7) / 8, 0);
  int32_t values = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Cell& cell = cells.at(field, rows[i]);
    if (!column.valid.empty() && cell.count > 0) column.valid[i >> 3] |= uint8_t(1u << (i & 7));
    if (cell.count > 0) {
      AppendValues(cell, &column);
    } else if (!lists) {
      AppendNothing(&column);
    }
    Require31Bits(column.text.size());
    values += static_cast<int32_t>(cell.count);
    if (lists) column.starts.push_back(values);
  }
  return column;
}

}  // namespace

ExampleRows ParseExamples(const std::vector<ExampleField>& fields,
                          const std::vector<const RecordBlock*>& blocks, const int32_t* block,
                          const int32_t* index, size_t rows) {
  Cells cells(fields, rows);
  std::vector<uint8_t> sequences(rows);
  bool any = false;
  for (size_t i = 0; i < rows; ++i) {
    const RecordBlock& from = *blocks[block[i]];
    const uint32_t record = from.record(index[i]);
    if (!from.Intact(record)) {
      cells.Fault(i, "the checksum of its record is wrong: the file is damaged");
    } else if (from.sequences()) {
      sequences[i] = any = true;
    } else {
      cells.AddExample(from.data(record), i);
    }
  }
  if (any) AddAllSequences(blocks, block, index, sequences, &cells);

  ExampleRows out;
  std::vector<size_t> good;
  for (size_t i = 0; i < rows; ++i) {
    const RecordBlock& from = *blocks[block[i]];
    if (!cells.fault(i).empty()) {
      out.bad.push_back({i, from.file(index[i]), from.line(index[i]), cells.fault(i)});
      continue;
    }
    good.push_back(i);
    out.files.push_back(from.file(index[i]));
    out.lines.push_back(from.line(index[i]));
  }
  out.rows = good.size();
  for (size_t f = 0; f < fields.size(); ++f) {
    out.columns.push_back(MakeColumn(cells, f, fields[f].width > 1, good));
  }
  return out;
}

}  // namespace hvdrec
