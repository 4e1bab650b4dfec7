// Finds the records of TFRecord files and makes columns of the tf.Examples in them.
//
// As with lines, every byte is scanned once, to find the records, but only the requested rows are
// checked and parsed. A record is a tf.Example, one row, or a tf.SequenceExample with as many rows
// as its feature lists have features.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/array.h"

namespace hvdrec {

// The records of a part of a file, or of rows gathered from several blocks.
class RecordBlock {
 public:
  // Why the bytes after `consumed()` can't be a record.
  enum class Fault {
    kNone,
    kLength,  // the checksum of its length is wrong
    kCut,     // the file ends within it
  };

  // Scans data[begin, end). A record that continues after `end` is left over, and with `last` a
  // fault. The bytes aren't copied and must outlive the block. `sequences`: records are
  // SequenceExamples. Throws std::length_error if `end` doesn't fit 32 bits.
  RecordBlock(const char* data, size_t begin, size_t end, bool last, int32_t file,
              int64_t first_row, bool sequences);

  // Copies rows from other blocks: row i of the new block is row index[i] of blocks[block[i]].
  RecordBlock(const std::vector<const RecordBlock*>& blocks, const int32_t* block,
              const int32_t* index, size_t rows);

  size_t rows() const { return record_.size(); }
  size_t consumed() const { return consumed_; }
  Fault fault() const { return fault_; }
  size_t bytes() const { return bytes_; }
  bool sequences() const { return sequences_; }

  // The record that a row is in, and which of its rows it is.
  uint32_t record(size_t i) const { return record_[i]; }
  uint32_t place(size_t i) const { return place_.empty() ? 0 : place_[i]; }
  std::string_view data(uint32_t record) const {
    return {data_ + begin_[record], end_[record] - begin_[record]};
  }
  // Whether its checksum, which follows it, is correct.
  bool Intact(uint32_t record) const;
  int32_t file(size_t i) const { return files_.empty() ? file_ : files_[i]; }
  // Number of the row in its file, counted from 1.
  int64_t line(size_t i) const {
    return lines_.empty() ? first_row_ + static_cast<int64_t>(i) : lines_[i];
  }

 private:
  void AddRecord(size_t begin, size_t end);
  void AddRows(uint32_t record);

  const char* data_;
  std::unique_ptr<char[]> own_data_;
  std::vector<uint32_t> begin_, end_;  // by record
  std::vector<uint32_t> record_;       // by row
  std::vector<uint32_t> place_;        // by row, of SequenceExamples
  size_t consumed_ = 0;
  size_t bytes_ = 0;
  Fault fault_ = Fault::kNone;
  bool sequences_ = false;
  int32_t file_ = 0;
  int64_t first_row_ = 1;
  // Only in gathered blocks: where each row came from.
  std::vector<int32_t> files_;
  std::vector<int64_t> lines_;
};

// A field of the examples: its name, and how many numbers a row has; above 1 its column contains
// lists.
struct ExampleField {
  std::string name;
  int32_t width = 1;
};

// One column: texts, whole numbers or numbers; for lists, those of each row begin at `starts`. A
// missing value is null in `valid` (bit by bit, as in Arrow).
struct ExampleColumn {
  enum class Kind { kTexts, kIntegers, kNumbers };
  Kind kind = Kind::kTexts;
  bool lists = false;
  Array<int32_t> starts;   // of lists, rows + 1
  Array<uint8_t> valid;    // of the rows; empty: all
  Array<int32_t> offsets;  // of texts, values + 1
  Array<char> text;
  Array<int64_t> integers;
  Array<double> numbers;
};

// An unusable row.
struct BadExample {
  size_t position;  // among the requested rows
  int32_t file;
  int64_t line;
  std::string text;
};

struct ExampleRows {
  size_t rows = 0;
  std::vector<ExampleColumn> columns;
  std::vector<int32_t> files;
  std::vector<int64_t> lines;
  std::vector<BadExample> bad;
};

// Makes columns of row index[i] of blocks[block[i]] for all i, without bad ones.
// O(bytes of their records). Throws std::length_error if one column exceeds 2 GiB.
ExampleRows ParseExamples(const std::vector<ExampleField>& fields,
                          const std::vector<const RecordBlock*>& blocks, const int32_t* block,
                          const int32_t* index, size_t rows);

}  // namespace hvdrec
