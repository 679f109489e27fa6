// The program simt_attention, whose main is in a file of its own so that scripts/mutate.mjs can
// link it with other kernels.
#pragma once

namespace simt_test {

int run_attention(int argc, char** argv);

}  // namespace simt_test
