// What attention costs, counted in one way for every device: pairs of a query and a key that are
// visible. A dense mask is not looked into: what it hides is computed all the same.
#pragma once

#include <cstdint>

#include "core/attention.h"
#include "core/mask.h"

namespace fa {

/** The window of a sequence. */
WindowMask window_of(const AttentionProblem& problem, const Sequence& sequence);

/** Pairs of queries [i0, i1) x keys [j0, j1) that the window shows, by a closed form. */
double window_pairs(const WindowMask& window, int64_t i0, int64_t i1, int64_t j0, int64_t j1);

/**
 * Pairs that a query head of a sequence sees. Only cells of a block mask are walked, and the bits
 * of partial ones.
 */
double visible_pairs(const AttentionProblem& problem, const Sequence& sequence, int64_t batch,
                     int64_t head);

}  // namespace fa
