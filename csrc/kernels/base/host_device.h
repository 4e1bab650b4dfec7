// Marks functions that the CPU's kernels share with a GPU's; nothing where nvcc doesn't compile.

#ifndef HVDREC_KERNELS_BASE_HOST_DEVICE_H_
#define HVDREC_KERNELS_BASE_HOST_DEVICE_H_

// HVDREC_UNROLL comes before a loop over what a thread holds: unrolled, it stays in registers.
#ifdef __CUDACC__
#define HVDREC_HD __host__ __device__
#define HVDREC_UNROLL _Pragma("unroll")
#else
#define HVDREC_HD
#define HVDREC_UNROLL
#endif

#endif  // HVDREC_KERNELS_BASE_HOST_DEVICE_H_
