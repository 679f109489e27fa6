#include "binding/trace.h"

#include <memory>
#include <vector>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "cpu/trace.h"

namespace fa::binding {

namespace {

constexpr int64_t kMaxCapacity = int64_t{1} << 24;

Napi::Array loops_of(Napi::Env env, const cpu::Trace& trace) {
  Napi::Array result = Napi::Array::New(env);
  uint32_t at = 0;
  for (const cpu::TracedLoop& loop : trace.loops()) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("kind", loop.kind);
    entry.Set("items", static_cast<double>(loop.items));
    result.Set(at++, entry);
  }
  return result;
}

}  // namespace

Napi::Value start_trace(const Napi::CallbackInfo& call) {
  const int64_t capacity = to_integer(call[0], "capacity", 1, kMaxCapacity);
  Environment::of(call.Env()).start_trace(static_cast<size_t>(capacity));
  return call.Env().Undefined();
}

Napi::Value stop_trace(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  Environment& environment = Environment::of(env);
  const std::shared_ptr<const cpu::Trace> trace = environment.stop_trace();
  const auto lanes = trace->lanes();
  Napi::Array threads = Napi::Array::New(env, lanes.size());
  std::vector<size_t> sizes;
  size_t events = 0;
  for (const cpu::TraceLane* lane : lanes) {
    threads.Set(static_cast<uint32_t>(sizes.size()), lane->pool_thread());
    sizes.push_back(lane->size());
    events += sizes.back();
  }
  constexpr size_t kColumns = 5;
  Napi::ArrayBuffer buffer = environment.array_buffer(events * kColumns * sizeof(double));
  double* to = static_cast<double*>(buffer.Data());
  for (size_t thread = 0; thread < lanes.size(); ++thread) {
    for (size_t i = 0; i < sizes[thread]; ++i) {
      const cpu::TraceEvent& event = (*lanes[thread])[i];
      *to++ = static_cast<double>(thread);
      *to++ = static_cast<double>(event.loop);
      *to++ = static_cast<double>(event.item);
      *to++ = static_cast<double>(event.begin);
      *to++ = static_cast<double>(event.end);
    }
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("threads", threads);
  result.Set("loops", loops_of(env, *trace));
  result.Set("events", buffer);
  result.Set("dropped", static_cast<double>(trace->dropped()));
  result.Set("duration", static_cast<double>(trace->now()));
  return result;
}

}  // namespace fa::binding
