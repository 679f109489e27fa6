#include "problem.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <tuple>

#include "core/dtype.h"
#include "core/float8.h"
#include "core/philox.h"
#include "simt/global_memory.h"

namespace simt_test {

namespace {

using fa::DType;
using fa::View;

constexpr int kBlock = 32;  // of the block mask, both ways
constexpr uint64_t kDropoutSeed = 0x123456789abcdefull, kDropoutOffset = 0x1000000007ull;

double round_to(DType dtype, double value) {
  const float narrow = static_cast<float>(value);
  switch (dtype) {
    case DType::kFloat16: return fa::float16_to_float(fa::float_to_float16(narrow));
    case DType::kBFloat16: return fa::bfloat16_to_float(fa::float_to_bfloat16(narrow));
    default: return narrow;
  }
}

}  // namespace

DeviceMemory::DeviceMemory(size_t bytes) : data_(simt::allocate_global(bytes)) {}
DeviceMemory::~DeviceMemory() { simt::free_global(data_); }

double read_element(const View& view, int64_t index) {
  const char* at = view.at(index);
  switch (view.dtype) {
    case DType::kFloat16: return fa::float16_to_float(*reinterpret_cast<const uint16_t*>(at));
    case DType::kBFloat16: return fa::bfloat16_to_float(*reinterpret_cast<const uint16_t*>(at));
    default: return static_cast<double>(*reinterpret_cast<const float*>(at));
  }
}

void write_element(const View& view, int64_t index, double value) {
  char* at = view.at(index);
  const float narrow = static_cast<float>(value);
  switch (view.dtype) {
    case DType::kFloat16: *reinterpret_cast<uint16_t*>(at) = fa::float_to_float16(narrow); break;
    case DType::kBFloat16: *reinterpret_cast<uint16_t*>(at) = fa::float_to_bfloat16(narrow); break;
    case DType::kInt32: *reinterpret_cast<int32_t*>(at) = static_cast<int32_t>(value); break;
    case DType::kBool: *reinterpret_cast<uint8_t*>(at) = value != 0; break;
    case DType::kInt8: *reinterpret_cast<int8_t*>(at) = static_cast<int8_t>(value); break;
    case DType::kFloat8E4M3: *reinterpret_cast<uint8_t*>(at) = fa::float_to_e4m3(narrow); break;
    default: *reinterpret_cast<float*>(at) = narrow; break;
  }
}

View Problem::allocate(DType dtype, std::initializer_list<int64_t> shape) {
  View view = fa::contiguous_view(nullptr, dtype, shape);
  memory_.push_back(
      std::make_unique<DeviceMemory>(static_cast<size_t>(view.size()) * fa::dtype_size(dtype)));
  view.data = memory_.back()->data();
  return view;
}

Problem::Problem(const Spec& spec, uint64_t seed) : spec_(spec) {
  make_inputs(seed);
  make_options(seed);
}

void Problem::make_inputs(uint64_t seed) {
  const Spec& s = spec_;
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(0, 1);
  // Scores of real pairs all lie far below 0, the score of a pair that should not be there: a key
  // beyond the end, whose row holds zeros, would outweigh them all.
  const auto query = [&] { return round_to(s.dtype, 0.25 + 0.75 * uniform(random)); };
  const auto key = [&] { return round_to(s.dtype, -0.25 - 0.75 * uniform(random)); };
  const auto value = [&] { return round_to(s.dtype, 2 * uniform(random) - 1); };
  sequences.resize(static_cast<size_t>(s.batch));
  for (size_t b = 0; b < sequences.size(); ++b) {
    HostSequence& sequence = sequences[b];
    const int shorter = static_cast<int>(b);
    sequence.seqlen_q = s.varlen ? std::max(0, s.seqlen_q - 37 * shorter) : s.seqlen_q;
    sequence.seqlen_k = s.varlen || s.seqlens_k || s.page_size
                            ? std::max(1, s.seqlen_k - 53 * shorter)
                            : s.seqlen_k;
    if (!s.lengths.empty()) std::tie(sequence.seqlen_q, sequence.seqlen_k) = s.lengths[b];
    sequence.q.resize(static_cast<size_t>(sequence.seqlen_q * s.heads * s.head_dim));
    sequence.k.resize(static_cast<size_t>(sequence.seqlen_k * s.kv_heads * s.head_dim));
    sequence.v.resize(static_cast<size_t>(sequence.seqlen_k * s.kv_heads * s.head_dim_v));
    sequence.dout.resize(static_cast<size_t>(sequence.seqlen_q * s.heads * s.head_dim_v));
    std::generate(sequence.q.begin(), sequence.q.end(), query);
    std::generate(sequence.k.begin(), sequence.k.end(), key);
    for (size_t i = 0; i < sequence.k.size(); ++i)
      if (static_cast<int>(i % static_cast<size_t>(s.head_dim)) < s.equal_columns)
        sequence.k[i] = -0.5;
    std::generate(sequence.v.begin(), sequence.v.end(), value);
    if (s.int8_pages || s.float8_pages) {
      const size_t row = static_cast<size_t>(s.kv_heads * s.head_dim_v);
      for (size_t i = 0; i < sequence.v.size(); ++i)
        sequence.v[i] = std::ldexp(sequence.v[i], static_cast<int>(i / row * 5 % 13) - 6);
    }
    std::generate(sequence.dout.begin(), sequence.dout.end(), value);
    const auto poison = [&](std::vector<double>& rows, int seqlen, int width,
                            std::array<double, 3> strange) {
      for (size_t i = 0; i < 3; ++i) {
        const size_t row = static_cast<size_t>(seqlen) * (i + 1) / 4;
        rows[row * static_cast<size_t>(width) + 7 * i] = strange[i];
      }
    };
    const std::array<double, 3> first_nan = {NAN, INFINITY, -INFINITY};
    if (s.poison_v && s.latents)  // NaN in a key makes all of its rows NaN
      poison(sequence.k, sequence.seqlen_k, s.head_dim, {INFINITY, -INFINITY, NAN});
    else if (s.poison_v)
      poison(sequence.v, sequence.seqlen_k, s.kv_heads * s.head_dim_v, first_nan);
    if (s.poison_dout) poison(sequence.dout, sequence.seqlen_q, s.heads * s.head_dim_v, first_nan);
  }

  if (s.extreme_scores) {
    HostSequence& sequence = sequences[0];
    const auto row = [&](std::vector<double>& rows, int i, int heads) {
      return rows.begin() + i * heads * s.head_dim;
    };
    for (const int sign : {-1, 1}) {  // scores of 3e38 or 2.6e38, and of -3e38 or -2.6e38
      const auto q = row(sequence.q, sequence.seqlen_q * (sign + 2) / 4, s.heads);
      std::fill(q, q + s.heads * s.head_dim, 0);
      for (int h = 0; h < s.heads; ++h) q[h * s.head_dim] = round_to(s.dtype, sign * 3e38);
    }
    // Scores of -1e30, then of 0.
    const auto low = row(sequence.q, sequence.seqlen_q - 1, s.heads);
    std::fill(low, low + s.heads * s.head_dim, 0);
    for (int h = 0; h < s.heads; ++h) low[h * s.head_dim + 1] = round_to(s.dtype, 1e30);
    for (int j = 0; j < sequence.seqlen_k; ++j) {
      for (int h = 0; h < s.kv_heads; ++h) {
        const auto k = row(sequence.k, j, s.kv_heads) + h * s.head_dim;
        k[0] = j % 5 == 0 ? -0.875 : -1;
        k[1] = j < sequence.seqlen_k / 2 ? -1 : 0;
      }
    }
  }
  if (s.latents) {
    const size_t dim = static_cast<size_t>(s.head_dim), dim_v = static_cast<size_t>(s.head_dim_v);
    for (HostSequence& sequence : sequences)
      for (size_t i = 0; i < sequence.v.size(); ++i)
        sequence.v[i] = sequence.k[i / dim_v * dim + i % dim_v];
  }
  if (s.poison_key) {
    HostSequence& sequence = sequences[0];
    sequence.k[static_cast<size_t>(sequence.seqlen_k / 2 * s.kv_heads * s.head_dim + 3)] = NAN;
  }
  if (s.poison_query) {
    HostSequence& sequence = sequences[0];
    sequence.q[static_cast<size_t>(sequence.seqlen_q / 3 * s.heads * s.head_dim + 3)] = NAN;
    sequence.dout[static_cast<size_t>(sequence.seqlen_q / 2 * s.heads * s.head_dim_v + 5)] =
        INFINITY;
  }
  if (s.poison_last) {
    HostSequence& last = sequences.back();
    for (std::vector<double>* rows : {&last.q, &last.k, &last.v, &last.dout})
      std::fill(rows->begin(), rows->end(), NAN);
  }

  fa::AttentionProblem& p = device;
  p.scale = s.equal_scores     ? 0
            : s.extreme_scores ? 1
                               : 0.25f * 8.0f / std::sqrt(static_cast<float>(s.head_dim));
  p.max_seqlen_q = s.seqlen_q;
  p.max_seqlen_k = s.seqlen_k;
  const int64_t heads = s.heads, kv_heads = s.kv_heads, dim = s.head_dim, dim_v = s.head_dim_v;
  int64_t batch = s.batch, rows_q = s.seqlen_q, batch_k = s.batch, rows_k = s.seqlen_k;
  const auto indices = [&](std::vector<int32_t> values) {
    const View view = allocate(DType::kInt32, {static_cast<int64_t>(values.size())});
    std::copy(values.begin(), values.end(), static_cast<int32_t*>(view.data));
    return view;
  };
  if (s.varlen) {
    std::vector<int32_t> ends_q = {0}, ends_k = {0};
    for (const HostSequence& sequence : sequences) {
      ends_q.push_back(ends_q.back() + sequence.seqlen_q);
      ends_k.push_back(ends_k.back() + sequence.seqlen_k);
    }
    batch = 1;
    rows_q = ends_q.back();
    p.cu_seqlens_q = indices(ends_q);
    if (!s.page_size) {
      batch_k = 1;
      rows_k = ends_k.back();
      p.cu_seqlens_k = indices(ends_k);
    }
  }
  if (s.page_size || (s.seqlens_k && !s.varlen)) {
    std::vector<int32_t> lengths;
    for (const HostSequence& sequence : sequences) lengths.push_back(sequence.seqlen_k);
    p.seqlens_k = indices(lengths);
  }
  if (s.page_size) {
    const int64_t per_sequence = (s.seqlen_k + s.page_size - 1) / s.page_size;
    batch_k = s.batch * per_sequence;
    rows_k = s.page_size;
    p.max_seqlen_k = per_sequence * s.page_size;
    pages_.resize(static_cast<size_t>(batch_k));
    for (size_t i = 0; i < pages_.size(); ++i) pages_[i] = static_cast<int32_t>(i);
    std::shuffle(pages_.begin(), pages_.end(), random);
    const View table = allocate(DType::kInt32, {s.batch, per_sequence});
    std::copy(pages_.begin(), pages_.end(), static_cast<int32_t*>(table.data));
    p.page_table = table;
  }
  p.q = allocate(s.dtype, {batch, rows_q, heads, dim});
  const DType key_dtype = s.int8_pages     ? DType::kInt8
                          : s.float8_pages ? DType::kFloat8E4M3
                                           : s.dtype;
  p.k = allocate(key_dtype, {batch_k, rows_k, kv_heads, dim});
  p.v = s.latents ? p.k : allocate(key_dtype, {batch_k, rows_k, kv_heads, dim_v});
  p.v.shape[3] = dim_v;
  p.out = allocate(s.dtype, {batch, rows_q, heads, dim_v});
  p.lse = allocate(DType::kFloat32, {batch, heads, rows_q});
  gradients.dout = allocate(s.dtype, {batch, rows_q, heads, dim_v});
  gradients.dq = allocate(s.dtype, {batch, rows_q, heads, dim});
  gradients.dk = allocate(s.dtype, {batch_k, rows_k, kv_heads, dim});
  gradients.dv = allocate(s.dtype, {batch_k, rows_k, kv_heads, dim_v});
  p.deterministic = s.deterministic;
  place_rows(p.q, false, &HostSequence::q);
  if (s.int8_pages || s.float8_pages) {
    p.k_scale = allocate(DType::kFloat32, {batch_k, rows_k, kv_heads});
    p.v_scale = allocate(DType::kFloat32, {batch_k, rows_k, kv_heads});
    place_codes(p.k, p.k_scale, &HostSequence::k);
    place_codes(p.v, p.v_scale, &HostSequence::v);
  } else {
    place_rows(p.k, true, &HostSequence::k);
    place_rows(p.v, true, &HostSequence::v);
  }
  place_rows(gradients.dout, false, &HostSequence::dout);
}

void Problem::make_options(uint64_t seed) {
  const Spec& s = spec_;
  std::mt19937_64 random(seed + 1);
  std::uniform_real_distribution<double> uniform(0, 1);
  fa::AttentionProblem& p = device;
  const int64_t heads = s.heads, rows = s.seqlen_q, keys = s.seqlen_k;
  if (s.window_left >= 0) p.window_left = s.window_left;
  if (s.window_right >= 0) p.window_right = s.window_right;
  if (s.causal) p.window_right = 0;
  p.sink_tokens = s.sink_tokens;
  p.softcap = s.softcap;
  p.num_splits = s.num_splits;
  if (s.alibi) {
    p.alibi_slopes = allocate(DType::kFloat32, {1, heads});
    for (int h = 0; h < s.heads; ++h) {
      alibi_.push_back(std::ldexp(1.0, -h - 4));
      write_element(p.alibi_slopes, h, alibi_.back());
    }
  }
  if (s.bias || s.bool_mask) {
    p.mask = allocate(s.bias ? s.dtype : DType::kBool, {1, heads, rows, keys});
    for (int64_t at = 0; at < p.mask.size(); ++at) {
      const bool hidden = uniform(random) < 0.2;
      // Large: e to the power of a score that no lse was taken from, a row's beyond the end, would
      // be infinite.
      const bool far = s.far_rows && at / keys % rows % 3 == 0;
      const double bias = round_to(s.dtype, (far ? 1024 : 128) + uniform(random));
      bias_.push_back(hidden ? -std::numeric_limits<double>::infinity() : s.bias ? bias : 0);
      write_element(p.mask, at, s.bias ? bias_.back() : !hidden);
    }
  }
  if (s.sinks) {
    p.sinks = allocate(DType::kFloat32, {heads});
    gradients.dsinks = allocate(DType::kFloat32, {heads});
    for (int h = 0; h < s.heads; ++h) {
      sinks.push_back(s.far_rows && h == 1 ? 1028 : -5.0 + h);
      write_element(p.sinks, h, sinks.back());
    }
  }
  if (s.block_mask) {
    const int64_t across = (keys + kBlock - 1) / kBlock, down = (rows + kBlock - 1) / kBlock;
    p.block_mask.block_q = p.block_mask.block_k = kBlock;
    p.block_mask.table = allocate(DType::kInt32, {1, 1, down, across});
    p.block_mask.bits = allocate(DType::kInt32, {1, kBlock, kBlock / 32});
    for (int row = 0; row < kBlock; ++row)
      static_cast<int32_t*>(p.block_mask.bits.data)[row] =
          static_cast<int32_t>(0x0fffffffu << (row % 4));
    for (int64_t at = 0; at < down * across; ++at) {
      block_mask_.push_back(static_cast<double>(random() % 3));
      write_element(p.block_mask.table, at, block_mask_.back());
    }
  }
  p.dropout = {s.dropout, kDropoutSeed, kDropoutOffset};
}

int64_t Problem::element(const View& view, int batch, bool keys, int row, int head, int dim) const {
  int64_t outer = batch, inner = row;
  if (spec_.varlen && !(keys && spec_.page_size)) {
    outer = 0;
    const View& ends = keys ? device.cu_seqlens_k : device.cu_seqlens_q;
    inner += static_cast<const int32_t*>(ends.data)[batch];
  } else if (keys && spec_.page_size) {
    const int per_sequence = static_cast<int>(pages_.size()) / spec_.batch;
    outer = pages_[static_cast<size_t>(batch * per_sequence + row / spec_.page_size)];
    inner = row % spec_.page_size;
  }
  return outer * view.strides[0] + inner * view.strides[1] + head * view.strides[2] +
         dim * view.strides[3];
}

void Problem::place_rows(const View& view, bool keys, std::vector<double> HostSequence::*rows) {
  const int heads = static_cast<int>(view.shape[2]), dims = static_cast<int>(view.shape[3]);
  for (int b = 0; b < spec_.batch; ++b) {
    const HostSequence& sequence = sequences[static_cast<size_t>(b)];
    const std::vector<double>& values = sequence.*rows;
    for (size_t at = 0; at < values.size(); ++at) {
      const int dim = static_cast<int>(at) % dims, head = static_cast<int>(at) / dims % heads;
      const int row = static_cast<int>(at) / dims / heads;
      write_element(view, element(view, b, keys, row, head, dim), values[at]);
    }
  }
}

/** Rows become what their codes stand for; elements of reserved slots stay what they are. */
void Problem::place_codes(const View& codes, const View& scales,
                          std::vector<double> HostSequence::*rows) {
  const size_t dims = static_cast<size_t>(codes.shape[3]);
  const bool int8 = codes.dtype == DType::kInt8;
  for (int b = 0; b < spec_.batch; ++b) {
    std::vector<double>& values = sequences[static_cast<size_t>(b)].*rows;
    for (size_t begin = 0; begin < values.size(); begin += dims) {
      const int head = static_cast<int>(begin / dims) % spec_.kv_heads;
      const int row = static_cast<int>(begin / dims) / spec_.kv_heads;
      if (spec_.far_scales && rows == &HostSequence::v) {
        const int exponent = row < 256 ? -14 : row < 512 ? 0 : row % 2 == 0 ? 4 : -20;
        for (size_t d = 0; d < dims; ++d)
          values[begin + d] = std::ldexp(values[begin + d], exponent);
      }
      double largest = 0;
      for (size_t d = 0; d < dims; ++d) largest = std::max(largest, std::fabs(values[begin + d]));
      double scale = static_cast<float>(largest / (int8 ? 127 : 448));
      // Scales of two values, a code of a third.
      const bool poisoned = spec_.poison_codes && rows == &HostSequence::v;
      const int where = poisoned ? row - sequences[static_cast<size_t>(b)].seqlen_k : 0;
      for (size_t d = 0; d < dims; ++d) {
        double code = values[begin + d] / scale;
        if (!int8 && where == -5 && d == 5) code = NAN;
        const float narrow = static_cast<float>(code);
        code = int8 ? std::nearbyint(code) : fa::e4m3_to_float(fa::float_to_e4m3(narrow));
        write_element(codes, element(codes, b, true, row, head, static_cast<int>(d)), code);
        values[begin + d] = code * scale;
      }
      if (poisoned && (where == -40 || where == -2)) {
        scale = where == -2 ? NAN : INFINITY;
        for (size_t d = 0; d < dims; ++d) values[begin + d] = NAN;
      }
      const int64_t at = element(codes, b, true, row, head, 0) / codes.shape[3];
      write_element(scales, at, scale);
    }
  }
}

std::vector<double> Problem::read_rows(const View& view, int batch, bool keys) const {
  const HostSequence& sequence = sequences[static_cast<size_t>(batch)];
  const int rows = keys ? sequence.seqlen_k : sequence.seqlen_q;
  std::vector<double> values;
  for (int row = 0; row < rows; ++row)
    for (int head = 0; head < view.shape[2]; ++head)
      for (int dim = 0; dim < view.shape[3]; ++dim)
        values.push_back(read_element(view, element(view, batch, keys, row, head, dim)));
  return values;
}

std::vector<double> Problem::read_lse(int batch) const {
  const View by_rows = fa::permuted(
      [&] {
        View view = device.lse;  // [batch, heads, rows] as [batch, rows, heads, 1]
        view.rank = 4;
        view.shape[3] = 1;
        view.strides[3] = 1;
        return view;
      }(),
      {0, 2, 1, 3});
  return read_rows(by_rows, batch, false);
}

std::vector<double> Problem::read(const View& view) const {
  std::vector<double> values;
  for (int64_t at = 0; at < view.size(); ++at) values.push_back(read_element(view, at));
  return values;
}

void Problem::set_forward_results(const std::vector<std::vector<double>>& out,
                                  const std::vector<std::vector<double>>& lse) {
  for (int b = 0; b < spec_.batch; ++b) {
    const size_t sequence = static_cast<size_t>(b);
    const int rows = sequences[sequence].seqlen_q;
    for (int i = 0; i < rows; ++i) {
      for (int h = 0; h < spec_.heads; ++h) {
        const size_t row = static_cast<size_t>(i * spec_.heads + h);
        for (int d = 0; d < spec_.head_dim_v; ++d)
          write_element(
              device.out, element(device.out, b, false, i, h, d),
              out[sequence][row * static_cast<size_t>(spec_.head_dim_v) + static_cast<size_t>(d)]);
        const int64_t q_batch = spec_.varlen ? 0 : b;
        const int64_t begin =
            spec_.varlen ? static_cast<const int32_t*>(device.cu_seqlens_q.data)[b] : 0;
        write_element(device.lse,
                      q_batch * device.lse.strides[0] + h * device.lse.strides[1] + begin + i,
                      lse[sequence][row]);
      }
    }
  }
}

bool Problem::sees(int batch, int head, int i, int j) const {
  const HostSequence& sequence = sequences[static_cast<size_t>(batch)];
  const int64_t at = i + sequence.seqlen_k - sequence.seqlen_q;
  if (j > at + device.window_right) return false;
  if (j < at - device.window_left && j >= device.sink_tokens) return false;
  if (!block_mask_.empty()) {
    const size_t across = static_cast<size_t>((spec_.seqlen_k + kBlock - 1) / kBlock);
    const double cell =
        block_mask_[static_cast<size_t>(i / kBlock) * across + static_cast<size_t>(j / kBlock)];
    const uint32_t bits = 0x0fffffffu << (i % kBlock % 4);
    if (cell == 0 || (cell == 2 && !(bits >> (j % kBlock) & 1))) return false;
  }
  return bias(batch, head, i, j) != -std::numeric_limits<double>::infinity();
}

double Problem::bias(int batch, int head, int i, int j) const {
  const HostSequence& sequence = sequences[static_cast<size_t>(batch)];
  double sum = 0;
  if (!bias_.empty())
    sum += bias_[static_cast<size_t>((head * spec_.seqlen_q + i) * spec_.seqlen_k + j)];
  if (!alibi_.empty())
    sum -=
        alibi_[static_cast<size_t>(head)] * std::abs(i + sequence.seqlen_k - sequence.seqlen_q - j);
  return sum;
}

bool Problem::kept(int batch, int head, int i, int j) const {
  if (spec_.dropout == 0) return true;
  uint32_t counter[4] = {static_cast<uint32_t>(j) >> 2, static_cast<uint32_t>(i),
                         static_cast<uint32_t>(batch * spec_.heads + head),
                         static_cast<uint32_t>(kDropoutOffset)};
  fa::philox(
      counter, static_cast<uint32_t>(kDropoutSeed),
      static_cast<uint32_t>(kDropoutSeed >> 32) ^ static_cast<uint32_t>(kDropoutOffset >> 32));
  return counter[j & 3] >= fa::dropout_threshold(spec_.dropout);
}

}  // namespace simt_test
