// What a processor needs to run what is compiled with this file.

#ifndef HVDREC_KERNELS_BASE_NEEDS_H_
#define HVDREC_KERNELS_BASE_NEEDS_H_

namespace hvdrec {

// The features that the compiler may use on its own, by Linux's names; of x86-64 only, and without
// those of every x86-64. hvdrec/ops/kernels.py searches libraries of kernels for this text.
constexpr char kNeeds[] =
    "hvdrec kernels need:"
// clang-format off
#ifdef __SSE3__
    " pni"
#endif
#ifdef __SSSE3__
    " ssse3"
#endif
#ifdef __SSE4_1__
    " sse4_1"
#endif
#ifdef __SSE4_2__
    " sse4_2"
#endif
#ifdef __SSE4A__
    " sse4a"
#endif
#ifdef __POPCNT__
    " popcnt"
#endif
#ifdef __LAHF_SAHF__
    " lahf_lm"
#endif
#ifdef __GCC_HAVE_SYNC_COMPARE_AND_SWAP_16
    " cx16"
#endif
#ifdef __MOVBE__
    " movbe"
#endif
#ifdef __BMI__
    " bmi1"
#endif
#ifdef __BMI2__
    " bmi2"
#endif
#ifdef __LZCNT__
    " abm"
#endif
#ifdef __TBM__
    " tbm"
#endif
#ifdef __F16C__
    " f16c"
#endif
#ifdef __FMA__
    " fma"
#endif
#ifdef __FMA4__
    " fma4"
#endif
#ifdef __XOP__
    " xop"
#endif
#ifdef __AVX__
    " avx"
#endif
#ifdef __AVX2__
    " avx2"
#endif
#ifdef __AVXVNNI__
    " avx_vnni"
#endif
#ifdef __GFNI__
    " gfni"
#endif
#ifdef __AVX512F__
    " avx512f"
#endif
#ifdef __AVX512BW__
    " avx512bw"
#endif
#ifdef __AVX512CD__
    " avx512cd"
#endif
#ifdef __AVX512DQ__
    " avx512dq"
#endif
#ifdef __AVX512VL__
    " avx512vl"
#endif
#ifdef __AVX512ER__
    " avx512er"
#endif
#ifdef __AVX512PF__
    " avx512pf"
#endif
#ifdef __AVX5124FMAPS__
    " avx512_4fmaps"
#endif
#ifdef __AVX5124VNNIW__
    " avx512_4vnniw"
#endif
#ifdef __AVX512IFMA__
    " avx512ifma"
#endif
#ifdef __AVX512VBMI__
    " avx512vbmi"
#endif
#ifdef __AVX512VBMI2__
    " avx512_vbmi2"
#endif
#ifdef __AVX512VNNI__
    " avx512_vnni"
#endif
#ifdef __AVX512BITALG__
    " avx512_bitalg"
#endif
#ifdef __AVX512VPOPCNTDQ__
    " avx512_vpopcntdq"
#endif
#ifdef __AVX512BF16__
    " avx512_bf16"
#endif
#ifdef __AVX512FP16__
    " avx512_fp16"
#endif
#ifdef __AVX512VP2INTERSECT__
    " avx512_vp2intersect"
#endif
#ifdef __AMX_TILE__
    " amx_tile"
#endif
#ifdef __AMX_BF16__
    " amx_bf16"
#endif
    ";";
// clang-format on

}  // namespace hvdrec

#endif  // HVDREC_KERNELS_BASE_NEEDS_H_
