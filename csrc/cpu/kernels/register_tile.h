// The register tile that every product keeps: vectors of query rows times keys or columns.
#pragma once

#include "cpu/kernels/math.h"

namespace fa::cpu::FA_ISA {
namespace {

/**
 * Vectors of query rows in one register tile; the panel's layout [.][kRowVectors][kLanes] keeps
 * this stride even when fewer are live.
 */
constexpr int kRowVectors = kRegisters == 16 && kLanes == 4 ? 2 : 3;
constexpr int kPanelRows = kRowVectors * kLanes;

/**
 * Keys or columns per register tile: groups * step accumulators, with room for groups + 1 operands.
 */
template <int Groups>
constexpr int kStep = kRegisters == 32 || Groups == 1 ? 8 : 4;

/**
 * Keys whose probabilities are added up before they join a row's sum: as many whatever the number
 * of vectors, so that a row's bits do not depend on the panel it is in.
 */
constexpr int kSumKeys = kStep<kRowVectors>;

/** Columns of V are padded, and stretches of keys begin, at multiples of this. */
constexpr int kColumnStep = 8;

/** Calls `body` with the number of vectors as a constant. */
template <int N>
struct Count {
  static constexpr int value = N;
};
template <class Body>
FA_ALWAYS_INLINE void with_groups(int groups, Body body) {
  if (groups == 1)
    body(Count<1>{});
  else if (groups == 2)
    body(Count<2>{});
  else if constexpr (kRowVectors >= 3)
    body(Count<3>{});
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
