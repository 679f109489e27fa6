// What index tensors are taken to hold before they are computed.
#pragma once

#include <cstdint>
#include <vector>

#include "core/attention.h"

namespace fa {

struct AssumedContents {
  std::vector<const char*> names;  // of arguments that costs rest on
  std::vector<std::vector<int32_t>> memory;
};

/**
 * Gives the index tensors of a valid problem that have no data contents which `validate_contents`
 * accepts: the most work that the shapes allow. Sequences are as long as may be, the first ones
 * first; of a block mask everything is visible. Where queries stand among the keys is taken as if
 * it were not given. What costs do not depend on is not named: which pages hold the keys.
 */
AssumedContents assume_contents(AttentionProblem& problem);

}  // namespace fa
