// The float32 sum of dQ in global memory, in the order in which warpgroups hold it: tiles of
// kQueries rows, of parts of 64 x 64 (the last may lack columns), of runs of 8 columns, of what
// the 128 threads of a warpgroup hold of those: elements (g, 2t) (g, 2t + 1) (g + 8, 2t) (g + 8, 2t
// + 1) of the 16 rows of its warp. So a part is one run of bytes, in shared and in global memory,
// and every tile has all its rows, whether the sequence does or not.
#pragma once

#include "cuda/device/packed_rows.h"
#include "cuda/device/sequence.h"
#include "cuda/sm90/backward_kernels.h"

namespace fa::cuda::sm90 {

template <int kTileWidth>
struct QuerySum {
  static constexpr BackwardTile kTile = backward_tile(kTileWidth);
  static constexpr int kWidth = kTile.width, kQueries = kTile.queries;
  static constexpr int kTileFloats = kQueries * kWidth;
  static constexpr int kParts = kTile.sum_parts();
  static constexpr int kPartFloats = 64 * 64;
  static constexpr int kRunBytes = 128 * 16;
  static constexpr bool kByQueries =
      kQueries == 128;  // parts are rows 0 .. 63 and 64 .. 127, else columns
  static_assert(kByQueries ? kWidth == 64 : kQueries == 64 && kWidth > 64);

  static PTX_FN int query_panel(int part) { return kByQueries ? part : 0; }
  static PTX_FN int column_panel(int part) { return kByQueries ? 0 : part; }
  static PTX_FN int runs(int part) {
    const int columns = kWidth - 64 * column_panel(part);
    return (columns < 64 ? columns : 64) / 8;
  }

  /**
   * Number of a sequence's tile of queries. Packed sequences begin wherever the one before ends:
   * each has one tile more.
   */
  static PTX_FN int tile(const BackwardKernelParams& p, const SequenceRows& s, int batch, int head,
                         int tile) {
    const bool packed = p.call.attention.cu_seqlens_q.data != nullptr;
    return (s.q_batch * p.call.attention.heads + head) * p.query_tiles +
           (packed ? s.q_begin / kQueries + batch : 0) + tile;
  }
  static PTX_FN float* part(const BackwardKernelParams& p, int tile, int part) {
    return p.call.dq_sum + static_cast<int64_t>(tile) * kTileFloats + part * kPartFloats;
  }
};

/** dq = scale * the sum. A block makes one tile of queries, a warpgroup each part. */
template <class T, int kWidth>
__global__ void __launch_bounds__(128 * QuerySum<kWidth>::kParts)
    query_sum_kernel(const __grid_constant__ BackwardKernelParams p) {
  using Sum = QuerySum<kWidth>;
  const AttentionParams& a = p.call.attention;
  const int index = static_cast<int>(blockIdx.x);
  const int rest = p.call.tiles.quotient(index), tile = p.call.tiles.remainder(index);
  const int head = p.call.columns.remainder(rest), batch = p.call.columns.quotient(rest);
  const SequenceRows s = locate_sequence(a, batch);
  if (tile * Sum::kQueries >= s.seqlen_q) return;

  const LanePosition lane;
  const int thread = static_cast<int>(threadIdx.x) % 128;
  const int part = static_cast<int>(threadIdx.x) / 128;
  const float* const from = Sum::part(p, Sum::tile(p, s, batch, head, tile), part) + 4 * thread;
  const int row = tile * Sum::kQueries + Sum::query_panel(part) * 64 + thread / 32 * 16 + lane.g;
  const int column = Sum::column_panel(part) * 64 + 2 * lane.t;
  T* const to = static_cast<T*>(p.call.dq.data) + s.q_batch * p.call.dq.batch +
                (s.q_begin + row) * p.call.dq.row + head * p.call.dq.head + column;
  for (int run = 0; run < Sum::runs(part) && column + 8 * run < a.head_dim; ++run) {
    const float4 sums = ptx::ldg(reinterpret_cast<const float4*>(from + run * Sum::kRunBytes / 4));
    if (row < s.seqlen_q)
      ptx::stg<uint32_t>(reinterpret_cast<uint32_t*>(to + 8 * run),
                         ptx::pack2<T>(a.scale * sums.x, a.scale * sums.y));
    if (row + 8 < s.seqlen_q)
      ptx::stg<uint32_t>(reinterpret_cast<uint32_t*>(to + 8 * p.call.dq.row + 8 * run),
                         ptx::pack2<T>(a.scale * sums.z, a.scale * sums.w));
  }
}

}  // namespace fa::cuda::sm90
