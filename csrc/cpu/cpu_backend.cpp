#include "cpu/cpu_backend.h"

#include <variant>

#include "core/error.h"
#include "core/system.h"
#include "core/validate.h"
#include "cpu/storage.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

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
