// Lets a binary linked on a new system run on glibc 2.28, what Node 20 itself asks for. The linker
// binds every libc function to its newest version, although only the symbol's home or a detail
// changed; here the older versions are named, and the linker redirects to them (--wrap in
// CMakeLists.txt). scripts/check-binary.mjs asserts the result.
#if defined(FA_GLIBC_FLOOR)
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

#include <cstdint>

// glibc's first version on the architecture, where the thread functions were before 2.34 moved them
// from libpthread to libc.
#if defined(__x86_64__)
#define FA_GLIBC_FIRST "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define FA_GLIBC_FIRST "GLIBC_2.17"
#else
#error "name the first glibc version of this architecture"
#endif

#define FA_OLDER(name, version) __asm__(".symver older_" #name "," #name "@" version)

extern "C" {

FA_OLDER(pthread_create, FA_GLIBC_FIRST);
FA_OLDER(pthread_detach, FA_GLIBC_FIRST);
FA_OLDER(pthread_join, FA_GLIBC_FIRST);
FA_OLDER(pthread_mutex_trylock, FA_GLIBC_FIRST);
FA_OLDER(pthread_once, FA_GLIBC_FIRST);
FA_OLDER(__pthread_key_create, FA_GLIBC_FIRST);
FA_OLDER(exp, FA_GLIBC_FIRST);
FA_OLDER(log, FA_GLIBC_FIRST);

int older_pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
int older_pthread_detach(pthread_t);
int older_pthread_join(pthread_t, void**);
int older_pthread_mutex_trylock(pthread_mutex_t*);
int older_pthread_once(pthread_once_t*, void (*)());
int older___pthread_key_create(pthread_key_t*, void (*)(void*));
double older_exp(double);
double older_log(double);

int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                          void* (*start)(void*), void* argument) {
  return older_pthread_create(thread, attributes, start, argument);
}

int __wrap_pthread_detach(pthread_t thread) { return older_pthread_detach(thread); }

int __wrap_pthread_join(pthread_t thread, void** result) {
  return older_pthread_join(thread, result);
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t* mutex) {
  return older_pthread_mutex_trylock(mutex);
}

int __wrap_pthread_once(pthread_once_t* control, void (*routine)()) {
  return older_pthread_once(control, routine);
}

int __wrap___pthread_key_create(pthread_key_t* key, void (*destroy)(void*)) {
  return older___pthread_key_create(key, destroy);
}

// 2.29 only stopped reporting errors the SVID way.
double __wrap_exp(double x) { return older_exp(x); }
double __wrap_log(double x) { return older_log(x); }

// The static libstdc++ skips atomic instructions while this 2.32 variable says that there is only
// one thread. With Node there never is only one.
char __wrap___libc_single_threaded = 0;

#ifdef DLFO_STRUCT_HAS_EH_DBASE  // glibc >= 2.35: the static libgcc finds unwind tables with this

static int find_object(dl_phdr_info* info, size_t, void* data) {
  auto* found = static_cast<dl_find_object*>(data);
  const auto address = reinterpret_cast<uintptr_t>(found->dlfo_map_start);
  void* eh_frame = nullptr;
  bool inside = false;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& header = info->dlpi_phdr[i];
    const uintptr_t begin = info->dlpi_addr + header.p_vaddr;
    if (header.p_type == PT_LOAD) inside |= address - begin < header.p_memsz;
    if (header.p_type == PT_GNU_EH_FRAME) eh_frame = reinterpret_cast<void*>(begin);
  }
  if (!inside || eh_frame == nullptr) return 0;
  found->dlfo_eh_frame = eh_frame;
  return 1;
}

// libgcc reads dlfo_eh_frame and dlfo_eh_dbase, and on both our architectures the latter is null.
int __wrap__dl_find_object(void* address, dl_find_object* result) {
  *result = {};
  result->dlfo_map_start = address;
  return dl_iterate_phdr(find_object, result) == 1 ? 0 : -1;
}
#endif

}  // extern "C"
#endif
