#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/expect.h"
#include "core/validate.h"

namespace fa {

namespace {

std::string text(int64_t number) { return std::to_string(number); }

void expect_rows(const View& view, const char* argument) {
  if (view.shape[3] >= 1 && view.shape[3] <= kMaxHeadDim) return;
  refuse(ErrorCode::kShape, argument, "pages with a head dim from 1 to " + text(kMaxHeadDim),
         shape_text(view));
}

/** Pages are written row by row, and each place by one thread alone. */
void expect_writable(const View& pages, const char* argument) {
  if ((pages.strides[3] != 1 && pages.shape[3] > 1) || !disjoint_elements(pages))
    refuse(ErrorCode::kShape, argument,
           "pages whose rows lie side by side and apart from each other",
           "a view with other strides");
}

/** K and V lie alternately, in one place or another, or far from each other. */
bool apart(const View& k, const View& v) {
  if (!ranges_overlap(k, v)) return true;
  const bool alike = std::equal(k.strides, k.strides + 3, v.strides);
  const int64_t size = static_cast<int64_t>(dtype_size(k.dtype));
  const int64_t bytes = std::abs(v.at(0) - k.at(0));
  if (!alike || bytes % size != 0) return false;
  View both = k;
  both.shape[3] = std::max(k.shape[3], v.shape[3]);
  both.shape[both.rank] = 2;
  both.strides[both.rank++] = bytes / size;
  return disjoint_elements(both);
}

/** Of what is only read: apart from all that is written. */
void expect_apart(const View& input, const char* argument, const Appending& a) {
  if (!input.present()) return;
  for (const View* pages : {&a.k_pages, &a.v_pages, &a.k_scales, &a.v_scales})
    if (pages->present() && pages->rank > 1 && ranges_overlap(input, *pages))
      refuse(ErrorCode::kOption, argument, "memory apart from the pages", "a part of them");
}

void expect_apart(const View& k, const View& v, const char* name, const char* argument) {
  if (!apart(k, v))
    refuse(ErrorCode::kOption, argument, "memory apart from that of " + quoted(name),
           "a part of it");
}

/** Floating tokens, or such as are in 8 bits already, like the pages. */
void expect_tokens(const View& tokens, const char* argument, const Appending& a) {
  if (is_quantized(a.k_pages.dtype) && !a.quantizes())
    expect_dtype(tokens, a.k_pages.dtype, argument);
  else
    expect_floating(tokens, argument);
}

/** Scales that are written: one per token and head. */
void expect_writable_scales(const View& scales, const char* argument) {
  if (!disjoint_elements(scales))
    refuse(ErrorCode::kShape, argument, "scales that lie apart from each other",
           "a view with other strides");
}

void validate_scales(const View& scales, const char* argument, const Appending& a) {
  const View& pages = a.k_pages;
  expect_dtype(scales, DType::kFloat32, argument);
  expect_shape(page_scales_over(scales, pages), argument,
               {pages.shape[0], pages.shape[1], pages.shape[2]}, Layout::kBshd,
               ", [numPages, pageSize, kvHeads] of `kPages`, or [kvHeads] or [1],");
}

/** Scales of rows of one element, as pages have them. */
View as_pages(const View& scales) {
  View pages = scales;
  pages.shape[pages.rank] = 1;
  pages.strides[pages.rank++] = 1;
  return pages;
}

/** Both scales or none, and none of pages that are not in 8 bits. */
void validate_scales(const Appending& a) {
  const std::string dtype = dtype_name(a.k_pages.dtype);
  const bool k = a.k_scales.present(), v = a.v_scales.present();
  const char* const argument = k ? "kScales" : "vScales";
  if (!k && !v) return;
  if (!is_quantized(a.k_pages.dtype))
    refuse(ErrorCode::kOption, argument, "absent with " + dtype + " `kPages`", "some");
  if (k != v)
    refuse(ErrorCode::kOption, k ? "vScales" : "kScales", "given with " + quoted(argument), "none");
  validate_scales(a.k_scales, "kScales", a);
  validate_scales(a.v_scales, "vScales", a);
  if (a.static_scales() != (a.v_scales.rank == 1))
    refuse(ErrorCode::kShape, "vScales", "of as many axes as `kScales`", shape_text(a.v_scales));
  if (a.static_scales()) {
    expect_apart(a.k_scales, "kScales", a);
    expect_apart(a.v_scales, "vScales", a);
    return;
  }
  expect_writable_scales(a.k_scales, "kScales");
  expect_writable_scales(a.v_scales, "vScales");
  expect_apart(as_pages(a.k_scales), as_pages(a.v_scales), "kScales", "vScales");
}

void validate_rotary(const Rotary& rotary, int64_t head_dim) {
  expect_floating(rotary.cos, "cos");
  expect_rank(rotary.cos, "cos", {"positions", "rotaryDim / 2"});
  if (rotary.offset < 0 || rotary.offset >= head_dim)
    refuse(ErrorCode::kOption, "rotaryOffset",
           "from 0 to " + text(head_dim - 1) + ", below the head dim,", text(rotary.offset));
  const int64_t pairs = rotary.cos.shape[1], room = head_dim - rotary.offset;
  if (pairs < 1 || 2 * pairs > room)
    refuse(ErrorCode::kShape, "cos",
           "of shape [positions, rotaryDim / 2], with a rotaryDim from 2 to " + text(room) +
               ", the elements of a head from `rotaryOffset` on,",
           shape_text(rotary.cos));
  if (rotary.sin.dtype != rotary.cos.dtype)
    refuse(ErrorCode::kDType, "sin",
           std::string(dtype_name(rotary.cos.dtype)) + ", the dtype of `cos`,",
           dtype_name(rotary.sin.dtype));
  expect_shape(rotary.sin, "sin", {rotary.cos.shape[0], pairs}, Layout::kBshd,
               ", the shape of `cos`,");
  expect_dtype(rotary.positions, DType::kInt32, "positions");
}

void expect_position(const Rotary& rotary, const std::string& index, int64_t offset) {
  const int64_t position = int32_data(rotary.positions)[offset], count = rotary.cos.shape[0];
  if (position >= 0 && position < count) return;
  refuse_entry("positions", index, "a row of the tables, 0 to " + text(count - 1) + ",", position);
}

/** The same slot for two tokens: which one would stay is nobody's choice. */
void expect_distinct(const View& slots) {
  static thread_local std::vector<int32_t> sorted;
  sorted.clear();
  bool ascending = true;
  for (int64_t t = 0; t < slots.shape[0]; ++t) {
    const int32_t slot = int32_data(slots)[t * slots.strides[0]];
    ascending = ascending && (sorted.empty() || sorted.back() < slot);
    sorted.push_back(slot);
  }
  if (ascending) return;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end())
    refuse(ErrorCode::kOption, "slots", "a slot of its own for each token",
           "slot " + text(*twice) + " twice");
}

void validate_value_pages(const Appending& a) {
  if (a.v_pages.dtype != a.k_pages.dtype)
    refuse(ErrorCode::kDType, "vPages",
           std::string(dtype_name(a.k_pages.dtype)) + ", the dtype of `kPages`,",
           dtype_name(a.v_pages.dtype));
  expect_shape(a.v_pages, "vPages",
               {a.k_pages.shape[0], a.k_pages.shape[1], a.k_pages.shape[2], "headDimV"});
  expect_rows(a.v_pages, "vPages");
  expect_writable(a.v_pages, "vPages");
  expect_apart(a.k_pages, a.v_pages, "kPages", "vPages");
}

void validate_values(const Appending& a) {
  expect_tokens(a.v, "v", a);
  expect_shape(a.v, "v", {a.tokens(), a.v_pages.shape[2], a.v_pages.shape[3]}, Layout::kBshd,
               ", [total, kvHeads, headDimV] of `k` and `vPages`,");
  expect_apart(a.v, "v", a);
}

}  // namespace

void validate(const Appending& a) {
  if (!is_quantized(a.k_pages.dtype)) expect_floating(a.k_pages, "kPages");
  expect_rank(a.k_pages, "kPages", {"numPages", "pageSize", "kvHeads", "headDim"});
  expect_rows(a.k_pages, "kPages");
  expect_writable(a.k_pages, "kPages");
  if (a.v_pages.present() != a.has_values())
    refuse(ErrorCode::kType, a.has_values() ? "vPages" : "v",
           "given with " + quoted(a.has_values() ? "v" : "vPages"), "none");
  if (a.has_values())
    validate_value_pages(a);
  else if (is_quantized(a.k_pages.dtype))
    refuse(ErrorCode::kDType, "kPages", "float32, float16 or bfloat16 without `v`",
           dtype_name(a.k_pages.dtype));
  validate_scales(a);
  expect_tokens(a.k, "k", a);
  expect_shape(a.k, "k", {"total", a.k_pages.shape[2], a.k_pages.shape[3]}, Layout::kBshd,
               ", [total, kvHeads, headDim] of `kPages`,");
  const int64_t slots = a.k_pages.shape[0] * a.page_size();
  if (a.tokens() > slots)
    refuse(ErrorCode::kShape, "k",
           "at most as many tokens as there are slots, " + text(slots) + ",", text(a.tokens()));
  if (a.has_values()) validate_values(a);
  expect_dtype(a.slots, DType::kInt32, "slots");
  expect_shape(a.slots, "slots", {a.tokens()}, Layout::kBshd, ", one per token of `k`,");
  if (a.rotary.present()) {
    if (!is_floating(a.k.dtype))
      refuse(ErrorCode::kOption, "rotary",
             std::string("absent with ") + dtype_name(a.k.dtype) + " `k`", "one");
    validate_rotary(a.rotary, a.k.shape[2]);
    expect_shape(a.rotary.positions, "positions", {a.tokens()}, Layout::kBshd,
                 ", one per token of `k`,");
  }
  expect_apart(a.k, "k", a);
  expect_apart(a.rotary.cos, "cos", a);
  expect_apart(a.rotary.sin, "sin", a);
}

void validate_contents(const Appending& a) {
  const int64_t count = a.k_pages.shape[0] * a.page_size();
  for (int64_t t = 0; t < a.tokens(); ++t) {
    const int64_t slot = int32_data(a.slots)[t * a.slots.strides[0]];
    if (slot < 0 || slot >= count)
      refuse_entry("slots", at(t), "a slot of the pages, 0 to " + text(count - 1) + ",", slot);
  }
  expect_distinct(a.slots);
  if (!a.rotary.present()) return;
  for (int64_t t = 0; t < a.tokens(); ++t)
    expect_position(a.rotary, at(t), t * a.rotary.positions.strides[0]);
}

void validate(const Rotation& rotation, Layout layout) {
  expect_floating(rotation.x, "x");
  const View& x = rotation.x;
  if (x.shape[2] < 1 || x.shape[3] < 1 || x.shape[3] > kMaxHeadDim)
    refuse(ErrorCode::kShape, "x",
           "a tensor with at least one head and a head dim from 1 to " + text(kMaxHeadDim),
           shape_text(with_public_axes(x, layout)));
  validate_rotary(rotation.rotary, x.shape[3]);
  expect_shape(rotation.rotary.positions, "positions", {x.shape[0], x.shape[1]}, layout,
               layout == Layout::kPacked ? ", one per token of `x`," : ", [batch, seqlen] of `x`,");
}

void validate_contents(const Rotation& rotation) {
  const View& positions = rotation.rotary.positions;
  for (int64_t b = 0; b < positions.shape[0]; ++b)
    for (int64_t i = 0; i < positions.shape[1]; ++i)
      expect_position(rotation.rotary, at(b) + at(i),
                      b * positions.strides[0] + i * positions.strides[1]);
}

}  // namespace fa
