// Small files in which Linux says something in one line.
#pragma once

#include <string>

namespace fa {

/** The first line of a file, without its newline; empty when there is none. */
std::string first_line(const std::string& path);

}  // namespace fa
