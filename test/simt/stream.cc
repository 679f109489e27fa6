// The CUDA stream on the SIMT executor: order, transfers, out of memory, a kernel that ends its
// device, shutdown with work in flight. Attention itself is left out.
#include "core/stream.h"

#include <cuda.h>

#include <cmath>
#include <cstdlib>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "../native/check.h"
#include "core/transfer.h"
#include "cuda/base/execution.h"
#include "cuda/runtime/backend.h"
#include "cuda/runtime/plan.h"
#include "simt/call_log.h"

namespace fa {

void ops::Attention::run(cuda::Execution&) const {}
void ops::AttentionBackward::run(cuda::Execution&) const {}
void ops::ReplayDecode::run(cuda::Execution&) const {}

}  // namespace fa

namespace fa::cuda {

AttentionPlan plan_attention(const AttentionProblem&, const cudaDeviceProp&) { return {}; }
size_t decode_list_bytes(const AttentionProblem&, const cudaDeviceProp&) { return 0; }

}  // namespace fa::cuda

namespace {

using namespace fa;
using StreamPointer = std::unique_ptr<Stream>;

constexpr size_t kMemory = size_t{64} << 20;

StreamPointer open(const char* device = "simt:sm80") {
  return std::make_unique<Stream>(cuda::open_backend(device, Priority::kNormal));
}

TensorRef new_tensor(Stream& stream, std::initializer_list<int64_t> shape,
                     DType dtype = DType::kFloat32) {
  TensorRef tensor;
  tensor.view = contiguous_view(nullptr, dtype, shape);
  tensor.storage =
      stream.allocate(static_cast<size_t>(tensor.view.size()) * dtype_size(tensor.view.dtype));
  tensor.view.data = tensor.storage->data();
  return tensor;
}

void fill_zero(Stream& stream, const TensorRef& tensor) {
  stream.enqueue(ops::FillZero{.target = tensor.view}, {{}, {tensor.storage}});
}

void fill_normal(Stream& stream, const TensorRef& tensor, uint64_t seed) {
  stream.enqueue(ops::FillNormal{.target = tensor.view, .seed = seed}, {{}, {tensor.storage}});
}

void convert(Stream& stream, const std::shared_ptr<Storage>& storage, const View& source,
             const TensorRef& target) {
  stream.enqueue(ops::Convert{.source = source, .target = target.view},
                 {{storage}, {target.storage}});
}

/** Enqueues a read and waits for it; the failure of whatever went wrong before. */
Failure read(Stream& stream, const TensorRef& tensor, std::vector<float>& values) {
  values.assign(static_cast<size_t>(tensor.view.size()), -1);
  const auto host = std::make_shared<HostStorage>(&stream, values.size() * sizeof(float));
  stream.enqueue(
      ops::Download{.source = tensor.view, .dtype = DType::kFloat32, .host = host->data()},
      {{tensor.storage}, {host}});
  std::promise<void> done;
  stream.notify([&done] { done.set_value(); });
  done.get_future().wait();
  const auto* read = static_cast<const float*>(host->host_data());
  std::copy(read, read + values.size(), values.begin());
  return host->failure();
}

std::vector<float> ramp(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 1021) - 510;
  return values;
}

void check_order_and_transfer() {
  const StreamPointer stream = open(), other = open("simt:sm90");
  // More than the staging ring holds, so that pieces of it are used again.
  const std::vector<float> values = ramp(6'000'000);
  const int64_t count = static_cast<int64_t>(values.size());
  TensorRef a = new_tensor(*stream, {count}), b = new_tensor(*stream, {count}, DType::kBFloat16);
  stream->upload(values.data(), DType::kFloat32, a);
  CHECK(a.storage->host_written_by == 0 && a.storage->host_data() == nullptr);
  convert(*stream, a.storage, a.view, b);
  CHECK(b.storage->written_by == stream->last_enqueued());
  a = {};  // tasks keep what they need
  TensorRef c = new_tensor(*other, {count});
  transfer(b, *stream, c);
  b = {};
  std::vector<float> back;
  CHECK(read(*other, c, back) == nullptr);
  for (size_t i = 0; i < values.size(); ++i) {
    const float rounded = bfloat16_to_float(float_to_bfloat16(values[i]));
    CHECK(back[i] == rounded);
  }
  stream->wait(stream->last_enqueued());
  CHECK(stream->completed(stream->last_enqueued()));

  TensorRef indices = new_tensor(*stream, {3}, DType::kInt32);
  const int32_t raw[3] = {0, 5, 9};
  stream->upload(raw, DType::kInt32, indices);
  CHECK(static_cast<const int32_t*>(indices.storage->host_data())[1] == 5);
}

/**
 * What runs no kernel, from several environments at once: for ThreadSanitizer, which cannot follow
 * the executor's fibres.
 */
void check_copies() {
  const std::vector<float> values = ramp(1'300'000);
  const int64_t count = static_cast<int64_t>(values.size());
  std::vector<std::thread> environments;
  for (int e = 0; e < 3; ++e) {
    environments.emplace_back([&] {
      const StreamPointer stream = open(), other = open("simt:sm90");
      for (int round = 0; round < 4; ++round) {
        TensorRef a = new_tensor(*stream, {count}), b = new_tensor(*other, {count});
        TensorRef c = new_tensor(*stream, {count});
        stream->upload(values.data(), DType::kFloat32, a);
        transfer(a, *stream, b);
        transfer(b, *other, c);
        a = b = {};
        TensorRef zeros = new_tensor(*stream, {count});
        fill_zero(*stream, zeros);
        std::vector<float> back;
        CHECK(read(*stream, c, back) == nullptr && back == values);
        other->wait(other->last_enqueued());
      }
      TensorRef late = new_tensor(*stream, {count});
      stream->upload(values.data(), DType::kFloat32, late);
      transfer(late, *stream, new_tensor(*other, {count}));
      stream->shutdown();
    });
  }
  for (std::thread& environment : environments) environment.join();
}

void check_out_of_memory() {
  const StreamPointer stream = open();
  CHECK(throws(ErrorCode::kOutOfMemory, [&] { stream->allocate(size_t{1} << 40); }));
  CHECK(throws(ErrorCode::kOutOfMemory, [&] { stream->allocate(kMemory + 1); }));
  TensorRef most = new_tensor(*stream, {static_cast<int64_t>(kMemory / 4 / 4 * 3)});
  CHECK(throws(ErrorCode::kOutOfMemory, [&] { stream->allocate(kMemory / 2); }));
  // What a task holds is there again once it has run: binding/new_tensor.cpp waits for that.
  fill_zero(*stream, most);
  most = {};
  stream->wait(stream->last_enqueued());
  CHECK(stream->allocate(kMemory / 2) != nullptr);
  // A task that runs out of scratch fails alone.
  TensorRef wide = new_tensor(*stream, {static_cast<int64_t>(kMemory / 4 / 2)});
  fill_zero(*stream, wide);
  wide.view.strides[0] = 0;  // is gathered for the read
  wide.view.shape[0] = static_cast<int64_t>(kMemory / 4 / 4 * 3);
  std::vector<float> values;
  const Failure failure = read(*stream, wide, values);
  CHECK(failure && failure->code() == ErrorCode::kOutOfMemory);
  wide.view.shape[0] = 100;
  CHECK(read(*stream, wide, values) == nullptr && values[99] == 0);
}

void check_threads() {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      const StreamPointer stream = open();
      for (int round = 0; round < 10; ++round) {
        TensorRef a = new_tensor(*stream, {1000});
        fill_normal(*stream, a, static_cast<uint64_t>(t));
        std::vector<float> values;
        CHECK(read(*stream, a, values) == nullptr);
        CHECK(std::isfinite(values[999]) && values[999] != -1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void check_shutdown() {
  TensorRef kept;
  for (int round = 0; round < 20; ++round) {
    const StreamPointer stream = open();
    TensorRef a = new_tensor(*stream, {200'000});
    int notified = 0;
    for (int i = 0; i < 5; ++i) {
      fill_normal(*stream, a, 1);
      stream->notify([&notified] { ++notified; });
    }
    stream->shutdown();
    CHECK(notified == 5);
    CHECK(stream->completed(stream->last_enqueued()));
    stream->shutdown();
    stream->wait(stream->last_enqueued());
    stream->notify([&notified] { ++notified; });
    CHECK(notified == 6);
    CHECK(throws(ErrorCode::kCancelled, [&] { fill_zero(*stream, a); }));
    kept = a;  // freed when the stream is gone
  }
}

/**
 * A process that uses one device has a context on no other: it would take memory there, or fail
 * where that device belongs to somebody else. Before any call has been about the first device.
 */
void check_no_other_context() {
  const auto has_context = [](int device) {
    unsigned flags = 0;
    int active = -1;
    CHECK(cuDevicePrimaryCtxGetState(device, &flags, &active) == CUDA_SUCCESS);
    return active != 0;
  };
  {
    const StreamPointer stream = open("simt:sm90");
    const TensorRef a = new_tensor(*stream, {1000});
    fill_zero(*stream, a);
    std::vector<float> back;
    CHECK(read(*stream, a, back) == nullptr && back[999] == 0);
  }
  CHECK(has_context(1) && !has_context(0));
}

/** What belongs to a device is made and freed with that device current, on any thread. */
void check_current_device() {
  CHECK(cudaSetDevice(0) == cudaSuccess);
  const auto check_calls = [] {
    int device = -1, frees = 0;
    CHECK(cudaGetDevice(&device) == cudaSuccess && device == 0);
    for (const simt::Call& call : simt::take_calls()) {
      if (call.function == "cudaSetDevice") continue;
      CHECK(call.current == 1 && call.device == 1);
      frees += call.function == "cudaFreeAsync" || call.function == "cudaFreeHost";
    }
    return frees;
  };
  simt::keep_calls();
  StreamPointer stream = open("simt:sm90");
  TensorRef a = new_tensor(*stream, {1000}), b = new_tensor(*stream, {1000});
  const std::vector<float> values = ramp(1000);
  stream->upload(values.data(), DType::kFloat32, a);
  std::vector<float> back;
  CHECK(read(*stream, a, back) == nullptr && back == values);
  a = {};
  CHECK(check_calls() == 1);
  // As JavaScript does when it collects, after its environment's end and in another one's tasks.
  simt::keep_calls();
  stream.reset();
  b = {};
  CHECK(check_calls() == 3);  // b, the staging ring, and what counts the tiles of a kernel
  const StreamPointer other = open();
  TensorRef c = new_tensor(*other, {1000});
  fill_zero(*other, c);
  CHECK(read(*other, c, back) == nullptr && back[999] == 0);
}

/** What is freed stays with the process up to the limit: a sixteenth of the memory. */
void check_pool() {
  const auto use = [] {
    for (const PoolUse& pool : cuda::pools())
      if (pool.device == "simt:sm80") return pool;
    return PoolUse{};
  };
  const StreamPointer stream = open();
  stream->wait(stream->last_enqueued());
  const uint64_t before = use().used;
  CHECK(use().limit == kMemory / 16);
  TensorRef kept = new_tensor(*stream, {1 << 20}), freed = new_tensor(*stream, {1 << 22});
  fill_zero(*stream, kept);
  CHECK(use().used == before + (size_t{20} << 20));
  freed = {};
  CHECK(use().used == before + (size_t{4} << 20) && use().reserved >= before + (size_t{20} << 20));
  std::vector<float> values;
  CHECK(read(*stream, kept, values) == nullptr);  // waits
  CHECK(use().reserved <= use().used + kMemory / 16);
  CHECK(use().reserved >= use().used + kMemory / 32);
}

/** Comes last: the device is gone afterwards. */
void check_sticky_error() {
  const StreamPointer stream = open(), bystander = open();
  TensorRef a = new_tensor(*stream, {4, 4}), b = new_tensor(*stream, {4, 4});
  fill_zero(*stream, a);
  View beyond = a.view;
  beyond.strides[0] = 1 << 20;  // reads outside of every allocation
  convert(*stream, a.storage, beyond, b);
  std::vector<float> values;
  const Failure first = read(*stream, b, values);
  CHECK(first && first->code() == ErrorCode::kCuda);
  const std::string cause = first->what();
  CHECK(cause.find("simt:sm80") != std::string::npos);
  CHECK(cause.find("convert_kernel") != std::string::npos);
  // Each later call fails with the first cause, in every environment.
  CHECK(read(*stream, a, values)->what() == cause);
  TensorRef c;
  c.storage = std::make_shared<HostStorage>(bystander.get(), 64);
  for (Stream* each : {stream.get(), bystander.get()}) {
    try {
      each->allocate(16);
      CHECK(false);
    } catch (const Error& error) {
      CHECK(error.what() == cause && error.code() == ErrorCode::kCuda);
    }
    std::promise<void> done;
    each->notify([&done] { done.set_value(); });
    done.get_future().wait();
  }
  CHECK(throws(ErrorCode::kCuda, [] { open(); }));
  for (const DeviceInfo& device : cuda::devices()) {
    CHECK((device.name == "simt:sm80") == (device.reason == cause));
  }
}

}  // namespace

int main(int count, char** arguments) {
  setenv("FLASH_ATTENTION_SIMT_DEVICES", "sm80,sm90", 1);
  setenv("FLASH_ATTENTION_SIMT_MEMORY", std::to_string(kMemory).c_str(), 1);
  setenv("FLASH_ATTENTION_SIMT_CHECK", "off", 1);
  check_no_other_context();
  check_copies();
  if (count > 1 && std::string(arguments[1]) == "copies") return 0;
  CHECK(throws(ErrorCode::kDeviceUnavailable, [] { open("cuda:0"); }));
  check_order_and_transfer();
  check_out_of_memory();
  check_threads();
  check_shutdown();
  check_current_device();
  check_pool();
  check_sticky_error();
  CHECK(cuda::pools().size() == 1);  // of the device that works
  std::printf("the CUDA stream keeps its word\n");
}
