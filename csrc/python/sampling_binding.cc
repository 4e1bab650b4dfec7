#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "kernels/features/distinct.h"
#include "kernels/sampling/negatives.h"
#include "python/adopt.h"

namespace py = pybind11;

namespace hvdrec {
namespace {

using Ids = py::array_t<int64_t, py::array::c_style>;
using Places = py::array_t<int32_t, py::array::c_style>;
using Weights = py::array_t<float, py::array::c_style>;

// An alias table in numpy.
using Entries = py::array_t<uint64_t, py::array::c_style>;

void FillEntries(const Weights& weights, Entries entries) {
  static_assert(sizeof(AliasEntry) == sizeof(uint64_t));
  if (weights.size() != entries.size()) {
    throw std::invalid_argument("weights and entries differ in length");
  }
  auto* const table = reinterpret_cast<AliasEntry*>(entries.mutable_data());
  const py::gil_scoped_release release;
  FillAliasTable(weights.data(), static_cast<size_t>(weights.size()), table);
}

std::unique_ptr<ItemSampler> OfArrays(const Ids& ids, const std::optional<Entries>& entries) {
  if (entries && entries->size() != ids.size()) {
    throw std::invalid_argument("ids and entries differ in length");
  }
  const auto* table = entries ? reinterpret_cast<const AliasEntry*>(entries->data()) : nullptr;
  return std::make_unique<ItemSampler>(ids.data(), table, static_cast<int64_t>(ids.size()));
}

void CheckCount(int64_t count) {
  if (count < 0) throw std::invalid_argument("count is negative");
}

py::array ByWeight(const ItemSampler& sampler, const Ids& excluded, uint64_t seed, int64_t count) {
  CheckCount(count);
  std::vector<int32_t> places(static_cast<size_t>(count));
  {
    const py::gil_scoped_release release;
    sampler.DrawByWeight(excluded.data(), static_cast<size_t>(excluded.size()), seed, count,
                         places.data());
  }
  return Adopt(std::move(places));
}

py::array ForUsers(const ItemSampler& sampler, const UserItems& items, const Ids& users,
                   uint64_t seed, int64_t count) {
  CheckCount(count);
  if (count > 0 && users.size() == 0) throw std::invalid_argument("there are no users");
  std::vector<int32_t> places(static_cast<size_t>(count));
  {
    const py::gil_scoped_release release;
    const int64_t rows = std::max<int64_t>(users.size(), 1);
    const int64_t per_user = std::max<int64_t>((count + rows - 1) / rows, 1);
    sampler.DrawForUsers(items, users.data(), per_user, seed, count, places.data());
  }
  return Adopt(std::move(places));
}

py::array DistinctPlaces(const ItemSampler& sampler, const Ids& excluded, uint64_t seed,
                         int64_t count, int64_t margin) {
  CheckCount(count);
  std::vector<int32_t> places(static_cast<size_t>(count));
  {
    const py::gil_scoped_release release;
    places.resize(static_cast<size_t>(sampler.DrawDistinct(excluded.data(),
                                                           static_cast<size_t>(excluded.size()),
                                                           seed, count, margin, places.data())));
  }
  return Adopt(std::move(places));
}

// The items of each user, at most `most`, with the row of each.
py::tuple OfUsers(const UserItems& items, const Ids& users, int64_t most) {
  std::vector<int64_t> found;
  std::vector<int32_t> rows;
  {
    const py::gil_scoped_release release;
    for (py::ssize_t row = 0; row < users.size(); ++row) {
      const auto [first, last] = items.Of(users.data()[row]);
      const int64_t count = std::min<int64_t>(most, last - first);
      found.insert(found.end(), first, first + count);
      rows.insert(rows.end(), static_cast<size_t>(count), static_cast<int32_t>(row));
    }
  }
  return py::make_tuple(Adopt(std::move(found)), Adopt(std::move(rows)));
}

// The union of two arrays of distinct numbers: the first, then those only in the second; and for
// each of the second its position in the union, plus one.
py::tuple MergeDistinct(const Places& first, const Places& second, int32_t limit) {
  const auto count = static_cast<size_t>(first.size());
  Array<int32_t> all;
  std::vector<int32_t> places(std::max(count, static_cast<size_t>(second.size())));
  {
    const py::gil_scoped_release release;
    Distinct distinct(limit);
    distinct.Begin();
    distinct.Number(first.data(), count, 0, places.data(), &all);
    places.resize(static_cast<size_t>(second.size()));
    distinct.Number(second.data(), places.size(), 0, places.data(), &all);
  }
  return py::make_tuple(Adopt(std::move(all)), Adopt(std::move(places)));
}

}  // namespace

void bind_sampling(py::module_& m) {
  py::class_<UserItems>(m, "UserItems",
                        "Edges from users to items; see csrc/kernels/sampling/negatives.h.")
      .def(py::init([](const Ids& users, const Ids& items) {
             if (users.size() != items.size()) {
               throw std::invalid_argument("users and items differ in length");
             }
             return std::make_unique<UserItems>(users.data(), items.data(),
                                                static_cast<size_t>(users.size()));
           }),
           py::arg("users"), py::arg("items"))
      .def("of", &OfUsers, py::arg("users"), py::arg("most"),
           "(items int64 [n], rows int32 [n]): the first items of each user, row by row.");
  py::class_<ItemSampler>(m, "ItemSampler",
                          "Draws items of a table; see csrc/kernels/sampling/negatives.h.")
      .def(py::init(&OfArrays), py::arg("ids").noconvert(), py::arg("entries").noconvert(),
           py::keep_alive<1, 2>(), py::keep_alive<1, 3>())
      .def("by_weight", &ByWeight, py::arg("excluded"), py::arg("seed"), py::arg("count"),
           "Places int32 [count], drawn by weight, whose ids aren't excluded.")
      .def("for_users", &ForUsers, py::arg("items"), py::arg("users"), py::arg("seed"),
           py::arg("count"),
           "Places int32 [count], dealt to the users, none of a user's own items.")
      .def("distinct", &DistinctPlaces, py::arg("excluded"), py::arg("seed"), py::arg("count"),
           py::arg("margin"),
           "Distinct places int32 [at most count], all as likely, not excluded.");
  m.def("fill_alias_table", &FillEntries, py::arg("weights"), py::arg("entries").noconvert(),
        "Fills entries uint64 [items] for ItemSampler.");
  m.def("merge_distinct", &MergeDistinct, py::arg("first"), py::arg("second"), py::arg("limit"),
        "(both int32 without repeats, places of the second's plus one), of numbers below a limit.");
}

}  // namespace hvdrec
