// Rotary position embedding (RoFormer, Su et al. 2021): pairs of a row's elements turn by an angle
// that its position gives.
#pragma once

#include <cstdint>

#include "core/inline.h"
#include "core/view.h"

namespace fa {

/** Cosines and sines of a model, and which rows of them a call's tokens take. */
struct Rotary {
  View cos, sin;  // float32, float16 or bfloat16 [positions, dim / 2]; absent: nothing turns
  // int32 [batch, seqlen] of rotate(), [total] of append(): rows of the tables
  View positions;
  // Pair i is elements 2i and 2i + 1 (GPT-J), or else i and i + pairs (GPT-NeoX), counted from
  // `offset` on. Elements of no pair stay.
  bool interleaved = false;
  int64_t offset = 0;

  bool present() const { return cos.present(); }
  int64_t pairs() const { return present() ? cos.shape[1] : 0; }
};

/** x [batch, seqlen, heads, dim], rotated -> out, of the same shape and dtype. */
struct Rotation {
  View x, out;
  Rotary rotary;
};

/** Where the elements of pair `i` stand; those of the first one begin at `offset`. */
struct RotaryPair {
  int first, second;

  FA_INLINE RotaryPair(bool interleaved, int offset, int i, int pairs)
      : first(offset + (interleaved ? 2 * i : i)),
        second(offset + (interleaved ? 2 * i + 1 : i + pairs)) {}
};

/**
 * Turns a pair. Products of floats are exact in double, so that the bits are the same on every
 * device, whether a compiler contracts products and sums or not.
 */
static FA_INLINE void turn(float& first, float& second, float cos, float sin) {
  const double x = first, y = second, c = cos, s = sin;
  first = static_cast<float>(x * c - y * s);
  second = static_cast<float>(y * c + x * s);
}

/** Calls `function` with the tensors of `rotation` whose contents decide what is legal. */
template <typename Function>
void for_each_index(Rotation& rotation, Function function) {
  function(rotation.rotary.positions);
}

}  // namespace fa
