// Functions of the driver, asked for by way of the runtime: libcuda is never linked.
#pragma once

namespace fa::cuda {

/** The function as it is since a version of CUDA (1000 times the major number); null: not there. */
void* driver_function(const char* name, unsigned version);

}  // namespace fa::cuda
