#include "../fake_cublaslt.h"
