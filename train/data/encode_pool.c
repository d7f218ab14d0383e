#include "train/data/encode_pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOB_TEXT = 1 << 18, JOB_DOCUMENTS = 1 << 13, JOBS_PER_THREAD = 3 };

typedef struct {
    size_t end;  /* of its text in the job's */
    i64 ids_end; /* of its ids */
    i64 bytes;   /* of all of its text */
    document_place next;
} job_document;

/* A piece of the text: documents, the last of which may go on in the next job. */
typedef struct {
    char *text;
    size_t bytes;
    job_document *documents; /* that end in it */
    int count;
    bool continues; /* its first document began in the job before; the thread that had that job takes this one too */
    bool open;      /* its last document goes on in the next job */
    bool done;
    status_code st;
    char message[1024]; /* if st is not OK */
    int failed;         /* and in which document */
    token_list ids;
} job;

typedef struct {
    encode_pool *p;
    tokenizer_encoder *encoder;
    pthread_t thread;
    bool running;
} worker;

struct encode_pool {
    encode_pool_options o;
    encode_pool_sink to;
    worker *workers;
    job *ring; /* job i is ring[i % jobs] */
    i64 jobs;
    i64 document_bytes; /* of the current document so far */
    i64 documents;      /* given to the sink, and those before */
    /* guarded by the lock */
    pthread_mutex_t lock;
    pthread_cond_t made_more, done_more;
    i64 made, taken, given; /* jobs: filled, begun by a thread, given to the sink */
    bool stop;
};

static job *job_of(encode_pool *p, i64 i) { return &p->ring[i % p->jobs]; }

/* ---- the threads ---- */

static status encode_document(worker *w, job *j, size_t from, size_t to, bool begins, bool ends) {
    const encode_pool_options *o = &w->p->o;
    if (begins && o->before >= 0) TRY(token_list_add(&j->ids, o->before));
    TRY(tokenizer_encode(w->encoder, &j->ids, j->text + from, to - from, ends));
    if (ends && o->after >= 0) TRY(token_list_add(&j->ids, o->after));
    return STATUS_OK;
}

static status encode_job(worker *w, job *j) {
    size_t at = 0;
    j->ids.count = 0;
    for (int d = 0; d < j->count; d++) {
        j->failed = d;
        TRY(encode_document(w, j, at, j->documents[d].end, d > 0 || !j->continues, true));
        j->documents[d].ids_end = j->ids.count;
        at = j->documents[d].end;
    }
    j->failed = j->count;
    return j->open ? encode_document(w, j, at, j->bytes, j->count > 0 || !j->continues, false) : STATUS_OK;
}

/* The next job that does not continue the one before, or -1 at the end. Call with the lock. */
static i64 take(encode_pool *p) {
    for (;;) {
        while (p->taken < p->made && job_of(p, p->taken)->continues) p->taken++;
        if (p->stop) return -1;
        if (p->taken < p->made) return p->taken++;
        pthread_cond_wait(&p->made_more, &p->lock);
    }
}

static void *work(void *argument) {
    worker *w = argument;
    encode_pool *p = w->p;
    pthread_mutex_lock(&p->lock);
    for (i64 i = take(p); i >= 0;) {
        job *j = job_of(p, i);
        pthread_mutex_unlock(&p->lock);
        j->st = encode_job(w, j);
        if (j->st) {
            snprintf(j->message, sizeof j->message, "%s", status_message());
            tokenizer_encode_restart(w->encoder);
        }
        bool open = j->open && !j->st;
        pthread_mutex_lock(&p->lock);
        j->done = true; /* from here on the job may be filled anew */
        pthread_cond_signal(&p->done_more);
        while (open && p->made == i + 1 && !p->stop) pthread_cond_wait(&p->made_more, &p->lock);
        if (open && !p->stop) {
            i++;
            if (p->taken <= i) p->taken = i + 1; /* nobody else looks at it: its place may be filled anew before that */
        } else {
            i = take(p);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- in order ---- */

static status give(encode_pool *p, const job *j) {
    i64 at = 0;
    if (j->st)
        return status_fail(j->st, __FILE__, __LINE__, "document %ld: %s", p->documents + j->failed + 1, j->message);
    for (int d = 0; d < j->count; d++) {
        const job_document *e = &j->documents[d];
        if (e->ids_end > at) TRY(p->to.ids(p->to.context, j->ids.ids + at, e->ids_end - at));
        TRY(p->to.end(p->to.context, e->bytes, e->next));
        at = e->ids_end;
        p->documents++;
    }
    return j->ids.count > at ? p->to.ids(p->to.context, j->ids.ids + at, j->ids.count - at) : STATUS_OK;
}

/* Gives what is done to the sink; waits until at most `most` jobs are left. */
static status give_until(encode_pool *p, i64 most) {
    status_code st = STATUS_OK;
    pthread_mutex_lock(&p->lock);
    while (!st && p->given < p->made) {
        job *j = job_of(p, p->given);
        if (!j->done && p->made - p->given <= most) break;
        while (!j->done) pthread_cond_wait(&p->done_more, &p->lock);
        pthread_mutex_unlock(&p->lock);
        st = give(p, j);
        pthread_mutex_lock(&p->lock);
        p->given++;
    }
    pthread_mutex_unlock(&p->lock);
    return st;
}

/* ---- filling ---- */

/* The job that is being filled; there is always room for it. */
static job *filling(encode_pool *p) { return job_of(p, p->made); }

static void begin_job(encode_pool *p, bool continues) {
    job *j = filling(p);
    j->bytes = 0, j->count = 0, j->st = STATUS_OK;
    j->done = j->open = false;
    j->continues = continues;
}

static status submit(encode_pool *p, bool open) {
    filling(p)->open = open;
    pthread_mutex_lock(&p->lock);
    p->made++;
    pthread_cond_broadcast(&p->made_more);
    pthread_mutex_unlock(&p->lock);
    TRY(give_until(p, p->jobs - 1));
    begin_job(p, open);
    return STATUS_OK;
}

status encode_pool_text(encode_pool *p, const char *text, size_t bytes) {
    p->document_bytes += (i64)bytes;
    while (bytes) {
        job *j = filling(p);
        size_t room = JOB_TEXT - j->bytes, n = bytes < room ? bytes : room;
        memcpy(j->text + j->bytes, text, n);
        j->bytes += n, text += n, bytes -= n;
        if (j->bytes == JOB_TEXT) TRY(submit(p, true));
    }
    return STATUS_OK;
}

status encode_pool_end(encode_pool *p, document_place next) {
    job *j = filling(p);
    j->documents[j->count++] = (job_document){.end = j->bytes, .bytes = p->document_bytes, .next = next};
    p->document_bytes = 0;
    return j->count == JOB_DOCUMENTS ? submit(p, false) : STATUS_OK;
}

status encode_pool_finish(encode_pool *p) {
    if (filling(p)->count) TRY(submit(p, false));
    return give_until(p, 0);
}

/* ---- opening and closing ---- */

static status open_worker(encode_pool *p, worker *w) {
    w->p = p;
    TRY(tokenizer_encoder_open(&w->encoder, p->o.t, false));
    int code = pthread_create(&w->thread, NULL, work, w);
    if (code) FAIL(MEM, "cannot start a thread: %s", strerror(code));
    w->running = true;
    return STATUS_OK;
}

status encode_pool_open(encode_pool **out, const encode_pool_options *o, encode_pool_sink to) {
    *out = NULL;
    encode_pool *p = calloc(1, sizeof *p);
    if (!p) FAIL(MEM, "no memory for threads that encode");
    p->o = *o;
    p->to = to;
    p->documents = o->documents;
    p->jobs = (i64)o->threads * JOBS_PER_THREAD + 1; /* 1: the one that is being filled */
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->made_more, NULL);
    pthread_cond_init(&p->done_more, NULL);
    status_code st = STATUS_OK;
    p->workers = calloc((size_t)o->threads, sizeof *p->workers);
    p->ring = calloc((size_t)p->jobs, sizeof *p->ring);
    if (!p->workers || !p->ring) FAIL_DONE(MEM, "no memory for %d threads", o->threads);
    for (i64 i = 0; i < p->jobs; i++) {
        job *j = &p->ring[i];
        j->text = malloc(JOB_TEXT);
        j->documents = malloc(JOB_DOCUMENTS * sizeof *j->documents);
        if (!j->text || !j->documents) FAIL_DONE(MEM, "no memory for %ld pieces of text", p->jobs);
    }
    begin_job(p, false);
    for (int i = 0; i < o->threads; i++) TRY_DONE(open_worker(p, &p->workers[i]));
    *out = p;
done:
    if (st) encode_pool_close(p);
    return st;
}

void encode_pool_close(encode_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->made_more);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; p->workers && i < p->o.threads; i++) {
        if (p->workers[i].running) pthread_join(p->workers[i].thread, NULL);
        tokenizer_encoder_close(p->workers[i].encoder);
    }
    for (i64 i = 0; p->ring && i < p->jobs; i++) {
        free(p->ring[i].text);
        free(p->ring[i].documents);
        token_list_free(&p->ring[i].ids);
    }
    free(p->workers);
    free(p->ring);
    pthread_cond_destroy(&p->made_more);
    pthread_cond_destroy(&p->done_more);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
