// Every failure the native side reports: a stable code, the argument it is about, and a message
// that says what was given and what was expected. The binding turns it into a JavaScript error.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace fa {

enum class ErrorCode {
  kType,               // ERR_TYPE: not the kind of value the argument takes
  kShape,              // ERR_SHAPE
  kDType,              // ERR_DTYPE
  kDevice,             // ERR_DEVICE: tensors where they must not be, or a name that is no device
  kOption,             // ERR_OPTION: an option out of range, or options that exclude each other
  kDisposed,           // ERR_DISPOSED
  kState,              // ERR_STATE: not now
  kOutOfMemory,        // ERR_OUT_OF_MEMORY
  kDeviceUnavailable,  // ERR_DEVICE_UNAVAILABLE
  kCuda,               // ERR_CUDA: a call of the CUDA runtime, or the work on a CUDA device, failed
  kAborted,            // ERR_ABORTED: the caller's signal was aborted
  kCancelled,          // ERR_CANCELLED: the environment is shutting down
  kInternal,           // ERR_INTERNAL: a failure that has no code of its own
};

constexpr const char* error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kType: return "ERR_TYPE";
    case ErrorCode::kShape: return "ERR_SHAPE";
    case ErrorCode::kDType: return "ERR_DTYPE";
    case ErrorCode::kDevice: return "ERR_DEVICE";
    case ErrorCode::kOption: return "ERR_OPTION";
    case ErrorCode::kDisposed: return "ERR_DISPOSED";
    case ErrorCode::kState: return "ERR_STATE";
    case ErrorCode::kOutOfMemory: return "ERR_OUT_OF_MEMORY";
    case ErrorCode::kDeviceUnavailable: return "ERR_DEVICE_UNAVAILABLE";
    case ErrorCode::kCuda: return "ERR_CUDA";
    case ErrorCode::kAborted: return "ERR_ABORTED";
    case ErrorCode::kCancelled: return "ERR_CANCELLED";
    case ErrorCode::kInternal: return "ERR_INTERNAL";
  }
  return "ERR_INTERNAL";
}

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string argument, const std::string& message)
      : std::runtime_error(message), code_(code), argument_(std::move(argument)) {}

  ErrorCode code() const { return code_; }
  const std::string& argument() const { return argument_; }

 private:
  ErrorCode code_;
  std::string argument_;
};

/** Why a task failed, shared by everything it should have written; null when nothing went wrong. */
using Failure = std::shared_ptr<const Error>;

/** The exception being handled. */
Failure current_failure();

/** The failure of tasks that a stream drops while it shuts down. */
Failure cancelled();

/** The failure of tasks whose caller has aborted them. */
Failure aborted();

}  // namespace fa
