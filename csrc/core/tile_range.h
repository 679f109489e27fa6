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
    const int count = end - begin, parts = splits < count ? splits : count;
    if (index >= parts) return {end, end};
    // count * i / parts, of which the product could be too large, and a GPU divides 64 bits slowly.
    const int length = count / parts, more = count % parts;
    const auto first = [&](int i) { return begin + length * i + more * i / parts; };
    return {first(index), first(index + 1)};
  }
};

}  // namespace fa
