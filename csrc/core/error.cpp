#include "core/error.h"

#include <exception>
#include <new>

namespace fa {

Failure cancelled() {
  return std::make_shared<const Error>(ErrorCode::kCancelled, "",
                                       "The work was dropped: its environment is shutting down");
}

Failure aborted() {
  return std::make_shared<const Error>(ErrorCode::kAborted, "", "The call was aborted");
}

Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return std::make_shared<const Error>(error);
  } catch (const std::bad_alloc&) {
    return std::make_shared<const Error>(ErrorCode::kOutOfMemory, "",
                                         "The system has no memory left for the work");
  } catch (const std::exception& error) {
    return std::make_shared<const Error>(ErrorCode::kInternal, "", error.what());
  } catch (...) {
    return std::make_shared<const Error>(ErrorCode::kInternal, "", "An unknown exception");
  }
}

}  // namespace fa
