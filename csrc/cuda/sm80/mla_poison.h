// Values of wide heads that hidden pairs must not let through, given back to rows that see them.
#pragma once

#include "cuda/device/load_tile.h"
#include "cuda/sm80/forward_block.h"

namespace fa::cuda::sm80 {

/**
 * Gives back to the block's outputs what clear_poison took out of tiles with hidden pairs
 * (device/poison.h). A thread has the dims first, first + step ...
 */
template <class T, class Traits>
PTX_COLD void restore_wide_poison(const ForwardParams& p, int first, int step) {
  constexpr int kKeys = Traits::kTile.keys;
  const AttentionParams& a = p.attention;
  const ForwardBlock block = block_again(p, Traits::kTile.rows);
  const PackedRows& rows = block.rows;
  const Window window = window_of(a, block.sequence);
  const KeyRows<T, true> values(a, a.v, block.sequence, block.batch, block.kv_head);
  const int row1 = rows.inside(block.row0 + Traits::kTile.rows - 1) + 1;
  const int i0 = rows.query_begin(block.row0), i1 = rows.query(row1 - 1) + 1;
  const TileRange n_blocks = n_blocks_of<Traits>(block, window);
#pragma unroll 1
  for (int key = n_blocks.begin * kKeys; key < n_blocks.end * kKeys; ++key) {
    const int key0 = key / kKeys * kKeys;
    if (key >= window.seqlen_k || window.classify(i0, i1, key0, key0 + kKeys) != TileKind::kPartial)
      continue;
#pragma unroll 1
    for (int column = first; column < a.head_dim_v; column += step) {
      const float x = ptx::to_float(values.element(key, column));
      if (!not_finite(x)) continue;
#pragma unroll 1
      for (int row = block.row0; row < row1; ++row) {
        const int i = rows.query(row);
        if (key >= window.end(i) || (key < window.begin(i) && key >= window.sink_tokens)) continue;
        const auto add_to = [&](auto* out) {
          using Element = std::remove_pointer_t<decltype(out)>;
          ptx::stg(out, ptx::from_float<Element>(ptx::to_float(ptx::ldg(out)) + x));
        };
        if (block.part.alone())
          add_to(packed_row<T>(a.out, block, row) + column);
        else
          add_to(float32_row(p, block, row) + column);
      }
    }
  }
}

}  // namespace fa::cuda::sm80
