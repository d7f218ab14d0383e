/* The CPU backend's resources: huge-page memory and OpenMP threads. */
#ifndef TALLY_DEVICE_CPU_H
#define TALLY_DEVICE_CPU_H

#include "runtime/device.h"

status device_cpu_open(device *dev, int threads);

#endif
