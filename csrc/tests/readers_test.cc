// Reads damaged files: bytes flipped, cut and inserted in TFRecord files, in the examples within
// them, and in lines with nested cells. Made for sanitizers (`make sanitize`), which report a read
// past a buffer as an error. Undamaged files must give their rows.
//
//   readers_test [damaged files of each kind]

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/rows/crc32c.h"
#include "kernels/rows/lines.h"
#include "kernels/rows/records.h"

namespace hvdrec {
namespace {

using Random = std::mt19937_64;

std::string Varint(uint64_t value) {
  std::string out;
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
  return out + static_cast<char>(value);
}

// Field `number` with some bytes.
std::string Bytes(int number, const std::string& bytes) {
  return static_cast<char>(number << 3 | 2) + Varint(bytes.size()) + bytes;
}

std::string Feature(int kind, int64_t value) {
  if (kind == 1) return Bytes(1, Bytes(1, "t" + std::to_string(value)));
  if (kind == 3) return Bytes(3, Bytes(1, Varint(static_cast<uint64_t>(value))));
  const float number = static_cast<float>(value);
  std::string packed(sizeof(number), '\0');
  std::memcpy(packed.data(), &number, sizeof(number));
  return Bytes(2, Bytes(1, packed));
}

std::string Entry(const std::string& key, const std::string& value) {
  return Bytes(1, Bytes(1, key) + Bytes(2, value));
}

std::string Example(int64_t row) {
  return Bytes(
      1, Entry("i", Feature(3, row)) + Entry("t", Feature(1, row)) + Entry("f", Feature(2, row)));
}

// Three rows.
std::string Sequences(int64_t row) {
  std::string lists;
  for (const auto& [key, kind] : {std::make_pair("i", 3), {"t", 1}, {"f", 2}}) {
    std::string list;
    for (int64_t i = 0; i < 3; ++i) list += Bytes(1, Feature(kind, row + i));
    lists += Entry(key, list);
  }
  return Bytes(2, lists);
}

std::string Record(const std::string& data) {
  std::string out(12, '\0');
  const uint64_t size = data.size();
  std::memcpy(out.data(), &size, 8);
  uint32_t crc = MaskedCrc32c(out.data(), 8);
  std::memcpy(out.data() + 8, &crc, 4);
  out += data;
  crc = MaskedCrc32c(data.data(), data.size());
  return out.append(reinterpret_cast<const char*>(&crc), 4);
}

void Damage(Random* random, std::string* bytes) {
  for (uint64_t count = 1 + (*random)() % 4; count > 0 && !bytes->empty(); --count) {
    const size_t at = (*random)() % bytes->size();
    switch ((*random)() % 4) {
      case 0:
        (*bytes)[at] ^= static_cast<char>(1 << (*random)() % 8);
        break;
      case 1:
        bytes->erase(at, 1 + (*random)() % 9);
        break;
      case 2:
        bytes->insert(at, std::string(1 + (*random)() % 9, static_cast<char>((*random)())));
        break;
      default:
        bytes->resize(at);
    }
  }
}

// A copy in memory of exactly its size, so that a read past it is detected.
std::unique_ptr<char[]> Exactly(const std::string& bytes, size_t padding) {
  std::unique_ptr<char[]> copy(new char[bytes.size() + padding]());
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return copy;
}

// Reads records in place and gathered; returns the good rows.
size_t ReadRecords(const std::string& bytes, bool sequences) {
  const std::unique_ptr<char[]> data = Exactly(bytes, 0);
  const RecordBlock block(data.get(), 0, bytes.size(), true, 0, 1, sequences);
  std::vector<int32_t> index;
  for (size_t i = block.rows(); i-- > 0;) index.push_back(static_cast<int32_t>(i));
  const std::vector<int32_t> zeros(index.size());
  const std::vector<ExampleField> fields = {{"i", 1}, {"t", 1}, {"f", 1}, {"absent", 1}};
  const ExampleRows rows =
      ParseExamples(fields, {&block}, zeros.data(), index.data(), index.size());
  const RecordBlock copy({&block}, zeros.data(), index.data(), index.size());
  std::vector<int32_t> all(index.rbegin(), index.rend());
  const std::vector<ExampleField> vectors = {{"f", 2}, {"i", 3}};
  const ExampleRows again = ParseExamples(vectors, {&copy}, zeros.data(), all.data(), all.size());
  return rows.rows + (again.rows > rows.rows + rows.bad.size() ? 1000000 : 0);
}

size_t ReadLines(const std::string& bytes) {
  const std::unique_ptr<char[]> text = Exactly(bytes, kLinePadding);
  const LineBlock block(text.get(), 0, bytes.size(), true, 0, 1);
  LineSplitter splitter(";", false, 3);
  splitter.SetNestedLayout(0, {0, -1, -1}, 3, 2, "|", {-1, 2, 0}, 3);
  std::vector<int32_t> index;
  for (size_t i = 0; i < block.rows(); ++i) index.push_back(static_cast<int32_t>(i));
  const std::vector<int32_t> zeros(index.size());
  return splitter.Split({&block}, zeros.data(), index.data(), index.size()).rows;
}

int Run(int files) {
  Random random(1);
  std::string examples, sequences, lines;
  for (int64_t row = 0; row < 12; ++row) {
    examples += Record(Example(row));
    if (row % 3 == 0) sequences += Record(Sequences(row));
    lines += std::to_string(row) + ";x;a|" + std::string(row * 5, 'b') + "|c\n";
  }
  int failed = 0;
  const auto expect = [&](const char* what, size_t rows) {
    if (rows == 12) return;
    std::printf("%s: %zu rows of 12\n", what, rows);
    ++failed;
  };
  expect("examples", ReadRecords(examples, false));
  expect("sequences", ReadRecords(sequences, true));
  expect("lines", ReadLines(lines));
  for (int i = 0; i < files; ++i) {
    const bool several = i % 2 == 0;
    std::string bytes = several ? sequences : examples;
    Damage(&random, &bytes);
    failed += ReadRecords(bytes, several) > 1000;
    // Records whose checksums are correct but whose contents aren't.
    std::string inside = several ? Sequences(i) : Example(i);
    Damage(&random, &inside);
    failed += ReadRecords(Record(inside) + Record(Example(1)), several) > 1000;
    bytes = lines;
    Damage(&random, &bytes);
    ReadLines(bytes);
  }
  std::printf("readers: %d damaged files of each kind, %d failed\n", files, failed);
  return failed > 0;
}

}  // namespace
}  // namespace hvdrec

int main(int count, char** arguments) {
  return hvdrec::Run(count > 1 ? std::atoi(arguments[1]) : 10000);
}
