// Threads of ours.
#pragma once

#include <functional>
#include <thread>

namespace fa {

/**
 * Starts a thread called `name` (at most 15 characters) that receives no signals: those are the
 * business of the threads of Node. Throws Error{kOutOfMemory} when the system refuses.
 */
std::thread start_thread(const char* name, std::function<void()> body);

}  // namespace fa
