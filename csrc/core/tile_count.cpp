#include "core/tile_count.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/divide.h"

namespace fa {

namespace {

/** The split whose part (TileRange::split) a tile of the range is. */
int split_of(const TileRange& range, int64_t tile, int splits) {
  const int64_t count = range.end - range.begin, parts = std::min<int64_t>(splits, count);
  return parts > 1 ? static_cast<int>(((tile - range.begin + 1) * parts - 1) / count) : 0;
}

/**
 * Tiles change their kind only where a bound of the window, or a cell of a block mask, crosses
 * them: of those between, one is classified. And what many blocks below one another count is an
 * arithmetic progression.
 */
class TileCounter {
 public:
  TileCounter(const Tiling& tiling, const TiledRows& rows)
      : tiling_(tiling),
        of_(rows),
        rows_(rows.seqlen_q * tiling.packed_heads),
        tiles_(ceil_div(rows.window.seqlen_k, tiling.tile_keys)) {}

  TileCounts count() {
    const int64_t whole = rows_ / tiling_.block_rows;  // blocks, but for a shorter last one
    TileCounts counts = count_blocks(whole, ceil_div(rows_, tiling_.block_rows));
    // Queries advance by whole tiles of keys from one period to the next.
    const int64_t tile_rows = tiling_.tile_keys * tiling_.packed_heads;
    const int64_t period = tile_rows / std::gcd(tiling_.block_rows, tile_rows);
    const int64_t periods = of_.mask_block_k > 0 ? 0 : whole / period;
    counts.add(count_blocks(periods * period, whole), 1);
    for (int64_t at = 0; at < periods;) {
      const int64_t run = uniform_periods(at, periods, period);
      counts.add(count_run(at, run, period), 1);
      at += run;
    }
    return counts;
  }

 private:
  /**
   * Periods from `at` on in which the bounds of the window pass no tile of another sort; at least
   * 1.
   */
  int64_t uniform_periods(int64_t at, int64_t periods, int64_t period) const {
    const WindowMask& window = of_.window;
    const int64_t tile = tiling_.tile_keys, keys = window.seqlen_k;
    const int64_t queries = period * tiling_.block_rows / tiling_.packed_heads;
    const int64_t sinks = std::min(window.sink_tokens, keys);
    const int64_t marks[] = {
        0,    sinks / tile * tile, std::min(sinks / tile * tile + tile, keys), keys / tile * tile,
        keys, tiles_ * tile};
    const int64_t begin = at * queries;
    int64_t end = periods * queries;
    for (const int64_t bound : {window.offset + window.right + 1, window.offset - window.left}) {
      for (const int64_t mark : marks) {
        const int64_t query = mark - bound;  // whose bound reaches the mark
        if (query >= begin - 1) end = std::min(end, query - 1);
      }
    }
    return std::clamp<int64_t>((end - begin) / queries, 1, periods - at);
  }

  /** Uniform periods [at, at + run). */
  TileCounts count_run(int64_t at, int64_t run, int64_t period) {
    const TileCounts first = count_blocks(at * period, (at + 1) * period);
    TileCounts counts;
    counts.add(first, run);
    if (run == 1) return counts;
    TileCounts step = count_blocks((at + 1) * period, (at + 2) * period);
    step.add(first, -1);
    counts.add(step, run * (run - 1) / 2);
    if (tiling_.num_splits == 1) return counts;
    // Splits with something to do are no progression.
    int64_t splits = 0;
    for (int64_t block = at * period; block < (at + 1) * period; ++block)
      splits += busy_splits(block, period, run);
    counts.query_rows = static_cast<double>(splits) * static_cast<double>(tiling_.block_rows);
    return counts;
  }

  /**
   * Splits with something to do of the blocks `block`, `block` + `period`, ... of a uniform run:
   * they only grow in number, or only fall.
   */
  int64_t busy_splits(int64_t block, int64_t period, int64_t run) {
    TileCounts ignored;
    const int64_t first = count_block(block, ignored);
    if (run == 1 || first == count_block(block + (run - 1) * period, ignored)) return first * run;
    const int64_t half = run / 2;
    return busy_splits(block, period, half) +
           busy_splits(block + half * period, period, run - half);
  }

  TileCounts count_blocks(int64_t begin, int64_t end) {
    TileCounts counts;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t splits = count_block(block, counts);
      const int64_t row = block * tiling_.block_rows;
      const int64_t there = of_.queries_there * tiling_.packed_heads - row;
      counts.query_rows +=
          static_cast<double>(splits) * static_cast<double>(std::min(tiling_.block_rows, there));
    }
    return counts;
  }

  /** Adds a block with all its tiles. Returns how many splits have something to do. */
  int64_t count_block(int64_t block, TileCounts& counts) {
    const int64_t row_begin = block * tiling_.block_rows;
    const int64_t row_end = std::min(rows_, row_begin + tiling_.block_rows);
    const TileRange visible =
        visible_tiles(of_.window, query(row_begin), query(row_end - 1) + 1, tiling_.tile_keys);
    cut(row_begin, row_end);
    int64_t splits = 0;
    int last_split = -1;
    for (size_t n = 0; n + 1 < cuts_.size(); ++n) {
      if (!count_stretch(row_begin, row_end, cuts_[n], cuts_[n + 1], counts)) continue;
      const int first = split_of(visible, cuts_[n], tiling_.num_splits);
      const int last = split_of(visible, cuts_[n + 1] - 1, tiling_.num_splits);
      splits += last - std::max(first, last_split + 1) + 1;
      last_split = last;
    }
    return splits;
  }

  /** Adds tiles [begin, end) of keys, which are all alike. Returns whether they are read. */
  bool count_stretch(int64_t row_begin, int64_t row_end, int64_t begin, int64_t end,
                     TileCounts& counts) const {
    const int64_t key = begin * tiling_.tile_keys, tiles = end - begin;
    bool read = false;
    for (int64_t row = row_begin; row < row_end; row += tiling_.tile_rows) {
      const int64_t last = std::min(row_end, row + tiling_.tile_rows) - 1;
      const TileKind kind = of_.classify(query(row), query(last) + 1, key, key + tiling_.tile_keys);
      (kind == TileKind::kFull      ? counts.full
       : kind == TileKind::kPartial ? counts.partial
                                    : counts.skipped) += tiles;
      if (kind == TileKind::kSkip) continue;
      read = true;
      counts.products += static_cast<double>(rows_seeing(row, last + 1, key)) *
                         static_cast<double>(tiles * tiling_.tile_keys);
    }
    if (read) {
      const int64_t key_end = std::min(end * tiling_.tile_keys, of_.keys_there);
      counts.key_rows += static_cast<double>(key_end - key);
    }
    return read;
  }

  /** Rows of a tile, padding among them, that do not leave out the tile of keys at `key`. */
  int64_t rows_seeing(int64_t row_begin, int64_t row_end, int64_t key) const {
    int64_t rows = 0;
    for (int64_t row = row_begin; row < row_end; row += tiling_.rows_together) {
      const int64_t last = std::min(row_end, row + tiling_.rows_together) - 1;
      if (key < of_.window.end(query(last))) rows += tiling_.rows_together;
    }
    return rows;
  }

  /** Where, in tiles, the block's tiles may change their kind: first and last included. */
  void cut(int64_t row_begin, int64_t row_end) {
    const int64_t keys = of_.window.seqlen_k, tile = tiling_.tile_keys;
    cuts_.clear();
    const auto add = [&](int64_t key) {
      for (const int64_t t : {key / tile, key / tile + 1}) cuts_.push_back(std::min(t, tiles_));
    };
    cuts_.push_back(0);
    add(keys);
    add(std::max<int64_t>(keys - 1, 0));
    add(of_.window.sink_tokens);
    for (int64_t row = row_begin; row < row_end; row += tiling_.rows_together) {
      const int64_t last = std::min(row_end, row + tiling_.rows_together) - 1;
      for (const int64_t i : {query(row), query(last)}) {
        add(of_.window.begin(i));
        add(of_.window.end(i));
      }
    }
    if (of_.mask_block_k > 0)
      for (int64_t key = 0; key < keys; key += std::max(of_.mask_block_k, tile)) add(key);
    std::sort(cuts_.begin(), cuts_.end());
    cuts_.erase(std::unique(cuts_.begin(), cuts_.end()), cuts_.end());
  }

  int64_t query(int64_t row) const { return row / tiling_.packed_heads; }

  const Tiling& tiling_;
  const TiledRows& of_;
  const int64_t rows_, tiles_;
  std::vector<int64_t> cuts_;
};

}  // namespace

void TileCounts::add(const TileCounts& other, int64_t times) {
  const double factor = static_cast<double>(times);
  full += other.full * times;
  partial += other.partial * times;
  skipped += other.skipped * times;
  query_rows += other.query_rows * factor;
  key_rows += other.key_rows * factor;
  products += other.products * factor;
}

TileRange visible_tiles(const WindowMask& window, int64_t i0, int64_t i1, int64_t tile_keys) {
  const int64_t last = window.end(i1 - 1);
  const int64_t first = window.sink_tokens > 0 ? 0 : window.begin(i0);
  if (first >= last) return {0, 0};
  return {static_cast<int>(first / tile_keys), static_cast<int>(ceil_div(last, tile_keys))};
}

TileCounts count_tiles(const Tiling& tiling, const TiledRows& rows) {
  return TileCounter(tiling, rows).count();
}

}  // namespace fa
