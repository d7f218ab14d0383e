#include "parallel/comm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef TALLY_MPI
#include "parallel/comm_mpi.h"
#endif

/* Variables of launchers: Open MPI's mpirun; MPICH's mpirun and srun with PMI; srun. SLURM_NTASKS is not among them, since the
 * single script that sbatch starts has it too. */
static const char *const launchers[][2] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                                           {"PMI_RANK", "PMI_SIZE"},
                                           {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"}};

static int number_of(const char *variable) {
    const char *text = getenv(variable);
    char *end;
    if (!text || !*text) return -1;
    long n = strtol(text, &end, 10);
    return *end || n < 0 || n > 1 << 24 ? -1 : (int)n;
}

static void launched(int *rank, int *ranks) {
    *rank = 0, *ranks = 1;
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++) {
        int r = number_of(launchers[i][0]), n = number_of(launchers[i][1]);
        if (r < 0 || n <= r) continue;
        *rank = r, *ranks = n;
        return;
    }
}

int comm_launch_rank(void) {
    int rank, ranks;
    launched(&rank, &ranks);
    return rank;
}

int comm_launch_ranks(void) {
    int rank, ranks;
    launched(&rank, &ranks);
    return ranks;
}

static status open_backend(comm **c, int ranks, double timeout_s) {
    if (ranks == 1) return comm_open_self(c);
#ifdef TALLY_MPI
    return comm_mpi_open(c, ranks, timeout_s);
#else
    FAIL(
        ARG,
        "a launcher started this as one of %d ranks, but it is built without MPI: start it alone, or build it with MPI "
        "(libopenmpi-dev)",
        ranks);
#endif
}

status comm_open(comm **c, double timeout_s) {
    *c = NULL;
    if (!(timeout_s > 0)) FAIL(ARG, "communicator: time-out %g s, expected more than 0", timeout_s);
    TRY(open_backend(c, comm_launch_ranks(), timeout_s));
    (*c)->timeout_s = timeout_s;
    return STATUS_OK;
}

void comm_close(comm *c) {
    if (!c) return;
    if (c->lent) c->lent--;
    else c->ops->close(c);
}

status comm_split(comm *c, comm **part, int color) {
    *part = NULL;
    return c->ops->split(c, part, color);
}

static status check(const char *name, const void *to, const void *from, i64 count, dtype t, dtype wire) {
    if (count < 0) FAIL(ARG, "%s: %ld elements, expected 0 or more", name, count);
    if (count && (!to || !from)) FAIL(ARG, "%s: no buffer for %ld elements", name, count);
    if (wire != t && wire != BF16)
        FAIL(ARG, "%s: %s elements cannot be sent as %s; expected their own dtype or %s", name, dtype_name(t),
             dtype_name(wire), dtype_name(BF16));
    return STATUS_OK;
}

status comm_all_gather(comm *c, void *to, const void *from, i64 count, dtype t, dtype wire, const comm_event *after,
                       comm_event *done) {
    TRY(check("all-gather", to, from, count, t, wire));
    return c->ops->all_gather(c, to, from, count, t, wire, after, done);
}

status comm_reduce_scatter(comm *c, float *to, float *from, i64 count, dtype wire, bool accumulate,
                           const comm_event *after, comm_event *done) {
    TRY(check("reduce-scatter", to, from, count, F32, wire));
    return c->ops->reduce_scatter(c, to, from, count, wire, accumulate, after, done);
}

status comm_all_reduce(comm *c, float *x, i64 count, dtype wire, const comm_event *after, comm_event *done) {
    TRY(check("all-reduce", x, x, count, F32, wire));
    return c->ops->all_reduce(c, x, count, wire, after, done);
}

status comm_broadcast(comm *c, void *x, size_t bytes, int root, const comm_event *after, comm_event *done) {
    if (root < 0 || root >= c->ranks) FAIL(ARG, "broadcast: from rank %d, expected 0 to %d", root, c->ranks - 1);
    if (bytes && !x) FAIL(ARG, "broadcast: no buffer for %zu bytes", bytes);
    return c->ops->broadcast(c, x, bytes, root, after, done);
}

status comm_mark(comm *c, comm_event *e) { return c->ops->mark(c, e); }
status comm_wait(comm *c, const comm_event *e) { return c->ops->wait(c, e); }

status comm_check(comm *c) { return c->ops->check ? c->ops->check(c) : comm_wait(c, &(comm_event){0}); }

status comm_allgather_host(comm *c, void *all, const void *mine, size_t bytes) {
    if (bytes && (!all || !mine)) FAIL(ARG, "exchange: no buffer for %zu bytes", bytes);
    return c->ops->allgather_host(c, all, mine, bytes);
}

status comm_broadcast_host(comm *c, void *x, size_t bytes) {
    comm *host = c->host ? c->host : c;
    comm_event sent = {0};
    TRY(comm_broadcast(host, x, bytes, 0, NULL, &sent));
    return comm_wait(host, &sent);
}

/* all: [ranks][bytes]; the caller frees it */
static status exchange_new(comm *c, void *all, const void *mine, size_t bytes) {
    void *memory = calloc((size_t)c->ranks, bytes);
    if (!memory) FAIL(MEM, "no memory for %zu bytes of %d ranks", bytes, c->ranks);
    status_code st = comm_allgather_host(c, memory, mine, bytes);
    if (st) free(memory);
    else *(void **)all = memory;
    TRY(st);
    return STATUS_OK;
}

status comm_barrier(comm *c) {
    char mine = 0, *all = NULL;
    TRY(exchange_new(c, &all, &mine, 1));
    free(all);
    return STATUS_OK;
}

status comm_sum_f64(comm *c, double *x, int count) {
    double *all = NULL;
    if (count < 1) FAIL(ARG, "sum: %d numbers, expected at least 1", count);
    TRY(exchange_new(c, &all, x, (size_t)count * sizeof *x));
    memcpy(x, all, (size_t)count * sizeof *x);
    for (int r = 1; r < c->ranks; r++)
        for (int i = 0; i < count; i++) x[i] += all[(size_t)r * (size_t)count + (size_t)i];
    free(all);
    return STATUS_OK;
}

typedef struct {
    status_code code;
    char message[1000];
} verdict;

/* If the exchange fails, an error of this rank is worth more than that failure. */
status comm_agree(comm *c, status_code st) {
    if (c->ranks == 1) return st;
    verdict mine = {.code = st}, *all = NULL;
    if (st) snprintf(mine.message, sizeof mine.message, "%s", status_message());
    status_code asked = exchange_new(c, &all, &mine, sizeof mine);
    if (asked && st) return status_fail(st, __FILE__, __LINE__, "%s", mine.message);
    TRY(asked);
    int first = 0;
    while (first < c->ranks && all[first].code == STATUS_OK) first++;
    if (first < c->ranks)
        st = status_fail(all[first].code, __FILE__, __LINE__, "rank %d: %s", first, all[first].message);
    free(all);
    return st;
}

status comm_gather_texts(comm *c, char **all, size_t *row, const char *text) {
    status_code st = STATUS_OK;
    uint64_t length = strlen(text), longest = 0, *lengths = calloc((size_t)c->ranks, sizeof *lengths);
    char *mine = NULL;
    *all = NULL;
    TRY_DONE(comm_agree(c, lengths ? STATUS_OK : ERROR(MEM, "no memory for %d lengths", c->ranks)));
    TRY_DONE(comm_allgather_host(c, lengths, &length, sizeof length));
    for (int r = 0; r < c->ranks; r++)
        if (lengths[r] > longest) longest = lengths[r];
    *row = longest + 1;
    *all = malloc(*row * (size_t)c->ranks);
    mine = calloc(*row, 1);
    TRY_DONE(comm_agree(c, *all && mine ? STATUS_OK : ERROR(MEM, "no memory for the texts of %d ranks", c->ranks)));
    memcpy(mine, text, length);
    TRY_DONE(comm_allgather_host(c, *all, mine, *row));
done:
    free(lengths);
    free(mine);
    if (st) {
        free(*all);
        *all = NULL;
    }
    return st;
}

/* NULL if c is for host memory */
static comm *host_of(const comm *c) { return c->root->host ? c->root->host->root : NULL; }

void comm_set_step(comm *c, uint64_t step) {
    c->root->step = step;
    if (host_of(c)) host_of(c)->step = step;
}

void comm_set_meter(comm *c, meter *clock) {
    c->root->clock = clock;
    if (host_of(c)) host_of(c)->clock = clock;
}

static void add(comm_totals *sum, const comm_totals *t) {
    sum->bytes_sent += __atomic_load_n(&t->bytes_sent, __ATOMIC_RELAXED);
    sum->busy_ns += __atomic_load_n(&t->busy_ns, __ATOMIC_RELAXED);
    sum->waited_ns += __atomic_load_n(&t->waited_ns, __ATOMIC_RELAXED);
}

comm_totals comm_read_totals(const comm *c) {
    comm_totals sum = {0};
    add(&sum, &c->root->totals);
    uint64_t waited_ns = sum.waited_ns;
    if (host_of(c)) add(&sum, &host_of(c)->totals);
    sum.waited_ns = waited_ns;
    return sum;
}

void comm_abort(comm *c, int exit_code) { c->ops->abort(c, exit_code); }
