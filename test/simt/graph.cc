// Graphs: what the runtime that the executor plays notes down and launches, what it does not allow
// meanwhile, and room for the list of every step.
#include "cuda/base/graph.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>

#include "core/divide.h"
#include "core/error.h"
#include "cuda/base/launch.h"
#include "cuda/base/memory.h"
#include "cuda/ptx/ptx.h"
#include "cuda/runtime/split_choice.h"
#include "device_array.h"
#include "simt/call_log.h"

namespace {

using namespace fa::cuda;

struct Params {
  int* data;
  int add;
};

__global__ void add(const __grid_constant__ Params p) {
  if (threadIdx.x == 0) ptx::stg(p.data, ptx::ldg(p.data) + p.add);
}

const cudaDeviceProp& properties() {
  static const cudaDeviceProp found = [] {
    cudaDeviceProp read;
    CHECK(cudaGetDeviceProperties(&read, 0) == cudaSuccess);
    return read;
  }();
  return found;
}

Queue new_queue() {
  cudaStream_t stream = nullptr;
  CHECK(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0) == cudaSuccess);
  return {properties(), stream};
}

void check_replays() {
  DeviceArray<int> data(4);
  const Queue queue = new_queue();
  GraphExec graph;
  {
    Params params{data.device(), 3};
    graph = capture(queue, [&](const Queue& noted) {
      launch(add, 1, 32, 0, noted, params);
      launch(add, 1, 32, 0, noted, Params{data.device() + 1, 5});
      CHECK(cudaMemcpyAsync(data.device() + 2, data.device(), sizeof(int), cudaMemcpyDeviceToDevice,
                            noted.stream) == cudaSuccess);
      CHECK(cudaMemsetAsync(data.device() + 3, 0, sizeof(int), noted.stream) == cudaSuccess);
    });
    params.add = 100;  // a launch has its own copy
  }
  CHECK(data.read()[0] == 0 && data.read()[1] == 0);  // nothing has run
  simt::keep_calls();
  for (int i = 0; i < 3; ++i) launch(graph, queue);
  CHECK(data.read()[0] == 9 && data.read()[1] == 15 && data.read()[2] == 9);
  int launches = 0;
  for (const simt::Call& call : simt::take_calls()) {
    launches += call.function == "cudaGraphLaunch";
    CHECK(call.function != "cudaLaunchKernel");
  }
  CHECK(launches == 3);
}

/** What an error of the capture says of `enqueue`. */
template <typename Enqueue>
bool breaks(Enqueue enqueue) {
  const Queue queue = new_queue();
  DeviceArray<int> data(1);
  bool broken = false;
  try {
    capture(queue, [&](const Queue& noted) {
      launch(add, 1, 32, 0, noted, Params{data.device(), 1});
      enqueue(noted);
    });
  } catch (const fa::Error& error) {
    broken = error.code() == fa::ErrorCode::kCuda &&
             std::string(error.what()).find("cudaErrorStreamCapture") != std::string::npos;
  }
  CHECK(data.read()[0] == 0);
  // Streams work as before.
  launch(add, 1, 32, 0, queue, Params{data.device(), 1});
  CHECK(data.read()[0] == 1 && cudaGetLastError() == cudaSuccess);
  return broken;
}

void check_what_is_not_allowed() {
  CHECK(!breaks([](const Queue&) {}));
  // Whoever looks at the status, and whoever does not.
  CHECK(breaks([](const Queue& q) { check(cudaStreamSynchronize(q.stream), "wait"); }));
  CHECK(breaks([](const Queue& q) { cudaStreamSynchronize(q.stream); }));
  CHECK(breaks([](const Queue& q) { cudaStreamQuery(q.stream); }));
  CHECK(breaks([](const Queue& q) { allocate(64, q); }));
  CHECK(breaks([](const Queue&) {
    void* memory = nullptr;
    cudaMalloc(&memory, 64);
    CHECK(memory == nullptr);
  }));
  CHECK(breaks([](const Queue&) {
    void* memory = nullptr;
    cudaMallocHost(&memory, 64);
  }));
  int pageable = 7;
  DeviceArray<int> data(1);
  const auto copy = [&](const void* from) {
    return [&, from](const Queue& q) {
      cudaMemcpyAsync(data.device(), from, sizeof(int), cudaMemcpyHostToDevice, q.stream);
    };
  };
  CHECK(breaks(copy(&pageable)));
  void* pinned = nullptr;
  CHECK(cudaMallocHost(&pinned, 64) == cudaSuccess);
  CHECK(!breaks(copy(pinned)));
  CHECK(cudaFreeHost(pinned) == cudaSuccess);
  CHECK(breaks(copy(pinned)));
  // Other threads go on as they like.
  CHECK(!breaks([](const Queue&) {
    std::thread([] {
      void* memory = nullptr;
      CHECK(cudaMalloc(&memory, 64) == cudaSuccess && cudaFree(memory) == cudaSuccess);
    }).join();
  }));
}

/** However long sequences are, their splits by share have room in a plan for graphs. */
void check_most_blocks() {
  uint64_t state = 1;
  const auto below = [&state](int64_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int64_t>(state >> 33) % n;
  };
  for (int round = 0; round < 20000; ++round) {
    const int64_t places = 1 + below(400), head_blocks = 1 + below(16), batch = 1 + below(80);
    const int64_t longest = 1 + below(round % 2 ? 40 : 4000), m_blocks = 1 + below(6);
    const int64_t rare = 1 + below(20);  // one in so many is a long one, which is cut most
    std::vector<SequenceWork> work;
    for (int64_t there = 1 + below(batch); there > 0; --there) {
      const int64_t tiles = 1 + below(below(rare) ? std::min<int64_t>(longest, 4) : longest);
      // Of a prompt the first queries see least; drafts behind many keys see nearly as many.
      const int64_t before = round % 3 ? 0 : below(tiles);
      SequenceWork w{m_blocks * head_blocks, tiles, 0};
      for (int64_t m = 1; m <= m_blocks; ++m)
        w.total += head_blocks * (before + fa::ceil_div((tiles - before) * m, m_blocks));
      work.push_back(w);
    }
    const int64_t share = share_of(work, places);
    int64_t blocks = 0;
    for (const SequenceWork& w : work) blocks += w.blocks * splits_by_share(w.longest, share);
    CHECK(blocks <= most_blocks(batch * m_blocks * head_blocks, places, m_blocks == 1));
  }
}

/** Memory that was freed ends the device when a graph comes back to it. */
void check_freed_memory() {
  const Queue queue = new_queue();
  void* memory = allocate(sizeof(int), queue);
  const GraphExec graph = capture(queue, [&](const Queue& noted) {
    launch(add, 1, 32, 0, noted, Params{static_cast<int*>(memory), 1});
  });
  launch(graph, queue);
  CHECK(cudaStreamSynchronize(queue.stream) == cudaSuccess);
  release(memory, queue);
  launch(graph, queue);
  CHECK(cudaStreamSynchronize(queue.stream) == cudaErrorLaunchFailure);
  CHECK(std::string(cudaGetErrorString(cudaErrorLaunchFailure)).find("out of bounds") !=
        std::string::npos);
}

}  // namespace

int main() {
  check_replays();
  check_what_is_not_allowed();
  check_most_blocks();
  check_freed_memory();
  std::printf("graph: passed\n");
}
