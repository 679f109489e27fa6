#include "binding/attention.h"

#include <utility>

#include "binding/arguments.h"
#include "binding/problem.h"
#include "binding/shapes.h"
#include "binding/tensor_handle.h"

namespace fa::binding {

namespace {

/** A tensor as JavaScript sees it, and the same with the axes of the problem. */
struct Output {
  Sizes shape;
  DType dtype;
  View handle, logical;

  size_t bytes() const { return byte_size(dtype, shape, "q", ErrorCode::kOutOfMemory); }
  void place(void* data) {
    handle.data = data;
    logical.data = data;
  }
};

Output out_of(const AttentionCall& call) {
  const View& q = call.problem.q;
  const int64_t dim = call.problem.head_dim_v();
  Output out;
  out.dtype = call.problem.out_dtype();
  if (call.problem.varlen()) {
    out.shape = {3, {q.shape[1], q.shape[2], dim}};
  } else if (call.bhsd) {
    out.shape = {4, {q.shape[0], q.shape[2], q.shape[1], dim}};
  } else {
    out.shape = {4, {q.shape[0], q.shape[1], q.shape[2], dim}};
  }
  out.bytes();  // checked before strides are computed from it
  out.handle = row_major(nullptr, out.dtype, out.shape);
  out.logical = out.handle;
  if (call.problem.varlen()) {
    out.logical = contiguous_view(nullptr, out.dtype, {1, q.shape[1], q.shape[2], dim});
  } else if (call.bhsd) {
    out.logical = permuted(out.handle, {0, 2, 1, 3});
  }
  return out;
}

Output lse_of(const AttentionCall& call) {
  const View& q = call.problem.q;
  Output lse;
  lse.dtype = DType::kFloat32;
  lse.shape = {3, {q.shape[0], q.shape[2], q.shape[1]}};
  lse.bytes();
  lse.logical = row_major(nullptr, lse.dtype, lse.shape);
  if (call.problem.varlen()) lse.shape = {2, {q.shape[2], q.shape[1]}};
  lse.handle = row_major(nullptr, lse.dtype, lse.shape);
  return lse;
}

}  // namespace

Napi::Value attention(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  AttentionCall call = attention_call(info[0]);
  validate(call.problem);
  call.stream->check_supported(call.problem);
  const bool ready = call.indices_ready();
  if (ready) check_indices(call);

  Stream& stream = *call.stream;
  TaskStorages storages{call.inputs, {}};
  const auto allocate = [&](Output& output) {
    TensorRef tensor{stream.allocate(output.bytes()), {}};
    output.place(tensor.storage->data());
    tensor.view = output.handle;
    storages.writes.push_back(tensor.storage);
    return tensor;
  };
  Output out = out_of(call);
  TensorRef out_tensor = allocate(out), lse_tensor;
  call.problem.out = out.logical;
  if (call.return_lse) {
    Output lse = lse_of(call);
    lse_tensor = allocate(lse);
    call.problem.lse = lse.logical;
  }
  stream.attention(call.problem, std::move(storages), !ready);

  Napi::Array result = Napi::Array::New(env, 2);
  result.Set(uint32_t{0}, new_handle(env, std::move(out_tensor)));
  result.Set(uint32_t{1},
             call.return_lse ? Napi::Value(new_handle(env, std::move(lse_tensor))) : env.Null());
  return result;
}

Napi::Value plan(const Napi::CallbackInfo& info) {
  AttentionCall call = attention_call(info[0]);
  validate(call.problem);
  call.stream->check_supported(call.problem);
  HostProblem host = check_indices(call);
  host.problem.out = out_of(call).logical;
  if (call.return_lse) host.problem.lse = lse_of(call).logical;
  const AttentionPlan plan = call.stream->plan(host.problem);

  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("kernel", plan.kernel);
  result.Set("isa", plan.isa);
  result.Set("backwardKernel", plan.backward_kernel);
  result.Set("threads", plan.threads);
  result.Set("tileQ", plan.tile_q);
  result.Set("tileK", plan.tile_k);
  result.Set("panels", plan.panels);
  result.Set("stages", plan.stages);
  result.Set("packedHeads", plan.packed_heads);
  result.Set("numSplits", plan.num_splits);
  result.Set("workItems", static_cast<double>(plan.work_items));
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
  return result;
}

}  // namespace fa::binding
