// wgmma: products of a warpgroup that run beside it until it waits for them. A product runs once
// all four warps have asked for it; each of them gets its results at its own wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "simt/location.h"
#include "simt/operand.h"

namespace simt {

struct Block;
struct Thread;
struct Warp;

struct WgmmaShape {
  Operand operand;
  int n;
  bool transpose_a, transpose_b;
  bool accumulate;
};

constexpr int kGroupThreads = 128;

/** 64 x n sums that belong to the tensor core. */
struct Accumulators {
  int n = 0;
  float* registers[kGroupThreads] = {};  // where each thread holds its n / 2
  uint32_t taken = 0, returned = 0;      // by warp
  std::vector<float> sums;
};

struct Product {
  WgmmaShape shape;
  uint64_t a_descriptor, b_descriptor;
  uint32_t batch;
  Location at;
  uint32_t issued = 0, retired = 0;  // by warp
  bool executed = false;
  Accumulators* d = nullptr;
  bool a_in_registers = false;
  const uint32_t* a_registers[kGroupThreads] = {};
  uint32_t a[kGroupThreads][4] = {};         // what they held
  std::vector<uint32_t> a_chunks, b_chunks;  // of shared memory, in the order of visit_chunks
};

struct Warpgroup {
  std::vector<std::unique_ptr<Product>> products;  // that not every warp has retired
  uint64_t first = 0;                              // the number of the first of them
  std::vector<std::unique_ptr<Accumulators>> accumulators;
  std::vector<Thread*> waiting;  // for other warps to ask for a product
};

/** How far a warp has come. */
struct WarpProducts {
  uint64_t issued = 0, retired = 0;  // products
  uint32_t batches = 0;              // committed
  bool fenced = false;               // for the batch that is open
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
/**
 * Until at most `batches` are under way; the accumulators that this completes must be among
 * `named`.
 */
void wgmma_wait(int batches, std::initializer_list<RegisterRange> named, const Location& at);

void check_products_at_exit(const Thread& thread);
/** Reports products that only some warps of their group have asked for. */
void check_products_at_end(const Block& block);

}  // namespace simt
