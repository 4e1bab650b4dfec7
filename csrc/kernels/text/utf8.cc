#include "kernels/text/utf8.h"

#include <stdexcept>

namespace hvdrec {

int ReadUtf8(std::string_view text, size_t at, uint32_t* point) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(at);
  if (first < 0x80) {
    *point = first;
    return 1;
  }
  const int size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || at + static_cast<size_t>(size) > text.size()) return 0;
  uint32_t value = first & (0xFFU >> (size + 1));
  for (int i = 1; i < size; ++i) {
    const uint8_t next = byte(at + static_cast<size_t>(i));
    if ((next & 0xC0) != 0x80) return 0;
    value = (value << 6) | (next & 0x3FU);
  }
  const bool overlong = (size == 3 && value < 0x800) || (size == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (overlong || surrogate || value > 0x10FFFF) return 0;
  *point = value;
  return size;
}

size_t FirstInvalidUtf8(std::string_view text) {
  uint32_t point;
  for (size_t at = 0; at < text.size();) {
    const int size = ReadUtf8(text, at, &point);
    if (size == 0) return at;
    at += static_cast<size_t>(size);
  }
  return std::string_view::npos;
}

void DecodeUtf8(std::string_view text, std::vector<uint32_t>* points) {
  points->clear();
  uint32_t point;
  for (size_t at = 0; at < text.size();) {
    const int size = ReadUtf8(text, at, &point);
    if (size == 0) {
      throw std::invalid_argument("a text is not UTF-8: byte " + std::to_string(at + 1) +
                                  " begins no character");
    }
    points->push_back(point);
    at += static_cast<size_t>(size);
  }
}

void AppendUtf8(uint32_t point, std::string* text) {
  const auto tail = [&](int shift) {
    text->push_back(static_cast<char>(0x80U | ((point >> shift) & 0x3FU)));
  };
  if (point < 0x80) {
    text->push_back(static_cast<char>(point));
  } else if (point < 0x800) {
    text->push_back(static_cast<char>(0xC0U | (point >> 6)));
    tail(0);
  } else if (point < 0x10000) {
    text->push_back(static_cast<char>(0xE0U | (point >> 12)));
    tail(6);
    tail(0);
  } else {
    text->push_back(static_cast<char>(0xF0U | (point >> 18)));
    tail(12);
    tail(6);
    tail(0);
  }
}

}  // namespace hvdrec
