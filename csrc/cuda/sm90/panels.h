// A tile of rows in shared memory as TMA writes it and wgmma reads it: cut into panels of 128 bytes
// of every row (64 columns of 16-bit elements, 128 of 8-bit ones), the 16-byte chunks of a panel's
// row permuted by XOR with the row (the 128-byte swizzle). Row r of panel p begins at (p * rows +
// r) * 128.
#pragma once

#include "cuda/ptx/ptx.h"

namespace fa::cuda::sm90 {

// A warpgroup, and the rows of its products.
constexpr int kWarpgroupThreads = 128, kWarpgroupWarps = 4, kWarpgroupRows = 64;

/**
 * Registers that each thread has at first, of a block that has the multiprocessor for itself.
 * setmaxnreg deals out those, and no
 *  others: it waits for ever for more. */
constexpr int registers_at_launch(int threads) { return 65536 / threads / 8 * 8; }

constexpr int kPanelRowBytes = 128;
constexpr int kSwizzleBytes =
    8 * kPanelRowBytes;         // after which the pattern repeats: the alignment of tiles
constexpr int kStepBytes = 32;  // of the inner dimension, per product

/** kTileRows x kTileColumns elements of T; columns are padded to whole panels. */
template <class T, int kTileRows, int kTileColumns>
struct Panels {
  static constexpr int kRows = kTileRows;
  static constexpr int kColumns = kTileColumns;
  static constexpr int kPanelColumns = kPanelRowBytes / static_cast<int>(sizeof(T));
  static constexpr int kPanels = (kColumns + kPanelColumns - 1) / kPanelColumns;
  static constexpr int kPanelBytes = kRows * kPanelRowBytes;
  static constexpr int kBytes = kPanels * kPanelBytes;
  static constexpr int kStep = kStepBytes / static_cast<int>(sizeof(T));  // elements of a step
  static_assert(kRows % 8 == 0 && kColumns % kStep == 0);

  /** Bytes from the tile's beginning to the 16-byte chunk of a row. */
  static PTX_FN uint32_t offset(int row, int chunk) {
    constexpr int kChunks = kPanelRowBytes / 16;
    return static_cast<uint32_t>(chunk / kChunks * kPanelBytes + row * kPanelRowBytes +
                                 ((chunk % kChunks) ^ (row & 7)) * 16);
  }

  /** The operand whose inner dimension is the columns, at their step `step`. */
  static PTX_FN uint64_t by_columns(uint32_t tile, int step) {
    constexpr int kSteps = kPanelRowBytes / kStepBytes;
    return ptx::desc_advance(
        ptx::desc_sw128(tile, 0, kSwizzleBytes),
        static_cast<uint32_t>(step / kSteps * kPanelBytes + step % kSteps * kStepBytes));
  }

  /**
   * The operand whose inner dimension is the rows (transposed; 16-bit elements), at rows 16 step.
   */
  static PTX_FN uint64_t by_rows(uint32_t tile, int step) {
    return ptx::desc_advance(ptx::desc_sw128(tile, kPanelBytes, kSwizzleBytes),
                             static_cast<uint32_t>(step * 16 * kPanelRowBytes));
  }
};

}  // namespace fa::cuda::sm90
