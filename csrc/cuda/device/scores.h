// What happens to the score of a pair besides the product: softcap, ALiBi, the float mask, then
// everything that hides pairs (docs/architecture.md, "Exact semantics"). score_tile.h does the same
// to a tile of them.
#pragma once

#include <cmath>

#include "core/dtype.h"
#include "cuda/device/packed_rows.h"
#include "cuda/device/softmax.h"
#include "cuda/device/tile_range.h"

namespace fa::cuda {

/** An element of a tensor of any floating dtype; dtype is uniform over the launch. */
PTX_FN float load_float(const void* data, int dtype, int64_t index) {
  if (dtype == static_cast<int>(DType::kFloat32))
    return ptx::ldg(static_cast<const float*>(data) + index);
  if (dtype == static_cast<int>(DType::kFloat16))
    return ptx::to_float(ptx::ldg(static_cast<const ptx::f16*>(data) + index));
  return ptx::to_float(ptx::ldg(static_cast<const ptx::bf16*>(data) + index));
}

/** One query row as its scores need it. kTrees: a tree of draft tokens may stand in the keys. */
template <bool kTrees>
struct ScoreRow {
  int i, head;
  int position;                   // where the query stands
  int begin, end;                 // keys of the window, those of a tree aside
  int64_t mask;                   // index of the dense mask's row
  const int32_t* tree;            // the row of its bits; null: no tree
  const int32_t* tree_positions;  // of the tree's tokens
  float slope;                    // ALiBi
  int block_row;                  // of the block mask
  int bit_row;

  PTX_FN ScoreRow(const AttentionParams& p, const Window& window, const PackedRows& rows, int batch,
                  int row) {
    const int inside = rows.inside(row);
    i = rows.query(inside);
    head = rows.head(inside);
    position = i + window.offset;
    begin = window.begin(i);
    end = window.end(i);
    tree = nullptr;
    tree_positions = nullptr;
    if (kTrees && is_tree(p, window)) {
      tree = p.tree.bits + (rows.first + i) * p.tree.row;
      tree_positions = p.tree.positions.data + rows.first * p.tree.positions.stride;
      position = ptx::ldg(tree_positions + i * p.tree.positions.stride);
      begin = position - p.window_left;
      end = clamp(position + p.window_right + 1, 0, window.offset);
    }
    mask = batch * p.mask.batch + head * p.mask.head + (rows.first + i) * p.mask.row;
    slope = p.alibi_slopes == nullptr
                ? 0.f
                : ptx::ldg(p.alibi_slopes + batch * p.alibi_batch + head * p.alibi_head);
    block_row = bit_row = 0;
    if (p.block_mask.cells != nullptr) {
      block_row = p.block_mask.block_q.quotient(i);
      bit_row = p.block_mask.block_q.remainder(i);
    }
  }

  PTX_FN bool in_window(const Window& window, int j) const {
    return j < end && (j >= begin || j < window.sink_tokens);
  }
  /** The same, keys of a tree included. */
  PTX_FN bool in_window_or_tree(const AttentionParams& p, const Window& window, int j) const {
    if (!kTrees || tree == nullptr || j < window.offset) return in_window(window, j);
    const int t = j - window.offset;
    if (j >= window.seqlen_k) return false;
    const uint32_t word = static_cast<uint32_t>(ptx::ldg(tree + t / 32 * p.tree.word));
    const int ahead = key_position(p, window, j) - position;
    const bool behind = ahead >= -p.window_left || j < window.sink_tokens;
    return (word >> (t % 32) & 1u) != 0 && behind && ahead <= p.window_right;
  }
  /** Where key j stands. */
  PTX_FN int key_position(const AttentionParams& p, const Window& window, int j) const {
    if (!kTrees || tree == nullptr || j < window.offset || j >= window.seqlen_k) return j;
    return ptx::ldg(tree_positions + (j - window.offset) * p.tree.positions.stride);
  }
};

/** Whether a block mask lets (row, j) through; cells beyond the bitmaps let nothing through. */
template <bool kTrees>
PTX_FN bool in_blocks(const BlockMaskParams& b, int batch, const ScoreRow<kTrees>& row, int j) {
  const int column = b.block_k.quotient(j);
  const int32_t cell = ptx::ldg(b.cells + batch * b.batch + row.head * b.head +
                                row.block_row * b.row + column * b.column);
  if (cell < 2 || cell - 2 >= b.bitmaps) return cell == 1;
  const int bit = j - column * static_cast<int>(b.block_k.divisor);
  const int32_t word =
      ptx::ldg(b.bits + (cell - 2) * b.bitmap + row.bit_row * b.bit_row + bit / 32 * b.bit_word);
  return (static_cast<uint32_t>(word) >> (bit % 32)) & 1u;
}

/** What the dense mask adds to the score of a pair; -infinity hides it. */
template <bool kTrees>
PTX_FN float mask_bias(const MaskParams& mask, const ScoreRow<kTrees>& row, int j) {
  if (mask.data == nullptr) return 0.f;
  const int64_t at = row.mask + j * mask.key;
  if (mask.dtype == static_cast<int>(DType::kBool))
    return ptx::ldg(static_cast<const uint8_t*>(mask.data) + at) == 0 ? -kInfinity : 0.f;
  return load_float(mask.data, mask.dtype, at);
}

/** tanh(x) for |x| < 1/4, where a difference would leave nothing: x + x^3 P(x^2), P minimax. */
constexpr float kNearZero = 0.25f;
PTX_FN float tanh_near_zero(float x) {
  const float u = x * x;
  return fmaf(x * u, fmaf(u, 0.12877108f, -0.33324607f), x);
}

/**
 * tanh of a score. 16-bit operands: 1 - 2 / (exp(2x) + 1), and near 0 a polynomial; both within
 * 2^-19.5 of the value. tanh.approx, within 2^-11, would leave an lse that is not right to float32,
 * and takes float16's results out of the tolerance. float32: the accurate one.
 */
template <class T>
PTX_FN float tanh_of_score(float x) {
  if constexpr (sizeof(T) == 4) {
    return tanhf(x);
  } else {
    const float r = ptx::rcp_approx(1.f + ptx::exp2_approx(2.f * kLog2E * x));
    return fabsf(x) < kNearZero ? tanh_near_zero(x) : fmaf(-2.f, r, 1.f);
  }
}

/** softcap * tanh(s / softcap). */
template <class T>
PTX_FN float cap_score(const AttentionParams& p, float s) {
  return p.softcap * tanh_of_score<T>(s * p.softcap_reciprocal);
}

/** That, and its derivative. */
struct CappedScore {
  float score, slope;
};

/**
 * The derivative, 1 - tanh^2(x), is 4 e / (1 + e)^2 with e = exp(-2 |x|), x = s / softcap: where
 * tanh is all but 1, a difference would be noise. tanh(|x|) is 1 - 2 e / (1 + e), in 16 bits.
 */
template <class T>
PTX_FN CappedScore cap_with_slope(const AttentionParams& p, float s) {
  const float x = s * p.softcap_reciprocal;
  const float e = ptx::exp2_approx(-2.f * kLog2E * fabsf(x));
  const float r = ptx::rcp_approx(1.f + e);
  const float slope = 4.f * e * r * r;
  if constexpr (sizeof(T) == 4) {
    return {p.softcap * tanhf(x), slope};
  } else {
    const float far = copysignf(fmaf(-2.f * e, r, 1.f), x);
    return {p.softcap * (fabsf(x) < kNearZero ? tanh_near_zero(x) : far), slope};
  }
}

/** The score of a pair that the window shows; -infinity when a mask hides it. */
template <class T, bool kTrees>
PTX_FN float natural_score(const AttentionParams& p, const Window& window,
                           const ScoreRow<kTrees>& row, int j, float product) {
  float s = product * p.scale;
  if (p.softcap > 0) s = cap_score<T>(p, s);
  if (p.alibi_slopes != nullptr)
    s -= row.slope * fabsf(static_cast<float>(row.position - row.key_position(p, window, j)));
  const float bias = mask_bias(p.mask, row, j);
  return bias == -kInfinity ? bias : s + bias;  // whatever s is: a hidden NaN does not exist
}

/** Whether row `row` sees key j. */
template <bool kFeatured>
PTX_FN bool sees(const AttentionParams& p, const Window& window, const PackedRows& rows, int batch,
                 int row, int j) {
  if constexpr (kFeatured) {
    const ScoreRow<true> of_row(p, window, rows, batch, row);
    return of_row.in_window_or_tree(p, window, j) &&
           (p.block_mask.cells == nullptr || in_blocks(p.block_mask, batch, of_row, j)) &&
           mask_bias(p.mask, of_row, j) != -kInfinity;
  } else {
    const int i = rows.query(rows.inside(row));
    return j >= window.begin(i) && j < window.end(i);
  }
}

}  // namespace fa::cuda
