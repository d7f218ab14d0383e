/* NCCL's library, loaded when a job with several GPUs opens: the CUDA toolkit does not contain it, and only
 * NCCL's collectives need it. Only this file includes NCCL's header. */
#ifndef TALLY_NCCL_LIBRARY_H
#define TALLY_NCCL_LIBRARY_H

#include <nccl.h>

#include "runtime/status.h"

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 18, 0)
#error "nccl.h: found a version before 2.18, expected 2.18 or newer"
#endif

/* X(name): the functions that are used, without their prefix */
#define NCCL_CALLS(X)                                                                                                  \
    X(GetUniqueId)                                                                                                     \
    X(CommInitRankConfig)                                                                                              \
    X(CommFinalize)                                                                                                    \
    X(CommDestroy)                                                                                                     \
    X(CommAbort)                                                                                                       \
    X(CommGetAsyncError)                                                                                               \
    X(GetErrorString)                                                                                                  \
    X(GetLastError)                                                                                                    \
    X(GroupStart)                                                                                                      \
    X(GroupEnd)                                                                                                        \
    X(AllGather)                                                                                                       \
    X(AllReduce)                                                                                                       \
    X(ReduceScatter)                                                                                                   \
    X(Broadcast)                                                                                                       \
    X(Send)                                                                                                            \
    X(Recv)

typedef struct {
    char name[32]; /* "nccl 2.28.9" */
#define NCCL_POINTER(call) __typeof__(nccl##call) *call;
    NCCL_CALLS(NCCL_POINTER)
#undef NCCL_POINTER
} nccl_library;

/* Loads the library once; it stays loaded. DEVICE, with the reason, if there is none or it cannot be used. */
status nccl_library_load(const nccl_library **library);

#endif
