#include "kernels/rows/lines.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

#include "kernels/base/array.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace hvdrec {
namespace {

// Bit i is set where p[i] == byte, for 32 bytes.
inline uint32_t MatchMask(const char* p, char byte) {
#if defined(__AVX2__)
  const __m256i text = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return static_cast<uint32_t>(
      _mm256_movemask_epi8(_mm256_cmpeq_epi8(text, _mm256_set1_epi8(byte))));
#else
  uint32_t mask = 0;
  for (int i = 0; i < 32; ++i) mask |= static_cast<uint32_t>(p[i] == byte) << i;
  return mask;
#endif
}

// Copies `size` bytes; may read and write up to 16 bytes if size is smaller.
inline void CopyShort(char* to, const char* from, size_t size) {
  if (size <= 16) {
    std::memcpy(to, from, 16);
  } else {
    std::memcpy(to, from, size);
  }
}

// The position of the next separator, `end` if there is none.
const char* FindSeparator(const char* from, const char* end, std::string_view separator) {
  const size_t size = separator.size();
  while (static_cast<size_t>(end - from) >= size) {
    const void* hit = std::memchr(from, separator[0], end - from - size + 1);
    if (hit == nullptr) return end;
    from = static_cast<const char*>(hit);
    if (std::memcmp(from, separator.data(), size) == 0) return from;
    ++from;
  }
  return end;
}

// Calls cell(column, begin, size) for each part of `line`; returns how many. kLinePadding bytes
// must be readable after it.
template <typename Cell>
int32_t EachPlainCell(std::string_view line, std::string_view separator, Cell&& cell) {
  const char* begin = line.data();
  const char* const end = begin + line.size();
  int32_t column = 0;
  if (separator.size() == 1) {
    const char byte = separator[0];
    for (const char* p = begin; p < end; p += 32) {
      uint32_t mask = MatchMask(p, byte);
      if (end - p < 32) mask &= (1u << (end - p)) - 1;
      for (; mask != 0; mask &= mask - 1) {
        const char* stop = p + __builtin_ctz(mask);
        cell(column++, begin, static_cast<size_t>(stop - begin));
        begin = stop + 1;
      }
    }
  } else {
    for (const char* stop; (stop = FindSeparator(begin, end, separator)) != end;) {
      cell(column++, begin, static_cast<size_t>(stop - begin));
      begin = stop + separator.size();
    }
  }
  cell(column++, begin, static_cast<size_t>(end - begin));
  return column;
}

// Assigns a column, which must not belong to another field, to a field.
void Place(int32_t column, size_t field, std::vector<int32_t>* fields) {
  if (column < 0 || static_cast<size_t>(column) >= fields->size() || (*fields)[column] >= 0) {
    throw std::invalid_argument("wrong column in layout");
  }
  (*fields)[column] = static_cast<int32_t>(field);
}

// How many rows ahead of the current one memory is prefetched: shuffled rows are anywhere.
constexpr size_t kAhead = 8;

}  // namespace

LineBlock::LineBlock(const char* text, size_t begin, size_t end, bool last, int32_t file,
                     int64_t first_line)
    : text_(text), consumed_(begin), bytes_(end), file_(file), first_line_(first_line) {
  if (end > std::numeric_limits<uint32_t>::max()) throw std::length_error("block over 4 GiB");
  const size_t guess = (end - begin) / 64;
  begin_.reserve(guess);
  end_.reserve(guess);
  while (consumed_ < end) {
    const void* newline = std::memchr(text + consumed_, '\n', end - consumed_);
    if (newline == nullptr && !last) break;
    const size_t stop = newline ? static_cast<const char*>(newline) - text : end;
    const size_t stripped = stop > consumed_ && text[stop - 1] == '\r' ? stop - 1 : stop;
    if (stripped == consumed_) {
      empty_before_.push_back(static_cast<uint32_t>(begin_.size()));
    } else {
      begin_.push_back(static_cast<uint32_t>(consumed_));
      end_.push_back(static_cast<uint32_t>(stripped));
    }
    consumed_ = newline ? stop + 1 : end;
  }
}

LineBlock::LineBlock(const std::vector<const LineBlock*>& blocks, const int32_t* block,
                     const int32_t* index, size_t rows) {
  for (size_t i = 0; i < rows; ++i) bytes_ += blocks[block[i]]->row(index[i]).size();
  if (bytes_ > std::numeric_limits<uint32_t>::max()) throw std::length_error("block over 4 GiB");
  own_text_.reset(new char[bytes_ + kLinePadding]);
  std::memset(own_text_.get() + bytes_, 0, kLinePadding);
  text_ = own_text_.get();
  begin_.reserve(rows);
  end_.reserve(rows);
  files_.reserve(rows);
  line_numbers_.reserve(rows);
  for (size_t i = 0; i < rows; ++i) {
    const LineBlock& from = *blocks[block[i]];
    const std::string_view row = from.row(index[i]);
    std::memcpy(own_text_.get() + consumed_, row.data(), row.size());
    begin_.push_back(static_cast<uint32_t>(consumed_));
    consumed_ += row.size();
    end_.push_back(static_cast<uint32_t>(consumed_));
    files_.push_back(from.file(index[i]));
    line_numbers_.push_back(from.line(index[i]));
  }
}

int64_t LineBlock::line(size_t i) const {
  if (!line_numbers_.empty()) return line_numbers_[i];
  int64_t line = first_line_ + static_cast<int64_t>(i);
  if (!empty_before_.empty()) {
    line += std::upper_bound(empty_before_.begin(), empty_before_.end(), i) - empty_before_.begin();
  }
  return line;
}

LineSplitter::LineSplitter(std::string separator, bool quoting, size_t fields)
    : separator_(std::move(separator)), quoting_(quoting), fields_(fields) {
  if (separator_.empty()) throw std::invalid_argument("the separator is empty");
}

void LineSplitter::SetLayout(int32_t file, const std::vector<int32_t>& columns, int32_t width) {
  if (file < 0 || columns.size() != fields_) throw std::invalid_argument("wrong layout");
  Layout layout;
  layout.field.assign(width, -1);
  for (size_t f = 0; f < columns.size(); ++f) Place(columns[f], f, &layout.field);
  SetLayout(file, std::move(layout));
}

void LineSplitter::SetNestedLayout(int32_t file, const std::vector<int32_t>& columns, int32_t width,
                                   int32_t column, const std::string& separator,
                                   const std::vector<int32_t>& parts, int32_t inner_width) {
  if (file < 0 || columns.size() != fields_ || parts.size() != fields_ || separator.empty() ||
      quoting_ || column < 0 || column >= width) {
    throw std::invalid_argument("wrong layout");
  }
  Layout layout;
  layout.field.assign(width, -1);
  layout.nested = column;
  layout.separator = separator;
  layout.part.assign(inner_width, -1);
  for (size_t f = 0; f < fields_; ++f) {
    if (columns[f] >= 0) {
      Place(columns[f], f, &layout.field);
    } else {
      Place(parts[f], f, &layout.part);
    }
  }
  SetLayout(file, std::move(layout));
}

void LineSplitter::SetLayout(int32_t file, Layout layout) {
  if (layouts_.size() <= static_cast<size_t>(file)) layouts_.resize(file + 1);
  layouts_[file] = std::move(layout);
}

template <typename Cell>
int32_t LineSplitter::EachQuotedCell(std::string_view line, std::deque<std::string>* unquoted,
                                     Cell&& cell) const {
  const char* p = line.data();
  const char* const end = p + line.size();
  int32_t column = 0;
  while (true) {
    const char* stop;
    if (p < end && *p == '"') {
      const char* const begin = p + 1;
      bool doubled = false;
      for (p = begin;; p += 2) {
        const void* quote = p < end ? std::memchr(p, '"', end - p) : nullptr;
        if (quote == nullptr) return kBadQuote;
        p = static_cast<const char*>(quote);
        if (p + 1 >= end || p[1] != '"') break;
        doubled = true;
      }
      stop = p + 1;
      if (stop != end && (static_cast<size_t>(end - stop) < separator_.size() ||
                          std::memcmp(stop, separator_.data(), separator_.size()) != 0)) {
        return kBadQuote;
      }
      if (doubled) {
        std::string text;
        for (const char* c = begin; c < p; ++c) {
          text += *c;
          if (*c == '"') ++c;
        }
        const size_t size = text.size();
        text.resize(size + kLinePadding);
        unquoted->push_back(std::move(text));
        cell(column++, unquoted->back().data(), size);
      } else {
        cell(column++, begin, static_cast<size_t>(p - begin));
      }
    } else {
      stop = FindSeparator(p, end, separator_);
      cell(column++, p, static_cast<size_t>(stop - p));
    }
    if (stop == end) return column;
    p = stop + separator_.size();
  }
}

template <typename Cell>
int32_t LineSplitter::EachCell(std::string_view line, std::deque<std::string>* unquoted,
                               Cell&& cell) const {
  if (quoting_ && std::memchr(line.data(), '"', line.size()) != nullptr) {
    return EachQuotedCell(line, unquoted, cell);
  }
  return EachPlainCell(line, separator_, cell);
}

SplitRows LineSplitter::Split(const std::vector<const LineBlock*>& blocks, const int32_t* block,
                              const int32_t* index, size_t rows) const {
  SplitRows out;
  out.files.reserve(rows);
  out.lines.reserve(rows);
  std::deque<std::string> unquoted;
  // First the position of each value, field by field; then, with all sizes known, one copy.
  Array<const char*> begin(fields_ * rows);
  Array<uint32_t> size(fields_ * rows);
  const char** const begins = begin.data();
  uint32_t* const sizes = size.data();
  size_t good = 0;
  for (size_t i = 0; i < rows; ++i) {
    if (i + 2 * kAhead < rows) blocks[block[i + 2 * kAhead]]->PrefetchPlace(index[i + 2 * kAhead]);
    if (i + kAhead < rows) blocks[block[i + kAhead]]->PrefetchText(index[i + kAhead]);
    const LineBlock& from = *blocks[block[i]];
    const int32_t file = from.file(index[i]);
    const Layout& layout = layouts_.at(file);
    const int32_t width = static_cast<int32_t>(layout.field.size());
    // By value: the compiler keeps in registers what it would otherwise load again for each cell.
    const auto placing = [begins, sizes, rows, good](const std::vector<int32_t>& fields) {
      return [field = fields.data(), count = static_cast<int32_t>(fields.size()), begins, sizes,
              rows, good](int32_t column, const char* p, size_t n) {
        if (column >= count || field[column] < 0) return;
        const size_t at = field[column] * rows + good;
        begins[at] = p;
        sizes[at] = static_cast<uint32_t>(n);
      };
    };
    const auto place = placing(layout.field);
    std::string_view nested;
    const auto place_and_keep = [&](int32_t column, const char* p, size_t n) {
      if (column == layout.nested) nested = {p, n};
      place(column, p, n);
    };
    const int32_t columns = layout.nested < 0
                                ? EachCell(from.row(index[i]), &unquoted, place)
                                : EachCell(from.row(index[i]), &unquoted, place_and_keep);
    if (columns != width) {
      out.bad.push_back({i, columns, file, from.line(index[i])});
      continue;
    }
    if (layout.nested >= 0) {
      const int32_t parts = EachPlainCell(nested, layout.separator, placing(layout.part));
      if (parts != static_cast<int32_t>(layout.part.size())) {
        out.bad.push_back({i, parts, file, from.line(index[i]), true});
        continue;
      }
    }
    out.files.push_back(file);
    out.lines.push_back(from.line(index[i]));
    ++good;
  }
  out.rows = good;
  out.offsets.reset(new int32_t[fields_ * (good + 1)]);
  out.starts.assign(1, 0);
  for (size_t f = 0; f < fields_; ++f) {
    int32_t* offsets = &out.offsets[f * (good + 1)];
    int64_t total = 0;
    for (size_t i = 0; i < good; ++i) {
      offsets[i] = static_cast<int32_t>(total);
      total += size[f * rows + i];
    }
    if (total > std::numeric_limits<int32_t>::max()) {
      throw std::length_error("the text of one column exceeds 2 GiB in one batch");
    }
    offsets[good] = static_cast<int32_t>(total);
    out.starts.push_back(out.starts.back() + total);
  }
  out.data.reset(new char[out.starts.back() + kLinePadding]);
  for (size_t f = 0; f < fields_; ++f) {
    char* to = &out.data[out.starts[f]];
    const int32_t* offsets = &out.offsets[f * (good + 1)];
    for (size_t i = 0; i < good; ++i) {
      CopyShort(to + offsets[i], begin[f * rows + i], size[f * rows + i]);
    }
  }
  return out;
}

std::vector<std::string> LineSplitter::Cells(std::string_view line, bool* ok) const {
  std::string padded(line);
  padded.resize(line.size() + kLinePadding);
  std::vector<std::string> cells;
  std::deque<std::string> unquoted;
  const int32_t columns =
      EachCell({padded.data(), line.size()}, &unquoted,
               [&](int32_t, const char* p, size_t n) { cells.emplace_back(p, n); });
  *ok = columns != kBadQuote;
  if (!*ok) cells.clear();
  return cells;
}

}  // namespace hvdrec
