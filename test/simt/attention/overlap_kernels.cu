// The kernels of calls whose launches overlap, but for those of sm_90a.
#include "forward_kernels.cu"
#include "mla_kernels.cu"
