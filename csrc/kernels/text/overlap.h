// What two texts have in common, term by term.

#ifndef HVDREC_KERNELS_TEXT_OVERLAP_H_
#define HVDREC_KERNELS_TEXT_OVERLAP_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hvdrec {

// The ways to compare a query and a title, described at Overlap.
enum class OverlapMethod {
  kQueryCommonRatio,
  kTitleCommonRatio,
  kIsContain,
  kIsEqual,
  kIndexOf,
  kProximityMinCover,
  kProximityMinDist,
  kProximityMaxDist,
  kProximityAvgDist,
};

// The method of that name; throws std::invalid_argument if there is none.
OverlapMethod ParseOverlapMethod(const std::string& name);

// Compares the terms of two texts. Keeps its memory between calls; use one per thread.
//
// - query_common_ratio: the query's terms that are in the title, of all terms of the query;
// - title_common_ratio: the same number, of the terms of the title, at most 1;
// - is_contain: whether the title has the query's terms next to each other in their order;
// - index_of: the title's term where they begin, or -1;
// - is_equal: whether the terms are the same in the same order;
// - proximity_min_cover: the terms of the shortest part of the title with all terms of the query; 0
//   if it lacks one;
// - proximity_{min,max,avg}_dist: the smallest, largest or mean distance of two different terms of
//   the query in the title, where the distance of two terms is the smallest one between their
//   places; 0 if it has only one term of the query, and the number of its terms plus 1 if none
//   (Tao and Zhai, SIGIR 2007).
class Overlap {
 public:
  // `otherwise` is the result of all methods if a text has no term.
  Overlap(std::string separator, float otherwise, std::vector<OverlapMethod> methods)
      : separator_(std::move(separator)), otherwise_(otherwise), methods_(std::move(methods)) {}

  // Writes a number for each method.
  void operator()(std::string_view query, std::string_view title, float* out);

 private:
  float Compute(OverlapMethod method);
  int64_t IndexOf() const;
  int64_t MinCover();
  void FindDistances();

  const std::string separator_;
  const float otherwise_;
  const std::vector<OverlapMethod> methods_;
  std::vector<std::string_view> terms_;
  // Terms as numbers: those of the query come first, so a title's number below `distinct_` is one
  // of the query's.
  std::unordered_map<std::string_view, int32_t> numbers_;
  std::vector<int32_t> query_, title_, counts_;
  std::vector<std::vector<int32_t>> places_;  // of the query's terms in the title
  int32_t distinct_ = 0;
  int64_t matched_ = 0;  // different terms of the query in the title
  bool has_distances_ = false;
  double min_ = 0, max_ = 0, mean_ = 0;
};

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_TEXT_OVERLAP_H_
