#include "core/transfer.h"

#include <memory>

namespace fa {

void transfer(const TensorRef& source, Stream& from, const TensorRef& target) {
  Stream& to = *target.storage->stream();
  const DType dtype = target.view.dtype;
  const auto host = std::make_shared<HostStorage>(
      &from, static_cast<size_t>(source.view.size()) * dtype_size(dtype));
  from.enqueue(ops::Download{.source = source.view, .dtype = dtype, .host = host->data()},
               {{source.storage}, {host}});
  to.enqueue(ops::Receive{.host = host->data(), .dtype = dtype, .target = target.view},
             {{host}, {target.storage}});
}

}  // namespace fa
