// Into how many splits keys are cut when the caller leaves that to us.
#pragma once

#include <cstdint>
#include <vector>

namespace fa::cuda {

/** What the rows of a sequence have to do, in tiles that a block works on at a time. */
struct SequenceWork {
  int64_t blocks;   // tiles of rows, over all heads
  int64_t longest;  // of a block
  int64_t total;    // of all blocks
};

/**
 * The most that a split should have to do, for `places` blocks that run at a time: no more than an
 * equal share of all there is. With too few blocks for that, splits are as long as they can be for
 * nearly the shortest time in which any splits run.
 */
int64_t share_of(const std::vector<SequenceWork>& work, int64_t places);

/** The most that rows are ever split into by a share. */
constexpr int kMaxAutoSplits = 128;

/**
 * The most blocks that sequences alike in blocks, with up to so many in all, are split into by
 * their share, however long they are: a full device's and one each, or as many as fill it in
 * kMostWaves. Where the blocks of a sequence are not alike, those of its first queries have half of
 * the longest's to do on average, or more, and a share is as much less: two full devices' then.
 */
int64_t most_blocks(int64_t blocks, int64_t places, bool alike);

/** Splits of rows whose blocks have up to `longest` to do. */
int splits_by_share(int64_t longest, int64_t share);

}  // namespace fa::cuda
