// Graphs, which a CPU has no use for: a call that has one computes its layers one by one.
#include "core/decode_graph.h"

#include "core/error.h"
#include "cpu/cpu_backend.h"

namespace fa {

namespace {

[[noreturn]] void refuse_graph() {
  throw Error(ErrorCode::kDevice, "device", "Expected `device` to be one that captures graphs");
}

}  // namespace

size_t cpu::CpuBackend::decode_list_bytes(const AttentionProblem&) const { refuse_graph(); }

void ops::ReplayDecode::run(cpu::Execution&) const { refuse_graph(); }

}  // namespace fa
