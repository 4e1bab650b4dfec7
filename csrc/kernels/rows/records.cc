#include "kernels/rows/records.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "kernels/rows/crc32c.h"
#include "kernels/rows/wire.h"

namespace hvdrec {
namespace {

constexpr size_t kHeader = 12;  // length and its checksum
constexpr size_t kFooter = 4;   // the checksum of the data
constexpr size_t kMostBytes = std::numeric_limits<uint32_t>::max();

template <typename T>
T Read(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// Rows of a SequenceExample: the features of its longest feature list; 1 if it can't be read,
// so that the fault is reported with that row.
uint32_t RowsOf(std::string_view record) {
  size_t most = 0;
  const bool sound = EachBytes(record, 2, [&](std::string_view lists) {
    return EachBytes(lists, 1, [&](std::string_view entry) {
      std::string_view key, list;
      if (!MapEntry(entry, &key, &list)) return false;
      size_t count = 0;
      if (!EachBytes(list, 1, [&](std::string_view) { return ++count > 0; })) return false;
      most = std::max(most, count);
      return true;
    });
  });
  return sound ? static_cast<uint32_t>(most) : 1;
}

}  // namespace

RecordBlock::RecordBlock(const char* data, size_t begin, size_t end, bool last, int32_t file,
                         int64_t first_row, bool sequences)
    : data_(data),
      consumed_(begin),
      bytes_(end),
      sequences_(sequences),
      file_(file),
      first_row_(first_row) {
  if (end > kMostBytes) throw std::length_error("block over 4 GiB");
  while (consumed_ < end) {
    const size_t left = end - consumed_;
    const char* const header = data + consumed_;
    if (left >= kHeader && MaskedCrc32c(header, 8) != Read<uint32_t>(header + 8)) {
      fault_ = Fault::kLength;
      return;
    }
    const uint64_t size = left >= kHeader ? Read<uint64_t>(header) : 0;
    if (left < kHeader + kFooter || size > left - kHeader - kFooter) {
      if (last) fault_ = Fault::kCut;
      return;
    }
    AddRecord(consumed_ + kHeader, consumed_ + kHeader + size);
    AddRows(static_cast<uint32_t>(begin_.size() - 1));
    consumed_ += kHeader + size + kFooter;
  }
}

void RecordBlock::AddRecord(size_t begin, size_t end) {
  begin_.push_back(static_cast<uint32_t>(begin));
  end_.push_back(static_cast<uint32_t>(end));
}

void RecordBlock::AddRows(uint32_t record) {
  uint32_t rows = sequences_ ? RowsOf(data(record)) : 1;
  // Checksums are compared with rows, so damaged bytes that hold none count as one.
  if (rows == 0 && !Intact(record)) rows = 1;
  record_.insert(record_.end(), rows, record);
  for (uint32_t i = 0; sequences_ && i < rows; ++i) place_.push_back(i);
}

RecordBlock::RecordBlock(const std::vector<const RecordBlock*>& blocks, const int32_t* block,
                         const int32_t* index, size_t rows) {
  // Rows of one record share its copy. By block and record: its index here.
  std::vector<std::vector<int64_t>> copies(blocks.size());
  size_t bytes = 0;
  for (size_t i = 0; i < rows; ++i) {
    const RecordBlock& from = *blocks[block[i]];
    std::vector<int64_t>& known = copies[block[i]];
    known.resize(from.begin_.size(), -1);
    const uint32_t record = from.record(index[i]);
    if (known[record] < 0) {
      known[record] = static_cast<int64_t>(begin_.size());
      AddRecord(bytes, bytes + from.data(record).size());
      bytes += from.data(record).size() + kFooter;
    }
    sequences_ = from.sequences_;
    record_.push_back(static_cast<uint32_t>(known[record]));
    if (sequences_) place_.push_back(from.place(index[i]));
    files_.push_back(from.file(index[i]));
    lines_.push_back(from.line(index[i]));
  }
  if (bytes > kMostBytes) throw std::length_error("block over 4 GiB");
  own_data_.reset(new char[bytes]);
  for (size_t b = 0; b < blocks.size(); ++b) {
    for (size_t record = 0; record < copies[b].size(); ++record) {
      if (copies[b][record] < 0) continue;
      const std::string_view data = blocks[b]->data(static_cast<uint32_t>(record));
      std::memcpy(own_data_.get() + begin_[copies[b][record]], data.data(), data.size() + kFooter);
    }
  }
  data_ = own_data_.get();
  bytes_ = consumed_ = bytes;
}

bool RecordBlock::Intact(uint32_t record) const {
  const std::string_view bytes = data(record);
  return MaskedCrc32c(bytes.data(), bytes.size()) == Read<uint32_t>(bytes.data() + bytes.size());
}

}  // namespace hvdrec
