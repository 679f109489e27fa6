// Mistakes with what only Hopper has (misuse.h).
#include "cuda/ptx/ptx.h"
#include "encode_map.h"
#include "misuse.h"
#include "simt/global_memory.h"

namespace {

constexpr uint32_t kTile = 8192;  // 64 rows of 128 bytes

struct Params {
  // of `data` as 64 rows of 64 f16, boxes of all of it under the 128-byte swizzle
  ptx::tensor_map map;
  ptx::tensor_map of_4;  // the same in four dimensions
  ptx::tensor_map blank;
  float* data;    // kTile bytes of zeros
  float* out;     // 4 of them, which no engine looks at
  bool mistaken;  // false: the same kernel without its mistake
};

// Every kernel runs with 2 blocks of 128 threads, one warpgroup, and 3 tiles of dynamic shared
// memory.

bool first_thread() { return threadIdx.x == 0; }
uint32_t tile(int index) { return ptx::dyn_smem() + static_cast<uint32_t>(index) * kTile; }

/** An mbarrier that everybody knows. */
#define BARRIER(name, count)     \
  PTX_SHARED(uint64_t, name, 1); \
  if (first_thread()) {          \
    ptx::mbar_init(name, count); \
    ptx::fence_mbar_init();      \
  }                              \
  ptx::sync_block()

/** Loads the tensor into a tile. */
void load(const Params& p, uint32_t tile, uint32_t barrier) {
  if (!first_thread()) return;
  ptx::mbar_arrive_expect_tx(barrier, kTile);
  ptx::tma_load_2d(tile, &p.map, barrier, 0, 0);
}

/** Writes a tile of zeros by all threads. */
void clear(uint32_t tile) {
  for (uint32_t i = 16 * threadIdx.x; i < kTile; i += 16 * blockDim.x)
    ptx::sts<uint4>(tile + i, make_uint4(0, 0, 0, 0));
}

/** Writes a tile for the engines. */
void prepare(uint32_t tile) {
  clear(tile);
  ptx::fence_proxy_async();
  ptx::sync_block();
}

uint64_t operand(uint32_t tile) { return ptx::desc_sw128(tile, 0, 1024); }

// ── mbarriers ────────────────────────────────────────────────────────────────────────────────────

void no_barrier_after_init(Params p) {
  PTX_SHARED(uint64_t, barrier, 1);
  if (first_thread()) {
    ptx::mbar_init(barrier, 128);
    ptx::fence_mbar_init();
  }
  if (!p.mistaken) ptx::sync_block();
  ptx::mbar_arrive(barrier);
}

void init_without_fence(Params p) {
  PTX_SHARED(uint64_t, barrier, 1);
  if (first_thread()) {
    ptx::mbar_init(barrier, 1);
    if (!p.mistaken) ptx::fence_mbar_init();
  }
  ptx::sync_block();
  load(p, tile(0), barrier);
  ptx::mbar_wait(barrier, 0);
}

void arrival_at_plain_memory(Params p) {
  BARRIER(barrier, 128);
  ptx::mbar_arrive(p.mistaken ? tile(0) : barrier);
}

void store_over_a_barrier(Params p) {
  BARRIER(barrier, 128);
  if (first_thread()) ptx::sts<uint32_t>(p.mistaken ? barrier : tile(0), 1);
}

void barrier_initialised_twice(Params p) {
  BARRIER(barrier, 1);
  if (first_thread()) {
    if (!p.mistaken) ptx::mbar_inval(barrier);
    ptx::mbar_init(barrier, 2);
  }
}

void invalidated_under_others(Params p) {
  BARRIER(barrier, 128);
  ptx::mbar_arrive(barrier);
  ptx::mbar_wait(barrier, 0);
  if (!p.mistaken) ptx::sync_block();
  if (threadIdx.x == 127) ptx::mbar_inval(barrier);
}

void one_arrival_too_many(Params p) {
  BARRIER(barrier, 2);
  if (!first_thread()) return;
  ptx::mbar_arrive_expect_tx(barrier, p.mistaken ? 16 : 0);
  ptx::mbar_arrive(barrier);
  if (p.mistaken) ptx::mbar_arrive(barrier);
}

void one_arrival_too_few(Params p) {
  BARRIER(barrier, 128);
  if (!p.mistaken || threadIdx.x != 77) ptx::mbar_arrive(barrier);
  ptx::mbar_wait(barrier, 0);
}

void wrong_parity(Params p) {
  BARRIER(barrier, 128);
  ptx::mbar_arrive(barrier);
  ptx::mbar_wait(barrier, p.mistaken ? 1 : 0);
  ptx::sync_block();
  ptx::mbar_arrive(barrier);
  ptx::mbar_wait(barrier, p.mistaken ? 0 : 1);
  if (p.mistaken) ptx::mbar_wait(barrier, 0);
}

void parity_of_two(Params p) {
  BARRIER(barrier, 128);
  ptx::mbar_arrive(barrier);
  ptx::mbar_wait(barrier, p.mistaken ? 2 : 0);
}

// ── Loads ────────────────────────────────────────────────────────────────────────────────────────

void no_wait_for_a_load(Params p) {
  BARRIER(barrier, 1);
  load(p, tile(0), barrier);
  if (!p.mistaken) ptx::mbar_wait(barrier, 0);
  ptx::sync_block();
  ptx::stg(p.out, ptx::lds<float>(tile(0) + 4 * threadIdx.x));
  ptx::mbar_wait(barrier, 0);
}

void wait_by_another_warp_only(Params p) {
  BARRIER(barrier, 1);
  load(p, tile(0), barrier);
  if (threadIdx.x < 32 || !p.mistaken) ptx::mbar_wait(barrier, 0);
  ptx::stg(p.out, ptx::lds<float>(tile(0) + 4 * threadIdx.x));
}

void too_few_bytes_expected(Params p) {
  BARRIER(barrier, 1);
  if (first_thread()) {
    ptx::mbar_arrive_expect_tx(barrier, p.mistaken ? kTile : 2 * kTile);
    ptx::tma_load_2d(tile(0), &p.map, barrier, 0, 0);
    ptx::tma_load_2d(tile(1), &p.map, barrier, 0, 0);
  }
  ptx::mbar_wait(barrier, 0);
  ptx::stg(p.out, ptx::lds<float>(tile(1)) + ptx::lds<float>(tile(0)));
}

void too_many_bytes_expected(Params p) {
  BARRIER(barrier, 1);
  if (first_thread()) {
    ptx::mbar_arrive_expect_tx(barrier, p.mistaken ? kTile + 16 : kTile);
    ptx::tma_load_2d(tile(0), &p.map, barrier, 0, 0);
  }
  ptx::mbar_wait(barrier, 0);
}

void load_that_nobody_waits_for(Params p) {
  BARRIER(barrier, 1);
  load(p, tile(0), barrier);
  if (!p.mistaken) ptx::mbar_wait(barrier, 0);
}

void load_over_what_is_read(Params p) {
  BARRIER(full, 1);
  PTX_SHARED(uint64_t, empty, 1);
  if (first_thread()) ptx::mbar_init(empty, 128);
  ptx::sync_block();
  load(p, tile(0), full);
  ptx::mbar_wait(full, 0);
  ptx::stg(p.out, ptx::lds<float>(tile(0) + 4 * threadIdx.x));
  ptx::mbar_arrive(empty);
  if (!p.mistaken) ptx::mbar_wait(empty, 0);
  load(p, tile(0), full);
  ptx::mbar_wait(full, 1);
}

void load_over_unfenced_stores(Params p) {
  BARRIER(barrier, 1);
  clear(tile(0));
  if (!p.mistaken) ptx::fence_proxy_async();
  ptx::sync_block();
  load(p, tile(0), barrier);
  ptx::mbar_wait(barrier, 0);
}

void load_of_unfenced_global_stores(Params p) {
  BARRIER(barrier, 1);
  for (uint32_t i = threadIdx.x; i < kTile / sizeof(float); i += blockDim.x)
    ptx::stg(p.data + i, 1.0f);
  if (!p.mistaken) ptx::fence_proxy_async_global();
  ptx::sync_block();
  load(p, tile(0), barrier);
  ptx::mbar_wait(barrier, 0);
}

void load_of_global_stores_fenced_too_early(Params p) {
  BARRIER(barrier, 1);
  if (p.mistaken && first_thread()) ptx::fence_proxy_async_global();
  if (threadIdx.x == 127) ptx::stg(p.data, 1.0f);
  ptx::sync_block();
  if (!p.mistaken && first_thread()) ptx::fence_proxy_async_global();
  load(p, tile(0), barrier);
  ptx::mbar_wait(barrier, 0);
}

void two_loads_into_one_tile(Params p) {
  BARRIER(barrier, 1);
  if (first_thread()) {
    ptx::mbar_arrive_expect_tx(barrier, 2 * kTile);
    ptx::tma_load_2d(tile(0), &p.map, barrier, 0, 0);
    ptx::tma_load_2d(tile(p.mistaken ? 0 : 1), &p.map, barrier, 0, 0);
  }
  ptx::mbar_wait(barrier, 0);
}

void store_into_a_load(Params p) {
  BARRIER(barrier, 1);
  load(p, tile(0), barrier);
  if (!p.mistaken) ptx::mbar_wait(barrier, 0);
  if (first_thread()) ptx::sts<float>(tile(0), 1.0f);
  ptx::mbar_wait(barrier, 0);
}

void load_beyond_shared(Params p) {
  BARRIER(barrier, 1);
  load(p, tile(p.mistaken ? 3 : 2), barrier);
  ptx::mbar_wait(barrier, 0);
}

void load_to_half_a_swizzle(Params p) {
  BARRIER(barrier, 1);
  load(p, tile(0) + (p.mistaken ? 512 : 1024), barrier);
  ptx::mbar_wait(barrier, 0);
}

void map_that_was_not_encoded(Params p) {
  BARRIER(barrier, 1);
  if (first_thread()) {
    ptx::mbar_arrive_expect_tx(barrier, kTile);
    ptx::tma_load_2d(tile(0), p.mistaken ? &p.blank : &p.map, barrier, 0, 0);
  }
  ptx::mbar_wait(barrier, 0);
}

void map_of_another_rank(Params p) {
  BARRIER(barrier, 1);
  if (first_thread()) {
    ptx::mbar_arrive_expect_tx(barrier, kTile);
    if (p.mistaken)
      ptx::tma_load_3d(tile(0), &p.map, barrier, 0, 0, 0);
    else
      ptx::tma_load_2d(tile(0), &p.map, barrier, 0, 0);
  }
  ptx::mbar_wait(barrier, 0);
}

void policy_that_was_not_made(Params p) {
  BARRIER(barrier, 1);
  if (first_thread()) {
    ptx::mbar_arrive_expect_tx(barrier, kTile);
    ptx::tma_load_4d(tile(0), &p.of_4, barrier,
                     p.mistaken ? ptx::cache_policy{0} : ptx::evict_last(), 0, 0, 0, 0);
  }
  ptx::mbar_wait(barrier, 0);
}

void bulk_load_beyond_global(Params p) {
  BARRIER(barrier, 1);
  if (first_thread()) {
    ptx::mbar_arrive_expect_tx(barrier, kTile);
    ptx::bulk_load(tile(0), p.data + (p.mistaken ? 4 : 0), kTile, barrier);
  }
  ptx::mbar_wait(barrier, 0);
}

void bulk_load_of_odd_size(Params p) {
  BARRIER(barrier, 1);
  const uint32_t bytes = p.mistaken ? 24 : 32;
  if (first_thread()) {
    ptx::mbar_arrive_expect_tx(barrier, bytes);
    ptx::bulk_load(tile(0), p.data, bytes, barrier);
  }
  ptx::mbar_wait(barrier, 0);
}

// ── Copies by threads that arrive ────────────────────────────────────────────────────────────────

void copy_arrives_unwatched(Params p) {
  BARRIER(barrier, 128);
  ptx::cp_async16(tile(0) + 16 * threadIdx.x, p.data + 4 * threadIdx.x);
  ptx::cp_async_mbar_arrive(barrier);
  if (!p.mistaken) ptx::mbar_wait(barrier, 0);
  ptx::stg(p.out, ptx::lds<float>(tile(0) + 16 * threadIdx.x));
  ptx::mbar_wait(barrier, 0);
}

void copied_operand_without_fence(Params p) {
  BARRIER(barrier, 128);
  for (uint32_t i = 16 * threadIdx.x; i < kTile; i += 16 * blockDim.x)
    ptx::cp_async16(tile(0) + i, p.data + i / 4);
  ptx::cp_async_mbar_arrive(barrier);
  ptx::mbar_wait(barrier, 0);
  if (!p.mistaken) ptx::fence_proxy_async();
  ptx::sync_block();
  float d[32];
  ptx::wgmma_fence(d);
  ptx::wgmma_ss<ptx::f16>(d, operand(tile(0)), operand(tile(0)), false);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>(d);
}

// ── Stores ───────────────────────────────────────────────────────────────────────────────────────

void store_tile(const Params& p, int index) {
  ptx::tma_store_2d(&p.map, tile(index), 0, 0);
  ptx::bulk_commit();
}

void store_without_fence(Params p) {
  clear(tile(0));
  if (!p.mistaken) ptx::fence_proxy_async();
  ptx::sync_block();
  if (!first_thread()) return;
  store_tile(p, 0);
  ptx::bulk_wait_read<0>();
}

void store_fenced_by_one_lane(Params p) {
  clear(tile(0));
  if (threadIdx.x % 32 == 0 || !p.mistaken) ptx::fence_proxy_async();
  ptx::sync_block();
  if (!first_thread()) return;
  store_tile(p, 0);
  ptx::bulk_wait_read<0>();
}

void stmatrix_without_fence(Params p) {
  prepare(tile(0));
  const uint32_t r[4] = {};
  ptx::stmatrix_x4(tile(0) + 16 * threadIdx.x, r);
  if (!p.mistaken) ptx::fence_proxy_async();
  ptx::sync_block();
  if (!first_thread()) return;
  store_tile(p, 0);
  ptx::bulk_wait_read<0>();
}

void store_without_barrier(Params p) {
  clear(tile(0));
  ptx::fence_proxy_async();
  if (!p.mistaken) ptx::sync_block();
  if (!first_thread()) return;
  store_tile(p, 0);
  ptx::bulk_wait_read<0>();
}

void overwritten_while_stored(Params p) {
  prepare(tile(0));
  if (!first_thread()) return;
  store_tile(p, 0);
  if (!p.mistaken) ptx::bulk_wait_read<0>();
  ptx::sts<float>(tile(0), 1.0f);
  ptx::bulk_wait_read<0>();
}

void overwritten_by_another_warp(Params p) {
  prepare(tile(0));
  if (first_thread()) {
    store_tile(p, 0);
    ptx::bulk_wait_read<0>();
  }
  if (!p.mistaken) ptx::sync_block();
  if (threadIdx.x == 64) ptx::sts<float>(tile(0), 1.0f);
}

void wait_one_group_too_lax(Params p) {
  prepare(tile(0));
  prepare(tile(1));
  if (!first_thread()) return;
  store_tile(p, 0);
  store_tile(p, 1);
  if (p.mistaken)
    ptx::bulk_wait_read<1>();
  else
    ptx::bulk_wait_read<0>();
  ptx::sts<float>(tile(1), 1.0f);
  ptx::bulk_wait_read<0>();
}

void store_without_commit(Params p) {
  prepare(tile(0));
  if (!first_thread()) return;
  ptx::bulk_store(p.data, tile(0), 64);
  if (!p.mistaken) ptx::bulk_commit();
  ptx::bulk_wait_read<0>();
}

void exit_before_the_store_has_read(Params p) {
  prepare(tile(0));
  if (!first_thread()) return;
  store_tile(p, 0);
  if (!p.mistaken) ptx::bulk_wait_read<0>();
}

void release_before_the_store_is_complete(Params p) {
  prepare(tile(0));
  if (!first_thread()) return;
  store_tile(p, 0);
  if (p.mistaken)
    ptx::bulk_wait_read<0>();
  else
    ptx::bulk_wait<0>();
  ptx::st_release(reinterpret_cast<int*>(p.out), 1);
}

void addition_beyond_global(Params p) {
  prepare(tile(0));
  if (!first_thread()) return;
  ptx::bulk_reduce_add_f32(p.data + (p.mistaken ? 4 : 0), tile(0), kTile);
  ptx::bulk_commit();
  ptx::bulk_wait_read<0>();
}

void addition_of_halves(Params p) {
  prepare(tile(0));
  if (!first_thread()) return;
  if (p.mistaken)
    ptx::tma_reduce_add_3d(&p.map, tile(0), 0, 0, 0);
  else
    ptx::bulk_reduce_add_f32(p.data, tile(0), kTile);
  ptx::bulk_commit();
  ptx::bulk_wait_read<0>();
}

void addition_after_an_unfenced_acquire(Params p) {
  prepare(tile(0));
  if (!first_thread()) return;
  const int block = static_cast<int>(blockIdx.x);
  int* const turn = reinterpret_cast<int*>(p.out);
  while (ptx::ld_acquire(turn) != block) ptx::spin_pause();
  if (!p.mistaken) ptx::fence_proxy_async_global();
  ptx::bulk_reduce_add_f32(p.data, tile(0), kTile);
  ptx::bulk_commit();
  ptx::bulk_wait<0>();
  ptx::st_release(turn, block + 1);
}

// ── stmatrix ─────────────────────────────────────────────────────────────────────────────────────

void no_sync_warp_after_stmatrix(Params p) {
  const uint32_t own = tile(0) + threadIdx.x / 32 * 512 + 16 * (threadIdx.x % 32);
  const uint32_t r[4] = {};
  ptx::stmatrix_x4(own, r);
  if (!p.mistaken) ptx::sync_warp();
  ptx::stg(p.out, ptx::lds<float>(own));
}

// ── wgmma ────────────────────────────────────────────────────────────────────────────────────────

/** d = a b of two tiles. */
void product(float (&d)[32], int a, int b) {
  ptx::wgmma_fence(d);
  ptx::wgmma_ss<ptx::f16>(d, operand(tile(a)), operand(tile(b)), false);
  ptx::wgmma_commit();
}

void prepare_operands() {
  prepare(tile(0));
  prepare(tile(1));
}

void no_wgmma_fence(Params p) {
  prepare_operands();
  float d[32];
  if (!p.mistaken) ptx::wgmma_fence(d);
  ptx::wgmma_ss<ptx::f16>(d, operand(tile(0)), operand(tile(1)), false);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>(d);
}

void no_wgmma_fence_in_the_second_batch(Params p) {
  prepare_operands();
  float d[32];
  product(d, 0, 1);
  if (!p.mistaken) ptx::wgmma_fence(d);
  ptx::wgmma_ss<ptx::f16>(d, operand(tile(0)), operand(tile(1)), true);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>(d);
}

void exit_with_a_product(Params p) {
  prepare_operands();
  float d[32];
  product(d, 0, 1);
  if (!p.mistaken) ptx::wgmma_wait<0>(d);
}

void product_without_commit(Params p) {
  prepare_operands();
  float d[32];
  ptx::wgmma_fence(d);
  ptx::wgmma_ss<ptx::f16>(d, operand(tile(0)), operand(tile(1)), false);
  if (!p.mistaken) ptx::wgmma_commit();
  ptx::wgmma_wait<0>(d);
}

void accumulator_written_under_way(Params p) {
  prepare_operands();
  float d[32];
  product(d, 0, 1);
  if (p.mistaken) d[7] = 0.5f;
  ptx::wgmma_wait<0>(d);
  if (!p.mistaken) d[7] = 0.5f;
}

void accumulator_rescaled_under_way(Params p) {
  prepare_operands();
  float d[32];
  product(d, 0, 1);
  product(d, 0, 1);
  if (p.mistaken)
    ptx::wgmma_wait<1>();
  else
    ptx::wgmma_wait<0>(d);
  for (float& x : d) x = x * 0.5f + 1.0f;
  if (p.mistaken) ptx::wgmma_wait<0>(d);
}

void wait_that_names_nothing(Params p) {
  prepare_operands();
  float d[32];
  product(d, 0, 1);
  if (p.mistaken)
    ptx::wgmma_wait<0>();
  else
    ptx::wgmma_wait<0>(d);
}

void registers_of_a_modified(Params p) {
  prepare_operands();
  float d[32];
  uint32_t a[4] = {1, 2, 3, 4};
  ptx::wgmma_fence(d, a);
  ptx::wgmma_rs<ptx::f16>(d, a, operand(tile(1)), false);
  ptx::wgmma_commit();
  if (p.mistaken) a[2] = 7;
  ptx::wgmma_wait<0>(d, a);
}

void accumulators_overlap(Params p) {
  prepare_operands();
  float d[64];
  float(&low)[32] = *reinterpret_cast<float(*)[32]>(d);
  float(&other)[32] = *reinterpret_cast<float(*)[32]>(d + (p.mistaken ? 16 : 32));
  product(low, 0, 1);
  product(other, 0, 1);
  ptx::wgmma_wait<0>(d);
}

void operand_without_fence(Params p) {
  prepare(tile(0));
  clear(tile(1));
  if (!p.mistaken) ptx::fence_proxy_async();
  ptx::sync_block();
  float d[32];
  product(d, 0, 1);
  ptx::wgmma_wait<0>(d);
}

void operand_without_barrier(Params p) {
  prepare(tile(0));
  clear(tile(1));
  ptx::fence_proxy_async();
  if (!p.mistaken)
    ptx::sync_block();
  else
    ptx::sync_warp();
  float d[32];
  product(d, 0, 1);
  ptx::wgmma_wait<0>(d);
}

void operand_loaded_without_wait(Params p) {
  BARRIER(barrier, 1);
  prepare(tile(0));
  load(p, tile(1), barrier);
  ptx::sync_block();
  // One warp of the group relies on the others.
  if (!p.mistaken || threadIdx.x < 96) ptx::mbar_wait(barrier, 0);
  float d[32];
  product(d, 0, 1);
  ptx::wgmma_wait<0>(d);
}

void operand_never_written(Params p) {
  prepare(tile(0));
  if (!p.mistaken) prepare(tile(1));
  float d[32];
  product(d, 0, 1);
  ptx::wgmma_wait<0>(d);
}

void operand_overwritten_by_a_load(Params p) {
  BARRIER(barrier, 1);
  prepare_operands();
  float d[32];
  product(d, 0, 1);
  if (!p.mistaken) ptx::wgmma_wait<0>(d);
  ptx::sync_block();
  load(p, tile(1), barrier);
  ptx::mbar_wait(barrier, 0);
  ptx::wgmma_wait<0>(d);
}

void one_warp_vouches_for_the_group(Params p) {
  BARRIER(barrier, 1);
  PTX_SHARED(uint64_t, empty, 1);
  if (first_thread()) ptx::mbar_init(empty, p.mistaken ? 1 : 4);
  prepare_operands();
  float d[32];
  product(d, 0, 1);
  ptx::wgmma_wait<0>(d);
  if (threadIdx.x % (p.mistaken ? 128 : 32) == 0) ptx::mbar_arrive(empty);
  ptx::mbar_wait(empty, 0);
  load(p, tile(1), barrier);
  ptx::mbar_wait(barrier, 0);
}

void operand_overwritten_after_a_lax_wait(Params p) {
  prepare_operands();
  prepare(tile(2));
  float d[32], e[32];
  product(d, 0, 1);
  product(e, 0, 2);
  if (p.mistaken)
    ptx::wgmma_wait<1>(d);
  else
    ptx::wgmma_wait<0>(d, e);
  ptx::sync_block();
  clear(tile(2));
  if (p.mistaken) ptx::wgmma_wait<0>(e);
}

void three_warps_multiply(Params p) {
  prepare_operands();
  float d[32];
  if (p.mistaken && threadIdx.x >= 96) return;
  product(d, 0, 1);
  ptx::wgmma_wait<0>(d);
}

void warps_name_different_operands(Params p) {
  prepare_operands();
  float d[32];
  product(d, 0, p.mistaken && threadIdx.x >= 64 ? 0 : 1);
  ptx::wgmma_wait<0>(d);
}

void lanes_name_different_operands(Params p) {
  prepare_operands();
  float d[32];
  product(d, 0, p.mistaken && threadIdx.x % 32 == 5 ? 0 : 1);
  ptx::wgmma_wait<0>(d);
}

void operand_off_its_swizzle(Params p) {
  prepare_operands();
  float d[32];
  ptx::wgmma_fence(d);
  ptx::wgmma_ss<ptx::f16>(d, operand(tile(0)), operand(tile(1)) + (p.mistaken ? 8 : 0), false);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>(d);
}

void operand_beyond_shared(Params p) {
  prepare_operands();
  prepare(tile(2));
  float d[64];
  ptx::wgmma_fence(d);
  // 128 columns of a tile of 64 rows.
  ptx::wgmma_ss<ptx::f16>(d, operand(tile(0)), operand(tile(p.mistaken ? 2 : 1)), false);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>(d);
}

// ── Registers ────────────────────────────────────────────────────────────────────────────────────

void more_registers_than_there_are(Params p) {
  ptx::setmaxnreg_dec<96>();
  if (p.mistaken && threadIdx.x < 96)
    ptx::setmaxnreg_dec<40>();
  else if (p.mistaken)
    ptx::setmaxnreg_inc<256>();
}

void more_registers_by_dec(Params p) {
  ptx::setmaxnreg_dec<96>();
  if (p.mistaken)
    ptx::setmaxnreg_dec<128>();
  else
    ptx::setmaxnreg_inc<128>();
}

void warps_share_unequally(Params p) {
  if (!p.mistaken || threadIdx.x < 32) ptx::setmaxnreg_dec<96>();
}

const std::vector<Mistake<Params>> kMistakes = {
    MISTAKE(no_barrier_after_init,
            ""),  // unordered, or not there yet: whichever the schedule meets
    MISTAKE(init_without_fence, "has not been fenced"),
    MISTAKE(arrival_at_plain_memory, "there is no mbarrier"),
    MISTAKE(store_over_a_barrier, "there is an mbarrier"),
    MISTAKE(barrier_initialised_twice, "there is an mbarrier"),
    MISTAKE(invalidated_under_others, ""),  // unordered, or others still wait for it
    MISTAKE(one_arrival_too_many, "more than 2 arrivals"),
    MISTAKE(one_arrival_too_few, "waits for 1 of 128 arrivals"),
    MISTAKE(wrong_parity, "deadlock"),
    MISTAKE(parity_of_two, "expected 0 or 1"),
    MISTAKE(no_wait_for_a_load, "race: "),
    MISTAKE(wait_by_another_warp_only, ""),  // uninitialised or unordered
    MISTAKE(too_few_bytes_expected, ""),     // in flight, or an excess that the barrier waits for
    MISTAKE(too_many_bytes_expected, "of 1 arrivals and 16 bytes"),
    MISTAKE(load_that_nobody_waits_for, "nobody waited for"),
    MISTAKE(load_over_what_is_read, ""),  // unordered, or others wait for a phase that is over
    MISTAKE(load_over_unfenced_stores, "no fence_proxy_async between"),
    MISTAKE(load_of_unfenced_global_stores, "no fence_proxy_async_global between"),
    MISTAKE(load_of_global_stores_fenced_too_early, "no fence_proxy_async_global between"),
    MISTAKE(two_loads_into_one_tile, "race: tensor load"),
    MISTAKE(store_into_a_load, "race: store"),
    MISTAKE(load_beyond_shared, "out of bounds"),
    MISTAKE(load_to_half_a_swizzle, "misaligned"),
    MISTAKE(map_that_was_not_encoded, "has not encoded"),
    MISTAKE(map_of_another_rank, "of rank 2 for 3 coordinates"),
    MISTAKE(policy_that_was_not_made, "that createpolicy has not made"),
    MISTAKE(bulk_load_beyond_global, "out of bounds: global read"),
    MISTAKE(bulk_load_of_odd_size, "expected a multiple of 16"),
    MISTAKE(copy_arrives_unwatched, "race: load"),
    MISTAKE(copied_operand_without_fence, "no fence_proxy_async between"),
    MISTAKE(store_without_fence, "no fence_proxy_async between"),
    MISTAKE(store_fenced_by_one_lane, "no fence_proxy_async between"),
    MISTAKE(stmatrix_without_fence, "no fence_proxy_async between"),
    MISTAKE(store_without_barrier, ""),  // uninitialised or unordered
    MISTAKE(overwritten_while_stored, "after a read by a bulk copy"),
    MISTAKE(overwritten_by_another_warp, "race: "),
    MISTAKE(wait_one_group_too_lax, "after a read by a bulk copy"),
    MISTAKE(store_without_commit, "exits before its bulk copy"),
    MISTAKE(exit_before_the_store_has_read, "exits before its bulk copy"),
    MISTAKE(release_before_the_store_is_complete, "st.release before the bulk copy"),
    MISTAKE(addition_beyond_global, "out of bounds: global atomic"),
    MISTAKE(addition_after_an_unfenced_acquire, "no fence_proxy_async_global after the acquire"),
    MISTAKE(addition_of_halves, "of rank 2 for 3 coordinates"),
    MISTAKE(no_sync_warp_after_stmatrix, "no sync_warp between"),
    MISTAKE(no_wgmma_fence, "without a wgmma_fence"),
    MISTAKE(no_wgmma_fence_in_the_second_batch, "without a wgmma_fence"),
    MISTAKE(exit_with_a_product, "exits with a wgmma under way"),
    MISTAKE(product_without_commit, "exits with a wgmma under way"),
    MISTAKE(accumulator_written_under_way, "written while a wgmma was under way"),
    MISTAKE(accumulator_rescaled_under_way, "written while a wgmma was under way"),
    MISTAKE(wait_that_names_nothing, "does not name"),
    MISTAKE(registers_of_a_modified, "registers of A were modified"),
    MISTAKE(accumulators_overlap, "overlap"),
    MISTAKE(operand_without_fence, "no fence_proxy_async between"),
    MISTAKE(operand_without_barrier, ""),  // uninitialised or unordered
    MISTAKE(operand_loaded_without_wait, "race: wgmma"),
    MISTAKE(operand_never_written, "uninitialised"),
    MISTAKE(operand_overwritten_by_a_load, "after a read by the tensor core"),
    MISTAKE(one_warp_vouches_for_the_group, "after a read by the tensor core"),
    MISTAKE(operand_overwritten_after_a_lax_wait, "after a read by the tensor core"),
    MISTAKE(three_warps_multiply, ""),  // the others wait for them, or the block ends
    MISTAKE(warps_name_different_operands, "asked for another product"),
    MISTAKE(lanes_name_different_operands, "lanes of the warp name different operands"),
    MISTAKE(operand_off_its_swizzle, "begins at multiples of 1024"),
    MISTAKE(operand_beyond_shared, "out of bounds"),
    MISTAKE(more_registers_than_there_are, "setmaxnreg"),
    MISTAKE(more_registers_by_dec, "setmaxnreg.dec to 128"),
    MISTAKE(warps_share_unequally, "setmaxnreg left warp"),
};

Params make(bool mistaken) {
  Params params{};
  params.data = static_cast<float*>(simt::allocate_global(kTile));
  params.out = static_cast<float*>(simt::allocate_global(4 * sizeof(float)));
  params.mistaken = mistaken;
  for (int i = 0; i < 4; ++i) params.out[i] = 0.0f;
  for (uint32_t i = 0; i < kTile / sizeof(float); ++i) params.data[i] = 0.0f;
  CHECK(encode_map(&params.map, params.data,
                   {CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                    {64, 64},
                    {128},
                    {64, 64},
                    CU_TENSOR_MAP_SWIZZLE_128B}) == CUDA_SUCCESS);
  CHECK(encode_map(&params.of_4, params.data,
                   {CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                    {64, 64, 1, 1},
                    {128, kTile, kTile},
                    {64, 64, 1, 1},
                    CU_TENSOR_MAP_SWIZZLE_128B}) == CUDA_SUCCESS);
  return params;
}

void release(const Params& params) {
  simt::free_global(params.data);
  simt::free_global(params.out);
}

}  // namespace

int main() { return run_mistakes(kMistakes, 128, 3 * kTile, make, release) ? EXIT_FAILURE : 0; }
