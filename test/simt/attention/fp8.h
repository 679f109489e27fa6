// The pass over float8 (e4m3): the kernel alone, against float64 on what its operands stand for.
#pragma once

#include <string>
#include <vector>

#include "problem.h"

namespace simt_test {

std::vector<Spec> forward_fp8_cases();

/** What a case notices; empty when nothing is wrong. */
std::string run_forward_fp8(const Spec& spec, uint64_t seed);

}  // namespace simt_test
