// The axes that JavaScript sees, and those of a problem: [batch, seqlen, heads, dim].
#pragma once

#include "binding/napi.h"
#include "core/view.h"

namespace fa::binding {

enum class Layout {
  kBshd,    // [batch, seqlen, heads, dim]
  kBhsd,    // [batch, heads, seqlen, dim]
  kPacked,  // [total, heads, dim]: all sequences in one batch
};

/** The argument `layout` of a dense call: 0 is bshd, 1 bhsd. */
Layout to_layout(const Napi::Value& value);

/** Axes of q, k, v and out. */
constexpr int public_rank(Layout layout) { return layout == Layout::kPacked ? 3 : 4; }

/** A tensor of `public_rank` axes with those of the problem. */
View logical(const View& view, Layout layout);

/** The reverse, of shape and strides. */
View with_public_axes(const View& view, Layout layout);

/** An lse, [batch, heads, seqlen] or packed [heads, total], as [batch, heads, seqlen]. */
View logical_lse(const View& view, Layout layout);

/** `view` behind an axis of length 1. */
View with_leading_axis(const View& view);

/** `view` without its first axis. */
View without_leading_axis(const View& view);

}  // namespace fa::binding
