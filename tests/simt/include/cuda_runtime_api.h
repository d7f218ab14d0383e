#include "../simt_rt.h"
