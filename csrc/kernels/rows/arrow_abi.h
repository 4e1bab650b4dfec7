// The two structs of the Arrow C data interface, as in its specification
// (https://arrow.apache.org/docs/format/CDataInterface.html). They're ABI-stable, so no Arrow
// library is needed to read its arrays.

#ifndef HVDREC_KERNELS_ROWS_ARROW_ABI_H_
#define HVDREC_KERNELS_ROWS_ARROW_ABI_H_

#include <cstdint>

extern "C" {

struct ArrowSchema {
  const char* format;
  const char* name;
  const char* metadata;
  int64_t flags;
  int64_t n_children;
  struct ArrowSchema** children;
  struct ArrowSchema* dictionary;
  void (*release)(struct ArrowSchema*);
  void* private_data;
};

struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void** buffers;
  struct ArrowArray** children;
  struct ArrowArray* dictionary;
  void (*release)(struct ArrowArray*);
  void* private_data;
};

}  // extern "C"

#endif  // HVDREC_KERNELS_ROWS_ARROW_ABI_H_
