// What Node calls when it loads the addon, once per environment.
#include "binding/append.h"
#include "binding/attention.h"
#include "binding/call_settings.h"
#include "binding/decode_graph.h"
#include "binding/devices.h"
#include "binding/dynamic_conv.h"
#include "binding/environment.h"
#include "binding/errors.h"
#include "binding/napi.h"
#include "binding/quantize.h"
#include "binding/read.h"
#include "binding/step.h"
#include "binding/step_attention.h"
#include "binding/step_options.h"
#include "binding/tensors.h"
#include "binding/trace.h"
#include "core/system.h"

namespace fa::binding {

namespace {

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
void add(Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<guarded<function>>(exports.Env(), name));
}

Napi::Object load(Napi::Env env, Napi::Object exports) {
  stay_loaded();
  Environment::open(env);
  exports.Set("description", Environment::of(env).description());
  add<info>(exports, "info");
  add<devices>(exports, "devices");
  add<memory>(exports, "memory");
  add<empty>(exports, "empty");
  add<zeros>(exports, "zeros");
  add<randn>(exports, "randn");
  add<from_data>(exports, "fromData");
  add<view>(exports, "view");
  add<convert>(exports, "convert");
  add<concat>(exports, "concat");
  add<describe>(exports, "describe");
  add<read>(exports, "read");
  add<take>(exports, "take");
  add<dispose>(exports, "dispose");
  add<attention>(exports, "attention");
  add<attention_backward>(exports, "attentionBackward");
  add<plan>(exports, "plan");
  add<merge_states>(exports, "mergeStates");
  add<dynamic_conv>(exports, "dynamicConv");
  add<append>(exports, "append");
  add<rotate>(exports, "rotate");
  add<new_step>(exports, "newStep");
  add<end_step>(exports, "endStep");
  add<step_options>(exports, "stepOptions");
  add<step_attention>(exports, "stepAttention");
  add<new_decode_graph>(exports, "newDecodeGraph");
  add<replay_decode>(exports, "replayDecode");
  add<end_decode_graph>(exports, "endDecodeGraph");
  add<quantize>(exports, "quantize");
  add<dequantize>(exports, "dequantize");
  add<synchronize>(exports, "synchronize");
  add<lap>(exports, "lap");
  add<start_trace>(exports, "startTrace");
  add<stop_trace>(exports, "stopTrace");
  add<new_abort_flag>(exports, "newAbortFlag");
  add<abort>(exports, "abort");
  add<stop_on>(exports, "stopOn");
  add<prioritize>(exports, "prioritize");
  return exports;
}

}  // namespace

}  // namespace fa::binding

using fa::binding::load;
NODE_API_MODULE(flash_attention, load)
