#include "core/storage.h"

#include <cstdlib>
#include <string>

namespace fa {

HostStorage::HostStorage(Stream* stream, size_t bytes)
    : Storage(stream, bytes), data_(std::malloc(bytes > 0 ? bytes : 1)) {
  if (data_ == nullptr) {
    throw Error(ErrorCode::kOutOfMemory, "",
                "Cannot allocate " + std::to_string(bytes) + " bytes of host memory");
  }
}

HostStorage::~HostStorage() { std::free(data_); }

}  // namespace fa
