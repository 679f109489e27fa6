// Dropout of the pairs that an accumulator tile of 16 rows x 8 keys holds.
#pragma once

#include "core/philox.h"
#include "cuda/device/packed_rows.h"

namespace fa::cuda {

/**
 * Bit c is set where element c of this lane's accumulator is kept: rows g and g + 8 of `row` (their
 * streams batch * heads + head and their queries), keys key + 2t and key + 2t + 1; `key` is a
 * multiple of 8. One draw decides about four keys, so that lanes 2n and 2n + 1 would draw alike:
 * each draws for one of the two rows and they exchange halves.
 */
PTX_FN uint32_t kept_pairs(const DropoutParams& p, const int (&query)[2], const int (&stream)[2],
                           int key) {
  const LanePosition lane;
  const int odd = lane.t & 1;
  uint32_t word[4] = {static_cast<uint32_t>((key + 2 * lane.t) >> 2),
                      static_cast<uint32_t>(odd ? query[1] : query[0]),
                      static_cast<uint32_t>(odd ? stream[1] : stream[0]), p.offset_lo};
  philox(word, p.key0, p.key1);
  // The even lane owns words 0 and 1 of both rows, the odd lane words 2 and 3.
  const uint32_t other0 = ptx::shfl_xor(odd ? word[0] : word[2], 1);
  const uint32_t other1 = ptx::shfl_xor(odd ? word[1] : word[3], 1);
  const uint32_t own0 = odd ? word[2] : word[0], own1 = odd ? word[3] : word[1];
  const uint32_t first = (own0 >= p.threshold) | (own1 >= p.threshold) << 1;
  const uint32_t second = (other0 >= p.threshold) | (other1 >= p.threshold) << 1;
  return odd ? second | first << 2 : first | second << 2;
}

/**
 * The same where rows are keys: element e is key `key` + g + 8 (e / 2) and query[e % 2], of one
 * stream. Four lanes of neighbouring g share their draws: each makes one and they exchange the
 * outcome.
 */
PTX_FN uint32_t kept_pairs_across(const DropoutParams& p, const int (&query)[2], int stream,
                                  int key) {
  const LanePosition lane;
  const int part = lane.g % 4;
  uint32_t word[4] = {static_cast<uint32_t>((key + lane.g + part / 2 * 8) >> 2),
                      static_cast<uint32_t>(part % 2 ? query[1] : query[0]),
                      static_cast<uint32_t>(stream), p.offset_lo};
  philox(word, p.key0, p.key1);
  uint32_t drawn = 0, kept = 0;
#pragma unroll
  for (int w = 0; w < 4; ++w) drawn |= static_cast<uint32_t>(word[w] >= p.threshold) << w;
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    const uint32_t theirs = ptx::shfl_idx(drawn, (lane.g / 4 * 4 + e) * 4 + lane.t);
    kept |= (theirs >> part & 1u) << e;
  }
  return kept;
}

/** Leaves a share of the weights out; what is kept is scaled in the end, all at once. */
template <int kRowTiles, int kKeyTiles>
PTX_FN void drop_out(const AttentionParams& p, const PackedRows& rows, int batch, int row0,
                     int key0, float (&s)[kRowTiles][kKeyTiles][4]) {
  const LanePosition lane;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
    int query[2], stream[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = rows.inside(row0 + 16 * m + 8 * h + lane.g);
      query[h] = rows.query(row);
      stream[h] = batch * p.heads + rows.head(row);
    }
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
      const uint32_t kept = kept_pairs(p.dropout, query, stream, key0 + 8 * n);
#pragma unroll
      for (int c = 0; c < 4; ++c)
        if (!(kept >> c & 1u)) s[m][n][c] = 0;
    }
  }
}

}  // namespace fa::cuda
