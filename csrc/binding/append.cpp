#include "binding/append.h"

#include <memory>
#include <utility>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/inputs.h"
#include "binding/new_tensor.h"
#include "binding/tensor_handle.h"
#include "core/layout.h"
#include "core/validate.h"

namespace fa::binding {

Napi::Value append(const Napi::CallbackInfo& info) {
  const TensorRef k_pages = tensor_of(info[2], "kPages");
  // What writes in place is in the order of the pages' own stream.
  Stream& stream = *k_pages.storage->stream();
  Inputs inputs{stream};
  TaskStorages storages;
  const auto updated = [&](const TensorRef& pages, const char* argument) {
    if (pages.storage->stream() != &stream)
      refuse(ErrorCode::kDevice, argument, "a tensor made like `kPages`, on " + stream.device(),
             "one on " + pages.storage->stream()->device());
    inputs.reads.push_back(pages.storage);
    storages.updates.push_back(memory_of(pages.storage));
    return TensorRef{std::make_shared<UpdatedStorage>(storages.updates.back()), pages.view};
  };
  const auto updated_if_any = [&](const Napi::Value& value, const char* argument) {
    return value.IsUndefined() ? TensorRef{} : updated(tensor_of(value, argument), argument);
  };
  // The caller's own scales are read, those of rows are written.
  const auto scales_if_any = [&](const Napi::Value& value, const char* argument) {
    const bool read = !value.IsUndefined() && tensor_of(value, argument).view.rank == 1;
    return read ? TensorRef{nullptr, inputs.tensor(value, argument)}
                : updated_if_any(value, argument);
  };
  TensorRef k_after = updated(k_pages, "kPages");
  TensorRef v_after = updated_if_any(info[3], "vPages");
  TensorRef k_scales = scales_if_any(info[6], "kScales");
  TensorRef v_scales = scales_if_any(info[7], "vScales");
  Appending appending;
  appending.k_pages = k_after.view;
  appending.v_pages = v_after.view;
  appending.k_scales = k_scales.view;
  appending.v_scales = v_scales.view;
  appending.k = inputs.tensor(info[0], "k");
  if (!info[1].IsUndefined()) appending.v = inputs.tensor(info[1], "v");
  appending.slots = inputs.index(info[4], "slots");
  appending.rotary = inputs.rotary(info[5]);
  validate(appending);
  const bool judged = inputs.judge(appending);

  for (const TensorRef* after : {&k_after, &v_after, &k_scales, &v_scales})
    if (after->storage) storages.writes.push_back(after->storage);
  storages.reads = std::move(inputs.reads);
  stream.enqueue(ops::Append{.appending = appending, .check_contents = !judged},
                 std::move(storages));
  return new_results(info.Env(), {std::move(k_after), std::move(v_after), std::move(k_scales),
                                  std::move(v_scales)});
}

Napi::Value rotate(const Napi::CallbackInfo& info) {
  const TensorRef x = tensor_of(info[0], "x");
  Stream& stream = Environment::of(info.Env()).stream(*x.storage);
  Inputs inputs{stream, {x.storage}};
  const Layout layout = x.view.rank == 3 ? Layout::kPacked : Layout::kBshd;
  Rotation rotation;
  rotation.x = checked_axes(x.view, layout, "x");
  if (info[1].IsUndefined()) refuse(ErrorCode::kType, "rotary", "an object", "undefined");
  rotation.rotary = inputs.rotary(info[1]);
  View& positions = rotation.rotary.positions;
  if (layout == Layout::kPacked && positions.rank == 1) positions = with_leading_axis(positions);
  validate(rotation, layout);

  TensorRef out =
      NewTensor("the result", x.view.dtype, shape_of(x.view), "x").allocate(info.Env(), stream);
  rotation.out = logical(out.view, layout);
  const bool judged = inputs.judge(rotation);
  stream.enqueue(ops::Rotate{.rotation = rotation, .check_contents = !judged},
                 {.reads = std::move(inputs.reads), .writes = {out.storage}});
  return new_result(info.Env(), std::move(out));
}

}  // namespace fa::binding
