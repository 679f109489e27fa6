// What attention costs, counted in one way for every device: pairs of a query and a key that are
// visible. A dense mask is not looked into: what it hides is computed all the same.
#pragma once

#include <cstdint>

#include "core/attention.h"
#include "core/mask.h"
#include "core/plan.h"

namespace fa {

/** The window of a sequence. */
WindowMask window_of(const AttentionProblem& problem, const Sequence& sequence);

/** Pairs of queries [i0, i1) x keys [j0, j1) that the window shows, by a closed form. */
double window_pairs(const WindowMask& window, int64_t i0, int64_t i1, int64_t j0, int64_t j1);

/**
 * Pairs that a query head of a sequence sees. Only cells of a block mask are walked, and the bits
 * of partial ones: of a bitmap once, and of cells that the window or the sequence cuts.
 */
double visible_pairs(const AttentionProblem& problem, const Sequence& sequence, int64_t batch,
                     int64_t head);

/** What there is to a call, whatever computes it. */
struct CallSize {
  double rows = 0;    // queries, over all heads
  double keys = 0;    // over all kv heads
  double scores = 0;  // queries x keys, over all heads
  double pairs = 0;   // that are visible
};

/**
 * Visits all heads of all sequences in blocks of `heads_of(sequence)`, a divisor of their number
 * and heads of one kv head if a block mask tells heads apart. Of sequences and blocks that nothing
 * tells apart one is visited: `visit(batch, sequence, head, times)` gets the first head of a block
 * and how many it stands for.
 */
template <typename HeadsOf, typename Visit>
CallSize visit_heads(const AttentionProblem& p, HeadsOf heads_of, Visit visit) {
  const View& table = p.block_mask.table;
  const bool heads_alike = !table.present() || table.shape[1] == 1;
  const bool batch_alike =
      !p.ragged() && !p.first_positions.present() && (!table.present() || table.shape[0] == 1);
  const int64_t sequences = batch_alike ? p.batch() : 1;
  CallSize size;
  for (int64_t b = 0; b < p.batch(); b += sequences) {
    const Sequence s = sequence(p, b);
    const double rows = static_cast<double>(sequences * p.heads() * s.seqlen_q);
    size.rows += rows;
    size.keys += static_cast<double>(sequences * p.kv_heads() * s.seqlen_k);
    size.scores += rows * static_cast<double>(s.seqlen_k);
    const int64_t heads = heads_of(s);
    const int64_t blocks = heads_alike ? p.heads() / heads : 1;  // that are alike
    for (int64_t block = 0; block < p.heads(); block += blocks * heads) {
      const int64_t alike = heads_alike ? heads : 1;
      for (int64_t head = block; head < block + heads; head += alike) {
        size.pairs +=
            static_cast<double>(sequences * blocks * alike) * visible_pairs(p, s, b, head);
      }
      visit(b, s, block, sequences * blocks);
    }
  }
  return size;
}

/** What a device moves of a call beside its results. */
struct Traffic {
  double query_rows = 0, key_rows = 0;  // read; a key's row is that of its value, too
  double partial_bytes = 0;             // of splits, written and read
  bool values_in_keys = false;          // and not read again
};

/** FLOPs and bytes of the forward pass, and those of standard attention. */
void set_cost(AttentionPlan& plan, const AttentionProblem& problem, const CallSize& size,
              const Traffic& traffic);

}  // namespace fa
