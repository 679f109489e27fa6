// Plain loads and stores. T is trivially copyable, of 1, 2, 4, 8 or 16 bytes, and addresses are
// multiples of its size.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/global_memory.h"
#include "simt/scheduler.h"
#include "simt/shared_memory.h"
#endif

namespace ptx {

namespace detail {
template <class T>
constexpr bool loadable =
    std::is_trivially_copyable_v<T> &&
    (sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16);
}  // namespace detail

#if PTX_DEVICE

namespace detail {
template <class To, class From>
PTX_FN To bit_cast(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}
}  // namespace detail

/** Shared address of the block's dynamic shared memory, a multiple of 1024. */
PTX_FN uint32_t dyn_smem() {
  extern __shared__ __align__(1024) unsigned char ptx_dynamic_shared_memory[];
  return static_cast<uint32_t>(__cvta_generic_to_shared(ptx_dynamic_shared_memory));
}

/** Declares `name` as the shared address of `count` elements of T, aligned to 16 bytes. */
#define PTX_SHARED(T, name, count)                \
  __shared__ __align__(16) T name##_store[count]; \
  const uint32_t name = static_cast<uint32_t>(__cvta_generic_to_shared(name##_store))

/** Loads a T from a shared address. */
template <class T>
PTX_FN T lds(uint32_t address) {
  static_assert(detail::loadable<T>);
  if constexpr (sizeof(T) == 16) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(address)
                 : "memory");
    return detail::bit_cast<T>(v);
  } else if constexpr (sizeof(T) == 8) {
    uint2 v;
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];"
                 : "=r"(v.x), "=r"(v.y)
                 : "r"(address)
                 : "memory");
    return detail::bit_cast<T>(v);
  } else if constexpr (sizeof(T) == 4) {
    uint32_t v;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(address) : "memory");
    return detail::bit_cast<T>(v);
  } else if constexpr (sizeof(T) == 2) {
    uint16_t v;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(v) : "r"(address) : "memory");
    return detail::bit_cast<T>(v);
  } else {
    uint32_t v;
    asm volatile("ld.shared.u8 %0, [%1];" : "=r"(v) : "r"(address) : "memory");
    return detail::bit_cast<T>(static_cast<uint8_t>(v));
  }
}

/** Stores a T to a shared address. */
template <class T>
PTX_FN void sts(uint32_t address, no_deduce<T> value) {
  static_assert(detail::loadable<T>);
  if constexpr (sizeof(T) == 16) {
    const uint4 v = detail::bit_cast<uint4>(value);
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y),
                 "r"(v.z), "r"(v.w)
                 : "memory");
  } else if constexpr (sizeof(T) == 8) {
    const uint2 v = detail::bit_cast<uint2>(value);
    asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(address), "r"(v.x), "r"(v.y) : "memory");
  } else if constexpr (sizeof(T) == 4) {
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(detail::bit_cast<uint32_t>(value))
                 : "memory");
  } else if constexpr (sizeof(T) == 2) {
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(address), "h"(detail::bit_cast<uint16_t>(value))
                 : "memory");
  } else {
    asm volatile("st.shared.u8 [%0], %1;" ::"r"(address),
                 "r"(static_cast<uint32_t>(detail::bit_cast<uint8_t>(value)))
                 : "memory");
  }
}

/**
 * kBytes * count behind `from`, in one instruction; compilers take two where kBytes is a power of
 * two.
 */
template <int kBytes>
PTX_FN const char* advance(const char* from, uint32_t count) {
  uint64_t to;
  asm("mad.wide.u32 %0, %1, %2, %3;"
      : "=l"(to)
      : "r"(count), "n"(kBytes), "l"(reinterpret_cast<uint64_t>(from)));
  return reinterpret_cast<const char*>(to);
}

/** Loads a T from global memory. */
template <class T>
PTX_FN T ldg(const T* pointer) {
  static_assert(detail::loadable<T>);
  return *pointer;
}

/** As ldg, for data that this kernel never writes and reads once: it does not stay in L1. */
template <class T>
PTX_FN T ldg_stream(const T* pointer) {
  static_assert(detail::loadable<T> && sizeof(T) >= 4);
  if constexpr (sizeof(T) == 16) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(__cvta_generic_to_global(pointer)));
    return detail::bit_cast<T>(v);
  } else if constexpr (sizeof(T) == 8) {
    uint2 v;
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
                 : "=r"(v.x), "=r"(v.y)
                 : "l"(__cvta_generic_to_global(pointer)));
    return detail::bit_cast<T>(v);
  } else {
    uint32_t v;
    asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];"
                 : "=r"(v)
                 : "l"(__cvta_generic_to_global(pointer)));
    return detail::bit_cast<T>(v);
  }
}

/** Stores a T to global memory. */
template <class T>
PTX_FN void stg(T* pointer, no_deduce<T> value) {
  static_assert(detail::loadable<T>);
  *pointer = value;
}

/** Asks for the line at `pointer` to be brought into L2. The pointer must be valid. */
PTX_FN void prefetch_l2(const void* pointer) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(pointer)));
}

#else

template <int kBytes>
inline const char* advance(const char* from, uint32_t count) {
  return from + uint64_t{count} * kBytes;
}

inline uint32_t dyn_smem() { return simt::dynamic_shared_memory(); }

#define PTX_SHARED(T, name, count)  \
  static const char name##_tag = 0; \
  const uint32_t name = ::simt::static_shared_memory(&name##_tag, sizeof(T) * (count))

template <class T>
inline T lds(uint32_t address, PTX_AT) {
  static_assert(detail::loadable<T>);
  T value;
  simt::shared_load(address, &value, sizeof(T), at);
  return value;
}

template <class T>
inline void sts(uint32_t address, no_deduce<T> value, PTX_AT) {
  static_assert(detail::loadable<T>);
  simt::shared_store(address, &value, sizeof(T), at);
}

template <class T>
inline T ldg(const T* pointer, PTX_AT) {
  static_assert(detail::loadable<T>);
  T value;
  simt::global_load(pointer, &value, sizeof(T), at);
  return value;
}

template <class T>
inline T ldg_stream(const T* pointer, PTX_AT) {
  static_assert(sizeof(T) >= 4);
  return ldg(pointer, at);
}

template <class T>
inline void stg(T* pointer, no_deduce<T> value, PTX_AT) {
  static_assert(detail::loadable<T>);
  simt::global_store(pointer, &value, sizeof(T), at);
}

inline void prefetch_l2(const void* pointer, PTX_AT) { simt::global_prefetch(pointer, at); }

#endif

}  // namespace ptx
