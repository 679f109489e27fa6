// Where the keys of a tile lie, which panels need the tile, and which stretches of it they see.
#pragma once

#include "cpu/kernels/panel.h"
#include "cpu/kernels/scratch.h"

namespace fa::cpu::FA_ISA {
namespace {

FA_ALWAYS_INLINE int padded_dim(int dim) { return round_up(dim, 16); }

bool all_finite(const float* rows, int64_t stride, int count, int dim) {
  const VecI exponent = splat(0x7f800000);
  for (int j = 0; j < count; ++j) {
    const float* row = rows + j * stride;
    VecI bad = VecI{};
    int d = 0;
    for (; d + kLanes <= dim; d += kLanes) bad |= (load<VecI>(row + d) & exponent) == exponent;
    for (; d < dim; ++d) {
      bad[0] |= -static_cast<int32_t>((float_bits(row[d]) & 0x7f800000u) == 0x7f800000u);
    }
    if (any(bad)) return false;
  }
  return true;
}

FA_ALWAYS_INLINE const char* key_row(const ForwardArgs& a, const Rows& rows, int64_t page_stride,
                                     int64_t j) {
  const int64_t size = element_size(rows.dtype);
  if (a.pages == nullptr) return rows.base + j * rows.row_stride * size;
  return rows.base + (a.pages[j / a.page_size * a.pages_stride] * page_stride +
                      j % a.page_size * rows.row_stride) *
                         size;
}

/** The scale of key j's row, for the first head. */
FA_ALWAYS_INLINE const float* key_scale(const ForwardArgs& a, const RowScales& scales, int64_t j) {
  return scales.base + a.pages[j / a.page_size * a.pages_stride] * scales.page_stride +
         j % a.page_size * scales.row_stride;
}

/**
 * Asks for one of `parts` parts of the keys [begin, end), which the next tile will pack: into the
 * second-level cache, and spread over the work on this tile, for a core drops prefetches when more
 * than it can follow come at once.
 */
void prefetch_keys(const ForwardArgs& a, int64_t begin, int64_t end, int part, int parts) {
  const int64_t keys = end - begin;
  for (int64_t j = begin + keys * part / parts; j < begin + keys * (part + 1) / parts; ++j) {
    prefetch_row<2>(key_row(a, a.k, a.k_page_stride, j), a.head_dim * element_size(a.k.dtype));
    prefetch_row<2>(key_row(a, a.v, a.v_page_stride, j), a.head_dim_v * element_size(a.v.dtype));
  }
}

/** Whether rows [i0, i1) x keys [j0, j1) need a mask, over all heads of the group. */
TileKind classify(const ForwardArgs& a, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  TileKind kind = window_of(a).classify(i0, i1, j0, j1);
  const BlockMaskArgs& b = a.block_mask;
  if (b.cells != nullptr && kind != TileKind::kSkip) {
    const int heads = b.head_stride == 0 ? 1 : a.group;
    TileKind blocks = TileKind::kSkip;
    for (int head = 0; head < heads; ++head) {
      const BlockMaskTable table{b.cells + head * b.head_stride, b.row_stride, b.column_stride,
                                 b.block_q, b.block_k};
      const TileKind one = table.classify(i0, i1, j0, j1);
      blocks = head == 0 || one == blocks ? one : TileKind::kPartial;
    }
    kind = both(kind, blocks);
  }
  if (a.mask.base != nullptr && a.mask.dtype == kBool && kind == TileKind::kFull)
    kind = TileKind::kPartial;
  if (a.tree.bits != nullptr && kind == TileKind::kFull) {
    const bool committed = j1 <= a.seqlen_k - a.seqlen_q + smaller(a.window_right, 0);
    if (!committed || a.window_left < kFar) kind = TileKind::kPartial;
  }
  return kind;
}

/** Whether keys [begin, end) are seen by some of `panels` panels, of which `at(i)` is one. */
template <class At>
bool some_see(const ForwardArgs& a, int panels, At at, int64_t begin, int64_t end) {
  for (int i = 0; i < panels; ++i) {
    const Panel& panel = at(i);
    if (classify(a, panel.i_begin, panel.i_end, begin, end) != TileKind::kSkip) return true;
  }
  return false;
}

/** Keys of a tile, counted from its first one, in multiples of kColumnStep but for the last. */
struct Stretch {
  int begin, end;
  int first;  // vectors of rows before it see none of these keys
  TileKind kind;
};

/**
 * The part of the tile that each vector of the panel's rows sees ends here: the causal staircase.
 * The tile begins at a multiple of kColumnStep.
 */
Staircase stairs_of(const Panel& panel, int64_t tile_key, int tile_keys) {
  Staircase stairs;
  for (int g = 0; g < kRowVectors; ++g) {
    const int64_t end =
        (panel.group_end[g] - tile_key + kColumnStep - 1) / kColumnStep * kColumnStep;
    stairs.ends[g] = static_cast<int>(smaller(larger(end, 0), tile_keys));
  }
  return stairs;
}

/**
 * Calls `visit` for the stretches that the panel sees, in order, cut so that few of them need a
 * mask.
 */
template <class Visit>
FA_ALWAYS_INLINE void for_each_stretch(const ForwardArgs& a, const Panel& panel, int64_t tile_key,
                                       int tile_keys, const Staircase& stairs, Visit visit) {
  const WindowMask window = window_of(a);
  const auto step_down = [&](int64_t key) {
    return static_cast<int>(smaller(larger(key - tile_key, 0), tile_keys)) / kColumnStep *
           kColumnStep;
  };
  const int seen_by_first = step_down(window.end(panel.i_begin));
  const int seen_by_last = step_down(window.begin(panel.i_end - 1) + kColumnStep - 1);
  const int64_t block = a.block_mask.cells != nullptr && a.block_mask.block_k % 32 == 0
                            ? a.block_mask.block_k
                            : int64_t{1} << 40;
  Stretch stretch{step_down(panel.key_begin), 0, 0, TileKind::kFull};
  for (;; stretch.begin = stretch.end) {
    while (stretch.first < panel.groups && stairs.ends[stretch.first] <= stretch.begin)
      ++stretch.first;
    if (stretch.first == panel.groups) return;
    stretch.end = stairs.ends[stretch.first];
    const int64_t key = tile_key + stretch.begin;
    for (const int64_t cut :
         {int64_t{seen_by_first}, int64_t{seen_by_last}, (key / block + 1) * block - tile_key}) {
      if (stretch.begin < cut && cut < stretch.end) stretch.end = static_cast<int>(cut);
    }
    stretch.kind =
        classify(a, panel.query[stretch.first * kLanes], panel.i_end, key, tile_key + stretch.end);
    visit(stretch);
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
