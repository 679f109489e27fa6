#include "core/thread.h"

#include <string>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/system.h"

namespace fa {

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
