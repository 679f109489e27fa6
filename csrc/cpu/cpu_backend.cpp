#include "cpu/cpu_backend.h"

#include <algorithm>
#include <variant>

#include "core/error.h"
#include "core/system.h"
#include "core/validate.h"
#include "cpu/storage.h"

namespace fa::cpu {

namespace {

constexpr int64_t kBriefWork = int64_t{1} << 16;   // multiply-adds: a microsecond or two
constexpr int64_t kHelperWork = int64_t{1} << 21;  // what is worth waking a thread for
constexpr int64_t kMostWork = kHelperWork * 1024;
constexpr int64_t kBriefCopy = int64_t{4} << 10;  // elements

/** Multiply-adds of a call that hides nothing, or kMostWork. */
int64_t work_of(const AttentionProblem& p) {
  const int64_t dims = p.heads() * (p.head_dim() + p.head_dim_v());
  int64_t work = 1;
  for (const int64_t factor : {p.batch(), p.max_seqlen_q, p.max_seqlen_k, dims}) {
    if (factor > kMostWork) return kMostWork;  // nor can the product overflow
    work = std::min(work * factor, kMostWork);
  }
  return work;
}

int64_t work_of(const ops::Attention& op) { return work_of(op.problem); }
int64_t work_of(const ops::AttentionBackward& op) { return work_of(op.problem); }
int64_t work_of(const ops::StepAttention& op) { return work_of(op.attention); }

template <typename Other>
int64_t work_of(const Other&) {
  return 0;
}

bool takes_no_time(const ops::Attention& op) { return work_of(op) <= kBriefWork; }

bool takes_no_time(const ops::Download& op) { return op.source.size() <= kBriefCopy; }

template <typename Other>
bool takes_no_time(const Other&) {
  return false;
}

}  // namespace

bool CpuBackend::is_brief(const Operation& operation) const {
  return std::visit([](const auto& op) { return takes_no_time(op); }, operation);
}

int CpuBackend::helpers_of(const Operation& operation) const {
  const int64_t work = std::visit([](const auto& op) { return work_of(op); }, operation);
  return static_cast<int>(std::min<int64_t>(work / kHelperWork, num_threads() - 1));
}

size_t CpuBackend::capacity() const { return usable_memory(); }

std::shared_ptr<Storage> CpuBackend::allocate(Stream* stream, size_t bytes) {
  return allocate_storage(stream, bytes);
}

void CpuBackend::upload(Stream&, const void* host, DType host_dtype, const TensorRef& target) {
  convert(contiguous_like(target.view, host_dtype, const_cast<void*>(host)), target.view, nullptr);
}

void CpuBackend::check_supported(const AttentionProblem& problem) const {
  if (problem.float8()) refuse_float8("on a CPU");
}

AttentionPlan CpuBackend::plan(const AttentionProblem& problem) const {
  return plan_attention(problem);
}

void CpuBackend::run(const Operation& operation, const TaskStorages&, Cancel cancel) {
  const LoopPreference preference(priority_ == Priority::kHigh);
  Execution execution{.cancel = cancel, .lap = lap_};
  std::visit([&execution](const auto& op) { op.run(execution); }, operation);
}

}  // namespace fa::cpu

namespace fa {

void ops::Lap::run(cpu::Execution& execution) const {
  const auto now = cpu::Clock::now();
  const bool first = execution.lap == cpu::Clock::time_point{};
  *milliseconds =
      first ? 0 : std::chrono::duration<double, std::milli>(now - execution.lap).count();
  execution.lap = now;
}

}  // namespace fa
