// Names of functions.
#pragma once

#include <string>

namespace simt {

/** "fa::cuda::forward<ptx::f16, 64>", read from the symbol table of the program or library. */
std::string function_name(const void* function);

}  // namespace simt
