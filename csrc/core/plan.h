// What a device decided to do with a problem, and what that costs. Shown by `explain`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fa {

struct AttentionPlan {
  std::string kernel;           // "cpu.forward"
  std::string isa;              // "x86-64-v3"
  std::string backward_kernel;  // of the gradients: "cpu.backward"; empty when the call has none
  int threads = 1;              // that share out the work; of one block on a GPU
  int tile_q = 0;               // query rows of one register tile; of one block on a GPU
  int tile_k = 0;               // keys of one tile
  int panels = 1;               // register tiles that share one pass over the keys
  int64_t block_rows = 0;       // query rows that do, of all packed heads
  int stages = 1;               // tiles of keys, and of values, on chip at a time
  int packed_heads = 1;         // query heads whose rows share a tile
  int num_splits = 1;
  int64_t work_items = 0;  // blocks, on a GPU
  int launches = 0;        // of kernels that share out the sequences, on a GPU; merges left out
  struct Prefix {
    int64_t sequences, keys;
  };
  std::vector<Prefix> shared_prefixes;  // read once for several sequences
  int64_t tiles_full = 0, tiles_partial = 0,
          tiles_skipped = 0;  // (tile_q x tile_k) tiles over all heads
  double flops = 0;           // 2 (D + Dv) per visible (query, key) pair
  double executed_flops =
      0;             // of the tiles computed, hidden pairs and padding among them; 0: not counted
  double bytes = 0;  // bytes the kernel reads and writes: Q and O once, K and V once per work item
  double standard_bytes =
      0;  // bytes standard attention moves: Q, K, V, O once, S and P written and read
  double standard_memory = 0;          // bytes of S and P that standard attention stores
  int64_t shared_bytes = 0;            // shared memory of a block, on a GPU
  int64_t scratch_bytes = 0;           // scratch over all threads, and split partials
  int64_t backward_scratch_bytes = 0;  // likewise of the gradients
};

}  // namespace fa
