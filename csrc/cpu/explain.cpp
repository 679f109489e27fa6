// The plan of a call and what it costs, from the same functions that run it.
#include <algorithm>

#include "core/mask.h"
#include "cpu/forward_plan.h"
#include "cpu/isa.h"
#include "cpu/ops.h"

namespace fa::cpu {

namespace {

/** Pairs that query i of one head sees. A dense mask is not looked into: its pairs are computed all the same. */
int64_t visible_pairs(const WindowMask& window, const BlockMaskArgs& blocks, int64_t head,
                      int64_t i) {
  if (blocks.cells == nullptr) return window.count(i);
  const int32_t* const row =
      blocks.cells + head * blocks.head_stride + i / blocks.block_q * blocks.row_stride;
  const int64_t begin = window.begin(i), end = window.end(i);
  const auto seen = [&](int64_t j) { return j < end && (j >= begin || j < window.sink_tokens); };
  int64_t pairs = 0;
  for (int64_t column = 0; column * blocks.block_k < end; ++column) {
    const int32_t cell = row[column * blocks.column_stride];
    const int64_t j0 = column * blocks.block_k, j1 = std::min(j0 + blocks.block_k, end);
    if (cell == 0) continue;
    if (cell == 1) {
      const int64_t from = std::max(j0, begin);
      pairs += std::max<int64_t>(0, j1 - from) +
               std::max<int64_t>(0, std::min({j1, begin, window.sink_tokens}) - j0);
      continue;
    }
    const int32_t* const bits = blocks.bits + (cell - 2) * blocks.bitmap_stride +
                                i % blocks.block_q * blocks.bit_row_stride;
    for (int64_t j = j0; j < j1; ++j) {
      pairs += seen(j) && (static_cast<uint32_t>(bits[(j - j0) / 32 * blocks.bit_word_stride]) >>
                               ((j - j0) % 32) &
                           1u);
    }
  }
  return pairs;
}

struct Counts {
  double pairs = 0, keys_read = 0;
  int64_t full = 0, partial = 0, skipped = 0;
};

/** Tiles and pairs of one kv head and the query heads that share it. */
Counts count(const ForwardArgs& args, const WindowMask& window, const ForwardPlan& forward,
             int64_t tile_q, bool alike) {
  Counts counts;
  const int64_t group = args.group;
  for (int64_t head = 0; head < (alike ? 1 : group); ++head) {
    double of_head = 0;
    for (int64_t i = 0; i < args.seqlen_q; ++i) {
      of_head += static_cast<double>(visible_pairs(window, args.block_mask, head, i));
    }
    counts.pairs += alike ? of_head * static_cast<double>(group) : of_head;
  }
  for (int64_t item = 0; item < args.row_end; item += forward.rows_per_item) {
    const int64_t item_end = std::min(args.row_end, item + forward.rows_per_item);
    for (int64_t j = 0; j < args.seqlen_k; j += forward.tile_k) {
      const int64_t j_end = std::min(args.seqlen_k, j + forward.tile_k);
      bool read = false;
      for (int64_t row = item; row < item_end; row += tile_q) {
        const int64_t last = std::min(item_end, row + tile_q) - 1;
        const auto kind = static_cast<TileKind>(
            forward.kernels->classify(args, row / group, last / group + 1, j, j_end));
        counts.full += kind == TileKind::kFull;
        counts.partial += kind == TileKind::kPartial;
        counts.skipped += kind == TileKind::kSkip;
        read |= kind != TileKind::kSkip;
      }
      if (read) counts.keys_read += static_cast<double>(j_end - j);
    }
  }
  return counts;
}

}  // namespace

AttentionPlan plan_attention(const AttentionProblem& problem) {
  AttentionProblem p = problem;
  if (!p.out.present()) {
    // Only addresses that are never followed come from it.
    p.out = p.q;
    p.out.shape[3] = p.head_dim_v();
  }
  const ForwardPlan forward = plan_forward(p);
  AttentionPlan plan;
  plan.kernel = forward.decode ? "cpu.decode" : "cpu.forward";
  plan.isa = forward.kernels->name;
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
  for (int64_t b = 0; b < p.batch(); ++b) {
    const Sequence s = sequence(p, b);
    const WindowMask window{p.window_left, p.window_right, p.sink_tokens, s.seqlen_k, s.offset()};
    rows += static_cast<double>(s.seqlen_q * p.heads());
    keys += static_cast<double>(s.seqlen_k * p.kv_heads());
    scores += static_cast<double>(s.seqlen_q) * static_cast<double>(s.seqlen_k) *
              static_cast<double>(p.heads());
    // Heads that a block mask does not tell apart are counted once.
    const View& table = p.block_mask.table;
    const bool alike = !table.present() || table.shape[1] == 1;
    const int64_t repeats = alike ? p.kv_heads() : 1;
    for (int64_t kv_head = 0; kv_head < p.kv_heads(); kv_head += repeats) {
      const ForwardArgs args = forward_args(p, forward, b, kv_head, nullptr);
      const Counts counts = count(args, window, forward, plan.tile_q, alike);
      pairs += static_cast<double>(repeats) * counts.pairs;
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
