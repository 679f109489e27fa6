// JavaScript values as C++ values. Everything wrong throws fa::Error that names the argument, what
// was expected and what came: ERR_TYPE when it is not the kind of value, else the code of the
// topic.
#pragma once

#include <cstdint>
#include <string>

#include "binding/napi.h"
#include "core/dtype.h"
#include "core/expect.h"
#include "core/view.h"

namespace fa::binding {

/** The largest integer below which a double holds all integers. */
constexpr int64_t kMaxSafeInteger = int64_t{1} << 53;

/** What a value looks like in a message: "'text'", "NaN", "a function", "an array". */
std::string shown(const Napi::Value& value);

/** The number that a layout of four axes has in JavaScript: 0 is bshd, 1 bhsd. */
Layout to_layout(const Napi::Value& value);

/** An integer in [min, max]; ERR_OPTION otherwise. */
int64_t to_integer(const Napi::Value& value, const char* argument, int64_t min, int64_t max);

/** An integer or Infinity, which stands for kUnbounded. */
int64_t to_bound(const Napi::Value& value, const char* argument);

/** Any number. */
double to_number(const Napi::Value& value, const char* argument, const char* expected = "a number");

/** A number that is finite as a float. */
float to_finite_float(const Napi::Value& value, const char* argument);

bool to_boolean(const Napi::Value& value, const char* argument);
uint64_t to_uint64(const Napi::Value& value, const char* argument);
std::string to_text(const Napi::Value& value, const char* argument);
DType to_dtype(const Napi::Value& value, const char* argument);
Napi::Array to_array(const Napi::Value& value, const char* argument);

/** A shape, or the strides of one: 1 to kMaxRank non-negative integers. */
struct Sizes {
  int rank = 0;
  int64_t values[kMaxRank] = {};
};
Sizes to_sizes(const Napi::Value& value, const char* argument);

}  // namespace fa::binding
