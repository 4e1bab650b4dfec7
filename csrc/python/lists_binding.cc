#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "kernels/base/parallel.h"
#include "kernels/lists/lists.h"
#include "python/column.h"

namespace py = pybind11;

namespace hvdrec {
namespace {

template <typename T>
py::tuple RunListwise(const py::array& scores, const py::array& labels,
                      const std::optional<py::array>& sessions, ListLabels form, int threads) {
  const py::ssize_t n = scores.size();
  const ListRows<T> rows{ColumnData<T>("scores", scores, n), ColumnData<T>("labels", labels, n),
                         sessions ? ColumnData<int64_t>("sessions", *sessions, n) : nullptr, n};
  py::array_t<T> gradient(n);
  double loss;
  {
    T* const to = gradient.mutable_data();
    const py::gil_scoped_release release;
    loss = Listwise<T>(rows, form, OwnThreads(threads), to);
  }
  return py::make_tuple(loss, gradient);
}

py::tuple PyListwise(const py::array& scores, const py::array& labels,
                     const std::optional<py::array>& sessions, const std::string& form,
                     int threads) {
  const ListLabels labels_are = ParseListLabels(form);
  if (py::isinstance<py::array_t<double>>(scores)) {
    return RunListwise<double>(scores, labels, sessions, labels_are, threads);
  }
  return RunListwise<float>(scores, labels, sessions, labels_are, threads);
}

template <typename T>
py::tuple RunHybrid(const py::array& logits, const py::array& labels,
                    const std::optional<py::array>& weights,
                    const std::optional<py::array>& sessions, bool same_label, int threads) {
  const py::ssize_t n = logits.shape(0);
  const HybridRows<T> rows{ColumnData<T>("logits", logits.attr("reshape")(-1), 2 * n),
                           ColumnData<int32_t>("labels", labels, n),
                           weights ? ColumnData<T>("weights", *weights, n) : nullptr,
                           sessions ? ColumnData<int64_t>("sessions", *sessions, n) : nullptr, n};
  py::array_t<T> gradient({n, py::ssize_t{2}});
  double loss;
  {
    T* const to = gradient.mutable_data();
    const py::gil_scoped_release release;
    loss = Hybrid<T>(rows, same_label, OwnThreads(threads), to);
  }
  return py::make_tuple(loss, gradient);
}

py::tuple PyHybrid(const py::array& logits, const py::array& labels,
                   const std::optional<py::array>& weights,
                   const std::optional<py::array>& sessions, bool same_label, int threads) {
  if (logits.ndim() != 2 || logits.shape(1) != 2 || (logits.flags() & py::array::c_style) == 0) {
    throw std::invalid_argument("logits must be contiguous and have the shape (rows, 2)");
  }
  if (py::isinstance<py::array_t<double>>(logits)) {
    return RunHybrid<double>(logits, labels, weights, sessions, same_label, threads);
  }
  return RunHybrid<float>(logits, labels, weights, sessions, same_label, threads);
}

}  // namespace

void bind_lists(py::module_& m) {
  m.def("listwise", &PyListwise, py::arg("scores"), py::arg("labels"), py::kw_only(),
        py::arg("sessions") = py::none(), py::arg("form") = "shares", py::arg("threads") = 1,
        "(loss, gradient) of float32 or float64 scores and labels [rows] with int64 sessions "
        "[rows]; form is shares, logits or masses. See csrc/kernels/lists/lists.h. Fewer threads "
        "than 1 means all cores.");
  m.def("hybrid", &PyHybrid, py::arg("logits"), py::arg("labels"), py::kw_only(),
        py::arg("weights") = py::none(), py::arg("sessions") = py::none(),
        py::arg("same_label") = true, py::arg("threads") = 1,
        "(loss, gradient) of float32 or float64 logits [rows, 2] with int32 labels [rows]; see "
        "listwise.");
}

}  // namespace hvdrec
