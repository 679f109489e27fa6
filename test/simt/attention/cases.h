// The cases of the passes: every option, at small sizes, on kernels that are compiled for them.
#pragma once

#include <vector>

#include "problem.h"

namespace simt_test {

std::vector<Spec> forward_cases();
std::vector<Spec> mla_cases();
std::vector<Spec> mla_sm90_cases();
/** Of launches that overlap, on sm_90 and later ones. */
std::vector<Spec> overlap_cases();
/** Of launches side by side, on sm_80. */
std::vector<Spec> branch_cases();
std::vector<Spec> backward_cases();
std::vector<Spec> forward_sm90_cases();
std::vector<Spec> backward_sm90_cases();
std::vector<Spec> backward_sm90_wide_cases();

}  // namespace simt_test
