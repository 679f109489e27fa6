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
    const int count = end - begin;
    if (index >= count) return {end, end};
    if (splits >= count) return {begin + index, begin + index + 1};
    // Part i begins at count * i / splits, of which the product could be too large.
    const int length = count / splits, more = count % splits;
    const auto first = [&](int i) { return begin + length * i + more * i / splits; };
    return {first(index), first(index + 1)};
  }
};

}  // namespace fa
