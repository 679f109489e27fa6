#include "simt/matrix.h"

#include <cstring>

#include "core/dtype.h"
#include "simt/execution.h"
#include "simt/report.h"

namespace simt {

namespace {

constexpr uint32_t kAllLanes = 0xffffffffu;

struct LoadArguments {
  uint32_t* registers;
  uint32_t address;
};

struct StoreArguments {
  const uint32_t* registers;
  uint32_t address;
};

struct MultiplyArguments {
  float* d;
  const uint32_t* a;
  uint32_t b[2];
};

template <class Arguments>
Arguments& arguments_of(Warp& warp, int lane) {
  return *static_cast<Arguments*>(warp.arguments[lane]);
}

void load_matrix(Warp& warp, int matrix, bool transpose, const Location& at) {
  SharedMemory& memory = warp.block->shared;
  uint16_t element[8][8];
  uint32_t banks = 0;  // sets of four that the rows touch: eight different ones take one pass
  for (int row = 0; row < 8; ++row) {
    const int lane = matrix * 8 + row;
    const uint32_t address = arguments_of<LoadArguments>(warp, lane).address;
    const uint32_t offset = memory.offset(address, 16, at);
    if (execution.config.check_races) memory.checker().collective_load(warp, offset, 16, at);
    std::memcpy(element[row], memory.data() + offset, 16);
    banks |= 1u << (address / 16 % 8);
  }
  counters().shared_read_bytes += 128;
  uint32_t rows[kLanes] = {};
  for (int row = 0; row < 8; ++row)
    rows[row] = arguments_of<LoadArguments>(warp, matrix * 8 + row).address;
  if (banks != 0xff)  // rows in the same banks may still be the same row
    counters().ldmatrix_conflicts += static_cast<uint64_t>(extra_passes(rows, 0xff, 16));
  for (int lane = 0; lane < kLanes; ++lane) {
    const int i = lane / 4, j = lane % 4 * 2;
    const uint16_t low = transpose ? element[j][i] : element[i][j];
    const uint16_t high = transpose ? element[j + 1][i] : element[i][j + 1];
    arguments_of<LoadArguments>(warp, lane).registers[matrix] = low | uint32_t{high} << 16;
  }
}

void store_matrix(Warp& warp, int matrix, bool transpose, const Location& at) {
  SharedMemory& memory = warp.block->shared;
  uint16_t element[8][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const int i = lane / 4, j = lane % 4 * 2;
    const uint32_t pair = arguments_of<StoreArguments>(warp, lane).registers[matrix];
    (transpose ? element[j][i] : element[i][j]) = static_cast<uint16_t>(pair);
    (transpose ? element[j + 1][i] : element[i][j + 1]) = static_cast<uint16_t>(pair >> 16);
  }
  uint32_t rows[kLanes] = {};
  for (int row = 0; row < 8; ++row) {
    rows[row] = arguments_of<StoreArguments>(warp, matrix * 8 + row).address;
    const uint32_t offset = memory.offset(rows[row], 16, at);
    if (execution.config.check_races) memory.checker().collective_store(warp, offset, 16, at);
    std::memcpy(memory.data() + offset, element[row], 16);
  }
  counters().shared_written_bytes += 128;
  counters().stmatrix_conflicts += static_cast<uint64_t>(extra_passes(rows, 0xff, 16));
}

template <int K>
void multiply(const float (&a)[16][K], const float (&b)[K][8], float (&d)[16][8]) {
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < K; ++k)
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
}

void gather_accumulators(Warp& warp, float (&d)[16][8]) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const float* own = arguments_of<MultiplyArguments>(warp, lane).d;
    for (int i = 0; i < 4; ++i) d[lane / 4 + 8 * (i / 2)][lane % 4 * 2 + i % 2] = own[i];
  }
}

void scatter_accumulators(Warp& warp, const float (&d)[16][8]) {
  for (int lane = 0; lane < kLanes; ++lane) {
    float* own = arguments_of<MultiplyArguments>(warp, lane).d;
    for (int i = 0; i < 4; ++i) own[i] = d[lane / 4 + 8 * (i / 2)][lane % 4 * 2 + i % 2];
  }
}

template <Operand operand>
void multiply_16bit(Warp& warp) {
  uint32_t packed_a[kLanes][4], packed_b[kLanes][2];
  float wide_a[kLanes][4][2], wide_b[kLanes][2][2];
  for (int lane = 0; lane < kLanes; ++lane) {
    const MultiplyArguments& own = arguments_of<MultiplyArguments>(warp, lane);
    std::memcpy(packed_a[lane], own.a, sizeof packed_a[lane]);
    std::memcpy(packed_b[lane], own.b, sizeof packed_b[lane]);
  }
  const uint32_t* flat_a = packed_a[0];
  const uint32_t* flat_b = packed_b[0];
  float* flat_wide_a = wide_a[0][0];
  float* flat_wide_b = wide_b[0][0];
  for (int i = 0; i < kLanes * 4; ++i) {
    flat_wide_a[2 * i] = widen(operand, flat_a[i] & 0xffffu);
    flat_wide_a[2 * i + 1] = widen(operand, flat_a[i] >> 16);
  }
  for (int i = 0; i < kLanes * 2; ++i) {
    flat_wide_b[2 * i] = widen(operand, flat_b[i] & 0xffffu);
    flat_wide_b[2 * i + 1] = widen(operand, flat_b[i] >> 16);
  }
  float a[16][16], b[16][8], d[16][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int q = 0; q < 4; ++q)
      for (int i = 0; i < 2; ++i) a[g + 8 * (q % 2)][2 * t + i + 8 * (q / 2)] = wide_a[lane][q][i];
    for (int q = 0; q < 2; ++q)
      for (int i = 0; i < 2; ++i) b[2 * t + i + 8 * q][g] = wide_b[lane][q][i];
  }
  gather_accumulators(warp, d);
  multiply(a, b, d);
  scatter_accumulators(warp, d);
}

void multiply_tf32(Warp& warp) {
  const auto truncate = [](uint32_t bits) { return fa::float_from_bits(bits & ~0x1fffu); };
  float a[16][8], b[8][8], d[16][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const MultiplyArguments& own = arguments_of<MultiplyArguments>(warp, lane);
    const int g = lane / 4, t = lane % 4;
    for (int q = 0; q < 4; ++q) a[g + 8 * (q % 2)][t + 4 * (q / 2)] = truncate(own.a[q]);
    for (int q = 0; q < 2; ++q) b[t + 4 * q][g] = truncate(own.b[q]);
  }
  gather_accumulators(warp, d);
  multiply(a, b, d);
  scatter_accumulators(warp, d);
}

}  // namespace

void load_matrices(uint32_t* registers, int count, bool transpose, uint32_t row_address,
                   const Location& at) {
  LoadArguments own{registers, row_address};
  collective(transpose ? "ldmatrix.trans" : "ldmatrix", kAllLanes, &own, at, [&](Warp& warp) {
    ++counters().ldmatrix;
    for (int matrix = 0; matrix < count; ++matrix) load_matrix(warp, matrix, transpose, at);
  });
}

void store_matrices(uint32_t row_address, const uint32_t* registers, int count, bool transpose,
                    const Location& at) {
  require_sm90("stmatrix", at);
  StoreArguments own{registers, row_address};
  collective(transpose ? "stmatrix.trans" : "stmatrix", kAllLanes, &own, at, [&](Warp& warp) {
    ++counters().stmatrix;
    for (int matrix = 0; matrix < count; ++matrix) store_matrix(warp, matrix, transpose, at);
  });
}

void matrix_multiply(Operand operand, float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                     uint32_t b1, const Location& at) {
  MultiplyArguments own{d, a, {b0, b1}};
  collective("mma.sync", kAllLanes, &own, at, [operand](Warp& warp) {
    ++counters().mma;
    switch (operand) {
      case Operand::kFloat16: return multiply_16bit<Operand::kFloat16>(warp);
      case Operand::kBFloat16: return multiply_16bit<Operand::kBFloat16>(warp);
      case Operand::kTf32: return multiply_tf32(warp);
      case Operand::kE4M3: break;  // wgmma only
    }
  });
}

}  // namespace simt
