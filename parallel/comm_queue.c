#include "parallel/comm_queue.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RING = 256 }; /* operations */

struct comm_queue {
    const comm_work *work;
    void *context;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work_came, work_done;
    char *ring;
    uint64_t put; /* ticket of the operation put last */
    /* under the lock */
    uint64_t ready; /* the same, for the queue's thread */
    uint64_t done;  /* the ticket of the operation completed last */
    bool started, ending, failed;
    status_code code;
    char message[1024];
};

static void *slot(const comm_queue *q, uint64_t ticket) { return q->ring + ticket % RING * q->work->operation_bytes; }

/* under the lock */
static void keep_error(comm_queue *q, status_code code) {
    q->failed = true;
    q->code = code;
    snprintf(q->message, sizeof q->message, "%s", status_message());
}

static status error_of(const comm_queue *q) { return status_fail(q->code, __FILE__, __LINE__, "%s", q->message); }

static void *run_thread(void *queue) {
    comm_queue *q = queue;
    status_code st = q->work->start(q->context);
    pthread_mutex_lock(&q->lock);
    if (st) keep_error(q, st);
    q->started = true;
    pthread_cond_signal(&q->work_done);
    for (;;) {
        while (!q->ending && (q->failed || q->done == q->ready)) pthread_cond_wait(&q->work_came, &q->lock);
        if (q->failed || q->done == q->ready) break;
        uint64_t ticket = q->done + 1;
        pthread_mutex_unlock(&q->lock);
        st = q->work->run(q->context, slot(q, ticket));
        pthread_mutex_lock(&q->lock);
        if (st) keep_error(q, st);
        else q->done = ticket;
        pthread_cond_signal(&q->work_done);
    }
    bool failed = q->failed;
    pthread_mutex_unlock(&q->lock);
    q->work->stop(q->context, failed);
    return NULL;
}

/* The main thread handles signals, so this thread and the threads that it starts block them. */
static int start_thread(comm_queue *q) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&q->thread, NULL, run_thread, q);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void free_queue(comm_queue *q) {
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->work_came);
    pthread_cond_destroy(&q->work_done);
    free(q->ring);
    free(q);
}

status comm_queue_open(comm_queue **queue, const comm_work *work, void *context) {
    *queue = NULL;
    comm_queue *q = calloc(1, sizeof *q);
    char *ring = q ? calloc(RING, work->operation_bytes) : NULL;
    if (!ring) {
        free(q);
        FAIL(MEM, "no memory for a queue of collectives");
    }
    *q = (comm_queue){.work = work, .context = context, .ring = ring};
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->work_came, NULL);
    pthread_cond_init(&q->work_done, NULL);
    int error = start_thread(q);
    if (error) {
        free_queue(q);
        FAIL(COMM, "no thread for collectives: %s", strerror(error));
    }
    pthread_mutex_lock(&q->lock);
    while (!q->started) pthread_cond_wait(&q->work_done, &q->lock);
    status_code st = q->failed ? error_of(q) : STATUS_OK;
    pthread_mutex_unlock(&q->lock);
    if (st) comm_queue_close(q);
    else *queue = q;
    return st;
}

void comm_queue_end(comm_queue *q) {
    pthread_mutex_lock(&q->lock);
    q->ending = true;
    pthread_cond_signal(&q->work_came);
    pthread_mutex_unlock(&q->lock);
}

void comm_queue_close(comm_queue *q) {
    if (!q) return;
    comm_queue_end(q);
    pthread_join(q->thread, NULL);
    free_queue(q);
}

uint64_t comm_queue_before_put(const comm_queue *q) { return q->put < RING ? 0 : q->put + 1 - RING; }

status comm_queue_put(comm_queue *q, const void *operation, uint64_t *ticket) {
    TRY(comm_queue_wait(q, comm_queue_before_put(q)));
    memcpy(slot(q, q->put + 1), operation, q->work->operation_bytes);
    pthread_mutex_lock(&q->lock);
    *ticket = q->ready = ++q->put;
    pthread_cond_signal(&q->work_came);
    pthread_mutex_unlock(&q->lock);
    return STATUS_OK;
}

status comm_queue_wait(comm_queue *q, uint64_t ticket) {
    pthread_mutex_lock(&q->lock);
    while (!q->failed && q->done < ticket) pthread_cond_wait(&q->work_done, &q->lock);
    status_code st = q->failed ? error_of(q) : STATUS_OK;
    pthread_mutex_unlock(&q->lock);
    return st;
}

bool comm_queue_must_wait(comm_queue *q, uint64_t ticket) {
    pthread_mutex_lock(&q->lock);
    bool must = !q->failed && q->done < ticket;
    pthread_mutex_unlock(&q->lock);
    return must;
}
