// Mistakes with what every architecture has (misuse.h).
#include "misuse.h"

#include "cuda/ptx/ptx.h"
#include "simt/global_memory.h"

namespace {

struct Params {
  float* data;    // 256 floats
  int* flags;     // 8 zeros
  bool mistaken;  // false: the same kernel without its mistake
};

// Every kernel runs with 2 blocks of 64 threads and 1024 bytes of dynamic shared memory.

// ── Barriers ─────────────────────────────────────────────────────────────────────────────────────

void no_barrier_before_read(Params p) {
  const uint32_t s = ptx::dyn_smem();
  ptx::sts<float>(s + 4 * threadIdx.x, 1.0f);
  if (!p.mistaken) ptx::sync_block();
  ptx::stg(p.data + threadIdx.x, ptx::lds<float>(s + 4 * (threadIdx.x ^ 32)));
}

void no_barrier_before_overwriting(Params p) {
  const uint32_t s = ptx::dyn_smem();
  ptx::sts<float>(s + 4 * threadIdx.x, 1.0f);
  ptx::sync_block();
  const float other = ptx::lds<float>(s + 4 * (threadIdx.x ^ 32));
  if (!p.mistaken) ptx::sync_block();
  ptx::sts<float>(s + 4 * threadIdx.x, other);
}

void two_writers(Params p) {
  const uint32_t s = ptx::dyn_smem();
  if (threadIdx.x % 32 == 0 && (threadIdx.x == 0 || p.mistaken)) ptx::sts<float>(s, 1.0f);
}

void no_sync_warp(Params p) {
  const uint32_t s = ptx::dyn_smem();
  ptx::sts<float>(s + 4 * threadIdx.x, 1.0f);
  if (!p.mistaken) ptx::sync_warp();
  ptx::stg(p.data + threadIdx.x, ptx::lds<float>(s + 4 * (threadIdx.x ^ 1)));
}

void shuffle_instead_of_sync_warp(Params p) {
  const uint32_t s = ptx::dyn_smem();
  ptx::sts<float>(s + 4 * threadIdx.x, 1.0f);
  ptx::shfl_xor(1.0f, 1);
  if (!p.mistaken) ptx::sync_warp();
  ptx::stg(p.data + threadIdx.x, ptx::lds<float>(s + 4 * (threadIdx.x ^ 1)));
}

void no_sync_warp_before_overwriting(Params p) {
  const uint32_t s = ptx::dyn_smem();
  ptx::sts<float>(s + 4 * threadIdx.x, 1.0f);
  ptx::sync_warp();
  const float other = ptx::lds<float>(s + 4 * (threadIdx.x ^ 1));
  if (!p.mistaken) ptx::sync_warp();
  ptx::sts<float>(s + 4 * threadIdx.x, other);
}

void no_sync_warp_before_ldmatrix(Params p) {
  const uint32_t s = ptx::dyn_smem() + threadIdx.x / 32 * 512;
  ptx::sts<uint4>(s + 16 * (threadIdx.x % 32), make_uint4(1, 2, 3, 4));
  if (!p.mistaken) ptx::sync_warp();
  uint32_t r[4];
  ptx::ldmatrix_x4(r, s + 16 * (threadIdx.x % 32));
}

void half_the_block_at_the_barrier(Params p) {
  if (threadIdx.x < 32 || !p.mistaken) ptx::sync_block();
  if (p.mistaken && threadIdx.x >= 32)
    while (ptx::ld_acquire(p.flags) == 0) ptx::spin_pause();
}

void named_barrier_with_too_few(Params p) {
  if (threadIdx.x < 32 || !p.mistaken) ptx::bar_sync(3, 64);
}

void named_barrier_with_two_counts(Params p) {
  ptx::bar_sync(3, p.mistaken && threadIdx.x >= 32 ? 32 : 64);
}

void named_barrier_of_33(Params p) { ptx::bar_sync(3, p.mistaken ? 33 : 64); }

void sixteenth_barrier(Params p) { ptx::bar_sync(p.mistaken ? 16 : 15, 64); }

void arrivals_without_a_wait(Params p) {
  if (p.mistaken && threadIdx.x < 32) ptx::bar_arrive(2, 64);
}

// ── Warps ────────────────────────────────────────────────────────────────────────────────────────

void lanes_part_ways(Params p) {
  if (threadIdx.x % 32 < 16 || !p.mistaken)
    ptx::shfl_xor(1.0f, 1);
  else
    ptx::vote_any(true);
}

void lane_outside_its_mask(Params p) { ptx::shfl_idx(1.0f, 0, p.mistaken ? 0x0000ffffu : ~0u); }

void shuffle_from_outside_the_mask(Params p) {
  if (threadIdx.x % 32 < 16) ptx::shfl_xor(1.0f, p.mistaken ? 16 : 8, 0x0000ffffu);
}

void lanes_have_left(Params p) {
  if (p.mistaken && threadIdx.x % 32 == 5) return;
  ptx::sync_warp();
}

void lanes_skip_the_product(Params p) {
  float d[4] = {};
  const uint32_t a[4] = {};
  if (!p.mistaken || threadIdx.x % 32 != 31) ptx::mma_16816<ptx::f16>(d, a, 0, 0);
}

// ── Memory ───────────────────────────────────────────────────────────────────────────────────────

void uninitialised(Params p) {
  const uint32_t s = ptx::dyn_smem();
  if (!p.mistaken) ptx::sts<float>(s + 4 * threadIdx.x, 0.0f);
  ptx::stg(p.data + threadIdx.x, ptx::lds<float>(s + 4 * threadIdx.x));
}

void beyond_shared(Params p) {
  ptx::sts<float>(ptx::dyn_smem() + (p.mistaken ? 1024 - 63 * 4 : 0) + 4 * threadIdx.x, 0.0f);
}

void shared_pointer_without_base(Params p) {
  ptx::sts<float>((p.mistaken ? 0 : ptx::dyn_smem()) + 4 * threadIdx.x, 0.0f);
}

void misaligned_shared(Params p) {
  ptx::sts<uint2>(ptx::dyn_smem() + (p.mistaken ? 4 : 0) + 8 * threadIdx.x, make_uint2(0, 0));
}

void beyond_global(Params p) { ptx::stg(p.data + (p.mistaken ? 193 : 0) + threadIdx.x, 0.0f); }

void before_global(Params p) { ptx::stg(p.data + threadIdx.x, ptx::ldg(p.data - p.mistaken)); }

void misaligned_global(Params p) { ptx::ldg(reinterpret_cast<const float4*>(p.data + p.mistaken)); }

void atomic_beyond_global(Params p) { ptx::atomic_add(p.data + (p.mistaken ? 256 : 0), 1.0f); }

void reduction_half_outside(Params p) {
  const float values[2] = {1, 1};
  ptx::red_add<2>(p.data + (p.mistaken ? 255 : 254), values);
}

// ── Asynchronous copies ──────────────────────────────────────────────────────────────────────────

void no_wait_for_copy(Params p) {
  const uint32_t s = ptx::dyn_smem() + 16 * threadIdx.x;
  ptx::cp_async16(s, p.data + 4 * (threadIdx.x % 64));
  ptx::cp_async_commit();
  if (!p.mistaken) ptx::cp_async_wait<0>();
  ptx::stg(p.data, ptx::lds<float>(s));
  ptx::cp_async_wait<0>();
}

void no_commit(Params p) {
  const uint32_t s = ptx::dyn_smem() + 8 * threadIdx.x;
  ptx::cp_async4(s, p.data + threadIdx.x);
  if (!p.mistaken) ptx::cp_async_commit();
  ptx::cp_async4(s + 4, p.data + threadIdx.x);
  ptx::cp_async_commit();
  ptx::cp_async_wait<1>();
  ptx::stg(p.data, ptx::lds<float>(s));
  ptx::cp_async_wait<0>();
}

void one_group_too_lax(Params p) {
  const uint32_t s = ptx::dyn_smem() + 8 * threadIdx.x;
  ptx::cp_async4(s, p.data + threadIdx.x);
  ptx::cp_async_commit();
  ptx::cp_async4(s + 4, p.data + threadIdx.x);
  ptx::cp_async_commit();
  if (p.mistaken)
    ptx::cp_async_wait<1>();
  else
    ptx::cp_async_wait<0>();
  ptx::stg(p.data, ptx::lds<float>(s + 4));
  ptx::cp_async_wait<0>();
}

void waited_copy_without_barrier(Params p) {
  const uint32_t s = ptx::dyn_smem();
  ptx::cp_async4(s + 4 * threadIdx.x, p.data + threadIdx.x);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  if (!p.mistaken) ptx::sync_block();
  ptx::stg(p.data + 128 + threadIdx.x, ptx::lds<float>(s + 4 * (threadIdx.x ^ 33)));
}

void copy_over_what_is_read(Params p) {
  const uint32_t s = ptx::dyn_smem();
  ptx::sts<float>(s + 4 * threadIdx.x, 1.0f);
  ptx::sync_block();
  ptx::stg(p.data + 128 + threadIdx.x, ptx::lds<float>(s + 4 * (threadIdx.x ^ 32)));
  if (!p.mistaken) ptx::sync_block();
  ptx::cp_async4(s + 4 * threadIdx.x, p.data + threadIdx.x);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
}

void copy_from_beyond_global(Params p) {
  ptx::cp_async16(ptx::dyn_smem() + 16 * threadIdx.x,
                  p.data + (p.mistaken ? 4 : 0) + 4 * threadIdx.x);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
}

void exit_with_copy_under_way(Params p) {
  ptx::cp_async4(ptx::dyn_smem() + 4 * threadIdx.x, p.data + threadIdx.x);
  ptx::cp_async_commit();
  if (!p.mistaken) ptx::cp_async_wait<0>();
}

// ── Blocks ───────────────────────────────────────────────────────────────────────────────────────

void flag_that_nobody_sets(Params p) {
  if (!p.mistaken && blockIdx.x == 1) ptx::st_release(p.flags, 1);
  if (blockIdx.x == 0)
    while (ptx::ld_acquire(p.flags) == 0) ptx::spin_pause();
}

const std::vector<Mistake<Params>> kMistakes = {
    MISTAKE(no_barrier_before_read,
            ""),  // uninitialised or unordered: whichever the schedule meets
    MISTAKE(no_barrier_before_overwriting, "race: "),
    MISTAKE(two_writers, "race: "),
    MISTAKE(no_sync_warp, ""),
    MISTAKE(shuffle_instead_of_sync_warp, "no sync_warp between"),
    MISTAKE(no_sync_warp_before_overwriting, "no sync_warp between"),
    MISTAKE(no_sync_warp_before_ldmatrix, "race: ldmatrix"),
    MISTAKE(half_the_block_at_the_barrier, "deadlock"),
    MISTAKE(named_barrier_with_too_few, "barrier 3 (32 of 64 threads arrived)"),
    MISTAKE(named_barrier_with_two_counts, "barrier 3"),
    MISTAKE(named_barrier_of_33, "expected a multiple of 32"),
    MISTAKE(sixteenth_barrier, "a block has 0 to 15"),
    MISTAKE(arrivals_without_a_wait, "nobody waits for"),
    MISTAKE(lanes_part_ways, "divergent warp"),
    MISTAKE(lane_outside_its_mask, "lacks the calling lane"),
    MISTAKE(shuffle_from_outside_the_mask, "undefined"),
    MISTAKE(lanes_have_left, ""),  // the others name an exited lane, or it exits while they wait
    MISTAKE(lanes_skip_the_product, ""),
    MISTAKE(uninitialised, "uninitialised shared memory"),
    MISTAKE(beyond_shared, "out of bounds"),
    MISTAKE(shared_pointer_without_base, "out of bounds"),
    MISTAKE(misaligned_shared, "misaligned"),
    MISTAKE(beyond_global, "out of bounds: global write"),
    MISTAKE(before_global, "out of bounds: global read"),
    MISTAKE(misaligned_global, "misaligned"),
    MISTAKE(atomic_beyond_global, "out of bounds: global atomic"),
    MISTAKE(reduction_half_outside, "out of bounds: global atomic"),
    MISTAKE(no_wait_for_copy, "copy in flight"),
    MISTAKE(no_commit, "copy in flight"),
    MISTAKE(one_group_too_lax, "copy in flight"),
    MISTAKE(waited_copy_without_barrier, ""),
    MISTAKE(copy_over_what_is_read, "race: "),
    MISTAKE(copy_from_beyond_global, "out of bounds: global read"),
    MISTAKE(exit_with_copy_under_way, "never waited for"),
    MISTAKE(flag_that_nobody_sets, "deadlock"),
};

Params make(bool mistaken) {
  Params params{static_cast<float*>(simt::allocate_global(1024)),
                static_cast<int*>(simt::allocate_global(32)), mistaken};
  for (int i = 0; i < 256; ++i) params.data[i] = 1.0f;
  for (int i = 0; i < 8; ++i) params.flags[i] = 0;
  return params;
}

void release(const Params& params) {
  simt::free_global(params.data);
  simt::free_global(params.flags);
}

}  // namespace

int main() { return run_mistakes(kMistakes, 64, 1024, make, release) ? EXIT_FAILURE : 0; }
