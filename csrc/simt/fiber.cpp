#include "simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <mutex>
#include <new>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace simt {

namespace {

constexpr size_t kStackBytes = 256 * 1024;  // virtual; a kernel touches a few pages of it
constexpr size_t kBatch = 32;
constexpr size_t kStagger = 448, kStaggerSpan = 16 * 1024;

std::mutex pool_mutex;
std::vector<uint8_t*> pool;

}  // namespace

uint8_t* take_stack() {
  const std::lock_guard<std::mutex> lock(pool_mutex);
  if (pool.empty()) {
    const size_t guard = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    pool.reserve(kBatch);
    void* memory = mmap(nullptr, kBatch * (guard + kStackBytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    uint8_t* next = static_cast<uint8_t*>(memory);
    for (size_t i = 0; i < kBatch; ++i, next += guard + kStackBytes) {
      if (mprotect(next, guard, PROT_NONE) != 0) throw std::bad_alloc();
      pool.push_back(next + guard);
    }
  }
  uint8_t* stack = pool.back();
  pool.pop_back();
  return stack;
}

void give_back_stack(uint8_t* stack) {
  const std::lock_guard<std::mutex> lock(pool_mutex);
  pool.push_back(stack);
}

#if defined(__x86_64__)

// The calling convention (System V AMD64 ABI §3.2.1) leaves rbx, rbp and r12 to r15 to the callee;
// everything else the compiler has saved before the call.
extern "C" void simt_switch_context(void** from, void* to);
asm(R"(
.text
.hidden simt_switch_context
.globl simt_switch_context
.type simt_switch_context, @function
simt_switch_context:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch_context, . - simt_switch_context
)");

void switch_context(Context& from, Context& to) { simt_switch_context(&from.state, to.state); }

void prepare(Context& context, uint8_t* stack, int index, void (*entry)()) {
  const uintptr_t top = reinterpret_cast<uintptr_t>(
      stack + kStackBytes - static_cast<size_t>(index) * kStagger % kStaggerSpan);
  void** frame = reinterpret_cast<void**>(top & ~uintptr_t{15});
  *--frame = nullptr;  // the return address of `entry`, which also aligns its stack
  *--frame = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; ++saved) *--frame = nullptr;
  context.state = frame;
}

#else  // portable, and several times slower: it makes two system calls

namespace {

ucontext_t* state_of(Context& context) {
  if (!context.state) context.state = new ucontext_t;
  return static_cast<ucontext_t*>(context.state);
}

}  // namespace

void switch_context(Context& from, Context& to) { swapcontext(state_of(from), state_of(to)); }

void prepare(Context& context, uint8_t* stack, int index, void (*entry)()) {
  ucontext_t* state = state_of(context);
  getcontext(state);
  state->uc_stack.ss_sp = stack;
  state->uc_stack.ss_size = kStackBytes - static_cast<size_t>(index) * kStagger % kStaggerSpan;
  state->uc_link = nullptr;
  makecontext(state, entry, 0);
}

#endif

}  // namespace simt
