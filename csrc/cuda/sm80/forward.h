// Attention forward on mma.sync (FlashAttention-2: Dao 2023, Algorithm 1). A block takes a tile of
// query rows and walks over the tiles of keys they see; scores live in registers and nowhere else.
// Per warp: 16 or 32 rows, all keys, the whole width of the output.
#pragma once

#include "cuda/device/dropout.h"
#include "cuda/device/key_scales.h"
#include "cuda/device/score_tile.h"
#include "cuda/sm80/forward_output.h"
#include "cuda/sm80/forward_products.h"

namespace fa::cuda::sm80 {

template <class T, bool kFeatured, int kIndex>
static __global__ void __launch_bounds__(ForwardTraits<T, kFeatured, kIndex>::kThreads, 1)
    forward(const __grid_constant__ ForwardParams p) {
  using Traits = ForwardTraits<T, kFeatured, kIndex>;
  using RowTile = typename Traits::RowTile;
  using KeyTile = typename Traits::KeyTile;
  constexpr int kStages = Traits::kStages, kThreads = Traits::kThreads, kKeys = KeyTile::kRows;
  const AttentionParams& a = p.attention;
  if (kFeatured && without_work(p.splits, p.head_blocks)) return;
  ptx::launch_dependents();
  const ForwardBlock block(p, static_cast<int>(blockIdx.x), RowTile::kRows);
  const PackedRows& rows = block.rows;

  const uint32_t q_tile = ptx::dyn_smem();
  const uint32_t k_tiles = q_tile + RowTile::kBytes;
  const uint32_t v_tiles = k_tiles + kStages * KeyTile::kBytes;
  const auto warp_row = [] { return this_thread() / 32 * 16 * Traits::kRowTiles; };
  const Window window = window_or_tree_of<kFeatured>(a, block.sequence);
  const TileMask<kFeatured> mask{window, &a, block.batch, rows.head0};
  const int block_i0 = rows.query_begin(block.row0);
  // Opaque, so that it is worked out for every tile and not kept in a register.
  const auto block_i1 = [&] { return rows.query_end(ptx::opaque(block.row0) + RowTile::kRows); };
  // Keys that the warp's rows see lie before this one: above the diagonal a warp has nothing to do.
  const auto warp_end = [&] {
    const int row0 = block.row0 + warp_row();
    const int row1 = row0 + 16 * Traits::kRowTiles;
    return row0 < rows.count ? window.end(rows.query_end(row1) - 1) : 0;
  };
  const TileRange n_blocks = n_blocks_of<Traits>(block, window);
  const auto after = [&](int n_block) {
    do ++n_block;
    while (kFeatured && n_block < n_blocks.end &&
           mask.classify(block_i0, block_i1(), n_block * kKeys, (n_block + 1) * kKeys) ==
               TileKind::kSkip);
    return n_block;
  };

  // K and V arrive in turns, every tile a group of copies of its own: K0 V0 K1 V1 ... While one
  // tile is worked on the next kStages - 1 are complete or on their way, and half of the one after.
  const KeyRows<T, kFeatured> keys(a, a.k, block.sequence, block.batch, block.kv_head);
  const KeyRows<T, kFeatured> values(a, a.v, block.sequence, block.batch, block.kv_head);
  const auto load = [&](const KeyRows<T, kFeatured>& from, const RowScales& scales, uint32_t to,
                        int columns, int n_block) {
    if (n_block < n_blocks.end) {
      // Opaque, or the compiler would keep a pointer for every chunk and count each of them up.
      const int key0 = ptx::opaque(n_block * kKeys);
      const int rows_there = window.seqlen_k - key0;
      if (kFeatured && a.converted)
        load_converted_tile<KeyTile, T, kThreads>(
            to, key0, rows_there, columns,
            ConvertedRows<T>{a, from.tensor, scales, block.batch, block.kv_head});
      else
        load_tile<KeyTile, T, kThreads, kFeatured>(to, rows_there, columns, a.aligned,
                                                   from.tensor.dim,
                                                   [&](int row) { return from.row(key0 + row); });
    }
    ptx::cp_async_commit();
  };
  const auto load_keys = [&](int n_block, int stage) {
    load(keys, a.k_scales, k_tiles + static_cast<uint32_t>(stage * KeyTile::kBytes), a.head_dim,
         n_block);
  };
  const auto load_values = [&](int n_block, int stage) {
    load(values, a.v_scales, v_tiles + static_cast<uint32_t>(stage * KeyTile::kBytes), a.head_dim_v,
         n_block);
  };
  int ahead[kStages + 1];  // n_blocks: the current one and those that follow
  ahead[0] = after(n_blocks.begin - 1);
#pragma unroll
  for (int n = 1; n <= kStages; ++n) ahead[n] = after(ahead[n - 1]);
  if (ahead[0] < n_blocks.end) {
    load_tile<RowTile, T, kThreads, kFeatured>(
        q_tile, rows.count - block.row0, a.head_dim, a.aligned, a.q.dim,
        [&](int row) { return packed_row<T>(a.q, block, block.row0 + row); });
  }
  load_keys(ahead[0], 0);
#pragma unroll
  for (int n = 1; n < kStages; ++n) {
    load_values(ahead[n - 1], n - 1);
    load_keys(ahead[n], n);
  }

  constexpr int kInFlight = 2 * (kStages - 1);
  // Scores are products still in a plain kernel, and complete in a featured one: see OnlineSoftmax.
  const float scale = kFeatured ? 1.f : a.scale_log2, to_base_2 = kFeatured ? kLog2E : 1.f;
  OnlineSoftmax<Traits::kRowTiles> softmax(kLeastMaximum<kFeatured>);
  typename Traits::Output o = {};
  ValueUnits<Traits::kRowTiles> units;
  const auto scales_of = [&](const RowScales& scales) {
    return KeyScales{a, scales, window.seqlen_k, block.batch, block.kv_head};
  };
  bool any_poison = false;
  for (int stage = 0; ahead[0] < n_blocks.end; stage = (stage + 1) % kStages) {
    const int key0 = ahead[0] * kKeys;
    const uint32_t k_tile = k_tiles + static_cast<uint32_t>(stage * KeyTile::kBytes);
    const uint32_t v_tile = v_tiles + static_cast<uint32_t>(stage * KeyTile::kBytes);
    const bool partial = mask.hides_pairs(block_i0, block_i1(), key0, key0 + kKeys);
    const bool working = key0 < warp_end();

    typename Traits::Scores s;
    ptx::cp_async_wait<kInFlight>();
    ptx::sync_block();  // K has arrived for all, and all are done with the V before
    load_values(ahead[kStages - 1], (stage + kStages - 1) % kStages);
    if (working) multiply_queries_keys<T, Traits>(s, q_tile, k_tile, warp_row());

    ptx::cp_async_wait<kInFlight>();
    // V has arrived for all, and all are done with this K.
    const bool poisoned =
        ptx::sync_block_or(partial && chunks_poisoned<KeyTile, T, kThreads>(v_tile));
    load_keys(ahead[kStages], stage);
    if (poisoned) {
      any_poison = true;
      clear_poison<KeyTile, T, kThreads>(v_tile);
      ptx::sync_block();
    }
    if (working) {
      if (kFeatured && a.k_scales.data != nullptr) scale_scores(scales_of(a.k_scales), key0, s);
      if (kFeatured || partial)
        modify_scores<T, kFeatured>(a, window, rows, block.batch, block.row0 + warp_row(), key0,
                                    partial, s);
      softmax.update(s, o, scale, to_base_2);
      if constexpr (kFeatured) {
        if (a.dropout.enabled) drop_out(a, rows, block.batch, block.row0 + warp_row(), key0, s);
        if (a.v_scales.data != nullptr) units.scale_weights(scales_of(a.v_scales), key0, s, o);
      }
      multiply_weights_values<T, Traits>(o, Weights<T, Traits::kRowTiles, Traits::kKeyTiles>(s),
                                         v_tile);
    }
#pragma unroll
    for (int n = 0; n < kStages; ++n) ahead[n] = ahead[n + 1];
    ahead[kStages] = after(ahead[kStages]);
  }

  if constexpr (kFeatured) end_behind_primary();  // others have the longest rows: a call's first
  const ForwardBlock done = block_again(p, RowTile::kRows);
  const int done_row0 = done.row0 + warp_row();
  if (done_row0 >= done.rows.count) return;
  if (kFeatured && a.v_scales.data != nullptr) units.finish(o);
  const uint32_t extreme = finish_rows<T, Traits, kFeatured>(p, done, done_row0, softmax, o);
  const bool split = !done.part.alone();
  if constexpr (sizeof(T) == 4) {
    store_float32<Traits>(p, done, done_row0, split || a.aligned, o);
  } else {
    if (split)
      store_float32<Traits>(p, done, done_row0, true, o);
    else
      store_rounded<T, Traits>(p, done, done_row0, warp_row(), q_tile, a.aligned, o);
  }
  if constexpr (!kFeatured) {
    if (extreme != 0) attend_naturally<T, Traits>(p, warp_row(), extreme);
  }
  if (any_poison) restore_poison<T, Traits, kFeatured>(p, warp_row());
}

template <KernelImage kImage, class T, bool kFeatured, int kIndex>
ForwardKernel forward_entry() {
  return forward<T, kFeatured, kIndex>;
}

}  // namespace fa::cuda::sm80
