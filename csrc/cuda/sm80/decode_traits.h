// What the decode kernel is of one type of cache: T is float16 or bfloat16, as q, or Code.
#pragma once

#include "cuda/device/codes.h"
#include "cuda/device/shared_tile.h"
#include "cuda/sm80/decode_tiles.h"
#include "cuda/sm80/forward_tiles.h"

namespace fa::cuda::sm80 {

template <class T, int kWidth>
struct DecodeTraits {
  static constexpr bool kCodes = kIsCode<T>;
  static constexpr DecodeTile kDecode = decode_tile(kCodes, kWidth);
  static_assert(kDecode.width == kWidth && (kCodes || sizeof(T) == 2));
  static constexpr ForwardTile kTile = {kWidth, kDecodeRows, kDecode.keys, kDecodeWarps, 1};
  static constexpr int kThreads = kDecodeWarps * 32;
  static constexpr int kRowTiles = 1;
  static constexpr int kKeyTiles = kDecode.keys / 8;
  static constexpr int kColumnTiles = kWidth / 8;
  static constexpr bool kPaged = true, kConverts = kCodes;
  using RowTile = SharedTile<std::conditional_t<kCodes, ptx::f16, T>, kDecodeRows, kWidth>;
  using KeyTile = SharedTile<T, kDecode.keys, kWidth>;
  using Scores = float[1][kKeyTiles][4];
  using Output = float[1][kColumnTiles][4];
};

}  // namespace fa::cuda::sm80
