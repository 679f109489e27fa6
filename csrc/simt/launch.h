// Runs a kernel's grid to its end on the calling thread.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "simt/config.h"
#include "simt/counters.h"
#include "simt/vector_types.h"

namespace simt {

/** How a grid went. */
struct Report {
  std::string kernel;
  dim3 grid, block;
  std::string error;  // empty if all went well
  Counters counters{};
  double seconds = 0;

  bool ok() const { return error.empty(); }
};

/** `body` is one thread's work. Grids run one after another, whoever asks for them. */
Report run_grid(const std::string& kernel, dim3 grid, dim3 block, size_t dynamic_shared_bytes,
                const Config& config, const std::function<void()>& body);

/** As a launch of CUDA: kernel<<<grid, block, dynamic_shared_bytes>>>(arguments...). */
template <class... Parameters, class... Arguments>
Report launch(const std::string& name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
              size_t dynamic_shared_bytes, const Config& config, const Arguments&... arguments) {
  return run_grid(name, grid, block, dynamic_shared_bytes, config, [&] { kernel(arguments...); });
}

}  // namespace simt
