// Assertions for the programs in this folder: the first that fails ends the program with status 1.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "core/error.h"

#define CHECK(condition)                                                             \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      std::_Exit(1);                                                                 \
    }                                                                                \
  } while (false)

/** True when `body` throws fa::Error with that code. */
template <typename Body>
bool throws(fa::ErrorCode code, Body body) {
  try {
    body();
  } catch (const fa::Error& error) {
    return error.code() == code;
  }
  return false;
}
