#include "binding/step_options.h"

#include <algorithm>
#include <utility>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/inputs.h"
#include "binding/problem.h"
#include "binding/wrapped.h"

namespace fa::binding {

namespace {

constexpr napi_type_tag kOptionsTag = {0x3f9a61d2c8e0457b, 0xa17c42f05be98d36};

}  // namespace

Napi::Value step_options(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  Stream& stream = Environment::of(env).stream(to_text(call[0], "device"));
  if (!call[1].IsObject()) refuse(ErrorCode::kType, "args", "an object", shown(call[1]));
  const Napi::Object args = call[1].As<Napi::Object>();
  auto options = std::make_unique<StepOptions>();
  options->stream = &stream;
  options->scale_given = !args.Get("scale").IsUndefined();
  AttentionCall modifiers;
  modifiers.stream = &stream;
  read_modifiers(args, modifiers);
  options->problem = modifiers.problem;
  int64_t& right = options->problem.window_right;
  right = std::min<int64_t>(right, 0);  // causal
  Inputs inputs{stream, std::move(modifiers.inputs)};
  if (const auto rotary = args.Get("rotary"); !rotary.IsUndefined())
    options->rotary = inputs.tables(rotary);
  options->storages.assign(inputs.reads.begin(), inputs.reads.end());
  return wrapped(env, std::move(options), kOptionsTag);
}

const StepOptions& step_options_of(const Napi::Value& value) {
  return unwrapped<StepOptions>(value, kOptionsTag, "options", "what stepOptions() gave");
}

}  // namespace fa::binding
