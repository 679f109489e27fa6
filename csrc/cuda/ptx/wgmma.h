// Tensor core products d += a b (or d = a b) of a warpgroup, m64nNk16 on f16 and bf16 and m64nNk32
// on e4m3 operands, float32 accumulators: wgmma of sm_90a. All four warps execute each of these
// functions with the same descriptors. With w the warp in its group, g = lane / 4 and t = lane % 4:
//   d[i]: row 16w + g + 8 ((i / 2) % 2), column 8 (i / 4) + 2t + i % 2
//   a[q]: row 16w + g + 8 (q % 2), k = 2t + {0, 1} + 8 (q / 2);
//         of e4m3, k = 4t + {0 .. 3} + 16 (q / 2)
// Between a product and the wait that covers it, its accumulators and its registers of A belong to
// the tensor core; only further products may name the accumulators. A batch of products, up to the
// commit, begins with wgmma_fence. What threads have written to shared memory needs
// fence_proxy_async first.
//
// Operands in shared memory are tiles of 8 x 128-byte (or 64-, 32-byte) blocks, swizzled as TMA
// writes them, and named by descriptors (PTX ISA, "asynchronous warpgroup level matrix shared
// memory layout"):
//   K-major, stored [k / 64][row][64] under the 128-byte swizzle: stride offset 1024 (8 rows of 128
//     bytes), the leading offset is ignored; the next 16 k are 32 bytes on.
//   MN-major (transposed, 16-bit types only), stored [row / 64][k][64]: stride offset 1024 (8 k),
//     leading offset the bytes from one [k][64] to the next; the next 16 k are 2048 bytes on.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/wgmma.h"
#endif

namespace ptx {

namespace detail {
template <class T, int TA, int TB>
constexpr bool kWgmmaOperands = std::is_same_v<T, f16> || std::is_same_v<T, bf16> ||
                                (std::is_same_v<T, e4m3> && TA == 0 && TB == 0);
}  // namespace detail

#if PTX_DEVICE

namespace detail {

/** Keeps the compiler from moving accesses to these registers across it. */
PTX_FN void pin(float& value) { asm volatile("" : "+f"(value)::"memory"); }
PTX_FN void pin(uint32_t& value) { asm volatile("" : "+r"(value)::"memory"); }
template <class T, int N>
PTX_FN void pin(T (&registers)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) pin(registers[i]);
}

}  // namespace detail

/**
 * Orders the warpgroup's accesses to registers, and those named here in particular, before the
 * products that follow.
 */
template <class... Registers>
PTX_FN void wgmma_fence(Registers&... registers) {
  (detail::pin(registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/** Closes the batch of the products since the last commit. */
PTX_FN void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/** Waits until at most the N youngest batches are under way. Names the accumulators that it makes
 *  readable, so that the compiler does not read them earlier. */
template <int N, class... Registers>
PTX_FN void wgmma_wait(Registers&... registers) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
  (detail::pin(registers), ...);
}
/**
 * Ends a basic block, and ptxas schedules nothing across. Without it, ptxas moves a wait for
 * products above work that does not need them, up to the wait before, and nothing runs beside the
 * tensor cores. The branch back is never taken: a grid has blocks.
 */
PTX_FN void schedule_fence() {
  asm volatile(
      "{\n"
      ".reg .pred empty;\n"
      "again_%=:\n"
      "setp.eq.u32 empty, %0, 0;\n"
      "@empty nanosleep.u32 20;\n"
      "@empty bra again_%=;\n"
      "}" ::"r"(gridDim.x)
      : "memory");
}

// What an asm statement says of `HALF` = N / 2 accumulators: their names in the text, and their
// operands.
#define PTX_NAMES_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define PTX_NAMES_20 PTX_NAMES_16 ", %16, %17, %18, %19"
#define PTX_NAMES_32 \
  PTX_NAMES_16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define PTX_NAMES_40 PTX_NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define PTX_NAMES_48 PTX_NAMES_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define PTX_NAMES_64 \
  PTX_NAMES_48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define PTX_NAMES_96                                                                 \
  PTX_NAMES_64                                                                       \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define PTX_NAMES_128                                                                        \
  PTX_NAMES_96                                                                               \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, " \
  "%111"                                                                                     \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, "   \
  "%126, %127"
#define PTX_REGISTERS_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define PTX_REGISTERS_8(d, i)                                                                 \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define PTX_REGISTERS_16(d, i) PTX_REGISTERS_8(d, i), PTX_REGISTERS_8(d, i + 8)
#define PTX_REGISTERS_20(d, i) PTX_REGISTERS_16(d, i), PTX_REGISTERS_4(d, i + 16)
#define PTX_REGISTERS_32(d, i) PTX_REGISTERS_16(d, i), PTX_REGISTERS_16(d, i + 16)
#define PTX_REGISTERS_40(d, i) PTX_REGISTERS_32(d, i), PTX_REGISTERS_8(d, i + 32)
#define PTX_REGISTERS_48(d, i) PTX_REGISTERS_32(d, i), PTX_REGISTERS_16(d, i + 32)
#define PTX_REGISTERS_64(d, i) PTX_REGISTERS_32(d, i), PTX_REGISTERS_32(d, i + 32)
#define PTX_REGISTERS_96(d, i) PTX_REGISTERS_64(d, i), PTX_REGISTERS_32(d, i + 64)
#define PTX_REGISTERS_128(d, i) PTX_REGISTERS_64(d, i), PTX_REGISTERS_64(d, i + 64)

// One instruction. SCALE is the operand that says whether d is added to; OPERANDS is the text of a
// and b, FLAGS that of the transpositions; the rest are the input operands.
#define PTX_WGMMA(N, HALF, K, TYPE, SCALE, OPERANDS, FLAGS, ...)                              \
  asm volatile(                                                                               \
      "{\n"                                                                                   \
      ".reg .pred add;\n"                                                                     \
      "setp.ne.b32 add, %" #SCALE                                                             \
      ", 0;\n"                                                                                \
      "wgmma.mma_async.sync.aligned.m64n" #N #K ".f32." #TYPE "." #TYPE " {" PTX_NAMES_##HALF \
      "}, " OPERANDS ", add, 1, 1" FLAGS                                                      \
      ";\n"                                                                                   \
      "}"                                                                                     \
      : PTX_REGISTERS_##HALF(d, 0)                                                            \
      : __VA_ARGS__)

// Both functions for one N; P0 .. P6 are the numbers of the operands after the HALF accumulators.
#define PTX_WGMMA_FUNCTIONS(N, HALF, P0, P1, P2, P3, P4, P5, P6)                                   \
  template <class T, int TA = 0, int TB = 0>                                                       \
  PTX_FN void wgmma_ss(float(&d)[HALF], uint64_t a, uint64_t b, bool scale_d) {                    \
    static_assert(detail::kWgmmaOperands<T, TA, TB>);                                              \
    if constexpr (std::is_same_v<T, f16>)                                                          \
      PTX_WGMMA(N, HALF, k16, f16, P2, "%" #P0 ", %" #P1, ", %" #P3 ", %" #P4, "l"(a), "l"(b),     \
                "r"(int(scale_d)), "n"(TA), "n"(TB));                                              \
    else if constexpr (std::is_same_v<T, bf16>)                                                    \
      PTX_WGMMA(N, HALF, k16, bf16, P2, "%" #P0 ", %" #P1, ", %" #P3 ", %" #P4, "l"(a), "l"(b),    \
                "r"(int(scale_d)), "n"(TA), "n"(TB));                                              \
    else                                                                                           \
      PTX_WGMMA(N, HALF, k32, e4m3, P2, "%" #P0 ", %" #P1, "", "l"(a), "l"(b), "r"(int(scale_d))); \
  }                                                                                                \
  template <class T, int TB = 0>                                                                   \
  PTX_FN void wgmma_rs(float(&d)[HALF], const uint32_t(&a)[4], uint64_t b, bool scale_d) {         \
    static_assert(detail::kWgmmaOperands<T, 0, TB>);                                               \
    if constexpr (std::is_same_v<T, f16>)                                                          \
      PTX_WGMMA(N, HALF, k16, f16, P5, "{%" #P0 ", %" #P1 ", %" #P2 ", %" #P3 "}, %" #P4,          \
                ", %" #P6, "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(scale_d)),  \
                "n"(TB));                                                                          \
    else if constexpr (std::is_same_v<T, bf16>)                                                    \
      PTX_WGMMA(N, HALF, k16, bf16, P5, "{%" #P0 ", %" #P1 ", %" #P2 ", %" #P3 "}, %" #P4,         \
                ", %" #P6, "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(scale_d)),  \
                "n"(TB));                                                                          \
    else                                                                                           \
      PTX_WGMMA(N, HALF, k32, e4m3, P5, "{%" #P0 ", %" #P1 ", %" #P2 ", %" #P3 "}, %" #P4, "",     \
                "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(scale_d)));            \
  }

/**
 * d (+)= a b for N = 2 HALF columns; d is overwritten where `scale_d` is false. T is f16, bf16 or
 * e4m3; TA and TB are 1 for MN-major operands. `a` is a descriptor (_ss) or this lane's registers
 * (_rs), `b` a descriptor.
 */
PTX_WGMMA_FUNCTIONS(32, 16, 16, 17, 18, 19, 20, 21, 22)
PTX_WGMMA_FUNCTIONS(40, 20, 20, 21, 22, 23, 24, 25, 26)
PTX_WGMMA_FUNCTIONS(64, 32, 32, 33, 34, 35, 36, 37, 38)
PTX_WGMMA_FUNCTIONS(80, 40, 40, 41, 42, 43, 44, 45, 46)
PTX_WGMMA_FUNCTIONS(96, 48, 48, 49, 50, 51, 52, 53, 54)
PTX_WGMMA_FUNCTIONS(128, 64, 64, 65, 66, 67, 68, 69, 70)
PTX_WGMMA_FUNCTIONS(192, 96, 96, 97, 98, 99, 100, 101, 102)
PTX_WGMMA_FUNCTIONS(256, 128, 128, 129, 130, 131, 132, 133, 134)

#undef PTX_WGMMA_FUNCTIONS
#undef PTX_WGMMA
#undef PTX_NAMES_16
#undef PTX_NAMES_20
#undef PTX_NAMES_32
#undef PTX_NAMES_40
#undef PTX_NAMES_48
#undef PTX_NAMES_64
#undef PTX_NAMES_96
#undef PTX_NAMES_128
#undef PTX_REGISTERS_4
#undef PTX_REGISTERS_8
#undef PTX_REGISTERS_16
#undef PTX_REGISTERS_20
#undef PTX_REGISTERS_32
#undef PTX_REGISTERS_40
#undef PTX_REGISTERS_48
#undef PTX_REGISTERS_64
#undef PTX_REGISTERS_96
#undef PTX_REGISTERS_128

#else

namespace detail {
struct NoRegisters {};
inline NoRegisters no_registers;
}  // namespace detail

template <class A = detail::NoRegisters, class B = detail::NoRegisters,
          class C = detail::NoRegisters, class D = detail::NoRegisters>
inline void wgmma_fence(A& = detail::no_registers, B& = detail::no_registers,
                        C& = detail::no_registers, D& = detail::no_registers, PTX_AT) {
  simt::wgmma_fence(at);
}
inline void wgmma_commit(PTX_AT) { simt::wgmma_commit(at); }
inline void schedule_fence() {}
template <int N, class A = detail::NoRegisters, class B = detail::NoRegisters,
          class C = detail::NoRegisters, class D = detail::NoRegisters>
inline void wgmma_wait(A& a = detail::no_registers, B& b = detail::no_registers,
                       C& c = detail::no_registers, D& d = detail::no_registers, PTX_AT) {
  simt::wgmma_wait(N, {{&a, sizeof a}, {&b, sizeof b}, {&c, sizeof c}, {&d, sizeof d}}, at);
}

namespace detail {
template <class T>
constexpr simt::Operand kOperand = std::is_same_v<T, f16>    ? simt::Operand::kFloat16
                                   : std::is_same_v<T, bf16> ? simt::Operand::kBFloat16
                                                             : simt::Operand::kE4M3;
}  // namespace detail

template <class T, int TA = 0, int TB = 0, int Half>
inline void wgmma_ss(float (&d)[Half], uint64_t a, uint64_t b, bool scale_d, PTX_AT) {
  static_assert(detail::kWgmmaOperands<T, TA, TB>);
  simt::wgmma({detail::kOperand<T>, 2 * Half, TA != 0, TB != 0, scale_d}, d, nullptr, a, b, at);
}
template <class T, int TB = 0, int Half>
inline void wgmma_rs(float (&d)[Half], const uint32_t (&a)[4], uint64_t b, bool scale_d, PTX_AT) {
  static_assert(detail::kWgmmaOperands<T, 0, TB>);
  simt::wgmma({detail::kOperand<T>, 2 * Half, false, TB != 0, scale_d}, d, a, 0, b, at);
}

#endif

// Descriptors of operands in shared memory. `leading` and `stride` are offsets in bytes; what is
// swizzled by 2^n * 16 bytes must begin at a multiple of 2^n * 128.

namespace detail {
PTX_FN constexpr uint64_t descriptor(uint64_t mode, uint32_t address, uint32_t leading,
                                     uint32_t stride) {
  return mode << 62 | uint64_t{stride >> 4 & 0x3fffu} << 32 |
         uint64_t{leading >> 4 & 0x3fffu} << 16 | (address >> 4 & 0x3fffu);
}
}  // namespace detail

PTX_FN constexpr uint64_t desc_sw128(uint32_t address, uint32_t leading, uint32_t stride) {
  return detail::descriptor(1, address, leading, stride);
}
PTX_FN constexpr uint64_t desc_sw64(uint32_t address, uint32_t leading, uint32_t stride) {
  return detail::descriptor(2, address, leading, stride);
}
PTX_FN constexpr uint64_t desc_sw32(uint32_t address, uint32_t leading, uint32_t stride) {
  return detail::descriptor(3, address, leading, stride);
}
/** The same operand `bytes` further on. */
PTX_FN constexpr uint64_t desc_advance(uint64_t descriptor, uint32_t bytes) {
  return descriptor + (bytes >> 4);
}

/**
 * Where the byte at `offset` of a tile lies under the swizzle; the tile begins at a multiple of
 * 1024.
 */
PTX_FN constexpr uint32_t swizzle128(uint32_t offset) { return offset ^ (offset >> 3 & 0x70u); }
PTX_FN constexpr uint32_t swizzle64(uint32_t offset) { return offset ^ (offset >> 3 & 0x30u); }
PTX_FN constexpr uint32_t swizzle32(uint32_t offset) { return offset ^ (offset >> 3 & 0x10u); }

}  // namespace ptx
