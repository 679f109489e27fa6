// What the executor counts: bytes, instructions and bank conflicts of kernels whose figures can be
// worked out by hand.
#include <cstdio>
#include <cstdlib>

#include "cuda/ptx/ptx.h"
#include "device_array.h"
#include "simt/bank_conflicts.h"
#include "simt/global_memory.h"
#include "simt/launch.h"

namespace {

constexpr uint64_t kSeeds = 9;

struct Params {
  float* data;
  int stride;  // bytes
};

simt::Counters count(void (*kernel)(Params), int blocks, int threads, int stride = 0) {
  Params params{static_cast<float*>(simt::allocate_global(1 << 16)), stride};
  simt::Counters first{};
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const simt::Report report = simt::launch("counted", kernel, blocks, threads, 32 * 1024,
                                             simt::Config::from_seed(seed), params);
    if (!report.ok()) std::fprintf(stderr, "%s\n", report.error.c_str());
    CHECK(report.ok());
    simt::Counters counters = report.counters;
    counters.context_switches = 0;  // the only figure that may depend on the schedule
    if (seed == 0) first = counters;
    CHECK(__builtin_memcmp(&first, &counters, sizeof counters) == 0);
  }
  simt::free_global(params.data);
  return first;
}

void global_traffic(Params p) {
  const float4 value = ptx::ldg(reinterpret_cast<const float4*>(p.data) + threadIdx.x);
  ptx::stg(p.data + 1024 + threadIdx.x, value.x);
  ptx::atomic_add(p.data + 4096, 1.0f);
  ptx::red_add<2>(p.data + 4098, {1.0f, 1.0f});
  ptx::cp_async16(ptx::dyn_smem() + 16 * threadIdx.x, p.data, threadIdx.x < 10);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
}

void instructions(Params) {
  float d[4] = {};
  uint32_t r[4];
  ptx::sts<uint4>(ptx::dyn_smem() + 16 * threadIdx.x, make_uint4(0, 0, 0, 0));
  ptx::sync_warp();
  ptx::ldmatrix_x4(r, ptx::dyn_smem() + 16 * threadIdx.x);
  for (int i = 0; i < 3; ++i) ptx::mma_16816<ptx::bf16>(d, r, r[0], r[1]);
  d[0] += ptx::exp2_approx(ptx::shfl_xor(d[0], 1)) + ptx::exp2_approx(d[1]);
  ptx::vote_any(d[0] > 0);
  ptx::sync_block();
  ptx::sync_block();
}

template <class T>
void strided(Params p) {
  const uint32_t address = ptx::dyn_smem() + threadIdx.x * static_cast<uint32_t>(p.stride);
  ptx::sts<T>(address, T{});
  ptx::sync_warp();
  ptx::lds<T>(address);
}

void strided_ldmatrix(Params p) {
  const uint32_t address = ptx::dyn_smem() + threadIdx.x * static_cast<uint32_t>(p.stride);
  ptx::sts<uint4>(address, make_uint4(0, 0, 0, 0));
  ptx::sync_warp();
  uint32_t r[4];
  ptx::ldmatrix_x4(r, address);
}

void strided_copies(Params p) {
  ptx::cp_async16(ptx::dyn_smem() + threadIdx.x * static_cast<uint32_t>(p.stride), p.data);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
}

/** 128-byte rows; the 16-byte chunk of a row is at its number xor row % 8, or is not. */
template <bool kSwizzled>
void read_columns(Params) {
  const uint32_t base = ptx::dyn_smem(), row = threadIdx.x % 32;
  const auto address = [=](uint32_t chunk) {
    return base + row * 128 + ((kSwizzled ? chunk ^ (row & 7) : chunk) << 4);
  };
  for (uint32_t chunk = 0; chunk < 8; ++chunk)
    ptx::sts<uint4>(address(chunk), make_uint4(0, 0, 0, 0));
  ptx::sync_warp();
  uint32_t r[4];
  for (uint32_t chunk = 0; chunk < 8; ++chunk) ptx::ldmatrix_x4(r, address(chunk));
}

void check_traffic() {
  const simt::Counters c = count(global_traffic, 3, 64);
  CHECK(c.global_read_bytes == 3 * (64 * 16 + 10 * 16));
  CHECK(c.global_written_bytes == 3 * 64 * 4);
  CHECK(c.global_atomic_bytes == 3 * 64 * (4 + 8));
  CHECK(c.global_loads == 3 * 64 && c.global_stores == 3 * 64 && c.global_atomics == 3 * 64 * 2);
  CHECK(c.cp_async == 3 * 64 && c.shared_written_bytes == 3 * 64 * 16);
}

void check_instructions() {
  const simt::Counters c = count(instructions, 2, 64);
  const uint64_t warps = 4, threads = 128;
  CHECK(c.mma == 3 * warps && c.ldmatrix == warps && c.shuffles == warps && c.votes == warps);
  CHECK(c.warp_syncs == warps && c.exp2 == 2 * threads && c.barriers == 2 * 2);
  CHECK(c.shared_stores == threads && c.shared_written_bytes == 16 * threads);
  CHECK(c.shared_read_bytes == warps * 512);
}

/** Passes beyond the necessary for one access of a warp, lane by lane `stride` bytes apart. */
struct Conflict {
  int stride;
  uint64_t expected;
};

template <class T>
void check_conflicts(std::initializer_list<Conflict> conflicts) {
  for (const Conflict& each : conflicts) {
    const simt::Counters c = count(strided<T>, 1, 32, each.stride);
    CHECK(c.shared_load_conflicts == each.expected);
    CHECK(c.shared_store_conflicts == each.expected);
  }
}

void check_bank_conflicts() {
  check_conflicts<uint32_t>({{4, 0}, {8, 1}, {16, 3}, {128, 31}, {132, 0}, {64, 15}});
  check_conflicts<uint16_t>({{2, 0}, {4, 0}, {128, 31}});
  check_conflicts<uint2>({{8, 0}, {16, 2}, {128, 30}, {136, 0}});   // two halves of a warp
  check_conflicts<uint4>({{16, 0}, {32, 4}, {128, 28}, {144, 0}});  // four quarters
  for (const Conflict& each :
       std::initializer_list<Conflict>{{16, 0}, {32, 4}, {128, 28}, {144, 0}}) {
    CHECK(count(strided_ldmatrix, 1, 32, each.stride).ldmatrix_conflicts == each.expected);
    CHECK(count(strided_copies, 1, 32, each.stride).cp_async_conflicts == each.expected);
  }
  CHECK(count(read_columns<true>, 1, 32).ldmatrix_conflicts == 0);
  CHECK(count(read_columns<false>, 1, 32).ldmatrix_conflicts == 8 * 4 * 7);

  uint32_t same[32] = {};
  CHECK(simt::extra_passes(same, ~0u, 4) == 0);  // a broadcast
}

}  // namespace

int main() {
  check_traffic();
  check_instructions();
  check_bank_conflicts();
  std::printf("counters: passed\n");
}
