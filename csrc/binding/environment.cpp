#include "binding/environment.h"

#include "binding/arguments.h"
#include "binding/devices.h"
#include "cpu/ops.h"
#include "cpu/storage.h"
#include "cpu/stream.h"
#include "cpu/thread_pool.h"

namespace fa::binding {

Environment::Environment(Napi::Env env)
    : env_(env),
      array_buffer_(Napi::Persistent(env.Global().Get("ArrayBuffer").As<Napi::Function>())),
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
  if (environment.cpu_) environment.cpu_->shutdown();
  environment.promises_.close();
}

Stream& Environment::stream(const std::string& device) {
  if (device == "cpu") {
    if (!cpu_) {
      // What these say about the settings of this process belongs to this call, not to the first
      // task that depends on them.
      cpu::num_threads();
      cpu::isa();
      cpu_ = std::make_unique<cpu::CpuStream>();
    }
    return *cpu_;
  }
  if (device == "cuda" || device.rfind("cuda:", 0) == 0) {
    throw Error(ErrorCode::kDeviceUnavailable, "device",
                "Device '" + device + "' is not available: " + kNoCudaReason);
  }
  reject(ErrorCode::kDevice, "device", "the name of a device, such as 'cpu',",
         "'" + device.substr(0, 64) + "'");
}

Napi::ArrayBuffer Environment::array_buffer(size_t bytes) {
  // napi_create_arraybuffer ends the process when there is no memory; the constructor throws.
  cpu::expect_possible(bytes);
  try {
    return array_buffer_.New({Napi::Number::New(env_, static_cast<double>(bytes))})
        .As<Napi::ArrayBuffer>();
  } catch (const Napi::Error&) {
    throw Error(ErrorCode::kOutOfMemory, "",
                "Cannot allocate an ArrayBuffer of " + std::to_string(bytes) + " bytes");
  }
}

}  // namespace fa::binding
