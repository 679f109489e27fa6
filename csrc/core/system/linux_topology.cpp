#include "core/system/linux_topology.h"

#include <set>

#include "core/system/linux_file.h"

namespace fa {

int count_cores(const std::vector<int>& processors, const std::string& folder) {
  std::set<std::string> cores;
  for (const int processor : processors) {
    const std::string name = "cpu" + std::to_string(processor);
    // "0,64" or "0-1": the same for all threads of a core.
    const std::string threads = first_line(folder + "/" + name + "/topology/thread_siblings_list");
    cores.insert(threads.empty() ? name : threads);
  }
  return static_cast<int>(cores.size());
}

}  // namespace fa
