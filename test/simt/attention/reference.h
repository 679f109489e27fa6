// Standard attention and its gradients in float64, from the definition.
#pragma once

#include <vector>

#include "problem.h"

namespace simt_test {

/** By sequence: arrays [row][head][dim], lse [row][head]. */
struct ForwardResult {
  std::vector<std::vector<double>> out, lse;
};
ForwardResult reference_forward(const Problem& problem);

struct BackwardResult {
  std::vector<std::vector<double>> dq, dk, dv;
  std::vector<double> dsinks;  // [heads]
};
BackwardResult reference_backward(const Problem& problem, const ForwardResult& forward);

}  // namespace simt_test
