# What csrc/binding/glibc_floor.cpp does, for the functions that the static CUDA runtime calls: all of them have moved to
# libc in glibc 2.34, and their first version does the same. Each becomes a jump to that version.
set(cudart_symbols dlclose dlerror dlopen dlsym dlvsym pthread_condattr_setpshared pthread_getspecific
  pthread_key_create pthread_key_delete pthread_kill pthread_mutexattr_destroy pthread_mutexattr_init
  pthread_mutexattr_setpshared pthread_mutexattr_settype pthread_rwlock_destroy pthread_rwlock_init
  pthread_rwlock_rdlock pthread_rwlock_timedrdlock pthread_rwlock_timedwrlock pthread_rwlock_tryrdlock
  pthread_rwlock_trywrlock pthread_rwlock_unlock pthread_rwlock_wrlock pthread_rwlockattr_destroy
  pthread_rwlockattr_init pthread_rwlockattr_setpshared pthread_setspecific pthread_spin_destroy pthread_spin_init
  pthread_spin_lock pthread_spin_trylock pthread_spin_unlock sem_destroy sem_init sem_post sem_timedwait sem_trywait
  sem_wait shm_open shm_unlink)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(first GLIBC_2.2.5)
  set(first_dlmopen GLIBC_2.3.4)
  set(jump jmp)
else()
  set(first GLIBC_2.17)
  set(first_dlmopen GLIBC_2.17)
  set(jump b)
endif()
set(assembly "/* Written by cmake/cudart_floor.cmake. */\n.section .note.GNU-stack,\"\",%progbits\n.text\n")
foreach(symbol IN LISTS cudart_symbols ITEMS dlmopen)
  set(version ${first})
  if(DEFINED first_${symbol})
    set(version ${first_${symbol}})
  endif()
  string(APPEND assembly ".symver older_${symbol}, ${symbol}@${version}\n.globl __wrap_${symbol}\n"
    ".hidden __wrap_${symbol}\n.type __wrap_${symbol}, %function\n__wrap_${symbol}:\n\t${jump} older_${symbol}")
  if(jump STREQUAL "jmp")
    string(APPEND assembly "@PLT")
  endif()
  string(APPEND assembly "\n")
  target_link_options(flash_attention PRIVATE -Wl,--wrap=${symbol})
endforeach()
enable_language(ASM)
set(floor "${PROJECT_BINARY_DIR}/cudart_floor.s")
file(CONFIGURE OUTPUT "${floor}" CONTENT "${assembly}" @ONLY)
target_sources(flash_attention PRIVATE "${floor}")
