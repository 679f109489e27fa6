#include "cuda/base/graph.h"

#include "cuda/base/error.h"

namespace fa::cuda {

namespace {

constexpr int kLeastPriority = 0;  // as CUDA numbers them

using Graph = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, decltype(&cudaGraphDestroy)>;

/** A stream that captures while this object lives. */
class CaptureStream {
 public:
  CaptureStream() {
    FA_CUDA(cudaStreamCreateWithPriority, &stream_, cudaStreamNonBlocking, kLeastPriority);
    const cudaError_t status = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal);
    capturing_ = status == cudaSuccess;
    if (!capturing_) destroy();
    check(status, "cudaStreamBeginCapture");
  }
  ~CaptureStream() {
    cudaGraph_t graph = nullptr;
    if (capturing_ && cudaStreamEndCapture(stream_, &graph) == cudaSuccess) cudaGraphDestroy(graph);
    destroy();
  }
  CaptureStream(const CaptureStream&) = delete;
  CaptureStream& operator=(const CaptureStream&) = delete;

  cudaStream_t get() const { return stream_; }

  Graph end() {
    cudaGraph_t graph = nullptr;
    capturing_ = false;
    FA_CUDA(cudaStreamEndCapture, stream_, &graph);
    return {graph, cudaGraphDestroy};
  }

 private:
  void destroy() {
    cudaStreamDestroy(stream_);
    cudaGetLastError();
  }

  cudaStream_t stream_ = nullptr;
  bool capturing_ = false;
};

}  // namespace

GraphExec capture(const Queue& queue, const std::function<void(const Queue&)>& enqueue) {
  CaptureStream stream;
  enqueue({queue.properties, stream.get()});
  const Graph graph = stream.end();
  cudaGraphExec_t executable = nullptr;
  FA_CUDA(cudaGraphInstantiateWithFlags, &executable, graph.get(), 0);
  return {executable, [](cudaGraphExec_t each) {
            cudaGraphExecDestroy(each);
            cudaGetLastError();
          }};
}

void launch(const GraphExec& graph, const Queue& queue) {
  FA_CUDA(cudaGraphLaunch, graph.get(), queue.stream);
}

}  // namespace fa::cuda
