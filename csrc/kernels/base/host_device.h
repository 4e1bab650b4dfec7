// Marks functions that CPU kernels share with GPU kernels; empty unless nvcc compiles.

#ifndef HVDREC_KERNELS_BASE_HOST_DEVICE_H_
#define HVDREC_KERNELS_BASE_HOST_DEVICE_H_

// HVDREC_UNROLL precedes a loop over a thread's values: unrolled, they stay in registers.
#ifdef __CUDACC__
#define HVDREC_HD __host__ __device__
#define HVDREC_UNROLL _Pragma("unroll")
#else
#define HVDREC_HD
#define HVDREC_UNROLL
#endif

#endif  // HVDREC_KERNELS_BASE_HOST_DEVICE_H_
