// Decoding over keys and values in 8 bits. Codes go to shared memory as they are and become float16
// in registers, as operands of products in float16, whatever q is. ldmatrix moves pairs of bytes as
// if they were 16-bit elements, so dims arrive in another order than those of 16 bits:
//   K: lane (g, t) gets dims 4t .. 4t + 3 of key g, of 16. 4t and 4t + 2 stand for columns 2t and
//      2t + 1 of the product, the others for 2t + 8 and 2t + 9; Q is put in the same order.
//   V, transposed: dims 2g and 2g + 1 of keys 2t and 2t + 1. Even dims are column g of one
//      accumulator tile, odd dims of the next one. A lane's results are dims 4t .. 4t + 3.
#pragma once

#include "cuda/device/fragment.h"
#include "cuda/sm80/decode_scales.h"
#include "cuda/sm80/decode_traits.h"
#include "cuda/sm80/forward_output.h"

namespace fa::cuda::sm80 {

/**
 * The block's rows of q, float16 or bfloat16, as float16 for K's codes: times a power of two that
 * brings the greatest element of a row to 2^8 or more, below 2^9. `factors` gets its inverse, 16
 * float32. Exact for elements down to 2^-22 (bfloat16: 2^-25) of the greatest; what is less is
 * rounded to 2^-33 of it.
 */
template <class Traits>
PTX_FN void load_queries(const ForwardParams& p, const ForwardBlock& block, uint32_t q_tile,
                         uint32_t factors) {
  using RowTile = typename Traits::RowTile;
  constexpr int kElements = RowTile::kChunkElements, kGreatest = 8;
  constexpr float kLeast = 0x1p-118f;  // smaller ones have no such factor, nor need one
  const bool bfloat16 = p.attention.query_dtype == static_cast<int>(DType::kBFloat16);
  const int warp = this_thread() / 32, chunk = this_thread() % 32;
#pragma unroll 1
  for (int row = warp; row < kDecodeRows; row += kDecodeWarps) {
    uint4 words = {};
    if (row < block.rows.count && chunk * kElements < p.attention.head_dim)
      words = ptx::ldg(reinterpret_cast<const uint4*>(
          packed_row<ptx::f16>(p.attention.q, block, row) + chunk * kElements));
    float2 pair[4];
    float top = kLeast;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t word = i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
      pair[i] = bfloat16 ? ptx::unpack2<ptx::bf16>(word) : ptx::unpack2<ptx::f16>(word);
      if (!not_finite(pair[i].x)) top = fmaxf(top, fabsf(pair[i].x));
      if (!not_finite(pair[i].y)) top = fmaxf(top, fabsf(pair[i].y));
    }
    const float unit = power_of_two(warp_max(top));
    const float factor = divide_power(kGreatest, unit);
    if (chunk == 0) ptx::sts<float>(scale_at(factors, row), divide_power(0, factor));
    if (chunk >= RowTile::kChunks) continue;
    uint32_t word[4];
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      word[i] = ptx::pack2<ptx::f16>(pair[i].x * factor, pair[i + 1].x * factor);
      word[i + 1] = ptx::pack2<ptx::f16>(pair[i].y * factor, pair[i + 1].y * factor);
    }
    // Half a chunk each of two; which one first depends on the panel, for banks not to meet.
    const int swap = chunk / 8 % 2;
    const uint32_t half = chunk % 2 == 0 ? 0 : kChunkBytes / 2;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int upper = i ^ swap;
      ptx::sts<uint2>(q_tile + RowTile::offset(row, chunk / 2 * 2 + upper) + half,
                      {upper ? word[1] : word[0], upper ? word[3] : word[2]});
    }
  }
}

/** s = Q K^T, K in codes. */
template <bool kE4M3, class Traits>
PTX_FN void multiply_queries(typename Traits::Scores& s, uint32_t q, uint32_t k) {
  using RowTile = typename Traits::RowTile;
  using KeyTile = typename Traits::KeyTile;
  const int lane = this_lane();
  q += RowTile::offset(lane % 16, lane / 16);
  k += KeyTile::offset(lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
  for (int n = 0; n < Traits::kKeyTiles; ++n)
#pragma unroll
    for (int c = 0; c < 4; ++c) s[0][n][c] = 0;
#pragma unroll
  for (int chunk = 0; chunk < KeyTile::kChunks; chunk += 2) {
    FragmentA<ptx::f16> a[2];  // of two chunks of K: a step each
#pragma unroll
    for (int i = 0; i < 2; ++i) ptx::ldmatrix_x4(a[i].value, RowTile::step(q, 0, 2 * (chunk + i)));
#pragma unroll
    for (int n = 0; n < Traits::kKeyTiles; n += 2) {
      uint32_t raw[4];  // two chunks of the keys of two accumulator tiles
      ptx::ldmatrix_x4(raw, KeyTile::step(k, 8 * n, chunk));
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        FragmentB<ptx::f16> b;
        widen<kE4M3>(b.value, raw[i]);
        multiply_add<ptx::f16>(s[0][n + i / 2], a[i % 2], b);
      }
    }
  }
}

template <class Traits>
PTX_FN void multiply_queries_codes(typename Traits::Scores& s, uint32_t q, uint32_t k, bool e4m3) {
  if (e4m3)
    multiply_queries<true, Traits>(s, q, k);
  else
    multiply_queries<false, Traits>(s, q, k);
}

/** o += P V, V in codes. */
template <bool kE4M3, class Traits>
PTX_FN void multiply_weights(typename Traits::Output& o,
                             const Weights<ptx::f16, 1, Traits::kKeyTiles>& weights, uint32_t v) {
  using KeyTile = typename Traits::KeyTile;
  const int lane = this_lane();
  v += KeyTile::offset(lane % 16, lane / 16);
#pragma unroll
  for (int n = 0; n < Traits::kKeyTiles; n += 2) {
    const FragmentA<ptx::f16> a = weights.step(0, n);
#pragma unroll
    for (int chunk = 0; chunk < KeyTile::kChunks; chunk += 2) {
      uint32_t raw[4];  // keys 0 .. 7 and 8 .. 15 of two chunks
      ptx::ldmatrix_x4_trans(raw, KeyTile::step(v, 8 * n, chunk));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        uint32_t first[2], second[2];
        widen<kE4M3>(first, raw[2 * i]);
        widen<kE4M3>(second, raw[2 * i + 1]);
        const int d = 2 * (chunk + i);
        multiply_add<ptx::f16>(o[0][d], a, FragmentB<ptx::f16>{{first[0], second[0]}});
        multiply_add<ptx::f16>(o[0][d + 1], a, FragmentB<ptx::f16>{{first[1], second[1]}});
      }
    }
  }
}

template <class Traits>
PTX_FN void multiply_weights_codes(typename Traits::Output& o, const typename Traits::Scores& s,
                                   uint32_t v, bool e4m3) {
  const Weights<ptx::f16, 1, Traits::kKeyTiles> weights(s);
  if (e4m3)
    multiply_weights<true, Traits>(o, weights, v);
  else
    multiply_weights<false, Traits>(o, weights, v);
}

/** Rows of q's dtype, or of float32 as partial results: a lane has four dims of every 16. */
template <class Traits>
PTX_FN void store_codes(const ForwardParams& p, const ForwardBlock& block,
                        const typename Traits::Output& o) {
  const AttentionParams& a = p.attention;
  const LanePosition lane;
  const bool bfloat16 = a.query_dtype == static_cast<int>(DType::kBFloat16);
  const auto pack = [&](float x, float y) {
    const uint32_t as_bfloat16 = ptx::pack2<ptx::bf16>(x, y);
    return bfloat16 ? as_bfloat16 : ptx::pack2<ptx::f16>(x, y);
  };
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int row = 8 * h + lane.g;
    const auto store = [&](auto* to, auto four) {
#pragma unroll
      for (int d = 0; d < Traits::kColumnTiles; d += 2) {
        const float4 x = {o[0][d][2 * h], o[0][d + 1][2 * h], o[0][d][2 * h + 1],
                          o[0][d + 1][2 * h + 1]};
        using Four = decltype(four(x));
        if (row < block.rows.count && 8 * d + 4 * lane.t < a.head_dim_v)
          ptx::stg<Four>(reinterpret_cast<Four*>(to + 8 * d + 4 * lane.t), four(x));
      }
    };
    if (!block.part.alone())
      store(float32_row(p, block, row), [](const float4& x) { return x; });
    else
      store(packed_row<ptx::f16>(a.out, block, row), [&](const float4& x) {
        return uint2{pack(x.x, x.y), pack(x.z, x.w)};
      });
  }
}

}  // namespace fa::cuda::sm80
