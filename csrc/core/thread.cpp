#include "core/thread.h"

#include <string>
#include <system_error>
#include <utility>

#include "core/error.h"

#if defined(__linux__)
#include <signal.h>
#include <sys/prctl.h>
#endif

namespace fa {

namespace {

#if defined(__linux__)
void prepare_thread(const char* name) {
  // Not pthread_sigmask and pthread_setname_np: newer glibc versions moved them, and a binary
  // linked there would not load on older systems. On Linux these do the same for the calling
  // thread.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  prctl(PR_SET_NAME, name, 0, 0, 0);
}
#else
void prepare_thread(const char*) {}
#endif

}  // namespace

std::thread start_thread(const char* name, std::function<void()> body) {
  try {
    return std::thread([name, body = std::move(body)] {
      prepare_thread(name);
      body();
    });
  } catch (const std::system_error& error) {
    throw Error(ErrorCode::kOutOfMemory, "",
                std::string("The system refused to start another thread: ") + error.what());
  }
}

}  // namespace fa
