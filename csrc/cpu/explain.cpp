// The plan of a call and what it costs, from the same functions that run it.
#include <algorithm>
#include <numeric>
#include <vector>

#include "core/mask.h"
#include "cpu/forward_plan.h"
#include "cpu/isa.h"
#include "cpu/ops.h"

namespace fa::cpu {

namespace {

/** Sum over i in [i0, i1) of i + c, clamped to [low, high]. Exact below 2^53. */
double clamped_sum(int64_t i0, int64_t i1, int64_t c, int64_t low, int64_t high) {
  const int64_t rise = std::clamp(low - c, i0, i1);
  const int64_t top = std::clamp(high - c, rise, i1);
  const double rising = static_cast<double>(top - rise);
  return static_cast<double>(rise - i0) * static_cast<double>(low) +
         rising * static_cast<double>(rise + c + top - 1 + c) / 2 +
         static_cast<double>(i1 - top) * static_cast<double>(high);
}

/** Pairs of queries [i0, i1) x keys [j0, j1) that the window shows. */
double window_pairs(const WindowMask& w, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  if (i0 >= i1 || j0 >= j1) return 0;
  const int64_t to_end = w.offset + w.right + 1;
  // Where the window is empty its begin lies past its end, and keys count as before it.
  const int64_t to_begin = std::min(w.offset - w.left, to_end);
  const int64_t sinks = std::clamp(w.sink_tokens, j0, j1);
  return clamped_sum(i0, i1, to_end, j0, j1) - clamped_sum(i0, i1, to_begin, j0, j1) +
         clamped_sum(i0, i1, to_begin, j0, sinks) -
         static_cast<double>(i1 - i0) * static_cast<double>(j0);
}

/**
 * Pairs that one head computes. A dense mask is not looked into: what it hides is computed all the
 * same.
 */
double visible_pairs(const ForwardArgs& args, const WindowMask& window, int64_t head) {
  const BlockMaskArgs& blocks = args.block_mask;
  if (blocks.cells == nullptr) return window_pairs(window, 0, args.seqlen_q, 0, args.seqlen_k);
  double pairs = 0;
  for (int64_t i0 = 0; i0 < args.seqlen_q; i0 += blocks.block_q) {
    const int64_t i1 = std::min(i0 + blocks.block_q, args.seqlen_q);
    const int32_t* const row =
        blocks.cells + head * blocks.head_stride + i0 / blocks.block_q * blocks.row_stride;
    for (int64_t j0 = 0; j0 < args.seqlen_k; j0 += blocks.block_k) {
      const int64_t j1 = std::min(j0 + blocks.block_k, args.seqlen_k);
      const int32_t cell = row[j0 / blocks.block_k * blocks.column_stride];
      if (cell == 1) pairs += window_pairs(window, i0, i1, j0, j1);
      if (cell < 2) continue;
      for (int64_t i = i0; i < i1; ++i) {
        const int32_t* const bits =
            blocks.bits + (cell - 2) * blocks.bitmap_stride + (i - i0) * blocks.bit_row_stride;
        const int64_t begin = window.begin(i), end = std::min(window.end(i), j1);
        for (int64_t j = j0; j < end; ++j) {
          if (j < begin && j >= window.sink_tokens) continue;
          const auto word = static_cast<uint32_t>(bits[(j - j0) / 32 * blocks.bit_word_stride]);
          pairs += word >> ((j - j0) % 32) & 1u;
        }
      }
    }
  }
  return pairs;
}

struct Counts {
  double keys_read = 0;
  int64_t full = 0, partial = 0, skipped = 0;

  void add(const Counts& other, int64_t times) {
    keys_read += other.keys_read * static_cast<double>(times);
    full += other.full * times;
    partial += other.partial * times;
    skipped += other.skipped * times;
  }
};

/**
 * Tiles of one kv head and the query heads that share it. Real tiles are classified, by the
 * function that the kernels use, but not every one: without a block mask tiles change their kind
 * only where a bound of the window crosses them, and what many rows below one another count is an
 * arithmetic progression. So the time does not grow with the number of queries or keys.
 */
class TileCounter {
 public:
  TileCounter(const ForwardArgs& args, const WindowMask& window, const ForwardPlan& plan,
              int64_t tile_q)
      : args_(args), window_(window), plan_(plan), tile_q_(tile_q) {}

  Counts count() {
    const int64_t items = args_.row_end / plan_.rows_per_item;  // but for a shorter last one
    Counts counts = count_items(items, items + (args_.row_end % plan_.rows_per_item != 0));
    if (args_.block_mask.cells != nullptr) {
      counts.add(count_items(0, items), 1);
      return counts;
    }
    // Queries advance by whole tiles of keys from one period to the next.
    const int64_t tile_rows = plan_.tile_k * int64_t{args_.group};
    const int64_t period = tile_rows / std::gcd(plan_.rows_per_item, tile_rows);
    const int64_t periods = items / period;
    counts.add(count_items(periods * period, items), 1);
    const int64_t queries = period * plan_.rows_per_item / args_.group;  // of one period
    for (int64_t at = 0; at < periods;) {
      const int64_t run = uniform_periods(at, periods, queries);
      const Counts first = count_items(at * period, (at + 1) * period);
      counts.add(first, run);
      if (run > 1) {
        const int64_t steps = run * (run - 1) / 2;
        counts.add(count_items((at + 1) * period, (at + 2) * period), steps);
        counts.add(first, -steps);
      }
      at += run;
    }
    return counts;
  }

 private:
  /**
   * Periods from `at` on in which the bounds of the window pass no tile of another sort; at least
   * 1.
   */
  int64_t uniform_periods(int64_t at, int64_t periods, int64_t queries) const {
    const int64_t tile = plan_.tile_k, keys = args_.seqlen_k;
    const int64_t sinks = std::min(window_.sink_tokens, keys);
    const int64_t marks[] = {0, sinks / tile * tile, std::min(sinks / tile * tile + tile, keys),
                             keys / tile * tile, keys};
    const int64_t begin = at * queries;
    int64_t end = periods * queries;
    for (const int64_t bound :
         {window_.offset + window_.right + 1, window_.offset - window_.left}) {
      for (const int64_t mark : marks) {
        const int64_t query = mark - bound;  // whose bound reaches the mark
        if (query >= begin - 1) end = std::min(end, query - 1);
      }
    }
    return std::clamp<int64_t>((end - begin) / queries, 1, periods - at);
  }

  /** Items [begin, end), each with all its tiles. */
  Counts count_items(int64_t begin, int64_t end) {
    Counts counts;
    const int64_t tile = plan_.tile_k, keys = args_.seqlen_k;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row_begin = item * plan_.rows_per_item;
      const int64_t row_end = std::min(args_.row_end, row_begin + plan_.rows_per_item);
      cut(row_begin, row_end);
      for (size_t n = 0; n + 1 < cuts_.size(); ++n) {
        const int64_t tiles = cuts_[n + 1] - cuts_[n];
        const int64_t j0 = cuts_[n] * tile, j1 = std::min(j0 + tile, keys);
        bool read = false;
        for (int64_t row = row_begin; row < row_end; row += tile_q_) {
          const int64_t last = std::min(row_end, row + tile_q_) - 1;
          const auto kind = static_cast<TileKind>(
              plan_.kernels->classify(args_, row / args_.group, last / args_.group + 1, j0, j1));
          (kind == TileKind::kFull      ? counts.full
           : kind == TileKind::kPartial ? counts.partial
                                        : counts.skipped) += tiles;
          read |= kind != TileKind::kSkip;
        }
        if (read) counts.keys_read += static_cast<double>(std::min(cuts_[n + 1] * tile, keys) - j0);
      }
    }
    return counts;
  }

  /** Where, in tiles, the item's tiles may change their kind: first and last included. */
  void cut(int64_t row_begin, int64_t row_end) {
    const int64_t tile = plan_.tile_k, tiles = (args_.seqlen_k + tile - 1) / tile;
    cuts_.clear();
    if (args_.block_mask.cells != nullptr) {
      for (int64_t t = 0; t <= tiles; ++t) cuts_.push_back(t);
      return;
    }
    const auto add = [&](int64_t key) {
      for (const int64_t t : {key / tile, key / tile + 1}) cuts_.push_back(std::min(t, tiles));
    };
    cuts_.push_back(0);
    add(args_.seqlen_k);
    add(std::max<int64_t>(args_.seqlen_k - 1, 0));
    add(window_.sink_tokens);
    for (int64_t row = row_begin; row < row_end; row += tile_q_) {
      for (const int64_t i :
           {row / args_.group, (std::min(row_end, row + tile_q_) - 1) / args_.group}) {
        add(window_.begin(i));
        add(window_.end(i));
      }
    }
    std::sort(cuts_.begin(), cuts_.end());
    cuts_.erase(std::unique(cuts_.begin(), cuts_.end()), cuts_.end());
  }

  const ForwardArgs& args_;
  const WindowMask& window_;
  const ForwardPlan& plan_;
  int64_t tile_q_;
  std::vector<int64_t> cuts_;
};

}  // namespace

AttentionPlan plan_attention(const AttentionProblem& problem) {
  AttentionProblem p = problem;
  if (!p.out.present()) {
    // Only addresses that are never followed come from it.
    p.out = p.q;
    p.out.shape[3] = p.head_dim_v();
  }
  ForwardPlan forward;
  plan_forward(p, forward);
  AttentionPlan plan;
  plan.kernel = forward.decode ? "cpu.decode" : "cpu.forward";
  plan.isa = forward.kernels->name;
  if (!p.paged() && !p.float8()) plan.backward_kernel = "cpu.backward";
  plan.threads = forward.threads;
  plan.tile_q = forward.decode ? forward.kernels->decode_rows : forward.kernels->panel_rows;
  plan.tile_k = forward.tile_k;
  plan.panels = forward.panels;
  plan.packed_heads = static_cast<int>(p.group());
  plan.num_splits = forward.num_splits;
  plan.work_items = forward.work_items();

  const double element = static_cast<double>(dtype_size(p.q.dtype));
  const double dims = static_cast<double>(p.head_dim() + p.head_dim_v());
  double pairs = 0, keys_read = 0, rows = 0, keys = 0, scores = 0;
  // Sequences and heads that nothing tells apart are counted once.
  const View& table = p.block_mask.table;
  const bool heads_alike = !table.present() || table.shape[1] == 1;
  const bool batch_alike =
      !p.varlen() && !p.seqlens_k.present() && (!table.present() || table.shape[0] == 1);
  const int64_t sequences = batch_alike ? p.batch() : 1;
  const int64_t kv_heads = heads_alike ? p.kv_heads() : 1;
  for (int64_t b = 0; b < p.batch(); b += sequences) {
    const Sequence s = sequence(p, b);
    const WindowMask window{p.window_left, p.window_right, p.sink_tokens, s.seqlen_k, s.offset()};
    const double times = static_cast<double>(sequences);
    rows += times * static_cast<double>(s.seqlen_q * p.heads());
    keys += times * static_cast<double>(s.seqlen_k * p.kv_heads());
    scores += times * static_cast<double>(s.seqlen_q) * static_cast<double>(s.seqlen_k) *
              static_cast<double>(p.heads());
    for (int64_t kv_head = 0; kv_head < p.kv_heads(); kv_head += kv_heads) {
      const ForwardArgs args = forward_args(p, forward, b, kv_head, nullptr);
      const int64_t repeats = sequences * kv_heads;
      const int64_t heads = heads_alike ? 1 : args.group;
      for (int64_t head = 0; head < heads; ++head) {
        pairs +=
            static_cast<double>(repeats * (args.group / heads)) * visible_pairs(args, window, head);
      }
      const Counts counts = TileCounter(args, window, forward, plan.tile_q).count();
      keys_read += static_cast<double>(repeats) * counts.keys_read;
      plan.tiles_full += repeats * counts.full;
      plan.tiles_partial += repeats * counts.partial;
      plan.tiles_skipped += repeats * counts.skipped;
    }
  }
  const double in_and_out = rows * dims * element;
  plan.flops = 2 * dims * pairs;
  plan.bytes = in_and_out + keys_read * dims * element + (p.lse.present() ? rows * 4 : 0);
  if (forward.num_splits > 1)
    plan.bytes += 2 * forward.num_splits * rows * static_cast<double>(p.head_dim_v() + 1) * 4;
  plan.standard_bytes = in_and_out + keys * dims * element + 4 * scores * element;
  plan.standard_memory = 2 * scores * element;

  ForwardArgs args{};
  args.head_dim = static_cast<int>(p.head_dim());
  args.head_dim_v = static_cast<int>(p.head_dim_v());
  args.panels = forward.panels;
  args.tile_k = forward.tile_k;
  args.kv_heads = static_cast<int>(forward.heads_per_item);
  plan.scratch_bytes =
      static_cast<int64_t>(forward.decode ? forward.kernels->decode_scratch(args)
                                          : forward.kernels->forward_scratch(args)) *
      forward.threads;
  if (forward.num_splits > 1)
    plan.scratch_bytes +=
        forward.num_splits * p.q.shape[0] * p.q.shape[1] * p.heads() * (p.head_dim_v() + 1) * 4;
  return plan;
}

}  // namespace fa::cpu
