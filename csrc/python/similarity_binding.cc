#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "kernels/similarity/circle.h"
#include "kernels/similarity/in_batch_softmax.h"
#include "kernels/similarity/multi_similarity.h"

namespace py = pybind11;

namespace hvdrec {
namespace {

// The values of a C-contiguous [rows, columns] array, or of a [rows] array if `columns` is 0.
template <typename T>
const T* Values(const char* name, const py::array& array, py::ssize_t rows, py::ssize_t columns) {
  const std::string start = std::string(name) + ": ";
  if (!py::isinstance<py::array_t<T>>(array)) {
    const py::dtype wanted = py::dtype::of<T>();
    throw py::type_error(start + "needs " + py::str(wanted).cast<std::string>() + ", is " +
                         py::str(array.dtype()).cast<std::string>());
  }
  const bool right = columns == 0
                         ? array.ndim() == 1 && array.shape(0) == rows
                         : array.ndim() == 2 && array.shape(0) == rows && array.shape(1) == columns;
  if (!right) {
    const std::string wanted =
        columns == 0 ? "[" + std::to_string(rows) + "]"
                     : "[" + std::to_string(rows) + ", " + std::to_string(columns) + "]";
    throw py::value_error(start + "needs shape " + wanted);
  }
  if ((array.flags() & py::array::c_style) == 0) {
    throw py::value_error(start + "is not C-contiguous; pass numpy.ascontiguousarray of it");
  }
  return static_cast<const T*>(array.data());
}

void CheckMatrix(const char* name, const py::array& array) {
  if (array.ndim() != 2 || array.shape(1) == 0) {
    throw py::value_error(std::string(name) + ": needs shape [rows, dim] with a dim above 0");
  }
}

void CheckFinite(const char* name, int64_t bad_row) {
  if (bad_row >= 0) {
    throw py::value_error(std::string(name) + ": row " + std::to_string(bad_row) +
                          " is not finite");
  }
}

template <typename T, typename Loss>
py::tuple RunSimilarity(const py::array& embeddings, const py::array& labels,
                        const std::optional<py::array>& sessions, int64_t first_anchor,
                        std::optional<int64_t> anchors, bool gradient, int threads,
                        const Loss& loss) {
  const py::ssize_t rows = embeddings.shape(0), dim = embeddings.shape(1);
  SimilarityBatch<T> batch{Values<T>("embeddings", embeddings, rows, dim),
                           Values<int64_t>("labels", labels, rows, 0),
                           sessions ? Values<int64_t>("sessions", *sessions, rows, 0) : nullptr,
                           rows,
                           dim,
                           first_anchor,
                           0};
  const bool inside = first_anchor >= 0 && first_anchor <= rows;
  batch.anchors = anchors.value_or(inside ? rows - first_anchor : 0);
  if (!inside || batch.anchors < 0 || batch.anchors > rows - first_anchor) {
    throw py::value_error("first_anchor, anchors: out of range");
  }
  std::optional<py::array_t<T>> out;
  if (gradient) out.emplace(std::vector<py::ssize_t>{rows, dim});
  SimilarityResult result;
  {
    T* const to = out ? out->mutable_data() : nullptr;
    const py::gil_scoped_release release;
    result = loss(batch, OwnThreads(threads), to);
  }
  CheckFinite("embeddings", result.bad_row);
  return py::make_tuple(result.loss, out ? py::object(*out) : py::none());
}

template <typename Loss>
py::tuple Similarity(const py::array& embeddings, const py::array& labels,
                     const std::optional<py::array>& sessions, int64_t first_anchor,
                     std::optional<int64_t> anchors, bool gradient, int threads, const Loss& loss) {
  CheckMatrix("embeddings", embeddings);
  if (py::isinstance<py::array_t<double>>(embeddings)) {
    return RunSimilarity<double>(embeddings, labels, sessions, first_anchor, anchors, gradient,
                                 threads, loss);
  }
  return RunSimilarity<float>(embeddings, labels, sessions, first_anchor, anchors, gradient,
                              threads, loss);
}

py::tuple Circle(const py::array& embeddings, const py::array& labels,
                 const std::optional<py::array>& sessions, double margin, double gamma,
                 int64_t first_anchor, std::optional<int64_t> anchors, bool gradient, int threads) {
  const CircleOptions options{margin, gamma};
  return Similarity(embeddings, labels, sessions, first_anchor, anchors, gradient, threads,
                    [&](const auto& batch, const Parallel& parallel, auto* to) {
                      return CircleLoss(batch, options, parallel, to);
                    });
}

py::tuple MultiSimilarity(const py::array& embeddings, const py::array& labels,
                          const std::optional<py::array>& sessions, double alpha, double beta,
                          double lambda, std::optional<double> mining_eps, int64_t first_anchor,
                          std::optional<int64_t> anchors, bool gradient, int threads) {
  const MultiSimilarityOptions options{alpha, beta, lambda, mining_eps.has_value(),
                                       mining_eps.value_or(0)};
  if (!(alpha > 0) || !(beta > 0)) throw py::value_error("alpha, beta: must be above 0");
  return Similarity(embeddings, labels, sessions, first_anchor, anchors, gradient, threads,
                    [&](const auto& batch, const Parallel& parallel, auto* to) {
                      return MultiSimilarityLoss(batch, options, parallel, to);
                    });
}

template <typename T>
py::tuple RunSoftmax(const py::array& queries, const py::array& items, double temperature,
                     const std::optional<py::array>& item_ids,
                     const std::optional<py::array>& weights, bool gradient, int threads) {
  const py::ssize_t dim = queries.shape(1);
  SoftmaxBatch<T> batch{
      Values<T>("queries", queries, queries.shape(0), dim),
      Values<T>("items", items, items.shape(0), dim),
      item_ids ? Values<int64_t>("item_ids", *item_ids, items.shape(0), 0) : nullptr,
      weights ? Values<T>("weights", *weights, queries.shape(0), 0) : nullptr,
      queries.shape(0),
      items.shape(0),
      dim,
      temperature};
  if (batch.items < batch.queries) throw py::value_error("items: needs a row for each query");
  std::optional<py::array_t<T>> query_gradient, item_gradient;
  if (gradient) {
    query_gradient.emplace(std::vector<py::ssize_t>{queries.shape(0), dim});
    item_gradient.emplace(std::vector<py::ssize_t>{items.shape(0), dim});
  }
  SoftmaxResult result;
  {
    T* const to_queries = gradient ? query_gradient->mutable_data() : nullptr;
    T* const to_items = gradient ? item_gradient->mutable_data() : nullptr;
    const py::gil_scoped_release release;
    result = InBatchSoftmax(batch, OwnThreads(threads), to_queries, to_items);
  }
  CheckFinite("queries", result.bad_query);
  CheckFinite("items", result.bad_item);
  CheckFinite("weights", result.bad_weight);
  if (!gradient) return py::make_tuple(result.loss, py::none(), py::none());
  return py::make_tuple(result.loss, *query_gradient, *item_gradient);
}

py::tuple Softmax(const py::array& queries, const py::array& items, double temperature,
                  const std::optional<py::array>& item_ids, const std::optional<py::array>& weights,
                  bool gradient, int threads) {
  CheckMatrix("queries", queries);
  CheckMatrix("items", items);
  if (!(temperature > 0)) throw py::value_error("temperature: must be above 0");
  if (py::isinstance<py::array_t<double>>(queries)) {
    return RunSoftmax<double>(queries, items, temperature, item_ids, weights, gradient, threads);
  }
  return RunSoftmax<float>(queries, items, temperature, item_ids, weights, gradient, threads);
}

}  // namespace

void bind_similarity(py::module_& m) {
  m.def("circle_loss", &Circle, py::arg("embeddings"), py::arg("labels"), py::kw_only(),
        py::arg("sessions") = py::none(), py::arg("margin") = 0.25, py::arg("gamma") = 32.0,
        py::arg("first_anchor") = 0, py::arg("anchors") = py::none(), py::arg("gradient") = true,
        py::arg("threads") = 1,
        "(loss, gradient or None) of float32 or float64 embeddings [rows, dim] with int64 labels "
        "and sessions [rows]; see csrc/kernels/similarity/circle.h. Fewer threads than 1 means all "
        "cores.");
  m.def("multi_similarity_loss", &MultiSimilarity, py::arg("embeddings"), py::arg("labels"),
        py::kw_only(), py::arg("sessions") = py::none(), py::arg("alpha") = 2.0,
        py::arg("beta") = 50.0, py::arg("lamb") = 1.0, py::arg("mining_eps") = py::none(),
        py::arg("first_anchor") = 0, py::arg("anchors") = py::none(), py::arg("gradient") = true,
        py::arg("threads") = 1,
        "(loss, gradient or None), pairs mined unless mining_eps is None; see "
        "csrc/kernels/similarity/multi_similarity.h and circle_loss.");
  m.def("in_batch_softmax", &Softmax, py::arg("queries"), py::arg("items"), py::kw_only(),
        py::arg("temperature") = 1.0, py::arg("item_ids") = py::none(),
        py::arg("weights") = py::none(), py::arg("gradient") = true, py::arg("threads") = 1,
        "(loss, gradient of queries, gradient of items), the gradients None unless wanted; see "
        "csrc/kernels/similarity/in_batch_softmax.h and circle_loss.");
}

}  // namespace hvdrec
