#include "core/expect.h"

#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

namespace fa {

namespace {

std::string listed(const std::vector<std::string>& items) {
  std::string text = "[";
  for (size_t i = 0; i < items.size(); ++i) text += (i > 0 ? ", " : "") + items[i];
  return text + "]";
}

/** `items` of a problem's axes in the order of the caller's. */
std::vector<std::string> with_public_axes(std::vector<std::string> items, Layout layout) {
  if (layout == Layout::kBhsd && items.size() == 4) std::swap(items[1], items[2]);
  if (layout == Layout::kPacked) items.erase(items.begin());
  return items;
}

View as_received(const View& view, Layout layout) {
  return layout == Layout::kPacked || view.rank == 4 ? with_public_axes(view, layout) : view;
}

}  // namespace

std::string quoted(const std::string& name) { return "`" + name + "`"; }

std::string number_text(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, number).ptr;
  return std::string(text, end);
}

void refuse(ErrorCode code, const char* argument, const std::string& expected,
            const std::string& received) {
  refuse_call(code, argument, quoted(argument) + " to be " + expected, received);
}

void refuse_call(ErrorCode code, const char* argument, const std::string& expected,
                 const std::string& received) {
  throw Error(code, argument, "Expected " + expected + " but received " + received);
}

std::string at(int64_t index) { return "[" + std::to_string(index) + "]"; }

void refuse_entry(const char* argument, const std::string& index, const std::string& expected,
                  int64_t received) {
  refuse_call(ErrorCode::kShape, argument, quoted(argument + index) + " to be " + expected,
              std::to_string(received));
}

void expect_shape(const View& view, const char* argument, std::initializer_list<Extent> shape,
                  Layout layout, const char* meaning) {
  bool fits = view.rank == static_cast<int>(shape.size());
  int axis = 0;
  for (const Extent& extent : shape) {
    if (!fits) break;
    fits = extent.name != nullptr || view.shape[axis] == extent.length;
    ++axis;
  }
  if (fits) return;
  std::vector<std::string> expected;
  for (const Extent& extent : shape)
    expected.push_back(extent.name != nullptr ? extent.name : std::to_string(extent.length));
  refuse(ErrorCode::kShape, argument,
         "of shape " + listed(with_public_axes(expected, layout)) + meaning,
         shape_text(as_received(view, layout)));
}

void expect_rank(const View& view, const char* argument, std::initializer_list<const char*> axes) {
  if (view.rank == static_cast<int>(axes.size())) return;
  refuse(ErrorCode::kShape, argument,
         "of rank " + std::to_string(axes.size()) + ", " +
             listed(std::vector<std::string>(axes.begin(), axes.end())) + ",",
         "shape " + shape_text(view));
}

void expect_floating(const View& view, const char* argument) {
  if (is_floating(view.dtype)) return;
  refuse(ErrorCode::kDType, argument, "one of float32, float16, bfloat16", dtype_name(view.dtype));
}

void expect_dtype(const View& view, DType dtype, const char* argument) {
  if (view.dtype != dtype)
    refuse(ErrorCode::kDType, argument, dtype_name(dtype), dtype_name(view.dtype));
}

void expect_option(bool ok, const char* argument, const char* expected, double given) {
  if (!ok) refuse(ErrorCode::kOption, argument, expected, number_text(given));
}

}  // namespace fa
