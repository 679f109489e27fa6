// A position in a kernel's source, for reports.
#pragma once

namespace simt {

struct Location {
  const char* file = "?";
  int line = 0;

  /** As a default argument: the caller's position. */
  static constexpr Location here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

inline bool operator==(const Location& a, const Location& b) {
  return a.line == b.line && a.file == b.file;
}

}  // namespace simt
