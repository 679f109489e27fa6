#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "binding/attention.h"
#include "binding/new_tensor.h"
#include "binding/tensor_handle.h"
#include "core/validate.h"

namespace fa::binding {

namespace {

/** The tensors of a JavaScript array; all on `stream`, which the first tensor of all decides. */
std::vector<TensorRef> tensors(const Napi::Value& value, const char* argument, Stream*& stream) {
  const Napi::Array array = to_array(value, argument);
  std::vector<TensorRef> result;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    result.push_back(tensor_of(array.Get(i), argument));
    if (stream == nullptr) stream = &Environment::of(value.Env()).stream(*result.back().storage);
    check_device(result.back(), *stream, argument);
  }
  return result;
}

std::vector<View> views(const std::vector<TensorRef>& tensors) {
  std::vector<View> result;
  result.reserve(tensors.size());
  for (const TensorRef& tensor : tensors) result.push_back(tensor.view);
  return result;
}

}  // namespace

Napi::Value merge_states(const Napi::CallbackInfo& info) {
  const Layout layout = to_layout(info[2]);
  Stream* stream = nullptr;
  const std::vector<TensorRef> outs = tensors(info[0], "outs", stream);
  const std::vector<TensorRef> lses = tensors(info[1], "lses", stream);
  std::vector<View> out_views = views(outs);
  const std::vector<View> lse_views = views(lses);
  validate_merge(out_views, lse_views, layout);

  const View like_out = out_views[0], like_lse = lse_views[0];
  for (View& view : out_views) view = logical(view, layout);
  TensorRef out =
      NewTensor("out", like_out.dtype, shape_of(like_out), "outs").allocate(info.Env(), *stream);
  TensorRef lse =
      NewTensor("lse", like_lse.dtype, shape_of(like_lse), "lses").allocate(info.Env(), *stream);
  TaskStorages storages{.reads = {}, .writes = {out.storage, lse.storage}};
  for (const TensorRef& tensor : outs) storages.reads.push_back(tensor.storage);
  for (const TensorRef& tensor : lses) storages.reads.push_back(tensor.storage);
  stream->enqueue(ops::MergeStates{.outs = std::move(out_views),
                                   .lses = lse_views,
                                   .out = logical(out.view, layout),
                                   .lse = lse.view},
                  std::move(storages));
  return new_results(info.Env(), {std::move(out), std::move(lse)});
}

}  // namespace fa::binding
