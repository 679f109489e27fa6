// Compiled by nvcc for sm_90a, never run: as every_wrapper.cu, for what only Hopper has.
#include "cuda/ptx/ptx.h"

namespace {

struct Params {
  ptx::tensor_map map;
  float* floats;
  uint32_t* words;
};

template <class T, int N>
PTX_FN void products(const Params& p, uint32_t shared) {
  constexpr bool k16Bit = !std::is_same_v<T, ptx::e4m3>;
  const uint64_t a = ptx::desc_sw128(shared, 0, 1024);
  const uint64_t b = ptx::desc_advance(ptx::desc_sw128(shared + 8192, 4096, 1024), 32);
  const uint32_t fragment[4] = {p.words[0], p.words[1], p.words[2], p.words[3]};
  float d[N / 2];
  ptx::wgmma_fence(d);
  ptx::wgmma_ss<T>(d, a, b, false);
  ptx::wgmma_rs<T>(d, fragment, b, true);
  if constexpr (k16Bit) {
    ptx::wgmma_ss<T, 0, 1>(d, a, b, true);
    ptx::wgmma_ss<T, 1, 0>(d, a, b, true);
    ptx::wgmma_ss<T, 1, 1>(d, a, b, p.words[4] != 0);
    ptx::wgmma_rs<T, 1>(d, fragment, b, p.words[5] != 0);
  }
  ptx::wgmma_commit();
  ptx::schedule_fence();
  ptx::wgmma_wait<0>(d);
  for (int i = 0; i < N / 2; ++i) ptx::stg(p.floats + i, d[i]);
}

template <class T>
PTX_FN void all_products(const Params& p, uint32_t shared) {
  products<T, 32>(p, shared);
  products<T, 40>(p, shared);
  products<T, 64>(p, shared);
  products<T, 80>(p, shared);
  products<T, 96>(p, shared);
  products<T, 128>(p, shared);
  products<T, 192>(p, shared);
  products<T, 256>(p, shared);
}

}  // namespace

__global__ void __launch_bounds__(128) every_wgmma(const __grid_constant__ Params p) {
  const uint32_t shared = ptx::dyn_smem();
  all_products<ptx::f16>(p, shared);
  all_products<ptx::bf16>(p, shared);
  all_products<ptx::e4m3>(p, shared);
}

__global__ void __launch_bounds__(384, 1) every_wrapper_sm90(const __grid_constant__ Params p) {
  const uint32_t shared = ptx::dyn_smem();
  PTX_SHARED(uint64_t, barrier, 1);
  if (threadIdx.x == 0) {
    ptx::tma_prefetch(&p.map);
    ptx::mbar_init(barrier, 33);
    ptx::fence_mbar_init();
  }
  ptx::sync_block();
  if (threadIdx.x < 128) {
    ptx::setmaxnreg_dec<40>();
    if (threadIdx.x < 32 && ptx::elect_one()) {
      ptx::mbar_arrive_expect_tx(barrier, 6 * 2048 + 16);
      ptx::tma_load_2d(shared, &p.map, barrier, 1, 2);
      ptx::tma_load_3d(shared + 2048, &p.map, barrier, 1, 2, 3);
      ptx::tma_load_4d(shared + 4096, &p.map, barrier, 1, 2, 3, 4);
      ptx::tma_load_5d(shared + 6144, &p.map, barrier, 1, 2, 3, 4, 5);
      ptx::tma_load_4d(shared + 2048, &p.map, barrier, ptx::evict_last(), 1, 2, 3, 4);
      ptx::tma_load_5d(shared + 6144, &p.map, barrier, ptx::evict_first(), 1, 2, 3, 4, 5);
      ptx::bulk_load(shared + 8192, p.words, 16, barrier);
    }
    if (threadIdx.x >= 96) {
      ptx::cp_async16(shared + 8192 + 16 * threadIdx.x, p.words);
      ptx::cp_async_mbar_arrive(barrier);
    }
    return;
  }
  ptx::setmaxnreg_inc<232>();
  if (!ptx::mbar_try_wait(barrier, 0)) ptx::mbar_wait(barrier, 0);
  const uint32_t packed = ptx::pack4_e4m3(1, 2, 3, float(threadIdx.x));
  uint32_t r[4] = {ptx::unpack2_e4m3(uint16_t(packed)),
                   ptx::permute_bytes(packed, p.words[0], 0x5410), packed, packed};
  ptx::unpack4_e4m3(reinterpret_cast<uint32_t(&)[2]>(r[2]), packed);
  ptx::stmatrix_x4(shared + 16 * (threadIdx.x % 32), r);
  ptx::stmatrix_x4_trans(shared + 512 + 16 * (threadIdx.x % 32), r);
  ptx::fence_proxy_async();
  ptx::bar_sync(1, 256);
  if (threadIdx.x == 128) {
    ptx::tma_store_2d(&p.map, shared, 1, 2);
    ptx::tma_store_3d(&p.map, shared, 1, 2, 3);
    ptx::tma_store_4d(&p.map, shared, 1, 2, 3, 4);
    ptx::tma_store_5d(&p.map, shared, 1, 2, 3, 4, 5);
    ptx::tma_reduce_add_3d(&p.map, shared, 1, 2, 3);
    ptx::tma_reduce_add_4d(&p.map, shared, 1, 2, 3, 4);
    ptx::bulk_store(p.words, shared, 64);
    ptx::bulk_reduce_add_f32(p.floats, shared, 64);
    ptx::bulk_commit();
    ptx::bulk_wait_read<1>();
    ptx::bulk_wait<0>();
    ptx::mbar_arrive(barrier);
    ptx::mbar_inval(barrier);
  }
  ptx::stg(p.floats + threadIdx.x,
           float(ptx::swizzle128(threadIdx.x) + ptx::swizzle64(threadIdx.x) +
                 ptx::swizzle32(threadIdx.x)));
}
