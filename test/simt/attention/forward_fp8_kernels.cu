// The forward kernels of sm_90a for float8: all of them.
#include "cuda/sm90/forward_e4m3.cu"
