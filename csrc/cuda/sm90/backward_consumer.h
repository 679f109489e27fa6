// What the computing warpgroups of a backward kernel have in common, however they divide the
// gradients: what they wait for, how a tile's scores become P and dS, where parts of dQ are left.
#pragma once

#include "cuda/sm90/backward_pairs.h"
#include "cuda/sm90/backward_traits.h"

namespace fa::cuda::sm90 {

/** The tile of queries that a warp is at. */
template <class Traits>
struct QueryVisit {
  RingPosition<Traits::kStages> at;
  VisitRecord record;
  PTX_FN bool partial() const { return record.kind != static_cast<int>(TileKind::kFull); }
};

/** A warp of a computing warpgroup. */
template <class Traits>
struct BackwardConsumer {
  using T = typename Traits::T;
  using KeyTile = typename Traits::KeyTile;
  using QueryTile = typename Traits::QueryTile;
  using Sum = typename Traits::Sum;
  using Shared = BackwardShared<Traits>;
  using Visit = QueryVisit<Traits>;
  using SumPart = float[32];
  static constexpr int kThreads = 128 * Traits::kConsumers;

  const BackwardKernelParams& p;
  const BackwardBlock<Traits>& block;
  const Shared& shared;
  int consumer;  // number of the warpgroup

  PTX_FN int thread() const { return this_thread() % 128; }
  PTX_FN int first_row() const { return thread() / 32 * 16; }  // of its warp, of 64

  /** Waits for the computing warpgroups. */
  static PTX_FN void sync_consumers() { ptx::bar_sync(kConsumersBarrier, kThreads); }

  /**
   * Waits for K and V. Rows beyond the end, padding or the next sequence, become zeros: their NaN
   * would look like a key's.
   */
  PTX_FN void await_keys() const {
    ptx::mbar_wait(shared.keys_full, 0);
    const int rows = block.sequence.seqlen_k - block.outer0;
    if (rows >= Traits::kOuter) return;
    clear_rows<KeyTile>(shared.k, rows);
    ptx::fence_proxy_async();
    sync_consumers();
  }

  /** Whether the keys hold an infinity or NaN. Each thread looks at some. */
  PTX_FN bool keys_poisoned() const {
    if (chunks_poisoned<T, KeyTile>(shared.k, 128 * consumer + thread(), kThreads) &&
        thread() % 32 == 0)
      ptx::smem_atomic_add(shared.poisoned, 1);
    sync_consumers();
    return ptx::lds<int>(shared.poisoned) != 0;
  }

  /**
   * The same of a tile of Q and dO. Each warp looks at all of them, for all to agree without a
   * barrier: it is seldom asked.
   */
  PTX_FN bool queries_poisoned(const Visit& visit) const {
    if (visit.record.suspect == 0) return false;
    return chunks_poisoned<T, QueryTile>(shared.q(visit.at), thread() % 32, 32) ||
           chunks_poisoned<T, QueryTile>(shared.dout(visit.at), thread() % 32, 32);
  }

  /** Zeros for the rows of a tile from `first` on. */
  template <class Tile>
  PTX_FN void clear_rows(uint32_t tile, int first) const {
    const int chunks = (Tile::kRows - first) * kPanelRowBytes / 16;
#pragma unroll 1
    for (int i = 128 * consumer + thread(); i < Tile::kPanels * chunks; i += kThreads) {
      const int panel = i / chunks;
      ptx::sts<uint4>(
          tile + static_cast<uint32_t>(panel * Tile::kPanelBytes + first * kPanelRowBytes +
                                       16 * (i - panel * chunks)),
          {});
    }
  }

  /**
   * Waits for a tile of Q or dO. Packed sequences follow one another: rows of the next one become
   * zeros.
   */
  PTX_FN void await_rows(const typename Shared::QueryRing& ring, const Visit& visit) const {
    ring.wait(visit.at);
    const int rows = block.sequence.seqlen_q - visit.record.tile * Traits::kInner;
    if (p.call.attention.cu_seqlens_q.data == nullptr || rows >= Traits::kInner) return;
    clear_rows<QueryTile>(ring.tile(visit.at), rows);
    ptx::fence_proxy_async();
    sync_consumers();
  }

  /**
   * s = P and dp = dS of a tile whose products are under way, S before dP. Without hidden pairs, P
   * is computed while dP still is. `weigh` and `derive` are for those.
   */
  template <class Scores, class Weigh, class Derive>
  PTX_FN void differentiate_tile(const Visit& visit, const ScorePart& mine, Scores& s, Scores& dp,
                                 Weigh weigh, Derive derive) const {
    const uint32_t states =
        shared.visits.tile(visit.at) + static_cast<uint32_t>(sizeof(VisitRecord));
    if (Traits::kFeatured || visit.partial()) {
      const InnerVisit where{visit.record.head, visit.record.tile,
                             static_cast<TileKind>(visit.record.kind)};
      ScoreBits<Traits> kept = 0;
      if (Traits::kFeatured && p.call.attention.dropout.enabled)
        kept = kept_scores<Traits>(p.call, block, where, mine);
      ptx::wgmma_wait<0>(s, dp);
      differentiate<Traits, true>(p.call, block, where, mine, states, kept,
                                  reinterpret_cast<typename Traits::Scores&>(s),
                                  reinterpret_cast<typename Traits::Scores&>(dp));
    } else {
      ptx::wgmma_wait<1>(s);
      weigh(states);
      ptx::schedule_fence();  // or dP would be waited for before P is computed
      ptx::wgmma_wait<0>(dp);
      derive(states);
    }
    arrive_warp(shared.visits.free(visit.at));
  }

  /** Waits until all warpgroups have stored what they share of a tile's scores. */
  PTX_FN void await_ds(RingPosition<1> at) const { ptx::mbar_wait(shared.ds_full, at.parity); }

  /** Accumulators as the operand of the next product. */
  template <int kCount>
  static PTX_FN void pack(uint32_t (&packed)[kCount / 8][4], const float (&from)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount / 2; ++i)
      packed[i / 4][i % 4] = ptx::pack2<T>(from[2 * i], from[2 * i + 1]);
  }

  /** Leaves a part of dQ for add_sums. */
  PTX_FN void leave_sum(RingPosition<1> at, const SumPart& dq, int part,
                        const VisitRecord& visit) const {
    const auto sum = shared.sum(consumer);
    ptx::mbar_wait(sum.free(at), at.parity ^ 1);
    const uint32_t to = sum.tile(at) + static_cast<uint32_t>(16 * thread());
#pragma unroll
    for (int run = 0; run < 8; ++run)
      ptx::sts<float4>(to + static_cast<uint32_t>(run * Sum::kRunBytes),
                       {dq[4 * run], dq[4 * run + 1], dq[4 * run + 2], dq[4 * run + 3]});
    if (thread() == 0)
      ptx::sts<SumRecord>(shared.sum_record(consumer),
                          {Sum::tile(p, block.sequence, block.batch, visit.head, visit.tile),
                           visit.head, visit.tile, part});
    ptx::fence_proxy_async();
    arrive_warp(sum.full(at));
  }
  PTX_FN void leave_no_more_sums(RingPosition<1> at) const {
    const auto sum = shared.sum(consumer);
    ptx::mbar_wait(sum.free(at), at.parity ^ 1);
    if (thread() == 0) ptx::sts<SumRecord>(shared.sum_record(consumer), {-1, 0, 0, 0});
    arrive_warp(sum.full(at));
  }

  /** Writes a chunk of 8 dims of dK or dV, laid out in `tile`. */
  PTX_FN void write_chunk(uint32_t tile, const Tensor& tensor, int columns, int row,
                          int chunk) const {
    const SequenceRows& s = block.sequence;
    if (block.outer0 + row >= s.seqlen_k || 8 * chunk >= columns) return;
    T* const to = static_cast<T*>(tensor.data) + s.k_batch * tensor.batch +
                  block.head * tensor.head + (s.k_begin + block.outer0 + row) * tensor.row +
                  8 * chunk;
    ptx::stg<uint4>(reinterpret_cast<uint4*>(to),
                    ptx::lds<uint4>(tile + KeyTile::offset(row, chunk)));
  }
};

}  // namespace fa::cuda::sm90
