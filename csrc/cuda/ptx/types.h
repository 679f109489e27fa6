// What a kernel may name on both compilers: nvcc, where ptx:: functions are inline assembly, and a
// plain C++ compiler, where they are calls into the SIMT executor (csrc/simt). Every header of this
// folder has the two halves one after the other; a kernel includes ptx/ptx.h and knows of neither.
#pragma once

#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#define PTX_DEVICE 1
/** A function that only device code calls. */
#define PTX_FN __device__ __forceinline__
/** One that is hardly ever called: it stays out of the way of the registers of those that are. */
#define PTX_COLD __device__ __noinline__
#else
#define PTX_DEVICE 0
#include "simt/location.h"
#include "simt/vocabulary.h"
#define PTX_FN inline
#define PTX_COLD inline
/** Last parameter of every host half: where in the kernel the instruction stands, for reports. */
#define PTX_AT ::simt::Location at = ::simt::Location::here()
#endif

namespace ptx {

/** IEEE binary16 as storage: kernels compute in float32. */
struct f16 {
  uint16_t bits;
};
/** bfloat16, the upper half of a float32, as storage. */
struct bf16 {
  uint16_t bits;
};

/** float8 e4m3 as storage (fp8.h). */
struct e4m3 {
  uint8_t bits;
};

constexpr uint32_t kFullMask = 0xffffffffu;

namespace detail {
template <class T>
struct Identity {
  using type = T;
};
}  // namespace detail

/** A parameter of type T that takes no part in deducing T. */
template <class T>
using no_deduce = typename detail::Identity<T>::type;

}  // namespace ptx
