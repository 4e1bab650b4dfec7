#include "kernels/text/mapped_dot_product.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "kernels/text/terms.h"

namespace hvdrec {
namespace {

double ReadValue(std::string_view entry, std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  text = text.substr(0, text.find_last_not_of(kSpace) + 1);
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  double value = 0.0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    throw std::invalid_argument("the value of the entry '" + std::string(entry) +
                                "' is not a finite number");
  }
  return value;
}

}  // namespace

void MappedDotProduct::Read(std::string_view text, Vector* vector) {
  vector->clear();
  SplitTerms(text, separator_, &entries_);
  for (const std::string_view entry : entries_) {
    const size_t colon = entry.rfind(':');
    if (colon == std::string_view::npos) {
      (*vector)[entry] = 1.0;
    } else {
      (*vector)[entry.substr(0, colon)] = ReadValue(entry, entry.substr(colon + 1));
    }
  }
}

float MappedDotProduct::operator()(std::string_view query, std::string_view document) {
  Read(query, &query_);
  Read(document, &document_);
  if (query_.empty() || document_.empty()) return otherwise_;
  double sum = 0.0;
  // In the order of the document's entries, which doesn't depend on how keys are hashed.
  SplitTerms(document, separator_, &entries_);
  for (const std::string_view entry : entries_) {
    const std::string_view key = entry.substr(0, entry.rfind(':'));
    const auto value = document_.find(key);
    if (value == document_.end()) continue;
    const auto other = query_.find(key);
    if (other != query_.end()) sum += value->second * other->second;
    document_.erase(value);
  }
  return static_cast<float>(sum);
}

}  // namespace hvdrec
