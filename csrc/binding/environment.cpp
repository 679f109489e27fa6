#include "binding/environment.h"

#include <cstring>
#include <utility>

#include "binding/arguments.h"
#include "core/system.h"
#include "cpu/cpu_backend.h"
#include "cpu/storage.h"
#include "cpu/thread_pool.h"
#include "cuda/runtime/backend.h"

namespace fa::binding {

Environment::Environment(Napi::Env env)
    : env_(env),
      array_buffer_(Napi::Persistent(env.Global().Get("ArrayBuffer").As<Napi::Function>())),
      description_(Napi::Persistent(Napi::Symbol::New(env, "flash-attention.description"))),
      promises_(env) {}

void Environment::open(Napi::Env env) {
  auto environment = std::make_unique<Environment>(env);
  // Hooks run in reverse order: this one before that of the thread-safe function in `promises_`.
  // The destructor would be too late: finalizers of JavaScript objects come before it, and until
  // our threads stand still they may write into memory of those.
  napi_add_env_cleanup_hook(env, &Environment::close, environment.get());
  env.SetInstanceData<Environment>(environment.release());
}

Environment& Environment::of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

void Environment::close(void* data) {
  Environment& environment = *static_cast<Environment*>(data);
  if (environment.trace_) cpu::Trace::stop(environment.trace_);
  // One may wait for a task of another: none begins any more before the first is joined.
  for (auto& [key, stream] : environment.streams_) stream->close();
  for (auto& [key, stream] : environment.streams_) stream->shutdown();
  environment.promises_.close();
}

Stream& Environment::stream(const std::string& device) {
  const auto found = streams_.find({device, priority_});
  if (found != streams_.end()) return *found->second;
  std::unique_ptr<Backend> backend;
  if (device == "cpu") {
    // What these say about the settings of this process belongs to this call, not to the first
    // task that depends on them.
    cpu::num_threads();
    cpu::isa();
    backend = std::make_unique<cpu::CpuBackend>(priority_);
  } else if (device.rfind("cuda:", 0) == 0 || device.rfind("simt:", 0) == 0) {
    backend = cuda::open_backend(device, priority_);
  } else {
    refuse(ErrorCode::kDevice, "device", "the name of a device, such as 'cpu' or 'cuda:0',",
           "'" + device.substr(0, 64) + "'");
  }
  auto stream = std::make_unique<Stream>(std::move(backend), priority_);
  stream->stop_on(stop_on_);
  return *streams_.emplace(std::pair(device, priority_), std::move(stream)).first->second;
}

Stream& Environment::stream(const Storage& input) {
  Stream& own = *input.stream();
  return own.priority() == priority_ ? own : stream(own.device());
}

std::vector<Stream*> Environment::streams(const std::string& device) {
  std::vector<Stream*> result;
  for (auto& [key, stream] : streams_) {
    if (key.first == device) result.push_back(stream.get());
  }
  if (result.empty()) result.push_back(&stream(device));
  return result;
}

void Environment::stop_on(const AbortFlag& flag) {
  stop_on_ = flag;
  for (auto& [key, stream] : streams_) stream->stop_on(flag);
}

std::shared_ptr<const cpu::Trace> Environment::stop_trace() {
  if (!trace_) throw Error(ErrorCode::kState, "", "There is no trace to stop");
  cpu::Trace::stop(trace_);
  return std::exchange(trace_, nullptr);
}

Napi::ArrayBuffer Environment::array_buffer(size_t bytes) {
  // napi_create_arraybuffer ends the process when there is no memory; the constructor throws.
  cpu::expect_possible(bytes);
  try {
    auto buffer = array_buffer_.New({Napi::Number::New(env_, static_cast<double>(bytes))})
                      .As<Napi::ArrayBuffer>();
    ask_for_huge_pages(buffer.Data(), bytes);
    return buffer;
  } catch (const Napi::Error&) {
    throw Error(ErrorCode::kOutOfMemory, "",
                "Cannot allocate an ArrayBuffer of " + std::to_string(bytes) + " bytes");
  }
}

Napi::ArrayBuffer Environment::array_buffer_over(const std::shared_ptr<Storage>& storage) {
  using Owner = std::shared_ptr<Storage>;
  const auto free = [](napi_env, void*, void* owner) { delete static_cast<Owner*>(owner); };
  Owner* const owner = new Owner(storage);
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(
      env_, storage->data(), storage->bytes(), free, owner, &buffer);
  if (status == napi_ok) return Napi::ArrayBuffer(env_, buffer);
  // This failure comes from behind the point where Node has taken the owner over and calls `free`;
  // all others from before.
  if (status != napi_generic_failure) delete owner;
  Napi::ArrayBuffer copy = array_buffer(storage->bytes());
  std::memcpy(copy.Data(), storage->data(), storage->bytes());
  return copy;
}

}  // namespace fa::binding
