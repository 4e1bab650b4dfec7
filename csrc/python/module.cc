// hvdrec._native: each binding file in this folder adds its part by one call here.
#include <pybind11/pybind11.h>

#include "kernels/base/interface.h"

namespace hvdrec {
void bind_lines(pybind11::module_& m);
void bind_lists(pybind11::module_& m);
void bind_packer(pybind11::module_& m);
void bind_pairwise(pybind11::module_& m);
void bind_pairwise_bins(pybind11::module_& m);
void bind_records(pybind11::module_& m);
void bind_row_map(pybind11::module_& m);
void bind_sampling(pybind11::module_& m);
void bind_similarity(pybind11::module_& m);
}  // namespace hvdrec

PYBIND11_MODULE(_native, m) {
  m.doc() = "C++ kernels of hvdrec; their definitions are in the headers of csrc/kernels.";
  hvdrec::HVDREC_INTERFACE();
  hvdrec::bind_lines(m);
  hvdrec::bind_lists(m);
  hvdrec::bind_packer(m);
  hvdrec::bind_pairwise(m);
  hvdrec::bind_pairwise_bins(m);
  hvdrec::bind_records(m);
  hvdrec::bind_row_map(m);
  hvdrec::bind_sampling(m);
  hvdrec::bind_similarity(m);
}
