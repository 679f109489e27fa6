#include "binding/arguments.h"

#include <cmath>
#include <limits>

#include "core/attention.h"

namespace fa::binding {

namespace {

/** True when `number` is an integer that a double holds exactly. */
bool is_safe_integer(double number) {
  return std::trunc(number) == number && std::fabs(number) <= static_cast<double>(kMaxSafeInteger);
}

}  // namespace

Layout to_layout(const Napi::Value& value) {
  return to_integer(value, "layout", 0, 1) == 1 ? Layout::kBhsd : Layout::kBshd;
}

double to_number(const Napi::Value& value, const char* argument, const char* expected) {
  if (!value.IsNumber()) refuse(ErrorCode::kType, argument, expected, shown(value));
  return value.As<Napi::Number>().DoubleValue();
}

std::string shown(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return value.As<Napi::Boolean>().Value() ? "true" : "false";
    case napi_number: return number_text(value.As<Napi::Number>().DoubleValue());
    case napi_string: {
      std::string text = value.As<Napi::String>().Utf8Value();
      // Cut between characters: the bytes 10xxxxxx continue one.
      size_t length = 40;
      while (length > 0 && length < text.size() && (text[length] & 0xc0) == 0x80) --length;
      if (text.size() > length) text = text.substr(0, length) + "...";
      return "'" + text + "'";
    }
    case napi_symbol: return "a symbol";
    case napi_function: return "a function";
    case napi_bigint: return "a bigint";
    case napi_external: return "an external value";
    case napi_object: break;
  }
  if (value.IsArray()) return "an array";
  if (value.IsTypedArray()) return "a typed array";
  if (value.IsPromise()) return "a promise";
  return "an object";
}

int64_t to_integer(const Napi::Value& value, const char* argument, int64_t min, int64_t max) {
  const double number = to_number(value, argument, "an integer");
  if (!is_safe_integer(number) || number < static_cast<double>(min) ||
      number > static_cast<double>(max)) {
    const std::string least = std::to_string(min);
    const std::string bounds = max == kMaxSafeInteger
                                   ? "of at least " + least
                                   : "from " + least + " to " + std::to_string(max);
    refuse(ErrorCode::kOption, argument, "an integer " + bounds, number_text(number));
  }
  return static_cast<int64_t>(number);
}

int64_t to_bound(const Napi::Value& value, const char* argument) {
  const char* const expected = "an integer or Infinity";
  const double number = to_number(value, argument, expected);
  if (std::isinf(number) && number > 0) return kUnbounded;
  if (std::isinf(number))
    refuse(ErrorCode::kOption, argument, expected, "-Infinity. Infinity stands for no bound");
  if (!is_safe_integer(number)) refuse(ErrorCode::kOption, argument, expected, number_text(number));
  return static_cast<int64_t>(number);
}

float to_finite_float(const Napi::Value& value, const char* argument) {
  const char* const expected = "a finite float32 number";
  const double number = to_number(value, argument, expected);
  // The test first: converting a double beyond the range of float is undefined.
  if (!(std::fabs(number) <= std::numeric_limits<float>::max())) {
    refuse(ErrorCode::kOption, argument, expected, number_text(number));
  }
  return static_cast<float>(number);
}

bool to_boolean(const Napi::Value& value, const char* argument) {
  if (!value.IsBoolean()) refuse(ErrorCode::kType, argument, "a boolean", shown(value));
  return value.As<Napi::Boolean>().Value();
}

uint64_t to_uint64(const Napi::Value& value, const char* argument) {
  const char* const expected = "a bigint from 0n to 2n ** 64n - 1n";
  if (!value.IsBigInt()) refuse(ErrorCode::kType, argument, expected, shown(value));
  bool lossless = false;
  const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) refuse(ErrorCode::kOption, argument, expected, value.ToString().Utf8Value() + "n");
  return number;
}

std::string to_text(const Napi::Value& value, const char* argument) {
  if (!value.IsString()) refuse(ErrorCode::kType, argument, "a string", shown(value));
  return value.As<Napi::String>().Utf8Value();
}

DType to_dtype(const Napi::Value& value, const char* argument) {
  const char* const expected = "the number of a dtype, 0 to 6,";
  const double number = to_number(value, argument, expected);
  if (!is_safe_integer(number) || number < 0 || number >= kDTypeCount) {
    refuse(ErrorCode::kDType, argument, expected, number_text(number));
  }
  return static_cast<DType>(static_cast<int>(number));
}

Napi::Array to_array(const Napi::Value& value, const char* argument) {
  if (!value.IsArray()) refuse(ErrorCode::kType, argument, "an array", shown(value));
  return value.As<Napi::Array>();
}

Sizes to_sizes(const Napi::Value& value, const char* argument) {
  const Napi::Array array = to_array(value, argument);
  const uint32_t rank = array.Length();
  if (rank < 1 || rank > kMaxRank) {
    refuse(ErrorCode::kShape, argument, "1 to " + std::to_string(kMaxRank) + " integers",
           std::to_string(rank));
  }
  Sizes sizes;
  for (uint32_t i = 0; i < rank; ++i) {
    const char* const expected = "non-negative integers";
    const double number = to_number(array.Get(i), argument, expected);
    if (!is_safe_integer(number) || number < 0) {
      refuse(ErrorCode::kShape, argument, expected, number_text(number));
    }
    sizes.values[sizes.rank++] = static_cast<int64_t>(number);
  }
  return sizes;
}

}  // namespace fa::binding
