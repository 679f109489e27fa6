#include "binding/host_index.h"

#include "binding/shapes.h"
#include "core/stream.h"

namespace fa::binding {

bool host_readable(const Storage& storage) {
  if (storage.bytes() == 0) return true;
  return storage.host_data() != nullptr && storage.stream()->completed(storage.host_written_by) &&
         !storage.failure();
}

View host_view(const View& view, const Storage& storage) {
  View result = view;
  const auto* const bytes = static_cast<const char*>(storage.host_data());
  result.data = const_cast<char*>(bytes + byte_offset(storage, view));
  return result;
}

}  // namespace fa::binding
