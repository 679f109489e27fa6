// What a block of the backward pass works on: its outer rows (keys or queries), and the tiles of
// inner rows (of the other kind) that they meet. Traits: kKeys (outer rows are keys), kFeatured,
// kOuter and kInner (rows).
#pragma once

#include "cuda/device/backward_params.h"
#include "cuda/device/tile_range.h"

namespace fa::cuda {

/** The part of the problem that one block works on. */
template <class Traits>
struct BackwardBlock {
  int batch, head, outer0;  // head: of the outer rows
  SequenceRows sequence;
  Window window;

  /**
   * The tiles that causal masks leave most work first, those of a section's heads side by side:
   * what they stream stays in L2.
   */
  PTX_FN BackwardBlock(const BackwardParams& p, int index) {
    const int rest = p.section.quotient(index), tiles = static_cast<int>(p.tiles.divisor);
    const int section = p.tiles.quotient(rest), tile = rest - section * tiles;
    const int column = section * static_cast<int>(p.section.divisor) + p.section.remainder(index);
    outer0 = (Traits::kKeys ? tile : tiles - 1 - tile) * Traits::kOuter;
    head = p.columns.remainder(column);
    batch = p.columns.quotient(column);
    locate(p);
  }
  PTX_FN BackwardBlock(const BackwardParams& p, int of_batch, int of_head, int tile)
      : batch(of_batch), head(of_head), outer0(tile * Traits::kOuter) {
    locate(p);
  }

  PTX_FN void locate(const BackwardParams& p) {
    sequence = locate_sequence(p.attention, batch);
    window = window_of(p.attention, sequence);
  }

  PTX_FN int outer_count() const { return Traits::kKeys ? sequence.seqlen_k : sequence.seqlen_q; }
  PTX_FN int inner_count() const { return Traits::kKeys ? sequence.seqlen_q : sequence.seqlen_k; }
};

/** One inner tile that a block meets. */
struct InnerVisit {
  int head;  // of the queries
  int tile;
  TileKind kind;
};

/**
 * The inner tiles that a block meets, one after the other; of keys, those of every query head that
 * shares them.
 */
template <class Traits>
struct InnerTiles {
  const BackwardParams& p;
  const BackwardBlock<Traits>& block;
  TileRange range;
  int head_begin, head_end;

  PTX_FN InnerTiles(const BackwardParams& params, const BackwardBlock<Traits>& of)
      : p(params), block(of) {
    const int outer1 = clamp(block.outer0 + Traits::kOuter, 0, block.outer_count());
    if constexpr (Traits::kKeys) {
      const int group = static_cast<int>(p.attention.group.divisor);
      range = visible_query_tiles<Traits::kInner>(block.window, block.outer0, outer1,
                                                  block.sequence.seqlen_q);
      head_begin = block.head * group;
      head_end = head_begin + group;
    } else {
      range = visible_tiles<Traits::kInner>(block.window, block.outer0, outer1);
      head_begin = block.head;
      head_end = head_begin + 1;
    }
  }

  PTX_FN InnerVisit first() const { return from({head_begin, range.begin, TileKind::kSkip}); }
  PTX_FN InnerVisit after(InnerVisit visit) const {
    ++visit.tile;
    return from(visit);
  }
  PTX_FN bool done(const InnerVisit& visit) const { return visit.head == head_end; }

  /** The first tile from `visit` on that is not skipped. */
  PTX_FN InnerVisit from(InnerVisit visit) const {
    for (; !done(visit); ++visit.head, visit.tile = range.begin) {
      for (; visit.tile < range.end; ++visit.tile) {
        visit.kind = classify(visit);
        if (visit.kind != TileKind::kSkip) return visit;
      }
    }
    return visit;
  }

  PTX_FN TileKind classify(const InnerVisit& visit) const { return classify(visit, block.outer0); }

  /**
   * Of the block of the outer rows from `outer0` on. Rows beyond the queries' end make a tile
   * partial, as those beyond the keys' end do.
   */
  PTX_FN TileKind classify(const InnerVisit& visit, int outer0) const {
    const int inner0 = visit.tile * Traits::kInner;
    const int i0 = Traits::kKeys ? inner0 : outer0;
    const int j0 = Traits::kKeys ? outer0 : inner0;
    const int i1 = i0 + (Traits::kKeys ? Traits::kInner : Traits::kOuter);
    const int j1 = j0 + (Traits::kKeys ? Traits::kOuter : Traits::kInner);
    const int last = clamp(i1, 0, block.sequence.seqlen_q);
    const TileMask<Traits::kFeatured> mask{block.window, &p.attention, block.batch, visit.head};
    const TileKind kind = mask.classify(i0, last, j0, j1);
    return last < i1 ? both(kind, TileKind::kPartial) : kind;
  }
};

}  // namespace fa::cuda
