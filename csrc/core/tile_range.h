// Tiles of keys, and how splits share them.
#pragma once

#include <cstdint>

#include "core/inline.h"

namespace fa {

/** Tiles [begin, end). */
struct TileRange {
  int begin, end;

  /**
   * The part of one split: near-equal runs of tiles. There are no more parts than tiles, however
   * many splits a longer neighbour has use for: those beyond are empty.
   */
  FA_INLINE TileRange split(int index, int splits) const {
    const int64_t count = end - begin, parts = splits < count ? splits : count;
    if (index >= parts) return {end, end};
    return {begin + static_cast<int>(count * index / parts),
            begin + static_cast<int>(count * (index + 1) / parts)};
  }
};

}  // namespace fa
