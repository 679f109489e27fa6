// Which of the binary's instruction sets is used on this machine.
#pragma once

#include "cpu/kernels/table.h"

namespace fa::cpu {

/**
 * The kernels in use; decided once. Throws Error{kOption} when FLASH_ATTENTION_CPU_ISA names a
 * level that cannot run here.
 */
const KernelTable& kernels();

}  // namespace fa::cpu
