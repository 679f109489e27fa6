// The producer warpgroup of the forward pass, but for the warp that loads tiles (forward_loader.h):
// the others look at values that hidden pairs must not let through.
#pragma once

#include "cuda/device/poison.h"
#include "cuda/sm90/forward_traits.h"

namespace fa::cuda::sm90 {

/**
 * A checker, a warp: puts zeros for infinities and NaN in its part of a tile (device/poison.h says
 * why). True if there were any in the first `rows`: what follows, padding or the next sequence,
 * nobody sees.
 */
template <class Traits>
PTX_FN bool clear_values(uint32_t tile, int checker, int rows) {
  using T = typename Traits::T;
  constexpr int kChunksOfRow = kPanelRowBytes / 16;
  bool poisoned = false;
#pragma unroll 1  // 24 registers
  for (uint32_t chunk = checker * 32 + threadIdx.x % 32; chunk < Traits::ValueTile::kBytes / 16;
       chunk += Traits::kCheckers * 32) {
    const uint4 words = ptx::lds<uint4>(tile + 16 * chunk);
    if (!holds_not_finite<T>(words)) continue;
    poisoned |= static_cast<int>(chunk) / kChunksOfRow % Traits::kKeys < rows;
    ptx::sts<uint4>(tile + 16 * chunk, finite_part<T>(words));
  }
  return poisoned;
}

/**
 * A checker: transposes its part of a tile of 8-bit values, for wgmma takes them along keys alone.
 * ldmatrix transposes pairs of bytes, columns 2g and 2g + 1 of two keys; of two such registers a
 * permutation of bytes makes four keys of one column. Keys of 16 come out in the order 0 1 8 9 2 3
 * 10 11 4 5 12 13 6 7 14 15, which is that of the accumulators of weights (round_weights). `clear`
 * takes NaN out; true if there were any in the first `rows`.
 */
template <class Traits>
PTX_FN bool transpose_values(uint32_t from, uint32_t to, int checker, bool clear, int rows) {
  using From = typename Traits::ValueTile;
  using To = typename Traits::TransposedTile;
  constexpr int kColumnChunks = Traits::kWidthV / 16, kKeyChunks = Traits::kKeys / 16;
  const int lane = static_cast<int>(threadIdx.x) % 32, line = lane % 8, matrix = lane / 8;
  // Matrices of even and odd columns trade halves, so that the eight rows of each meet all banks
  // once.
  const uint32_t upper = lane >= 16, even = upper ? 0x7531u : 0x6420u, odd = even ^ 0x1111u;
  const int column = matrix / 2 * 16 + 2 * line + ((matrix & 1) ^ (line >= 4));
  bool poisoned = false;
#pragma unroll 2
  for (int block = checker; block < kKeyChunks * kColumnChunks / 2; block += Traits::kCheckers) {
    const int keys = block % kKeyChunks, chunk = block / kKeyChunks * 2;
    uint32_t pairs[4];  // keys 0 to 7 and 8 to 15 of one chunk of columns, then of the next
    ptx::ldmatrix_x4_trans(pairs, from + From::offset(16 * keys + lane % 16, chunk + lane / 16));
    if (clear) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t finite = finite_part<typename Traits::T>(pairs[i]);
        const int key = 16 * keys + 8 * (i % 2) + 2 * (lane % 4);  // and the next one
        const uint32_t seen = (key < rows ? 0xffffu : 0u) | (key + 1 < rows ? 0xffff0000u : 0u);
        poisoned |= ((finite ^ pairs[i]) & seen) != 0;
        pairs[i] = finite;
      }
    }
    const uint32_t rows[4] = {
        ptx::permute_bytes(pairs[0], pairs[1], even), ptx::permute_bytes(pairs[0], pairs[1], odd),
        ptx::permute_bytes(pairs[2], pairs[3], even), ptx::permute_bytes(pairs[2], pairs[3], odd)};
    ptx::stmatrix_x4(to + To::offset(16 * chunk + column, keys), rows);
  }
  return poisoned;
}

/** Checker `checker` of kCheckers, a warp: makes values fit for the products. */
template <class Traits>
PTX_FN void prepare_values(const ForwardParams& p, const SharedLayout<Traits>& shared,
                           int checker) {
  typename Traits::Position at;
  for (int parity = 0;; parity ^= 1) {
    ptx::mbar_wait(shared.queries_full(0), parity);
    const int tile = ptx::lds<int>(shared.tile(0));
    arrive_warp(shared.queries_free(0));
    if (tile >= p.tiles) break;
    const ForwardWork work(p, tile, Traits::kRows);
    for (typename Traits::Walk walk(p, work); walk.more(); walk.advance()) {
      shared.values.wait(at);
      if constexpr (Traits::kFp8) shared.transposed.wait_free(at);
      const bool hides_pairs = walk.hides_pairs();
      const int rows = walk.mask.window.seqlen_k - walk.key0();
      bool poisoned = false;
      if constexpr (Traits::kFp8)
        poisoned = transpose_values<Traits>(shared.values.tile(at), shared.transposed.tile(at),
                                            checker, hides_pairs, rows);
      else if (hides_pairs)
        poisoned = clear_values<Traits>(shared.values.tile(at), checker, rows);
      if (hides_pairs) {
        poisoned = ptx::vote_any(poisoned);
        if (threadIdx.x % 32 == 0) ptx::sts<uint32_t>(shared.poison(at, checker), poisoned);
      }
      if (Traits::kFp8 || hides_pairs) ptx::fence_proxy_async();
      arrive_warp(Traits::kFp8 ? shared.transposed.full(at) : shared.checked(at));
      arrive_warp(shared.values.free(at));
      at.advance();
    }
  }
}

}  // namespace fa::cuda::sm90
