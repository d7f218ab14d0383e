/* NCCL's library, loaded when GPUs are to exchange: the CUDA toolkit does not contain it, and without it all else works.
 * Its header is included here alone, and needed to compile. */
#ifndef TALLY_NCCL_LIBRARY_H
#define TALLY_NCCL_LIBRARY_H

#include <nccl.h>

#include "runtime/status.h"

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 18, 0)
#error "nccl.h: found a version before 2.18, expected 2.18 or newer"
#endif

/* X(name): what is called of it, without its prefix */
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

/* Loads it where it has not been yet; it stays loaded. DEVICE where there is none, or none that will do: the message says why. */
status nccl_library_load(const nccl_library **library);

#endif
