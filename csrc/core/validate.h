// What is legal. Nothing else decides it: not the binding, not lib/. What a device leaves out of it
// is said by Stream::check_supported.
#pragma once

#include <string>
#include <vector>

#include "core/append.h"
#include "core/attention.h"
#include "core/convolution.h"
#include "core/layout.h"
#include "core/quantize.h"

namespace fa {

/** Splits that a call may ask for. */
constexpr int kMaxSplits = 256;

/**
 * A tensor with the axes of a problem. Throws Error{kShape} unless it has as many axes as `layout`
 * says.
 */
View checked_axes(const View& view, Layout layout, const char* argument);

/** The same for an lse. */
View checked_lse_axes(const View& view, Layout layout);

/**
 * Throws fa::Error unless the call is legal as far as shapes, dtypes, strides and options tell.
 * `out` and `lse` may be absent (they are made from a legal problem). `layout` is that of q and
 * out, for messages.
 */
void validate(const AttentionProblem& problem, Layout layout);

/** The same for a backward call; dq, dk, dv and dsinks may be absent. */
void validate_backward(const AttentionProblem& problem, const AttentionGradients& gradients,
                       Layout layout);

/**
 * Throws fa::Error unless what the index tensors hold is legal: cu_seqlens ascending from 0 to the
 * total, seqlens_k within range, page-table entries within the pages, block-mask cells within the
 * bitmaps. They are host memory; no other tensor is looked at.
 */
void validate_contents(const AttentionProblem& problem);

/**
 * Throws fa::Error unless states of outs (with the axes of `layout`) and lses [batch, heads,
 * seqlen] can be merged.
 */
void validate_merge(const std::vector<View>& outs, const std::vector<View>& lses, Layout layout);

/**
 * Throws fa::Error unless tokens can be appended as far as shapes, dtypes, strides and memory tell.
 */
void validate(const Appending& appending);

/**
 * Throws fa::Error unless slots are within the pages, one per token, and positions in the tables.
 */
void validate_contents(const Appending& appending);

/** The same two of a rotation. `layout` is that of x, for messages. */
void validate(const Rotation& rotation, Layout layout);
void validate_contents(const Rotation& rotation);

/** Throws fa::Error unless the convolution is legal. `layout` is that of x, for messages. */
void validate(const Convolution& convolution, Layout layout);

/** Throws fa::Error unless the tensors can lie one behind the other along `axis`. */
void validate_concat(const std::vector<View>& tensors, int64_t axis);

/**
 * Throws fa::Error unless `plain` [batch, seqlen, heads, dim] can become `quantized`, or the
 * reverse.
 */
void validate_quantized(const View& plain, const Quantized& quantized, Layout layout);

/** The same of what its index tensor holds, in host memory. */
void validate_contents(const Quantized& quantized);

/** Throws unless `offsets` may be those of packed sequences of up to `longest` tokens. */
void expect_cu_seqlens(const View& offsets, const char* argument, int64_t longest,
                       const char* longest_argument);

/** Throws unless `scales` are [1], [batch, heads] or `shape` itself. See scales_over. */
void expect_scales(const View& scales, const char* argument, std::initializer_list<int64_t> shape,
                   const char* hint = "");

/**
 * Throws the fa::Error of a call that no float8 kernel can do: `where` follows "float32, float16 or
 * bfloat16".
 */
[[noreturn]] void refuse_float8(const std::string& where);

}  // namespace fa
