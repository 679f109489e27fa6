// The CPU as a stream drives it: an operation runs on the stream's thread, with the shared thread
// pool's help, and has ended when `run` returns.
#pragma once

#include "core/backend.h"
#include "core/priority.h"
#include "cpu/ops.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(Priority priority = Priority::kNormal) : priority_(priority) {}

  const std::string& device() const override { return device_; }
  size_t capacity() const override;
  std::shared_ptr<Storage> allocate(Stream* stream, size_t bytes) override;
  void upload(Stream& stream, const void* host, DType host_dtype, const TensorRef& target) override;
  void check_supported(const AttentionProblem& problem) const override;
  void check_gradients_supported(const AttentionProblem& problem) const override {
    check_supported(problem);
  }
  void check_supported(const Convolution&) const override {}
  bool shares_prefixes() const override { return true; }
  size_t decode_list_bytes(const AttentionProblem& problem) const override;
  AttentionPlan plan(const AttentionProblem& problem) const override;
  bool is_brief(const Operation& operation) const override;
  int helpers_of(const Operation& operation) const override;
  void expect(int helpers) override { expect_loop(helpers); }

  bool asynchronous() const override { return false; }
  void run(const Operation& operation, const TaskStorages& storages, Cancel cancel) override;
  void once_run(Then then) override { then(nullptr); }

 private:
  const std::string device_ = "cpu";
  const Priority priority_;
  Clock::time_point lap_;  // the epoch before the first
};

}  // namespace fa::cpu
