// Copies of a warp's tiles of keys and values, whose rows may lie in pages: each lane looks one up
// for all.
#pragma once

#include "cuda/device/codes.h"
#include "cuda/device/load_tile.h"

namespace fa::cuda::sm80 {

/** Row `row` of k and v [first]: that of a page, or of a sequence. */
struct KeyRow {
  int first, row;
};

/**
 * Chunks from a head's first row to this one, both of which are aligned. Fewer than 2^32
 * (runtime/forward_plan.cpp), for a lane to pass it on at once.
 */
template <class T>
PTX_FN uint32_t chunks_to(const KeyRow& at, const Tensor& tensor) {
  const auto chunks = [](int64_t elements) {
    return static_cast<uint32_t>(static_cast<uint64_t>(elements) * sizeof(T) / kChunkBytes);
  };
  return static_cast<uint32_t>(at.first) * chunks(tensor.batch) +
         static_cast<uint32_t>(at.row) * chunks(tensor.row);
}

/** The lane. Unlike this_thread() it may stay in registers, and what follows from it. */
PTX_FN int this_lane() { return static_cast<int>(threadIdx.x % 32); }

/** Where a key lies; the last one in place of those that are not there. */
PTX_FN KeyRow find_key(const AttentionParams& a, const SequenceRows& sequence, int batch, int key) {
  const int inside = key < sequence.seqlen_k ? key : sequence.seqlen_k - 1;
  if (a.pages.table == nullptr) return {sequence.k_batch, sequence.k_begin + inside};
  const KeyPlace at(a.pages, batch, inside);
  return {at.page, at.row};
}

/** Where the keys of a tile lie that a lane looks up for all: its own, and each 32nd from there. */
template <int kKeys>
struct LaneKeys {
  static constexpr int kCount = (kKeys + 31) / 32;
  KeyRow at[kCount];
};

template <int kKeys>
PTX_FN LaneKeys<kKeys> find_keys(const AttentionParams& a, const SequenceRows& sequence, int batch,
                                 int key0) {
  LaneKeys<kKeys> keys;
#pragma unroll
  for (int i = 0; i < keys.kCount; ++i)
    keys.at[i] = find_key(a, sequence, batch, key0 + (32 * i + this_lane()) % kKeys);
  return keys;
}

/**
 * Copies a warp's tile of `tensor`'s rows, from where lane_chunk() says. Asynchronous; rows from
 * `rows` on become zeros.
 */
template <class Tile, class T>
PTX_FN void load_rows(uint32_t tile, const char* from, const Tensor& tensor,
                      const LaneKeys<Tile::kRows>& keys, int rows, int columns) {
  constexpr int kRowsAtOnce = 32 / Tile::kPanelChunks;
  const int lane = this_lane();
  uint32_t chunks[keys.kCount];
#pragma unroll
  for (int i = 0; i < keys.kCount; ++i) chunks[i] = chunks_to<T>(keys.at[i], tensor);
  const int first = lane / Tile::kPanelChunks, chunk = lane % Tile::kPanelChunks;
  // The swizzle repeats every 8 rows: beside these, addresses differ by constants alone.
  uint32_t to[8 / kRowsAtOnce];
#pragma unroll
  for (int i = 0; i < 8 / kRowsAtOnce; ++i)
    to[i] = tile + Tile::offset(first + i * kRowsAtOnce, chunk);
  const auto copy = [&](auto is_there) {
#pragma unroll
    for (int r = 0; r < Tile::kRows; r += kRowsAtOnce) {
      const char* const row =
          from + uint64_t{ptx::shfl_idx(chunks[r / 32], first + r % 32)} * kChunkBytes;
#pragma unroll
      for (int c = 0; c < Tile::kChunks; c += Tile::kPanelChunks)
        ptx::cp_async16(Tile::step(to[r % 8 / kRowsAtOnce], r / 8 * 8, c), row + c * kChunkBytes,
                        is_there(first + r, chunk + c));
    }
  };
  // Where tiles are short of instructions, whole ones have copies of their own.
  if (kIsCode<T> && rows >= Tile::kRows && columns == Tile::kRowBytes / static_cast<int>(sizeof(T)))
    copy([](int, int) { return true; });
  else
    copy(
        [&](int row, int column) { return row < rows && column * Tile::kChunkElements < columns; });
}

}  // namespace fa::cuda::sm80
