// The benchmark's own addon: machine limits and a peer. Never published. Its calls are synchronous
// and trust their caller, bench/native.ts.
#include <napi.h>

#include "limits.h"
#include "standard_attention.h"

namespace fa::bench {

namespace {

int integer(const Napi::CallbackInfo& call, size_t index) {
  return call[index].As<Napi::Number>().Int32Value();
}

Napi::Value peak_object(Napi::Env env, const Peak& peak) {
  if (peak.instructions == nullptr) return env.Null();
  Napi::Object result = Napi::Object::New(env);
  result.Set("perSecond", peak.per_second);
  result.Set("instructions", peak.instructions);
  return result;
}

/** (threads, repeats) */
Napi::Value fma(const Napi::CallbackInfo& call) {
  return peak_object(call.Env(), fma_peak(integer(call, 0), integer(call, 1)));
}

/** (threads, repeats) */
Napi::Value dot(const Napi::CallbackInfo& call) {
  return peak_object(call.Env(), bf16_dot_peak(integer(call, 0), integer(call, 1)));
}

/** (bytes, threads, repeats) */
Napi::Value read(const Napi::CallbackInfo& call) {
  const double bytes = call[0].As<Napi::Number>().DoubleValue();
  const double rate =
      read_bandwidth(static_cast<size_t>(bytes), integer(call, 1), integer(call, 2));
  return Napi::Number::New(call.Env(), rate);
}

Napi::Value release(const Napi::CallbackInfo& call) {
  release_read_buffer();
  return call.Env().Undefined();
}

/** (heads, seqlenQ, seqlenK) */
Napi::Value scores_size(const Napi::CallbackInfo& call) {
  const int64_t size = standard_scores(integer(call, 0), integer(call, 1), integer(call, 2));
  return Napi::Number::New(call.Env(), static_cast<double>(size));
}

float* floats(const Napi::CallbackInfo& call, size_t index) {
  return call[index].As<Napi::Float32Array>().Data();
}

/** (q, k, v, out, scores, heads, seqlenQ, seqlenK, headDim, causal, threads) */
Napi::Value standard(const Napi::CallbackInfo& call) {
  const StandardProblem problem{floats(call, 0),  floats(call, 1),
                                floats(call, 2),  floats(call, 3),
                                floats(call, 4),  integer(call, 5),
                                integer(call, 6), integer(call, 7),
                                integer(call, 8), call[9].As<Napi::Boolean>().Value()};
  standard_attention(problem, integer(call, 10));
  return call.Env().Undefined();
}

/**
 * (q, k, v, dout, dq, dk, dv, scores, ds, turned, heads, seqlenQ, seqlenK, headDim, causal,
 * threads)
 */
Napi::Value standard_backward(const Napi::CallbackInfo& call) {
  const StandardProblem problem{floats(call, 0),   floats(call, 1),
                                floats(call, 2),   nullptr,
                                floats(call, 7),   integer(call, 10),
                                integer(call, 11), integer(call, 12),
                                integer(call, 13), call[14].As<Napi::Boolean>().Value()};
  const StandardGradients gradients{floats(call, 3), floats(call, 4), floats(call, 5),
                                    floats(call, 6), floats(call, 8), floats(call, 9)};
  standard_attention_backward(problem, gradients, integer(call, 15));
  return call.Env().Undefined();
}

Napi::Object load(Napi::Env env, Napi::Object exports) {
  exports.Set("fmaPeak", Napi::Function::New(env, fma));
  exports.Set("bf16DotPeak", Napi::Function::New(env, dot));
  exports.Set("readBandwidth", Napi::Function::New(env, read));
  exports.Set("releaseReadBuffer", Napi::Function::New(env, release));
  exports.Set("standardScores", Napi::Function::New(env, scores_size));
  exports.Set("standardAttention", Napi::Function::New(env, standard));
  exports.Set("standardAttentionBackward", Napi::Function::New(env, standard_backward));
  return exports;
}

}  // namespace

}  // namespace fa::bench

using fa::bench::load;
NODE_API_MODULE(flash_attention_bench, load)
