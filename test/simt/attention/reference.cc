#include "reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace simt_test {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double dot(const double* a, const double* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/** Index of row (i, head) of an array [row][head][dim]. */
size_t at(int i, int head, int heads, int dim) {
  return static_cast<size_t>(i * heads + head) * static_cast<size_t>(dim);
}

struct Score {
  double value = -kInfinity;  // hidden
  double slope = 0;           // of the value by the product
};

Score score(const Problem& p, int b, int head, int i, int j) {
  if (!p.sees(b, head, i, j)) return {};
  const Spec& s = p.spec();
  const HostSequence& sequence = p.sequences[static_cast<size_t>(b)];
  const int kv_head = head / (s.heads / s.kv_heads);
  const double product = dot(&sequence.q[at(i, head, s.heads, s.head_dim)],
                             &sequence.k[at(j, kv_head, s.kv_heads, s.head_dim)], s.head_dim);
  double value = product * p.scale(), slope = p.scale();
  if (s.softcap > 0) {
    const double t = std::tanh(value / s.softcap);
    value = s.softcap * t;
    slope *= 1 - t * t;
  }
  return {value + p.bias(b, head, i, j), slope};
}

}  // namespace

ForwardResult reference_forward(const Problem& p) {
  const Spec& s = p.spec();
  ForwardResult result;
  for (int b = 0; b < s.batch; ++b) {
    const HostSequence& sequence = p.sequences[static_cast<size_t>(b)];
    std::vector<double> out(static_cast<size_t>(sequence.seqlen_q * s.heads * s.head_dim_v));
    std::vector<double> lse(static_cast<size_t>(sequence.seqlen_q * s.heads), -kInfinity);
    std::vector<double> scores(static_cast<size_t>(sequence.seqlen_k));
    for (int i = 0; i < sequence.seqlen_q; ++i) {
      for (int head = 0; head < s.heads; ++head) {
        double top = s.sinks ? p.sinks[static_cast<size_t>(head)] : -kInfinity;
        for (int j = 0; j < sequence.seqlen_k; ++j) {
          scores[static_cast<size_t>(j)] = score(p, b, head, i, j).value;
          const double value = scores[static_cast<size_t>(j)];
          if (value > top || std::isnan(value)) top = value;  // NaN stays: no value is greater
        }
        if (top == -kInfinity) continue;
        double sum = s.sinks ? std::exp(p.sinks[static_cast<size_t>(head)] - top) : 0;
        for (const double value : scores) sum += std::exp(value - top);
        lse[at(i, head, s.heads, 1)] = top + std::log(sum);
        const int kv_head = head / (s.heads / s.kv_heads);
        for (int j = 0; j < sequence.seqlen_k; ++j) {
          const double value = scores[static_cast<size_t>(j)];
          if (value == -kInfinity || !p.kept(b, head, i, j)) continue;
          const double weight = std::exp(value - top) / sum / (1 - s.dropout);
          const double* v = &sequence.v[at(j, kv_head, s.kv_heads, s.head_dim_v)];
          for (int d = 0; d < s.head_dim_v; ++d)
            out[at(i, head, s.heads, s.head_dim_v) + static_cast<size_t>(d)] += weight * v[d];
        }
      }
    }
    result.out.push_back(std::move(out));
    result.lse.push_back(std::move(lse));
  }
  return result;
}

BackwardResult reference_backward(const Problem& p, const ForwardResult& forward) {
  const Spec& s = p.spec();
  BackwardResult result;
  result.dsinks.assign(static_cast<size_t>(s.heads), 0);
  for (int b = 0; b < s.batch; ++b) {
    const size_t of = static_cast<size_t>(b);
    const HostSequence& sequence = p.sequences[of];
    std::vector<double> dq(sequence.q.size()), dk(sequence.k.size()), dv(sequence.v.size());
    for (int i = 0; i < sequence.seqlen_q; ++i) {
      for (int head = 0; head < s.heads; ++head) {
        const double lse = forward.lse[of][at(i, head, s.heads, 1)];
        if (lse == -kInfinity) continue;
        const size_t row = at(i, head, s.heads, s.head_dim_v),
                     q_row = at(i, head, s.heads, s.head_dim);
        const double* dout = &sequence.dout[row];
        const double delta = dot(dout, &forward.out[of][row], s.head_dim_v);
        if (s.sinks)
          result.dsinks[static_cast<size_t>(head)] -=
              std::exp(p.sinks[static_cast<size_t>(head)] - lse) * delta;
        const int kv_head = head / (s.heads / s.kv_heads);
        for (int j = 0; j < sequence.seqlen_k; ++j) {
          const Score pair = score(p, b, head, i, j);
          if (pair.value == -kInfinity) continue;
          const size_t k_row = at(j, kv_head, s.kv_heads, s.head_dim);
          const size_t v_row = at(j, kv_head, s.kv_heads, s.head_dim_v);
          const double weight = std::exp(pair.value - lse);
          const double keep = p.kept(b, head, i, j) ? 1 / (1 - s.dropout) : 0;
          const double dweight = keep * dot(dout, &sequence.v[v_row], s.head_dim_v);
          const double dproduct = weight * (dweight - delta) * pair.slope;
          for (int d = 0; d < s.head_dim_v; ++d)
            dv[v_row + static_cast<size_t>(d)] += keep * weight * dout[d];
          for (int d = 0; d < s.head_dim; ++d) {
            dq[q_row + static_cast<size_t>(d)] +=
                dproduct * sequence.k[k_row + static_cast<size_t>(d)];
            dk[k_row + static_cast<size_t>(d)] +=
                dproduct * sequence.q[q_row + static_cast<size_t>(d)];
          }
        }
      }
    }
    result.dq.push_back(std::move(dq));
    result.dk.push_back(std::move(dk));
    result.dv.push_back(std::move(dv));
  }
  return result;
}

}  // namespace simt_test
