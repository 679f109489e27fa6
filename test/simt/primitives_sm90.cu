// Every function of csrc/cuda/ptx that only Hopper has, against a model on the host, layouts of
// operands and swizzles included. The program runs on the SIMT executor under many schedules, and
// unchanged on a GPU (nvcc -gencode arch=compute_90a,code=sm_90a).
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include "core/dtype.h"
#include "cuda/ptx/ptx.h"
#include "device_array.h"
#include "encode_map.h"

namespace {

constexpr int kRepeats = 9;  // launches: each has another schedule on the executor

// ── Conversions ──────────────────────────────────────────────────────────────────────────────────

struct ConversionParams {
  const float* in;
  uint32_t* packed;
  uint32_t* halves;  // of every byte
  uint32_t* permuted;
  int n;
};

__global__ void convert_e4m3(const __grid_constant__ ConversionParams p) {
  const int t = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  for (int i = t; i < p.n / 4; i += step) {
    const float4 x = ptx::ldg(reinterpret_cast<const float4*>(p.in) + i);
    const uint32_t packed = ptx::pack4_e4m3(x.x, x.y, x.z, x.w);
    ptx::stg(p.packed + i, packed);
    ptx::stg(p.permuted + i, ptx::permute_bytes(packed, 0x44332211u, 0x7206));
  }
  for (int i = t; i < 128; i += step)
    ptx::stg(p.halves + i, ptx::unpack2_e4m3(static_cast<uint16_t>(2 * i | (2 * i + 1) << 8)));
}

/** By the definition: 1.mmm 2^(e - 7), 0.mmm 2^-6, and 0x7f for what is no number. */
float value_of_e4m3(uint32_t bits) {
  const int exponent = static_cast<int>(bits >> 3 & 15);
  const float fraction = static_cast<float>(bits & 7) / 8;
  if ((bits & 0x7f) == 0x7f) return NAN;
  const float magnitude =
      exponent ? std::ldexp(1 + fraction, exponent - 7) : std::ldexp(fraction, -6);
  return bits & 0x80 ? -magnitude : magnitude;
}

/** Of the numbers that are not negative. */
const std::vector<float>& e4m3_values() {
  static const std::vector<float> values = [] {
    std::vector<float> all;
    for (uint32_t bits = 0; bits < 0x7f; ++bits) all.push_back(value_of_e4m3(bits));
    return all;
  }();
  return values;
}

/** The nearest of all values; of two that are as near, the one with an even last bit. */
uint32_t nearest_e4m3(float value) {
  const uint32_t sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value)) return 0x7f;
  const std::vector<float>& values = e4m3_values();
  const double magnitude = std::fabs(value);
  uint32_t best = 0;
  for (uint32_t bits = 0; bits < values.size(); ++bits) {
    const double distance = std::fabs(magnitude - values[bits]);
    const double least = std::fabs(magnitude - values[best]);
    if (distance < least || (distance == least && bits % 2 == 0)) best = bits;
  }
  return sign | best;
}

void check_conversions(uint32_t seed) {
  std::vector<float> in = {0,     -0.0f,        448,         449,          480,      1e9f,
                           -1e9f, 464,          1e-9f,       -1.0f,        INFINITY, -INFINITY,
                           NAN,   0.001953125f, 1.0f / 1024, 0.0029296875f};
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> exponent(-12, 10);
  while (in.size() < 800) in.push_back(std::exp2(exponent(random)) * (random() & 1 ? 1.0f : -1.0f));
  for (uint32_t bits = 0; bits < 0x7e; ++bits)  // halfway between neighbours
    in.push_back((value_of_e4m3(bits) + value_of_e4m3(bits + 1)) / 2);
  while (in.size() % 4) in.push_back(0);
  DeviceArray<float> input(in);
  DeviceArray<uint32_t> packed(in.size() / 4), halves(128), permuted(in.size() / 4);
  run(convert_e4m3, 1, 64, 0,
      ConversionParams{input.device(), packed.device(), halves.device(), permuted.device(),
                       static_cast<int>(in.size())});
  for (size_t i = 0; i < in.size(); ++i)
    CHECK((packed.read()[i / 4] >> 8 * (i % 4) & 0xff) == nearest_e4m3(in[i]));
  for (size_t i = 0; i < in.size() / 4; ++i) {
    const uint32_t p = packed.read()[i];
    // Bytes 6, 0, 2 and 7 of those of `packed` and then 0x11 to 0x44.
    CHECK(permuted.read()[i] == (0x33u | (p & 0xff) << 8 | (p >> 16 & 0xff) << 16 | 0x44000000u));
  }
  for (uint32_t bits = 0; bits < 256; ++bits) {
    const uint32_t half = halves.read()[bits / 2] >> 16 * (bits % 2) & 0xffff;
    const float actual = fa::float16_to_float(static_cast<uint16_t>(half));
    const float expected = value_of_e4m3(bits);
    CHECK(std::isnan(expected) ? std::isnan(actual) : actual == expected);
  }
}

// ── Lanes and registers ──────────────────────────────────────────────────────────────────────────

struct OutParams {
  uint32_t* out;
};

__global__ void __launch_bounds__(384, 1) elect_and_share(const __grid_constant__ OutParams p) {
  if (threadIdx.x < 128)
    ptx::setmaxnreg_dec<40>();
  else
    ptx::setmaxnreg_inc<232>();
  const uint32_t first = ptx::elect_one(), second = ptx::elect_one();
  ptx::stg(p.out + threadIdx.x, first + 2 * second);
}

void check_elect() {
  DeviceArray<uint32_t> out(384);
  run(elect_and_share, 1, 384, 0, OutParams{out.device()});
  for (size_t warp = 0; warp < 12; ++warp) {
    int elected = 0;
    for (size_t lane = 0; lane < 32; ++lane) {
      const uint32_t both = out.read()[32 * warp + lane];
      CHECK(both == 0 || both == 3);
      elected += both == 3;
    }
    CHECK(elected == 1);
  }
}

// ── stmatrix ─────────────────────────────────────────────────────────────────────────────────────

/** Four matrices, through ldmatrix and stmatrix, the second time transposed. */
__global__ void store_matrices(const __grid_constant__ OutParams p) {
  const uint32_t lane = threadIdx.x, shared = ptx::dyn_smem();
  uint32_t r[4];
  for (uint32_t q = 0; q < 4; ++q) r[q] = lane << 8 | q << 16 | lane | q << 24 | 0x800080;
  ptx::stmatrix_x4(shared + 16 * lane, r);
  ptx::stmatrix_x4_trans(shared + 512 + 16 * lane, r);
  ptx::sync_warp();
  for (uint32_t i = 0; i < 8; ++i)
    ptx::stg(p.out + 32 * i + lane, ptx::lds<uint32_t>(shared + 128 * i + 4 * lane));
}

void check_stmatrix() {
  DeviceArray<uint32_t> out(256);
  run(store_matrices, 1, 32, 1024, OutParams{out.device()});
  std::vector<uint16_t> elements(512);
  std::memcpy(elements.data(), out.read().data(), 1024);
  for (uint32_t q = 0; q < 4; ++q) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      const uint32_t r = lane << 8 | q << 16 | lane | q << 24 | 0x800080;
      for (uint32_t e = 0; e < 2; ++e) {
        const uint32_t row = lane / 4, column = lane % 4 * 2 + e;
        const uint16_t element = static_cast<uint16_t>(r >> 16 * e);
        CHECK(elements[64 * q + 8 * row + column] == element);
        CHECK(elements[256 + 64 * q + 8 * column + row] == element);
      }
    }
  }
}

// ── mbarriers and bulk copies ────────────────────────────────────────────────────────────────────

constexpr int kStages = 3, kSteps = 11;
constexpr uint32_t kRun = 512;  // bytes of a step

struct RingParams {
  const uint32_t* in;
  uint32_t* out;
  float* sums;
};

/** Warp 0 loads, warps 1 and 2 double in place, warp 3 stores and adds. */
__global__ void ring(const __grid_constant__ RingParams p) {
  PTX_SHARED(uint64_t, barriers, 3 * kStages);
  const uint32_t tiles = ptx::dyn_smem();
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto full = [&](int s) { return barriers + 8 * static_cast<uint32_t>(s); };
  const auto ready = [&](int s) { return barriers + 8 * static_cast<uint32_t>(kStages + s); };
  const auto empty = [&](int s) { return barriers + 8 * static_cast<uint32_t>(2 * kStages + s); };
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      ptx::mbar_init(full(s), 1);
      ptx::mbar_init(ready(s), 64);
      ptx::mbar_init(empty(s), 1);
    }
    ptx::fence_mbar_init();
  }
  ptx::sync_block();
  for (int step = 0; step < kSteps; ++step) {
    const int s = step % kStages, parity = step / kStages % 2;
    const uint32_t tile = tiles + static_cast<uint32_t>(s) * kRun;
    if (warp == 0) {
      if (ptx::elect_one()) {
        ptx::mbar_wait(empty(s), parity ^ 1);
        ptx::mbar_arrive_expect_tx(full(s), kRun);
        ptx::bulk_load(tile, p.in + step * 128, kRun / 2, full(s));
        ptx::bulk_load(tile + kRun / 2, p.in + step * 128 + 64, kRun / 2, full(s));
      }
    } else if (warp < 3) {
      while (!ptx::mbar_try_wait(full(s), parity)) {
      }
      const uint32_t own = tile + (warp - 1) * kRun / 2 + 8 * lane;
      const float2 x = ptx::lds<float2>(own);
      ptx::sts<float2>(own, float2{2 * x.x, 2 * x.y});
      ptx::fence_proxy_async();
      ptx::mbar_arrive(ready(s));
    } else if (ptx::elect_one()) {
      ptx::mbar_wait(ready(s), parity);
      ptx::bulk_store(p.out + step * 128, tile, kRun);
      ptx::bulk_reduce_add_f32(p.sums, tile, kRun);
      ptx::bulk_commit();
      if (step > 0) {  // one behind, so that a group stays under way
        ptx::bulk_wait_read<1>();
        ptx::mbar_arrive(empty((step - 1) % kStages));
      }
      if (step == kSteps - 1) ptx::bulk_wait<0>();
    }
  }
  ptx::sync_block();
  if (threadIdx.x == 64) {
    ptx::mbar_inval(barriers);
    ptx::sts<uint64_t>(barriers, 7);  // plain memory again
  }
}

void check_ring() {
  std::vector<float> in(128 * kSteps);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i % 91) - 40;
  DeviceArray<float> input(in), output(in.size()), sums(std::vector<float>(128, 1.0f));
  run(ring, 1, 128, kStages * kRun,
      RingParams{reinterpret_cast<uint32_t*>(input.device()),
                 reinterpret_cast<uint32_t*>(output.device()), sums.device()});
  for (size_t i = 0; i < in.size(); ++i) CHECK(output.read()[i] == 2 * in[i]);
  for (size_t i = 0; i < 128; ++i) {
    float sum = 1;
    for (size_t step = 0; step < kSteps; ++step) sum += 2 * in[step * 128 + i];
    CHECK(sums.read()[i] == sum);
  }
}

/** cp.async copies of one warp that another waits for through an mbarrier. */
__global__ void copy_with_arrivals(const __grid_constant__ RingParams p) {
  PTX_SHARED(uint64_t, barrier, 1);
  const uint32_t tile = ptx::dyn_smem(), lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    ptx::mbar_init(barrier, 32);
    ptx::fence_mbar_init();
  }
  ptx::sync_block();
  if (threadIdx.x < 32) {
    ptx::cp_async16(tile + 16 * lane, p.in + 4 * lane);
    ptx::cp_async16(tile + 512 + 16 * lane, p.in + 128 + 4 * lane, lane % 2 == 0);
    ptx::cp_async_mbar_arrive(barrier);
  } else {
    ptx::mbar_wait(barrier, 0);
    for (uint32_t i = 0; i < 8; ++i)
      ptx::stg(p.out + 32 * i + lane, ptx::lds<uint32_t>(tile + 128 * i + 4 * lane));
  }
}

void check_copies_with_arrivals() {
  std::vector<uint32_t> in(256);
  for (uint32_t i = 0; i < 256; ++i) in[i] = i + 1;
  DeviceArray<uint32_t> input(in), output(256);
  run(copy_with_arrivals, 1, 64, 1024, RingParams{input.device(), output.device(), nullptr});
  for (uint32_t i = 0; i < 256; ++i) CHECK(output.read()[i] == (i >= 128 && i / 4 % 2 ? 0 : i + 1));
}

// ── Tensor copies ────────────────────────────────────────────────────────────────────────────────

struct TensorParams {
  ptx::tensor_map in, out;
  int rank;
  int from[5], to[5];
  uint32_t bytes;
  uint8_t* dump;  // of shared memory
};

/** A box into shared memory, which is shown, and out to another tensor. */
__global__ void copy_box(const __grid_constant__ TensorParams p) {
  PTX_SHARED(uint64_t, barrier, 1);
  const uint32_t box = ptx::dyn_smem();
  if (threadIdx.x == 0) {
    ptx::tma_prefetch(&p.in);
    ptx::mbar_init(barrier, 1);
    ptx::fence_mbar_init();
    ptx::mbar_arrive_expect_tx(barrier, p.bytes);
    const int(&c)[5] = p.from;
    if (p.rank == 2) ptx::tma_load_2d(box, &p.in, barrier, c[0], c[1]);
    if (p.rank == 3) ptx::tma_load_3d(box, &p.in, barrier, c[0], c[1], c[2]);
    if (p.rank == 4) ptx::tma_load_4d(box, &p.in, barrier, c[0], c[1], c[2], c[3]);
    if (p.rank == 5) ptx::tma_load_5d(box, &p.in, barrier, c[0], c[1], c[2], c[3], c[4]);
  }
  ptx::sync_block();
  ptx::mbar_wait(barrier, 0);
  for (uint32_t i = 16 * threadIdx.x; i < p.bytes; i += 16 * blockDim.x)
    ptx::stg(reinterpret_cast<uint4*>(p.dump + i), ptx::lds<uint4>(box + i));
  if (threadIdx.x == 0) {
    const int(&c)[5] = p.to;
    if (p.rank == 2) ptx::tma_store_2d(&p.out, box, c[0], c[1]);
    if (p.rank == 3) ptx::tma_store_3d(&p.out, box, c[0], c[1], c[2]);
    if (p.rank == 4) ptx::tma_store_4d(&p.out, box, c[0], c[1], c[2], c[3]);
    if (p.rank == 5) ptx::tma_store_5d(&p.out, box, c[0], c[1], c[2], c[3], c[4]);
    ptx::bulk_commit();
    ptx::bulk_wait<0>();
  }
}

__global__ void add_box(const __grid_constant__ TensorParams p) {
  const uint32_t box = ptx::dyn_smem();
  for (uint32_t i = 4 * threadIdx.x; i < p.bytes; i += 4 * blockDim.x)
    ptx::sts<float>(box + i, static_cast<float>(i));
  ptx::fence_proxy_async();
  ptx::sync_block();
  if (threadIdx.x == 0) {
    const int(&c)[5] = p.to;
    if (p.rank == 3) ptx::tma_reduce_add_3d(&p.out, box, c[0], c[1], c[2]);
    if (p.rank == 4) ptx::tma_reduce_add_4d(&p.out, box, c[0], c[1], c[2], c[3]);
    ptx::bulk_commit();
    ptx::bulk_wait_read<0>();
  }
}

/** A dense tensor of `rank` dimensions with `row` elements in a row. */
TensorShape dense(CUtensorMapDataType type, size_t element, int rank, cuuint32_t box_row,
                  CUtensorMapSwizzle swizzle) {
  const cuuint64_t outer[] = {7, 3, 4, 2};
  const cuuint32_t box[] = {5, 2, 3, 2};
  TensorShape shape{type, {2 * box_row + 5}, {}, {box_row}, swizzle};
  cuuint64_t stride = shape.dims[0] * element;
  for (int i = 1; i < rank; ++i) {
    shape.dims.push_back(outer[i - 1]);
    shape.box.push_back(box[i - 1]);
    stride = (stride + 31) / 16 * 16;  // gaps between rows
    shape.strides.push_back(stride);
    stride *= outer[i - 1];
  }
  return shape;
}

/** Calls visit(index in the box, offset in the tensor in bytes, or -1 outside of it). */
template <class Visit>
void visit_box(const TensorShape& shape, const int (&at)[5], size_t element, Visit visit) {
  size_t count = 1;
  for (const cuuint32_t extent : shape.box) count *= extent;
  for (size_t i = 0; i < count; ++i) {
    size_t rest = i;
    int64_t offset = 0;
    bool inside = true;
    for (size_t d = 0; d < shape.box.size(); ++d) {
      const int64_t index = at[d] + static_cast<int64_t>(rest % shape.box[d]);
      rest /= shape.box[d];
      inside = inside && index >= 0 && index < static_cast<int64_t>(shape.dims[d]);
      offset += index * static_cast<int64_t>(d ? shape.strides[d - 1] : element);
    }
    visit(i, inside ? offset : -1);
  }
}

size_t bytes_of(const TensorShape& shape) {
  return static_cast<size_t>(shape.strides.back() * shape.dims.back());
}

/**
 * 16-byte unit u of row r of a box goes to unit u ^ (r mod 8), or fewer bits of it (PTX ISA,
 * swizzling modes).
 */
size_t swizzled(size_t offset, CUtensorMapSwizzle swizzle) {
  const size_t units = swizzle == CU_TENSOR_MAP_SWIZZLE_128B  ? 8
                       : swizzle == CU_TENSOR_MAP_SWIZZLE_64B ? 4
                       : swizzle == CU_TENSOR_MAP_SWIZZLE_32B ? 2
                                                              : 1;
  return offset ^ (offset / 128 % units * 16);
}

template <class T>
void check_tensor_copy(CUtensorMapDataType type, int rank, CUtensorMapSwizzle swizzle,
                       uint32_t seed) {
  std::mt19937 random(seed);
  const cuuint32_t row_bytes = swizzle == CU_TENSOR_MAP_SWIZZLE_NONE ? 48 : 16u << swizzle;
  const cuuint32_t row = row_bytes / static_cast<cuuint32_t>(sizeof(T));
  const TensorShape shape = dense(type, sizeof(T), rank, row, swizzle);
  size_t count = 1;
  for (const cuuint32_t extent : shape.box) count *= extent;
  std::vector<uint8_t> in(bytes_of(shape)), out(in.size());
  for (uint8_t& byte : in) byte = static_cast<uint8_t>(random());
  DeviceArray<uint8_t> input(in), output(out), dump(count * sizeof(T));
  TensorParams params{};
  CHECK(encode_map(&params.in, input.device(), shape) == CUDA_SUCCESS);
  CHECK(encode_map(&params.out, output.device(), shape) == CUDA_SUCCESS);
  params.rank = rank;
  for (size_t d = 0; d < static_cast<size_t>(rank); ++d) {  // partly outside, at either end
    const int span = static_cast<int>(shape.dims[d] + shape.box[d]) - 1;
    params.from[d] = static_cast<int>(random() % static_cast<uint32_t>(span)) -
                     static_cast<int>(shape.box[d]) + 1;
    params.to[d] = static_cast<int>(random() % static_cast<uint32_t>(span)) -
                   static_cast<int>(shape.box[d]) + 1;
  }
  params.bytes = static_cast<uint32_t>(count * sizeof(T));
  params.dump = dump.device();
  run(copy_box, 1, 64, count * sizeof(T), params);

  const std::vector<uint8_t>& dumped = dump.read();
  std::vector<T> box(count);
  visit_box(shape, params.from, sizeof(T), [&](size_t i, int64_t offset) {
    T value{};
    if (offset >= 0) std::memcpy(&value, &in[static_cast<size_t>(offset)], sizeof value);
    box[i] = value;
    CHECK(std::memcmp(&dumped[swizzled(i * sizeof(T), swizzle)], &value, sizeof value) == 0);
  });
  visit_box(shape, params.to, sizeof(T), [&](size_t i, int64_t offset) {
    if (offset >= 0) std::memcpy(&out[static_cast<size_t>(offset)], &box[i], sizeof(T));
  });
  CHECK(output.read() == out);
}

void check_tensor_addition(int rank) {
  const TensorShape shape =
      dense(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, sizeof(float), rank, 12, CU_TENSOR_MAP_SWIZZLE_NONE);
  size_t count = 1;
  for (const cuuint32_t extent : shape.box) count *= extent;
  std::vector<float> sums(bytes_of(shape) / sizeof(float), 3.0f);
  DeviceArray<float> output(sums);
  TensorParams params{};
  CHECK(encode_map(&params.out, output.device(), shape) == CUDA_SUCCESS);
  params.rank = rank;
  params.bytes = static_cast<uint32_t>(count * sizeof(float));
  for (int d = 0; d < rank; ++d) params.to[d] = d % 2 ? -1 : 1;
  const unsigned blocks = 3;
  run(add_box, blocks, 64, params.bytes, params);
  visit_box(shape, params.to, sizeof(float), [&](size_t i, int64_t offset) {
    if (offset >= 0)
      sums[static_cast<size_t>(offset) / sizeof(float)] +=
          static_cast<float>(blocks) * static_cast<float>(i * sizeof(float));
  });
  CHECK(output.read() == sums);
}

// ── wgmma ────────────────────────────────────────────────────────────────────────────────────────

enum Swizzle { k32 = 32, k64 = 64, k128 = 128 };

struct ProductParams {
  const uint8_t* a;  // as it lies in shared memory
  const uint8_t* b;
  const uint32_t* a_registers;  // [step][thread][4]
  float* d;                     // [thread][n / 2], read and written
  uint32_t a_bytes, b_bytes;    // multiples of 1024
  uint32_t a_leading, b_leading, a_step, b_step;
};

template <Swizzle swizzle>
PTX_FN uint64_t descriptor(uint32_t address, uint32_t leading) {
  if constexpr (swizzle == k128) return ptx::desc_sw128(address, leading, 1024);
  if constexpr (swizzle == k64) return ptx::desc_sw64(address, leading, 512);
  return ptx::desc_sw32(address, leading, 256);
}

/** Two products into the same accumulators, the first of which sets them or adds to them; the other
 *  warpgroup computes the same. */
template <class T, int N, int TA, int TB, bool kRegisters, Swizzle swizzle>
__global__ void __launch_bounds__(256, 1) multiply(const __grid_constant__ ProductParams p) {
  const uint32_t a = ptx::dyn_smem(), b = a + p.a_bytes;
  for (uint32_t i = 16 * threadIdx.x; i < p.a_bytes; i += 16 * blockDim.x)
    ptx::sts<uint4>(a + i, ptx::ldg(reinterpret_cast<const uint4*>(p.a + i)));
  for (uint32_t i = 16 * threadIdx.x; i < p.b_bytes; i += 16 * blockDim.x)
    ptx::sts<uint4>(b + i, ptx::ldg(reinterpret_cast<const uint4*>(p.b + i)));
  ptx::fence_proxy_async();
  ptx::sync_block();

  const uint32_t thread = threadIdx.x % 128;
  const bool adds = threadIdx.x >= 128;
  float d[N / 2];
  uint32_t fragments[2][4];
  for (int i = 0; i < N / 2; ++i) d[i] = ptx::ldg(p.d + threadIdx.x * (N / 2) + i);
  for (uint32_t step = 0; step < 2; ++step)
    for (uint32_t q = 0; q < 4; ++q)
      fragments[step][q] = ptx::ldg(p.a_registers + (step * 128 + thread) * 4 + q);
  const uint64_t a_desc = descriptor<swizzle>(a, p.a_leading);
  const uint64_t b_desc = descriptor<swizzle>(b, p.b_leading);
  ptx::wgmma_fence(d, fragments);
#pragma unroll
  for (uint32_t step = 0; step < 2; ++step) {
    const uint64_t b_step = ptx::desc_advance(b_desc, step * p.b_step);
    if constexpr (kRegisters)
      ptx::wgmma_rs<T, TB>(d, fragments[step], b_step, step == 1 || adds);
    else
      ptx::wgmma_ss<T, TA, TB>(d, ptx::desc_advance(a_desc, step * p.a_step), b_step,
                               step == 1 || adds);
    ptx::wgmma_commit();
    if (step == 0) {
      ptx::wgmma_wait<1>();
      ptx::wgmma_fence(d);
    }
  }
  ptx::wgmma_wait<0>(d, fragments);
  for (int i = 0; i < N / 2; ++i) ptx::stg(p.d + threadIdx.x * (N / 2) + i, d[i]);
}

/** Where element (row, k) of an operand with `rows` rows and 2 * depth columns lies, in bytes. */
template <Swizzle swizzle>
size_t place(size_t row, size_t k, size_t rows, size_t depth, size_t element, bool transposed) {
  size_t offset;
  if (transposed) {
    const size_t width = swizzle / element;  // rows of a panel
    offset = row / width * (2 * depth * swizzle) + k * swizzle + row % width * element;
  } else {
    const size_t width = swizzle / element;  // k of a panel
    offset = k / width * (rows * swizzle) + row * swizzle + k % width * element;
  }
  return offset ^ (offset / 128 % (swizzle / 16) * 16);
}

template <class T>
void put(uint8_t* to, float value) {
  if constexpr (std::is_same_v<T, ptx::e4m3>) {
    *to = static_cast<uint8_t>(nearest_e4m3(value));
  } else {
    const uint16_t bits =
        std::is_same_v<T, ptx::f16> ? fa::float_to_float16(value) : fa::float_to_bfloat16(value);
    std::memcpy(to, &bits, sizeof bits);
  }
}

/** Small integers, whose products and sums are exact in every type. */
template <class T, int N, int TA, int TB, bool kRegisters, Swizzle swizzle>
void check_product(uint32_t seed) {
  constexpr size_t kElement = sizeof(T), kDepth = 32 / kElement, kColumns = N;
  std::mt19937 random(seed);
  const auto small = [&] { return static_cast<float>(static_cast<int>(random() % 9) - 4); };
  std::vector<float> a(64 * 2 * kDepth), b(2 * kDepth * kColumns), d(256 * kColumns / 2);
  for (float& x : a) x = small();
  for (float& x : b) x = small();
  for (float& x : d) x = small();

  const auto kilobytes = [](size_t bytes) { return (bytes + 1023) / 1024 * 1024; };
  // Panels that a row or a column does not fill are there in full.
  const size_t panel = swizzle / kElement, wide = (kColumns + panel - 1) / panel * panel;
  const size_t deep = 2 * kDepth < panel ? panel : 2 * kDepth;
  std::vector<uint8_t> a_tile(kilobytes(64 * deep * kElement)),
      b_tile(kilobytes(wide * deep * kElement));
  for (size_t k = 0; k < 2 * kDepth; ++k) {
    for (size_t row = 0; row < 64; ++row)
      put<T>(&a_tile[place<swizzle>(row, k, 64, kDepth, kElement, TA)], a[row * 2 * kDepth + k]);
    for (size_t column = 0; column < kColumns; ++column)
      put<T>(&b_tile[place<swizzle>(column, k, kColumns, kDepth, kElement, TB)],
             b[k * kColumns + column]);
  }
  std::vector<uint32_t> fragments(2 * 128 * 4);
  for (size_t step = 0; step < 2; ++step)
    for (size_t thread = 0; thread < 128; ++thread)
      for (size_t q = 0; q < 4; ++q) {
        const size_t row = thread / 32 * 16 + thread % 32 / 4 + 8 * (q % 2);
        const size_t k = step * kDepth + kDepth / 2 * (q / 2) + 4 / kElement * (thread % 4);
        uint8_t* bytes = reinterpret_cast<uint8_t*>(&fragments[(step * 128 + thread) * 4 + q]);
        for (size_t e = 0; e < 4 / kElement; ++e)
          put<T>(bytes + e * kElement, a[row * 2 * kDepth + k + e]);
      }

  DeviceArray<uint8_t> device_a(a_tile), device_b(b_tile);
  DeviceArray<uint32_t> device_fragments(fragments);
  DeviceArray<float> device_d(d);
  // From one k step to the next: within a panel, or 8 rows of panels on.
  const auto step_of = [&](bool transposed, size_t rows) {
    return static_cast<uint32_t>(transposed        ? kDepth * swizzle
                                 : kDepth == panel ? rows * swizzle
                                                   : 32);
  };
  const uint32_t leading = static_cast<uint32_t>(2 * kDepth * swizzle);
  auto* kernel = multiply<T, N, TA, TB, kRegisters, swizzle>;
  const size_t shared = a_tile.size() + b_tile.size();
  CHECK_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared)));
  run(kernel, 1, 256, shared,
      ProductParams{device_a.device(), device_b.device(), device_fragments.device(),
                    device_d.device(), static_cast<uint32_t>(a_tile.size()),
                    static_cast<uint32_t>(b_tile.size()), TA ? leading : 0, TB ? leading : 0,
                    step_of(TA, 64), step_of(TB, kColumns)});
  const std::vector<float>& actual = device_d.read();
  for (size_t thread = 0; thread < 256; ++thread) {
    for (size_t i = 0; i < kColumns / 2; ++i) {
      const size_t row = thread % 128 / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2);
      const size_t column = i / 4 * 8 + thread % 4 * 2 + i % 2;
      float expected = thread < 128 ? 0 : d[thread * kColumns / 2 + i];
      for (size_t k = 0; k < 2 * kDepth; ++k)
        expected += a[row * 2 * kDepth + k] * b[k * kColumns + column];
      CHECK(actual[thread * kColumns / 2 + i] == expected);
    }
  }
}

template <class T, int N, Swizzle swizzle>
void check_16bit_products(uint32_t seed) {
  check_product<T, N, 0, 0, false, swizzle>(seed);
  check_product<T, N, 0, 0, true, swizzle>(seed);
  check_product<T, N, 1, 0, false, swizzle>(seed);
  check_product<T, N, 0, 1, false, swizzle>(seed);
  check_product<T, N, 1, 1, false, swizzle>(seed);
  check_product<T, N, 0, 1, true, swizzle>(seed);
}

template <int N>
void check_products(uint32_t seed) {
  check_16bit_products<ptx::f16, N, k128>(seed);
  check_16bit_products<ptx::bf16, N, k128>(seed);
  check_product<ptx::e4m3, N, 0, 0, false, k128>(seed);
  check_product<ptx::e4m3, N, 0, 0, true, k128>(seed);
}

}  // namespace

int main() {
  setenv("FLASH_ATTENTION_SIMT_DEVICES", "sm90", 1);  // the executor's; a GPU has to be one
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const uint32_t seed = static_cast<uint32_t>(repeat);
    check_conversions(seed);
    check_elect();
    check_stmatrix();
    check_ring();
    check_copies_with_arrivals();
    for (int rank = 2; rank <= 5; ++rank) {
      for (int swizzle = 0; swizzle < 4; ++swizzle) {
        const CUtensorMapSwizzle mode = static_cast<CUtensorMapSwizzle>(swizzle);
        check_tensor_copy<uint8_t>(CU_TENSOR_MAP_DATA_TYPE_UINT8, rank, mode, seed);
        check_tensor_copy<uint16_t>(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, rank, mode, seed);
        check_tensor_copy<uint32_t>(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, rank, mode, seed);
      }
    }
    check_tensor_addition(3);
    check_tensor_addition(4);
    check_products<32>(seed);
    check_products<64>(seed);
    check_products<80>(seed);
    check_products<96>(seed);
    check_products<128>(seed);
    check_products<192>(seed);
    check_products<256>(seed);
    check_16bit_products<ptx::bf16, 96, k64>(seed);
    check_16bit_products<ptx::f16, 80, k32>(seed);
    check_16bit_products<ptx::bf16, 40, k128>(seed);
  }
  std::printf("primitives of sm_90: passed\n");
}
