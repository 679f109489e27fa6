// Copies of a warp's tiles of keys and values, whose rows may lie in pages: each lane looks one up
// for all.
#pragma once

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

/** Where a key lies; the last one in place of those that are not there. */
PTX_FN KeyRow find_key(const AttentionParams& a, const SequenceRows& sequence, int batch, int key) {
  const int inside = key < sequence.seqlen_k ? key : sequence.seqlen_k - 1;
  if (a.pages.table == nullptr) return {sequence.k_batch, sequence.k_begin + inside};
  const KeyPlace at(a.pages, batch, inside);
  return {at.page, at.row};
}

/**
 * Copies a warp's tile of one head: row r of it is where lane r says, so many chunks from `head`.
 * Asynchronous; rows from `rows` on become zeros.
 */
template <class Tile, class T>
PTX_FN void load_rows(uint32_t tile, const T* head, uint32_t chunks, int rows, int columns) {
  constexpr int kRowsAtOnce = 32 / Tile::kPanelChunks;
  const int lane = this_thread() % 32;
  const int first = lane / Tile::kPanelChunks, chunk = lane % Tile::kPanelChunks;
  const char* const from = reinterpret_cast<const char*>(head) + chunk * kChunkBytes;
  // The swizzle repeats every 8 rows: beside these, addresses differ by constants alone.
  uint32_t to[8 / kRowsAtOnce];
#pragma unroll
  for (int i = 0; i < 8 / kRowsAtOnce; ++i)
    to[i] = tile + Tile::offset(first + i * kRowsAtOnce, chunk);
#pragma unroll
  for (int r = 0; r < Tile::kRows; r += kRowsAtOnce) {
    const char* const row = ptx::advance<kChunkBytes>(from, ptx::shfl_idx(chunks, first + r));
#pragma unroll
    for (int c = 0; c < Tile::kChunks; c += Tile::kPanelChunks)
      ptx::cp_async16(Tile::step(to[r % 8 / kRowsAtOnce], r / 8 * 8, c), row + c * kChunkBytes,
                      first + r < rows && (chunk + c) * Tile::kChunkElements < columns);
  }
}

}  // namespace fa::cuda::sm80
