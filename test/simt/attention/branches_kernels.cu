// How a call's launches run side by side, for calls of any kernel.
#include "cuda/runtime/branches.cpp"
#include "cuda/runtime/forward.cu"
