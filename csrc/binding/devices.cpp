#include "binding/devices.h"

#include <string>
#include <vector>

#include "core/error.h"
#include "cpu/ops.h"
#include "cpu/system.h"
#include "cpu/thread_pool.h"

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

/** What the settings of this process make of the CPU; `reason` says why nothing, if so. */
struct Cpu {
  std::string isa, reason;
  int threads = 0;
};

Cpu cpu_in_use() {
  Cpu cpu;
  try {
    cpu.isa = cpu::isa();
    cpu.threads = cpu::num_threads();
  } catch (const Error& error) {
    cpu.reason = error.what();
  }
  return cpu;
}

}  // namespace

Napi::Value info(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  uint32_t napi_version = 0;
  napi_get_version(env, &napi_version);
  const Cpu cpu = cpu_in_use();
  Napi::Object result = Napi::Object::New(env);
  result.Set("version", FLASH_ATTENTION_VERSION);
  result.Set("napiVersion", napi_version);
  result.Set("compiler", compiler());
  result.Set("build", build());
  result.Set("cuda", Napi::Boolean::New(env, false));
  result.Set("isa", cpu.isa);
  result.Set("isaLevels", strings(env, cpu::isa_levels()));
  result.Set("threads", cpu.threads);
  return result;
}

Napi::Value devices(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  const Cpu in_use = cpu_in_use();
  Napi::Object cpu = Napi::Object::New(env);
  cpu.Set("name", "cpu");
  cpu.Set("available", Napi::Boolean::New(env, in_use.reason.empty()));
  if (!in_use.reason.empty()) cpu.Set("reason", in_use.reason);
  const std::string model = cpu::cpu_model();
  if (!model.empty()) cpu.Set("model", model);
  cpu.Set("memory", static_cast<double>(cpu::physical_memory()));
  cpu.Set("capability", in_use.isa);
  cpu.Set("threads", in_use.threads);
  cpu.Set("kernels", strings(env, {"cpu.forward", "cpu.decode"}));

  Napi::Object cuda = Napi::Object::New(env);
  cuda.Set("name", "cuda:0");
  cuda.Set("available", Napi::Boolean::New(env, false));
  cuda.Set("reason", kNoCudaReason);
  cuda.Set("kernels", strings(env, {}));

  Napi::Array result = Napi::Array::New(env, 2);
  result.Set(uint32_t{0}, cpu);
  result.Set(uint32_t{1}, cuda);
  return result;
}

}  // namespace fa::binding
