#include "binding/attention.h"

#include <utility>

#include "binding/new_tensor.h"
#include "binding/problem.h"
#include "binding/tensor_handle.h"

namespace fa::binding {

namespace {

NewTensor new_out(const AttentionCall& call) {
  View like = call.problem.q;
  like.shape[3] = call.problem.head_dim_v();
  const View axes = with_public_axes(like, call.layout);
  return NewTensor("out", call.problem.out_dtype(), shape_of(axes), "q");
}

NewTensor new_lse(const AttentionCall& call) {
  const View& q = call.problem.q;
  const bool packed = call.layout == Layout::kPacked;
  const Sizes shape =
      packed ? Sizes{2, {q.shape[2], q.shape[1]}} : Sizes{3, {q.shape[0], q.shape[2], q.shape[1]}};
  return NewTensor("lse", DType::kFloat32, shape, "q");
}

}  // namespace

Napi::Value attention(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  AttentionCall call = attention_call(info[0]);
  validate(call.problem, call.layout);
  call.stream->check_supported(call.problem);
  const bool ready = call.indices_ready();
  if (ready) check_indices(call);

  Stream& stream = *call.stream;
  TaskStorages storages{.reads = call.inputs, .writes = {}};
  TensorRef out = new_out(call).allocate(env, stream), lse;
  call.problem.out = logical(out.view, call.layout);
  storages.writes.push_back(out.storage);
  if (call.return_lse) {
    lse = new_lse(call).allocate(env, stream);
    call.problem.lse = logical_lse(lse.view, call.layout);
    storages.writes.push_back(lse.storage);
  }
  stream.enqueue(ops::Attention{.problem = call.problem, .check_contents = !ready},
                 std::move(storages));
  return new_results(env, {std::move(out), std::move(lse)});
}

Napi::Value plan(const Napi::CallbackInfo& info) {
  AttentionCall call = attention_call(info[0]);
  validate(call.problem, call.layout);
  call.stream->check_supported(call.problem);
  HostProblem host = check_indices(call);
  host.problem.out = logical(new_out(call).view(), call.layout);
  if (call.return_lse) host.problem.lse = logical_lse(new_lse(call).view(), call.layout);
  const AttentionPlan plan = call.stream->plan(host.problem);

  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("kernel", plan.kernel);
  result.Set("isa", plan.isa);
  result.Set("backwardKernel", plan.backward_kernel);
  result.Set("threads", plan.threads);
  result.Set("tileQ", plan.tile_q);
  result.Set("tileK", plan.tile_k);
  result.Set("panels", plan.panels);
  result.Set("blockRows", static_cast<double>(plan.block_rows));
  result.Set("stages", plan.stages);
  result.Set("packedHeads", plan.packed_heads);
  result.Set("numSplits", plan.num_splits);
  result.Set("workItems", static_cast<double>(plan.work_items));
  result.Set("launches", plan.launches);
  Napi::Array prefixes = Napi::Array::New(info.Env());
  for (const auto& [sequences, keys] : plan.shared_prefixes) {
    Napi::Object prefix = Napi::Object::New(info.Env());
    prefix.Set("sequences", static_cast<double>(sequences));
    prefix.Set("keys", static_cast<double>(keys));
    prefixes.Set(prefixes.Length(), prefix);
  }
  result.Set("sharedPrefixes", prefixes);
  result.Set("tilesFull", static_cast<double>(plan.tiles_full));
  result.Set("tilesPartial", static_cast<double>(plan.tiles_partial));
  result.Set("tilesSkipped", static_cast<double>(plan.tiles_skipped));
  result.Set("flops", plan.flops);
  result.Set("executedFlops", plan.executed_flops);
  result.Set("bytes", plan.bytes);
  result.Set("standardBytes", plan.standard_bytes);
  result.Set("standardMemory", plan.standard_memory);
  result.Set("sharedBytes", static_cast<double>(plan.shared_bytes));
  result.Set("scratchBytes", static_cast<double>(plan.scratch_bytes));
  result.Set("backwardScratchBytes", static_cast<double>(plan.backward_scratch_bytes));
  Napi::Array assumed = Napi::Array::New(info.Env());
  for (const char* name : host.assumed.names) assumed.Set(assumed.Length(), name);
  result.Set("assumed", assumed);
  return result;
}

}  // namespace fa::binding
