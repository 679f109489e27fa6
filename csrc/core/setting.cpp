#include "core/setting.h"

#include <cerrno>
#include <cstdlib>
#include <string>

#include "core/error.h"

namespace fa {

std::optional<int64_t> integer_setting(const char* name, int64_t least, int64_t most) {
  const char* const text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const int64_t value = std::strtoll(text, &end, 10);
  const bool number = *end == '\0' && errno == 0 && *text >= '0' && *text <= '9';
  if (!number || value < least || value > most) {
    throw Error(ErrorCode::kOption, name,
                "Expected an integer from " + std::to_string(least) + " to " +
                    std::to_string(most) + " for the environment variable " + name +
                    " but received '" + std::string(text).substr(0, 64) + "'");
  }
  return value;
}

}  // namespace fa
