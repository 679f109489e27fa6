// Index tensors where the host can read them.
#pragma once

#include "core/storage.h"

namespace fa::binding {

/** Whether the host can read what `storage` holds without waiting. */
bool host_readable(const Storage& storage);

/** `view` of `storage`, whose bytes the host can read, in the host's memory. */
View host_view(const View& view, const Storage& storage);

}  // namespace fa::binding
