// How many tiles of queries x keys a kernel computes, and what it reads for them, counted without
// walking them.
#pragma once

#include <cstdint>
#include <functional>

#include "core/mask.h"
#include "core/tile_range.h"

namespace fa {

/** How a kernel cuts a sequence. A query has as many rows as heads are packed. */
struct Tiling {
  int64_t packed_heads;
  int64_t block_rows;     // that read keys together: whole tiles
  int64_t tile_rows;      // of a tile
  int64_t rows_together;  // that leave out tiles of keys together: part of a tile, or all of it
  int64_t tile_keys;
  int num_splits;  // of the tiles of keys that a block sees
};

/** One (batch, block of packed heads): what its tiles are cut from, and what hides pairs. */
struct TiledRows {
  WindowMask window;
  int64_t seqlen_q;
  int64_t queries_there, keys_there;  // that the last tiles may read: at least the sequence's
  int64_t mask_block_k;               // of a block mask; 0: none
  /** Queries [i0, i1) x keys [j0, j1), which may end behind the sequence. */
  std::function<TileKind(int64_t i0, int64_t i1, int64_t j0, int64_t j1)> classify;
};

struct TileCounts {
  int64_t full = 0, partial = 0, skipped = 0;
  double query_rows = 0;  // read, by each split that has something to do
  double key_rows = 0;    // read, by each block
  double products = 0;    // rows x keys that are multiplied

  void add(const TileCounts& other, int64_t times);
};

/** Tiles that hold every key that queries [i0, i1) see. */
TileRange visible_tiles(const WindowMask& window, int64_t i0, int64_t i1, int64_t tile_keys);

/**
 * Without a block mask the time does not grow with the number of queries or keys; with one, each
 * block of rows walks the cells beside it.
 */
TileCounts count_tiles(const Tiling& tiling, const TiledRows& rows);

}  // namespace fa
