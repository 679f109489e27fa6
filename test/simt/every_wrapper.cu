// Compiled by nvcc for every architecture, never run: instantiates each wrapper of csrc/cuda/ptx,
// so that ptxas reads all of the inline assembly, kernels or not.
#include "cuda/ptx/ptx.h"

namespace {

struct Params {
  float* floats;
  int* ints;
  uint4* wide;
};

template <class T>
PTX_FN void conversions_and_products(const Params& p, uint32_t shared) {
  uint32_t a[4], b[2];
  float d[4] = {};
  ptx::ldmatrix_x4(a, shared);
  ptx::ldmatrix_x4_trans(a, shared + 64);
  ptx::ldmatrix_x2(b, shared);
  ptx::ldmatrix_x2_trans(b, shared + 32);
  ptx::mma_16816<T>(d, a, b[0], b[1]);
  const float2 pair = ptx::unpack2<T>(ptx::pack2<T>(d[0], d[1]));
  ptx::stg(p.floats, pair.x + pair.y + d[2] + d[3] + ptx::to_float(ptx::from_float<T>(d[3])));
}

template <class T>
PTX_FN void loads_and_stores(const Params& p, uint32_t shared) {
  T* pointer = reinterpret_cast<T*>(p.wide);
  const T value = ptx::ldg(pointer + 1);
  ptx::sts<T>(shared, value);
  ptx::sync_warp();
  ptx::stg(pointer, ptx::lds<T>(shared + sizeof(T)));
}

}  // namespace

__global__ void __launch_bounds__(128) every_wrapper(const __grid_constant__ Params p) {
  const uint32_t shared = ptx::dyn_smem();
  PTX_SHARED(float, fixed, 32);

  conversions_and_products<ptx::f16>(p, shared);
  conversions_and_products<ptx::bf16>(p, shared);
  loads_and_stores<uint8_t>(p, shared);
  loads_and_stores<uint16_t>(p, shared);
  loads_and_stores<uint32_t>(p, shared);
  loads_and_stores<uint2>(p, shared);
  loads_and_stores<uint4>(p, shared);

  float d[4] = {};
  const uint32_t a[4] = {ptx::to_tf32(1.5f), ptx::float_bits(2.0f), 0, 0};
  ptx::mma_1688_tf32(d, a, a[0], a[1]);
  d[0] += ptx::exp2_approx(d[1]) + ptx::log2_approx(d[2]) + ptx::rcp_approx(d[3]);
  d[0] += ptx::tanh_approx(d[1]) + ptx::float_from_bits(a[1]);

  d[1] += float(ptx::add2_f16(a[0], ptx::multiply2_f16(a[0], a[1])));

  d[1] += ptx::ldg_stream(p.floats) + float(ptx::ldg_stream(reinterpret_cast<uint2*>(p.wide)).x);
  d[1] += float(ptx::ldg_stream(p.wide).w);
  d[1] += float(*ptx::advance<16>(reinterpret_cast<const char*>(p.floats), a[0]));
  ptx::prefetch_l2(p.floats);
  ptx::sts<float>(fixed + 4 * (threadIdx.x % 32), d[1]);

  ptx::launch_dependents();
  ptx::wait_for_primary();
  ptx::cp_async16(shared, p.wide, threadIdx.x < 4);
  ptx::cp_async8(shared + 16, p.wide);
  ptx::cp_async4(shared + 24, p.wide);
  ptx::cp_async_commit();
  ptx::cp_async_wait<1>();
  ptx::cp_async_wait<0>();
  ptx::sync_block();
  if (ptx::sync_block_or(ptx::opaque(p.ints[1]) == 7)) d[3] += 1;

  if (threadIdx.x < 64)
    ptx::bar_sync(1, 128);
  else
    ptx::bar_arrive(1, 128);

  d[2] += ptx::shfl_xor(d[2], 1) + ptx::shfl_idx(d[2], 0) + ptx::shfl_down(d[2], 2);
  d[2] += float(ptx::shfl_up(p.ints[0], 1));
  uint32_t votes = ptx::vote_ballot(d[2] > 0);
  votes += ptx::vote_any(d[2] > 1) + ptx::vote_all(d[2] > 2);

  d[3] += ptx::atomic_add(p.floats, 1.0f) + ptx::smem_atomic_add(fixed, 1.0f);
  votes +=
      uint32_t(ptx::atomic_add(p.ints, 1) + ptx::atomic_or(p.ints, 2) + ptx::atomic_max(p.ints, 3));
  votes += uint32_t(ptx::atomic_count(p.ints, 7));
  votes += uint32_t(ptx::smem_atomic_add(fixed, 1) + ptx::atomic_inc_acq_rel(p.ints));
  while (ptx::ld_acquire(p.ints) == 0) ptx::spin_pause();
  ptx::fence_gpu();
  ptx::st_release(p.ints, int(votes));
  ptx::red_add<1>(p.floats, {d[0]});
  ptx::red_add<2>(p.floats, {d[0], d[1]});
  ptx::red_add<4>(p.floats, d);
}
