// One attention call for callgrind to count: scripts/instructions-report.mjs says which, and counts
// what runs within `counted_call` alone.
//
//   counted_call <dtype> <batch> <seqlen_q> <seqlen_k> <heads> <kv_heads> <head_dim> <kind>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "core/layout.h"
#include "core/validate.h"
#include "cpu/ops.h"

namespace {

using fa::DType;
using fa::View;

/** A contiguous tensor of numbers from -1 to 1, the same in every run. */
class Numbers {
 public:
  Numbers(DType dtype, std::initializer_list<int64_t> shape) {
    const int64_t size = fa::contiguous_view(nullptr, dtype, shape).size();
    std::vector<float> plain(static_cast<size_t>(size));
    uint32_t state = 1;
    for (float& x : plain) {
      state = state * 1664525u + 1013904223u;
      x = static_cast<float>(state >> 8) * 0x1p-23f - 1.f;
    }
    bytes_.resize(plain.size() * fa::dtype_size(dtype));
    view = fa::contiguous_view(bytes_.data(), dtype, shape);
    fa::cpu::convert(fa::contiguous_view(plain.data(), DType::kFloat32, shape), view, nullptr);
  }

  View view;

 private:
  std::vector<char> bytes_;
};

DType dtype_named(const char* name) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    if (std::strcmp(fa::dtype_name(dtype), name) == 0) return dtype;
  }
  throw std::invalid_argument(name);
}

bool is(const char* kind, const char* name) { return std::strcmp(kind, name) == 0; }

}  // namespace

extern "C" __attribute__((noinline)) void counted_call(const fa::AttentionProblem& problem,
                                                       const fa::AttentionGradients* gradients) {
  if (gradients != nullptr)
    fa::cpu::attention_backward(problem, *gradients, nullptr);
  else
    fa::cpu::attention_forward(problem, nullptr);
  asm volatile("");  // no tail call: the count ends when this function returns
}

int main(int argc, char** argv) {
  if (argc != 9) return 2;
  const DType dtype = dtype_named(argv[1]);
  const auto number = [&](int i) { return std::strtoll(argv[i], nullptr, 10); };
  const int64_t batch = number(2), seqlen_q = number(3), seqlen_k = number(4);
  const int64_t heads = number(5), kv_heads = number(6), dim = number(7);
  const char* const kind = argv[8];

  Numbers q(dtype, {batch, seqlen_q, heads, dim}), out(dtype, {batch, seqlen_q, heads, dim});
  Numbers k(dtype, {batch, seqlen_k, kv_heads, dim}), v(dtype, {batch, seqlen_k, kv_heads, dim});
  Numbers lse(DType::kFloat32, {batch, heads, seqlen_q});
  Numbers bias(DType::kFloat32, {batch, 1, 1, seqlen_k});
  std::vector<int32_t> lengths(static_cast<size_t>(batch), static_cast<int32_t>(seqlen_k));

  fa::AttentionProblem p;
  p.q = q.view;
  p.k = k.view;
  p.v = v.view;
  p.out = out.view;
  p.lse = lse.view;
  p.max_seqlen_q = seqlen_q;
  p.max_seqlen_k = seqlen_k;
  p.scale = 0.125f;
  if (is(kind, "causal")) p.window_right = 0;
  if (is(kind, "lengths")) {
    p.seqlens_k = fa::contiguous_view(lengths.data(), DType::kInt32, {batch});
  } else if (is(kind, "mask") || is(kind, "padding")) {
    // Padding: the lowest number for the last quarter of the keys.
    for (int64_t at = 0; is(kind, "padding") && at < bias.view.size(); ++at)
      static_cast<float*>(bias.view.data)[at] =
          at % seqlen_k < seqlen_k * 3 / 4 ? 0 : -std::numeric_limits<float>::max();
    p.mask = bias.view;
    p.mask.shape[1] = heads;
    p.mask.shape[2] = seqlen_q;
    p.mask.strides[1] = p.mask.strides[2] = 0;
  }
  fa::validate(p, fa::Layout::kBshd);

  Numbers dq(dtype, {batch, seqlen_q, heads, dim}), dk(dtype, {batch, seqlen_k, kv_heads, dim});
  Numbers dv(dtype, {batch, seqlen_k, kv_heads, dim});
  fa::AttentionGradients gradients{};
  gradients.dout = q.view;
  gradients.dq = dq.view;
  gradients.dk = dk.view;
  gradients.dv = dv.view;
  const bool backward = is(kind, "backward");
  // Once before, so that memory is there and a level is chosen.
  fa::cpu::attention_forward(p, nullptr);
  if (backward) fa::cpu::attention_backward(p, gradients, nullptr);
  counted_call(p, backward ? &gradients : nullptr);
  return 0;
}
