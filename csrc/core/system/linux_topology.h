// Which of the processors that Linux numbers are one core.
#pragma once

#include <string>
#include <vector>

namespace fa {

/**
 * Cores that `processors` belong to: threads of one core share its arithmetic units, so they count
 * once, however many of them are given. One that the system says nothing of is a core. `folder` is
 * /sys/devices/system/cpu but in tests.
 */
int count_cores(const std::vector<int>& processors,
                const std::string& folder = "/sys/devices/system/cpu");

}  // namespace fa
