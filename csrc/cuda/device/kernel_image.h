// In which form a kernel is in the binary.
#pragma once

namespace fa::cuda {

/**
 * Machine code, or PTX, of which the driver makes machine code when a kernel is first called. It
 * does so for a module at a time, so every kernel is a module of PTX of its own. Machine code of
 * many kernels is one module: what they have in common is compressed once.
 */
enum class KernelImage { kMachineCode, kPtx };

}  // namespace fa::cuda
