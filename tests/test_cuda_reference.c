/* The models of tests/reference, which PyTorch and Hugging Face have computed, on CUDA. */
#define REFERENCE_DEVICE "cuda"
#include "tests/test_reference.c"
