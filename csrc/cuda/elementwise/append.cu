// Keys and values into pages, and the rotation of any rows: a warp per row of a head.
#include <algorithm>

#include "core/divide.h"
#include "core/ops.h"
#include "core/quantized_row.h"
#include "cuda/base/execution.h"
#include "cuda/base/launch.h"
#include "cuda/device/element.h"
#include "cuda/elementwise/index_contents.h"

namespace fa::cuda {

namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 4;
constexpr int kThreads = kWarp * kWarps;
constexpr int64_t kMostSlots = int64_t{1} << 31;  // slots are int32

/** Rows [outer, inner, head] of elements. */
struct Rows {
  char* data;
  int dtype;
  int64_t outer, inner, head, dim;  // strides
  int length;                       // of a row
};

/** See core/rotary.h. */
struct Tables {
  const char* cos;  // null where nothing turns
  const char* sin;
  int dtype;
  int64_t cos_row, cos_pair, sin_row, sin_pair;
  const int32_t* positions;
  int64_t position_outer, position_inner;
  int pairs, offset;
  bool interleaved;
};

struct AppendParams {
  Rows k, v;                // inner is the token
  Rows k_pages, v_pages;    // outer is the page, inner the row of it
  Rows k_scales, v_scales;  // likewise, of one element; no data: none
  bool static_scales;       // see Appending
  const int32_t* slots;
  int64_t slot_stride;
  int64_t rows, value_rows;  // of k; of v: as many, or none
  int kv_heads;
  uint32_t page_size;
  Tables tables;
};

struct RotateParams {
  Rows x, out;
  int64_t rows;
  int64_t inner;
  int heads;
  Tables tables;
};

/** A row: where it begins, and how far its elements are apart. */
struct Row {
  char* data;
  int dtype;
  int64_t dim;

  PTX_FN Row(const Rows& rows, int64_t outer, int64_t inner, int64_t head)
      : data(rows.data + (outer * rows.outer + inner * rows.inner + head * rows.head) *
                             element_size(rows.dtype)),
        dtype(rows.dtype),
        dim(rows.dim) {}

  PTX_FN char* at(int d) const { return data + d * dim * element_size(dtype); }
  PTX_FN float load(int d) const { return load_element(at(d), dtype); }
  PTX_FN void store(int d, float x) const { store_element(at(d), dtype, x); }
  /** Bits stay as they are where both rows have one dtype. */
  PTX_FN void copy(const Row& from, int d) const {
    if (dtype == from.dtype)
      copy_element(from.at(d), at(d), element_size(dtype));
    else
      store(d, from.load(d));
  }
};

PTX_FN float table_at(const char* table, int dtype, int64_t index) {
  return load_element(table + index * element_size(dtype), dtype);
}

/**
 * By one warp: turns the 2 * pairs elements of a row from `offset` on and calls `turned(d, x)` with
 * each, and `other(d)` for those that stay.
 */
template <class Turned, class Other>
PTX_FN void for_each_element(const Tables& t, int64_t outer, int64_t inner, const Row& from,
                             int length, Turned turned, Other other) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t position =
      t.pairs == 0 ? 0
                   : ptx::ldg(t.positions + outer * t.position_outer + inner * t.position_inner);
  for (int i = lane; i < t.pairs; i += kWarp) {
    const RotaryPair pair(t.interleaved, t.offset, i, t.pairs);
    float first = from.load(pair.first), second = from.load(pair.second);
    turn(first, second, table_at(t.cos, t.dtype, position * t.cos_row + i * t.cos_pair),
         table_at(t.sin, t.dtype, position * t.sin_row + i * t.sin_pair));
    turned(pair.first, first);
    turned(pair.second, second);
  }
  const int turning = 2 * t.pairs;
  for (int d = lane; d < length - turning; d += kWarp) other(d < t.offset ? d : d + turning);
}

/** By one warp: `from` to `to`, turned. */
PTX_FN void copy_turned(const Tables& t, int64_t outer, int64_t inner, const Row& from,
                        const Row& to, int length) {
  for_each_element(
      t, outer, inner, from, length, [&](int d, float x) { to.store(d, x); },
      [&](int d) { to.copy(from, d); });
}

/** By one warp: visit(d, x) for each of its elements of `from`, turned. */
template <class Visit>
PTX_FN void for_each_turned(const Tables& t, int64_t token, const Row& from, int length,
                            Visit visit) {
  for_each_element(t, 0, token, from, length, visit, [&](int d) { visit(d, from.load(d)); });
}

/** By one warp: the scale of `from`, turned. See core/quantized_row.h. */
PTX_FN float scale_of_turned(const Tables& t, int64_t token, const Row& from, int length,
                             bool int8) {
  uint32_t greatest = 0;
  for_each_turned(t, token, from, length, [&](int, float x) {
    const uint32_t magnitude = magnitude_bits(x);
    greatest = magnitude > greatest ? magnitude : greatest;
  });
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const uint32_t other = ptx::shfl_xor(greatest, step);
    greatest = other > greatest ? other : greatest;
  }
  return scale_of_row(greatest, int8);
}

/** By one warp: the codes of `from`, turned, to `to`, by the scale given or the one it writes. */
PTX_FN void quantize_turned(const Tables& t, int64_t token, const Row& from, const Row& to,
                            const Row& scale_at, bool static_scale, int length) {
  const bool int8 = to.dtype == static_cast<int>(DType::kInt8);
  const float scale =
      static_scale ? scale_at.load(0) : scale_of_turned(t, token, from, length, int8);
  for_each_turned(t, token, from, length, [&](int d, float x) {
    ptx::stg(reinterpret_cast<uint8_t*>(to.at(d)), code_of(x, scale, int8));
  });
  if (!static_scale && threadIdx.x % kWarp == 0) scale_at.store(0, scale);
}

/** The row of this warp; -1 past the last one. */
PTX_FN int64_t own_row(int64_t rows) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  return row < rows ? row : -1;
}

/** Without a number of blocks ptxas keeps to 64 registers, and spills. */
__global__ void __launch_bounds__(kThreads, 4)
    append_kernel(const __grid_constant__ AppendParams p) {
  const int64_t row = own_row(p.rows + p.value_rows);
  if (row < 0) return;
  const bool values = row >= p.rows;
  const int64_t index = values ? row - p.rows : row;
  const int64_t token = index / p.kv_heads, head = index % p.kv_heads;
  const int signed_slot = ptx::ldg(p.slots + token * p.slot_stride);
  if (signed_slot < 0) return;  // a token that no sequence has: core/decode_graph.h
  const auto slot = static_cast<uint32_t>(signed_slot);
  const uint32_t page = slot / p.page_size, place = slot % p.page_size;
  const Rows& of = values ? p.v : p.k;
  const Row from(of, 0, token, head), to(values ? p.v_pages : p.k_pages, page, place, head);
  const Rows& scales = values ? p.v_scales : p.k_scales;
  const Tables tables = values ? Tables{} : p.tables;
  if (scales.data != nullptr)
    quantize_turned(tables, token, from, to, Row(scales, page, place, head), p.static_scales,
                    of.length);
  else
    copy_turned(tables, 0, token, from, to, of.length);
}

__global__ void __launch_bounds__(kThreads) rotate_kernel(const __grid_constant__ RotateParams p) {
  const int64_t row = own_row(p.rows);
  if (row < 0) return;
  const int64_t token = row / p.heads, head = row % p.heads;
  const int64_t outer = token / p.inner, inner = token % p.inner;
  copy_turned(p.tables, outer, inner, Row(p.x, outer, inner, head), Row(p.out, outer, inner, head),
              p.x.length);
}

/** `view` [outer, inner, heads, dim]. */
Rows rows_of(const View& view) {
  return {static_cast<char*>(view.data),
          static_cast<int>(view.dtype),
          view.strides[0],
          view.strides[1],
          view.strides[2],
          view.strides[3],
          static_cast<int>(view.shape[3])};
}

/** `positions` [outer, inner]. */
Tables tables_of(const Rotary& rotary, const View& positions) {
  Tables t{};
  if (!rotary.present()) return t;
  t.cos = static_cast<const char*>(rotary.cos.data);
  t.sin = static_cast<const char*>(rotary.sin.data);
  t.dtype = static_cast<int>(rotary.cos.dtype);
  t.cos_row = rotary.cos.strides[0];
  t.cos_pair = rotary.cos.strides[1];
  t.sin_row = rotary.sin.strides[0];
  t.sin_pair = rotary.sin.strides[1];
  t.positions = static_cast<const int32_t*>(positions.data);
  t.position_outer = positions.strides[0];
  t.position_inner = positions.strides[1];
  t.pairs = static_cast<int>(rotary.pairs());
  t.offset = static_cast<int>(rotary.offset);
  t.interleaved = rotary.interleaved;
  return t;
}

void append(const Appending& a, const Queue& queue) {
  AppendParams p{};
  p.k = rows_of(with_leading_axis(a.k));
  p.k_pages = rows_of(a.k_pages);
  if (a.quantizes()) {
    p.k_scales = rows_of(page_scales_over(a.k_scales, a.k_pages));
    p.v_scales = rows_of(page_scales_over(a.v_scales, a.k_pages));
    p.static_scales = a.static_scales();
  }
  p.slots = static_cast<const int32_t*>(a.slots.data);
  p.slot_stride = a.slots.strides[0];
  p.rows = a.tokens() * a.kv_heads();
  if (a.has_values()) {
    p.v = rows_of(with_leading_axis(a.v));
    p.v_pages = rows_of(a.v_pages);
    p.value_rows = p.rows;
  }
  p.kv_heads = static_cast<int>(a.kv_heads());
  p.page_size = static_cast<uint32_t>(std::min(a.page_size(), kMostSlots));
  if (a.rotary.present()) p.tables = tables_of(a.rotary, with_leading_axis(a.rotary.positions));
  launch(append_kernel, ceil_div(p.rows + p.value_rows, kWarps), kThreads, 0, queue, p);
}

void rotate(const Rotation& rotation, const Queue& queue) {
  const View& x = rotation.x;
  RotateParams p{};
  p.x = rows_of(x);
  p.out = rows_of(rotation.out);
  p.rows = x.shape[0] * x.shape[1] * x.shape[2];
  p.inner = x.shape[1];
  p.heads = static_cast<int>(x.shape[2]);
  p.tables = tables_of(rotation.rotary, rotation.rotary.positions);
  launch(rotate_kernel, ceil_div(p.rows, kWarps), kThreads, 0, queue, p);
}

}  // namespace

}  // namespace fa::cuda

namespace fa {

void ops::Append::run(cuda::Execution& execution) const {
  if (check_contents) cuda::validate_contents_on_device(appending, execution.queue);
  cuda::append(appending, execution.queue);
}

void ops::Rotate::run(cuda::Execution& execution) const {
  if (check_contents) cuda::validate_contents_on_device(rotation, execution.queue);
  cuda::rotate(rotation, execution.queue);
}

}  // namespace fa
