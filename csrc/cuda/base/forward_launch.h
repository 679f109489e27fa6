// One kernel of the forward pass and how a call is cut up for it.
#pragma once

#include "core/attention.h"

namespace fa::cuda {

enum class ForwardKernelFamily { kSm80, kSm80Decode, kSm80Mla, kSm90, kSm90Mla };

/** Numbers of queries: the sequences that a launch is for. */
struct QueryCounts {
  int least, most;

  bool hold(int64_t count) const { return least <= count && count <= most; }
  bool operator==(const QueryCounts&) const = default;
};

/** One kernel, and the sequences it is for. */
struct ForwardLaunch {
  ForwardKernelFamily family;
  bool featured;       // the variant with options; of kSm80 also the tiles for few rows
  int tile;            // of kSm80: its index (sm80/forward_tiles.h)
  int width, width_v;  // head dims of the products: padded
  int rows, keys;      // of a tile
  int keys_at_once;    // of a block: one tile, or one of each warp
  int box_keys;        // sm_90: that TMA copies at once, a tile or what pages share with one
  int rows_together;   // that leave out tiles of keys together: a warp's, or a warpgroup's
  int stages;
  int threads;          // of a block
  int shared_bytes;     // of a block
  int blocks_per_sm;    // that registers allow
  int pack;             // query heads packed as rows of a tile
  QueryCounts queries;  // sequences of other lengths are left to the other launches
  int64_t m_blocks;     // tiles of rows of the longest of its sequences
  int64_t head_blocks;  // heads / pack
  int64_t tiles;        // of rows, over all heads, sequences and splits
  int64_t first_item;   // of the list of a ragged call, whose items are its tiles
  int64_t section;      // sm_90: (sequence, block of heads)s that are worked on at a time
  int64_t blocks;       // launched: all tiles, or as many as there are SMs

  /** What follows from tile and pack: all tiles of the sequences of `counts` queries. */
  void count_tiles(const AttentionProblem& problem, QueryCounts counts);
  bool is_mla() const {
    return family == ForwardKernelFamily::kSm80Mla || family == ForwardKernelFamily::kSm90Mla;
  }
  bool operator==(const ForwardLaunch&) const = default;
};

/** Whether the plain kernels leave out what `problem` asks for. */
bool needs_featured_forward(const AttentionProblem& problem);

/**
 * Whether the query heads of a group can be rows of one tile. A block mask that tells heads apart
 * lets tiles be skipped for one of them alone.
 */
bool packs_heads(const AttentionProblem& problem);

}  // namespace fa::cuda
