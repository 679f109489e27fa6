// wgmma: products of a warpgroup that run beside it until it waits for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "simt/location.h"
#include "simt/matrix.h"

namespace simt {

struct WgmmaShape {
  Operand operand;
  int n;
  bool transpose_a, transpose_b;
  bool accumulate;
};

/** Registers of the running thread. */
struct RegisterRange {
  const void* begin;
  size_t bytes;
};

void wgmma_fence(const Location& at);
/** d (+)= a b; `a` is the lane's four registers, or null where `a_descriptor` names them. */
void wgmma(const WgmmaShape& shape, float* d, const uint32_t* a, uint64_t a_descriptor,
           uint64_t b_descriptor, const Location& at);
void wgmma_commit(const Location& at);
/** Until at most `batches` are under way; the accumulators that this completes must be among `named`. */
void wgmma_wait(int batches, std::initializer_list<RegisterRange> named, const Location& at);

}  // namespace simt
