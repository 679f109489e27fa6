#include "simt/include/cuda_runtime.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

#include "simt/allocations.h"
#include "simt/call_log.h"
#include "simt/config.h"
#include "simt/devices.h"
#include "simt/global_memory.h"
#include "simt/graph.h"
#include "simt/include/cuda.h"
#include "simt/launch.h"
#include "simt/launch_log.h"
#include "simt/memory_pool.h"
#include "simt/report.h"
#include "simt/stream_order.h"
#include "simt/symbols.h"

struct SimtEvent {
  int device;
  std::chrono::steady_clock::time_point recorded;
  simt::EventOrder order;
};
struct SimtMemoryPool {
  int device;
};

namespace {

constexpr size_t kDefaultDynamicSharedBytes = 48 * 1024;

thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;

std::atomic<uint64_t> launches{0};

std::array<std::atomic<bool>, 64> contexts{};  // devices that a call has been about

std::mutex mutex;
std::map<std::pair<const void*, int>, size_t> dynamic_shared_limits;  // of a kernel on a device

cudaError_t note(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) last_error = error;
  return error;
}

/**
 * The result of a call to `device`, which nothing leads to success once a kernel has failed there.
 * It makes the device's context.
 */
cudaError_t on(int device, cudaError_t result = cudaSuccess) {
  if (static_cast<size_t>(device) >= simt::device_presets().size())
    return note(cudaErrorInvalidDevice);
  contexts.at(static_cast<size_t>(device)) = true;
  return note(simt::device_ended(device) ? cudaErrorLaunchFailure : result);
}

int device_of(cudaStream_t stream) { return stream ? stream->device : current_device; }

cudaError_t on(cudaStream_t stream, cudaError_t result = cudaSuccess) {
  return on(device_of(stream), result);
}

void log(const char* function, int device = current_device) {
  simt::log_call(function, current_device, device);
}

bool usable(cudaError_t status) { return status == cudaSuccess; }

const cudaDeviceProp& properties_of(int device) {
  return simt::device_presets()[static_cast<size_t>(device)];
}

size_t dynamic_shared_limit(const void* function) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = dynamic_shared_limits.find({function, current_device});
  return found == dynamic_shared_limits.end() ? kDefaultDynamicSharedBytes : found->second;
}

bool is_dependent(const cudaLaunchConfig_t& launch) {
  return std::any_of(launch.attrs, launch.attrs + launch.numAttrs,
                     [](const cudaLaunchAttribute& attribute) {
                       return attribute.id == cudaLaunchAttributeProgrammaticStreamSerialization &&
                              attribute.val.programmaticStreamSerializationAllowed != 0;
                     });
}

bool within(const dim3& size, const int (&limit)[3]) {
  return size.x > 0 && size.y > 0 && size.z > 0 && size.x <= static_cast<unsigned>(limit[0]) &&
         size.y <= static_cast<unsigned>(limit[1]) && size.z <= static_cast<unsigned>(limit[2]);
}

cudaError_t allocate(void** memory, size_t bytes, int device) {
  const cudaError_t status = on(device);
  if (!usable(status)) return status;
  *memory = nullptr;
  if (simt::allocated_global_bytes() + bytes > properties_of(device).totalGlobalMem)
    return note(cudaErrorMemoryAllocation);
  *memory = simt::allocate_global(bytes);
  return note(*memory ? cudaSuccess : cudaErrorMemoryAllocation);
}

bool checks_races() { return simt::Config::from_environment(0).check_races; }

void end_for_race(int device, const char* what, const char* met) {
  simt::end_device(device, simt::format("race: %s that work of another stream %s: no event is "
                                        "between them",
                                        what, met));
}

/** What the copy engine does to memory of the device. False when that ends it. */
bool access(int device, const char* what, const void* memory, size_t bytes, bool write) {
  const char* const met = simt::note_stream_access(memory, bytes, write);
  if (met) end_for_race(device, what, met);
  return !met;
}

/** In the order of `stream`; null: when all work of the device has ended. */
cudaError_t release(void* memory, int device, cudaStream_t stream) {
  if (memory) {
    const char* const met = simt::note_stream_free(stream, memory, simt::global_bytes(memory));
    if (met && checks_races()) end_for_race(device, "memory is given back", met);
  }
  if (memory && !simt::free_global(memory)) return note(cudaErrorInvalidValue);
  simt::pool_gave_back(memory);
  return on(device);
}

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};

constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
};

const ErrorText& text_of(cudaError_t error) {
  static constexpr ErrorText kUnknown = {cudaSuccess, "unrecognized error code",
                                         "unrecognized error code"};
  for (const ErrorText& each : kErrors)
    if (each.error == error) return each;
  return kUnknown;
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) { return text_of(error).name; }

const char* cudaGetErrorString(cudaError_t error) {
  const char* report = error == cudaErrorLaunchFailure ? simt::end_report() : nullptr;
  return report ? report : text_of(error).text;
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(simt::device_presets().size());
  return note(*count ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (static_cast<size_t>(device) >= simt::device_presets().size())
    return note(cudaErrorInvalidDevice);
  *properties = properties_of(device);
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  log(__func__, device);
  if (static_cast<size_t>(device) >= simt::device_presets().size())
    return note(cudaErrorInvalidDevice);
  current_device = device;
  return on(device);
}

cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return on(current_device);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  log(__func__);
  const cudaError_t status = on(current_device);
  if (usable(status)) *stream = new SimtStream{current_device, nullptr, {}};
  return status;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  log(__func__, stream->device);
  const cudaError_t status = on(stream);
  delete stream;
  return status;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  log(__func__, device_of(stream));
  if (simt::breaks_capture(stream)) return note(cudaErrorStreamCaptureUnsupported);
  if (stream) simt::note_observed(stream->order.ended);
  return on(stream);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  log(__func__, device_of(stream));
  if (simt::breaks_capture(stream)) return note(cudaErrorStreamCaptureUnsupported);
  simt::pool_synchronized(device_of(stream));
  if (stream) simt::note_observed(stream->order.ended);
  return on(stream);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  log(__func__);
  const cudaError_t status = on(current_device);
  if (usable(status)) *event = new SimtEvent{current_device, {}, {}};
  return status;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  log(__func__, event->device);
  const cudaError_t status = on(event->device);
  delete event;
  return status;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  log(__func__, device_of(stream));
  if (simt::breaks_capture(stream)) return note(cudaErrorStreamCaptureUnsupported);
  if (event->device != device_of(stream)) return note(cudaErrorInvalidResourceHandle);
  event->recorded =
      std::chrono::steady_clock::now();  // whatever was enqueued before has run already
  if (stream) simt::note_record(stream->order, event->order);
  return on(stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  log(__func__, device_of(stream));
  if (simt::breaks_capture(stream)) return note(cudaErrorStreamCaptureUnsupported);
  if (stream) simt::note_wait(stream->order, event->order);
  return on(stream);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  log(__func__, event->device);
  if (simt::breaks_capture()) return note(cudaErrorStreamCaptureUnsupported);
  simt::note_observed(event->order.ended);
  return on(event->device);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  log(__func__, event->device);
  if (simt::breaks_capture()) return note(cudaErrorStreamCaptureUnsupported);
  simt::pool_synchronized(event->device);
  simt::note_observed(event->order.ended);
  return on(event->device);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const auto elapsed = end->recorded - begin->recorded;
  *milliseconds = std::chrono::duration<float, std::milli>(elapsed).count();
  return on(end->device);
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  log(__func__);
  if (simt::breaks_capture()) return note(cudaErrorStreamCaptureUnsupported);
  return allocate(memory, bytes, current_device);
}

cudaError_t cudaFree(void* memory) {
  log(__func__);
  if (simt::breaks_capture()) return note(cudaErrorStreamCaptureUnsupported);
  return release(memory, current_device, nullptr);
}

cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t stream) {
  log(__func__, device_of(stream));
  if (simt::breaks_capture(stream)) return note(cudaErrorStreamCaptureUnsupported);
  const cudaError_t status = allocate(memory, bytes, device_of(stream));
  if (usable(status)) simt::pool_took(device_of(stream), *memory, bytes);
  return status;
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  log(__func__, device_of(stream));
  if (simt::breaks_capture(stream)) return note(cudaErrorStreamCaptureUnsupported);
  return release(memory, device_of(stream), stream);
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  log(__func__);
  if (simt::breaks_capture()) return note(cudaErrorStreamCaptureUnsupported);
  *memory = std::malloc(bytes);
  if (*memory) simt::pin(*memory, bytes);
  return on(current_device, *memory ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void* memory) {
  log(__func__);
  if (simt::breaks_capture()) return note(cudaErrorStreamCaptureUnsupported);
  simt::unpin(memory);
  std::free(memory);
  return on(current_device);
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  static std::map<int, SimtMemoryPool> pools;
  const cudaError_t status = on(device);
  if (!usable(status)) return status;
  const std::lock_guard<std::mutex> lock(mutex);
  *pool = &pools.try_emplace(device, SimtMemoryPool{device}).first->second;
  return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  log(__func__, pool->device);
  if (attribute != cudaMemPoolAttrReleaseThreshold) return note(cudaErrorInvalidValue);
  simt::set_release_threshold(pool->device, *static_cast<uint64_t*>(value));
  return on(pool->device);
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  log(__func__, pool->device);
  uint64_t& result = *static_cast<uint64_t*>(value);
  switch (attribute) {
    case cudaMemPoolAttrReleaseThreshold: result = simt::release_threshold(pool->device); break;
    case cudaMemPoolAttrReservedMemCurrent: result = simt::pool_use(pool->device).reserved; break;
    case cudaMemPoolAttrUsedMemCurrent: result = simt::pool_use(pool->device).used; break;
    default: return note(cudaErrorInvalidValue);
  }
  return on(pool->device);
}

cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  log(__func__, device_of(stream));
  const cudaError_t status = on(stream);
  if (!usable(status) || bytes == 0) return status;
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (to_device != simt::is_global(target, bytes) || from_device != simt::is_global(source, bytes))
    return note(cudaErrorInvalidValue);
  const void* const host = to_device ? source : target;
  if (to_device != from_device && !simt::is_pinned(host, bytes) && simt::breaks_capture(stream))
    return note(cudaErrorStreamCaptureUnsupported);
  const int device = device_of(stream);
  simt::run_or_capture(stream, [=] {
    // Memory of a graph may be gone by the time it runs.
    if ((to_device && !simt::is_global(target, bytes)) ||
        (from_device && !simt::is_global(source, bytes)))
      return simt::end_device(device, "a copy of a graph to or from memory that is free");
    const simt::StreamWork work(stream, checks_races());
    if (from_device && !access(device, "memory is copied", source, bytes, false)) return;
    if (to_device && !access(device, "memory is copied over", target, bytes, true)) return;
    std::memmove(target, source, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t stream) {
  log(__func__, device_of(stream));
  const cudaError_t status = on(stream);
  if (!usable(status) || bytes == 0) return status;
  if (!simt::is_global(target, bytes)) return note(cudaErrorInvalidValue);
  const int device = device_of(stream);
  simt::run_or_capture(stream, [=] {
    if (!simt::is_global(target, bytes))
      return simt::end_device(device, "a graph fills memory that is free");
    const simt::StreamWork work(stream, checks_races());
    if (!access(device, "memory is filled", target, bytes, true)) return;
    std::memset(target, value, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  log(__func__, device_of(stream));
  if (!stream || stream->capture) return note(cudaErrorInvalidValue);
  simt::begin_capture(*stream);
  return on(stream);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  log(__func__, device_of(stream));
  *graph = nullptr;
  if (!stream || !stream->capture) return note(cudaErrorInvalidValue);
  *graph = simt::end_capture(*stream);
  return on(stream, *graph ? cudaSuccess : cudaErrorStreamCaptureInvalidated);
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph,
                                          unsigned long long) {
  log(__func__);
  if (simt::breaks_capture()) return note(cudaErrorStreamCaptureUnsupported);
  *executable = new SimtGraphExec{*graph};
  return on(current_device);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  log(__func__, device_of(stream));
  if (simt::breaks_capture(stream)) return note(cudaErrorStreamCaptureUnsupported);
  const int device = device_of(stream);
  if (device != executable->graph.device) return note(cudaErrorInvalidValue);
  const simt::StreamWork work(stream, checks_races());
  for (const auto& node : executable->graph.nodes) {
    const cudaError_t status = on(device);
    if (!usable(status)) return status;
    node();
  }
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  log(__func__);
  delete executable;
  return on(current_device);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  log(__func__);
  delete graph;
  return on(current_device);
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned version,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  struct DriverFunction {
    const char* name;
    unsigned since;
    void* function;
  };
  static const DriverFunction functions[] = {
      {"cuTensorMapEncodeTiled", 12000, reinterpret_cast<void*>(cuTensorMapEncodeTiled)},
      {"cuDevicePrimaryCtxGetState", 7000, reinterpret_cast<void*>(cuDevicePrimaryCtxGetState)},
  };
  const auto* const found =
      std::find_if(std::begin(functions), std::end(functions),
                   [&](const DriverFunction& each) { return std::strcmp(symbol, each.name) == 0; });
  const bool known = found != std::end(functions);
  *function = known && version >= found->since ? found->function : nullptr;
  if (result)
    *result = *function ? cudaDriverEntryPointSuccess
              : known   ? cudaDriverEntryPointVersionNotSufficent
                        : cudaDriverEntryPointSymbolNotFound;
  return on(current_device);
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
  if (static_cast<size_t>(device) >= simt::device_presets().size()) return CUDA_ERROR_INVALID_VALUE;
  *flags = 0;
  *active = contexts.at(static_cast<size_t>(device));
  return CUDA_SUCCESS;
}

namespace simt {

cudaError_t function_set_attribute(const void* function, cudaFuncAttribute attribute, int value) {
  log_call("cudaFuncSetAttribute", current_device, current_device);
  const cudaError_t status = on(current_device);
  if (!usable(status)) return status;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      static_cast<size_t>(value) > properties_of(current_device).sharedMemPerBlockOptin)
    return note(cudaErrorInvalidValue);
  const std::lock_guard<std::mutex> lock(mutex);
  dynamic_shared_limits[{function, current_device}] = static_cast<size_t>(value);
  return cudaSuccess;
}

cudaError_t function_get_attributes(cudaFuncAttributes* attributes, const void* function) {
  log_call("cudaFuncGetAttributes", current_device, current_device);
  *attributes = {};
  attributes->maxDynamicSharedSizeBytes = static_cast<int>(dynamic_shared_limit(function));
  const cudaDeviceProp& properties = properties_of(current_device);
  attributes->maxThreadsPerBlock = properties.maxThreadsPerBlock;
  attributes->binaryVersion = 10 * properties.major + properties.minor;
  attributes->ptxVersion = code_version(current_device);
  return on(current_device);
}

cudaError_t launch_kernel(const void* function, const cudaLaunchConfig_t& launch,
                          const char* called, const std::function<void()>& thread_body) {
  const dim3 grid = launch.grid, block = launch.block;
  const size_t shared_bytes = launch.dynamicSmemBytes;
  const int device = device_of(launch.stream);
  const std::string name = function_name(function);
  log_call(called, current_device, device, name.c_str());
  const cudaError_t status = on(device);
  if (!usable(status)) return status;
  if (device != current_device) return note(cudaErrorInvalidResourceHandle);
  const cudaDeviceProp& properties = properties_of(device);
  if (!within(grid, properties.maxGridSize) || !within(block, properties.maxThreadsDim) ||
      block.x * block.y * block.z > static_cast<unsigned>(properties.maxThreadsPerBlock))
    return note(cudaErrorInvalidConfiguration);
  if (shared_bytes > dynamic_shared_limit(function)) return note(cudaErrorInvalidValue);
  const int version = code_version(device);
  const bool dependent = is_dependent(launch);
  if (dependent && version < 90) return note(cudaErrorInvalidValue);
  run_or_capture(launch.stream, [=] {
    Config config = Config::from_environment(launches++);
    config.compute_capability = 10 * properties.major + properties.minor;
    config.code_version = version;
    config.dependent = dependent;
    const StreamWork work(launch.stream, config.check_races);
    const Report report = run_grid(name, grid, block, shared_bytes, config, thread_body);
    log_report(report);
    // As on a GPU, the launch has succeeded; the calls after it say what came of it.
    if (!report.ok()) end_device(device, report.error);
  });
  return cudaSuccess;
}

}  // namespace simt
