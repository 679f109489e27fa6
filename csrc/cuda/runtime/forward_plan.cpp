#include "cuda/runtime/forward_plan.h"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <limits>
#include <string>

#include "core/divide.h"
#include "core/error.h"
#include "cuda/base/params.h"
#include "cuda/runtime/device.h"
#include "cuda/runtime/split_choice.h"
#include "cuda/runtime/supported.h"
#include "cuda/sm80/decode_tiles.h"
#include "cuda/sm80/forward_tiles.h"
#include "cuda/sm80/mla_tiles.h"
#include "cuda/sm90/host/forward_plan.h"
#include "cuda/sm90/mla_tiles.h"

namespace fa::cuda {

namespace {

constexpr int64_t kMostTiles = std::numeric_limits<int32_t>::max() / 2;

bool aligned(const AttentionProblem& p) { return attention_params(p).aligned; }

/** Keys that the rows of one tile can see. */
int64_t visible_keys(const AttentionProblem& p, const ForwardLaunch& plan) {
  if (p.sink_tokens > 0) return p.max_seqlen_k;
  // The rows of a tree may stand anywhere in it.
  const int64_t tree = p.tree_mask.present() ? 2 * p.tree_mask.shape[1] * 32 : 0;
  const int64_t span = p.window_left + p.window_right + 1 + plan.rows / plan.pack + tree;
  return std::clamp<int64_t>(span, 1, std::max<int64_t>(1, p.max_seqlen_k));
}

}  // namespace

int64_t key_tiles(const AttentionProblem& p, const ForwardLaunch& launch) {
  return std::min(ceil_div(visible_keys(p, launch), launch.keys) + 1,  // they may lie across tiles
                  ceil_div(p.max_seqlen_k, launch.keys));
}

int64_t places_of(const ForwardLaunch& launch, const cudaDeviceProp& properties) {
  const size_t bytes =
      static_cast<size_t>(launch.shared_bytes) + properties.reservedSharedMemPerBlock;
  const int64_t resident = std::clamp<int64_t>(
      static_cast<int64_t>(properties.sharedMemPerMultiprocessor / bytes), 1, launch.blocks_per_sm);
  return resident * properties.multiProcessorCount;
}

void set_tiles(ForwardLaunch& launch, int64_t tiles, const cudaDeviceProp& properties) {
  launch.tiles = tiles;
  launch.blocks = launch.family == ForwardKernelFamily::kSm90
                      ? std::min<int64_t>(tiles, properties.multiProcessorCount)
                      : tiles;
}

namespace {

/** Splits of sequences that are alike: as many as asked for, or as fill the device. */
void choose_splits(ForwardPlan& plan, const AttentionProblem& p, const cudaDeviceProp& properties) {
  ForwardLaunch& launch = plan.launches[0];
  const int64_t tiles = ceil_div(visible_keys(p, launch), launch.keys_at_once);
  const std::vector<SequenceWork> work = {{launch.tiles, tiles, launch.tiles * tiles}};
  plan.num_splits =
      p.num_splits > 0
          ? static_cast<int>(std::clamp<int64_t>(key_tiles(p, launch), 1, p.num_splits))
          : splits_by_share(tiles, share_of(work, places_of(launch, properties)));
  set_tiles(launch, launch.tiles * plan.num_splits, properties);
}

/** Has blocks work on the items of a list. */
void deal_out(ForwardPlan& plan, const AttentionProblem& p, const cudaDeviceProp& properties) {
  std::vector<PlacedLaunch> placed;
  for (int i = 0; i < plan.launch_count; ++i)
    placed.push_back({&plan.launches[i], places_of(plan.launches[i], properties)});
  plan.work = work_list(p, placed);
  int64_t first = 0;
  for (int i = 0; i < plan.launch_count; ++i) {
    const int64_t items = plan.work->items_of[static_cast<size_t>(i)];
    plan.launches[i].first_item = first;
    set_tiles(plan.launches[i], items * plan.launches[i].head_blocks, properties);
    first += items;
  }
  plan.num_splits = 1;
  for (const int splits : plan.work->splits) plan.num_splits = std::max(plan.num_splits, splits);
}

int padded_from(const AttentionProblem& p) {
  return static_cast<int>(std::max(p.head_dim(), p.head_dim_v()));
}

int heads_packed(const AttentionProblem& p) {
  return packs_heads(p) ? static_cast<int>(p.group()) : 1;
}

int tile_on_sm80(const AttentionProblem& p, bool few_rows, const cudaDeviceProp& properties) {
  return sm80::forward_tile_index(p.q.dtype == DType::kFloat32, few_rows, padded_from(p),
                                  static_cast<int64_t>(properties.sharedMemPerMultiprocessor),
                                  static_cast<int64_t>(properties.reservedSharedMemPerBlock));
}

/** The tiles of sm_80 for few rows, which take every option, or those for many. */
ForwardLaunch launch_on_sm80(const AttentionProblem& p, bool few_rows,
                             const cudaDeviceProp& properties, QueryCounts queries) {
  ForwardLaunch launch{};
  launch.family = ForwardKernelFamily::kSm80;
  launch.featured = few_rows;
  launch.tile = tile_on_sm80(p, few_rows, properties);
  const sm80::ForwardTile& tile =
      sm80::forward_tiles(p.q.dtype == DType::kFloat32, few_rows).tiles[launch.tile];
  launch.width = launch.width_v = tile.width;
  launch.rows = tile.rows;
  launch.keys = launch.keys_at_once = tile.keys;
  launch.rows_together = tile.rows / tile.warps;
  launch.stages = tile.stages;
  launch.threads = tile.warps * 32;
  launch.shared_bytes = sm80::forward_shared_bytes(tile, static_cast<int>(dtype_size(p.q.dtype)));
  launch.blocks_per_sm = tile.blocks();
  launch.pack = heads_packed(p);
  launch.count_tiles(p, queries);
  return launch;
}

sm80::DecodeTile decode_tile(const AttentionProblem& p) {
  return sm80::decode_tile(p.quantized_pages(), padded_from(p));
}

/** Whether all rows of a head lie within 2^32 chunks of so many bytes: sm80/decode_copies.h. */
bool within_reach(const View& view, int64_t chunk_bytes = 16) {
  const int64_t chunk = chunk_bytes / static_cast<int64_t>(dtype_size(view.dtype));
  int64_t last = 0;
  for (int axis = 0; axis < 2; ++axis)
    if (view.shape[axis] > 1) last += (view.shape[axis] - 1) * (view.strides[axis] / chunk);
  return last <= std::numeric_limits<uint32_t>::max();
}

/** Queries of the longest sequences that the decode kernel takes; 0: it does not take the call. */
int64_t most_decoded(const AttentionProblem& p) {
  const bool taken =
      p.q.dtype != DType::kFloat32 && !p.float8() && aligned(p) && aligned_rows(p.k) &&
      aligned_rows(p.v) && !p.mask.present() && !p.block_mask.present() && !p.tree_mask.present() &&
      p.dropout.p == 0 && packs_heads(p) && within_reach(p.k) && within_reach(p.v) &&
      (!p.quantized_pages() ||
       (within_reach(p.k_scale, sizeof(float)) && within_reach(p.v_scale, sizeof(float)))) &&
      decode_tile(p).width > 0;
  return taken ? sm80::kDecodeRows / p.group() : 0;
}

ForwardLaunch launch_decode(const AttentionProblem& p, QueryCounts queries) {
  const sm80::DecodeTile tile = decode_tile(p);
  ForwardLaunch launch{};
  launch.family = ForwardKernelFamily::kSm80Decode;
  launch.featured = !p.quantized_pages() && needs_featured_forward(p);
  launch.width = launch.width_v = tile.width;
  launch.rows = launch.rows_together = sm80::kDecodeRows;
  launch.keys = tile.keys;
  launch.keys_at_once = tile.keys * sm80::kDecodeWarps;
  launch.stages = 1;
  launch.threads = sm80::kDecodeWarps * 32;
  launch.shared_bytes = sm80::decode_shared_bytes(p.quantized_pages(), tile);
  launch.blocks_per_sm = tile.blocks;
  launch.pack = heads_packed(p);
  launch.count_tiles(p, queries);
  return launch;
}

ForwardLaunch launch_mla(const AttentionProblem& p, const sm80::MlaTile& tile,
                         QueryCounts queries) {
  ForwardLaunch launch{};
  launch.family = ForwardKernelFamily::kSm80Mla;
  launch.width = static_cast<int>(ceil_div(p.head_dim(), sm80::kMlaPanel) * sm80::kMlaPanel);
  launch.width_v = sm80::kMlaWidthV;
  launch.rows = launch.rows_together = tile.rows;
  launch.keys = launch.keys_at_once = sm80::kMlaKeys;
  launch.stages = p.values_in_keys() ? 2 : 1;
  launch.threads = tile.warps * 32;
  launch.shared_bytes = sm80::mla_shared_bytes(tile);
  launch.blocks_per_sm = tile.blocks;
  launch.pack = heads_packed(p);
  launch.count_tiles(p, queries);
  return launch;
}

/** Latents on Hopper. */
ForwardLaunch launch_mla_sm90(const AttentionProblem& p, QueryCounts queries) {
  ForwardLaunch launch{};
  launch.family = ForwardKernelFamily::kSm90Mla;
  launch.width = sm80::kMlaWidth;
  launch.width_v = sm80::kMlaWidthV;
  launch.rows = launch.rows_together = sm90::kMlaRows;
  launch.keys = launch.keys_at_once = sm90::kMlaKeys;
  launch.stages = sm90::kMlaStages;
  launch.threads = sm90::kMlaThreads;
  launch.shared_bytes = sm90::mla_shared_bytes();
  launch.blocks_per_sm = 1;
  launch.pack = heads_packed(p);
  launch.count_tiles(p, queries);
  return launch;
}

constexpr int kNoLimit = std::numeric_limits<int>::max();

/** A kernel, and the queries of the longest sequences that it is for. */
struct Candidate {
  int64_t most;
  std::function<ForwardLaunch(QueryCounts)> launch;
};

/** Each candidate takes the sequences that are too long for those before it. */
void choose_launches(ForwardPlan& plan, const AttentionProblem& p,
                     std::initializer_list<Candidate> candidates) {
  plan.launch_count = 0;
  int least = 0;
  for (const Candidate& candidate : candidates) {
    if (candidate.most < std::max(least, 1)) continue;
    const bool last = p.max_seqlen_q <= candidate.most;
    const int most = last ? kNoLimit : static_cast<int>(candidate.most);
    if (last || p.packed_queries())  // else all sequences are equally long
      plan.launches[plan.launch_count++] = candidate.launch({least, most});
    if (last) break;
    least = most + 1;
  }
  std::reverse(plan.launches, plan.launches + plan.launch_count);
}

/** Whether the kernels of sm_90a take the sequences of many rows; else `plan` stays as it was. */
bool plan_sm90(ForwardPlan& plan, const AttentionProblem& p, const cudaDeviceProp& properties) {
  if (!runs_sm90a(properties) || !sm90::takes_forward(p)) return false;
  const int64_t few = sm90::kFewRows / p.group();
  if (p.max_seqlen_q <= few) return false;
  choose_launches(
      plan, p,
      {{most_decoded(p), [&](QueryCounts queries) { return launch_decode(p, queries); }},
       {few, [&](QueryCounts queries) { return launch_on_sm80(p, true, properties, queries); }},
       {kNoLimit,
        [&](QueryCounts queries) { return sm90::plan_forward(p, properties, queries); }}});
  return true;
}

void plan_sm80(ForwardPlan& plan, const AttentionProblem& p, const cudaDeviceProp& properties) {
  const auto launch = [&](bool few_rows, QueryCounts queries) {
    return launch_on_sm80(p, few_rows, properties, queries);
  };
  const bool few_alone =
      p.q.dtype == DType::kFloat32 || needs_featured_forward(p) || p.paged() || !aligned(p);
  // Nothing is gained by options' tiles that have as many rows as those without.
  const int few_rows = launch(true, {}).rows, many_rows = launch(false, {}).rows;
  const int64_t few = few_alone ? kNoLimit : few_rows < many_rows ? few_rows / heads_packed(p) : 0;
  choose_launches(
      plan, p,
      {{most_decoded(p), [&](QueryCounts queries) { return launch_decode(p, queries); }},
       {few, [&](QueryCounts queries) { return launch(true, queries); }},
       {kNoLimit, [&](QueryCounts queries) { return launch(false, queries); }}});
}

/**
 * Wide heads: the tile of many rows where shared memory has room for it, on Hopper that of wgmma
 * where values lie in the keys.
 */
void plan_mla(ForwardPlan& plan, const AttentionProblem& p, const cudaDeviceProp& properties) {
  const auto& [few, many] = sm80::kMlaTiles;
  const bool many_fit =
      static_cast<size_t>(sm80::mla_shared_bytes(many)) <= properties.sharedMemPerBlockOptin;
  const bool on_sm90 = runs_sm90a(properties) && p.values_in_keys();
  choose_launches(plan, p,
                  {{many_fit ? few.rows / heads_packed(p) : kNoLimit,
                    [&](QueryCounts queries) { return launch_mla(p, few, queries); }},
                   {kNoLimit, [&](QueryCounts queries) {
                      return on_sm90 ? launch_mla_sm90(p, queries) : launch_mla(p, many, queries);
                    }}});
}

}  // namespace

const ForwardLaunch& ForwardPlan::launch_of(int64_t seqlen_q) const {
  int i = 0;
  while (i < launch_count - 1 && !launches[i].queries.hold(seqlen_q)) ++i;
  return launches[i];
}

int64_t ForwardPlan::tiles() const {
  int64_t sum = 0;
  for (int i = 0; i < launch_count; ++i) sum += launches[i].tiles;
  return sum;
}

int ForwardPlan::filled_launches() const {
  return static_cast<int>(std::count_if(launches, launches + launch_count,
                                        [](const ForwardLaunch& each) { return each.blocks > 0; }));
}

int64_t ForwardPlan::partial_width(const AttentionProblem& p) {
  constexpr int64_t kAlignment = 4;  // rows are stored by pairs, and read by fours (combine.cu)
  return ceil_div(p.head_dim_v(), kAlignment) * kAlignment;
}

int64_t ForwardPlan::partial_rows(const AttentionProblem& p) const {
  if (work) return work->partial_rows;
  return num_splits > 1 ? num_splits * p.q.shape[0] * p.q.shape[1] * p.heads() : 0;
}

int64_t ForwardPlan::scratch_bytes(const AttentionProblem& p) const {
  return partial_rows(p) * (partial_width(p) + 2) * static_cast<int64_t>(sizeof(float));
}

ForwardPlan plan_forward(const AttentionProblem& p, const cudaDeviceProp& properties) {
  check_supported(p, properties);
  ForwardPlan plan{};
  if (p.float8()) {
    plan.launches[0] = sm90::plan_forward(p, properties, {0, kNoLimit});
    plan.launch_count = 1;
  } else if (has_wide_heads(p)) {
    plan_mla(plan, p, properties);
  } else if (!plan_sm90(plan, p, properties)) {
    plan_sm80(plan, p, properties);
  }
  if (p.ragged())
    deal_out(plan, p, properties);
  else
    choose_splits(plan, p, properties);
  for (int i = 0; i < plan.launch_count; ++i) {
    const ForwardLaunch& launch = plan.launches[i];
    if (launch.tiles > kMostTiles)
      throw Error(ErrorCode::kShape, "q",
                  "Expected at most " + std::to_string(kMostTiles) + " tiles of " +
                      std::to_string(launch.rows) + " rows but received " +
                      std::to_string(launch.tiles));
  }
  return plan;
}

}  // namespace fa::cuda
