// Tiles counted in closed form against the same tiles walked one by one, for random tilings: of
// register tiles that share keys, as on a CPU, and of blocks whose warps leave out tiles, as on a
// GPU; packed heads, splits, windows, sink tokens, block masks.
#include "core/tile_count.h"

#include <algorithm>
#include <cstdio>
#include <random>
#include <vector>

#include "check.h"
#include "core/attention.h"
#include "core/divide.h"

namespace {

using fa::both;
using fa::TileCounts;
using fa::TiledRows;
using fa::TileKind;
using fa::TileRange;
using fa::Tiling;
using fa::WindowMask;

std::mt19937 random_bits(20261129);

int64_t any(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random_bits);
}

int64_t one_of(std::initializer_list<int64_t> values) {
  return values.begin()[any(0, static_cast<int64_t>(values.size()) - 1)];
}

TileCounts walk(const Tiling& tiling, const TiledRows& of) {
  TileCounts counts;
  const int64_t pack = tiling.packed_heads, keys = tiling.tile_keys;
  const int64_t rows = of.seqlen_q * pack, tiles = fa::ceil_div(of.window.seqlen_k, keys);
  for (int64_t begin = 0; begin < rows; begin += tiling.block_rows) {
    const int64_t end = std::min(rows, begin + tiling.block_rows);
    const TileRange visible =
        fa::visible_tiles(of.window, begin / pack, (end - 1) / pack + 1, keys);
    std::vector<bool> read(static_cast<size_t>(tiles));
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t key = tile * keys;
      for (int64_t row = begin; row < end; row += tiling.tile_rows) {
        const int64_t row_end = std::min(end, row + tiling.tile_rows);
        const TileKind kind = of.classify(row / pack, (row_end - 1) / pack + 1, key, key + keys);
        counts.full += kind == TileKind::kFull;
        counts.partial += kind == TileKind::kPartial;
        counts.skipped += kind == TileKind::kSkip;
        if (kind == TileKind::kSkip) continue;
        read[static_cast<size_t>(tile)] = true;
        for (int64_t part = row; part < row_end; part += tiling.rows_together) {
          const int64_t last = std::min(row_end, part + tiling.rows_together) - 1;
          if (key < of.window.end(last / pack))
            counts.products += static_cast<double>(tiling.rows_together * keys);
        }
      }
      if (read[static_cast<size_t>(tile)])
        counts.key_rows += static_cast<double>(std::min(keys, of.keys_there - key));
    }
    for (int split = 0; split < tiling.num_splits; ++split) {
      const TileRange part = tiling.num_splits == 1 ? TileRange{0, static_cast<int>(tiles)}
                                                    : visible.split(split, tiling.num_splits);
      bool busy = false;
      for (int tile = part.begin; tile < part.end; ++tile)
        busy = busy || read[static_cast<size_t>(tile)];
      if (busy)
        counts.query_rows += static_cast<double>(
            std::min(begin + tiling.block_rows, of.queries_there * pack) - begin);
    }
  }
  return counts;
}

struct Case {
  Tiling tiling;
  WindowMask window;
  int64_t seqlen_q, queries_there, keys_there;
  int64_t block_q = 0, block_k = 0;
  std::vector<int32_t> cells;
  bool skips_empty_windows;  // as GPUs do

  TiledRows rows() const {
    const auto classify = [this](int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
      const TileRange visible = fa::visible_tiles(window, i0, i1, tiling.tile_keys);
      if (skips_empty_windows && visible.begin == visible.end) return TileKind::kSkip;
      const int64_t end = skips_empty_windows ? j1 : std::min(j1, window.seqlen_k);
      const TileKind kind = window.classify(i0, i1, j0, end);
      if (block_k == 0) return kind;
      const fa::BlockMaskTable table{cells.data(), fa::ceil_div(window.seqlen_k, block_k), 1,
                                     block_q, block_k};
      return both(kind, table.classify(i0, i1, j0, std::min(j1, window.seqlen_k)));
    };
    return {window, seqlen_q, queries_there, keys_there, block_k, classify};
  }
};

Case random_case() {
  Case c;
  const bool gpu = any(0, 1) == 1;
  c.skips_empty_windows = gpu;
  c.tiling.packed_heads = one_of({1, 1, 2, 3, 5, 7, 8, 20});
  c.tiling.tile_keys = one_of({16, 32, 64, 80, 128, 176});
  c.tiling.rows_together = one_of({8, 16, 24, 64});
  c.tiling.tile_rows = c.tiling.rows_together * (gpu ? one_of({1, 2, 4}) : 1);
  c.tiling.block_rows = c.tiling.tile_rows * (gpu ? 1 : any(1, 8));
  c.tiling.num_splits = static_cast<int>(gpu ? one_of({1, 1, 2, 3, 7, 32, 256}) : 1);
  c.seqlen_q = any(0, one_of({20, 300, 3000}));
  c.window.seqlen_k = any(0, one_of({20, 300, 5000}));
  const auto bound = [] {
    return one_of({fa::kUnbounded, fa::kUnbounded, 0, any(-200, 3000), any(0, 100)});
  };
  c.window.left = bound();
  c.window.right = bound();
  c.window.sink_tokens = one_of({0, 0, any(1, 40), any(1, 2000)});
  c.window.offset = any(0, 2) > 0 ? c.window.seqlen_k - c.seqlen_q : any(-2000, 4000);
  c.queries_there = c.seqlen_q + one_of({0, any(0, 200)});
  c.keys_there = c.window.seqlen_k + one_of({0, any(0, 300)});
  if (any(0, 3) == 0) {
    c.block_q = one_of({16, 50, 128, 1000});
    c.block_k = one_of({16, 70, 128, 1000});
    const int64_t cells =
        fa::ceil_div(c.seqlen_q, c.block_q) * fa::ceil_div(c.window.seqlen_k, c.block_k);
    for (int64_t i = 0; i < cells; ++i) c.cells.push_back(static_cast<int32_t>(any(0, 2)));
  }
  return c;
}

void random_cases() {
  for (int i = 0; i < 10000; ++i) {
    const Case c = random_case();
    const TileCounts counted = fa::count_tiles(c.tiling, c.rows());
    const TileCounts walked = walk(c.tiling, c.rows());
    CHECK(counted.full == walked.full);
    CHECK(counted.partial == walked.partial);
    CHECK(counted.skipped == walked.skipped);
    CHECK(counted.query_rows == walked.query_rows);
    CHECK(counted.key_rows == walked.key_rows);
    CHECK(counted.products == walked.products);
  }
}

/** More tiles than a walk could visit. */
void long_sequences() {
  for (const int splits : {1, 256}) {
    for (const int64_t sinks : {0, 100000}) {
      Case c;
      c.tiling = {3, 64, 64, 16, 80, splits};
      c.seqlen_q = c.queries_there = c.keys_there = int64_t{1} << 29;
      c.window = {int64_t{1} << 26, 0, sinks, c.seqlen_q, 0};
      c.skips_empty_windows = true;
      const TileCounts counts = fa::count_tiles(c.tiling, c.rows());
      const double tiles = static_cast<double>(fa::ceil_div(c.seqlen_q * 3, 64)) *
                           static_cast<double>(fa::ceil_div(c.seqlen_q, 80));
      CHECK(static_cast<double>(counts.full) + static_cast<double>(counts.partial) +
                static_cast<double>(counts.skipped) ==
            tiles);
      CHECK(counts.query_rows >= static_cast<double>(c.seqlen_q * 3));
    }
  }
}

}  // namespace

int main() {
  random_cases();
  long_sequences();
  std::printf("tile counts: ok\n");
  return 0;
}
