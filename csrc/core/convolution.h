// One call of a lightweight or a dynamic convolution, completely described (Wu et al. 2019, "Pay
// Less Attention with Lightweight and Dynamic Convolutions", arXiv 1901.10430):
//   out_i = sum_t softmax(weights_i)_t x_(i - (K - 1) + t)
// per channel of a head, all of which share the K weights. It is causal: the last tap is token i.
#pragma once

#include <cstdint>

#include "core/view.h"

namespace fa {

constexpr int64_t kMaxKernelSize = 1024;

struct Convolution {
  View x;  // [batch, seqlen, heads, dim]
  // [batch, seqlen, heads, K]: logits of the taps. Strides of 0 where tokens share a kernel.
  View weights;
  // [batch, K - 1, heads, dim]: the inputs before those of x; absent: zeros
  View state;
  View out;         // like x
  View next_state;  // like state: the last K - 1 inputs; absent: not wanted

  int64_t batch() const { return x.shape[0]; }
  int64_t seqlen() const { return x.shape[1]; }
  int64_t heads() const { return x.shape[2]; }
  int64_t dim() const { return x.shape[3]; }
  int64_t kernel_size() const { return weights.shape[3]; }
};

}  // namespace fa
