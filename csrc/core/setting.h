// Environment variables that are numbers.
#pragma once

#include <cstdint>
#include <optional>

namespace fa {

/**
 * The environment variable `name`, an integer from `least` to `most`; none when it is unset or
 * empty. Throws Error{kOption} for anything else.
 */
std::optional<int64_t> integer_setting(const char* name, int64_t least, int64_t most);

}  // namespace fa
