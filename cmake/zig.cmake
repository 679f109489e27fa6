# A toolchain file: zig is a clang that brings the headers and libraries of every system with it.
#
# FLASH_ATTENTION_ZIG: the program. FLASH_ATTENTION_ZIG_TARGET: what it compiles for, as it says it, such as
# x86_64-linux-musl.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES FLASH_ATTENTION_ZIG FLASH_ATTENTION_ZIG_TARGET)
string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${FLASH_ATTENTION_ZIG_TARGET}")
if(FLASH_ATTENTION_ZIG_TARGET MATCHES "-windows")
  set(CMAKE_SYSTEM_NAME Windows)
  set(CMAKE_RC_COMPILER "${FLASH_ATTENTION_ZIG}") # asked for, never used: there are no resources
elseif(FLASH_ATTENTION_ZIG_TARGET MATCHES "-macos")
  set(CMAKE_SYSTEM_NAME Darwin)
  set(CMAKE_INSTALL_NAME_TOOL "${FLASH_ATTENTION_ZIG}") # likewise
else()
  set(CMAKE_SYSTEM_NAME Linux)
endif()
set(CMAKE_CXX_COMPILER "${FLASH_ATTENTION_ZIG}" c++ -target ${FLASH_ATTENTION_ZIG_TARGET})
# Finding these out would link a program, for which zig first compiles a whole C library.
set(CMAKE_CXX_COMPILER_FORCED TRUE)
set(CMAKE_CXX_COMPILER_ID_RUN TRUE)
set(CMAKE_CXX_COMPILER_ID Clang)
set(CMAKE_CXX_COMPILER_VERSION 16.0.6)
set(CMAKE_CXX_COMPILER_FRONTEND_VARIANT GNU)
set(CMAKE_CXX_STANDARD_COMPUTED_DEFAULT 17)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_HAVE_LIBC_PTHREAD TRUE CACHE INTERNAL "") # no system needs an option for them

# Its names of the instruction sets; -mtune it takes for -mcpu.
set(march_v2 -march=x86_64_v2)
set(march_v3 -march=x86_64_v3)
set(march_v4 -march=x86_64_v4)
set(march_v4_bf16 -march=x86_64_v4+avx512bf16)
