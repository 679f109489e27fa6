// Every instruction-set level this machine can run, and the 16-lane kernels on machines without
// AVX-512, against a float64 reference. Each level runs in a child process of its own, because a
// process chooses once.
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

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

/** A problem of the shape with random tensors, run forward. */
struct Case {
  const Shape& s;
  DType dtype;
  Numbers q, k, v;
  std::vector<char> out;
  std::vector<float> lse;
  fa::AttentionProblem p;

  Case(const Shape& shape, DType of)
      : s(shape),
        dtype(of),
        q(rows() * s.head_dim, s.head_dim, of, 1),
        k(key_rows() * s.head_dim, s.head_dim, of, 2),
        v(key_rows() * s.head_dim_v, s.head_dim_v, of, 3),
        out(static_cast<size_t>(rows() * s.head_dim_v) * fa::dtype_size(of)),
        lse(static_cast<size_t>(rows())) {
    p.q = fa::contiguous_view(q.bytes.data(), of, {s.batch, s.seqlen_q, s.heads, s.head_dim});
    p.k = fa::contiguous_view(k.bytes.data(), of, {s.batch, s.seqlen_k, s.kv_heads, s.head_dim});
    p.v = fa::contiguous_view(v.bytes.data(), of, {s.batch, s.seqlen_k, s.kv_heads, s.head_dim_v});
    p.out = fa::contiguous_view(out.data(), of, {s.batch, s.seqlen_q, s.heads, s.head_dim_v});
    p.lse = fa::contiguous_view(lse.data(), DType::kFloat32, {s.batch, s.heads, s.seqlen_q});
    p.max_seqlen_q = s.seqlen_q;
    p.max_seqlen_k = s.seqlen_k;
    p.scale = 1 / std::sqrt(static_cast<float>(s.head_dim));
    p.softcap = s.softcap;
    p.window_left = s.window_left;
    if (s.causal) p.window_right = 0;
    fa::validate(p);
    fa::cpu::attention_forward(p, nullptr);
  }

  int64_t rows() const { return s.batch * s.seqlen_q * s.heads; }
  int64_t key_rows() const { return s.batch * s.seqlen_k * s.kv_heads; }
  /** Row of k and v that holds key j for this query row. */
  int64_t key_row(int64_t row, int64_t j) const {
    const int64_t batch = row / s.heads / s.seqlen_q;
    return (batch * s.seqlen_k + j) * s.kv_heads + row % s.heads / (s.heads / s.kv_heads);
  }
};

/** What a query row sees: scores after the softcap and their exponentials, 0 where hidden. */
struct Row {
  std::vector<double> score, weight;
  double sum = 0;

  Row(const Case& c, int64_t row)
      : score(static_cast<size_t>(c.s.seqlen_k), 0), weight(score.size(), 0) {
    const Shape& s = c.s;
    const int64_t position = row / s.heads % s.seqlen_q + s.seqlen_k - s.seqlen_q;
    for (int64_t j = 0; j < s.seqlen_k; ++j) {
      if (j < position - s.window_left || (s.causal && j > position)) continue;
      double x = 0;
      for (int64_t d = 0; d < s.head_dim; ++d) x += c.q.at(row, d) * c.k.at(c.key_row(row, j), d);
      x *= c.p.scale;
      if (s.softcap > 0) x = s.softcap * std::tanh(x / s.softcap);
      score[static_cast<size_t>(j)] = x;
      sum += weight[static_cast<size_t>(j)] = std::exp(x);
    }
  }
};

bool check_forward(const Shape& s, DType dtype) {
  const Case c(s, dtype);
  // A few units of the type's rounding, for values of size 1 to 4.
  const double unit = dtype == DType::kFloat32 ? 1e-5 : dtype == DType::kFloat16 ? 1.5e-3 : 1.2e-2;
  for (int64_t row = 0; row < c.rows(); ++row) {
    const int64_t h = row % s.heads, i = row / s.heads % s.seqlen_q, b = row / s.heads / s.seqlen_q;
    const Row seen(c, row);
    const double got = c.lse[static_cast<size_t>((b * s.heads + h) * s.seqlen_q + i)];
    if (seen.sum == 0 ? got != -INFINITY : !(std::fabs(std::log(seen.sum) - got) < 1e-5))
      return false;
    for (int64_t d = 0; d < s.head_dim_v; ++d) {
      double truth = 0;
      for (int64_t j = 0; j < s.seqlen_k && seen.sum > 0; ++j) {
        truth += seen.weight[static_cast<size_t>(j)] / seen.sum * c.v.at(c.key_row(row, j), d);
      }
      if (!(std::fabs(decode(c.out.data(), dtype, row * s.head_dim_v + d) - truth) < unit))
        return false;
    }
  }
  return true;
}

bool check_backward(const Shape& s) {
  const Case c(s, DType::kFloat32);
  Numbers dout(c.rows() * s.head_dim_v, s.head_dim_v, DType::kFloat32, 4);
  std::vector<float> dq(static_cast<size_t>(c.rows() * s.head_dim)),
      dk(static_cast<size_t>(c.key_rows() * s.head_dim)),
      dv(static_cast<size_t>(c.key_rows() * s.head_dim_v));
  const auto like = [](float* data, const fa::View& view) {
    return fa::contiguous_view(data, DType::kFloat32,
                               {view.shape[0], view.shape[1], view.shape[2], view.shape[3]});
  };
  fa::AttentionGradients g;
  g.dout = c.p.out;
  g.dout.data = dout.bytes.data();
  g.dq = like(dq.data(), c.p.q);
  g.dk = like(dk.data(), c.p.k);
  g.dv = like(dv.data(), c.p.v);
  fa::validate_backward(c.p, g);
  fa::cpu::attention_backward(c.p, g, nullptr);

  std::vector<double> true_dq(dq.size(), 0), true_dk(dk.size(), 0), true_dv(dv.size(), 0);
  std::vector<double> dp(static_cast<size_t>(s.seqlen_k));
  for (int64_t row = 0; row < c.rows(); ++row) {
    const Row seen(c, row);
    if (seen.sum == 0) continue;
    dp.assign(dp.size(), 0);
    double delta = 0;
    for (size_t j = 0; j < dp.size(); ++j) {
      const int64_t key = c.key_row(row, static_cast<int64_t>(j));
      for (int64_t d = 0; d < s.head_dim_v; ++d) dp[j] += dout.at(row, d) * c.v.at(key, d);
      delta += seen.weight[j] / seen.sum * dp[j];
    }
    for (size_t j = 0; j < dp.size(); ++j) {
      const int64_t key = c.key_row(row, static_cast<int64_t>(j));
      const double p = seen.weight[j] / seen.sum, capped = seen.score[j] / s.softcap;
      const double ds = p * (dp[j] - delta) * c.p.scale * (s.softcap > 0 ? 1 - capped * capped : 1);
      for (int64_t d = 0; d < s.head_dim; ++d) {
        true_dq[static_cast<size_t>(row * s.head_dim + d)] += ds * c.k.at(key, d);
        true_dk[static_cast<size_t>(key * s.head_dim + d)] += ds * c.q.at(row, d);
      }
      for (int64_t d = 0; d < s.head_dim_v; ++d)
        true_dv[static_cast<size_t>(key * s.head_dim_v + d)] += p * dout.at(row, d);
    }
  }
  const auto close = [](const std::vector<float>& got, const std::vector<double>& truth) {
    for (size_t i = 0; i < got.size(); ++i) {
      if (!(std::fabs(got[i] - truth[i]) < 1e-5 * (1 + std::fabs(truth[i])))) return false;
    }
    return true;
  };
  return close(dq, true_dq) && close(dk, true_dk) && close(dv, true_dv);
}

int run_level(const std::string& level) {
  setenv("FLASH_ATTENTION_CPU_ISA", level.c_str(), 1);
  int failures = fa::cpu::isa() == level ? 0 : 1;
  const auto report = [&](const char* what, DType dtype, const Shape& s, bool right) {
    if (right) return;
    ++failures;
    std::printf("%s: wrong %s, %s, %lld queries, %lld keys, head dim %lld\n", level.c_str(), what,
                fa::dtype_name(dtype), static_cast<long long>(s.seqlen_q),
                static_cast<long long>(s.seqlen_k), static_cast<long long>(s.head_dim));
  };
  for (const Shape& s : kShapes) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16})
      report("result", dtype, s, check_forward(s, dtype));
    report("gradient", DType::kFloat32, s, check_backward(s));
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
