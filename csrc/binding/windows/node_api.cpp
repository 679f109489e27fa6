// Node-API on Windows. Its functions are in the program that has loaded us, whatever that is
// called: node.exe, electron.exe. A library to link would name one of them; instead each function
// is asked for by its name when the addon is loaded, and put where calls of imported functions look
// for its address.
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

namespace {

void* function(const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(GetModuleHandleA(nullptr), name));
}

}  // namespace

extern "C" {

#define FA_NODE_API(name) void* __imp_##name = function(#name);
#include "node_api_names.h"  // written by cmake/node_api_windows.cmake

}  // extern "C"
