// What the checks of all calls share. Messages say what was expected and what came; names of
// arguments stand in them between backticks, so that whoever shows a message can put the names in
// their place that the caller used.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/error.h"
#include "core/layout.h"
#include "core/view.h"

namespace fa {

/** "`name`" */
std::string quoted(const std::string& name);

/** As JavaScript writes it: "0.1", "NaN", "-Infinity". */
std::string number_text(double number);

/** Throws "Expected `argument` to be `expected` but received `received`". */
[[noreturn]] void refuse(ErrorCode code, const char* argument, const std::string& expected,
                         const std::string& received);

/** Throws "Expected `expected` but received `received`", about `argument`. */
[[noreturn]] void refuse_call(ErrorCode code, const char* argument, const std::string& expected,
                              const std::string& received);

/** "[3]" */
std::string at(int64_t index);

/** Of an entry of an index tensor: "`argument[3]` to be `expected`", where `index` is "[3]". */
[[noreturn]] void refuse_entry(const char* argument, const std::string& index,
                               const std::string& expected, int64_t received);

/** The length an axis has to have; with a name alone, any. */
struct Extent {
  constexpr Extent(int64_t length) : length(length) {}
  constexpr Extent(const char* name) : name(name) {}

  int64_t length = -1;
  const char* name = nullptr;
};

/**
 * Throws unless a view with the axes of a problem, those of an lse among them, has that shape.
 * Messages show shapes as the caller, whose tensors have `layout`, sees them; `meaning` follows the
 * expected one.
 */
void expect_shape(const View& view, const char* argument, std::initializer_list<Extent> shape,
                  Layout layout = Layout::kBshd, const char* meaning = "");

/** Throws unless `view` has as many axes as `axes` names. */
void expect_rank(const View& view, const char* argument, std::initializer_list<const char*> axes);

/** float32, float16 or bfloat16. */
void expect_floating(const View& view, const char* argument);

void expect_dtype(const View& view, DType dtype, const char* argument);

/** Throws unless `ok`. */
void expect_option(bool ok, const char* argument, const char* expected, double given);

}  // namespace fa
