#include "simt/wgmma.h"

#include <algorithm>
#include <cstring>

#include "simt/execution.h"
#include "simt/report.h"
#include "simt/scheduler.h"

namespace simt {

namespace {

constexpr uint32_t kAllLanes = 0xffffffffu;
constexpr uint32_t kAllWarps = 0xf;
constexpr int kRows = 64;
constexpr int kRowsOfWarp = kRows / kWarpsOfGroup;
constexpr int kDepthBytes = 32;  // of k in one instruction
constexpr int kMaxDepth = 32;
constexpr int kMaxColumns = 256;
constexpr uint32_t kPoison = 0x7fbadeadu;  // a signalling NaN: arithmetic changes it

constexpr const char* kSiblingWait = "the other warps of its group to ask for a wgmma";

struct Arguments {
  float* d;
  const uint32_t* a;
  uint64_t a_descriptor, b_descriptor;
  bool accumulate;
};

struct WaitArguments {
  const RegisterRange* named;
  size_t count;
};

template <class T>
T& arguments_of(Warp& warp, int lane) {
  return *static_cast<T*>(warp.arguments[lane]);
}

Warpgroup& group_of(const Warp& warp) {
  return warp.block->warpgroups[static_cast<size_t>(warp.index / kWarpsOfGroup)];
}
int rank_of(const Warp& warp) { return warp.index % kWarpsOfGroup; }
uint32_t bit_of(const Warp& warp) { return 1u << rank_of(warp); }

int element_bytes(Operand operand) { return operand == Operand::kE4M3 ? 1 : 2; }
int depth(Operand operand) { return kDepthBytes / element_bytes(operand); }

// ── Operands in shared memory ────────────────────────────────────────────────────────────────────

struct Descriptor {
  uint32_t address, leading, stride;  // bytes
  uint32_t swizzle;                   // bytes of a row after which it starts anew
};

Descriptor decode(uint64_t bits, const Location& at) {
  constexpr uint64_t kField = 0x3fff;
  constexpr uint64_t kKnown =
      kField | kField << 16 | kField << 32 | uint64_t{7} << 49 | uint64_t{3} << 62;
  const uint64_t mode = bits >> 62;
  if (bits & ~kKnown)
    fail(at, "wgmma: descriptor %016llx has bits that mean nothing",
         static_cast<unsigned long long>(bits));
  if (bits >> 49 & 7) fail(at, "wgmma: a base offset in the descriptor is not modelled");
  if (mode == 0) fail(at, "wgmma: a descriptor without a swizzle is not modelled");
  const Descriptor d{static_cast<uint32_t>(bits & kField) << 4,
                     static_cast<uint32_t>(bits >> 16 & kField) << 4,
                     static_cast<uint32_t>(bits >> 32 & kField) << 4, 256u >> mode};
  if (d.address >> 7 & (d.swizzle / 16 - 1))
    fail(at, "wgmma: operand at shared offset %d, under a swizzle that begins at multiples of %u",
         static_cast<int>(d.address - kSharedBase), 8 * d.swizzle);
  return d;
}

/**
 * Chunks of an operand of `rows` rows (of a, or columns of b), each at its place in the result:
 * K-major:  [row][k / half], a chunk holds half of the k of a row
 * MN-major: [row / 8][k], a chunk holds 8 rows of one k
 */
std::vector<uint32_t> chunks_of(uint64_t bits, int rows, bool transposed, const Location& at) {
  const Descriptor d = decode(bits, at);
  const SharedMemory& memory = current->block->shared;
  std::vector<uint32_t> chunks;
  chunks.reserve(static_cast<size_t>(rows) * 2);
  const auto add = [&](uint32_t address) {
    const uint32_t swizzled = address ^ (address >> 3 & (d.swizzle - kChunk));
    chunks.push_back(memory.offset(swizzled, kChunk, at) / kChunk);
  };
  const uint32_t count = static_cast<uint32_t>(rows);
  if (transposed) {
    const uint32_t width = d.swizzle / kChunk;  // of a panel, in chunks
    for (uint32_t eight = 0; eight < count / 8; ++eight)
      for (uint32_t k = 0; k < 16; ++k)
        add(d.address + eight / width * d.leading + k / 8 * d.stride + k % 8 * d.swizzle +
            eight % width * kChunk);
  } else {
    for (uint32_t row = 0; row < count; ++row)
      for (uint32_t half = 0; half < 2; ++half)
        add(d.address + row / 8 * d.stride + row % 8 * d.swizzle + half * kChunk);
  }
  return chunks;
}

void widen_chunk(Operand operand, const uint8_t* chunk, float (&out)[kChunk]) {
  if (operand == Operand::kE4M3) {
    for (uint32_t i = 0; i < kChunk; ++i) out[i] = e4m3_to_float(chunk[i]);
    return;
  }
  uint16_t bits[8];
  std::memcpy(bits, chunk, sizeof bits);
  if (operand == Operand::kFloat16)
    for (int i = 0; i < 8; ++i) out[i] = widen_float16(bits[i]);
  else
    for (int i = 0; i < 8; ++i) out[i] = fa::float_from_bits(uint32_t{bits[i]} << 16);
}

/** The operand as out[row * row_stride + k * k_stride]. */
void read_operand(const uint8_t* memory, Operand operand, const std::vector<uint32_t>& chunks,
                  bool transposed, float* out, int row_stride, int k_stride) {
  const int elements = static_cast<int>(kChunk) / element_bytes(operand);
  float wide[kChunk];
  for (size_t i = 0; i < chunks.size(); ++i) {
    widen_chunk(operand, memory + chunks[i] * kChunk, wide);
    const int index = static_cast<int>(i);
    float* to = transposed ? out + index / 16 * 8 * row_stride + index % 16 * k_stride
                           : out + index / 2 * row_stride + index % 2 * elements * k_stride;
    const int step = transposed ? row_stride : k_stride;
    for (int e = 0; e < elements; ++e) to[e * step] = wide[e];
  }
}

/** a from registers, as out[row][k]. */
void read_registers(const Product& product, float* out) {
  const Operand operand = product.shape.operand;
  const int k_count = depth(operand), each = 4 / element_bytes(operand);  // elements of a register
  for (int thread = 0; thread < kGroupThreads; ++thread) {
    const int warp = thread / kLanes, g = thread % kLanes / 4, t = thread % 4;
    for (int q = 0; q < 4; ++q) {
      float* to =
          out + (kRowsOfWarp * warp + g + 8 * (q % 2)) * k_count + each * t + k_count / 2 * (q / 2);
      const uint32_t bits = product.a[thread][q];
      for (int e = 0; e < each; ++e)
        to[e] = operand == Operand::kE4M3 ? e4m3_to_float(bits >> 8 * e & 0xff)
                                          : widen(operand, bits >> 16 * e & 0xffff);
    }
  }
}

// ── The product ──────────────────────────────────────────────────────────────────────────────────

using Vector = float __attribute__((vector_size(32)));

/** d[64][n] += a[64][k_count] b[k_count][n] for 8 kVectors columns, 4 rows at a time. */
template <int kVectors>
void multiply_columns(float* d, const float* a, const float* b, int n, int k_count) {
  for (int row = 0; row < kRows; row += 4) {
    Vector sums[4][kVectors];
    for (int i = 0; i < 4; ++i) std::memcpy(sums[i], d + (row + i) * n, sizeof sums[i]);
    for (int k = 0; k < k_count; ++k) {
      Vector right[kVectors];
      std::memcpy(right, b + k * n, sizeof right);
      for (int i = 0; i < 4; ++i)
        for (int v = 0; v < kVectors; ++v) sums[i][v] += a[(row + i) * k_count + k] * right[v];
    }
    for (int i = 0; i < 4; ++i) std::memcpy(d + (row + i) * n, sums[i], sizeof sums[i]);
  }
}

/** All columns: 16 at a time, and 8 that may be left. */
void multiply(float* d, const float* a, const float* b, int n, int k_count) {
  int column = 0;
  for (; column + 16 <= n; column += 16) multiply_columns<2>(d + column, a, b + column, n, k_count);
  if (column < n) multiply_columns<1>(d + column, a, b + column, n, k_count);
}

void execute(Product& product, const uint8_t* memory) {
  const WgmmaShape& shape = product.shape;
  const int k_count = depth(shape.operand);
  static float a[kRows * kMaxDepth], b[kMaxDepth * kMaxColumns];
  if (product.a_in_registers)
    read_registers(product, a);
  else
    read_operand(memory, shape.operand, product.a_chunks, shape.transpose_a, a, k_count, 1);
  read_operand(memory, shape.operand, product.b_chunks, shape.transpose_b, b, 1, shape.n);
  std::vector<float>& sums = product.d->sums;
  if (!shape.accumulate) std::fill(sums.begin(), sums.end(), 0.0f);
  multiply(sums.data(), a, b, shape.n, k_count);
  product.executed = true;
}

/** Products run in the order in which they were asked for. */
void execute_through(Warpgroup& group, const Product& last, const uint8_t* memory) {
  for (const auto& product : group.products) {
    if (!product->executed) execute(*product, memory);
    if (product.get() == &last) return;
  }
}

// ── Accumulators ─────────────────────────────────────────────────────────────────────────────────

/** Calls visit(register, sum) for what a thread holds. */
template <class Visit>
void visit_sums(Accumulators& d, int thread, Visit visit) {
  const int warp = thread / kLanes, g = thread % kLanes / 4, t = thread % 4;
  for (int i = 0; i < d.n / 2; ++i) {
    const int row = kRowsOfWarp * warp + g + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * t + i % 2;
    visit(d.registers[thread][i], d.sums[static_cast<size_t>(row * d.n + column)]);
  }
}

/** The accumulators under way that the warp's lane 0 holds in `d`; null if these are free. */
Accumulators* under_way(Warpgroup& group, const Warp& warp, const float* d, int n,
                        const Location& at) {
  for (const auto& each : group.accumulators) {
    const float* own = each->registers[rank_of(warp) * kLanes];
    if (!own) continue;
    if (own == d && each->n == n) return each.get();
    if (d < own + each->n / 2 && own < d + n / 2)
      fail(at, "wgmma: its accumulators overlap with others that are under way");
  }
  return nullptr;
}

void take(Accumulators& d, Warp& warp, bool accumulate) {
  d.taken |= bit_of(warp);
  for (int lane = 0; lane < kLanes; ++lane) {
    const int thread = rank_of(warp) * kLanes + lane;
    d.registers[thread] = arguments_of<Arguments>(warp, lane).d;
    visit_sums(d, thread, [&](float& held, float& sum) {
      sum = accumulate ? held : 0.0f;
      std::memcpy(&held, &kPoison, sizeof held);
    });
  }
}

bool is_named(const void* begin, size_t bytes, const WaitArguments& wait) {
  const uintptr_t first = reinterpret_cast<uintptr_t>(begin);
  for (size_t i = 0; i < wait.count; ++i) {
    const uintptr_t named = reinterpret_cast<uintptr_t>(wait.named[i].begin);
    if (first >= named && first + bytes <= named + wait.named[i].bytes) return true;
  }
  return false;
}

void give_back(Accumulators& d, Warp& warp, const Location& at) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const int thread = rank_of(warp) * kLanes + lane;
    const size_t bytes = sizeof(float) * static_cast<size_t>(d.n / 2);
    if (!is_named(d.registers[thread], bytes, arguments_of<WaitArguments>(warp, lane)))
      fail(at,
           "wgmma_wait completes accumulators that it does not name: the compiler may read them "
           "before it");
    visit_sums(d, thread, [&](float& held, float sum) {
      uint32_t bits;
      std::memcpy(&bits, &held, sizeof bits);
      if (bits != kPoison) fail(at, "an accumulator was written while a wgmma was under way");
      held = sum;
    });
    d.registers[thread] = nullptr;
  }
  d.returned |= bit_of(warp);
}

// ── What a warp asks for ─────────────────────────────────────────────────────────────────────────

void check_lanes_agree(Warp& warp, const Location& at) {
  const Arguments& first = arguments_of<Arguments>(warp, 0);
  for (int lane = 1; lane < kLanes; ++lane) {
    const Arguments& own = arguments_of<Arguments>(warp, lane);
    if (own.a_descriptor != first.a_descriptor || own.b_descriptor != first.b_descriptor ||
        own.accumulate != first.accumulate)
      fail(at, "wgmma: the lanes of the warp name different operands");
  }
}

bool same_shape(const WgmmaShape& a, const WgmmaShape& b) {
  return a.operand == b.operand && a.n == b.n && a.transpose_a == b.transpose_a &&
         a.transpose_b == b.transpose_b && a.accumulate == b.accumulate;
}

/**
 * The product that the warp asks for: a new one, or the one that others of its group have asked
 * for.
 */
Product& next_product(Warpgroup& group, Warp& warp, const WgmmaShape& shape, const Location& at) {
  const Arguments& own = arguments_of<Arguments>(warp, 0);
  const size_t index = static_cast<size_t>(warp.products.issued - group.first);
  if (index == group.products.size()) {
    auto product = std::make_unique<Product>();
    product->shape = shape;
    product->a_descriptor = own.a_descriptor;
    product->b_descriptor = own.b_descriptor;
    product->batch = warp.products.batches;
    product->at = at;
    product->a_in_registers = own.a != nullptr;
    if (!own.a) product->a_chunks = chunks_of(own.a_descriptor, kRows, shape.transpose_a, at);
    product->b_chunks = chunks_of(own.b_descriptor, shape.n, shape.transpose_b, at);
    group.products.push_back(std::move(product));
  }
  Product& product = *group.products[index];
  if (!same_shape(product.shape, shape) || product.a_descriptor != own.a_descriptor ||
      product.b_descriptor != own.b_descriptor || product.batch != warp.products.batches ||
      product.a_in_registers != (own.a != nullptr))
    fail(at, "wgmma: another warp of the group has asked for another product at %s",
         to_string(product.at).c_str());
  return product;
}

void issue(Warp& warp, const WgmmaShape& shape, const Location& at) {
  require_sm90("wgmma", at);
  if (!warp.products.fenced) fail(at, "wgmma without a wgmma_fence since the last wgmma_commit");
  if (static_cast<size_t>(warp.index / kWarpsOfGroup * kWarpsOfGroup + kWarpsOfGroup) >
      warp.block->warps.size())
    fail(at, "wgmma by a warp that has no warpgroup of %d", kWarpsOfGroup);
  check_lanes_agree(warp, at);
  Warpgroup& group = group_of(warp);
  Product& product = next_product(group, warp, shape, at);
  const Arguments& own = arguments_of<Arguments>(warp, 0);

  Accumulators* d = under_way(group, warp, own.d, shape.n, at);
  if (!product.d && !d) {
    group.accumulators.push_back(std::make_unique<Accumulators>());
    product.d = group.accumulators.back().get();
    product.d->n = shape.n;
    product.d->sums.resize(static_cast<size_t>(kRows * shape.n));
  }
  if (!product.d) product.d = d;
  if (!d && !(product.d->taken & bit_of(warp))) {
    take(*product.d, warp, shape.accumulate);
    d = product.d;
  }
  if (d != product.d)
    fail(at,
         "wgmma: the warps of the group name different accumulators, or wait at different places");

  for (int lane = 0; lane < kLanes && own.a; ++lane) {
    const int thread = rank_of(warp) * kLanes + lane;
    product.a_registers[thread] = arguments_of<Arguments>(warp, lane).a;
    std::memcpy(product.a[thread], product.a_registers[thread], sizeof product.a[thread]);
  }
  if (execution.config.check_races) {
    RaceChecker& checker = warp.block->shared.checker();
    const uint32_t time = checker.start() + warp.products.batches + 1;
    checker.operand_load(warp, time, product.b_chunks.data(), product.b_chunks.size(), at);
    if (!own.a) {
      const size_t share = product.a_chunks.size() / kWarpsOfGroup;
      checker.operand_load(warp, time,
                           product.a_chunks.data() + share * static_cast<size_t>(rank_of(warp)),
                           share, at);
    }
  }
  ++warp.products.issued;
  product.issued |= bit_of(warp);
  if (product.issued != kAllWarps) return;
  ++counters().wgmma;
  counters().wgmma_flops += static_cast<uint64_t>(2 * kRows * shape.n * depth(shape.operand));
  for (Thread* thread : group.waiting) wake(*thread);
  group.waiting.clear();
  if (acts_at_once()) execute_through(group, product, warp.block->shared.data());
}

void check_a_registers(const Product& product, const Warp& warp, const Location& at) {
  if (!product.a_in_registers) return;
  for (int lane = 0; lane < kLanes; ++lane) {
    const int thread = rank_of(warp) * kLanes + lane;
    if (std::memcmp(product.a_registers[thread], product.a[thread], sizeof product.a[thread]) != 0)
      fail(at, "registers of A were modified while the wgmma at %s was under way",
           to_string(product.at).c_str());
  }
}

void retire(Warp& warp, uint32_t batches, const Location& at) {
  Warpgroup& group = group_of(warp);
  WarpProducts& own = warp.products;
  while (own.retired < own.issued) {
    Product& product = *group.products[static_cast<size_t>(own.retired - group.first)];
    if (product.batch >= batches) break;
    while (product.issued != kAllWarps) {
      group.waiting.push_back(current);
      block_current(kSiblingWait, at);
    }
    if (!product.executed) execute_through(group, product, warp.block->shared.data());
    check_a_registers(product, warp, at);
    product.retired |= bit_of(warp);
    ++own.retired;
  }
  for (const auto& each : group.accumulators) {
    if (!(each->taken & ~each->returned & bit_of(warp))) continue;
    bool busy = false;
    for (const auto& product : group.products)
      busy |= product->d == each.get() && (product->issued & ~product->retired & bit_of(warp));
    if (!busy) give_back(*each, warp, at);
  }
  while (!group.products.empty() && group.products.front()->retired == kAllWarps) {
    group.products.erase(group.products.begin());
    ++group.first;
  }
  const auto done = [](const auto& each) { return each->returned == kAllWarps; };
  group.accumulators.erase(
      std::remove_if(group.accumulators.begin(), group.accumulators.end(), done),
      group.accumulators.end());
}

}  // namespace

void wgmma_fence(const Location& at) {
  collective("wgmma.fence", kAllLanes, nullptr, at,
             [](Warp& warp) { warp.products.fenced = true; });
}

void wgmma(const WgmmaShape& shape, float* d, const uint32_t* a, uint64_t a_descriptor,
           uint64_t b_descriptor, const Location& at) {
  Arguments own{d, a, a_descriptor, b_descriptor, shape.accumulate};
  collective("wgmma", kAllLanes, &own, at, [&](Warp& warp) { issue(warp, shape, at); });
}

void wgmma_commit(const Location& at) {
  collective("wgmma.commit_group", kAllLanes, nullptr, at, [](Warp& warp) {
    ++warp.products.batches;
    warp.products.fenced = false;
  });
}

void wgmma_wait(int batches, std::initializer_list<RegisterRange> named, const Location& at) {
  maybe_yield();
  WaitArguments own{named.begin(), named.size()};
  collective("wgmma.wait_group", kAllLanes, &own, at, [&](Warp& warp) {
    const uint32_t pending = static_cast<uint32_t>(batches);
    const uint32_t done = warp.products.batches - std::min(pending, warp.products.batches);
    retire(warp, done, at);
    uint32_t& time = warp.clock.time[wgmma_agent(warp.index)];
    time = std::max(time, warp.block->shared.checker().start() + done);
  });
}

void check_products_at_exit(const Thread& thread) {
  const WarpProducts& products = thread.warp->products;
  if (products.retired < products.issued) {
    const Warpgroup& group = group_of(*thread.warp);
    fail(group.products[static_cast<size_t>(products.retired - group.first)]->at,
         "the thread exits with a wgmma under way");
  }
}

void check_products_at_end(const Block& block) {
  for (const Warpgroup& group : block.warpgroups)
    for (const auto& product : group.products)
      if (product->issued != kAllWarps)
        note_failure(format(", block (%u, %u, %u), %s: wgmma by warps %x of its group only",
                            block.index.x, block.index.y, block.index.z,
                            to_string(product->at).c_str(), product->issued));
}

}  // namespace simt
