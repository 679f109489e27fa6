#include "core/expect.h"
#include "core/validate.h"

namespace fa {

void validate_backward(const AttentionProblem& p, const AttentionGradients& g, Layout layout) {
  expect_floating(p.q, "q");
  validate(p, layout);
  if (p.paged()) refuse(ErrorCode::kOption, "pageTable", "absent in a backward pass", "one");
  if (p.packed_queries() && p.mask.present())
    refuse(ErrorCode::kOption, "mask", "absent in a backward pass of packed sequences", "one");
  if (!p.out.present() || !p.lse.present())
    refuse(ErrorCode::kOption, "lse", "given, with `out`, as the forward pass returned it", "none");
  expect_dtype(g.dout, p.q.dtype, "dOut");
  expect_shape(g.dout, "dOut", {p.q.shape[0], p.q.shape[1], p.heads(), p.head_dim_v()}, layout);
}

}  // namespace fa
