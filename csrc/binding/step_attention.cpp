#include "binding/step_attention.h"

#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "binding/arguments.h"
#include "binding/buffer_storage.h"
#include "binding/environment.h"
#include "binding/inputs.h"
#include "binding/new_tensor.h"
#include "binding/problem.h"
#include "binding/step.h"
#include "binding/step_options.h"
#include "binding/tensor_handle.h"
#include "core/expect.h"
#include "core/layout.h"
#include "core/validate.h"

namespace fa::binding {

namespace {

/** With room for tables, pages, scales, cos and sin, q, k, v and what q becomes. */
Inputs inputs_of(const PreparedStep& step) {
  Inputs inputs{*step.storage->stream()};
  inputs.reads.reserve(11);
  inputs.reads.push_back(step.storage);
  return inputs;
}

class LayerCall {
 public:
  LayerCall(Napi::Env env, PreparedStep& step, const LayerArgs& args, bool returns_lse, bool sync)
      : env_(env),
        step_(step),
        stream_(*step_.storage->stream()),
        inputs_(inputs_of(step_)),
        k_pages_(pages(args.k_pages, "kPages")),
        v_pages_(pages(args.v_pages, "vPages")),
        k_scales_(scales(args.k_scales, "kScales")),
        v_scales_(scales(args.v_scales, "vScales")),
        options_(step_options_of(args.options)),
        returns_lse_(returns_lse),
        sync_(sync),
        operation_(std::make_unique<Operation>(std::in_place_type<ops::StepAttention>)),
        op_(std::get<ops::StepAttention>(*operation_)) {
    for (const auto& weak : options_.storages) {
      auto storage = weak.lock();
      if (!storage) refuse(ErrorCode::kDisposed, "options", "of live tensors", "a disposed one");
      inputs_.reads.push_back(std::move(storage));
    }
    check_device({step_.storage, step_.tables.slots}, *options_.stream, "options");
    const View q = rows(args.q, "q", -1, head_dim());
    read_append(args);
    read_problem(q);
  }

  Napi::Value run() { return sync_ ? returned() : enqueued(); }

  LayerTask task(const TensorRef& out, const TensorRef& lse) {
    TaskStorages storages = write_to(out, lse);
    return {std::move(operation_), std::move(storages)};
  }

 private:
  const StepTables& tables() const { return step_.tables; }
  int64_t total() const { return tables().total(); }
  int64_t kv_heads() const { return k_pages_.view.shape[2]; }
  int64_t head_dim() const { return k_pages_.view.shape[3]; }
  DType cache_dtype() const { return k_pages_.view.dtype; }
  AttentionProblem& problem() { return op_.attention.problem; }
  bool in_place() const { return sync_ && !stream_.asynchronous(); }

  /** A tensor that this layer writes to. */
  TensorRef updated(const Napi::Value& value, const char* argument) {
    TensorRef tensor = tensor_of(value, argument);
    if (tensor.storage->stream() != &stream_)
      refuse(ErrorCode::kDevice, argument, "on the stream of the step, " + stream_.device() + ",",
             "on " + tensor.storage->stream()->device());
    inputs_.reads.push_back(tensor.storage);
    return tensor;
  }

  /** Static ones are not written; they go with the pages, which nobody else has. */
  TensorRef scales(const Napi::Value& value, const char* argument) {
    return value.IsUndefined() ? TensorRef{} : updated(value, argument);
  }

  TensorRef pages(const Napi::Value& value, const char* argument) {
    TensorRef pages = updated(value, argument);
    expect_shape(pages.view, argument,
                 {tables().num_pages, tables().page_size, "kvHeads", "headDim"}, Layout::kBshd,
                 ", the pages of the step,");
    return pages;
  }

  /** [total, heads, dim] of a tensor or a Float32Array; heads < 0: as many as there are. */
  View rows(const Napi::Value& value, const char* argument, int64_t heads, int64_t dim) {
    const View view = value.IsTypedArray() ? numbers(value, argument, heads, dim)
                                           : inputs_.tensor(value, argument);
    if (view.rank != 3) expect_rank(view, argument, {"total", "heads", "headDim"});
    const Extent own_heads = heads < 0 ? Extent("heads") : Extent(heads);
    expect_shape(with_leading_axis(view), argument, {1, total(), own_heads, dim}, Layout::kPacked,
                 ", [totalTokens, heads, headDim],");
    return view;
  }

  View numbers(const Napi::Value& value, const char* argument, int64_t heads, int64_t dim) {
    auto type = static_cast<napi_typedarray_type>(-1);
    size_t length = 0;
    void* data = nullptr;
    if (napi_get_typedarray_info(env_, value, &type, &length, &data, nullptr, nullptr) != napi_ok)
      throw Napi::Error::New(env_);
    if (type != napi_float32_array)
      refuse(ErrorCode::kType, argument, "a tensor or a Float32Array", "another typed array");
    const auto count = static_cast<int64_t>(length);  // 0 of a detached one
    const int64_t row = total() * dim;
    if (heads < 0) heads = row > 0 ? count / row : 0;
    if (heads * row != count || count == 0)
      refuse(ErrorCode::kShape, argument,
             "of " + std::to_string(total()) + " tokens, in heads of " + std::to_string(dim) +
                 " numbers,",
             std::to_string(count) + " numbers");
    const View view = contiguous_view(data, DType::kFloat32, {total(), heads, dim});
    if (in_place()) return view;  // nobody changes it before this call returns
    TensorRef copy = NewTensor("a copy", view.dtype, Sizes{3, {total(), heads, dim}}, argument)
                         .allocate(env_, stream_);
    stream_.upload(view.data, view.dtype, copy);
    inputs_.reads.push_back(copy.storage);
    return copy.view;
  }

  void read_append(const LayerArgs& args) {
    Appending& a = op_.append.appending;
    a.k_pages = k_pages_.view;
    a.k_scales = k_scales_.view;
    a.v_scales = v_scales_.view;
    a.k = rows(args.k, "k", kv_heads(), head_dim());
    if (!args.v.IsUndefined()) {
      a.v = rows(args.v, "v", kv_heads(), v_pages_.view.shape[3]);
      a.v_pages = v_pages_.view;
    }
    a.slots = tables().slots;
    a.rotary = options_.rotary;
    if (a.rotary.present()) a.rotary.positions = positions(args.positions);
    validate(a);
    add_page_copies(op_.copies, tables(), a);
  }

  /** Where the tokens stand; not judged again where that is what the step says. */
  View positions(const Napi::Value& value) {
    const Rotary& rotary = options_.rotary;
    if (value.IsUndefined()) {
      const int64_t count = rotary.cos.shape[0], last = step_.extents.last_position;
      if (last >= count)
        refuse(ErrorCode::kShape, "cos", "of more than " + std::to_string(last) + " positions",
               std::to_string(count));
      return tables().positions;
    }
    Rotation given;
    given.rotary = rotary;
    given.rotary.positions = inputs_.index(value, "positions");
    expect_dtype(given.rotary.positions, DType::kInt32, "positions");
    expect_shape(given.rotary.positions, "positions", {total()}, Layout::kBshd, ", one per token,");
    const View result = given.rotary.positions;
    given.rotary.positions = with_leading_axis(result);
    op_.append.check_contents = !inputs_.judge(given);
    return result;
  }

  void read_problem(const View& q) {
    AttentionProblem& p = problem();
    p = options_.problem;
    // Of two dtypes of 16 bits neither holds the other.
    const bool direct =
        q.dtype == DType::kFloat32 || q.dtype == cache_dtype() || is_quantized(cache_dtype());
    const DType dtype = direct ? q.dtype : DType::kFloat32;
    p.q = with_leading_axis(q);
    p.q.dtype = dtype;
    p.k = k_pages_.view;
    p.v = v_pages_.view;
    p.k_scale = page_scales_over(k_scales_.view, p.k);
    p.v_scale = page_scales_over(v_scales_.view, p.k);
    set_tables(p, tables(), step_.extents);
    if (!options_.scale_given) p.scale = usual_scale(p.head_dim());
    expect_floating(q, "q");
    validate(p, Layout::kPacked);
    if (!op_.append.appending.has_values() && !p.values_in_keys())
      refuse(ErrorCode::kType, "v", "rows of values, which are no part of the keys,", "none");
    stream_.check_supported(p);
    own_dtype_ = q.dtype;
    const Rotary& rotary = op_.append.appending.rotary;
    if (!rotary.present() && q.dtype == dtype) return;
    const Sizes shape{3, {q.shape[0], q.shape[1], q.shape[2]}};
    p.q = with_leading_axis(scratch(step_.queries, "a copy of `q`", dtype, shape));
    if (!rotary.present()) {
      op_.convert_q = {.source = with_leading_axis(q), .target = p.q};
      return;
    }
    Rotation& rotation = op_.rotate.rotation;
    rotation = {.x = with_leading_axis(q), .out = p.q, .rotary = rotary};
    rotation.rotary.positions = with_leading_axis(rotary.positions);
  }

  /** Memory that layers of a step use one after the other. */
  View scratch(std::shared_ptr<Storage>& storage, const char* name, DType dtype,
               const Sizes& shape) {
    const NewTensor wanted(name, dtype, shape, "q");
    View view = wanted.view();
    const size_t bytes = static_cast<size_t>(view.size()) * dtype_size(dtype);
    if (!storage || storage->bytes() < bytes) storage = wanted.allocate(env_, stream_).storage;
    inputs_.reads.push_back(storage);
    view.data = storage->data();
    return view;
  }

  Sizes out_shape() { return {3, {total(), problem().heads(), problem().head_dim_v()}}; }
  Sizes lse_shape() { return {2, {problem().heads(), total()}}; }

  /** Has the results written to `out` and `lse`. */
  TaskStorages write_to(const TensorRef& out, const TensorRef& lse) {
    AttentionProblem& p = problem();
    if (out.view.dtype == p.q.dtype) {
      p.out = with_leading_axis(out.view);
    } else {
      p.out = with_leading_axis(scratch(step_.results, "a copy of out", p.q.dtype, out_shape()));
      op_.convert_out = {.source = p.out, .target = with_leading_axis(out.view)};
    }
    TaskStorages storages{
        .reads = std::move(inputs_.reads), .writes = {out.storage}, .updates = {}};
    for (const TensorRef* tensor : {&k_pages_, &v_pages_, &k_scales_, &v_scales_})
      if (tensor->storage) storages.updates.push_back(memory_of(tensor->storage));
    if (returns_lse_) {
      p.lse = logical_lse(lse.view, Layout::kPacked);
      storages.writes.push_back(lse.storage);
    }
    return storages;
  }

  TensorRef new_tensor(const char* name, DType dtype, const Sizes& shape) {
    return NewTensor(name, dtype, shape, "q").allocate(env_, stream_);
  }

  Napi::Value enqueued() {
    TensorRef out = new_tensor("out", own_dtype_, out_shape()), lse;
    if (returns_lse_) lse = new_tensor("lse", DType::kFloat32, lse_shape());
    TaskStorages storages = write_to(out, lse);
    stream_.enqueue(std::move(operation_), std::move(storages));
    Napi::Array results = Napi::Array::New(env_, 2);
    results.Set(uint32_t{0}, new_handle(env_, std::move(out)));
    results.Set(uint32_t{1}, lse.storage ? Napi::Value(new_handle(env_, lse)) : env_.Null());
    return results;
  }

  TensorRef new_rows(const char* name, const Sizes& shape, Napi::ArrayBuffer& buffer) {
    TensorRef rows{nullptr, NewTensor(name, DType::kFloat32, shape, "q").view()};
    const size_t bytes = static_cast<size_t>(rows.view.size()) * sizeof(float);
    buffer = Environment::of(env_).array_buffer(bytes);
    rows.storage = std::make_shared<BufferStorage>(&stream_, buffer.Data(), bytes);
    rows.view.data = buffer.Data();
    return rows;
  }

  /** Runs the layer and gives arrays of what it computes. */
  Napi::Value returned() {
    Napi::ArrayBuffer out_buffer, lse_buffer;
    const TensorRef out = new_rows("out", out_shape(), out_buffer);
    const TensorRef lse = returns_lse_ ? new_rows("lse", lse_shape(), lse_buffer) : TensorRef{};
    if (in_place()) {
      TaskStorages storages = write_to(out, lse);
      stream_.run(std::move(operation_), std::move(storages));
    } else {
      run_on_device(out, lse);
    }
    Napi::Array results = Napi::Array::New(env_, 2);
    results.Set(uint32_t{0}, array_over(out_buffer));
    if (returns_lse_)
      results.Set(uint32_t{1}, array_over(lse_buffer));
    else
      results.Set(uint32_t{1}, env_.Null());
    return results;
  }

  void run_on_device(const TensorRef& out, const TensorRef& lse) {
    const TensorRef own_out = new_tensor("out", own_dtype_, out_shape());
    const TensorRef own_lse =
        returns_lse_ ? new_tensor("lse", DType::kFloat32, lse_shape()) : TensorRef{};
    TaskStorages storages = write_to(own_out, own_lse);
    stream_.enqueue(std::move(operation_), std::move(storages));
    // Both are waited for, whatever becomes of the first: they write to memory of JavaScript.
    const auto download = [](const TensorRef& from, const TensorRef& to) {
      return ops::Download{.source = from.view, .dtype = DType::kFloat32, .host = to.view.data};
    };
    if (returns_lse_) stream_.enqueue(download(own_lse, lse), {{own_lse.storage}, {lse.storage}});
    stream_.run(download(own_out, out), {{own_out.storage}, {out.storage}});
  }

  Napi::Float32Array array_over(Napi::ArrayBuffer buffer) {
    return Napi::Float32Array::New(env_, buffer.ByteLength() / sizeof(float), buffer, 0);
  }

  Napi::Env env_;
  PreparedStep& step_;
  Stream& stream_;
  Inputs inputs_;
  const TensorRef k_pages_, v_pages_, k_scales_, v_scales_;
  const StepOptions& options_;
  const bool returns_lse_, sync_;
  DType own_dtype_ = DType::kFloat32;  // of the caller's q
  // Where it stays: it is too large to be moved about.
  std::unique_ptr<Operation> operation_;
  ops::StepAttention& op_;
};

}  // namespace

Napi::Value step_attention(const Napi::CallbackInfo& call) {
  PreparedStep& step = step_of(call[0]);
  bring_tables(call.Env(), step);
  const LayerArgs args{call[1], call[2], call[3], call[4], call[5],
                       call[6], call[7], call[8], call[9]};
  const bool returns_lse = to_boolean(call[10], "returnLse"), sync = to_boolean(call[11], "sync");
  return LayerCall(call.Env(), step, args, returns_lse, sync).run();
}

LayerTask layer_task(Napi::Env env, PreparedStep& step, const LayerArgs& args, const TensorRef& out,
                     const TensorRef& lse) {
  return LayerCall(env, step, args, lse.storage != nullptr, false).task(out, lse);
}

}  // namespace fa::binding
