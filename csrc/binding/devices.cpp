#include "binding/devices.h"

#include <string>
#include <vector>

#include "core/device.h"
#include "core/error.h"
#include "core/system.h"
#include "cpu/ops.h"
#include "cpu/thread_pool.h"
#include "cuda/runtime/backend.h"

#ifndef FLASH_ATTENTION_VERSION  // given by the build
#define FLASH_ATTENTION_VERSION "0.0.0"
#endif
#ifndef FLASH_ATTENTION_SANITIZE
#define FLASH_ATTENTION_SANITIZE ""
#endif

namespace fa::binding {

namespace {

std::string compiler() {
#if defined(__clang__)
  return "Clang " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__);
#elif defined(__GNUC__)
  return "GCC " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__);
#else
  return "unknown";
#endif
}

std::string build() {
#ifdef NDEBUG
  const std::string kind = "release";
#else
  const std::string kind = "debug";
#endif
  const std::string sanitizers = FLASH_ATTENTION_SANITIZE;
  return sanitizers.empty() ? kind : kind + "+" + sanitizers;
}

Napi::Array strings(Napi::Env env, const std::vector<std::string>& texts) {
  Napi::Array result = Napi::Array::New(env, texts.size());
  for (uint32_t i = 0; i < texts.size(); ++i) result.Set(i, texts[i]);
  return result;
}

/** What the settings of this process make of the CPU. */
DeviceInfo cpu_device() {
  DeviceInfo cpu;
  cpu.name = "cpu";
  cpu.model = cpu_model();
  cpu.memory = physical_memory();
  try {
    cpu.capability = cpu::isa();
    cpu.threads = cpu::num_threads();
  } catch (const Error& error) {
    cpu.reason = error.what();
  }
  // The names that cpu/explain.cpp gives.
  cpu.kernels = {"cpu.forward", "cpu.decode", "cpu.backward"};
  return cpu;
}

Napi::Object to_javascript(Napi::Env env, const DeviceInfo& device) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("name", device.name);
  result.Set("available", Napi::Boolean::New(env, device.reason.empty()));
  if (!device.reason.empty()) result.Set("reason", device.reason);
  if (!device.model.empty()) result.Set("model", device.model);
  if (device.memory > 0) result.Set("memory", static_cast<double>(device.memory));
  if (!device.capability.empty()) result.Set("capability", device.capability);
  if (device.threads > 0) result.Set("threads", device.threads);
  result.Set("kernels", strings(env, device.kernels));
  if (!device.kernel_image.empty()) result.Set("kernelImage", device.kernel_image);
  return result;
}

}  // namespace

Napi::Value info(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  uint32_t napi_version = 0;
  napi_get_version(env, &napi_version);
  const DeviceInfo cpu = cpu_device();
  Napi::Object result = Napi::Object::New(env);
  result.Set("version", FLASH_ATTENTION_VERSION);
  result.Set("napiVersion", napi_version);
  result.Set("compiler", compiler());
  result.Set("build", build());
  result.Set("cuda", Napi::Boolean::New(env, cuda::built()));
  result.Set("isa", cpu.capability);
  result.Set("isaLevels", strings(env, cpu::isa_levels()));
  result.Set("threads", cpu.threads);
  return result;
}

Napi::Value devices(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  const std::vector<DeviceInfo> others = cuda::devices();
  Napi::Array result = Napi::Array::New(env, 1 + others.size());
  result.Set(uint32_t{0}, to_javascript(env, cpu_device()));
  for (uint32_t i = 0; i < others.size(); ++i) result.Set(1 + i, to_javascript(env, others[i]));
  return result;
}

}  // namespace fa::binding
