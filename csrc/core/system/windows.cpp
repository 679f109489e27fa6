#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <algorithm>
#include <bit>

#include "core/system.h"

namespace fa {

namespace {

MEMORYSTATUSEX memory_status() {
  MEMORYSTATUSEX status{};
  status.dwLength = sizeof status;
  if (!GlobalMemoryStatusEx(&status)) {
    status.ullTotalPhys = status.ullTotalPageFile = UINT64_MAX / 2;
  }
  return status;
}

}  // namespace

int usable_cores() {
  // Masks of one group of up to 64 processors; both are 0 in a process that runs in several.
  DWORD_PTR ours = 0, all = 0;
  GetProcessAffinityMask(GetCurrentProcess(), &ours, &all);
  const int cores = ours != all ? std::popcount(uint64_t{ours})
                                : static_cast<int>(GetActiveProcessorCount(ALL_PROCESSOR_GROUPS));
  return std::max(cores, 1);
}

uint64_t physical_memory() { return memory_status().ullTotalPhys; }

uint64_t usable_memory() { return memory_status().ullTotalPageFile; }  // with RAM, despite the name

std::string cpu_model() {
  char text[128] = "";
  DWORD size = sizeof text;
  RegGetValueA(HKEY_LOCAL_MACHINE, "HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0",
               "ProcessorNameString", RRF_RT_REG_SZ, nullptr, text, &size);
  std::string name = text;
  name.erase(name.find_last_not_of(' ') + 1);
  return name;
}

size_t page_size() {
  SYSTEM_INFO info;
  GetSystemInfo(&info);
  return info.dwPageSize;
}

void* map_pages(size_t bytes) {
  return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void unmap_pages(void* data, size_t) { VirtualFree(data, 0, MEM_RELEASE); }

void ask_for_huge_pages(void*, size_t) {}  // only privileged processes get them

void prepare_thread(const char* name) {  // no signals here
  // Of Windows 10 1607, and not in the headers of every compiler.
  static const auto set_description =
      reinterpret_cast<HRESULT(WINAPI*)(HANDLE, PCWSTR)>(reinterpret_cast<void*>(
          GetProcAddress(GetModuleHandleA("kernel32.dll"), "SetThreadDescription")));
  if (set_description == nullptr) return;
  const std::string narrow = name;
  set_description(GetCurrentThread(), std::wstring(narrow.begin(), narrow.end()).c_str());
}

void stay_loaded() {
  HMODULE module = nullptr;
  GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                     reinterpret_cast<LPCSTR>(&stay_loaded), &module);
}

}  // namespace fa
