#include "parallel/messages.h"

#include <mpi.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "runtime/meter.h"

/* While nothing arrives, the thread polls, then yields its core, then sleeps: ranks and computing threads often share cores. */
enum { SPIN_NS = 5000, YIELD_NS = 200000, SLEEP_NS = 30000 };
enum { LOOK_NS = 50000000 };      /* interval of the check for dead ranks */
enum { PAUSE_NS = 20 * LOOK_NS }; /* after a longer interval the job was stopped: it does not count as waiting */

typedef struct {
    MPI_Request *requests; /* [2 * ranks] */
    int *ranks;            /* of each request */
    int *bytes;            /* to receive; -1: a send */
    int used, open;        /* posted requests; those not complete */
} messages_lane;

struct messages {
    int rank, ranks;
    const placement *where;
    bool *dead; /* [ranks] at the last check */
    messages_lane lanes[MESSAGES_LANES];
    int *indices; /* [2 * ranks] of requests that completed at a time */
    MPI_Status *statuses;
    uint64_t sent_bytes;
    atomic_int abort_code; /* -1: no abort */
    char what[128];
    uint64_t timeout_ns, waited_ns; /* waited_ns: since the last arrival */
    uint64_t idle_since_ns, looked_ns;
};

static status_code mpi_error(int error, const char *doing) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(error, text, &length);
    return ERROR(COMM, "%s: %s", doing, text);
}

#define MPI_TRY(doing, call)                                                                                           \
    do {                                                                                                               \
        int error_ = (call);                                                                                           \
        if (error_ != MPI_SUCCESS) return mpi_error(error_, doing);                                                    \
    } while (0)

static void abort_where_asked(messages *m) {
    int code = atomic_load(&m->abort_code);
    if (code >= 0) MPI_Abort(MPI_COMM_WORLD, code);
}

static status start_mpi(int ranks) {
    int provided, seen, *highest_tag, found;
    MPI_TRY("MPI_Init_thread", MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
    MPI_TRY("MPI_Comm_set_errhandler", MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MPI_TRY("MPI_Comm_size", MPI_Comm_size(MPI_COMM_WORLD, &seen));
    if (seen != ranks)
        FAIL(ARG,
             "the launcher started %d ranks, but MPI sees %d: use the mpirun of the MPI that this program is built "
             "with; with "
             "srun, --mpi=pmix or --mpi=pmi2",
             ranks, seen);
    if (provided < MPI_THREAD_FUNNELED) FAIL(COMM, "this MPI allows no threads, expected MPI_THREAD_FUNNELED");
    MPI_TRY("MPI_Comm_get_attr", MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &highest_tag, &found));
    if (!found || *highest_tag < MESSAGES_TAGS - 1)
        FAIL(COMM, "this MPI allows too few tags, expected %d", MESSAGES_TAGS);
    return STATUS_OK;
}

static void free_messages(messages *m) {
    if (!m) return;
    for (int l = 0; l < MESSAGES_LANES; l++)
        free(m->lanes[l].requests), free(m->lanes[l].ranks), free(m->lanes[l].bytes);
    free(m->dead), free(m->indices), free(m->statuses), free(m);
}

static messages *allocate(int ranks) {
    messages *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    size_t n = (size_t)ranks;
    m->dead = calloc(n, sizeof *m->dead);
    m->indices = calloc(2 * n, sizeof *m->indices);
    m->statuses = calloc(2 * n, sizeof *m->statuses);
    bool all = m->dead && m->indices && m->statuses;
    for (int i = 0; i < MESSAGES_LANES; i++) {
        messages_lane *l = &m->lanes[i];
        l->requests = calloc(2 * n, sizeof *l->requests);
        l->ranks = calloc(2 * n, sizeof *l->ranks);
        l->bytes = calloc(2 * n, sizeof *l->bytes);
        all = all && l->requests && l->ranks && l->bytes;
    }
    if (all) return m;
    free_messages(m);
    return NULL;
}

static status exchange_placement(placement *where, int rank) {
    where->all[rank] = placement_self();
    MPI_TRY("MPI_Allgather of the ranks' placement",
            MPI_Allgather(MPI_IN_PLACE, 0, MPI_BYTE, where->all, sizeof *where->all, MPI_BYTE, MPI_COMM_WORLD));
    return placement_complete(where, rank);
}

status messages_open(messages **opened, placement *where, double timeout_s) {
    status_code st = STATUS_OK;
    int ranks = where->ranks;
    *opened = NULL;
    messages *m = allocate(ranks);
    if (!m) FAIL(MEM, "no memory for messages between %d ranks", ranks);
    m->ranks = ranks;
    m->where = where;
    m->timeout_ns = timeout_s < 1e9 ? (uint64_t)(timeout_s * 1e9) : UINT64_MAX;
    atomic_init(&m->abort_code, -1);
    /* otherwise the kernel lengthens the short sleeps of this thread by up to 50 us */
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
    TRY_DONE(start_mpi(ranks));
    MPI_Comm_rank(MPI_COMM_WORLD, &m->rank);
    TRY_DONE(exchange_placement(where, m->rank));
    *opened = m;
done:
    if (st) free_messages(m);
    return st;
}

void messages_close(messages *m, bool failed) {
    if (!m) return;
    abort_where_asked(m);
    if (!failed) MPI_Finalize(); /* after a failure it could wait forever */
    free_messages(m);
}

uint64_t messages_sent_bytes(const messages *m) { return m->sent_bytes; }
void messages_ask_abort(messages *m, int exit_code) { atomic_store(&m->abort_code, exit_code < 0 ? 1 : exit_code); }

void messages_begin(messages *m, const char *collective, uint64_t number, uint64_t step) {
    snprintf(m->what, sizeof m->what, "%s %lu of step %lu", collective, number, step);
    m->waited_ns = 0;
    m->idle_since_ns = m->looked_ns = meter_clock_ns();
    memset(m->dead, 0, (size_t)m->ranks * sizeof *m->dead);
}

/* a free request */
static MPI_Request *next_request(messages_lane *l, int rank, int bytes) {
    l->ranks[l->used] = rank;
    l->bytes[l->used] = bytes;
    l->open++;
    return &l->requests[l->used++];
}

status messages_receive(messages *m, int lane, int rank, int tag, void *x, size_t bytes) {
    MPI_Request *r = next_request(&m->lanes[lane], rank, (int)bytes);
    MPI_TRY(m->what, MPI_Irecv(x, (int)bytes, MPI_BYTE, rank, tag, MPI_COMM_WORLD, r));
    return STATUS_OK;
}

status messages_send(messages *m, int lane, int rank, int tag, const void *x, size_t bytes) {
    MPI_Request *r = next_request(&m->lanes[lane], rank, -1);
    MPI_TRY(m->what, MPI_Isend(x, (int)bytes, MPI_BYTE, rank, tag, MPI_COMM_WORLD, r));
    m->sent_bytes += bytes;
    return STATUS_OK;
}

/* Checks only the lane that is waited for: in the other lane, ranks that wait for the same rank are missing too. */
static bool is_missing(const messages_lane *l, int rank) {
    for (int k = 0; k < l->used; k++)
        if (l->ranks[k] == rank && l->requests[k] != MPI_REQUEST_NULL) return true;
    return false;
}

static status_code timed_out(const messages *m, const messages_lane *l) {
    char list[256] = "";
    int missing = 0, last = 0;
    for (int r = 0; r < m->ranks; r++) {
        if (!is_missing(l, r)) continue;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%d", missing ? ", " : "", r);
        missing++, last = r;
    }
    const process *p = &m->where->all[last].process;
    double seconds = (double)m->timeout_ns * 1e-9;
    if (missing == 1)
        return ERROR(COMM, "rank %d (%s, pid %ld) has kept %s waiting for %g s", last, p->host, p->pid, m->what,
                     seconds);
    return ERROR(COMM, "ranks %s have kept %s waiting for %g s", list, m->what, seconds);
}

/* A rank that has sent all of its part may end before this one has received it. Only a rank that is dead at
 * two checks and still missing has died too early. */
static status look_after_peers(messages *m, const messages_lane *l, uint64_t now) {
    uint64_t since = now - m->looked_ns;
    m->looked_ns = now;
    m->waited_ns += since < PAUSE_NS ? since : PAUSE_NS;
    for (int r = 0; r < m->ranks; r++) {
        const process *p = &m->where->all[r].process;
        if (!is_missing(l, r) || !process_gone(p, &m->where->all[m->rank].process)) continue;
        if (m->dead[r])
            FAIL(COMM, "rank %d (%s, pid %ld) died; other ranks wait for it in %s", r, p->host, p->pid, m->what);
        m->dead[r] = true;
    }
    return m->waited_ns >= m->timeout_ns ? timed_out(m, l) : STATUS_OK;
}

static status be_patient(messages *m, const messages_lane *l) {
    abort_where_asked(m);
    uint64_t now = meter_clock_ns(), idle = now - m->idle_since_ns;
    if (now - m->looked_ns >= LOOK_NS) TRY(look_after_peers(m, l, now));
    if (idle >= YIELD_NS) nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
    else if (idle >= SPIN_NS) sched_yield();
    return STATUS_OK;
}

/* whether the `count` completed requests at m->indices have received the expected bytes */
static status check_arrived(const messages *m, const messages_lane *l, int count, bool failed) {
    for (int k = 0; k < count; k++) {
        int i = m->indices[k], got;
        if (failed && m->statuses[k].MPI_ERROR != MPI_SUCCESS && m->statuses[k].MPI_ERROR != MPI_ERR_PENDING) {
            char doing[192];
            snprintf(doing, sizeof doing, "rank %d in %s", l->ranks[i], m->what);
            return mpi_error(m->statuses[k].MPI_ERROR, doing);
        }
        if (l->bytes[i] < 0) continue;
        MPI_Get_count(&m->statuses[k], MPI_BYTE, &got);
        if (got != l->bytes[i])
            FAIL(COMM, "rank %d sent %d bytes in %s, expected %d: it is in another collective", l->ranks[i], got,
                 m->what, l->bytes[i]);
    }
    return STATUS_OK;
}

status messages_wait(messages *m, int number) {
    messages_lane *l = &m->lanes[number];
    while (l->open > 0) {
        int count = 0;
        int error = MPI_Testsome(l->used, l->requests, &count, m->indices, m->statuses);
        if (error != MPI_SUCCESS && error != MPI_ERR_IN_STATUS) return mpi_error(error, m->what);
        if (count == 0) {
            TRY(be_patient(m, l));
            continue;
        }
        TRY(check_arrived(m, l, count, error == MPI_ERR_IN_STATUS));
        l->open -= count;
        m->waited_ns = 0;
        m->idle_since_ns = m->looked_ns = meter_clock_ns();
    }
    l->used = 0;
    return STATUS_OK;
}
