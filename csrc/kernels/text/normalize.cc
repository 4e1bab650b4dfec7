#include "kernels/text/normalize.h"

#include "kernels/text/utf8.h"

namespace hvdrec {

bool IsHan(uint32_t point) {
  return (point >= 0x4E00 && point <= 0x9FFF) || (point >= 0x3400 && point <= 0x4DBF) ||
         (point >= 0xF900 && point <= 0xFAFF) || (point >= 0x20000 && point <= 0x323AF);
}

void NormalizeText::operator()(std::string_view text, std::string* out) {
  DecodeUtf8(text, &points_);
  out->clear();
  uint32_t before = ' ';
  for (const uint32_t point : points_) {
    int64_t next = point;
    if (next < size_) {
      next = table_[next];
    } else if (remove_others_) {
      next = -1;
    }
    if (next < 0) continue;
    const auto replaced = static_cast<uint32_t>(next);
    if (split_ && before != ' ' && replaced != ' ' && (IsHan(before) || IsHan(replaced))) {
      out->push_back(' ');
    }
    AppendUtf8(replaced, out);
    before = replaced;
  }
}

}  // namespace hvdrec
