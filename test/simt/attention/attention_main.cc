#include "attention.h"

int main(int argc, char** argv) { return simt_test::run_attention(argc, argv); }
