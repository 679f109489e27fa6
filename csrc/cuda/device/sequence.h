// Where the sequences of a batch lie, as kernels see them.
#pragma once

#include "cuda/device/params.h"
#include "cuda/ptx/ptx.h"

namespace fa::cuda {

/**
 * Rows q_begin .. q_begin + seqlen_q of q[q_batch], and likewise of k and v; paged keys go through
 * the page table. Query i stands at first_position + i among the keys.
 */
struct SequenceRows {
  int q_batch, q_begin, seqlen_q;
  int k_batch, k_begin, seqlen_k;
  int first_position;
};

PTX_FN int clamp(int value, int low, int high) {
  return value < low ? low : (value > high ? high : value);
}

PTX_FN int index_at(const Indices& indices, int i) {
  return ptx::ldg(indices.data + i * indices.stride);
}

/** Whatever the index tensors hold, the rows lie within the tensors. */
PTX_FN SequenceRows locate_sequence(const AttentionParams& p, int batch) {
  SequenceRows s{.q_batch = batch,
                 .q_begin = 0,
                 .seqlen_q = p.seqlen_q,
                 .k_batch = batch,
                 .k_begin = 0,
                 .seqlen_k = p.seqlen_k,
                 .first_position = 0};
  if (p.cu_seqlens_q.data != nullptr) {
    s.q_batch = 0;
    s.q_begin = clamp(index_at(p.cu_seqlens_q, batch), 0, p.total_q);
    s.seqlen_q = clamp(index_at(p.cu_seqlens_q, batch + 1), s.q_begin, p.total_q) - s.q_begin;
  }
  if (p.cu_seqlens_k.data != nullptr) {
    s.k_batch = 0;
    s.k_begin = clamp(index_at(p.cu_seqlens_k, batch), 0, p.total_k);
    s.seqlen_k = clamp(index_at(p.cu_seqlens_k, batch + 1), s.k_begin, p.total_k) - s.k_begin;
  } else if (p.seqlens_k.data != nullptr) {
    s.seqlen_k = clamp(index_at(p.seqlens_k, batch), 0, p.seqlen_k);
  }
  s.first_position =
      p.first_positions.data != nullptr
          ? clamp(index_at(p.first_positions, batch), -kMaxPosition, kMaxPosition - s.seqlen_q)
          : s.seqlen_k - s.seqlen_q;
  return s;
}

using Window = BasicWindowMask<int>;

/** Whether a window is that of a tree, whose first key is its offset. */
PTX_FN bool is_tree(const AttentionParams& p, const Window& window) {
  return p.tree.bits != nullptr && window.seqlen_k - window.offset <= p.tree.tokens;
}

PTX_FN Window window_of(const AttentionParams& p, const SequenceRows& s) {
  return {p.window_left, p.window_right, p.sink_tokens, s.seqlen_k, s.first_position};
}

/**
 * The same where there may be trees. The window of one shows each row what any of its rows sees,
 * wherever in the tree that stands: ScoreRow hides the rest.
 */
template <bool kFeatured>
PTX_FN Window window_or_tree_of(const AttentionParams& p, const SequenceRows& s) {
  Window window = window_of(p, s);
  if constexpr (kFeatured) {
    if (is_tree(p, window)) {
      if (p.window_left < kFar) window.left += s.seqlen_q - 1;
      window.right = kFar;
    }
  }
  return window;
}

}  // namespace fa::cuda
