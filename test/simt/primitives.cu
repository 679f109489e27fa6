// Every function of csrc/cuda/ptx against a model on the host, layouts of fragments included. The
// program runs on the SIMT executor under many schedules, and unchanged on a GPU.
#include <cmath>
#include <cstring>
#include <random>

#include "core/dtype.h"
#include "core/float8.h"
#include "cuda/device/codes.h"
#include "cuda/device/poison.h"
#include "cuda/ptx/ptx.h"
#include "device_array.h"

namespace {

constexpr int kRepeats = 18;  // launches: each has another schedule on the executor

// ── Scalars ──────────────────────────────────────────────────────────────────────────────────────

struct ScalarParams {
  const float* in;
  uint32_t* packed;
  uint16_t* narrow;
  float* wide;
  uint32_t* tf32;
  float* approximate;  // [4][n]
  int n;
};

template <class T>
__global__ void convert_all(const __grid_constant__ ScalarParams p) {
  for (int i = static_cast<int>(threadIdx.x); i + 1 < p.n; i += static_cast<int>(blockDim.x)) {
    const float x = ptx::ldg(p.in + i);
    const uint32_t pair = ptx::pack2<T>(x, ptx::ldg(p.in + i + 1));
    ptx::stg(p.packed + i, pair);
    ptx::stg(p.narrow + i, ptx::from_float<T>(x).bits);
    ptx::stg(p.wide + i,
             ptx::to_float(T{static_cast<uint16_t>(i * 97)}) + ptx::unpack2<T>(pair).y * 0.0f);
    ptx::stg(p.tf32 + i, ptx::to_tf32(x));
    ptx::stg(p.approximate + i, ptx::exp2_approx(x));
    ptx::stg(p.approximate + p.n + i, ptx::log2_approx(x));
    ptx::stg(p.approximate + 2 * p.n + i, ptx::rcp_approx(x));
    ptx::stg(p.approximate + 3 * p.n + i, ptx::tanh_approx(x));
  }
}

bool close(float actual, float expected, float tolerance) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (actual == expected) return true;
  return std::fabs(actual - expected) <= tolerance * std::fabs(expected) + 1e-37f;
}

template <class T>
void check_scalars() {
  std::vector<float> in = {0.0f,     -0.0f, 1.0f,  -1.0f,    65504.0f,
                           65520.0f, 1e-8f, 6e-8f, INFINITY, -INFINITY};
  std::mt19937 random(1);
  std::uniform_real_distribution<float> exponent(-12, 12);
  while (in.size() < 600) in.push_back(std::exp2(exponent(random)) * (random() & 1 ? 1.0f : -1.0f));
  const int n = static_cast<int>(in.size());
  DeviceArray<float> input(in), wide(in.size()), approximate(4 * in.size());
  DeviceArray<uint32_t> packed(in.size()), tf32(in.size());
  DeviceArray<uint16_t> narrow(in.size());
  run(convert_all<T>, 1, 64, 0,
      ScalarParams{input.device(), packed.device(), narrow.device(), wide.device(), tf32.device(),
                   approximate.device(), n});
  constexpr bool kHalf = std::is_same_v<T, ptx::f16>;
  const auto round = [](float x) {
    return kHalf ? fa::float_to_float16(x) : fa::float_to_bfloat16(x);
  };
  const auto widen = [](uint16_t x) {
    return kHalf ? fa::float16_to_float(x) : fa::bfloat16_to_float(x);
  };
  const auto& a = approximate.read();
  for (int i = 0; i + 1 < n; ++i) {
    const size_t at = static_cast<size_t>(i);
    CHECK(packed.read()[at] == (round(in[at]) | uint32_t{round(in[at + 1])} << 16));
    CHECK(narrow.read()[at] == round(in[at]));
    if (std::isfinite(in[at + 1]) && std::isfinite(widen(round(in[at + 1])))) {
      const float expected = widen(static_cast<uint16_t>(i * 97));
      const float actual = wide.read()[at];
      CHECK(std::isnan(expected) ? std::isnan(actual) : actual == expected);
    }
    if (std::isfinite(in[at])) {
      // Nearest multiple of 2^(e - 10), ties away from zero.
      int e;
      std::frexp(in[at], &e);
      const float unit = std::ldexp(1.0f, e - 11);
      CHECK(fa::float_from_bits(tf32.read()[at]) == std::round(in[at] / unit) * unit);
    }
    CHECK(close(a[at], std::exp2(in[at]) < 1.2e-38f ? 0.0f : std::exp2(in[at]), 4e-7f));
    // lg2.approx: absolute error near 1, relative elsewhere (PTX ISA).
    const float log = std::log2(in[at]);
    CHECK(close(a[at + in.size()], log, 4e-7f) || std::fabs(a[at + in.size()] - log) < 4e-7f);
    CHECK(close(a[at + 2 * in.size()], 1.0f / in[at], 4e-7f));
    CHECK(close(a[at + 3 * in.size()], std::tanh(in[at]), 1.0f / 1024));
  }
}

// ── Codes ────────────────────────────────────────────────────────────────────────────────────────

struct CodeParams {
  uint32_t* pairs;  // [word][int8, e4m3][2]
  uint32_t* finite;
};

/** A code, those 1 and 2 further on, and its complement. */
PTX_FN uint32_t word_of_codes(uint32_t code) {
  return code | ((code + 1) & 255) << 8 | ((code + 2) & 255) << 16 | (code ^ 255) << 24;
}

__global__ void widen_codes(const __grid_constant__ CodeParams p) {
  const uint32_t word = word_of_codes(threadIdx.x);
  uint32_t pair[2][2];
  fa::cuda::widen<false>(pair[0], word);
  fa::cuda::widen<true>(pair[1], word);
  for (uint32_t i = 0; i < 4; ++i) ptx::stg(p.pairs + 4 * threadIdx.x + i, pair[i / 2][i % 2]);
  ptx::stg(p.finite + threadIdx.x, fa::cuda::finite_part<ptx::e4m3>(word));
}

/** Exactly what the codes stand for, NaN too; and NaN alone become zeros. */
void check_codes() {
  DeviceArray<uint32_t> pairs(256 * 4), finite(256);
  run(widen_codes, 1, 256, 0, CodeParams{pairs.device(), finite.device()});
  const auto value = [](bool e4m3, uint32_t code) {
    const auto bits = static_cast<uint8_t>(code);
    return e4m3 ? fa::e4m3_to_float(bits) : static_cast<float>(static_cast<int8_t>(bits));
  };
  for (uint32_t code = 0; code < 256; ++code) {
    const uint32_t word = word_of_codes(code);
    const auto byte = [&](uint32_t n) { return word >> 8 * n & 255; };
    for (uint32_t i = 0; i < 8; ++i) {  // the halves of this word's pairs
      const float expected = value(i >= 4, byte(i / 2 % 2 + i % 2 * 2));
      const uint32_t pair = pairs.read()[4 * code + i / 2];
      const float actual = fa::float16_to_float(static_cast<uint16_t>(pair >> 16 * (i % 2)));
      CHECK(std::isnan(expected) ? std::isnan(actual) : actual == expected);
    }
    for (uint32_t n = 0; n < 4; ++n)
      CHECK((finite.read()[code] >> 8 * n & 255) == ((byte(n) & 0x7f) == 0x7f ? 0 : byte(n)));
  }
}

// ── Loads and stores ─────────────────────────────────────────────────────────────────────────────

struct CopyParams {
  const void* in;
  void* out;
};

/** Through shared memory, mirrored within the warp. */
template <class T>
__global__ void mirror(const __grid_constant__ CopyParams p) {
  PTX_SHARED(T, fixed, 32);
  const uint32_t lane = threadIdx.x;
  const uint32_t dynamic = ptx::dyn_smem();
  ptx::sts<T>(fixed + lane * sizeof(T), ptx::ldg(static_cast<const T*>(p.in) + lane));
  ptx::sync_warp();
  ptx::sts<T>(dynamic + lane * sizeof(T), ptx::lds<T>(fixed + (31 - lane) * sizeof(T)));
  ptx::sync_warp();
  T value = ptx::lds<T>(dynamic + lane * sizeof(T));
  if constexpr (sizeof(T) >= 4) {
    if (lane == 0) value = ptx::ldg_stream(static_cast<const T*>(p.in) + 31);
  }
  ptx::prefetch_l2(p.in);
  ptx::stg(static_cast<T*>(p.out) + lane, value);
}

template <class T>
void check_loads_and_stores() {
  std::vector<uint8_t> in(32 * sizeof(T));
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint8_t>(i * 37 + 11);
  DeviceArray<uint8_t> input(in), output(in.size());
  run(mirror<T>, 1, 32, 32 * sizeof(T), CopyParams{input.device(), output.device()});
  for (size_t lane = 0; lane < 32; ++lane)
    CHECK(std::memcmp(&output.read()[lane * sizeof(T)], &in[(31 - lane) * sizeof(T)], sizeof(T)) ==
          0);
}

// ── Atomics ──────────────────────────────────────────────────────────────────────────────────────

struct AtomicParams {
  int* integers;  // sum, bits, tickets or the largest, sum of shared memory, count; flag, payload
  float* floats;  // sum, sum of shared memory, 1 + 2 + 4 reductions
};

__global__ void count_atomically(const __grid_constant__ AtomicParams p) {
  PTX_SHARED(int, shared_int, 1);
  PTX_SHARED(float, shared_float, 1);
  if (threadIdx.x == 0) {
    ptx::sts<int>(shared_int, 0);
    ptx::sts<float>(shared_float, 0);
  }
  ptx::sync_block();
  ptx::atomic_add(p.integers, 1);
  ptx::atomic_or(p.integers + 1, 1 << (threadIdx.x % 31));
  ptx::atomic_max(p.integers + 2, static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x));
  ptx::atomic_count(p.integers + 4, 99);
  ptx::atomic_add(p.floats, 0.5f);
  ptx::smem_atomic_add(shared_int, 2);
  ptx::smem_atomic_add(shared_float, 0.25f);
  const float values[4] = {1, 2, 3, 4};
  ptx::red_add<1>(p.floats + 2, {values[0]});
  ptx::red_add<2>(p.floats + 4, {values[0], values[1]});
  ptx::red_add<4>(p.floats + 8, values);
  ptx::sync_block();
  if (threadIdx.x == 0) {
    ptx::atomic_add(p.integers + 3, ptx::lds<int>(shared_int));
    ptx::atomic_add(p.floats + 1, ptx::lds<float>(shared_float));
  }
}

void check_atomics() {
  DeviceArray<int> integers(5);
  DeviceArray<float> floats(12);
  run(count_atomically, 3, 96, 0, AtomicParams{integers.device(), floats.device()});
  const int n = 3 * 96;
  const auto& i = integers.read();
  CHECK(i[0] == n && i[1] == 0x7fffffff && i[2] == n - 1 && i[3] == 2 * n);
  CHECK(i[4] == n % 100);
  const auto& f = floats.read();
  CHECK(f[0] == 0.5f * n && f[1] == 0.25f * n && f[2] == n && f[4] == n && f[5] == 2 * n);
  for (size_t k = 0; k < 4; ++k) CHECK(f[8 + k] == static_cast<float>(k + 1) * n);
}

/**
 * The last block to finish adds up what the others left (CUDA C++ Programming Guide, memory
 * fences).
 */
__global__ void last_block_adds(const __grid_constant__ AtomicParams p) {
  PTX_SHARED(int, ticket, 1);
  if (threadIdx.x == 0) {
    ptx::stg(p.floats + blockIdx.x, static_cast<float>(blockIdx.x + 1));
    ptx::sts<int>(ticket, ptx::atomic_inc_acq_rel(p.integers));
  }
  ptx::sync_block();
  if (ptx::lds<int>(ticket) != static_cast<int>(gridDim.x) - 1 || threadIdx.x != 0) return;
  float sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += ptx::ldg(p.floats + i);
  ptx::stg(p.floats + gridDim.x, sum);
}

/** Each block waits for the one before it. Tickets, so that no order of the blocks is assumed. */
__global__ void chain(const __grid_constant__ AtomicParams p) {
  if (threadIdx.x != 0) return;
  const int ticket = ptx::atomic_add(p.integers, 1);
  while (ptx::ld_acquire(p.integers + 1) != ticket) ptx::spin_pause();
  ptx::stg(p.floats, ptx::ldg(p.floats) * 2 + 1);
  ptx::fence_gpu();
  ptx::st_release(p.integers + 1, ticket + 1);
}

void check_signals() {
  DeviceArray<int> counter(1), state(2);
  DeviceArray<float> partial(6), value(1);
  run(last_block_adds, 5, 64, 0, AtomicParams{counter.device(), partial.device()});
  CHECK(partial.read()[5] == 15);
  run(chain, 6, 32, 0, AtomicParams{state.device(), value.device()});
  CHECK(value.read()[0] == 63);
}

// ── Barriers, shuffles, votes ────────────────────────────────────────────────────────────────────

struct OutParams {
  uint32_t* out;
};

__global__ void pass_by_barriers(const __grid_constant__ OutParams p) {
  PTX_SHARED(uint32_t, slot, 128);
  const uint32_t t = threadIdx.x;
  if (t < 64) {  // warps 0 and 1 produce, 2 and 3 consume
    ptx::sts<uint32_t>(slot + 4 * t, t * t);
    ptx::bar_arrive(1, 128);
    ptx::bar_sync(2, 64);
  } else {
    ptx::bar_sync(1, 128);
    ptx::stg(p.out + t, ptx::lds<uint32_t>(slot + 4 * (t - 64)));
  }
  ptx::sync_block();
  ptx::sts<uint32_t>(slot + 4 * t, t + 1000);
  const bool any = ptx::sync_block_or(t == 77);
  const bool none = ptx::sync_block_or(false);
  if (t < 64) ptx::stg(p.out + t, ptx::lds<uint32_t>(slot + 4 * (127 - t)) + any + 2 * none);
}

void check_barriers() {
  DeviceArray<uint32_t> out(128);
  run(pass_by_barriers, 1, 128, 0, OutParams{out.device()});
  for (uint32_t t = 0; t < 64; ++t) CHECK(out.read()[t] == 1127 - t + 1);
  for (uint32_t t = 64; t < 128; ++t) CHECK(out.read()[t] == (t - 64) * (t - 64));
}

__global__ void exchange(const __grid_constant__ OutParams p) {
  const uint32_t lane = threadIdx.x;
  const uint32_t half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  uint32_t* row = p.out + lane;
  ptx::stg(row, ptx::shfl_xor(lane * 3, 5));
  ptx::stg(row + 32, ptx::shfl_idx(lane * 3, 7));
  ptx::stg(row + 64, ptx::shfl_down(lane * 3, 4));
  ptx::stg(row + 96, ptx::shfl_up(lane * 3, 4));
  ptx::stg(row + 128, static_cast<uint32_t>(ptx::shfl_xor(static_cast<float>(lane), 8, half)));
  ptx::stg(row + 160, ptx::vote_ballot(lane % 3 == 0));
  ptx::stg(row + 192, ptx::vote_ballot(lane % 2 == 0, half));
  const uint32_t votes = static_cast<uint32_t>(ptx::vote_any(lane == 9)) +
                         2 * static_cast<uint32_t>(ptx::vote_any(false)) +
                         4 * static_cast<uint32_t>(ptx::vote_all(lane < 32)) +
                         8 * static_cast<uint32_t>(ptx::vote_all(lane != 3));
  ptx::stg(row + 224, votes);
}

void check_exchanges() {
  DeviceArray<uint32_t> out(256);
  run(exchange, 1, 32, 0, OutParams{out.device()});
  uint32_t thirds = 0;
  for (uint32_t lane = 0; lane < 32; lane += 3) thirds |= 1u << lane;
  const auto& o = out.read();
  for (uint32_t lane = 0; lane < 32; ++lane) {
    CHECK(o[lane] == (lane ^ 5) * 3);
    CHECK(o[lane + 32] == 21);
    CHECK(o[lane + 64] == (lane + 4 < 32 ? lane + 4 : lane) * 3);
    CHECK(o[lane + 96] == (lane >= 4 ? lane - 4 : lane) * 3);
    CHECK(o[lane + 128] == (lane ^ 8));
    CHECK(o[lane + 160] == thirds);
    CHECK(o[lane + 192] == (lane < 16 ? 0x5555u : 0x55550000u));
    CHECK(o[lane + 224] == 1 + 4);
  }
}

// ── Asynchronous copies ──────────────────────────────────────────────────────────────────────────

__global__ void copy_in_groups(const __grid_constant__ CopyParams p) {
  const uint32_t t = threadIdx.x, shared = ptx::dyn_smem();
  const uint8_t* in = static_cast<const uint8_t*>(p.in);
  ptx::cp_async16(shared + 16 * t, in + 16 * t, t % 2 == 0);
  ptx::cp_async_commit();
  ptx::cp_async8(shared + 512 + 8 * t, in + 512 + 8 * t, t % 4 != 0);
  ptx::cp_async_commit();
  ptx::cp_async4(shared + 768 + 4 * t, in + 768 + 4 * t);
  ptx::cp_async_commit();
  ptx::cp_async_wait<2>();
  ptx::sync_block();
  const uint4 wide = ptx::lds<uint4>(shared + 16 * (31 - t));
  ptx::cp_async_wait<1>();
  ptx::sync_block();
  const uint2 middle = ptx::lds<uint2>(shared + 512 + 8 * (31 - t));
  ptx::cp_async_wait<0>();
  ptx::sync_block();
  uint8_t* out = static_cast<uint8_t*>(p.out);
  ptx::stg(reinterpret_cast<uint4*>(out) + (31 - t), wide);
  ptx::stg(reinterpret_cast<uint2*>(out + 512) + (31 - t), middle);
  ptx::stg(reinterpret_cast<uint32_t*>(out + 768) + t, ptx::lds<uint32_t>(shared + 768 + 4 * t));
}

void check_async_copies() {
  std::vector<uint8_t> in(896);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint8_t>(i * 31 + 7);
  DeviceArray<uint8_t> input(in), output(in.size());
  run(copy_in_groups, 1, 32, 896, CopyParams{input.device(), output.device()});
  for (size_t i = 0; i < in.size(); ++i) {
    const bool copied = i < 512 ? i / 16 % 2 == 0 : i < 768 ? (i - 512) / 8 % 4 != 0 : true;
    CHECK(output.read()[i] == (copied ? in[i] : 0));
  }
}

// ── Matrices ─────────────────────────────────────────────────────────────────────────────────────

struct MatrixParams {
  const uint16_t* in;  // four 8x8 matrices
  uint32_t* out;       // [12][32]: registers of x4, x4.trans, x2, x2.trans
};

__global__ void load_fragments(const __grid_constant__ MatrixParams p) {
  const uint32_t lane = threadIdx.x, shared = ptx::dyn_smem();
  // Rows lie 144 bytes apart, in another order than the matrices want them.
  const auto address = [=](uint32_t row) { return shared + (row * 5 % 32) * 144; };
  for (uint32_t i = 0; i < 8; ++i)
    ptx::sts<uint16_t>(address(lane) + 2 * i, ptx::ldg(p.in + lane * 8 + i));
  ptx::sync_warp();
  uint32_t x4[4], x4_trans[4], x2[2], x2_trans[2];
  ptx::ldmatrix_x4(x4, address(lane));
  ptx::ldmatrix_x4_trans(x4_trans, address(lane));
  ptx::ldmatrix_x2(x2, address(lane % 16));
  ptx::ldmatrix_x2_trans(x2_trans, address(lane % 16));
  for (int i = 0; i < 4; ++i) {
    ptx::stg(p.out + 32 * i + lane, x4[i]);
    ptx::stg(p.out + 32 * (4 + i) + lane, x4_trans[i]);
  }
  for (int i = 0; i < 2; ++i) {
    ptx::stg(p.out + 32 * (8 + i) + lane, x2[i]);
    ptx::stg(p.out + 32 * (10 + i) + lane, x2_trans[i]);
  }
}

void check_ldmatrix() {
  std::vector<uint16_t> in(4 * 64);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint16_t>(i * 257 + 3);
  DeviceArray<uint16_t> input(in);
  DeviceArray<uint32_t> out(12 * 32);
  run(load_fragments, 1, 32, 32 * 144, MatrixParams{input.device(), out.device()});
  const auto element = [&](size_t m, size_t row, size_t column) {
    return uint32_t{in[m * 64 + row * 8 + column]};
  };
  for (size_t m = 0; m < 4; ++m) {
    for (size_t lane = 0; lane < 32; ++lane) {
      const size_t g = lane / 4, t = lane % 4;
      const uint32_t plain = element(m, g, 2 * t) | element(m, g, 2 * t + 1) << 16;
      const uint32_t transposed = element(m, 2 * t, g) | element(m, 2 * t + 1, g) << 16;
      CHECK(out.read()[32 * m + lane] == plain);
      CHECK(out.read()[32 * (4 + m) + lane] == transposed);
      if (m >= 2) continue;
      CHECK(out.read()[32 * (8 + m) + lane] == plain);
      CHECK(out.read()[32 * (10 + m) + lane] == transposed);
    }
  }
}

struct ProductParams {
  const uint32_t* a;  // [lane][4]
  const uint32_t* b;  // [lane][2]
  float* d;           // [lane][4]
};

struct Tf32 {};

template <class T>
__global__ void multiply(const __grid_constant__ ProductParams p) {
  const uint32_t lane = threadIdx.x;
  uint32_t a[4], b[2];
  float d[4];
  for (uint32_t i = 0; i < 4; ++i) a[i] = ptx::ldg(p.a + 4 * lane + i);
  for (uint32_t i = 0; i < 2; ++i) b[i] = ptx::ldg(p.b + 2 * lane + i);
  for (uint32_t i = 0; i < 4; ++i) d[i] = ptx::ldg(p.d + 4 * lane + i);
  if constexpr (std::is_same_v<T, Tf32>)
    ptx::mma_1688_tf32(d, a, b[0], b[1]);
  else
    ptx::mma_16816<T>(d, a, b[0], b[1]);
  for (uint32_t i = 0; i < 4; ++i) ptx::stg(p.d + 4 * lane + i, d[i]);
}

/** Small integers, whose products and sums are exact in every type. */
template <class T>
void check_product(uint32_t seed) {
  constexpr bool kTf32 = std::is_same_v<T, Tf32>;
  constexpr size_t kDepth = kTf32 ? 8 : 16;
  std::mt19937 random(seed);
  const auto small = [&] { return static_cast<float>(static_cast<int>(random() % 17) - 8); };
  float a[16][kDepth], b[kDepth][8], d[16][8];
  for (auto& row : a)
    for (float& x : row) x = small();
  for (auto& row : b)
    for (float& x : row) x = small();
  for (auto& row : d)
    for (float& x : row) x = small();

  const auto operand = [](auto read, size_t k) {  // one register: elements k and k + 1, or k alone
    if constexpr (kTf32)
      return fa::float_bits(read(k));
    else if constexpr (std::is_same_v<T, ptx::f16>)
      return fa::float_to_float16(read(k)) | uint32_t{fa::float_to_float16(read(k + 1))} << 16;
    else
      return fa::float_to_bfloat16(read(k)) | uint32_t{fa::float_to_bfloat16(read(k + 1))} << 16;
  };
  const auto first = [](size_t t, size_t half) { return kTf32 ? t + 4 * half : 2 * t + 8 * half; };
  std::vector<uint32_t> packed_a(128), packed_b(64);
  std::vector<float> packed_d(128);
  for (size_t lane = 0; lane < 32; ++lane) {
    const size_t g = lane / 4, t = lane % 4;
    for (size_t q = 0; q < 4; ++q)
      packed_a[4 * lane + q] =
          operand([&](size_t k) { return a[g + 8 * (q % 2)][k]; }, first(t, q / 2));
    for (size_t q = 0; q < 2; ++q)
      packed_b[2 * lane + q] = operand([&](size_t k) { return b[k][g]; }, first(t, q));
    for (size_t i = 0; i < 4; ++i) packed_d[4 * lane + i] = d[g + 8 * (i / 2)][2 * t + i % 2];
  }
  DeviceArray<uint32_t> device_a(packed_a), device_b(packed_b);
  DeviceArray<float> device_d(packed_d);
  run(multiply<T>, 1, 32, 0,
      ProductParams{device_a.device(), device_b.device(), device_d.device()});
  for (size_t row = 0; row < 16; ++row) {
    for (size_t column = 0; column < 8; ++column) {
      float expected = d[row][column];
      for (size_t k = 0; k < kDepth; ++k) expected += a[row][k] * b[k][column];
      const size_t lane = row % 8 * 4 + column / 2;
      CHECK(device_d.read()[4 * lane + row / 8 * 2 + column % 2] == expected);
    }
  }
}

}  // namespace

int main() {
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    check_scalars<ptx::f16>();
    check_scalars<ptx::bf16>();
    check_codes();
    check_loads_and_stores<uint8_t>();
    check_loads_and_stores<uint16_t>();
    check_loads_and_stores<uint32_t>();
    check_loads_and_stores<uint2>();
    check_loads_and_stores<uint4>();
    check_atomics();
    check_signals();
    check_barriers();
    check_exchanges();
    check_async_copies();
    check_ldmatrix();
    check_product<ptx::f16>(static_cast<uint32_t>(repeat));
    check_product<ptx::bf16>(static_cast<uint32_t>(repeat));
    check_product<Tf32>(static_cast<uint32_t>(repeat));
  }
  std::printf("primitives: passed\n");
}
