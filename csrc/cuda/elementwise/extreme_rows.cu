#include <algorithm>

#include "core/philox.h"
#include "cuda/base/launch.h"
#include "cuda/device/backward_walk.h"
#include "cuda/device/scores.h"
#include "cuda/elementwise/extreme_rows.h"

namespace fa::cuda {

namespace {

constexpr int kLanes = 32, kWarps = 8, kExtremeThreads = kLanes * kWarps;
constexpr int kBlocksPerMultiprocessor = 4;
constexpr int kLaneColumns = 256 / kLanes;  // the greatest head dim is 256

/**
 * A warp keeps one outer row, a query (for its state and dQ) or a key (for dK and dV); its lanes
 * take an inner row each.
 */
template <bool kOuterKeys>
struct ExtremeTraits {
  static constexpr bool kKeys = kOuterKeys, kFeatured = true;
  static constexpr int kOuter = kWarps, kInner = kLanes;
};

/** Distance of rows in shared memory: an odd number of 16 bytes, so that lanes with a row each meet
 *  no bank conflict. */
FA_INLINE uint32_t row_bytes(int columns) {
  return static_cast<uint32_t>(((columns + 3) / 4 | 1) * 16);
}

/** Dynamic shared memory, all in float32: X and Y of the outer rows, x and y of a tile. */
struct ExtremeShared {
  uint32_t x_bytes, y_bytes;  // of a row
  uint32_t outer_x, outer_y, inner_x, inner_y;

  FA_INLINE ExtremeShared(uint32_t base, int head_dim, int head_dim_v)
      : x_bytes(row_bytes(head_dim)),
        y_bytes(row_bytes(head_dim_v)),
        outer_x(base),
        outer_y(outer_x + kWarps * x_bytes),
        inner_x(outer_y + kWarps * y_bytes),
        inner_y(inner_x + kLanes * x_bytes) {}
  FA_INLINE uint32_t end() const { return inner_y + kLanes * y_bytes; }
};

PTX_FN int this_lane() { return static_cast<int>(threadIdx.x) % kLanes; }
PTX_FN int this_warp() { return static_cast<int>(threadIdx.x) / kLanes; }

/** Rows first .. first + kRows - 1 of one head as floats; zeros from row `count` on. */
template <int kRows>
PTX_FN void load_rows(uint32_t to, uint32_t to_bytes, const Tensor& tensor, int dtype, int batch,
                      int begin, int head, int first, int count, int columns) {
  const int64_t data = batch * tensor.batch + begin * tensor.row + head * tensor.head;
  for (int r = this_warp(); r < kRows; r += kWarps) {
    const int64_t row = data + static_cast<int64_t>(first + r) * tensor.row;
    for (int c = this_lane(); c < (columns + 3) / 4 * 4; c += kLanes) {
      const bool inside = first + r < count && c < columns;
      ptx::sts<float>(to + static_cast<uint32_t>(r) * to_bytes + static_cast<uint32_t>(4 * c),
                      inside ? load_float(tensor.data, dtype, row + c * tensor.dim) : 0.f);
    }
  }
}

/** The counterpart of load_float (device/scores.h). */
PTX_FN void store_float(void* data, int dtype, int64_t index, float x) {
  if (dtype == static_cast<int>(DType::kFloat32))
    ptx::stg(static_cast<float*>(data) + index, x);
  else if (dtype == static_cast<int>(DType::kFloat16))
    ptx::stg(static_cast<ptx::f16*>(data) + index, ptx::from_float<ptx::f16>(x));
  else
    ptx::stg(static_cast<ptx::bf16*>(data) + index, ptx::from_float<ptx::bf16>(x));
}

/** a b of two rows in shared memory: the same bits for b a. */
PTX_FN float dot(uint32_t a, uint32_t b, int columns) {
  float4 sum = {0, 0, 0, 0};
  for (int c = 0; c < columns; c += 4) {
    const float4 x = ptx::lds<float4>(a + static_cast<uint32_t>(4 * c));
    const float4 y = ptx::lds<float4>(b + static_cast<uint32_t>(4 * c));
    sum.x = fmaf(x.x, y.x, sum.x);
    sum.y = fmaf(x.y, y.y, sum.y);
    sum.z = fmaf(x.z, y.z, sum.z);
    sum.w = fmaf(x.w, y.w, sum.w);
  }
  return (sum.x + sum.y) + (sum.z + sum.w);
}

/**
 * The natural score of a pair, -infinity when it is hidden. Never inlined: of two copies the
 * compiler might fuse a product and a sum in one alone, and the kernel that adds to dK would see
 * other scores than the one that found the maximum.
 */
PTX_COLD float score_of_pair(const AttentionParams& a, const Window& window, const PackedRows& rows,
                             int batch, int i, int j, float product) {
  const ScoreRow<false> row(a, window, rows, batch, i);
  if (!row.in_window(window, j)) return -kInfinity;
  if (a.block_mask.cells != nullptr && !in_blocks(a.block_mask, batch, row, j)) return -kInfinity;
  return natural_score<float>(a, window, row, j, product);
}

/** What dropout makes of the weight 1 of a pair. */
PTX_FN float kept_weight(const AttentionParams& a, int batch, int head, int i, int j) {
  if (!a.dropout.enabled) return 1;
  uint32_t word[4] = {static_cast<uint32_t>(j >> 2), static_cast<uint32_t>(i),
                      static_cast<uint32_t>(batch * a.heads + head), a.dropout.offset_lo};
  philox(word, a.dropout.key0, a.dropout.key1);
  const uint32_t drawn = j % 4 == 0   ? word[0]
                         : j % 4 == 1 ? word[1]
                         : j % 4 == 2 ? word[2]
                                      : word[3];
  return drawn >= a.dropout.threshold ? a.dropout.keep_scale : 0.f;
}

/** A query and a key, and what is known of them before the row's maximum is. */
struct Pair {
  float score;    // natural; -infinity: hidden
  float kept;     // what dropout makes of a weight of 1
  float dweight;  // of the weight before dropout
  float slope;    // of softcap
};

PTX_FN float warp_max(float x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) x = fmaxf(x, ptx::shfl_xor(x, step));
  return x;
}
PTX_FN float warp_sum(float x) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) x += ptx::shfl_xor(x, step);
  return x;
}

/** A lane's share of a row's maximum, sum and delta, which one pass finds: as in online softmax. */
struct RowSums {
  float maximum = -kInfinity, sum = 0, delta = 0;

  /** Brings the sums to a maximum of at least the present one. */
  PTX_FN void rescale(float top) {
    const float factor = maximum == -kInfinity ? 0.f : ptx::exp2_approx((maximum - top) * kLog2E);
    sum *= factor;
    delta *= factor;
    maximum = top;
  }
  PTX_FN void add(float score, float dweight) {
    rescale(fmaxf(maximum, score));
    const float weight = ptx::exp2_approx((score - maximum) * kLog2E);
    sum += weight;
    delta += weight * dweight;
  }

  /** Of the whole warp, with the sink. */
  PTX_FN ExtremeRow finish(const AttentionParams& a, int head) {
    rescale(warp_max(maximum));
    sum = warp_sum(sum);
    delta = warp_sum(delta);
    if (a.sinks != nullptr) {
      const float sink = load_float(a.sinks, a.sinks_dtype, head * a.sinks_head);
      if (sink != -kInfinity) add(sink, 0);
    }
    const float rcp = sum == 0 ? 0.f : 1.f / sum;
    return {maximum, rcp, delta * rcp, 0};
  }
};

/** A lane's columns of a sum of rows. */
struct GradientRow {
  float column[kLaneColumns] = {};

  /** Adds the inner rows, each times what its lane says; those of weight 0 are not looked at. */
  PTX_FN void add(float weight, uint32_t rows, uint32_t bytes, int columns) {
#pragma unroll 1
    for (int r = 0; r < kLanes; ++r) {
      const float w = ptx::shfl_idx(weight, r);
      if (w == 0) continue;
      const uint32_t row = rows + static_cast<uint32_t>(r) * bytes;
#pragma unroll
      for (int n = 0; n < kLaneColumns; ++n) {
        const int c = this_lane() + n * kLanes;
        if (c < columns)
          column[n] = fmaf(w, ptx::lds<float>(row + static_cast<uint32_t>(4 * c)), column[n]);
      }
    }
  }

  /** To the row that begins with element `row` of `data`. kAdd: to what is there. */
  template <bool kAdd>
  PTX_FN void store(void* data, int dtype, int64_t row, int columns, float factor) const {
#pragma unroll
    for (int n = 0; n < kLaneColumns; ++n) {
      const int c = this_lane() + n * kLanes;
      if (c >= columns) continue;
      const float before = kAdd ? load_float(data, dtype, row + c) : 0.f;
      store_float(data, dtype, row + c, before + factor * column[n]);
    }
  }
};

/** A block's work on some outer rows. */
template <class Traits>
struct ExtremeBlock {
  static constexpr bool kKeys = Traits::kKeys;

  const BackwardParams& p;
  const BackwardBlock<Traits> block;
  const ExtremeShared shared;

  PTX_FN int outer() const { return block.outer0 + this_warp(); }

  /** Index of a query row among p.states. */
  PTX_FN int64_t row(int head, int i) const {
    const SequenceRows& s = block.sequence;
    return (int64_t{s.q_batch} * p.attention.heads + head) * p.q_rows + s.q_begin + i;
  }

  PTX_FN bool extreme(int head, int i) const {
    const SequenceRows& s = block.sequence;
    const RowScalars& lse = p.attention.lse;
    return i < s.seqlen_q && is_extreme(p, ptx::ldg(lse.data + s.q_batch * lse.batch +
                                                    head * lse.head + (s.q_begin + i) * lse.row));
  }

  template <int kRows>
  PTX_FN void load_queries(uint32_t x, uint32_t y, int head, int first) const {
    const AttentionParams& a = p.attention;
    const SequenceRows& s = block.sequence;
    load_rows<kRows>(x, shared.x_bytes, a.q, a.query_dtype, s.q_batch, s.q_begin, head, first,
                     s.seqlen_q, a.head_dim);
    load_rows<kRows>(y, shared.y_bytes, p.dout, a.query_dtype, s.q_batch, s.q_begin, head, first,
                     s.seqlen_q, a.head_dim_v);
  }
  template <int kRows>
  PTX_FN void load_keys(uint32_t x, uint32_t y, int head, int first) const {
    const AttentionParams& a = p.attention;
    const SequenceRows& s = block.sequence;
    load_rows<kRows>(x, shared.x_bytes, a.k, a.key_dtype, s.k_batch, s.k_begin, head, first,
                     s.seqlen_k, a.head_dim);
    load_rows<kRows>(y, shared.y_bytes, a.v, a.key_dtype, s.k_batch, s.k_begin, head, first,
                     s.seqlen_k, a.head_dim_v);
  }

  PTX_FN void load_outer() const {
    if constexpr (kKeys)
      load_keys<kWarps>(shared.outer_x, shared.outer_y, block.head, block.outer0);
    else
      load_queries<kWarps>(shared.outer_x, shared.outer_y, block.head, block.outer0);
  }

  PTX_FN Pair pair(int head, int i, int j) const {
    const AttentionParams& a = p.attention;
    const uint32_t warp = static_cast<uint32_t>(this_warp());
    const uint32_t lane = static_cast<uint32_t>(this_lane());
    const float product = dot(shared.outer_x + warp * shared.x_bytes,
                              shared.inner_x + lane * shared.x_bytes, a.head_dim);
    Pair pair{};
    pair.score = score_of_pair(a, block.window, {FastDivide{}, head, block.sequence.seqlen_q, 0},
                               block.batch, i, j, product);
    if (pair.score == -kInfinity) return pair;
    pair.kept = kept_weight(a, block.batch, head, i, j);
    if (pair.kept != 0)
      pair.dweight = pair.kept * dot(shared.outer_y + warp * shared.y_bytes,
                                     shared.inner_y + lane * shared.y_bytes, a.head_dim_v);
    pair.slope = a.softcap > 0 ? cap_with_slope<float>(a, product * a.scale).slope : 1.f;
    return pair;
  }

  /** Calls f(i, head, pair) for every pair of an extreme row and a key that it sees. */
  template <class F>
  PTX_FN bool for_each_tile(F f) const {
    const InnerTiles<Traits> tiles(p, block);
    bool any = false;
    for (InnerVisit at = tiles.first(); !tiles.done(at); at = tiles.after(at)) {
      const int inner0 = at.tile * kLanes, inner = inner0 + this_lane();
      const int i = kKeys ? inner : outer(), j = kKeys ? outer() : inner;
      const bool wanted = extreme(at.head, i);
      // Of queries that stream past, all warps see the same ones.
      if (kKeys && !ptx::vote_any(wanted)) continue;
      any = true;
      ptx::sync_block();  // all are done with the tile before
      if constexpr (kKeys)
        load_queries<kLanes>(shared.inner_x, shared.inner_y, at.head, inner0);
      else
        load_keys<kLanes>(shared.inner_x, shared.inner_y, p.attention.group.quotient(at.head),
                          inner0);
      ptx::sync_block();
      Pair pair{-kInfinity, 0, 0, 0};
      if (wanted) pair = this->pair(at.head, i, j);
      f(at.head, i, pair);
    }
    return any;
  }

  /** P, what dropout leaves of it, and dS. */
  PTX_FN float2 differentiate(const ExtremeRow& state, const Pair& pair) const {
    if (pair.score == -kInfinity) return {0, 0};
    const float weight = ptx::exp2_approx((pair.score - state.maximum) * kLog2E) * state.rcp_sum;
    return {weight * pair.kept, weight * (pair.dweight - state.delta) * pair.slope};
  }

  PTX_FN void differentiate_queries() const {
    const AttentionParams& a = p.attention;
    const SequenceRows& s = block.sequence;
    if (!ptx::vote_any(this_lane() < kWarps && extreme(block.head, block.outer0 + this_lane())))
      return;
    load_outer();
    RowSums sums;
    for_each_tile([&](int, int, const Pair& pair) {
      if (pair.score != -kInfinity) sums.add(pair.score, pair.dweight);
    });
    const ExtremeRow state = sums.finish(a, block.head);
    GradientRow dq;
    for_each_tile([&](int, int, const Pair& pair) {
      dq.add(differentiate(state, pair).y, shared.inner_x, shared.x_bytes, a.head_dim);
    });
    if (!extreme(block.head, outer())) return;
    if (this_lane() == 0) ptx::stg<ExtremeRow>(p.extreme.rows + row(block.head, outer()), state);
    dq.store<false>(
        p.dq.data, a.query_dtype,
        s.q_batch * p.dq.batch + (s.q_begin + outer()) * p.dq.row + block.head * p.dq.head,
        a.head_dim, a.scale);
  }

  PTX_FN void differentiate_keys() const {
    const AttentionParams& a = p.attention;
    const SequenceRows& s = block.sequence;
    load_outer();
    GradientRow dk, dv;
    const bool any = for_each_tile([&](int head, int i, const Pair& pair) {
      ExtremeRow state{};
      if (pair.score != -kInfinity) state = ptx::ldg(p.extreme.rows + row(head, i));
      const float2 gradient = differentiate(state, pair);
      dv.add(gradient.x, shared.inner_y, shared.y_bytes, a.head_dim_v);
      dk.add(gradient.y, shared.inner_x, shared.x_bytes, a.head_dim);
    });
    if (!any || outer() >= s.seqlen_k) return;
    const auto row_of = [&](const Tensor& tensor) {
      return s.k_batch * tensor.batch + (s.k_begin + outer()) * tensor.row +
             block.head * tensor.head;
    };
    dk.store<true>(p.dk.data, a.key_dtype, row_of(p.dk), a.head_dim, a.scale);
    dv.store<true>(p.dv.data, a.key_dtype, row_of(p.dv), a.head_dim_v, 1.f);
  }
};

struct ExtremeParams {
  BackwardParams call;
  bool keys;  // whether outer rows are keys
};

/** Blocks take tiles of outer rows in turns: without extreme rows, a few blocks leave at once. */
template <bool kKeys>
PTX_FN void differentiate_tiles(const BackwardParams& p) {
  using Traits = ExtremeTraits<kKeys>;
  const AttentionParams& a = p.attention;
  const ExtremeShared shared(ptx::dyn_smem(), a.head_dim, a.head_dim_v);
  const int64_t tiles = p.tiles.divisor, columns = p.columns.divisor;
  for (int64_t n = blockIdx.x; n < tiles * columns * a.batch; n += gridDim.x) {
    const int64_t rest = n / tiles;
    const BackwardBlock<Traits> block(p, static_cast<int>(rest / columns),
                                      static_cast<int>(rest % columns),
                                      static_cast<int>(n % tiles));
    if (block.outer0 >= block.outer_count()) continue;
    const ExtremeBlock<Traits> work{p, block, shared};
    if constexpr (kKeys)
      work.differentiate_keys();
    else
      work.differentiate_queries();
    ptx::sync_warp();  // a warp alone reads and writes its outer row
  }
}

/**
 * Both roles and all dtypes are one kernel, which dot products in float32 bound any way: both find
 * a score by the same code, and the driver has little to compile where it has PTX.
 */
__global__ void __launch_bounds__(kExtremeThreads, 1)
    extreme_rows_kernel(const __grid_constant__ ExtremeParams p) {
  if (ptx::ldg(p.call.extreme.found) == 0) return;
  if (p.keys)
    differentiate_tiles<true>(p.call);
  else
    differentiate_tiles<false>(p.call);
}

void launch_extreme_rows(ExtremeParams p, int rows, int heads, const Queue& queue) {
  const AttentionParams& a = p.call.attention;
  const int64_t tiles = (rows + kWarps - 1) / kWarps;
  if (tiles == 0) return;
  p.call.tiles = FastDivide(tiles);
  p.call.columns = FastDivide(heads);
  launch(extreme_rows_kernel,
         std::min<int64_t>(tiles * heads * a.batch,
                           kBlocksPerMultiprocessor * queue.properties.multiProcessorCount),
         kExtremeThreads, ExtremeShared(0, a.head_dim, a.head_dim_v).end(), queue, p);
}

}  // namespace

void differentiate_extreme_rows(const BackwardParams& params, const Queue& queue) {
  const AttentionParams& a = params.attention;
  launch_extreme_rows({params, false}, a.seqlen_q, a.heads, queue);
  launch_extreme_rows({params, true}, a.seqlen_k, a.kv_heads, queue);
}

}  // namespace fa::cuda
