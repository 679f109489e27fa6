// The attention kernels on the SIMT executor against float64, at small sizes and under many
// schedules:
//
//   simt_attention <pass> [seeds]
//
// with a pass of kPasses.
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

#include "cases.h"
#include "core/error.h"
#include "cuda/runtime/backward.h"
#include "cuda/runtime/backward_plan.h"
#include "cuda/runtime/plan.h"
#include "forward_call.h"
#include "fp8.h"
#include "reference.h"
#include "simt/call_log.h"
#include "simt/launch_log.h"
#include "simt/report.h"

namespace {

using fa::DType;
using simt_test::Problem;
using simt_test::Spec;

constexpr rlim_t kSecondsPerSeed = 60;  // of CPU time
constexpr int kDefaultSeeds = 18;

/**
 * Relative to the largest magnitude: what rounding weights and results to the dtype costs. float32
 * products are good to 2^-22, and gradients are sums whose terms, dS times keys of one sign, are
 * some 16 times as large as they are.
 */
double tolerance(DType dtype, bool gradient) {
  const int bits = dtype == DType::kFloat16 ? 11 : dtype == DType::kBFloat16 ? 8 : 18;
  return std::ldexp(gradient ? 4 : 2, -bits);
}

/**
 * Whether `actual` will do for an expected infinity or NaN. A split product (device/fragment.h)
 * makes NaN of infinity.
 */
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

/**
 * What the executor says of the launches; `global_bytes` becomes their traffic, atomics left out.
 */
std::string check_reports(double& global_bytes) {
  global_bytes = 0;
  for (const simt::Report& report : simt::take_reports()) {
    if (!report.ok()) return report.error;
    const simt::Counters& c = report.counters;
    if (c.ldmatrix_conflicts || c.stmatrix_conflicts || c.cp_async_conflicts)
      return "bank conflicts in " + report.kernel + ": " + std::to_string(c.ldmatrix_conflicts) +
             " of ldmatrix, " + std::to_string(c.stmatrix_conflicts) + " of stmatrix, " +
             std::to_string(c.cp_async_conflicts) + " of cp.async";
    global_bytes += static_cast<double>(c.global_read_bytes + c.global_written_bytes);
  }
  return {};
}

/**
 * Cases whose traffic the plan gives exactly: it leaves small tensors out, and what poison costs.
 */
bool has_exact_bytes(const Spec& s) {
  return !(s.alibi || s.bias || s.bool_mask || s.sinks || s.block_mask || s.poison_v ||
           s.extreme_scores || s.int8_pages || s.poison_last || s.poison_codes);
}

/** Of the current one. */
cudaDeviceProp device_properties() {
  int device = 0;
  cudaDeviceProp properties;
  cudaGetDevice(&device);
  cudaGetDeviceProperties(&properties, device);
  return properties;
}

std::string run_forward_on(const cudaDeviceProp& properties, const Spec& spec, uint64_t seed) {
  const Problem problem(spec, seed);
  simt::keep_reports();
  const int drawn = simt_test::forward_call(problem, properties);
  double bytes;
  std::string found = check_reports(bytes);
  if (found.empty() && drawn != 0)
    found = "wrong values: the counter of tiles is left at " + std::to_string(drawn);
  bytes -= static_cast<double>(simt::take_watched_reads());
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

std::string run_forward(const Spec& spec, uint64_t seed) {
  return run_forward_on(device_properties(), spec, seed);
}

/** Nothing may be planned for another kernel. */
std::string run_mla_on(const char* expected, const Spec& spec, uint64_t seed) {
  const cudaDeviceProp properties = device_properties();
  const std::string kernel =
      fa::cuda::plan_attention(Problem(spec, seed).device, properties).kernel;
  return kernel == expected ? run_forward_on(properties, spec, seed) : "planned for " + kernel;
}

std::string run_mla(const Spec& spec, uint64_t seed) { return run_mla_on("sm80.mla", spec, seed); }

std::string run_mla_sm90(const Spec& spec, uint64_t seed) {
  return run_mla_on("sm90.mla", spec, seed);
}

/** Calls of a function of the CUDA runtime since keep_calls(). */
size_t calls_of(const char* function) {
  const std::vector<simt::Call> calls = simt::take_calls();
  return static_cast<size_t>(std::count_if(calls.begin(), calls.end(), [&](const simt::Call& call) {
    return call.function == function;
  }));
}

/**
 * The same of a call of several launches, each of which but the first may begin while the one in
 * front ends, as soon as all blocks of that have begun.
 */
std::string run_overlap_here(const Spec& spec, uint64_t seed) {
  const cudaDeviceProp properties = device_properties();
  std::string found = run_forward_on(properties, spec, seed);
  if (!found.empty()) return found;
  const Problem problem(spec, seed);
  simt::keep_reports();
  simt::keep_calls();
  simt_test::forward_call(problem, properties);
  const std::vector<simt::Report> reports = simt::take_reports();
  simt::take_watched_reads();
  const size_t overlapping = calls_of("cudaLaunchKernelEx");
  if (reports.size() < 2 || overlapping != reports.size() - 1)
    return simt::format("%zu of %zu launches overlap", overlapping, reports.size());
  for (size_t i = 0; i + 1 < reports.size(); ++i) {
    // Blocks without work end instead.
    if (!spec.spare_items && reports[i].counters.early_blocks != reports[i].grid.x)
      return "blocks do not launch dependents: " + reports[i].kernel;
  }
  return {};
}

/** On every device. */
std::string run_overlap(const Spec& spec, uint64_t seed) {
  int count = 0;
  std::string found;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) return "no device";
  for (int device = 0; device < count && found.empty(); ++device) {
    if (cudaSetDevice(device) != cudaSuccess) return "no such device";
    found = run_overlap_here(spec, seed);
  }
  return found;
}

/**
 * The same of a call of several launches on sm_80, which run side by side, behind what came before
 * the call. They have the bits of launches that follow each other.
 */
std::string run_branches(const Spec& spec, uint64_t seed) {
  const cudaDeviceProp properties = device_properties();
  std::string found = run_forward_on(properties, spec, seed);
  const Problem problem(spec, seed);
  const fa::View& out = problem.device.out;
  const size_t bytes = static_cast<size_t>(out.size()) * fa::dtype_size(out.dtype);
  std::string in_order;
  for (const bool side_by_side : {false, true}) {
    if (!found.empty()) return found;
    cudaMemsetAsync(out.at(0), 0xff, bytes, simt_test::streams().stream);
    simt::keep_reports();
    simt::keep_calls();
    simt_test::forward_call(problem, properties, side_by_side);
    const size_t waits = calls_of("cudaStreamWaitEvent");
    size_t launches = 0;
    for (const simt::Report& report : simt::take_reports()) {
      launches += report.kernel.find("combine") == std::string::npos;
      if (found.empty()) found = report.error;
    }
    simt::take_watched_reads();
    const cudaError_t status = cudaGetLastError();
    if (found.empty() && status != cudaSuccess) found = cudaGetErrorString(status);
    if (launches < 2 || waits != (side_by_side ? 2 * (launches - 1) : 0))
      return simt::format("%zu waits for %zu launches", waits, launches);
    const std::string bits(static_cast<const char*>(out.at(0)), bytes);
    if (side_by_side && found.empty() && bits != in_order) found = "wrong values: other bits";
    in_order = bits;
  }
  return found;
}

/** Of a GPU of few SMs: blocks that take one tile after the other have several each. */
cudaDeviceProp few_multiprocessors() {
  cudaDeviceProp properties = device_properties();
  properties.multiProcessorCount = 3;
  return properties;
}

/** Its L2 besides: of causal problems it has room for what the blocks of a few heads stream. */
cudaDeviceProp small_device() {
  cudaDeviceProp properties = few_multiprocessors();
  properties.l2CacheSize = 512 << 10;
  return properties;
}

/** Nothing may fall back to sm_80. */
std::string run_forward_sm90(const Spec& spec, uint64_t seed) {
  const cudaDeviceProp properties = few_multiprocessors();
  const std::string kernel =
      fa::cuda::plan_attention(Problem(spec, seed).device, properties).kernel;
  if (kernel.rfind("sm90.", 0) != 0) return "planned for " + kernel;
  return run_forward_on(properties, spec, seed);
}

std::string run_backward_on(const cudaDeviceProp& properties, Problem& problem) {
  const Spec& spec = problem.spec();
  const simt_test::ForwardResult forward = simt_test::reference_forward(problem);
  problem.set_forward_results(forward.out, forward.lse);
  const simt_test::BackwardResult expected = simt_test::reference_backward(problem, forward);
  simt::keep_reports();
  fa::cuda::attention_backward(problem.device, problem.gradients, {properties, nullptr});
  double bytes;
  std::string found = check_reports(bytes);
  const double relative = tolerance(spec.dtype, true);
  for (int b = 0; b < spec.batch - spec.poison_last && found.empty(); ++b) {
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

std::string run_backward(const Spec& spec, uint64_t seed) {
  Problem problem(spec, seed);
  return run_backward_on(small_device(), problem);
}

/**
 * Nothing may fall back to sm_80. Where it is asked for, another schedule must lead to the same
 * bits.
 */
std::string run_backward_sm90(const Spec& spec, uint64_t seed) {
  Problem problem(spec, seed);
  const fa::AttentionGradients& g = problem.gradients;
  if (!fa::cuda::plan_backward(problem.device, g, device_properties()).sm90)
    return "planned for sm_80";
  std::string found = run_backward_on(small_device(), problem);
  if (!found.empty() || !spec.deterministic) return found;
  const auto bits = [&] {
    std::string all;
    for (const fa::View* view : {&g.dq, &g.dk, &g.dv})
      all.append(view->at(0), static_cast<size_t>(view->size()) * fa::dtype_size(view->dtype));
    return all;
  };
  const std::string first = bits();
  found = run_backward_on(device_properties(), problem);
  return found.empty() && bits() != first ? "wrong values: other bits the second time" : found;
}

struct Pass {
  const char* name;
  const char* devices;  // presets of simt/devices.cpp
  std::vector<Spec> (*cases)();
  std::string (*run)(const Spec& spec, uint64_t seed);
};
constexpr Pass kPasses[] = {
    {"forward", "sm80", simt_test::forward_cases, run_forward},
    {"mla", "sm80", simt_test::mla_cases, run_mla},
    {"mla_sm90", "sm90", simt_test::mla_sm90_cases, run_mla_sm90},
    {"overlap", "sm90,sm120", simt_test::overlap_cases, run_overlap},
    {"branches", "sm80", simt_test::branch_cases, run_branches},
    {"backward", "sm80", simt_test::backward_cases, run_backward},
    {"backward_sm90", "sm90", simt_test::backward_sm90_cases, run_backward_sm90},
    {"backward_sm90_wide", "sm90", simt_test::backward_sm90_wide_cases, run_backward_sm90},
    {"forward_sm90", "sm90", simt_test::forward_sm90_cases, run_forward_sm90},
    {"forward_fp8", "sm90", simt_test::forward_fp8_cases, simt_test::run_forward_fp8},
};

/** What a seed notices first; empty when it notices nothing. */
std::string first_finding(const Pass& pass, uint64_t seed) {
  setenv("FLASH_ATTENTION_SIMT_SEED", std::to_string(seed).c_str(), 1);
  setenv("FLASH_ATTENTION_SIMT_DEVICES", pass.devices, 1);
  for (const Spec& spec : pass.cases()) {
    std::string found;
    try {
      found = pass.run(spec, seed);
    } catch (const fa::Error& error) {
      found = std::string("error: ") + error.what();
    }
    if (!found.empty()) return std::string(spec.name) + ": " + found;
  }
  return {};
}

/** first_finding in a process of its own, which may crash or hang. */
std::string isolated(const Pass& pass, uint64_t seed) {
  int channel[2];
  if (pipe(channel) != 0) return "cannot make a pipe";
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit = {kSecondsPerSeed, kSecondsPerSeed + 1};
    setrlimit(RLIMIT_CPU, &limit);
    const std::string found = first_finding(pass, seed);
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
  const std::string name = argc > 1 ? argv[1] : "";
  const Pass* const pass = std::find_if(std::begin(kPasses), std::end(kPasses),
                                        [&](const Pass& each) { return name == each.name; });
  if (pass == std::end(kPasses)) {
    std::fprintf(stderr, "usage: %s <pass> [seeds] [first], with a pass of", argv[0]);
    for (const Pass& each : kPasses) std::fprintf(stderr, " %s", each.name);
    std::fprintf(stderr, "\n");
    return 2;
  }
  const int seeds = argc > 2 ? std::atoi(argv[2]) : kDefaultSeeds;
  const bool only_first = argc > 3 && std::string(argv[3]) == "first";
  int noticed = 0;
  for (int seed = 0; seed < seeds; ++seed) {
    const std::string found = isolated(*pass, static_cast<uint64_t>(seed));
    if (found.empty()) continue;
    ++noticed;
    std::printf("seed %d: %s\n", seed, found.c_str());
    std::fflush(stdout);
    if (only_first) break;
  }
  std::printf("%s: %d of %d seeds noticed something\n", pass->name, noticed, seeds);
  return noticed ? 1 : 0;
}
