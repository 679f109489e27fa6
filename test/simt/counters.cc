// What the executor counts: bytes, instructions and bank conflicts of kernels whose figures can be
// worked out by hand.
#include <cstdio>
#include <cstdlib>

#include "cuda/ptx/ptx.h"
#include "device_array.h"
#include "encode_map.h"
#include "simt/bank_conflicts.h"
#include "simt/global_memory.h"
#include "simt/launch.h"

namespace {

constexpr uint64_t kSeeds = 9;

struct Params {
  float* data;
  int stride;  // bytes
};

template <class P>
simt::Counters count(void (*kernel)(P), int blocks, int threads, size_t shared_bytes,
                     const P& params) {
  simt::Counters first{};
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const simt::Report report = simt::launch("counted", kernel, blocks, threads, shared_bytes,
                                             simt::Config::from_seed(seed), params);
    if (!report.ok()) std::fprintf(stderr, "%s\n", report.error.c_str());
    CHECK(report.ok());
    simt::Counters counters = report.counters;
    counters.context_switches = 0;  // the only figure that may depend on the schedule
    if (seed == 0) first = counters;
    CHECK(__builtin_memcmp(&first, &counters, sizeof counters) == 0);
  }
  return first;
}

simt::Counters count(void (*kernel)(Params), int blocks, int threads, int stride = 0) {
  const Params params{static_cast<float*>(simt::allocate_global(1 << 16)), stride};
  const simt::Counters counters = count(kernel, blocks, threads, 32 * 1024, params);
  simt::free_global(params.data);
  return counters;
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

// ── sm_90 ────────────────────────────────────────────────────────────────────────────────────────

struct EngineParams {
  ptx::tensor_map map;  // of 24 x 10 floats, boxes of 16 x 8
  float* data;
};

void engine_traffic(EngineParams p) {
  PTX_SHARED(uint64_t, barrier, 1);
  const uint32_t box = ptx::dyn_smem(), run = box + 512;
  if (threadIdx.x == 0) {
    ptx::mbar_init(barrier, 1);
    ptx::fence_mbar_init();
    ptx::mbar_arrive_expect_tx(barrier, 512 + 48);
    ptx::tma_load_2d(box, &p.map, barrier, 16, 4);  // 8 x 6 of it inside
    ptx::bulk_load(run, p.data, 48, barrier);
  }
  ptx::sync_block();
  ptx::mbar_wait(barrier, 0);
  if (threadIdx.x == 0) {
    ptx::tma_store_2d(&p.map, box, -4, 0);  // 12 x 8
    ptx::bulk_store(p.data, run, 48);
    ptx::bulk_reduce_add_f32(p.data, run, 32);
    ptx::bulk_commit();
    ptx::bulk_wait_read<0>();
  }
}

void products(EngineParams) {
  const uint32_t tile = ptx::dyn_smem();
  for (uint32_t i = 16 * threadIdx.x; i < 8192; i += 16 * 128)
    ptx::sts<uint4>(tile + i, make_uint4(0, 0, 0, 0));
  ptx::fence_proxy_async();
  ptx::sync_block();
  const uint64_t operand = ptx::desc_sw128(tile, 0, 1024);
  float d[32];
  ptx::wgmma_fence(d);
  for (int k = 0; k < 4; ++k)
    ptx::wgmma_ss<ptx::f16>(d, ptx::desc_advance(operand, 32), operand, k > 0);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>(d);
  // Rows of 16 bytes, one after the other and then 128 bytes apart.
  const uint32_t r[4] = {}, lane = threadIdx.x % 32;
  ptx::sync_block();
  ptx::stmatrix_x4(tile + 512 * (threadIdx.x / 32) + 16 * lane, r);
  if (threadIdx.x < 32) ptx::stmatrix_x4(tile + 4096 + 128 * lane, r);
}

void check_engines() {
  EngineParams params{};
  params.data = static_cast<float*>(simt::allocate_global(4096));
  CHECK(encode_map(&params.map, params.data,
                   {CU_TENSOR_MAP_DATA_TYPE_FLOAT32, {24, 10}, {96}, {16, 8}}) == CUDA_SUCCESS);
  const simt::Counters copies = count(engine_traffic, 3, 64, 1024, params);
  CHECK(copies.bulk_copies == 3 * 5);
  CHECK(copies.global_read_bytes == 3 * (8 * 6 * 4 + 48));
  CHECK(copies.global_written_bytes == 3 * (12 * 8 * 4 + 48));
  CHECK(copies.global_atomic_bytes == 3 * 32);
  CHECK(copies.shared_written_bytes == 3 * (512 + 48));
  CHECK(copies.shared_read_bytes == 3 * (512 + 48 + 32));

  const simt::Counters multiplied = count(products, 2, 128, 8192, params);
  CHECK(multiplied.wgmma == 2 * 4 && multiplied.stmatrix == 2 * 5);
  CHECK(multiplied.stmatrix_conflicts == 2 * 4 * 7);
  CHECK(multiplied.shared_written_bytes == 2 * (8192 + 5 * 512));
  simt::free_global(params.data);
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
  check_engines();
  check_bank_conflicts();
  std::printf("counters: passed\n");
}
