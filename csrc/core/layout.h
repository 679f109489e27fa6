// The axes of the tensors that callers have, and those of a problem: [batch, seqlen, heads, dim].
#pragma once

#include "core/view.h"

namespace fa {

enum class Layout {
  kBshd,    // [batch, seqlen, heads, dim]
  kBhsd,    // [batch, heads, seqlen, dim]
  kPacked,  // [total, heads, dim]: all sequences in one batch
};

/** q, k, v or out with the axes of a problem. */
View logical(const View& view, Layout layout);

/** The reverse, of shape and strides. */
View with_public_axes(const View& view, Layout layout);

/** An lse, [batch, heads, seqlen] or packed [heads, total], as [batch, heads, seqlen]. */
View logical_lse(const View& view, Layout layout);

/** `view` behind an axis of length 1. */
View with_leading_axis(const View& view);

/** `view` without its first axis. */
View without_leading_axis(const View& view);

}  // namespace fa
