#include "cpu/forward_plan.h"

#include <algorithm>

#include "core/divide.h"
#include "core/philox.h"
#include "core/tile_range.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

namespace {

// Tiles and panels, by what fits: a tile of scores in L1, packed panels and a packed K/V tile in
// L2.
constexpr int kTileKeys = 128;
constexpr int kTileKeysWide = 64;  // head dims above kWideHeadDim
constexpr int64_t kWideHeadDim = 256;
constexpr int64_t kBlockRows = 768;  // rows that share a packed tile: packing is a small part then
constexpr int64_t kPanelBytes = 2048 * 1024;  // of Q and O, read once per tile
constexpr int64_t kItemsPerThread = 4;        // enough for the last items to even out
// What one thread does in the 50 us that it takes to wake another and to wait for it.
constexpr double kAloneMultiplyAdds = 1 << 20;
constexpr int64_t kEqualItemsPerThread = 2;  // where all blocks take equally long
constexpr double kPackingPanels = 0.4;       // panels that take as long as to pack a tile: counted
// Blocks of little work share an item: one alone would cost less than to hand it out and to wake a
// thread for it.
constexpr double kLeastMultiplyAdds = 1 << 18;  // of an item: a few microseconds
// Blocks up to this size share an item for the sake of fetching, where each thread has so many.
constexpr double kFetchingMultiplyAdds = 1 << 23;
constexpr int64_t kFetchingBlocks = 4;
constexpr int64_t kFetchingItems = 12;  // of a thread
constexpr int64_t kMinSplitKeys = 512;  // below this a split's merge costs more than it spreads
constexpr int64_t kMaxAutoSplits = 64;
// A shared prefix takes the kernel of many rows. That one packs keys and values first, which takes
// as long as the decode kernel's products of a dozen rows; from so many rows on it is as fast where
// memory is no limit, and faster where it is.
constexpr int64_t kMinSharedRows = 24;
constexpr int64_t kMinSharedKeys = 512;  // as of a split

/** Whether the decode kernel can do a sequence with few enough rows. */
bool can_decode(const AttentionProblem& p, const KernelTable& kernels) {
  return p.head_dim() % kernels.lanes == 0 && p.head_dim_v() % kernels.lanes == 0 &&
         p.k.strides[3] == 1 && p.v.strides[3] == 1 && p.k.dtype != DType::kFloat8E4M3 &&
         !p.block_mask.present() && p.dropout.p == 0;
}

/** Multiply-adds of a call in which every query sees every key. */
double multiply_adds(const AttentionProblem& p, const ForwardPlan& plan) {
  double scores = 0;
  for (const SequencePlan& s : plan.sequences)
    scores += static_cast<double>(s.rows.seqlen_q) * static_cast<double>(s.rows.seqlen_k);
  return scores * static_cast<double>(p.heads() * (p.head_dim() + p.head_dim_v()));
}

/** Threads that are worth waking. */
int choose_threads(const AttentionProblem& p, const ForwardPlan& plan) {
  return multiply_adds(p, plan) <= kAloneMultiplyAdds ? 1 : num_threads();
}

/** Blocks of a sequence without splits. */
int64_t count_blocks(const AttentionProblem& p, const ForwardPlan& plan, const SequencePlan& s) {
  return p.kv_heads() / plan.heads_per_block(s) *
         ceil_div(s.rows.seqlen_q * p.group(), plan.rows_per_block(s));
}

int64_t count_blocks(const AttentionProblem& p, const ForwardPlan& plan) {
  int64_t blocks = 0;
  for (const SequencePlan& s : plan.sequences) blocks += count_blocks(p, plan, s);
  return blocks;
}

/** Whether later rows see more keys than earlier ones. */
bool blocks_differ(const AttentionProblem& p, int64_t seqlen) { return p.window_right < seqlen; }

/**
 * Whether panels may begin at any vector of rows. Where rows see different keys, how a panel's keys
 * are cut depends on its rows, and these must not depend on the number of threads.
 */
bool rows_are_alike(const AttentionProblem& p, int64_t seqlen) {
  const bool masked_by_row = p.mask.present() && p.mask.strides[2] != 0;
  return !blocks_differ(p, seqlen) && !masked_by_row && !p.block_mask.present() &&
         !p.tree_mask.present();
}

int64_t longest_rows(const ForwardPlan& plan) {
  int64_t longest = 0;
  for (const SequencePlan& s : plan.sequences) longest = std::max(longest, s.rows.seqlen_q);
  return longest;
}

/** Whether items take different times, as those that wait for memory do: more of them even out. */
bool items_differ(const AttentionProblem& p, const ForwardPlan& plan) {
  return p.ragged() || blocks_differ(p, longest_rows(plan)) ||
         std::any_of(plan.sequences.begin(), plan.sequences.end(),
                     [](const SequencePlan& s) { return s.decode; });
}

/**
 * Rows that share a pass over the keys: few enough that every thread has items and none waits long
 * for the last ones, many enough that packing their tiles is a small part.
 */
int64_t choose_block_rows(const AttentionProblem& p, ForwardPlan& plan) {
  const int64_t panel_rows = plan.kernels->panel_rows, lanes = plan.kernels->lanes;
  const int64_t fitting = kPanelBytes / ((p.head_dim() + p.head_dim_v()) * panel_rows * 4);
  const int64_t most = std::clamp<int64_t>(std::min(fitting, kBlockRows / panel_rows), 1, 64);
  const int64_t longest = longest_rows(plan), rows = longest * p.group();
  const int64_t row_panels = ceil_div(rows, panel_rows);
  plan.block_rows = panel_rows;
  if (rows == 0) return panel_rows;
  const int64_t per_thread = blocks_differ(p, longest) ? kItemsPerThread : kEqualItemsPerThread;
  // By whole panels, some of 64 threads would have three of them where others have two.
  const int64_t unit = rows_are_alike(p, longest) ? lanes : panel_rows;
  const int64_t enough = std::min(per_thread * plan.threads, count_blocks(p, plan));
  int64_t best = panel_rows;
  double least = 0;
  for (int64_t blocks = ceil_div(row_panels, most); blocks <= row_panels; ++blocks) {
    // Blocks of one size: 512 rows are two times 256, not 384 and 128.
    plan.block_rows = ceil_div(ceil_div(rows, blocks), unit) * unit;
    const int64_t items = count_blocks(p, plan);
    if (items < enough) continue;
    const double rounds = static_cast<double>(ceil_div(items, plan.threads));
    const double panels = static_cast<double>(plan.block_rows) / static_cast<double>(panel_rows);
    const double time = rounds * (panels + kPackingPanels);
    if (least > 0 && time >= least) continue;
    least = time;
    best = plan.block_rows;
  }
  return best;
}

/**
 * Splits of a sequence's keys. A number that the caller fixed depends on that sequence alone, so
 * that its bits do not depend on its neighbours; `wanted` is what else fills the threads.
 */
int choose_splits(const AttentionProblem& p, const ForwardPlan& plan, const SequencePlan& s,
                  int64_t wanted) {
  const int64_t keys = s.rows.seqlen_k - s.first_key, tile = plan.tile_k;
  if (p.num_splits > 0)
    return static_cast<int>(std::clamp<int64_t>(ceil_div(keys, tile), 1, p.num_splits));
  const int64_t least = std::max(kMinSplitKeys / plan.heads_per_block(s), tile);
  return static_cast<int>(std::clamp<int64_t>(std::min(wanted, keys / least), 1, kMaxAutoSplits));
}

/** Whether no query of a sequence has its window end within its first `keys`. */
bool sees_all(const AttentionProblem& p, const Sequence& s, int64_t keys) {
  return s.first_position + s.seqlen_q - 1 - p.window_left <= 0 &&
         s.first_position + p.window_right >= keys - 1;
}

/** Has the sequences of a prefix that have a panel of rows at most attend to it together. */
void share(const AttentionProblem& p, ForwardPlan& plan, const SharedPrefix& shared) {
  int64_t rows = 0, keys = shared.keys, first = -1;
  const auto takes_part = [&](int64_t b) {
    const SequencePlan& s = plan.sequences[static_cast<size_t>(b)];
    return s.rows.seqlen_q * p.group() <= plan.kernels->panel_rows &&
           sees_all(p, s.rows, shared.keys);
  };
  for (const int64_t b : shared.sequences) {
    if (!takes_part(b)) continue;
    const Sequence& s = plan.sequences[static_cast<size_t>(b)].rows;
    if (first < 0) first = b;
    rows += s.seqlen_q;
    keys = std::min(keys, s.seqlen_k - s.seqlen_q);
  }
  keys = keys / plan.tile_k * plan.tile_k;
  if (keys < kMinSharedKeys || rows * p.group() < kMinSharedRows) return;
  const int prefix = static_cast<int>(plan.sequences.size());
  int64_t row = 0;
  for (const int64_t b : shared.sequences) {
    if (!takes_part(b)) continue;
    SequencePlan& s = plan.sequences[static_cast<size_t>(b)];
    s.prefix = prefix;
    s.prefix_row = row;
    s.first_key = keys;
    row += s.rows.seqlen_q;
  }
  SequencePlan s{};
  s.rows = {.q_batch = 0,
            .q_begin = plan.prefix_rows,
            .seqlen_q = rows,
            .k_batch = 0,
            .k_begin = 0,
            .seqlen_k = keys,
            .first_position = keys};
  s.batch = first;
  s.is_prefix = true;
  s.prefix = -1;
  plan.sequences.push_back(s);
  plan.prefix_rows += rows;
}

/**
 * As many as make an item worth a thread, of blocks as large as the average one. Of larger blocks,
 * whose rows still take long to arrive beside their products, a few: each fetches those of the next
 * one (kernels/upcoming.h).
 */
int64_t choose_blocks_per_item(const AttentionProblem& p, const ForwardPlan& plan) {
  const auto all = std::max<int64_t>(plan.blocks, 1);
  const double block = std::max(multiply_adds(p, plan), 1.) / static_cast<double>(all);
  const auto most = static_cast<double>(all);
  auto least = static_cast<int64_t>(std::clamp(kLeastMultiplyAdds / block, 1., most));
  if (block <= kFetchingMultiplyAdds)
    least = std::max(least, std::min(kFetchingBlocks, all / (kFetchingItems * plan.threads)));
  // Up to twice as many, if the last items end together then.
  const auto time = [&](int64_t blocks) {
    return blocks * ceil_div(ceil_div(plan.blocks, blocks), plan.threads);
  };
  int64_t best = least;
  for (int64_t blocks = least; least > 1 && blocks <= 2 * least; blocks += ceil_div(least, 16))
    if (time(blocks) < time(best)) best = blocks;
  return best;
}

/**
 * Kv heads whose blocks take turns, the longest first. Under a causal mask a head ends with short
 * blocks, and with so many together each thread has some of them at the end.
 */
int64_t heads_together(const AttentionProblem& p, const ForwardPlan& plan, const SequencePlan& s,
                       int64_t parts) {
  const int64_t heads = p.kv_heads() / plan.heads_per_block(s);
  if (!blocks_differ(p, s.rows.seqlen_q)) return 1;
  const int64_t wanted = ceil_div(kItemsPerThread * plan.threads, parts);
  return ceil_div(heads, std::max<int64_t>(heads / wanted, 1));
}

}  // namespace

void plan_forward(const AttentionProblem& p, ForwardPlan& plan) {
  plan.kernels = &kernels();
  plan.tile_k = std::max(p.head_dim(), p.head_dim_v()) > kWideHeadDim ? kTileKeysWide : kTileKeys;
  // Heads that lie side by side are read together: see kernels/decode.h.
  plan.heads_per_decode = p.k.strides[2] < p.k.strides[1] ? p.kv_heads() : 1;
  const bool decodes = can_decode(p, *plan.kernels);
  plan.sequences.clear();
  for (int64_t b = 0; b < p.batch(); ++b) {
    SequencePlan s{};
    s.rows = sequence(p, b);
    s.batch = b;
    s.prefix = -1;
    s.decode = decodes && s.rows.seqlen_q * p.group() <= plan.kernels->decode_rows;
    plan.sequences.push_back(s);
  }
  plan.threads = choose_threads(p, plan);
  plan.prefix_rows = 0;
  if (p.shared_prefixes && may_share_prefixes(p))
    for (const SharedPrefix& shared : *p.shared_prefixes) share(p, plan, shared);
  plan.block_rows = choose_block_rows(p, plan);

  const int64_t per_thread = items_differ(p, plan) ? kItemsPerThread : kEqualItemsPerThread;
  const int64_t unsplit = count_blocks(p, plan), enough = per_thread * plan.threads;
  const bool idle = plan.threads > 1 && unsplit > 0 && unsplit < enough;
  const int64_t wanted = idle ? ceil_div(enough, unsplit) : 1;
  plan.num_splits = 1;
  for (SequencePlan& s : plan.sequences) {
    s.num_splits = choose_splits(p, plan, s, wanted);
    plan.num_splits = std::max(plan.num_splits, s.num_splits);
  }
  plan.blocks = plan.split_rows = plan.states = plan.partial_floats = 0;
  for (SequencePlan& s : plan.sequences) {
    s.first_block = plan.blocks;
    s.first_split_row = plan.split_rows;
    s.first_state = plan.states;
    plan.blocks += count_blocks(p, plan, s) * s.num_splits;
    if (!s.partial()) continue;
    if (!s.is_prefix) plan.split_rows += s.rows.seqlen_q;
    plan.states += plan.states_of(s);
    plan.partial_floats += s.num_splits * s.rows.seqlen_q * p.heads() * (p.head_dim_v() + 2);
  }
  plan.blocks_per_item = choose_blocks_per_item(p, plan);
}

int64_t ForwardPlan::states_of(const SequencePlan& s) const {
  const int of_prefix = s.prefix < 0 ? 0 : sequences[static_cast<size_t>(s.prefix)].num_splits;
  return s.num_splits + of_prefix;
}

Block block_at(const AttentionProblem& p, const ForwardPlan& plan, int64_t index) {
  const auto after =
      std::upper_bound(plan.sequences.begin(), plan.sequences.end(), index,
                       [](int64_t block, const SequencePlan& s) { return block < s.first_block; });
  const SequencePlan& s = *(after - 1);
  Block block{};
  block.sequence = after - 1 - plan.sequences.begin();
  int64_t rest = index - s.first_block;
  block.split = static_cast<int>(rest % s.num_splits);
  rest /= s.num_splits;
  const int64_t rows = s.rows.seqlen_q * p.group(), rows_per_block = plan.rows_per_block(s);
  const int64_t parts = ceil_div(rows, rows_per_block);
  const int64_t heads = p.kv_heads() / plan.heads_per_block(s);
  const int64_t together = heads_together(p, plan, s, parts);
  const int64_t first_head = rest / (together * parts) * together;
  const int64_t here = std::min(together, heads - first_head);
  rest -= first_head * parts;
  block.kv_head = (first_head + rest % here) * plan.heads_per_block(s);
  const int64_t part = rest / here;
  block.row_begin = (blocks_differ(p, s.rows.seqlen_q) ? parts - 1 - part : part) * rows_per_block;
  block.row_end = std::min(rows, block.row_begin + rows_per_block);
  return block;
}

ForwardArgs forward_args(const AttentionProblem& p, const Sequence& s, int64_t batch,
                         int64_t kv_head, const float* sinks) {
  const int64_t group = p.group(), head = kv_head * group;
  ForwardArgs a{};
  const auto rows = [](const View& view, int64_t b, int64_t begin, int64_t h) {
    const int64_t first = b * view.strides[0] + begin * view.strides[1] + h * view.strides[2];
    return Rows{view.at(first), static_cast<int>(view.dtype), view.strides[1], view.strides[3]};
  };
  a.q = rows(p.q, s.q_batch, s.q_begin, head);
  a.q_head_stride = p.q.strides[2];
  a.out = rows(p.out, s.q_batch, s.q_begin, head);
  a.out_head_stride = p.out.strides[2];
  if (p.paged()) {
    a.k = rows(p.k, 0, 0, kv_head);
    a.v = rows(p.v, 0, 0, kv_head);
    a.pages = static_cast<const int32_t*>(p.page_table.data) + batch * p.page_table.strides[0];
    a.pages_stride = p.page_table.strides[1];
    a.page_size = p.k.shape[1];
    a.k_page_stride = p.k.strides[0];
    a.v_page_stride = p.v.strides[0];
    if (p.quantized_pages()) {
      const auto scales = [&](const View& view) {
        return RowScales{static_cast<const float*>(view.data) + kv_head * view.strides[2],
                         view.strides[0], view.strides[1], view.strides[2]};
      };
      a.k_scale = scales(p.k_scale);
      a.v_scale = scales(p.v_scale);
    }
  } else {
    a.k = rows(p.k, s.k_batch, s.k_begin, kv_head);
    a.v = rows(p.v, s.k_batch, s.k_begin, kv_head);
  }
  if (p.lse.present()) {
    a.lse = static_cast<float*>(p.lse.data) + s.q_batch * p.lse.strides[0] +
            head * p.lse.strides[1] + s.q_begin * p.lse.strides[2];
    a.lse_head_stride = p.lse.strides[1];
    a.lse_row_stride = p.lse.strides[2];
  }
  a.seqlen_q = s.seqlen_q;
  a.seqlen_k = s.seqlen_k;
  a.first_position = s.first_position;
  a.window_left = p.window_left;
  a.window_right = p.window_right;
  a.sink_tokens = p.sink_tokens;
  a.head_dim = static_cast<int>(p.head_dim());
  a.head_dim_v = static_cast<int>(p.head_dim_v());
  a.group = static_cast<int>(group);
  a.kv_heads = 1;
  a.k_head_stride = p.k.strides[2];
  a.v_head_stride = p.v.strides[2];
  a.scale = p.scale;
  a.softcap = p.softcap;
  if (p.alibi_slopes.present()) {
    const View& slopes = p.alibi_slopes;
    const int64_t b = slopes.shape[0] == 1 ? 0 : batch;
    a.alibi_slopes =
        static_cast<const float*>(slopes.data) + b * slopes.strides[0] + head * slopes.strides[1];
    a.alibi_stride = slopes.strides[1];
  }
  a.sink_logits = sinks == nullptr ? nullptr : sinks + head;
  if (p.mask.present()) {
    const View& mask = p.mask;
    a.mask = {
        mask.at(s.q_batch * mask.strides[0] + head * mask.strides[1] + s.q_begin * mask.strides[2]),
        static_cast<int>(mask.dtype), mask.strides[1], mask.strides[2], mask.strides[3]};
  }
  if (p.block_mask.present()) {
    const View& table = p.block_mask.table;
    const View& bits = p.block_mask.bits;
    const int64_t b = table.shape[0] == 1 ? 0 : batch, h = table.shape[1] == 1 ? 0 : head;
    a.block_mask.cells =
        static_cast<const int32_t*>(table.data) + b * table.strides[0] + h * table.strides[1];
    a.block_mask.head_stride = table.shape[1] == 1 ? 0 : table.strides[1];
    a.block_mask.row_stride = table.strides[2];
    a.block_mask.column_stride = table.strides[3];
    a.block_mask.block_q = p.block_mask.block_q;
    a.block_mask.block_k = p.block_mask.block_k;
    if (bits.present()) {
      a.block_mask.bits = static_cast<const int32_t*>(bits.data);
      a.block_mask.bitmap_stride = bits.strides[0];
      a.block_mask.bit_row_stride = bits.strides[1];
      a.block_mask.bit_word_stride = bits.strides[2];
    }
  }
  if (p.tree(s.seqlen_q)) {
    const View &bits = p.tree_mask, &positions = p.positions;
    a.tree = {
        .bits = static_cast<const int32_t*>(bits.data) + s.q_begin * bits.strides[0],
        .row_stride = bits.strides[0],
        .word_stride = bits.strides[1],
        .positions = static_cast<const int32_t*>(positions.data) + s.q_begin * positions.strides[0],
        .position_stride = positions.strides[0]};
  }
  if (p.dropout.p > 0) {
    const Dropout& d = p.dropout;
    a.dropout = {true,
                 dropout_threshold(d.p),
                 static_cast<float>(1 / (1 - d.p)),
                 static_cast<uint32_t>(d.seed),
                 static_cast<uint32_t>(d.seed >> 32) ^ static_cast<uint32_t>(d.offset >> 32),
                 static_cast<uint32_t>(batch * p.heads() + head),
                 static_cast<uint32_t>(d.offset)};
  }
  a.row_end = s.seqlen_q * group;
  a.key_end = s.seqlen_k;
  a.first_split = true;
  return a;
}

void load_sink_logits(const AttentionProblem& p, float* logits) {
  kernels().convert_row(p.sinks.at(0), static_cast<int>(p.sinks.dtype), p.sinks.strides[0],
                        static_cast<int>(p.heads()), reinterpret_cast<char*>(logits),
                        static_cast<int>(DType::kFloat32));
}

std::vector<float> sink_logits(const AttentionProblem& p) {
  std::vector<float> logits(p.sinks.present() ? static_cast<size_t>(p.heads()) : 0);
  if (p.sinks.present()) load_sink_logits(p, logits.data());
  return logits;
}

void set_split(ForwardArgs& args, const SequencePlan& s, int split) {
  const int first = static_cast<int>(s.first_key / args.tile_k);
  const int tiles = static_cast<int>(ceil_div(args.seqlen_k, args.tile_k));
  const TileRange range = TileRange{first, tiles}.split(split, s.num_splits);
  args.key_begin = std::min(args.seqlen_k, int64_t{range.begin} * args.tile_k);
  args.key_end = std::min(args.seqlen_k, int64_t{range.end} * args.tile_k);
  args.first_split = split == 0 && !s.is_prefix;
}

}  // namespace fa::cpu
