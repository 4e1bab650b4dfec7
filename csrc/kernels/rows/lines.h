// Finds the lines of delimited text and splits chosen ones into columns.
//
// A reader scans every byte once, to find the lines, but splits only the requested rows.
// A row is a line that isn't empty; "\n" and "\r\n" end lines, a lone "\r" is text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hvdrec {

// Bytes that must be readable after a block's text: copies and compares work on whole vectors.
constexpr size_t kLinePadding = 32;

// The rows of a part of a text file, or rows gathered from several blocks.
class LineBlock {
 public:
  // Scans text[begin, end). A last line without a newline belongs to the block only if `last`;
  // otherwise it is left over (see consumed()). The text is not copied and must outlive the block.
  // Throws std::length_error if `end` doesn't fit 32 bits.
  LineBlock(const char* text, size_t begin, size_t end, bool last, int32_t file,
            int64_t first_line);

  // Copies rows from other blocks: row i of the new block is row index[i] of blocks[block[i]].
  LineBlock(const std::vector<const LineBlock*>& blocks, const int32_t* block, const int32_t* index,
            size_t rows);

  size_t rows() const { return begin_.size(); }
  // Offset in the text of the first byte that isn't part of a line of this block.
  size_t consumed() const { return consumed_; }
  // Lines of text in the block, including empty ones.
  int64_t lines() const { return static_cast<int64_t>(rows() + empty_before_.size()); }
  // Bytes of text that the block keeps alive.
  size_t bytes() const { return bytes_; }

  std::string_view row(size_t i) const { return {text_ + begin_[i], end_[i] - begin_[i]}; }
  // Prefetch memory that is needed soon: the position of a row, then its text.
  void PrefetchPlace(size_t i) const {
    __builtin_prefetch(&begin_[i]);
    __builtin_prefetch(&end_[i]);
  }
  void PrefetchText(size_t i) const {
    const char* const end = text_ + end_[i];
    for (const char* p = text_ + begin_[i]; p < end && p < text_ + begin_[i] + 256; p += 64) {
      __builtin_prefetch(p);
    }
  }
  int32_t file(size_t i) const { return files_.empty() ? file_ : files_[i]; }
  // Number of the row's line in its file, counted from 1.
  int64_t line(size_t i) const;

 private:
  const char* text_;
  std::unique_ptr<char[]> own_text_;
  std::vector<uint32_t> begin_, end_;
  size_t consumed_ = 0;
  size_t bytes_ = 0;
  int32_t file_ = 0;
  int64_t first_line_ = 1;
  // For each empty line the number of the row that follows it, ascending.
  std::vector<uint32_t> empty_before_;
  // Only in gathered blocks: where each row came from.
  std::vector<int32_t> files_;
  std::vector<int64_t> line_numbers_;
};

// A row that could not be split.
struct BadRow {
  size_t position;  // among the requested rows
  int32_t columns;  // columns found, or kBadQuote
  int32_t file;
  int64_t line;
  bool nested = false;  // whether these are the parts of the nested cell
};
constexpr int32_t kBadQuote = -1;

// Rows as columns of text. Bad rows are left out.
struct SplitRows {
  size_t rows = 0;
  // Field f's values end to end at data[starts[f]], value i of them from offsets[f * (rows + 1) +
  // i].
  std::unique_ptr<int32_t[]> offsets;
  std::unique_ptr<char[]> data;
  std::vector<int64_t> starts;  // one more than the number of fields
  std::vector<int32_t> files;
  std::vector<int64_t> lines;
  std::vector<BadRow> bad;
};

class LineSplitter {
 public:
  // `quoting`: a cell that begins with '"' extends to its closing quote, "" inside it means one
  // quote.
  LineSplitter(std::string separator, bool quoting, size_t fields);

  // Sets which column of `file` each field is, and how many columns its rows must have.
  // Throws std::invalid_argument for a column outside the row, or one assigned to two fields.
  void SetLayout(int32_t file, const std::vector<int32_t>& columns, int32_t width);

  // The same for rows in which one cell, that of `column`, contains further cells between
  // `separator`s: its `parts`. A field is a column or a part, and -1 among the others.
  // Throws std::invalid_argument as `SetLayout` does, and for an empty separator.
  void SetNestedLayout(int32_t file, const std::vector<int32_t>& columns, int32_t width,
                       int32_t column, const std::string& separator,
                       const std::vector<int32_t>& parts, int32_t inner_width);

  // Columns that the rows of `file` must have.
  int32_t width(int32_t file) const { return static_cast<int32_t>(layouts_.at(file).field.size()); }
  // Parts that the nested cell of the rows of `file` must have.
  int32_t inner_width(int32_t file) const {
    return static_cast<int32_t>(layouts_.at(file).part.size());
  }

  // Splits row index[i] of blocks[block[i]] for all i. O(bytes of these rows).
  // Throws std::length_error if one field's text exceeds 2 GiB.
  SplitRows Split(const std::vector<const LineBlock*>& blocks, const int32_t* block,
                  const int32_t* index, size_t rows) const;

  // All cells of one line; empty and `ok` false if a quote isn't closed.
  std::vector<std::string> Cells(std::string_view line, bool* ok) const;

 private:
  struct Layout {
    std::vector<int32_t> field;  // by column; -1 if it isn't needed
    int32_t nested = -1;         // the column that contains further cells
    std::string separator;       // between these
    std::vector<int32_t> part;   // the field of each of them
  };
  void SetLayout(int32_t file, Layout layout);
  // Calls cell(column, begin, size) for every cell; returns how many, or kBadQuote.
  template <typename Cell>
  int32_t EachCell(std::string_view line, std::deque<std::string>* unquoted, Cell&& cell) const;
  template <typename Cell>
  int32_t EachQuotedCell(std::string_view line, std::deque<std::string>* unquoted,
                         Cell&& cell) const;
  std::string separator_;
  bool quoting_;
  size_t fields_;
  std::vector<Layout> layouts_;  // by file
};

}  // namespace hvdrec
