// Every instruction-set level this machine can run, and the 16-lane kernels on machines without
// AVX-512, forward and backward against a float64 reference. Each level runs in a child process of
// its own, because a process chooses once.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/float8.h"
#include "core/ops.h"
#include "core/validate.h"
#include "cpu/ops.h"

namespace {

using fa::DType;

struct Shape {
  int64_t batch, seqlen_q, seqlen_k, heads, kv_heads, head_dim, head_dim_v;
  bool causal;
  int64_t window_left;
  float softcap;
};

const Shape kShapes[] = {
    {1, 1, 1, 1, 1, 1, 1, false, fa::kUnbounded, 0},
    {2, 1, 147, 4, 2, 40, 40, false, fa::kUnbounded, 0},
    {1, 3, 799, 6, 2, 111, 64, true, fa::kUnbounded, 0},
    {1, 64, 128, 2, 2, 64, 64, true, 40, 0},
    {1, 113, 203, 6, 1, 96, 33, true, fa::kUnbounded, 5},
    {1, 200, 33, 2, 2, 128, 128, true, fa::kUnbounded, 0},
    {1, 100, 150, 1, 1, 17, 256, false, 20, 1.5f},
    // One, two, four and eight rows for the decode kernel.
    {1, 1, 300, 4, 4, 64, 48, false, fa::kUnbounded, 0},
    {2, 2, 301, 2, 2, 96, 80, true, fa::kUnbounded, 0},
    {1, 1, 259, 8, 2, 128, 128, false, 200, 0},
    {1, 2, 133, 8, 2, 80, 112, true, fa::kUnbounded, 5},
};

float decode(const char* bytes, DType dtype, int64_t i) {
  if (dtype == DType::kFloat32) {
    float x;
    std::memcpy(&x, bytes + i * 4, 4);
    return x;
  }
  uint16_t half;
  std::memcpy(&half, bytes + i * 2, 2);
  return dtype == DType::kFloat16 ? fa::float16_to_float(half) : fa::bfloat16_to_float(half);
}

/** Normal numbers in `dtype`, read back as float64. */
struct Numbers {
  std::vector<char> bytes;
  DType dtype;
  int64_t width;  // of the last axis

  Numbers(int64_t count, int64_t last_axis, DType of, unsigned seed)
      : bytes(static_cast<size_t>(count) * fa::dtype_size(of)), dtype(of), width(last_axis) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < count; ++i) {
      const float x = normal(generator);
      const uint16_t half =
          of == DType::kFloat16 ? fa::float_to_float16(x) : fa::float_to_bfloat16(x);
      char* const at = bytes.data() + i * static_cast<int64_t>(fa::dtype_size(of));
      std::memcpy(at, of == DType::kFloat32 ? static_cast<const void*>(&x) : &half,
                  fa::dtype_size(of));
    }
  }

  double at(int64_t row, int64_t d) const { return decode(bytes.data(), dtype, row * width + d); }
};

/** Room for a result of `like`'s shape in its dtype. */
std::vector<char> room_for(const fa::View& like) {
  return std::vector<char>(static_cast<size_t>(like.size()) * fa::dtype_size(like.dtype));
}

/** The largest absolute value; at least 1. */
double size_of(const std::vector<double>& truth) {
  double largest = 1;
  for (const double x : truth) largest = std::max(largest, std::fabs(x));
  return largest;
}

bool close(const std::vector<char>& results, const std::vector<double>& truth, DType dtype,
           double limit) {
  for (size_t i = 0; i < truth.size(); ++i) {
    const double error = decode(results.data(), dtype, static_cast<int64_t>(i)) - truth[i];
    if (!(std::fabs(error) < limit)) return false;
  }
  return true;
}

bool check(const Shape& s, DType dtype) {
  const int64_t rows = s.batch * s.seqlen_q * s.heads, keys = s.batch * s.seqlen_k * s.kv_heads;
  Numbers q(rows * s.head_dim, s.head_dim, dtype, 1), k(keys * s.head_dim, s.head_dim, dtype, 2);
  Numbers v(keys * s.head_dim_v, s.head_dim_v, dtype, 3);
  Numbers dout(rows * s.head_dim_v, s.head_dim_v, dtype, 4);

  fa::AttentionProblem p;
  p.q = fa::contiguous_view(q.bytes.data(), dtype, {s.batch, s.seqlen_q, s.heads, s.head_dim});
  p.k = fa::contiguous_view(k.bytes.data(), dtype, {s.batch, s.seqlen_k, s.kv_heads, s.head_dim});
  p.v = fa::contiguous_view(v.bytes.data(), dtype, {s.batch, s.seqlen_k, s.kv_heads, s.head_dim_v});
  fa::AttentionGradients g;
  g.dout =
      fa::contiguous_view(dout.bytes.data(), dtype, {s.batch, s.seqlen_q, s.heads, s.head_dim_v});
  std::vector<char> out = room_for(g.dout), dq = room_for(p.q), dk = room_for(p.k),
                    dv = room_for(p.v);
  std::vector<float> lse(static_cast<size_t>(rows));
  p.out = g.dout;
  p.out.data = out.data();
  p.lse = fa::contiguous_view(lse.data(), DType::kFloat32, {s.batch, s.heads, s.seqlen_q});
  g.dq = p.q;
  g.dq.data = dq.data();
  g.dk = p.k;
  g.dk.data = dk.data();
  g.dv = p.v;
  g.dv.data = dv.data();
  p.max_seqlen_q = s.seqlen_q;
  p.max_seqlen_k = s.seqlen_k;
  p.scale = 1 / std::sqrt(static_cast<float>(s.head_dim));
  p.softcap = s.softcap;
  p.window_left = s.window_left;
  if (s.causal) p.window_right = 0;
  fa::validate(p, fa::Layout::kBshd);
  fa::validate_backward(p, g, fa::Layout::kBshd);
  fa::cpu::attention_forward(p, nullptr);
  fa::cpu::attention_backward(p, g, nullptr);

  std::vector<double> out_truth(static_cast<size_t>(rows * s.head_dim_v));
  std::vector<double> dq_truth(static_cast<size_t>(rows * s.head_dim));
  std::vector<double> dk_truth(static_cast<size_t>(keys * s.head_dim));
  std::vector<double> dv_truth(static_cast<size_t>(keys * s.head_dim_v));
  const auto at = [](std::vector<double>& all, int64_t row, int64_t width, int64_t d) -> double& {
    return all[static_cast<size_t>(row * width + d)];
  };
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t h = row % s.heads, i = row / s.heads % s.seqlen_q, b = row / s.heads / s.seqlen_q;
    const int64_t position = i + s.seqlen_k - s.seqlen_q;
    const auto key_row = [&](int64_t j) {
      return (b * s.seqlen_k + j) * s.kv_heads + h / (s.heads / s.kv_heads);
    };
    // Per key: the softmax's weight, the softcap's slope, and dP.
    std::vector<double> weight(static_cast<size_t>(s.seqlen_k)), slope = weight, dp = weight;
    double sum = 0, expected = 0;
    for (size_t j = 0; j < weight.size(); ++j) {
      const int64_t key = static_cast<int64_t>(j);
      if (key < position - s.window_left || (s.causal && key > position)) continue;
      double score = 0;
      for (int64_t d = 0; d < s.head_dim; ++d) score += q.at(row, d) * k.at(key_row(key), d);
      score *= p.scale;
      slope[j] = p.scale;
      if (s.softcap > 0) {
        const double t = std::tanh(score / s.softcap);
        score = s.softcap * t;
        slope[j] *= 1 - t * t;
      }
      sum += weight[j] = std::exp(score);
    }
    const double got = lse[static_cast<size_t>((b * s.heads + h) * s.seqlen_q + i)];
    if (sum == 0 ? got != -INFINITY : !(std::fabs(std::log(sum) - got) < 1e-5)) return false;
    if (sum == 0) continue;
    for (size_t j = 0; j < weight.size(); ++j) {
      const int64_t key = key_row(static_cast<int64_t>(j));
      weight[j] /= sum;
      for (int64_t d = 0; d < s.head_dim_v; ++d) {
        dp[j] += dout.at(row, d) * v.at(key, d);
        at(out_truth, row, s.head_dim_v, d) += weight[j] * v.at(key, d);
        at(dv_truth, key, s.head_dim_v, d) += weight[j] * dout.at(row, d);
      }
      expected += weight[j] * dp[j];
    }
    for (size_t j = 0; j < weight.size(); ++j) {
      const int64_t key = key_row(static_cast<int64_t>(j));
      const double ds = weight[j] * (dp[j] - expected) * slope[j];
      for (int64_t d = 0; d < s.head_dim; ++d) {
        at(dq_truth, row, s.head_dim, d) += ds * k.at(key, d);
        at(dk_truth, key, s.head_dim, d) += ds * q.at(row, d);
      }
    }
  }
  // A few units of the type's rounding, for values of size 1 to 4.
  const double unit = dtype == DType::kFloat32 ? 1e-5 : dtype == DType::kFloat16 ? 1.5e-3 : 1.2e-2;
  return close(out, out_truth, dtype, unit) &&
         close(dq, dq_truth, dtype, unit * size_of(dq_truth)) &&
         close(dk, dk_truth, dtype, unit * size_of(dk_truth)) &&
         close(dv, dv_truth, dtype, unit * size_of(dv_truth));
}

/**
 * Rows at the ends of float32's range side by side, then with NaN in one of them. Queries are 0, so
 * that every row is the mean of the values and its lse is the mask's number plus log(keys).
 */
bool check_range(int64_t seqlen_q, DType dtype) {
  constexpr int64_t kKeys = 150, kDim = 64;
  constexpr float kLowest = -std::numeric_limits<float>::max();
  constexpr float kBases[] = {0, -1e9f, kLowest, 3e38f, -1e30f};
  const auto base = [&](int64_t i) { return kBases[i % 5]; };
  Numbers k(kKeys * kDim, kDim, dtype, 2), v(kKeys * kDim, kDim, dtype, 3);
  Numbers dout(seqlen_q * kDim, kDim, dtype, 4);
  std::vector<float> mask(static_cast<size_t>(seqlen_q * kKeys)),
      lse(static_cast<size_t>(seqlen_q));
  for (size_t at = 0; at < mask.size(); ++at) mask[at] = base(static_cast<int64_t>(at) / kKeys);

  fa::AttentionGradients g;
  g.dout = fa::contiguous_view(dout.bytes.data(), dtype, {1, seqlen_q, 1, kDim});
  std::vector<char> q = room_for(g.dout), out = q, dq = q, dk(k.bytes.size()), dv(k.bytes.size());
  fa::AttentionProblem p;
  p.q = fa::contiguous_view(q.data(), dtype, {1, seqlen_q, 1, kDim});
  p.k = fa::contiguous_view(k.bytes.data(), dtype, {1, kKeys, 1, kDim});
  p.v = fa::contiguous_view(v.bytes.data(), dtype, {1, kKeys, 1, kDim});
  p.out = fa::contiguous_view(out.data(), dtype, {1, seqlen_q, 1, kDim});
  p.lse = fa::contiguous_view(lse.data(), DType::kFloat32, {1, 1, seqlen_q});
  p.mask = fa::contiguous_view(mask.data(), DType::kFloat32, {1, 1, seqlen_q, kKeys});
  p.max_seqlen_q = seqlen_q;
  p.max_seqlen_k = kKeys;
  p.scale = 1;
  p.num_splits = 2;
  g.dq = fa::contiguous_view(dq.data(), dtype, {1, seqlen_q, 1, kDim});
  g.dk = fa::contiguous_view(dk.data(), dtype, {1, kKeys, 1, kDim});
  g.dv = fa::contiguous_view(dv.data(), dtype, {1, kKeys, 1, kDim});
  fa::validate(p, fa::Layout::kBshd);
  fa::validate_backward(p, g, fa::Layout::kBshd);
  fa::cpu::attention_forward(p, nullptr);
  fa::cpu::attention_backward(p, g, nullptr);

  std::vector<double> mean(kDim), out_truth, dv_truth(kDim), dv_rows;
  for (int64_t d = 0; d < kDim; ++d) {
    for (int64_t j = 0; j < kKeys; ++j) mean[static_cast<size_t>(d)] += v.at(j, d) / kKeys;
    for (int64_t i = 0; i < seqlen_q; ++i)
      dv_truth[static_cast<size_t>(d)] += dout.at(i, d) / kKeys;
  }
  for (int64_t i = 0; i < seqlen_q; ++i)
    out_truth.insert(out_truth.end(), mean.begin(), mean.end());
  for (int64_t j = 0; j < kKeys; ++j)
    dv_rows.insert(dv_rows.end(), dv_truth.begin(), dv_truth.end());
  const double unit = dtype == DType::kFloat32 ? 1e-6 : dtype == DType::kFloat16 ? 1e-3 : 8e-3;
  bool ok = close(out, out_truth, dtype, unit) && close(dv, dv_rows, dtype, unit);
  for (int64_t i = 0; i < seqlen_q; ++i) {
    const double truth = base(i) + std::log(static_cast<double>(kKeys));
    const double error = lse[static_cast<size_t>(i)] - truth;
    ok = ok && std::fabs(error) <= std::fabs(truth) * 1e-7 + 1e-6;
  }

  const int64_t bad = seqlen_q / 2;
  std::memset(q.data() + bad * kDim * static_cast<int64_t>(fa::dtype_size(dtype)), 0xff,
              fa::dtype_size(dtype));
  fa::cpu::attention_forward(p, nullptr);
  for (int64_t i = 0; i < seqlen_q; ++i) {
    ok = ok && std::isnan(lse[static_cast<size_t>(i)]) == (i == bad);
    for (int64_t d = 0; d < kDim; ++d)
      ok = ok && std::isnan(decode(out.data(), dtype, i * kDim + d)) == (i == bad);
  }
  return ok;
}

/** A mask of keys alone: those in [begin, end) are 0. */
struct Padding {
  float outside;
  int64_t begin, end;
  bool causal;  // rows before `begin` see padding alone
};

constexpr float kHidden = -std::numeric_limits<float>::infinity();
constexpr float kLowest = -std::numeric_limits<float>::max();
const Padding kPaddings[] = {
    {kHidden, 0, 300, false},  {kHidden, 0, 131, true},   {kHidden, 150, 300, true},
    {kHidden, 77, 203, false}, {kHidden, 9, 9, false},    {kLowest, 0, 131, false},
    {kLowest, 0, 136, true},   {kLowest, 150, 300, true}, {kLowest, 77, 203, false},
    {kLowest, 9, 9, true},     {-10000, 0, 131, false},   {-10000, 0, 131, true},
    {-10000, 150, 300, false}, {-10000, 77, 203, false},
};

bool check_padding(int64_t seqlen_q, const Padding& padding, DType dtype) {
  const auto& [outside, begin, end, causal] = padding;
  constexpr int64_t kKeys = 300, kDim = 64;
  Numbers q(seqlen_q * kDim, kDim, dtype, 1), k(kKeys * kDim, kDim, dtype, 2);
  Numbers v(kKeys * kDim, kDim, dtype, 3);
  std::vector<float> mask(static_cast<size_t>(kKeys), outside);
  std::fill(mask.begin() + begin, mask.begin() + end, 0.f);
  std::vector<float> lse(static_cast<size_t>(seqlen_q));
  fa::AttentionProblem p;
  p.q = fa::contiguous_view(q.bytes.data(), dtype, {1, seqlen_q, 1, kDim});
  p.k = fa::contiguous_view(k.bytes.data(), dtype, {1, kKeys, 1, kDim});
  p.v = fa::contiguous_view(v.bytes.data(), dtype, {1, kKeys, 1, kDim});
  std::vector<char> out = room_for(p.q);
  p.out = p.q;
  p.out.data = out.data();
  p.lse = fa::contiguous_view(lse.data(), DType::kFloat32, {1, 1, seqlen_q});
  p.mask = fa::contiguous_view(mask.data(), DType::kFloat32, {1, 1, seqlen_q, kKeys});
  p.mask.strides[2] = 0;
  p.max_seqlen_q = seqlen_q;
  p.max_seqlen_k = kKeys;
  p.scale = 0.125f;
  if (causal) p.window_right = 0;
  fa::validate(p, fa::Layout::kBshd);
  fa::cpu::attention_forward(p, nullptr);

  std::vector<double> truth(static_cast<size_t>(seqlen_q * kDim));
  for (int64_t i = 0; i < seqlen_q; ++i) {
    std::vector<double> scores;
    double highest = -INFINITY, sum = 0;
    for (int64_t j = 0; j < kKeys && (!causal || j <= i + kKeys - seqlen_q); ++j) {
      double score = 0;
      for (int64_t d = 0; d < kDim; ++d) score += q.at(i, d) * k.at(j, d);
      // As float32 has it: beside its lowest number a score is nothing.
      const float sum_of_both = static_cast<float>(score * 0.125) + mask[static_cast<size_t>(j)];
      scores.push_back(sum_of_both);
      highest = std::max(highest, scores.back());
    }
    for (size_t j = 0; highest > -INFINITY && j < scores.size(); ++j) {
      const double weight = std::exp(scores[j] - highest);
      sum += weight;
      for (int64_t d = 0; d < kDim; ++d)
        truth[static_cast<size_t>(i * kDim + d)] += weight * v.at(static_cast<int64_t>(j), d);
    }
    for (int64_t d = 0; sum > 0 && d < kDim; ++d) truth[static_cast<size_t>(i * kDim + d)] /= sum;
    const double got = lse[static_cast<size_t>(i)], want = highest + std::log(sum);
    if (sum == 0 ? got != -INFINITY : !(std::fabs(got - want) <= std::fabs(want) * 1e-7 + 1e-5))
      return false;
  }
  const double unit = dtype == DType::kFloat32 ? 1e-5 : dtype == DType::kFloat16 ? 1.5e-3 : 1.2e-2;
  return close(out, truth, dtype, unit);
}

/** Attention over what float32 tokens become in pages of 8 bits, of queries of `dtype`. */
bool check_codes(const Shape& s, DType dtype, DType codes) {
  constexpr int64_t kPageSize = 16;
  const int64_t rows = s.batch * s.seqlen_q * s.heads, tokens = s.batch * s.seqlen_k;
  const int64_t keys = tokens * s.kv_heads;
  const int64_t per_sequence = (s.seqlen_k + kPageSize - 1) / kPageSize;
  const int64_t pages = s.batch * per_sequence, slots = pages * kPageSize;
  Numbers q(rows * s.head_dim, s.head_dim, dtype, 1);
  Numbers k(keys * s.head_dim, s.head_dim, DType::kFloat32, 2);
  Numbers v(keys * s.head_dim_v, s.head_dim_v, DType::kFloat32, 3);
  std::vector<int32_t> slot, table;
  for (int64_t t = 0; t < tokens; ++t)
    slot.push_back(
        static_cast<int32_t>(t / s.seqlen_k * per_sequence * kPageSize + t % s.seqlen_k));
  for (int64_t page = 0; page < pages; ++page) table.push_back(static_cast<int32_t>(page));
  std::vector<int32_t> lengths(static_cast<size_t>(s.batch), static_cast<int32_t>(s.seqlen_k));

  struct Pages {
    std::vector<char> bytes;
    std::vector<float> scales;
  };
  const auto room = [&](int64_t dim) {
    return Pages{std::vector<char>(static_cast<size_t>(slots * s.kv_heads * dim), '\x7f'),
                 std::vector<float>(static_cast<size_t>(slots * s.kv_heads), NAN)};
  };
  Pages k_pages = room(s.head_dim), v_pages = room(s.head_dim_v);
  const auto pages_of = [&](Pages& of, int64_t dim) {
    return fa::contiguous_view(of.bytes.data(), codes, {pages, kPageSize, s.kv_heads, dim});
  };
  const auto scales_of = [&](Pages& of) {
    return fa::contiguous_view(of.scales.data(), DType::kFloat32, {pages, kPageSize, s.kv_heads});
  };
  fa::Appending a;
  a.k = fa::contiguous_view(k.bytes.data(), DType::kFloat32, {tokens, s.kv_heads, s.head_dim});
  a.v = fa::contiguous_view(v.bytes.data(), DType::kFloat32, {tokens, s.kv_heads, s.head_dim_v});
  a.k_pages = pages_of(k_pages, s.head_dim);
  a.v_pages = pages_of(v_pages, s.head_dim_v);
  a.k_scales = scales_of(k_pages);
  a.v_scales = scales_of(v_pages);
  a.slots = fa::contiguous_view(slot.data(), DType::kInt32, {tokens});
  fa::validate(a);
  fa::validate_contents(a);
  fa::cpu::Clock::time_point lap;
  fa::cpu::Execution execution{.cancel = nullptr, .lap = lap};
  fa::ops::Append{.appending = a}.run(execution);

  fa::AttentionProblem p;
  p.q = fa::contiguous_view(q.bytes.data(), dtype, {s.batch, s.seqlen_q, s.heads, s.head_dim});
  p.k = a.k_pages;
  p.v = a.v_pages;
  p.k_scale = a.k_scales;
  p.v_scale = a.v_scales;
  p.page_table = fa::contiguous_view(table.data(), DType::kInt32, {s.batch, per_sequence});
  p.seqlens_k = fa::contiguous_view(lengths.data(), DType::kInt32, {s.batch});
  p.out = fa::contiguous_view(nullptr, dtype, {s.batch, s.seqlen_q, s.heads, s.head_dim_v});
  std::vector<char> out = room_for(p.out);
  p.out.data = out.data();
  p.max_seqlen_q = s.seqlen_q;
  p.max_seqlen_k = per_sequence * kPageSize;
  p.scale = 1 / std::sqrt(static_cast<float>(s.head_dim));
  p.softcap = s.softcap;
  p.window_left = s.window_left;
  if (s.causal) p.window_right = 0;
  fa::validate(p, fa::Layout::kBshd);
  fa::cpu::attention_forward(p, nullptr);

  const auto element = [&](const Pages& of, int64_t row, int64_t dim, int64_t d) {
    const char code = of.bytes[static_cast<size_t>(row * dim + d)];
    const double value = codes == DType::kInt8 ? static_cast<double>(static_cast<int8_t>(code))
                                               : fa::e4m3_to_float(static_cast<uint8_t>(code));
    return value * of.scales[static_cast<size_t>(row)];
  };
  std::vector<double> truth(static_cast<size_t>(rows * s.head_dim_v));
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t h = row % s.heads, i = row / s.heads % s.seqlen_q, b = row / s.heads / s.seqlen_q;
    const int64_t position = i + s.seqlen_k - s.seqlen_q;
    double* const of_row = truth.data() + row * s.head_dim_v;
    double sum = 0;
    for (int64_t j = 0; j < s.seqlen_k; ++j) {
      if (j < position - s.window_left || (s.causal && j > position)) continue;
      const int64_t key =
          (b * per_sequence * kPageSize + j) * s.kv_heads + h / (s.heads / s.kv_heads);
      double score = 0;
      for (int64_t d = 0; d < s.head_dim; ++d)
        score += q.at(row, d) * element(k_pages, key, s.head_dim, d);
      score *= p.scale;
      if (s.softcap > 0) score = s.softcap * std::tanh(score / s.softcap);
      const double weight = std::exp(score);
      sum += weight;
      for (int64_t d = 0; d < s.head_dim_v; ++d)
        of_row[d] += weight * element(v_pages, key, s.head_dim_v, d);
    }
    for (int64_t d = 0; sum > 0 && d < s.head_dim_v; ++d) of_row[d] /= sum;
  }
  const double unit = dtype == DType::kFloat32 ? 1e-5 : dtype == DType::kFloat16 ? 1.5e-3 : 1.2e-2;
  return close(out, truth, dtype, unit);
}

struct ConvShape {
  int64_t batch, seqlen, heads, dim, kernel_size;
};

const ConvShape kConvShapes[] = {
    {1, 1, 1, 1, 1}, {2, 70, 3, 64, 31}, {1, 90, 2, 203, 5}, {1, 85, 1, 40, 80}, {1, 9, 2, 128, 4},
};

/** A dynamic convolution after a state, tap `excluded` of every token left out. */
bool check_convolution(const ConvShape& s, DType dtype) {
  const int64_t rows = s.batch * s.seqlen * s.heads, before = s.kernel_size - 1;
  Numbers x(rows * s.dim, s.dim, dtype, 1);
  Numbers weights(rows * s.kernel_size, s.kernel_size, DType::kFloat32, 2);
  Numbers state(s.batch * before * s.heads * s.dim, s.dim, dtype, 3);
  const int64_t excluded = s.kernel_size / 2;
  for (int64_t row = 0; s.kernel_size > 1 && row < rows; ++row) {
    const float none = -std::numeric_limits<float>::infinity();
    std::memcpy(weights.bytes.data() + (row * s.kernel_size + excluded) * 4, &none, 4);
  }
  fa::Convolution c;
  c.x = fa::contiguous_view(x.bytes.data(), dtype, {s.batch, s.seqlen, s.heads, s.dim});
  c.weights = fa::contiguous_view(weights.bytes.data(), DType::kFloat32,
                                  {s.batch, s.seqlen, s.heads, s.kernel_size});
  c.state = fa::contiguous_view(state.bytes.data(), dtype, {s.batch, before, s.heads, s.dim});
  std::vector<char> out = room_for(c.x), next = room_for(c.state);
  c.out = c.x;
  c.out.data = out.data();
  c.next_state = c.state;
  c.next_state.data = next.data();
  fa::validate(c, fa::Layout::kBshd);
  fa::cpu::convolve(c, nullptr);

  /** Channel d of input i, which the state has when it lies before the first. */
  const auto input = [&](int64_t b, int64_t i, int64_t h, int64_t d) {
    return i < 0 ? state.at((b * before + i + before) * s.heads + h, d)
                 : x.at((b * s.seqlen + i) * s.heads + h, d);
  };
  std::vector<double> truth, kept;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t h = row % s.heads, i = row / s.heads % s.seqlen, b = row / s.heads / s.seqlen;
    double sum = 0;
    for (int64_t t = 0; t < s.kernel_size; ++t) sum += std::exp(weights.at(row, t));
    for (int64_t d = 0; d < s.dim; ++d) {
      double total = 0;
      for (int64_t t = 0; t < s.kernel_size; ++t)
        total += std::exp(weights.at(row, t)) / sum * input(b, i - before + t, h, d);
      truth.push_back(total);
    }
  }
  for (int64_t row = 0; row < s.batch * before * s.heads; ++row) {
    const int64_t h = row % s.heads, r = row / s.heads % before, b = row / s.heads / before;
    for (int64_t d = 0; d < s.dim; ++d) kept.push_back(input(b, s.seqlen - before + r, h, d));
  }
  const double unit = dtype == DType::kFloat32 ? 1e-5 : dtype == DType::kFloat16 ? 1.5e-3 : 1.2e-2;
  return close(out, truth, dtype, unit) && close(next, kept, dtype, 1e-30);
}

int run_level(const std::string& level) {
  setenv("FLASH_ATTENTION_CPU_ISA", level.c_str(), 1);
  int failures = fa::cpu::isa() == level ? 0 : 1;
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    for (const Shape& s : kShapes) {
      if (check(s, dtype)) continue;
      ++failures;
      std::printf("%s: wrong result, %s, %lld queries, %lld keys, head dim %lld\n", level.c_str(),
                  fa::dtype_name(dtype), static_cast<long long>(s.seqlen_q),
                  static_cast<long long>(s.seqlen_k), static_cast<long long>(s.head_dim));
    }
    for (const DType codes : {DType::kInt8, DType::kFloat8E4M3}) {
      for (const Shape& s : kShapes) {
        if (check_codes(s, dtype, codes)) continue;
        ++failures;
        std::printf("%s: wrong result, %s over %s, %lld queries, %lld keys\n", level.c_str(),
                    fa::dtype_name(dtype), fa::dtype_name(codes),
                    static_cast<long long>(s.seqlen_q), static_cast<long long>(s.seqlen_k));
      }
    }
    for (const ConvShape& s : kConvShapes) {
      if (check_convolution(s, dtype)) continue;
      ++failures;
      std::printf("%s: wrong convolution, %s, %lld tokens, %lld taps, head dim %lld\n",
                  level.c_str(), fa::dtype_name(dtype), static_cast<long long>(s.seqlen),
                  static_cast<long long>(s.kernel_size), static_cast<long long>(s.dim));
    }
    for (const Padding& padding : kPaddings) {
      for (const int64_t seqlen_q : {int64_t{1}, int64_t{100}, int64_t{300}}) {
        if (check_padding(seqlen_q, padding, dtype)) continue;
        ++failures;
        std::printf("%s: wrong with padding of %g around [%lld, %lld), %s, %lld queries\n",
                    level.c_str(), static_cast<double>(padding.outside),
                    static_cast<long long>(padding.begin), static_cast<long long>(padding.end),
                    fa::dtype_name(dtype), static_cast<long long>(seqlen_q));
      }
    }
    for (const int64_t seqlen_q : {int64_t{1}, int64_t{3}, int64_t{7}, int64_t{100}}) {
      if (check_range(seqlen_q, dtype)) continue;
      ++failures;
      std::printf("%s: wrong at the ends of the range, %s, %lld queries\n", level.c_str(),
                  fa::dtype_name(dtype), static_cast<long long>(seqlen_q));
    }
  }
  return failures;
}

}  // namespace

int main() {
  const std::vector<std::string> levels = fa::cpu::isa_levels();
  int failed = levels.empty() ? 1 : 0;
  for (const std::string& level : levels) {
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      const int failures = run_level(level);
      std::fflush(nullptr);
      _exit(failures == 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    const bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    std::printf("%s: %s\n", level.c_str(), ok ? "ok" : "FAILED");
    failed += !ok;
  }
  return failed == 0 ? 0 : 1;
}
