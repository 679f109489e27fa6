#include "cuda/runtime/branches.h"

#include <algorithm>

#include "cuda/base/error.h"

namespace fa::cuda {

namespace {

cudaEvent_t new_event() {
  cudaEvent_t event = nullptr;
  FA_CUDA(cudaEventCreateWithFlags, &event, cudaEventDisableTiming);
  return event;
}

}  // namespace

void Branches::open() {
  if (begun_ == nullptr) begun_ = new_event();
  for (Branch& branch : all_) {
    if (branch.ended == nullptr) branch.ended = new_event();
    if (branch.stream == nullptr)
      FA_CUDA(cudaStreamCreateWithPriority, &branch.stream, cudaStreamNonBlocking, priority_);
  }
}

Branches::~Branches() {
  for (const Branch& branch : all_) {
    if (branch.stream != nullptr) cudaStreamDestroy(branch.stream);
    if (branch.ended != nullptr) cudaEventDestroy(branch.ended);
  }
  if (begun_ != nullptr) cudaEventDestroy(begun_);
  cudaGetLastError();
}

Fork::Fork(const Queue& queue, bool side_by_side)
    : queue_(queue), branches_(side_by_side ? queue.branches : nullptr) {
  if (branches_ == nullptr) return;
  branches_->open();
  FA_CUDA(cudaEventRecord, branches_->begun_, queue_.stream);
}

Queue Fork::next() {
  const int branch = given_++ - 1;
  if (branches_ == nullptr || branch < 0) return queue_;
  Queue beside = queue_;
  beside.stream = branches_->all_.at(static_cast<size_t>(branch)).stream;
  FA_CUDA(cudaStreamWaitEvent, beside.stream, branches_->begun_, 0);
  return beside;
}

void Fork::join() {
  if (branches_ == nullptr) return;
  for (; joined_ < given_ - 1; ++joined_) {
    const Branches::Branch& branch = branches_->all_.at(static_cast<size_t>(joined_));
    FA_CUDA(cudaEventRecord, branch.ended, branch.stream);
    FA_CUDA(cudaStreamWaitEvent, queue_.stream, branch.ended, 0);
  }
}

Fork::~Fork() {
  if (branches_ == nullptr) return;
  for (; joined_ < std::min(given_ - 1, Branches::kMost); ++joined_)
    cudaStreamSynchronize(branches_->all_[static_cast<size_t>(joined_)].stream);
  cudaGetLastError();
}

}  // namespace fa::cuda
