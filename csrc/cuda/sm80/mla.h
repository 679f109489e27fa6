// Attention over heads of 257 to 576 dims, first of all the latents of multi-head latent attention
// in absorbed form (MLA; DeepSeek-V2 2024, section 2.1 and appendix C): one kv head that all query
// heads share, whose values are the first dims of its keys. A tile of such keys is that of its
// values, and read once. Rows are queries times heads. Options are those of the decode kernel.
#pragma once

#include "cuda/device/poison.h"
#include "cuda/device/score_tile.h"
#include "cuda/sm80/mla_copies.h"
#include "cuda/sm80/mla_output.h"
#include "cuda/sm80/mla_params.h"
#include "cuda/sm80/mla_poison.h"
#include "cuda/sm80/mla_products.h"

namespace fa::cuda::sm80 {

template <class T, int kTileRows>
__global__ void __launch_bounds__(MlaTraits<T, kTileRows>::kThreads,
                                  MlaTraits<T, kTileRows>::kMla.blocks)
    mla(const __grid_constant__ MlaParams params) {
  using Traits = MlaTraits<T, kTileRows>;
  using RowTile = typename Traits::RowTile;
  using KeyTile = typename Traits::KeyTile;
  using ValueTile = typename Traits::ValueTile;
  constexpr int kThreads = Traits::kThreads;
  const ForwardParams& p = params.forward;
  const AttentionParams& a = p.attention;
  const bool in_keys = params.values_in_keys;
  if (without_work(p.splits, p.head_blocks)) return;
  ptx::launch_dependents();
  const ForwardBlock block(p, static_cast<int>(blockIdx.x), kTileRows);
  const PackedRows& rows = block.rows;

  const uint32_t smem = ptx::dyn_smem();
  const uint32_t k_tiles = smem + RowTile::kBytes;
  const uint32_t weights = smem + Traits::kWeights;
  const Window window = window_of(a, block.sequence);
  const int i0 = rows.query_begin(block.row0), i1 = rows.query_end(block.row0 + kTileRows);
  const TileRange n_blocks = n_blocks_of<Traits>(block, window);
  const auto classify = [&](int n_block) {
    return window.classify(i0, i1, n_block * kMlaKeys, (n_block + 1) * kMlaKeys);
  };
  const auto after = [&](int n_block) {
    do ++n_block;
    while (n_block < n_blocks.end && classify(n_block) == TileKind::kSkip);
    return n_block;
  };

  const KeyRows<T, true> keys(a, a.k, block.sequence, block.batch, block.kv_head);
  const KeyRows<T, true> values(a, a.v, block.sequence, block.batch, block.kv_head);
  const int panels = (a.head_dim + kMlaPanel - 1) / kMlaPanel;
  TileSource<T, Traits> source;  // of the tile of keys that is to be copied next
  const auto find_keys = [&](int n_block) {
    if (n_block < n_blocks.end) source.find(keys, n_block * kMlaKeys, window.seqlen_k);
  };
  const auto load_keys = [&](uint32_t to, int n_block) {
    if (n_block < n_blocks.end) source.load(to, window.seqlen_k - n_block * kMlaKeys, a.head_dim);
    ptx::cp_async_commit();
  };
  const auto load_values = [&](uint32_t to, int n_block) {
    TileSource<T, Traits> of_values;
    of_values.find(values, n_block * kMlaKeys, window.seqlen_k);
    of_values.load(to, window.seqlen_k - n_block * kMlaKeys, a.head_dim_v);
    ptx::cp_async_commit();
  };
  int n_block = after(n_blocks.begin - 1), next = after(n_block);
  if (n_block < n_blocks.end) load_wide_queries<T, Traits>(smem, a, block);
  find_keys(n_block);
  load_keys(k_tiles, n_block);
  find_keys(next);

  WideSoftmax<Traits> softmax;
  typename Traits::Output o = {};
  bool any_poison = false;
  // Latents take two tiles in turns, and the next one is under way while one is worked on. Values
  // of their own have the second one, and arrive during S = Q K^T, the next keys during P V.
  uint32_t k_tile = k_tiles, other = k_tiles + KeyTile::kBytes;
  while (n_block < n_blocks.end) {
    const int key0 = n_block * kMlaKeys;
    const uint32_t v_tile = in_keys ? k_tile : other;
    ptx::cp_async_wait<0>();
    ptx::sync_block();  // K has arrived for all, and all are done with the V before
    if (in_keys)
      load_keys(other, next);
    else
      load_values(other, n_block);
    const bool partial = classify(n_block) != TileKind::kFull;

    typename Traits::Scores s;
    multiply_wide_queries<T, Traits>(s, smem, k_tile, panels);
    const WarpPart<Traits> part;
    apply_options<T, false>(a, window, rows, block.batch, block.row0 + part.row0, key0 + part.key0,
                            partial, s);
    softmax.tell(smem, s);
    ptx::sync_block();  // maxima have been told, and all are done with this K's scores
    if (!in_keys) load_keys(k_tile, next);
    softmax.exponentiate(smem, s);
    store_weights<T, Traits>(weights, s);
    if (!in_keys) ptx::cp_async_wait<1>();
    // Weights and factors are there, and V has arrived for all.
    ptx::sync_block();
    if (partial && ptx::sync_block_or(chunks_poisoned<ValueTile, T, kThreads>(v_tile))) {
      any_poison = true;
      clear_poison<ValueTile, T, kThreads>(v_tile);
      ptx::sync_block();
    }
    WideSoftmax<Traits>::rescale(smem, o);
    multiply_wide_values<T, Traits>(o, weights, v_tile);

    if (in_keys) {
      other = k_tile;
      k_tile = k_tiles + KeyTile::kBytes - (k_tile - k_tiles);
    }
    n_block = next;
    next = after(next);
    find_keys(next);
  }

  end_behind_primary();
  const ForwardBlock done = block_again(p, kTileRows);
  finish_wide_rows<Traits>(p, done, smem, softmax, o);
  store_wide_rows<T, Traits>(p, done, o);
  if (!any_poison) return;
  ptx::sync_block();  // rows have been stored by all of their warps
  restore_wide_poison<T, Traits>(p, this_thread(), kThreads);
}

template <KernelImage kImage, class T, int kTileRows>
MlaKernel mla_entry() {
  return mla<T, kTileRows>;
}

}  // namespace fa::cuda::sm80
