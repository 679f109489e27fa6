#include "binding/replay_rows.h"

#include <cstring>
#include <string>

#include "binding/arguments.h"

namespace fa::binding {

void ReplayRows::add(int64_t n, const Napi::Array& rows) {
  const DecodeGraph::Layer& layer = graph_.layers[static_cast<size_t>(first_ + n)];
  const View* const targets[] = {&layer.q, &layer.k, &layer.v};
  const char* const names[] = {"q", "k", "v"};
  for (uint32_t i = 0; i < 3; ++i) {
    View target = *targets[i];
    if (!target.present()) {
      if (!rows[i].IsUndefined())
        refuse(ErrorCode::kType, names[i], "absent: values are a part of their keys", "some");
      continue;
    }
    target.shape[0] = there_;  // the first rows
    add(rows[i], target, names[i]);
  }
}

void ReplayRows::add(const Napi::Value& value, const View& target, const char* argument) {
  if (value.IsTypedArray()) return add_numbers(value, target, argument);
  const View source = inputs_.tensor(value, argument);
  expect_dtype(source, target.dtype, argument);
  expect_rank(source, argument, {"total", "heads", "headDim"});
  expect_shape(source, argument, {target.shape[0], target.shape[1], target.shape[2]},
               Layout::kPacked, ", [tokens of the step, heads, headDim],");
  device.sources.push_back(source);
  device.parts.push_back(target);
}

void ReplayRows::add_numbers(const Napi::Value& value, const View& target, const char* argument) {
  const auto array = value.As<Napi::TypedArray>();
  if (array.TypedArrayType() != napi_float32_array)
    refuse(ErrorCode::kType, argument, "a tensor or a Float32Array", "another typed array");
  if (target.dtype != DType::kFloat32)
    refuse(ErrorCode::kDType, argument,
           std::string("a tensor in ") + dtype_name(target.dtype) + ", the dtype of the graph,",
           "a Float32Array");
  const auto given = value.As<Napi::Float32Array>();
  const auto length = static_cast<int64_t>(given.ElementLength());  // 0 of a detached one
  if (length != target.size() || length == 0)
    refuse(ErrorCode::kShape, argument, std::to_string(target.size()) + " numbers",
           std::to_string(length));
  const int64_t begin = graph_.rows_begin(first_);
  if (!copied_) {
    const int64_t bytes = graph_.rows_begin(first_ + count_) - begin;
    copied_ = std::make_shared<HostStorage>(nullptr, static_cast<size_t>(bytes));
    numbers = copied_;
  }
  const auto* const memory = static_cast<const char*>(graph_.memory->data());
  const auto offset = static_cast<const char*>(target.data) - (memory + begin);
  std::memcpy(static_cast<char*>(copied_->data()) + offset, given.Data(),
              static_cast<size_t>(length) * sizeof(float));
}

}  // namespace fa::binding
