/* The emulated runtime's own test: memory, copies, streams and events, from several threads. TAP; run by test_simt.sh under
 * every SIMT_LAZY, with SIMT_DEVICES=2 and SIMT_MEMORY_MIB=1. */
#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "simt.h"

enum { N = 1000 };

static int tests, failures;

static void ok(bool condition, const char *name) {
    printf("%sok %d - %s\n", condition ? "" : "not ", ++tests, name);
    failures += !condition;
}

static bool is_lazy() {
    const char *text = getenv("SIMT_LAZY");
    return text && atoi(text);
}

static void add_kernel(int *x, int v) { x[threadIdx.x] += v; }

static cudaStream_t new_stream() {
    cudaStream_t s = nullptr;
    cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
    return s;
}

static cudaEvent_t new_event(unsigned flags = cudaEventDisableTiming) {
    cudaEvent_t e = nullptr;
    cudaEventCreateWithFlags(&e, flags);
    return e;
}

static int *device_ints(int n) {
    void *p = nullptr;
    cudaMalloc(&p, (size_t)n * sizeof(int));
    return (int *)p;
}

static int *pinned_ints(int n) {
    void *p = nullptr;
    cudaMallocHost(&p, (size_t)n * sizeof(int));
    return (int *)p;
}

static bool all_are(const int *x, int n, int v) {
    for (int i = 0; i < n; i++)
        if (x[i] != v) return false;
    return true;
}

static void copies() {
    std::vector<int> host(N, 1), back(N, 0);
    int *a = device_ints(N), *b = device_ints(N), *pinned = pinned_ints(N);
    cudaStream_t s = new_stream();
    size_t bytes = N * sizeof(int);
    cudaMemcpyAsync(a, host.data(), bytes, cudaMemcpyDefault, s);
    host.assign(N, 2);
    cudaMemcpyAsync(b, a, bytes, cudaMemcpyDefault, s);
    cudaMemcpyAsync(back.data(), b, bytes, cudaMemcpyDefault, s);
    ok(all_are(back.data(), N, 1), "pageable memory is read, and written, before the call returns");

    for (int i = 0; i < N; i++) pinned[i] = 3;
    cudaMemcpyAsync(a, pinned, bytes, cudaMemcpyHostToDevice, s);
    for (int i = 0; i < N; i++) pinned[i] = 4;
    cudaMemcpyAsync(back.data(), a, bytes, cudaMemcpyDeviceToHost, s);
    ok(all_are(back.data(), N, is_lazy() ? 4 : 3), "pinned memory is read when the stream comes to it");
    cudaMemcpyAsync(pinned, b, bytes, cudaMemcpyDeviceToHost, s);
    ok(all_are(pinned, N, is_lazy() ? 4 : 1), "and written then");
    cudaStreamSynchronize(s);
    ok(all_are(pinned, N, 1), "which is before the stream is synchronous again");

    cudaMemsetAsync(a, 0, bytes, s);
    cudaMemcpy2DAsync(a + 1, 40, host.data(), 20, 8, 25, cudaMemcpyDefault, s);
    cudaMemcpyAsync(back.data(), a, bytes, cudaMemcpyDefault, s);
    bool right = true;
    for (int i = 0; i < N; i++) right &= back[(size_t)i] == (i < 250 && (i % 10 == 1 || i % 10 == 2) ? 2 : 0);
    ok(right, "rows are copied by their pitches");

    ok(cudaMemcpyAsync(host.data(), a, bytes, cudaMemcpyHostToDevice, s) == cudaErrorInvalidValue &&
           cudaMemcpyAsync(a, host.data(), bytes, cudaMemcpyDeviceToDevice, s) == cudaErrorInvalidValue,
       "a copy in the wrong direction is refused");
    ok(cudaMemcpyAsync(a + 1, host.data(), bytes, cudaMemcpyDefault, s) == cudaErrorInvalidValue &&
           cudaMemcpyAsync(host.data(), a + 1, bytes, cudaMemcpyDefault, s) == cudaErrorInvalidValue &&
           cudaMemcpyAsync(pinned + 1, a, bytes, cudaMemcpyDefault, s) == cudaErrorInvalidValue &&
           cudaMemset(a + 1, 0, bytes) == cudaErrorInvalidValue,
       "and one beyond an allocation");
    ok(cudaMemcpy2DAsync(a, 4, b, 8, 8, 2, cudaMemcpyDefault, s) == cudaErrorInvalidPitchValue,
       "and rows that overlap");
    (void)cudaGetLastError();
    cudaFree(a);
    cudaFree(b);
    cudaFreeHost(pinned);
    cudaStreamDestroy(s);
}

static void memory() {
    void *p = nullptr;
    size_t left = 0, all = 0;
    ok(cudaMalloc(&p, 2 << 20) == cudaErrorMemoryAllocation && !p, "more memory than there is");
    ok(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess, "is an error that passes");
    cudaMalloc(&p, 1 << 19);
    ok(!cudaMemGetInfo(&left, &all) && left == 1 << 19 && all == 1 << 20, "what is left is what was not taken");
    cudaFree(p);
    ok(cudaFree((char *)p + 16) == cudaErrorInvalidValue && cudaGetLastError(), "memory is freed where it begins");
}

static void times() {
    float ms = -1;
    cudaStream_t s = new_stream();
    cudaEvent_t a = new_event(0), b = new_event(0), untimed = new_event();
    ok(cudaEventElapsedTime(&ms, a, b) == cudaErrorInvalidResourceHandle, "no time between events not recorded");
    cudaEventRecord(a, s);
    cudaEventRecord(untimed, s);
    cudaEventRecord(b, s);
    ok(cudaEventElapsedTime(&ms, a, untimed) == cudaErrorInvalidResourceHandle, "nor where one keeps no time");
    (void)cudaGetLastError();
    bool early = cudaEventElapsedTime(&ms, a, b) == cudaErrorNotReady;
    ok(early == is_lazy(), "nor before both have happened");
    ok((cudaGetLastError() == cudaErrorNotReady) == is_lazy(), "which cudaGetLastError knows too");
    cudaEventSynchronize(b);
    ok(cudaEventElapsedTime(&ms, a, b) == cudaSuccess && ms >= 0, "then there is");
    for (cudaEvent_t e : {a, b, untimed}) cudaEventDestroy(e);
    cudaStreamDestroy(s);
}

/* A producer fills a slot and records `filled`; a consumer on a thread and a stream of its own polls that event, adds the
 * slot up and records `released`, which the producer's stream waits for. */
static void two_threads(bool poll) {
    enum { ROUNDS = 200, SLOTS = 2 };
    int *slot[SLOTS], *sum = device_ints(N), *back = pinned_ints(N);
    cudaEvent_t filled[SLOTS], released[SLOTS];
    cudaStream_t produce = new_stream(), consume = new_stream();
    for (int i = 0; i < SLOTS; i++) {
        slot[i] = device_ints(N);
        filled[i] = new_event();
        released[i] = new_event();
    }
    cudaMemset(sum, 0, N * sizeof(int));
    std::atomic<int> produced{0}, consumed{0};
    std::thread consumer([&] {
        for (int r = 0; r < ROUNDS; r++) {
            while (produced <= r) std::this_thread::yield();
            int i = r % SLOTS;
            if (poll)
                while (cudaEventQuery(filled[i]) == cudaErrorNotReady) std::this_thread::yield();
            else cudaStreamWaitEvent(consume, filled[i], 0);
            int *from = slot[i];
            simt::enqueue(consume, [=] {
                for (int k = 0; k < N; k++) sum[k] += from[k];
            });
            cudaEventRecord(released[i], consume);
            consumed = r + 1;
        }
        (void)cudaGetLastError();
    });
    for (int r = 0; r < ROUNDS; r++) {
        while (consumed < r - 1) std::this_thread::yield();
        int i = r % SLOTS;
        cudaStreamWaitEvent(produce, released[i], 0);
        int *to = slot[i];
        simt::enqueue(produce, [=] {
            for (int k = 0; k < N; k++) to[k] = r;
        });
        cudaEventRecord(filled[i], produce);
        produced = r + 1;
    }
    consumer.join();
    cudaMemcpyAsync(back, sum, N * sizeof(int), cudaMemcpyDeviceToHost, consume);
    cudaStreamSynchronize(consume);
    ok(all_are(back, N, ROUNDS * (ROUNDS - 1) / 2),
       poll ? "a thread polls events that another records" : "streams of two threads wait for each other");
    for (int i = 0; i < SLOTS; i++) {
        cudaFree(slot[i]);
        cudaEventDestroy(filled[i]);
        cudaEventDestroy(released[i]);
    }
    cudaFree(sum);
    cudaFreeHost(back);
    cudaStreamDestroy(produce);
    cudaStreamDestroy(consume);
}

/* A stream waits for what was recorded when it was told to, whatever becomes of the event. */
static void event_recorded_anew() {
    cudaStream_t a = new_stream(), b = new_stream(), c = new_stream();
    cudaEvent_t e = new_event();
    int *x = device_ints(1), *back = pinned_ints(1);
    cudaMemset(x, 0, sizeof(int));
    simt::enqueue(a, [=] { *x = 1; });
    cudaEventRecord(e, a);
    cudaStreamWaitEvent(b, e, 0);
    cudaEventRecord(e, c);
    cudaEventSynchronize(e);
    cudaEventDestroy(e);
    cudaMemcpyAsync(back, x, sizeof(int), cudaMemcpyDeviceToHost, b);
    cudaStreamSynchronize(b);
    ok(*back == 1, "an event may be recorded anew, and destroyed, while a stream waits");
    for (cudaStream_t s : {a, b, c}) cudaStreamDestroy(s);
    cudaFree(x);
    cudaFreeHost(back);
}

static void devices() {
    int n = 0;
    char id[2][32] = {"", ""};
    ok(!cudaGetDeviceCount(&n) && n == 2 && cudaSetDevice(2) == cudaErrorInvalidDevice && cudaGetLastError(),
       "there are as many devices as was said");
    cudaDeviceGetPCIBusId(id[0], 32, 0);
    cudaDeviceGetPCIBusId(id[1], 32, 1);
    ok(strcmp(id[0], id[1]), "each has a bus id");
    cudaSetDevice(1);
    cudaStream_t s = new_stream();
    int *x = device_ints(32);
    cudaMemset(x, 0, 32 * sizeof(int));
    cudaError_t other = cudaSuccess;
    std::thread([&] {
        LAUNCH(add_kernel, 1, 32, 0, s, x, 1);
        other = cudaGetLastError();
    }).join();
    ok(other == cudaErrorInvalidResourceHandle, "a thread begins on device 0, and launches on no other's streams");
    LAUNCH(add_kernel, 1, 32, 0, s, x, 1);
    int back[32];
    cudaMemcpyAsync(back, x, sizeof back, cudaMemcpyDefault, s);
    ok(cudaGetLastError() == cudaSuccess && all_are(back, 32, 1), "on its own device's it does");
    cudaFree(x);
    cudaStreamDestroy(s);
    cudaSetDevice(0);
}

int main() {
    copies();
    memory();
    times();
    two_threads(true);
    two_threads(false);
    event_recorded_anew();
    devices();
    printf("1..%d\n", tests);
    return failures > 0;
}
