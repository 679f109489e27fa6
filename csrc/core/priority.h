// Which of a device's queues a call goes to.
#pragma once

namespace fa {

/** High calls do not wait for normal ones, but for those that make what they read. */
enum class Priority { kNormal = 0, kHigh = 1 };

}  // namespace fa
