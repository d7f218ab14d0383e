/* The same on CUDA: rows of different lengths, drawn together. */
#define SAMPLER_DEVICE "cuda"
#include "tests/test_sampler.c"
