// The attention kernels on the SIMT executor against float64, at small sizes and under many schedules:
//
//   simt_attention forward|backward [seeds]
//
// Every seed runs all cases in a process of its own, until something is noticed: a report of the
// executor, a wrong value, a bank conflict among tiles, a crash, a hang. One line per seed that
// noticed something; status 0 when none did. scripts/mutate.mjs runs it on kernels with mistakes.
#include "attention.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "core/error.h"
#include "cuda/runtime/backward.h"
#include "cuda/runtime/forward.h"
#include "cuda/runtime/plan.h"
#include "reference.h"
#include "simt/launch_log.h"
#include "simt/report.h"

namespace {

using fa::DType;
using simt_test::Problem;
using simt_test::Spec;

constexpr rlim_t kSecondsPerSeed = 60;  // of CPU time
constexpr int kDefaultSeeds = 18;

std::vector<Spec> forward_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) {
    Spec spec{name};
    spec.seqlen_q = 150;
    spec.seqlen_k = 200;
    change(spec);
    cases.push_back(spec);
  };
  add("full", [](Spec&) {});
  add("causal", [](Spec& s) {
    s.causal = true;
    s.seqlen_k = 290;
  });
  add("causal, more queries than keys", [](Spec& s) {
    s.causal = true;
    s.seqlen_q = 200;
    s.seqlen_k = 140;
  });
  add("window", [](Spec& s) {
    s.window_left = 40;
    s.window_right = 10;
  });
  add("values that are not finite", [](Spec& s) {
    s.causal = true;
    s.poisoned_v = true;
    s.seqlen_k = 150;
  });
  add("varlen", [](Spec& s) {
    s.varlen = s.causal = true;
    s.batch = 3;
    s.heads = 1;
    s.kv_heads = 1;
    s.seqlen_q = 170;
  });
  add("head dim 32", [](Spec& s) {
    s.head_dim = s.head_dim_v = 32;
    s.causal = true;
    s.heads = s.kv_heads = 1;
  });
  add("grouped heads", [](Spec& s) {
    s.heads = 3;
    s.kv_heads = 1;
    s.seqlen_q = 50;
  });
  add("bfloat16, 128", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.causal = true;
    s.heads = 1;
    s.kv_heads = 1;
  });
  add("bfloat16, 104 and 72", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = 104;
    s.head_dim_v = 72;
    s.heads = 1;
    s.kv_heads = 1;
  });
  add("softcap, ALiBi, bias", [](Spec& s) {
    s.softcap = 8;
    s.alibi = s.bias = s.causal = true;
    s.seqlen_q = 70;
  });
  add("bool mask, sinks, dropout", [](Spec& s) {
    s.bool_mask = s.sinks = true;
    s.dropout = 0.25;
    s.seqlen_q = 70;
  });
  add("block mask, sink tokens", [](Spec& s) {
    s.block_mask = true;
    s.sink_tokens = 5;
    s.window_left = 60;
    s.seqlen_q = 100;
  });
  add("rows that are not aligned", [](Spec& s) {
    s.head_dim = 37;
    s.head_dim_v = 51;
    s.seqlen_q = 70;
  });
  add("paged, split", [](Spec& s) {
    s.batch = 2;
    s.heads = 4;
    s.kv_heads = 2;
    s.seqlen_q = 3;
    s.seqlen_k = 300;
    s.page_size = 16;
    s.num_splits = 3;
    s.causal = true;
  });
  add("decode, split", [](Spec& s) {
    s.heads = 4;
    s.kv_heads = 1;
    s.seqlen_q = 1;
    s.seqlen_k = 300;
    s.num_splits = 4;
    s.seqlens_k = s.sinks = true;
    s.batch = 2;
  });
  add("float32", [](Spec& s) {
    s.dtype = DType::kFloat32;
    s.head_dim = s.head_dim_v = 32;
    s.causal = true;
    s.seqlen_q = 100;
  });
  return cases;
}

std::vector<Spec> backward_cases() {
  std::vector<Spec> cases;
  const auto add = [&](const char* name, auto change) {
    Spec spec{name};
    spec.seqlen_q = 150;
    spec.seqlen_k = 170;
    change(spec);
    for (const bool deterministic : {false, true}) {
      spec.deterministic = deterministic;
      cases.push_back(spec);
    }
  };
  add("full", [](Spec& s) { s.heads = s.kv_heads = 1; });
  add("causal, grouped heads", [](Spec& s) {
    s.causal = true;
    s.kv_heads = 1;
  });
  add("causal, more queries than keys", [](Spec& s) {
    s.causal = true;
    s.seqlen_q = 200;
    s.seqlen_k = 140;
    s.heads = s.kv_heads = 1;
  });
  add("window", [](Spec& s) {
    s.window_left = 40;
    s.window_right = 10;
    s.heads = s.kv_heads = 1;
  });
  add("varlen", [](Spec& s) {
    s.varlen = s.causal = true;
    s.batch = 2;
    s.heads = s.kv_heads = 1;
  });
  add("bfloat16, 128", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = s.head_dim_v = 128;
    s.causal = true;
    s.heads = s.kv_heads = 1;
  });
  add("bfloat16, 104 and 72", [](Spec& s) {
    s.dtype = DType::kBFloat16;
    s.head_dim = 104;
    s.head_dim_v = 72;
    s.heads = s.kv_heads = 1;
    s.seqlen_q = 90;
  });
  add("softcap, ALiBi, bias", [](Spec& s) {
    s.softcap = 8;
    s.alibi = s.bias = s.causal = true;
    s.seqlen_q = 100;
    s.heads = s.kv_heads = 1;
  });
  add("bool mask, sinks, dropout", [](Spec& s) {
    s.bool_mask = s.sinks = true;
    s.dropout = 0.25;
    s.seqlen_q = 100;
  });
  add("block mask, sink tokens", [](Spec& s) {
    s.block_mask = true;
    s.sink_tokens = 5;
    s.window_left = 60;
    s.seqlen_q = 100;
    s.heads = s.kv_heads = 1;
  });
  add("rows that are not aligned", [](Spec& s) {
    s.head_dim = 37;
    s.head_dim_v = 51;
    s.heads = s.kv_heads = 1;
  });
  add("float32", [](Spec& s) {
    s.dtype = DType::kFloat32;
    s.causal = true;
    s.seqlen_q = 100;
    s.heads = s.kv_heads = 1;
  });
  add("gradients that are not finite", [](Spec& s) {
    s.causal = s.poisoned_dout = true;
    s.heads = s.kv_heads = 1;
  });
  add("float32, gradients that are not finite", [](Spec& s) {
    s.dtype = DType::kFloat32;
    s.causal = s.poisoned_dout = true;
    s.seqlen_q = 100;
    s.heads = s.kv_heads = 1;
  });
  add("float32, 160", [](Spec& s) {
    s.dtype = DType::kFloat32;
    s.head_dim = s.head_dim_v = 160;
    s.seqlen_q = s.seqlen_k = 50;
    s.heads = s.kv_heads = 1;
  });
  return cases;
}

/**
 * Relative to the largest magnitude: what rounding weights and results to the dtype costs. float32 products are good to
 * 2^-22, and gradients are sums whose terms, dS times keys of one sign, are some 16 times as large as they are.
 */
double tolerance(DType dtype, bool gradient) {
  const int bits = dtype == DType::kFloat16 ? 11 : dtype == DType::kBFloat16 ? 8 : 18;
  return std::ldexp(gradient ? 4 : 2, -bits);
}

/** Whether `actual` will do for an expected infinity or NaN. A split product (common/fragment.h) makes NaN of infinity. */
bool same_poison(double actual, double expected, DType dtype) {
  if (std::isnan(actual)) return std::isnan(expected) || dtype == DType::kFloat32;
  return actual == expected;
}

/** Empty when `actual` is `expected`, as far as the tolerance goes. */
std::string compare(const char* what, const std::vector<double>& actual,
                    const std::vector<double>& expected, double relative, DType dtype) {
  double largest = 1e-3;
  for (const double value : expected)
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < expected.size(); ++i) {
    const double a = actual[i], e = expected[i];
    const bool same =
        std::isfinite(e) ? std::fabs(a - e) <= relative * largest : same_poison(a, e, dtype);
    if (!same)
      return simt::format("wrong values: %s[%zu] is %.9g, not %.9g; allowed: %.2g", what, i, a, e,
                          relative * largest);
  }
  return {};
}

/** What the executor says of the launches; `global_bytes` becomes their traffic, atomics left out. */
std::string check_reports(double& global_bytes) {
  global_bytes = 0;
  for (const simt::Report& report : simt::take_reports()) {
    if (!report.ok()) return report.error;
    const simt::Counters& c = report.counters;
    if (c.ldmatrix_conflicts || c.cp_async_conflicts)
      return "bank conflicts in " + report.kernel + ": " + std::to_string(c.ldmatrix_conflicts) +
             " of ldmatrix, " + std::to_string(c.cp_async_conflicts) + " of cp.async";
    global_bytes += static_cast<double>(c.global_read_bytes + c.global_written_bytes);
  }
  return {};
}

/** Cases whose traffic the plan gives exactly: it leaves small tensors out, and what poison costs. */
bool has_exact_bytes(const Spec& s) {
  return !(s.varlen || s.seqlens_k || s.page_size || s.alibi || s.bias || s.bool_mask || s.sinks ||
           s.block_mask || s.poisoned_v || s.num_splits > 1);
}

cudaDeviceProp device_properties() {
  cudaDeviceProp properties;
  cudaGetDeviceProperties(&properties, 0);
  return properties;
}

std::string run_forward(const Spec& spec, uint64_t seed) {
  const Problem problem(spec, seed);
  const cudaDeviceProp properties = device_properties();
  simt::keep_reports();
  fa::cuda::attention_forward(problem.device, {properties, nullptr});
  double bytes;
  std::string found = check_reports(bytes);
  const double planned = fa::cuda::plan_attention(problem.device, properties).bytes;
  if (found.empty() && has_exact_bytes(spec) && bytes != planned)
    found =
        "global bytes: " + std::to_string(bytes) + ", and the plan says " + std::to_string(planned);
  const simt_test::ForwardResult expected = simt_test::reference_forward(problem);
  for (int b = 0; b < spec.batch && found.empty(); ++b) {
    const size_t of = static_cast<size_t>(b);
    found = compare("out", problem.read_rows(problem.device.out, b, false), expected.out[of],
                    tolerance(spec.dtype, false), spec.dtype);
    if (found.empty())
      found = compare("lse", problem.read_lse(b), expected.lse[of], 3e-6, spec.dtype);
  }
  return found;
}

std::string run_backward(const Spec& spec, uint64_t seed) {
  Problem problem(spec, seed);
  const simt_test::ForwardResult forward = simt_test::reference_forward(problem);
  problem.set_forward_results(forward.out, forward.lse);
  const simt_test::BackwardResult expected = simt_test::reference_backward(problem, forward);
  const cudaDeviceProp properties = device_properties();
  simt::keep_reports();
  fa::cuda::attention_backward(problem.device, problem.gradients, {properties, nullptr});
  double bytes;
  std::string found = check_reports(bytes);
  const double relative = tolerance(spec.dtype, true);
  for (int b = 0; b < spec.batch && found.empty(); ++b) {
    const size_t of = static_cast<size_t>(b);
    const fa::AttentionGradients& g = problem.gradients;
    const auto check = [&](const char* what, const fa::View& view, bool of_keys,
                           const std::vector<std::vector<double>>& truth) {
      if (found.empty())
        found = compare(what, problem.read_rows(view, b, of_keys), truth[of], relative, spec.dtype);
    };
    check("dq", g.dq, false, expected.dq);
    check("dk", g.dk, true, expected.dk);
    check("dv", g.dv, true, expected.dv);
  }
  if (found.empty() && spec.sinks)
    found = compare("dsinks", problem.read(problem.gradients.dsinks), expected.dsinks, relative,
                    spec.dtype);
  return found;
}

/** What a seed notices first; empty when it notices nothing. */
std::string first_finding(bool backward, uint64_t seed) {
  setenv("FLASH_ATTENTION_SIMT_SEED", std::to_string(seed).c_str(), 1);
  for (const Spec& spec : backward ? backward_cases() : forward_cases()) {
    std::string found;
    try {
      found = backward ? run_backward(spec, seed) : run_forward(spec, seed);
    } catch (const fa::Error& error) {
      found = std::string("error: ") + error.what();
    }
    if (!found.empty()) return std::string(spec.name) + ": " + found;
  }
  return {};
}

/** first_finding in a process of its own, which may crash or hang. */
std::string isolated(bool backward, uint64_t seed) {
  int channel[2];
  if (pipe(channel) != 0) return "cannot make a pipe";
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit = {kSecondsPerSeed, kSecondsPerSeed + 1};
    setrlimit(RLIMIT_CPU, &limit);
    const std::string found = first_finding(backward, seed);
    const ssize_t written = write(channel[1], found.data(), found.size());
    _exit(written == static_cast<ssize_t>(found.size()) ? 0 : 1);
  }
  close(channel[1]);
  std::string found;
  char buffer[4096];
  for (ssize_t n; (n = read(channel[0], buffer, sizeof buffer)) > 0;)
    found.append(buffer, static_cast<size_t>(n));
  close(channel[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    return signal == SIGXCPU ? "hang" : "crash: signal " + std::to_string(signal);
  }
  return WEXITSTATUS(status) == 0 ? found : "crash: status " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

int simt_test::run_attention(int argc, char** argv) {
  const std::string pass = argc > 1 ? argv[1] : "";
  if (pass != "forward" && pass != "backward") {
    std::fprintf(stderr, "usage: %s forward|backward [seeds]\n", argv[0]);
    return 2;
  }
  const int seeds = argc > 2 ? std::atoi(argv[2]) : kDefaultSeeds;
  int noticed = 0;
  for (int seed = 0; seed < seeds; ++seed) {
    const std::string found = isolated(pass == "backward", static_cast<uint64_t>(seed));
    if (found.empty()) continue;
    ++noticed;
    std::printf("seed %d: %s\n", seed, found.c_str());
    std::fflush(stdout);
  }
  std::printf("%s: %d of %d seeds noticed something\n", pass.c_str(), noticed, seeds);
  return noticed ? 1 : 0;
}
