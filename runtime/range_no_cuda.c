#include "runtime/range.h"

void range_begin(const char *name, i64 number) { (void)name, (void)number; }

void range_end(void) {}
