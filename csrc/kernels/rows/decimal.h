// Parses numbers with few digits, which are nearly all numbers, without a library call.

#ifndef HVDREC_KERNELS_ROWS_DECIMAL_H_
#define HVDREC_KERNELS_ROWS_DECIMAL_H_

#include <cstdint>
#include <string_view>

namespace hvdrec {

// Reads "12", "-3": at most nine digits, so that the value fits an INT32. False for anything else.
inline bool ReadShortInteger(std::string_view text, int64_t* value) {
  const char* p = text.data();
  const char* const end = p + text.size();
  const bool negative = p != end && *p == '-';
  p += negative;
  if (p == end || end - p > 9) return false;
  int64_t digits = 0;
  for (; p != end; ++p) {
    const auto digit = static_cast<unsigned>(*p - '0');
    if (digit > 9) return false;
    digits = digits * 10 + digit;
  }
  *value = negative ? -digits : digits;
  return true;
}

// Reads "12", "-3.25", ".5": at most 15 digits, no exponent. False for anything else.
//
// Digits and power of ten are exact as doubles, so their quotient is the nearest double (Clinger,
// How to read floating point numbers accurately, PLDI 1990).
inline bool ReadShortDecimal(std::string_view text, double* value) {
  static constexpr double kPowers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  const char* p = text.data();
  const char* const end = p + text.size();
  const bool negative = p != end && *p == '-';
  p += negative;
  const char* const begin = p;
  if (end - p > 16) return false;
  int64_t digits = 0;
  const char* point = nullptr;
  for (; p != end; ++p) {
    const auto digit = static_cast<unsigned>(*p - '0');
    if (digit <= 9) {
      digits = digits * 10 + digit;
    } else if (*p == '.' && point == nullptr) {
      point = p;
    } else {
      return false;
    }
  }
  const auto count = end - begin - (point != nullptr);
  if (count < 1 || count > 15) return false;
  double number = static_cast<double>(digits);
  if (point != nullptr) number /= kPowers[end - point - 1];
  *value = negative ? -number : number;
  return true;
}

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_ROWS_DECIMAL_H_
