/* A dry device runs the calls of a real one without computing: memory has addresses but no bytes, math does nothing (DISPATCH in
 * device.h), FLOPs are counted. Its GEMM library asks oneDNN for the layouts and workspaces that each GEMM would take, so that
 * gemm_memory_bytes is what a real device would hold after the same calls. The host must not read its memory. */
#ifndef TALLY_DEVICE_DRY_H
#define TALLY_DEVICE_DRY_H

#include "runtime/device.h"

/* like: kind, threads and bf16_products of the device that the calls are meant for; nothing else of it is read. The layouts of a
 * CPU are those of this machine's oneDNN and of like->threads threads. */
status device_dry_open(device **dev, const device *like);

#endif
