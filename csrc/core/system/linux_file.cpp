#include "core/system/linux_file.h"

#include <cstdio>
#include <cstring>

namespace fa {

std::string first_line(const std::string& path) {
  std::string line;
  if (FILE* file = std::fopen(path.c_str(), "re")) {
    char buffer[256];
    if (std::fgets(buffer, sizeof buffer, file) != nullptr) {
      line.assign(buffer, std::strcspn(buffer, "\n"));
    }
    std::fclose(file);
  }
  return line;
}

}  // namespace fa
