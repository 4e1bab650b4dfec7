// Counts cases, and names those that fail.

#ifndef HVDREC_TESTS_TALLY_H_
#define HVDREC_TESTS_TALLY_H_

#include <cstdint>
#include <cstdio>
#include <string>

namespace hvdrec {

class Tally {
 public:
  void Count(bool holds, const std::string& name, double loss_error, double gradient_error) {
    ++cases_;
    if (holds) return;
    ++failed_;
    std::printf("%s: loss off by %g, gradient by %g\n", name.c_str(), loss_error, gradient_error);
  }

  // The program's exit status.
  int End(const char* what) const {
    std::printf("%s: %ld cases, %ld failed\n", what, static_cast<long>(cases_),
                static_cast<long>(failed_));
    return failed_ > 0;
  }

 private:
  int64_t cases_ = 0, failed_ = 0;
};

}  // namespace hvdrec

#endif  // HVDREC_TESTS_TALLY_H_
