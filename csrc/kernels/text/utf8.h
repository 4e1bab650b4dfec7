// UTF-8: code points of a text, and a text of code points.

#ifndef HVDREC_KERNELS_TEXT_UTF8_H_
#define HVDREC_KERNELS_TEXT_UTF8_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hvdrec {

// Reads the code point that begins at `at`, which isn't the end of the text.
//
// Returns how many bytes it has, or 0 if they aren't UTF-8: overlong forms, surrogates and numbers
// above U+10FFFF aren't.
int ReadUtf8(std::string_view text, size_t at, uint32_t* point);

// The position of the first byte that isn't UTF-8; npos if there is none.
size_t FirstInvalidUtf8(std::string_view text);

// Replaces `points` by the code points of a text.
//
// Throws std::invalid_argument, with the position, if it isn't UTF-8.
void DecodeUtf8(std::string_view text, std::vector<uint32_t>* points);

// Appends a code point to a text.
void AppendUtf8(uint32_t point, std::string* text);

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_TEXT_UTF8_H_
