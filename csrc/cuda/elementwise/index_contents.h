// The check of index tensors that the host has no copy of.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "core/validate.h"
#include "cuda/base/scratch.h"

namespace fa::cuda {

/** Copies of int32 tensors in the host's memory. */
class FetchedIndices {
 public:
  explicit FetchedIndices(const Queue& queue) : queue_(queue), scratch_(queue) {}

  /** Makes `view` one of a copy, which is there after `wait`. */
  void fetch(View& view);
  /** Waits for the device. */
  void wait();

 private:
  const Queue& queue_;
  Scratch scratch_;
  std::list<std::vector<int32_t>> contents_;
};

/**
 * Fetches the index tensors of `problem`, waiting for the device, and throws as validate_contents
 * does. `use` gets the problem with tensors that the host can read.
 */
template <typename Problem, typename Use>
void validate_contents_on_device(const Problem& problem, const Queue& queue, Use use) {
  Problem on_host = problem;
  FetchedIndices fetched(queue);
  for_each_index(on_host, [&](View& view) { fetched.fetch(view); });
  fetched.wait();
  validate_contents(on_host);
  use(on_host);
}

template <typename Problem>
void validate_contents_on_device(const Problem& problem, const Queue& queue) {
  validate_contents_on_device(problem, queue, [](const Problem&) {});
}

}  // namespace fa::cuda
