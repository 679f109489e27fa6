// A tile of rows in shared memory, laid out so that neither the copies that fill it nor ldmatrix
// meet a bank conflict: rows are cut into panels of 128 (or 64) bytes, and the 16-byte chunks of a
// panel's row are permuted by XOR with the row number.
#pragma once

#include "cuda/ptx/ptx.h"

namespace fa::cuda {

constexpr int kChunkBytes = 16;

/**
 * threadIdx.x, read anew: what follows from it need not wait in registers from one use to the next.
 */
PTX_FN int this_thread() { return ptx::opaque(static_cast<int>(threadIdx.x)); }

/** kTileRows x kColumns elements of T. Its address must be a multiple of 1024. */
template <class T, int kTileRows, int kColumns>
struct SharedTile {
  static constexpr int kRows = kTileRows;
  static constexpr int kRowBytes = kColumns * static_cast<int>(sizeof(T));
  static constexpr int kBytes = kRows * kRowBytes;
  static constexpr int kChunks = kRowBytes / kChunkBytes;  // of a row
  static constexpr int kChunkElements = kChunkBytes / static_cast<int>(sizeof(T));
  static constexpr int kPanelBytes = kRowBytes % 128 == 0 ? 128 : 64;
  static constexpr int kPanelChunks = kPanelBytes / kChunkBytes;
  static_assert(kRowBytes % 64 == 0 && kRows % 8 == 0);

  /** Bytes from the tile's beginning to a chunk. Eight rows at one chunk meet all 32 banks once. */
  static PTX_FN uint32_t offset(int row, int chunk) {
    const int swizzle = kPanelBytes == 128 ? row & 7 : (row >> 1) & 3;
    return static_cast<uint32_t>(chunk / kPanelChunks * (kRows * kPanelBytes) + row * kPanelBytes +
                                 ((chunk % kPanelChunks) ^ swizzle) * kChunkBytes);
  }

  /**
   * From the address of chunk 0 or 1 of some row, `rows` (a multiple of 8) rows and `chunks` (an
   * even number) chunks on: one XOR, because the swizzle touches the chunk's bits alone and repeats
   * every 8 rows.
   */
  static PTX_FN uint32_t step(uint32_t address, int rows, int chunks) {
    return (address ^ static_cast<uint32_t>(chunks % kPanelChunks * kChunkBytes)) +
           static_cast<uint32_t>(chunks / kPanelChunks * (kRows * kPanelBytes) +
                                 rows * kPanelBytes);
  }
};

}  // namespace fa::cuda
