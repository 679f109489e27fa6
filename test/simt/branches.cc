// Launches side by side on streams of their own: what the executor says of work that no event
// orders, and that a fork orders what comes before a call, its launches, and what comes after.
#include "cuda/runtime/branches.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "../native/check.h"
#include "core/error.h"
#include "cuda/base/graph.h"
#include "cuda/base/launch.h"
#include "cuda/base/memory.h"
#include "cuda/ptx/ptx.h"
#include "simt/call_log.h"
#include "simt/devices.h"

namespace {

using namespace fa::cuda;

struct Params {
  const float* from;
  float* to;
};

__global__ void add_one(const __grid_constant__ Params p) {
  ptx::stg(p.to + threadIdx.x, ptx::ldg(p.from + threadIdx.x) + 1);
}

constexpr int kFloats = 32;
constexpr size_t kBytes = kFloats * sizeof(float);

/** Two streams, an event, and memory that neither has touched. */
struct Setting {
  cudaDeviceProp properties;
  cudaStream_t first = nullptr, second = nullptr;
  cudaEvent_t event = nullptr;
  float* a = nullptr;
  float* b = nullptr;
  void* host = nullptr;

  Setting() {
    CHECK(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
    for (cudaStream_t* stream : {&first, &second})
      CHECK(cudaStreamCreateWithPriority(stream, cudaStreamNonBlocking, 0) == cudaSuccess);
    CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
    a = static_cast<float*>(allocate(kBytes, on(first)));
    b = static_cast<float*>(allocate(kBytes, on(first)));
    CHECK(cudaMallocHost(&host, kBytes) == cudaSuccess);
    // Streams are looked at once they have waited for each other.
    order(first, second);
  }

  Queue on(cudaStream_t stream) const { return {properties, stream}; }
  /** What `later` is given from now on comes behind what `earlier` has. */
  void order(cudaStream_t earlier, cudaStream_t later) const {
    CHECK(cudaEventRecord(event, earlier) == cudaSuccess);
    CHECK(cudaStreamWaitEvent(later, event) == cudaSuccess);
  }
  void add(cudaStream_t stream, const float* from, float* to) const {
    launch(add_one, 1, kFloats, 0, on(stream), Params{from, to});
  }
  void fill(cudaStream_t stream, float* to) const {
    CHECK(cudaMemsetAsync(to, 0, kBytes, stream) == cudaSuccess);
  }
};

struct Mistake {
  const char* name;
  const char* report;
  /** Without its mistake where that is false. */
  std::function<void(const Setting&, bool mistaken)> run;
};

const Mistake kMistakes[] = {
    {"reads what another stream writes", "race: global read",
     [](const Setting& s, bool mistaken) {
       s.add(s.first, s.b, s.a);
       if (!mistaken) s.order(s.first, s.second);
       s.add(s.second, s.a, s.b);
     }},
    {"writes over what another stream reads", "another stream reads",
     [](const Setting& s, bool mistaken) {
       s.add(s.first, s.a, s.b);
       if (!mistaken) s.order(s.first, s.second);
       s.fill(s.second, s.a);
     }},
    {"writes over what another stream fills", "race: global write",
     [](const Setting& s, bool mistaken) {
       s.fill(s.second, s.b);
       if (!mistaken) s.order(s.second, s.first);
       s.add(s.first, s.a, s.b);
     }},
    {"copies what another stream writes", "race: memory is copied",
     [](const Setting& s, bool mistaken) {
       s.add(s.second, s.a, s.b);
       if (!mistaken) s.order(s.second, s.first);
       cudaMemcpyAsync(s.host, s.b, kBytes, cudaMemcpyDeviceToHost, s.first);
     }},
    {"an event recorded too early", "another stream writes",
     [](const Setting& s, bool mistaken) {
       if (mistaken) CHECK(cudaEventRecord(s.event, s.first) == cudaSuccess);
       s.fill(s.first, s.a);
       if (!mistaken) CHECK(cudaEventRecord(s.event, s.first) == cudaSuccess);
       CHECK(cudaStreamWaitEvent(s.second, s.event) == cudaSuccess);
       s.add(s.second, s.a, s.b);
     }},
    {"memory is given back while another stream uses it", "race: memory is given back",
     [](const Setting& s, bool mistaken) {
       float* const c = static_cast<float*>(allocate(kBytes, s.on(s.first)));
       s.order(s.first, s.second);
       s.fill(s.second, c);
       if (!mistaken) s.order(s.second, s.first);
       release(c, s.on(s.first));
     }},
    {"a graph reads what another stream writes", "race: global read",
     [](const Setting& s, bool mistaken) {
       const GraphExec graph =
           capture(s.on(s.first), [&](const Queue& noted) { s.add(noted.stream, s.a, s.b); });
       s.fill(s.second, s.a);
       if (!mistaken) s.order(s.second, s.first);
       launch(graph, s.on(s.first));
     }},
};

/** In a process of its own, for a mistake ends the device. */
void check_mistake(const Mistake& mistake, bool mistaken) {
  const pid_t child = fork();
  if (child == 0) {
    const Setting setting;
    mistake.run(setting, mistaken);
    const bool ended = cudaStreamSynchronize(setting.first) == cudaErrorLaunchFailure;
    const std::string report = ended ? simt::end_report() : "nothing";
    const bool named = !mistaken || report.find(mistake.report) != std::string::npos;
    if (ended != mistaken || !named)
      std::fprintf(stderr, "%s, mistaken: %d: %s\n", mistake.name, mistaken, report.c_str());
    std::_Exit(ended == mistaken && named ? 0 : 1);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/** Whoever has waited on the host knows, too. */
void check_host_waits() {
  const Setting s;
  s.fill(s.first, s.a);
  CHECK(cudaStreamSynchronize(s.first) == cudaSuccess);
  s.add(s.second, s.a, s.b);
  CHECK(cudaEventRecord(s.event, s.second) == cudaSuccess);
  CHECK(cudaEventSynchronize(s.event) == cudaSuccess);
  s.fill(s.first, s.a);
  CHECK(cudaGetLastError() == cudaSuccess);
}

/** A branch cannot be noted down: graphs here are chains. */
void check_capture() {
  const Setting s;
  bool broken = false;
  try {
    capture(s.on(s.first), [&](const Queue& noted) {
      CHECK(cudaStreamWaitEvent(noted.stream, s.event) == cudaErrorStreamCaptureUnsupported);
    });
  } catch (const fa::Error&) {
    broken = true;
  }
  CHECK(broken);
  cudaGetLastError();
}

int count(const std::vector<simt::Call>& calls, const std::string& function) {
  int found = 0;
  for (const simt::Call& call : calls) found += call.function == function;
  return found;
}

/** Launches that read what comes before them and write parts that what comes after them reads. */
void check_fork(int launches) {
  const Setting s;
  Branches branches(0);
  const Queue queue{s.properties, s.first, nullptr, &branches};
  for (int round = 0; round < 3; ++round) {
    float* const parts =
        static_cast<float*>(allocate(static_cast<size_t>(launches) * kBytes, queue));
    s.fill(s.first, s.a);
    simt::keep_calls();
    {
      Fork fork(queue, launches > 1);
      for (int i = 0; i < launches; ++i) s.add(fork.next().stream, s.a, parts + i * kFloats);
      fork.join();
    }
    const std::vector<simt::Call> calls = simt::take_calls();
    const int beside = launches - 1;
    CHECK(count(calls, "cudaEventRecord") == (beside > 0 ? 1 + beside : 0));
    CHECK(count(calls, "cudaStreamWaitEvent") == 2 * beside);
    CHECK(count(calls, "cudaStreamSynchronize") == 0);
    // Made for the first call that has launches side by side.
    const int made = round == 0 && beside > 0 ? Branches::kMost : 0;
    CHECK(count(calls, "cudaStreamCreateWithPriority") == made);
    for (int i = 0; i < launches; ++i) s.add(s.first, parts + i * kFloats, s.b);
    release(parts, queue);
  }
  CHECK(cudaStreamSynchronize(s.first) == cudaSuccess);
}

/** Launches follow each other on the stream of a queue that has no branches. */
void check_without_branches() {
  const Setting s;
  simt::keep_calls();
  {
    const Queue queue = s.on(s.first);
    Fork fork(queue, true);
    for (int i = 0; i < 3; ++i) CHECK(fork.next().stream == s.first);
    fork.join();
  }
  CHECK(simt::take_calls().empty());
}

/** A launch that fails leaves no work behind that uses memory which is given back next. */
void check_error() {
  const Setting s;
  Branches branches(0);
  const Queue queue{s.properties, s.first, nullptr, &branches};
  bool failed = false;
  try {
    float* const parts = static_cast<float*>(allocate(kBytes, queue));
    const std::unique_ptr<float, std::function<void(float*)>> owner(
        parts, [&](float* memory) { release(memory, queue); });
    Fork fork(queue, true);
    s.fill(fork.next().stream, s.b);
    s.add(fork.next().stream, s.a, parts);
    launch(add_one, kMostBlocks + 1, kFloats, 0, fork.next(), Params{s.a, parts});
  } catch (const fa::Error& error) {
    failed = error.code() == fa::ErrorCode::kShape;
  }
  CHECK(failed && cudaStreamSynchronize(s.first) == cudaSuccess);
}

}  // namespace

int main() {
  setenv("FLASH_ATTENTION_SIMT_DEVICES", "sm80", 1);
  for (const Mistake& mistake : kMistakes)
    for (const bool mistaken : {false, true}) check_mistake(mistake, mistaken);
  check_host_waits();
  check_capture();
  for (const int launches : {1, 2, 3}) check_fork(launches);
  check_without_branches();
  check_error();
  std::printf("branches: passed\n");
}
