#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/pairwise/pairwise.h"
#include "python/adopt.h"
#include "python/column.h"

namespace py = pybind11;

namespace hvdrec {
namespace {

constexpr char kPairwiseDoc[] = R"(
Mean loss over the pairs of rows with different labels, and its gradient.

With u = score / temperature - label_scale * label, a pair (i, j) of one session with label_i >
label_j costs weight_i * f(u_i - u_j). csrc/kernels/pairwise/pairwise.h tells the cost of each combination.

Args:
  scores: float32 or float64 [n], contiguous.
  labels: as scores; graded.
  kind: "logistic", "focal", "hinge", "squared_hinge" or "square".
  weights: as scores, or None for 1.
  sessions: int64 [n], or None where all rows are one session.
  temperature: divides the scores.
  margin: by how much the higher-labelled row should lead.
  label_scale: a margin of so many times the difference of labels is added.
  gamma: of "focal".
  limit: pairs with u_i - u_j at or above it don't count.
  hardest: below 1, only that share of the pairs counts, the hardest.
  threads: at most so many; 0 for one per core. The result's bits don't depend on it.

Returns:
  The loss, its gradient by the scores ([n]) and the number of pairs the mean is over.

Raises:
  ValueError: an argument can't be used, or a number isn't finite (the first such row is named).
  TypeError: an array has the wrong type.
)";

template <typename T>
py::tuple Run(const py::array& scores, const py::array& labels,
              const std::optional<py::array>& weights, const std::optional<py::array>& sessions,
              const PairwiseOptions& options, int threads) {
  if (scores.ndim() != 1) throw std::invalid_argument("scores must have one dimension");
  const py::ssize_t n = scores.shape(0);
  const PairwiseRows<T> rows{ColumnData<T>("scores", scores, n), ColumnData<T>("labels", labels, n),
                             weights ? ColumnData<T>("weights", *weights, n) : nullptr,
                             sessions ? ColumnData<int64_t>("sessions", *sessions, n) : nullptr, n};
  std::vector<T> gradient(static_cast<size_t>(n));
  PairwiseResult result;
  {
    const py::gil_scoped_release release;
    result = Pairwise<T>(rows, options, OwnThreads(threads), gradient.data());
  }
  if (result.bad_row >= 0) {
    throw std::invalid_argument("row " + std::to_string(result.bad_row) +
                                ": score, label or weight is not a finite number");
  }
  return py::make_tuple(result.loss, Adopt(std::move(gradient)), result.pairs);
}

}  // namespace

void bind_pairwise(py::module_& m) {
  m.def(
      "pairwise",
      [](const py::array& scores, const py::array& labels, const std::string& kind,
         const std::optional<py::array>& weights, const std::optional<py::array>& sessions,
         double temperature, double margin, double label_scale, double gamma, double limit,
         double hardest, int threads) {
        const PairwiseOptions options{
            ParsePairLoss(kind), temperature, margin, label_scale, gamma, limit, hardest};
        return py::isinstance<py::array_t<double>>(scores)
                   ? Run<double>(scores, labels, weights, sessions, options, threads)
                   : Run<float>(scores, labels, weights, sessions, options, threads);
      },
      py::arg("scores"), py::arg("labels"), py::arg("kind"), py::kw_only(),
      py::arg("weights") = py::none(), py::arg("sessions") = py::none(),
      py::arg("temperature") = 1.0, py::arg("margin") = 0.0, py::arg("label_scale") = 0.0,
      py::arg("gamma") = 2.0, py::arg("limit") = std::numeric_limits<double>::infinity(),
      py::arg("hardest") = 1.0, py::arg("threads") = 0, kPairwiseDoc);
}

}  // namespace hvdrec
