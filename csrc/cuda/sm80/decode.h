// Attention of few query rows over many keys: decoding. The rows that share a kv head, 16 at most,
// are one tile for all warps of a block; every warp walks over tiles of keys of its own, with
// copies of its own in flight, and meets the others once, when all keys are in: Flash-Decoding (Dao
// et al. 2023) inside a block, as between blocks.
#pragma once

#include "cuda/device/fragment.h"
#include "cuda/sm80/decode_tiles.h"
#include "cuda/sm80/forward_output.h"
#include "cuda/sm80/forward_products.h"

namespace fa::cuda::sm80 {

template <class T, int kWidth>
struct DecodeTraits {
  static constexpr DecodeTile kDecode = decode_tile(kWidth);
  static_assert(kDecode.width == kWidth && sizeof(T) == 2);
  static constexpr ForwardTile kTile = {kWidth, kDecodeRows, kDecode.keys, kDecodeWarps, 1};
  static constexpr int kThreads = kDecodeWarps * 32;
  static constexpr int kRowTiles = 1;
  static constexpr int kKeyTiles = kDecode.keys / 8;
  static constexpr int kColumnTiles = kWidth / 8;
  static constexpr bool kPaged = true, kConverts = false;
  using RowTile = SharedTile<T, kDecodeRows, kWidth>;
  using KeyTile = SharedTile<T, kDecode.keys, kWidth>;
  using Scores = float[1][kKeyTiles][4];
  using Output = float[1][kColumnTiles][4];
};

/** Where one key's rows of K and V lie: bytes from the first ones of their head. */
struct KeyOffsets {
  int64_t k, v;
};

/** The keys of a sequence, of which each lane of a warp looks up one for all. */
template <class T>
struct KeyLookup {
  const AttentionParams& a;
  const SequenceRows& sequence;
  int batch;

  PTX_FN KeyOffsets of(int key) const {
    const Pages& pages = a.pages;
    const int inside = key < sequence.seqlen_k ? key : sequence.seqlen_k - 1;
    int first = sequence.k_batch, row = sequence.k_begin + inside;
    if (pages.table != nullptr) {
      const KeyPlace at(pages, batch, inside);
      first = at.page;
      row = at.row;
    }
    constexpr int kBytes = sizeof(T);
    return {(first * a.k.batch + row * a.k.row) * kBytes,
            (first * a.v.batch + row * a.v.row) * kBytes};
  }
};

/** Another lane's value. */
PTX_FN int64_t from_lane(int64_t value, int lane) {
  const int low = ptx::shfl_idx(static_cast<int>(value), lane);
  const int high = ptx::shfl_idx(static_cast<int>(value >> 32), lane);
  return static_cast<int64_t>(high) << 32 | static_cast<uint32_t>(low);
}

/**
 * Copies a warp's tile of one head: row r of it is where lane r says, `offset` bytes from `head`.
 * Asynchronous; rows from `rows` on become zeros.
 */
template <class Tile, class T>
PTX_FN void load_rows(uint32_t tile, const T* head, int64_t offset, int rows, int columns) {
  constexpr int kRowsAtOnce = 32 / Tile::kPanelChunks;
  const int lane = this_thread() % 32;
  const int first = lane / Tile::kPanelChunks, chunk = lane % Tile::kPanelChunks;
  const char* const from = reinterpret_cast<const char*>(head) + chunk * kChunkBytes;
  // The swizzle repeats every 8 rows: beside these, addresses differ by constants alone.
  uint32_t to[8 / kRowsAtOnce];
#pragma unroll
  for (int i = 0; i < 8 / kRowsAtOnce; ++i)
    to[i] = tile + Tile::offset(first + i * kRowsAtOnce, chunk);
#pragma unroll
  for (int r = 0; r < Tile::kRows; r += kRowsAtOnce) {
    const char* const row = from + from_lane(offset, first + r);
#pragma unroll
    for (int c = 0; c < Tile::kChunks; c += Tile::kPanelChunks)
      ptx::cp_async16(Tile::step(to[r % 8 / kRowsAtOnce], r / 8 * 8, c), row + c * kChunkBytes,
                      first + r < rows && (chunk + c) * Tile::kChunkElements < columns);
  }
}

/** Softcap and ALiBi, then the window: the options that few rows often come with. */
template <int kKeyTiles>
PTX_FN void modify_few_rows(const AttentionParams& p, const Window& window, const PackedRows& rows,
                            int batch, int key0, float (&s)[1][kKeyTiles][4]) {
  const LanePosition lane;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const ScoreRow<false> row(p, window, rows, batch, 8 * h + lane.g);
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
      for (int c = 2 * h; c < 2 * h + 2; ++c) {
        const int j = key0 + 8 * n + 2 * lane.t + c % 2;
        float score = s[0][n][c] * p.scale;
        if (p.softcap > 0) score = p.softcap * tanhf(score / p.softcap);
        if (p.alibi_slopes != nullptr)
          score -= row.slope * fabsf(static_cast<float>(row.position - j));
        s[0][n][c] = row.in_window(window, j) ? score : -kInfinity;
      }
    }
  }
}

/**
 * Sums and outputs of all warps come together in warp 0, by way of shared memory that all of them
 * are done with.
 */
template <class Traits>
PTX_FN void merge_warps(OnlineSoftmax<1>& softmax, typename Traits::Output& o, uint32_t exchange,
                        float to_base_2) {
  constexpr int kVectors = 1 + Traits::kColumnTiles, kVectorBytes = 32 * sizeof(float4);
  static_assert((kDecodeWarps - 1) * kVectors * kVectorBytes <=
                2 * kDecodeWarps * Traits::KeyTile::kBytes);
  const int warp = this_thread() / 32, lane = this_thread() % 32;
  const auto at = [&](int of, int vector) {
    return exchange + static_cast<uint32_t>(((of - 1) * kVectors + vector) * kVectorBytes +
                                            lane * static_cast<int>(sizeof(float4)));
  };
  if (warp > 0) {
    ptx::sts<float4>(at(warp, 0),
                     {softmax.maximum[0], softmax.maximum[1], softmax.sum[0], softmax.sum[1]});
#pragma unroll
    for (int d = 0; d < Traits::kColumnTiles; ++d)
      ptx::sts<float4>(at(warp, 1 + d), {o[0][d][0], o[0][d][1], o[0][d][2], o[0][d][3]});
  }
  ptx::sync_block();
  if (warp > 0) return;
#pragma unroll 1
  for (int other = 1; other < kDecodeWarps; ++other) {
    const float4 state = ptx::lds<float4>(at(other, 0));
    const float maximum[2] = {state.x, state.y}, sum[2] = {state.z, state.w};
    float own[2], theirs[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float top = fmaxf(softmax.maximum[r], maximum[r]);
      own[r] = ptx::exp2_approx((softmax.maximum[r] - top) * to_base_2);
      theirs[r] = ptx::exp2_approx((maximum[r] - top) * to_base_2);
      softmax.maximum[r] = top;
      softmax.sum[r] = softmax.sum[r] * own[r] + sum[r] * theirs[r];
    }
#pragma unroll
    for (int d = 0; d < Traits::kColumnTiles; ++d) {
      const float4 x = ptx::lds<float4>(at(other, 1 + d));
      o[0][d][0] = o[0][d][0] * own[0] + x.x * theirs[0];
      o[0][d][1] = o[0][d][1] * own[0] + x.y * theirs[0];
      o[0][d][2] = o[0][d][2] * own[1] + x.z * theirs[1];
      o[0][d][3] = o[0][d][3] * own[1] + x.w * theirs[1];
    }
  }
}

/** kFeatured: softcap, ALiBi, sinks, sink tokens, any scale. Else a window at most. */
template <class T, int kWidth, bool kFeatured>
__global__ void __launch_bounds__(DecodeTraits<T, kWidth>::kThreads,
                                  DecodeTraits<T, kWidth>::kDecode.blocks)
    decode(const __grid_constant__ ForwardParams p) {
  using Traits = DecodeTraits<T, kWidth>;
  using RowTile = typename Traits::RowTile;
  using KeyTile = typename Traits::KeyTile;
  constexpr int kKeys = KeyTile::kRows;
  const AttentionParams& a = p.attention;
  const ForwardBlock block(p, static_cast<int>(blockIdx.x), kDecodeRows);
  const PackedRows& rows = block.rows;
  if (rows.count == 0) return;

  const int warp = this_thread() / 32;
  const uint32_t q_tile = ptx::dyn_smem();
  const uint32_t tiles = q_tile + RowTile::kBytes;
  const uint32_t k_tile = tiles + static_cast<uint32_t>(2 * warp * KeyTile::kBytes);
  const uint32_t v_tile = k_tile + KeyTile::kBytes;
  const Window window = window_of(a, block.sequence);
  const int i0 = rows.query_begin(0), i1 = rows.query_end(kDecodeRows);
  const TileRange n_blocks = n_blocks_of<Traits>(p, block, window);

  // A warp's tiles are every fourth one. Between the sink tokens and the window is nothing to see.
  const int window_block = kFeatured ? window.begin(i0) / kKeys : 0;
  const auto from = [&](int n_block) {
    if (!kFeatured || n_block >= window_block || n_block * kKeys < window.sink_tokens)
      return n_block;
    return n_block + (window_block - n_block + kDecodeWarps - 1) / kDecodeWarps * kDecodeWarps;
  };
  const KeyLookup<T> lookup{a, block.sequence, block.batch};
  const auto offsets_in = [&](int n_block) {
    return n_block < n_blocks.end ? lookup.of(n_block * kKeys + this_thread() % kKeys)
                                  : KeyOffsets{};
  };
  const auto load = [&](const Tensor& tensor, uint32_t tile, int columns, int n_block,
                        int64_t offset) {
    if (n_block < n_blocks.end)
      load_rows<KeyTile>(tile, static_cast<const T*>(tensor.data) + block.kv_head * tensor.head,
                         offset, window.seqlen_k - n_block * kKeys, columns);
    ptx::cp_async_commit();
  };
  if (warp == 0 && n_blocks.begin < n_blocks.end)
    load_tile<RowTile, T, 32, false>(q_tile, rows.count, a.head_dim, true, 1,
                                     [&](int row) { return packed_row<T>(a.q, block, row); });
  ptx::cp_async_commit();
  int n_block = from(n_blocks.begin + warp);
  const KeyOffsets first = offsets_in(n_block);
  load(a.k, k_tile, a.head_dim, n_block, first.k);
  load(a.v, v_tile, a.head_dim_v, n_block, first.v);
  ptx::cp_async_wait<2>();
  ptx::sync_block();  // Q has arrived

  const float scale = kFeatured ? 1.f : a.scale_log2, to_base_2 = kFeatured ? kLog2E : 1.f;
  OnlineSoftmax<1> softmax(kLeastMaximum<kFeatured>);
  typename Traits::Output o = {};
  bool any_poison = false;
  while (n_block < n_blocks.end) {
    const int key0 = n_block * kKeys;
    const bool partial = window.classify(i0, i1, key0, key0 + kKeys) != TileKind::kFull;
    n_block = from(n_block + kDecodeWarps);
    const KeyOffsets next = offsets_in(n_block);  // known by the time it is needed

    typename Traits::Scores s;
    ptx::cp_async_wait<1>();
    ptx::sync_warp();  // K has arrived for all lanes
    multiply_queries_keys<T, Traits>(s, q_tile, k_tile, 0);
    ptx::sync_warp();  // and all are done with it, as ldmatrix makes sure too
    load(a.k, k_tile, a.head_dim, n_block, next.k);

    if constexpr (kFeatured)
      modify_few_rows(a, window, rows, block.batch, key0, s);
    else if (partial)
      modify_scores<false>(a, window, rows, block.batch, 0, key0, true, s);
    softmax.update(s, o, scale, to_base_2);

    ptx::cp_async_wait<1>();
    ptx::sync_warp();  // V has arrived for all lanes
    if (partial && ptx::vote_any(chunks_poisoned<KeyTile, T, 32>(v_tile))) {
      any_poison = true;
      clear_poison<KeyTile, T, 32>(v_tile);
      ptx::sync_warp();
    }
    multiply_weights_values<T, Traits>(o, Weights<T, 1, Traits::kKeyTiles>(s), v_tile);
    ptx::sync_warp();
    load(a.v, v_tile, a.head_dim_v, n_block, next.v);
  }

  ptx::cp_async_wait<0>();
  any_poison = ptx::sync_block_or(any_poison);  // all are done with their tiles
  merge_warps<Traits>(softmax, o, tiles, to_base_2);
  if (warp > 0) return;
  const uint32_t extreme = finish_rows<T, Traits, kFeatured>(p, block, 0, softmax, o);
  if (p.splits.divisor > 1)
    store_float32<Traits>(p, block, 0, true, o);
  else
    store_rounded<T, Traits>(p, block, 0, 0, q_tile, true, o);
  if constexpr (!kFeatured) {
    if (extreme != 0) attend_naturally<T, Traits>(p, 0, extreme);
  }
  if (any_poison) restore_poison<T, Traits, kFeatured>(p, 0);
}

/** The kernels of one dtype: decode_tiles.h has their widths. */
template <class T>
ForwardKernel decode_kernel(bool featured, int width) {
  switch (width) {
    case 32: return featured ? decode<T, 32, true> : decode<T, 32, false>;
    case 64: return featured ? decode<T, 64, true> : decode<T, 64, false>;
    case 96: return featured ? decode<T, 96, true> : decode<T, 96, false>;
    case 128: return featured ? decode<T, 128, true> : decode<T, 128, false>;
    case 192: return featured ? decode<T, 192, true> : decode<T, 192, false>;
    case 256: return featured ? decode<T, 256, true> : decode<T, 256, false>;
    default: return nullptr;
  }
}

}  // namespace fa::cuda::sm80
