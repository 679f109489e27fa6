// Attention of few query rows over many keys: decoding. The rows that share a kv head, 16 at most,
// are one tile for all warps of a block; every warp walks over tiles of keys of its own, with
// copies of its own in flight, and meets the others once, when all keys are in: Flash-Decoding (Dao
// et al. 2023) inside a block, as between blocks.
#pragma once

#include "cuda/device/fragment.h"
#include "cuda/device/score_tile.h"
#include "cuda/sm80/decode_codes.h"
#include "cuda/sm80/decode_output.h"
#include "cuda/sm80/forward_output.h"
#include "cuda/sm80/forward_products.h"

namespace fa::cuda::sm80 {

/** A number that all lanes have, in a way that the compiler sees: branches on it are cheap. */
PTX_FN int warp_uniform(int value) { return ptx::shfl_idx(value, 0); }

/** Whether scores are more than products times a scale, within a window. */
PTX_FN bool has_options(const AttentionParams& a) {
  return a.softcap > 0 || a.alibi_slopes != nullptr || a.sink_tokens > 0 ||
         !(a.scale > 0 && a.scale <= 1);
}

/**
 * kFeatured: softcap, ALiBi, sinks, sink tokens, any scale. Else a window at most. Over codes there
 * is the featured kernel alone, which looks once a tile whether there are options.
 */
template <class T, int kWidth, bool kFeatured>
static __global__ void __launch_bounds__(DecodeTraits<T, kWidth>::kThreads,
                                         DecodeTraits<T, kWidth>::kDecode.blocks)
    decode(const __grid_constant__ ForwardParams p) {
  using Traits = DecodeTraits<T, kWidth>;
  using RowTile = typename Traits::RowTile;
  using KeyTile = typename Traits::KeyTile;
  constexpr bool kCodes = Traits::kCodes;
  constexpr int kKeys = KeyTile::kRows;
  static_assert(!kCodes || (kFeatured && kKeys % 32 == 0));
  const AttentionParams& a = p.attention;
  if (without_work(p.splits, p.head_blocks)) return;
  ptx::launch_dependents();
  const ForwardBlock block(p, static_cast<int>(blockIdx.x), kDecodeRows);
  const PackedRows& rows = block.rows;

  const int warp = warp_uniform(this_thread() / 32);
  const uint32_t q_tile = ptx::dyn_smem();
  const uint32_t tiles = q_tile + RowTile::kBytes;
  const uint32_t k_tile = tiles + static_cast<uint32_t>(2 * warp * KeyTile::kBytes);
  const uint32_t v_tile = k_tile + KeyTile::kBytes;
  // Of codes: the factors of the rows of Q, then every warp's scales of keys and values.
  const uint32_t factors = tiles + 2 * kDecodeWarps * KeyTile::kBytes;
  const uint32_t k_scales = scale_at(factors, kDecodeRows + 2 * warp * kKeys);
  const uint32_t v_scales = scale_at(k_scales, kKeys);
  const bool e4m3 = a.key_dtype == static_cast<int>(DType::kFloat8E4M3);
  const bool upper_rows = warp_uniform(rows.count) > 8;  // rows g + 8 of a lane
  const bool options = kFeatured && (!kCodes || has_options(a));
  const Window window = window_of(a, block.sequence);
  const int i0 = rows.query_begin(0), i1 = rows.query_end(kDecodeRows);
  const TileRange visible = n_blocks_of<Traits>(block, window);
  const TileRange n_blocks = {warp_uniform(visible.begin), warp_uniform(visible.end)};

  // A warp's tiles are every fourth one. Between the sink tokens and the window is nothing to see.
  const int window_block = kFeatured ? window.begin(i0) / kKeys : 0;
  const auto from = [&](int n_block) {
    if (!kFeatured || n_block >= window_block || n_block * kKeys < window.sink_tokens)
      return n_block;
    return n_block + (window_block - n_block + kDecodeWarps - 1) / kDecodeWarps * kDecodeWarps;
  };
  const auto find = [&](int n_block) {
    return n_block < n_blocks.end
               ? find_keys<kKeys>(a, block.sequence, block.batch, n_block * kKeys)
               : LaneKeys<kKeys>{};
  };
  const TileCopies<T, KeyTile> keys(a.k, a.k_scales, block.kv_head, a.head_dim, k_tile, k_scales);
  const TileCopies<T, KeyTile> values(a.v, a.v_scales, block.kv_head, a.head_dim_v, v_tile,
                                      v_scales);
  const auto load = [&](const TileCopies<T, KeyTile>& tiles, int n_block,
                        const LaneKeys<kKeys>& at) {
    if (n_block < n_blocks.end) tiles.load(at, window.seqlen_k - n_block * kKeys);
    ptx::cp_async_commit();
  };
  if constexpr (!kCodes) {
    constexpr int kLoaders = 2;  // warps: four have more rows at a time than there are
    if (warp < kLoaders && n_blocks.begin < n_blocks.end)
      load_tile<RowTile, T, kLoaders * 32, false>(
          q_tile, rows.count, a.head_dim, true, 1,
          [&](int row) { return packed_row<T>(a.q, block, row); });
    ptx::cp_async_commit();
  }
  int n_block = from(n_blocks.begin + warp);
  const int first_block = n_block;
  const LaneKeys<kKeys> first = find(n_block);
  load(keys, n_block, first);
  load(values, n_block, first);
  if constexpr (kCodes)
    load_queries<Traits>(p, block, q_tile, factors);
  else
    ptx::cp_async_wait<2>();
  ptx::sync_block();  // Q has arrived

  const float to_base_2 = kFeatured ? kLog2E : 1.f;
  float scale[2] = {kFeatured ? 1.f : a.scale_log2, kFeatured ? 1.f : a.scale_log2}, factor[2];
  if constexpr (kCodes) {
    for (int h = 0; h < 2; ++h) {
      factor[h] = ptx::lds<float>(scale_at(factors, LanePosition().g + 8 * h));
      if (!options) scale[h] = factor[h];
    }
  }
  OnlineSoftmax<1> softmax(kLeastMaximum<kFeatured>);
  WeightUnits units;
  typename Traits::Output o = {};
  bool any_poison = false;
  while (n_block < n_blocks.end) {
    const int key0 = n_block * kKeys;
    const bool is_first = n_block == first_block;
    const bool partial = window.classify(i0, i1, key0, key0 + kKeys) != TileKind::kFull;
    n_block = from(n_block + kDecodeWarps);
    const LaneKeys<kKeys> next = find(n_block);  // known by the time it is needed

    typename Traits::Scores s;
    ptx::cp_async_wait<1>();
    if constexpr (kCodes) prepare_key_scales<kKeys>(k_scales, options ? 1.f : a.scale);
    ptx::sync_warp();  // K has arrived for all lanes
    if constexpr (kCodes) {
      multiply_queries_codes<Traits>(s, q_tile, k_tile, e4m3);
      scale_columns(s, k_scales);
    } else {
      multiply_queries_keys<T, Traits>(s, q_tile, k_tile, 0);
    }
    ptx::sync_warp();  // and all are done with it, as ldmatrix makes sure too
    load(keys, n_block, next);

    if (kCodes && options) multiply_rows(s, factor);
    if (options)
      apply_options<T, false>(a, window, rows, block.batch, 0, key0, partial, s);
    else if (partial)
      modify_scores<T, false>(a, window, rows, block.batch, 0, key0, true, s);
    float alpha[2];
    bool rescales = softmax.exponentiate(s, alpha, scale, to_base_2, 0, upper_rows);

    bool level = true;
    ptx::cp_async_wait<1>();
    if constexpr (kCodes)
      level = units.prepare<kKeys>(v_scales, partial, is_first, alpha, rescales, any_poison);
    ptx::sync_warp();  // V has arrived for all lanes
    if constexpr (kCodes) {
      if (level)
        scale_columns(s, v_scales);
      else
        rescales |= units.scale_rows(s, v_scales, alpha);
    }
    if (rescales) softmax.rescale(o, alpha);
    if (partial && (!kCodes || e4m3) && ptx::vote_any(chunks_poisoned<KeyTile, T, 32>(v_tile))) {
      any_poison = true;
      clear_poison<KeyTile, T, 32>(v_tile);
      ptx::sync_warp();
    }
    if constexpr (kCodes)
      multiply_weights_codes<Traits>(o, s, v_tile, e4m3);
    else
      multiply_weights_values<T, Traits>(o, Weights<T, 1, Traits::kKeyTiles>(s), v_tile);
    ptx::sync_warp();
    load(values, n_block, next);
  }

  ptx::cp_async_wait<0>();
  any_poison = ptx::sync_block_or(any_poison);  // all are done with their tiles
  if constexpr (kCodes) units.finish(o);
  merge_warps<Traits>(softmax, o, tiles, to_base_2);
  if (warp > 0) return;
  end_behind_primary();
  const ForwardBlock done = block_again(p, kDecodeRows);
  const uint32_t extreme = finish_rows<T, Traits, kFeatured>(p, done, 0, softmax, o);
  if constexpr (kCodes)
    store_codes<Traits>(p, done, o);
  else
    store_pairs<T, Traits>(p, done, o);
  if constexpr (!kFeatured) {
    if (extreme != 0) attend_naturally<T, Traits>(p, 0, extreme);
  }
  if (any_poison) restore_poison<T, Traits, kFeatured>(p, 0);
}

template <KernelImage kImage, class T, int kWidth, bool kFeatured>
ForwardKernel decode_entry() {
  return decode<T, kWidth, kFeatured>;
}

}  // namespace fa::cuda::sm80
