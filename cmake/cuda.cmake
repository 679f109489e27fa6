# Decides whether the CUDA backend is built, and how nvcc compiles it.
#
# FLASH_ATTENTION_CUDA (environment):
#   on    always
#   off   never
#   nvcc  when nvcc is here, driver or not: for machines that are not this one
#   auto  when nvcc and an NVIDIA driver are here, the default: a build takes 13 minutes of a core with CUDA
#         and one without
set(wanted "$ENV{FLASH_ATTENTION_CUDA}")
if(wanted STREQUAL "")
  set(wanted auto)
endif()
if(NOT wanted MATCHES "^(auto|nvcc|on|off)$")
  message(FATAL_ERROR "FLASH_ATTENTION_CUDA=${wanted}: expected auto, nvcc, on or off")
endif()

set(FLASH_ATTENTION_USE_CUDA OFF)
if(wanted STREQUAL "off" OR FLASH_ATTENTION_SIMT)
  return()
endif()

set(names nvcc)
if(NOT "$ENV{CUDACXX}" STREQUAL "")
  set(names "$ENV{CUDACXX}" nvcc)
endif()
find_program(FLASH_ATTENTION_NVCC NAMES ${names}
  HINTS "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin" /usr/local/cuda/bin)
set(driver FALSE)
foreach(trace IN ITEMS /proc/driver/nvidia/version /dev/nvidiactl /dev/dxg)
  if(EXISTS ${trace})
    set(driver TRUE)
  endif()
endforeach()
if(NOT FLASH_ATTENTION_NVCC)
  if(wanted STREQUAL "on")
    message(FATAL_ERROR "FLASH_ATTENTION_CUDA=on: nvcc was not found. Install the CUDA toolkit "
      "(12.4 or newer) or put its bin folder into PATH.")
  endif()
  message(STATUS "CUDA backend: left out, nvcc was not found")
  return()
elseif(wanted STREQUAL "auto" AND NOT driver)
  message(STATUS "CUDA backend: left out, there is no NVIDIA driver (FLASH_ATTENTION_CUDA=on builds it all the same)")
  return()
endif()

# Machine code of each generation whose limits differ: sm_89 runs that of sm_86. What came after sm_90 runs PTX, so that of
# compute_90 is the lowest that anything needs. What only Hopper has, wgmma and setmaxnreg, is compiled for sm_90a and for
# nothing else.
set(FLASH_ATTENTION_TARGETS sm_80 sm_86 sm_90 compute_90 sm_90a)
set(FLASH_ATTENTION_GPU "" CACHE STRING "The one compute capability to compile for, without its point: 90")
if("$ENV{FLASH_ATTENTION_PTX_ONLY}" STREQUAL "")
  set(FLASH_ATTENTION_PTX_ONLY OFF)
else()
  set(FLASH_ATTENTION_PTX_ONLY ON) # the driver makes machine code of it at the first call
endif()

# Sets the options of nvcc for a list of targets. What has the same instructions is made from the same PTX: making that takes
# half of the time.
function(fa_gencode result)
  if("sm_90a" IN_LIST ARGN)
    set(options arch=compute_90a,code=sm_90a)
    if(FLASH_ATTENTION_PTX_ONLY)
      set(options arch=compute_90a,code=compute_90a)
    endif()
  elseif(FLASH_ATTENTION_PTX_ONLY)
    set(options arch=compute_80,code=compute_80) # for any GPU
  elseif(FLASH_ATTENTION_GPU)
    set(options arch=compute_${FLASH_ATTENTION_GPU},code=sm_${FLASH_ATTENTION_GPU})
  else()
    set(codes_80 ${ARGN})
    list(FILTER codes_80 INCLUDE REGEX "_8[0-9]$")
    set(codes_90 ${ARGN})
    list(FILTER codes_90 EXCLUDE REGEX "_8[0-9]$")
    set(options "")
    foreach(virtual IN ITEMS 80 90)
      if(codes_${virtual})
        list(JOIN codes_${virtual} "," codes)
        list(APPEND options "arch=compute_${virtual},code=[${codes}]")
      endif()
    endforeach()
  endif()
  list(TRANSFORM options PREPEND "--generate-code=")
  set(${result} "${options}" PARENT_SCOPE)
endfunction()

set(CMAKE_CUDA_ARCHITECTURES OFF)
set(CMAKE_CUDA_COMPILER "${FLASH_ATTENTION_NVCC}")
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.4)
  message(FATAL_ERROR "flash-attention needs CUDA 12.4 or newer, found ${CMAKE_CUDA_COMPILER_VERSION}")
endif()
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION) # a CMake that is older than nvcc's C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
set(FLASH_ATTENTION_NVCC_OPTIONS -Xcompiler=-Wall,-Wextra)
# Machine code is not compressed unless asked for. Drivers that unpack it come with CUDA 12.4, the
# option with nvcc 12.8.
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
  list(APPEND FLASH_ATTENTION_NVCC_OPTIONS -compress-mode=size)
endif()
option(FLASH_ATTENTION_WERROR "Warnings of nvcc, ptxas and their host compiler are errors: for those we know" OFF)
if(FLASH_ATTENTION_WERROR)
  list(APPEND FLASH_ATTENTION_NVCC_OPTIONS -Werror=all-warnings)
endif()
set(FLASH_ATTENTION_USE_CUDA ON)
message(STATUS "CUDA backend: nvcc ${CMAKE_CUDA_COMPILER_VERSION}")
