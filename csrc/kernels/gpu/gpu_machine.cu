#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "kernels/gpu/gpu_machine.h"

namespace hvdrec {

void CudaMachine::SortPairs(const uint64_t* keys, uint64_t* keys_out, const int32_t* values,
                            int32_t* values_out, int64_t count, int bits) {
  if (count == 0) return;
  if (bits == 0) {  // one key: nothing to sort by
    CheckCuda(cudaMemcpyAsync(keys_out, keys, static_cast<size_t>(count) * sizeof(*keys),
                              cudaMemcpyDeviceToDevice, gpu_.stream));
    CheckCuda(cudaMemcpyAsync(values_out, values, static_cast<size_t>(count) * sizeof(*values),
                              cudaMemcpyDeviceToDevice, gpu_.stream));
    return;
  }
  const int items = static_cast<int>(count);
  size_t bytes = 0;
  CheckCuda(cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys, keys_out, values, values_out,
                                            items, 0, bits, gpu_.stream));
  void* const scratch = Temporary(bytes);
  CheckCuda(cub::DeviceRadixSort::SortPairs(scratch, bytes, keys, keys_out, values, values_out,
                                            items, 0, bits, gpu_.stream));
}

void CudaMachine::InclusiveSum(const int32_t* in, int32_t* out, int64_t count) {
  if (count == 0) return;
  const int items = static_cast<int>(count);
  size_t bytes = 0;
  CheckCuda(cub::DeviceScan::InclusiveSum(nullptr, bytes, in, out, items, gpu_.stream));
  void* const scratch = Temporary(bytes);
  CheckCuda(cub::DeviceScan::InclusiveSum(scratch, bytes, in, out, items, gpu_.stream));
}

}  // namespace hvdrec
