// Asynchronous copies from global to shared memory (sm_80). A copy has landed for the issuing
// thread after cp_async_wait, and for other threads after a barrier that follows it.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/async_copy.h"
#endif

namespace ptx {

#if PTX_DEVICE

/** Copies 16 bytes past L1; writes 16 zero bytes, without reading, where `predicate` is false. */
PTX_FN void cp_async16(uint32_t destination, const void* source, bool predicate = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination),
               "l"(__cvta_generic_to_global(source)), "r"(predicate ? 16 : 0)
               : "memory");
}
PTX_FN void cp_async8(uint32_t destination, const void* source, bool predicate = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(destination),
               "l"(__cvta_generic_to_global(source)), "r"(predicate ? 8 : 0)
               : "memory");
}
PTX_FN void cp_async4(uint32_t destination, const void* source, bool predicate = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(destination),
               "l"(__cvta_generic_to_global(source)), "r"(predicate ? 4 : 0)
               : "memory");
}
/** Closes the group of the copies this thread issued since the last commit; it may be empty. */
PTX_FN void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/** Waits until at most the N youngest groups of this thread are in flight. */
template <int N>
PTX_FN void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#else

inline void cp_async16(uint32_t destination, const void* source, bool predicate = true, PTX_AT) {
  simt::async_copy(destination, source, 16, predicate, at);
}
inline void cp_async8(uint32_t destination, const void* source, bool predicate = true, PTX_AT) {
  simt::async_copy(destination, source, 8, predicate, at);
}
inline void cp_async4(uint32_t destination, const void* source, bool predicate = true, PTX_AT) {
  simt::async_copy(destination, source, 4, predicate, at);
}
inline void cp_async_commit() { simt::async_copy_commit(); }
template <int N>
inline void cp_async_wait() {
  simt::async_copy_wait(N);
}

#endif

}  // namespace ptx
