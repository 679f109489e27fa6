// Launches of a call that need not follow each other, where they cannot overlap on one stream
// (base/launch.h): each on a stream of its own, behind what came before the call and before what
// comes after it. docs/design/ragged.md, "Launches side by side".
#pragma once

#include <cuda_runtime.h>

#include <array>

#include "cuda/base/queue.h"

namespace fa::cuda {

/** The streams beside that of a queue, made for the first call that needs them. */
class Branches {
 public:
  /** A call has up to three launches (ForwardPlan), the first on the stream of the queue. */
  static constexpr int kMost = 2;

  /** Streams of a priority as CUDA numbers them. */
  explicit Branches(int priority) : priority_(priority) {}
  /** The device is current. What is enqueued still runs. */
  ~Branches();
  Branches(const Branches&) = delete;
  Branches& operator=(const Branches&) = delete;

 private:
  friend class Fork;

  struct Branch {
    cudaStream_t stream = nullptr;
    cudaEvent_t ended = nullptr;
  };

  /** Throws Error{kCuda}. */
  void open();

  int priority_;
  cudaEvent_t begun_ = nullptr;
  std::array<Branch, kMost> all_;
};

/**
 * Where the launches of one call go, from which no two write what another touches. The queue has
 * nothing else to do before join().
 */
class Fork {
 public:
  /** Launches follow each other unless they are to run side by side. Throws Error{kCuda}. */
  Fork(const Queue& queue, bool side_by_side);
  /** Behind an error: waits for what was launched, for its memory is given back next. */
  ~Fork();
  Fork(const Fork&) = delete;
  Fork& operator=(const Fork&) = delete;

  /** Of the next launch: the queue itself, then its branches if it has any. Throws Error{kCuda}. */
  Queue next();
  /** What the queue is given next begins when all launches have ended. Throws Error{kCuda}. */
  void join();

 private:
  const Queue& queue_;
  Branches* const branches_;  // null: launches follow each other
  int given_ = 0;
  int joined_ = 0;  // branches
};

}  // namespace fa::cuda
