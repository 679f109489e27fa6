// Threads of a core count once: in folders like those of sysfs, and here.
#include "core/system/linux_topology.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "check.h"
#include "core/system.h"

namespace {

namespace fs = std::filesystem;
using fa::count_cores;

/** A folder of processors, gone with this. */
class Processors {
 public:
  Processors() {
    std::string name = fs::temp_directory_path() / "fa-topology-XXXXXX";
    CHECK(mkdtemp(name.data()) != nullptr);
    folder = name;
  }
  ~Processors() { fs::remove_all(folder); }
  Processors(const Processors&) = delete;
  Processors& operator=(const Processors&) = delete;

  void add(int number, const std::string& threads_of_core) const {
    const fs::path topology = fs::path(folder) / ("cpu" + std::to_string(number)) / "topology";
    fs::create_directories(topology);
    std::ofstream(topology / "thread_siblings_list") << threads_of_core << "\n";
  }

  std::string folder;
};

}  // namespace

int main() {
  const Processors here;
  for (const int core : {0, 1, 2, 3}) {
    const std::string threads = std::to_string(core) + "," + std::to_string(core + 64);
    here.add(core, threads);
    here.add(core + 64, threads);
  }
  CHECK(count_cores({0, 1, 2, 3, 64, 65, 66, 67}, here.folder) == 4);
  CHECK(count_cores({1, 65}, here.folder) == 1);
  CHECK(count_cores({65}, here.folder) == 1);  // its sibling is not ours
  CHECK(count_cores({0, 65, 66}, here.folder) == 3);
  CHECK(count_cores({}, here.folder) == 0);

  const Processors pairs;  // numbered core by core
  for (const int processor : {0, 1, 2, 3}) pairs.add(processor, processor < 2 ? "0-1" : "2-3");
  CHECK(count_cores({0, 1, 2, 3}, pairs.folder) == 2);

  // Containers may hide the folder.
  CHECK(count_cores({0, 1, 2}, here.folder + "/nowhere") == 3);
  here.add(5, "");
  CHECK(count_cores({0, 5, 6, 64}, here.folder) == 3);

  CHECK(fa::usable_cores() >= 1);
  std::puts("linux topology: ok");
  return 0;
}
