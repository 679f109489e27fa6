// Where the sequences of a batch lie, as kernels see them.
#pragma once

#include "cuda/device/params.h"
#include "cuda/ptx/ptx.h"

namespace fa::cuda {

/**
 * Rows q_begin .. q_begin + seqlen_q of q[q_batch], and likewise of k and v; paged keys go through
 * the page table.
 */
struct SequenceRows {
  int q_batch, q_begin, seqlen_q;
  int k_batch, k_begin, seqlen_k;
};

PTX_FN int clamp(int value, int low, int high) {
  return value < low ? low : (value > high ? high : value);
}

/** Whatever the index tensors hold, the rows lie within the tensors. */
PTX_FN SequenceRows locate_sequence(const AttentionParams& p, int batch) {
  SequenceRows s{batch, 0, p.seqlen_q, batch, 0, p.seqlen_k};
  if (p.cu_seqlens_q.data != nullptr) {
    const Indices q = p.cu_seqlens_q, k = p.cu_seqlens_k;
    s.q_batch = s.k_batch = 0;
    s.q_begin = clamp(ptx::ldg(q.data + batch * q.stride), 0, p.total_q);
    s.k_begin = clamp(ptx::ldg(k.data + batch * k.stride), 0, p.total_k);
    const int q_end = clamp(ptx::ldg(q.data + (batch + 1) * q.stride), s.q_begin, p.total_q);
    const int k_end = clamp(ptx::ldg(k.data + (batch + 1) * k.stride), s.k_begin, p.total_k);
    s.seqlen_q = q_end - s.q_begin;
    s.seqlen_k = k_end - s.k_begin;
  } else if (p.seqlens_k.data != nullptr) {
    s.seqlen_k = clamp(ptx::ldg(p.seqlens_k.data + batch * p.seqlens_k.stride), 0, p.seqlen_k);
  }
  return s;
}

using Window = BasicWindowMask<int>;

PTX_FN Window window_of(const AttentionParams& p, const SequenceRows& s) {
  return {p.window_left, p.window_right, p.sink_tokens, s.seqlen_k, s.seqlen_k - s.seqlen_q};
}

}  // namespace fa::cuda
