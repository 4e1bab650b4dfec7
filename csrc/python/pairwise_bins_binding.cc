#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/pairwise/bin_sum.h"
#include "kernels/pairwise/bins.h"
#include "python/adopt.h"
#include "python/column.h"

namespace py = pybind11;

namespace hvdrec {
namespace {

constexpr char kPairwiseBinsDoc[] = R"(
The rows of one process, for a pairwise loss over the rows of several; csrc/kernels/pairwise/bins.h tells
how they make it together.

Args:
  scores: float32 or float64 [n], contiguous.
  labels: as scores; graded.
  kind: "logistic" or "focal".
  weights: as scores, or None for 1.
  temperature, margin, label_scale, gamma: as of `pairwise`.
  threads: at most so many; 0 for one per core. No bits depend on it.

Raises:
  ValueError: an argument can't be used.
  TypeError: an array has the wrong type.
)";

using Numbers = py::array_t<double, py::array::c_style | py::array::forcecast>;

std::vector<PairBin> Bins(const Numbers& array) {
  if (array.ndim() != 2 || array.shape(1) != 4) {
    throw std::invalid_argument("bins must have the shape (K, 4)");
  }
  std::vector<PairBin> bins(static_cast<size_t>(array.shape(0)));
  if (!bins.empty()) std::memcpy(bins.data(), array.data(), bins.size() * sizeof(PairBin));
  return bins;
}

Numbers Matrix(const double* numbers, size_t rows, int64_t columns) {
  Numbers array({static_cast<py::ssize_t>(rows), static_cast<py::ssize_t>(columns)});
  if (array.size() > 0) std::memcpy(array.mutable_data(), numbers, sizeof(double) * array.size());
  return array;
}

Numbers Matrix(const std::vector<PairBin>& bins) {
  return Matrix(reinterpret_cast<const double*>(bins.data()), bins.size(), 4);
}

// The rows, of either type, with their bins.
class Part {
 private:
  template <typename T>
  PairwiseRows<T> Rows() const {
    const py::ssize_t n = scores_.shape(0);
    return {ColumnData<T>("scores", scores_, n), ColumnData<T>("labels", labels_, n),
            weights_ ? ColumnData<T>("weights", *weights_, n) : nullptr, nullptr, n};
  }

  template <typename Body>
  auto WithRows(const Body& body) const {
    return py::isinstance<py::array_t<double>>(scores_) ? body(Rows<double>())
                                                        : body(Rows<float>());
  }

 public:
  Part(py::array scores, py::array labels, const std::string& kind,
       std::optional<py::array> weights, double temperature, double margin, double label_scale,
       double gamma, int threads)
      : scores_(std::move(scores)),
        labels_(std::move(labels)),
        weights_(std::move(weights)),
        threads_(threads) {
    if (scores_.ndim() != 1) throw std::invalid_argument("scores must have one dimension");
    options_.loss = ParsePairLoss(kind);
    options_.temperature = temperature;
    options_.margin = margin;
    options_.label_scale = label_scale;
    options_.gamma = gamma;
    own_ = WithRows([&](const auto& rows) { return FindBins(rows, options_, threads_); });
  }

  Numbers bins() const { return Matrix(own_.bins); }

  py::tuple Moments(const Numbers& gathered, double rows_per_bin) const {
    const std::vector<PairBin> bins = Bins(gathered);
    const std::vector<PairBin> all =
        MergeBins(bins.data(), static_cast<int64_t>(bins.size()), rows_per_bin);
    return WithRows([&](const auto& rows) -> py::tuple {
      std::vector<double> moments;
      if (!all.empty()) moments = BinMoments(rows, options_, own_, all, threads_);
      return py::make_tuple(Matrix(all),
                            Matrix(moments.data(), all.size(), MomentsPerBin(rows, options_)));
    });
  }

  py::tuple Loss(const Numbers& all, const Numbers& moments) const {
    const std::vector<PairBin> bins = Bins(all);
    return WithRows([&](const auto& rows) -> py::tuple {
      if (static_cast<int64_t>(moments.size()) !=
          static_cast<int64_t>(bins.size()) * MomentsPerBin(rows, options_)) {
        throw std::invalid_argument("the moments do not match the bins");
      }
      using T = std::remove_const_t<std::remove_reference_t<decltype(*rows.scores)>>;
      std::vector<T> gradient(static_cast<size_t>(rows.count));
      PairwiseResult result;
      {
        const double* const numbers = moments.data();
        const py::gil_scoped_release release;
        result = SumOverBins(rows, options_, own_, bins, numbers, threads_, gradient.data());
      }
      return py::make_tuple(result.loss, Adopt(std::move(gradient)), result.pairs);
    });
  }

 private:
  const py::array scores_, labels_;
  const std::optional<py::array> weights_;
  const OwnThreads threads_;
  PairwiseOptions options_;
  PairBinRows own_;
};

}  // namespace

void bind_pairwise_bins(py::module_& m) {
  py::class_<Part>(m, "PairwisePart", kPairwiseBinsDoc)
      .def(py::init<py::array, py::array, const std::string&, std::optional<py::array>, double,
                    double, double, double, int>(),
           py::arg("scores"), py::arg("labels"), py::arg("kind"), py::kw_only(),
           py::arg("weights") = py::none(), py::arg("temperature") = 1.0, py::arg("margin") = 0.0,
           py::arg("label_scale") = 0.0, py::arg("gamma") = 2.0, py::arg("threads") = 0)
      .def_property_readonly("bins", &Part::bins,
                             "float64 [K, 4]: label, panel, rows and weighing rows of each bin.")
      .def("moments", &Part::Moments, py::arg("gathered"), py::kw_only(),
           py::arg("rows_per_bin") = kRowsPerBin,
           "All processes' bins ([G, 4]) to each once ([E, 4], none where rows are to be summed\n"
           "over) and this one's moments there ([E, M]).")
      .def("loss", &Part::Loss, py::arg("all"), py::arg("moments"),
           "The loss, its gradient by this process's scores ([n]) and the number of pairs, from "
           "all\n"
           "bins and the sum of all moments.");
}

}  // namespace hvdrec
