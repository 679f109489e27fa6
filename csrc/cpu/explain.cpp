// The plan of a call and what it costs, from the same functions that run it.
#include <algorithm>
#include <numeric>
#include <vector>

#include "core/cost.h"
#include "core/mask.h"
#include "cpu/backward_plan.h"
#include "cpu/forward_plan.h"
#include "cpu/isa.h"
#include "cpu/ops.h"

namespace fa::cpu {

namespace {

/** Query rows of a tile. */
int tile_rows(const ForwardPlan& plan, const SequencePlan& sequence) {
  return sequence.decode ? plan.kernels->decode_rows : plan.kernels->panel_rows;
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
              const SequencePlan& sequence)
      : args_(args),
        window_(window),
        plan_(plan),
        tile_q_(tile_rows(plan, sequence)),
        rows_per_item_(plan.rows_per_item(sequence)) {}

  Counts count() {
    const int64_t items = args_.row_end / rows_per_item_;  // but for a shorter last one
    Counts counts = count_items(items, items + (args_.row_end % rows_per_item_ != 0));
    if (args_.block_mask.cells != nullptr) {
      counts.add(count_items(0, items), 1);
      return counts;
    }
    // Queries advance by whole tiles of keys from one period to the next.
    const int64_t tile_rows = plan_.tile_k * int64_t{args_.group};
    const int64_t period = tile_rows / std::gcd(rows_per_item_, tile_rows);
    const int64_t periods = items / period;
    counts.add(count_items(periods * period, items), 1);
    const int64_t queries = period * rows_per_item_ / args_.group;  // of one period
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
      const int64_t row_begin = item * rows_per_item_;
      const int64_t row_end = std::min(args_.row_end, row_begin + rows_per_item_);
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
  int64_t tile_q_, rows_per_item_;
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
  // What is said of one sequence is said of the one with the most queries.
  SequencePlan longest{};
  for (const SequencePlan& s : forward.sequences)
    if (s.rows.seqlen_q >= longest.rows.seqlen_q) longest = s;
  plan.kernel = longest.decode ? "cpu.decode" : "cpu.forward";
  plan.isa = forward.kernels->name;
  if (!p.paged() && !p.float8()) {
    const BackwardPlan backward = plan_backward(p);
    plan.backward_kernel = "cpu.backward";
    plan.backward_scratch_bytes = static_cast<int64_t>(backward.scratch_bytes());
    if (backward.items() > 0) {
      const BackwardArgs args = backward_args(p, backward, 0, nullptr);
      plan.backward_scratch_bytes +=
          static_cast<int64_t>(backward.kernels->backward_scratch(args)) * backward.threads;
    }
  }
  plan.threads = forward.threads;
  plan.tile_q = tile_rows(forward, longest);
  plan.tile_k = forward.tile_k;
  plan.panels = longest.decode ? 1 : forward.panels;
  plan.packed_heads = static_cast<int>(p.group());
  plan.num_splits = forward.num_splits;
  plan.work_items = forward.work_items;

  const double element = static_cast<double>(dtype_size(p.q.dtype));
  const double dims = static_cast<double>(p.head_dim() + p.head_dim_v());
  double pairs = 0, keys_read = 0, rows = 0, keys = 0, scores = 0;
  // Sequences and heads that nothing tells apart are counted once.
  const View& table = p.block_mask.table;
  const bool heads_alike = !table.present() || table.shape[1] == 1;
  const bool batch_alike =
      !p.ragged() && !p.first_positions.present() && (!table.present() || table.shape[0] == 1);
  const int64_t sequences = batch_alike ? p.batch() : 1;
  const int64_t kv_heads = heads_alike ? p.kv_heads() : 1;
  for (int64_t b = 0; b < p.batch(); b += sequences) {
    const SequencePlan& sequence = forward.sequences[static_cast<size_t>(b)];
    const Sequence& s = sequence.rows;
    const WindowMask window = window_of(p, s);
    const double times = static_cast<double>(sequences);
    rows += times * static_cast<double>(s.seqlen_q * p.heads());
    keys += times * static_cast<double>(s.seqlen_k * p.kv_heads());
    scores += times * static_cast<double>(s.seqlen_q) * static_cast<double>(s.seqlen_k) *
              static_cast<double>(p.heads());
    for (int64_t kv_head = 0; kv_head < p.kv_heads(); kv_head += kv_heads) {
      ForwardArgs args = forward_args(p, s, b, kv_head, nullptr);
      args.tile_k = forward.tile_k;
      const int64_t repeats = sequences * kv_heads;
      const int64_t heads = heads_alike ? 1 : args.group;
      for (int64_t head = 0; head < heads; ++head) {
        pairs += static_cast<double>(repeats * (args.group / heads)) *
                 visible_pairs(p, s, b, kv_head * args.group + head);
      }
      const Counts counts = TileCounter(args, window, forward, sequence).count();
      keys_read += static_cast<double>(repeats) * counts.keys_read;
      plan.tiles_full += repeats * counts.full;
      plan.tiles_partial += repeats * counts.partial;
      plan.tiles_skipped += repeats * counts.skipped;
    }
  }
  const double in_and_out = rows * dims * element;
  plan.flops = 2 * dims * pairs;
  plan.bytes = in_and_out + keys_read * dims * element + (p.lse.present() ? rows * 4 : 0);
  plan.bytes += 2 * static_cast<double>(forward.partial_bytes());
  plan.standard_bytes = in_and_out + keys * dims * element + 4 * scores * element;
  plan.standard_memory = 2 * scores * element;

  ForwardArgs args{};
  args.head_dim = static_cast<int>(p.head_dim());
  args.head_dim_v = static_cast<int>(p.head_dim_v());
  args.panels = plan.panels;
  args.tile_k = forward.tile_k;
  args.kv_heads = static_cast<int>(forward.heads_per_item(longest));
  const auto scratch =
      longest.decode ? forward.kernels->decode_scratch : forward.kernels->forward_scratch;
  plan.scratch_bytes = static_cast<int64_t>(scratch(args)) * forward.threads +
                       static_cast<int64_t>(forward.partial_bytes());
  return plan;
}

}  // namespace fa::cpu
