#include "parallel/job.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "parallel/job_same.h"
#include "parallel/process.h"
#include "runtime/host.h"
#include "runtime/log.h"

/* what each rank tells the others of itself */
typedef struct {
    process process;
    char flag[64]; /* name of the host's shared flag, where this rank is its first; "" where it could not make one */
    cpu_set_t cpus;
    int could_use; /* CPUs of this host that it would have if nobody had bound it to some of them */
} card;

static void wait_ms(long ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue; /* a signal that ends the job must not hurry us */
}

/* What a container or a job's limits leave, whatever the launcher has bound this process to: the kernel cuts the mask that is
 * asked for down to it. The mask is put back. */
static int unbound_cpus(const cpu_set_t *bound) {
    cpu_set_t all, unbound = *bound;
    CPU_ZERO(&all);
    for (int i = 0; i < CPU_SETSIZE; i++) CPU_SET(i, &all);
    if (sched_setaffinity(0, sizeof all, &all) == 0) {
        sched_getaffinity(0, sizeof unbound, &unbound);
        sched_setaffinity(0, sizeof *bound, bound);
    }
    return CPU_COUNT(&unbound);
}

static card own_card(const comm *world) {
    card c = {.process = process_self()};
    if (sched_getaffinity(0, sizeof c.cpus, &c.cpus) != 0) /* more CPUs than a cpu_set_t holds: nothing is known */
        for (int i = 0; i < CPU_SETSIZE; i++) CPU_SET(i, &c.cpus);
    else c.could_use = unbound_cpus(&c.cpus);
    if (world->local_rank == 0)
        snprintf(c.flag, sizeof c.flag, "/tally-%ld-%lu", (long)getpid(), (unsigned long)meter_clock_ns());
    return c;
}

static int usable_cpus(const card *c) {
    int all = (int)sysconf(_SC_NPROCESSORS_ONLN), own = CPU_COUNT(&c->cpus);
    return own < all ? own : all;
}

static bool same_host(const card *a, const card *b) { return process_same_host(&a->process, &b->process); }

static bool share_cpus(const card *a, const card *b) {
    cpu_set_t both;
    CPU_AND(&both, &a->cpus, &b->cpus);
    return same_host(a, b) && CPU_COUNT(&both) > 0;
}

static int first_of_host(const card *all, int rank) {
    int first = 0;
    while (!same_host(&all[first], &all[rank])) first++;
    return first;
}

static void find_place(job *j, const card *all) {
    int sharing = 0, here = 0, own_first = first_of_host(all, j->world->rank);
    const card *mine = &all[j->world->rank];
    for (int i = 0; i < j->world->ranks; i++) {
        bool first = first_of_host(all, i) == i;
        j->hosts += first;
        j->host += first && i < own_first;
        here += same_host(&all[i], mine);
        sharing += share_cpus(&all[i], mine);
    }
    host_set_ranks(here);
    j->threads = usable_cpus(mine) / sharing;
    int allowed = host_whole_cpus(host_cpu_quota().cpus / here);
    if (j->threads > allowed) j->threads = allowed;
    if (j->threads < 1) j->threads = 1;
}

/* of this rank's host */
static void log_idle_cpus(const job *j, const card *all) {
    const card *mine = &all[j->world->rank];
    cpu_set_t used;
    int ranks = 0;
    CPU_ZERO(&used);
    for (int i = 0; i < j->world->ranks; i++) {
        if (!same_host(&all[i], mine)) continue;
        CPU_OR(&used, &used, &all[i].cpus);
        ranks++;
    }
    if (CPU_COUNT(&used) < mine->could_use)
        log_line("%d ranks may use %d of this host's %d CPUs; mpirun --bind-to none gives them all", ranks,
                 CPU_COUNT(&used), mine->could_use);
}

static atomic_int *open_flag(const char *name, bool create) {
    if (!name[0]) return NULL;
    int f = shm_open(name, O_RDWR | (create ? O_CREAT | O_EXCL : 0), 0600);
    if (f < 0) return NULL;
    void *flag = MAP_FAILED;
    if (!create || ftruncate(f, sizeof(atomic_int)) == 0)
        flag = mmap(NULL, sizeof(atomic_int), PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
    close(f);
    if (flag != MAP_FAILED) return flag;
    if (create) shm_unlink(name);
    return NULL;
}

/* The flag has a name only until all ranks of the host have opened it: nothing is left behind, however the run ends. */
static status meet(job *j, card *all) {
    card mine = own_card(j->world);
    bool first = mine.flag[0];
    if (first && !(j->spoken = open_flag(mine.flag, true))) mine.flag[0] = 0;
    status_code st = comm_allgather_host(j->world, all, &mine, sizeof mine);
    if (!st && !first) j->spoken = open_flag(all[first_of_host(all, j->world->rank)].flag, false);
    if (!st) st = comm_barrier(j->world);
    if (first && j->spoken) shm_unlink(mine.flag);
    return st;
}

status job_open(job *j, double timeout_s, const char *same) {
    *j = (job){.hosts = 1, .timeout_s = timeout_s};
    TRY(comm_open(&j->world, timeout_s));
    log_set_rank(j->world->rank, j->world->ranks);
    if (j->world->ranks == 1) return STATUS_OK;
    TRY(job_same(j->world, same));
    card *all = calloc((size_t)j->world->ranks, sizeof *all);
    if (!all) FAIL(MEM, "%d ranks", j->world->ranks);
    j->hosts = 0;
    status_code st = meet(j, all);
    if (!st) find_place(j, all);
    if (!st) log_idle_cpus(j, all);
    free(all);
    return st;
}

void job_close(job *j) {
    if (j->spoken) munmap(j->spoken, sizeof *j->spoken);
    j->spoken = NULL;
    comm_close(j->world);
    j->world = NULL;
}

/* Within what mpirun leaves a job of which a process has died: a second. Whoever has waited longest for a peer knows best
 * which it is, so that there ranks are not put in an order; what all see alike rank 0 says. */
static long delay_ms(const job *j, status_code st) {
    int rank = j->world->rank;
    long turn = 300 * (j->spoken ? j->host : rank), soon = (long)(j->timeout_s * 1000 / 3);
    if (turn > soon) turn = soon;
    if (st == STATUS_COMM) return 200 + turn;
    if (rank == 0) return 0;
    long delay = turn + (status_exit_code(st) == 2 ? 3000 : 100);
    return delay < soon ? delay : soon; /* before the others take this for silence */
}

void job_fail(job *j, status_code st) {
    if (!j->world || j->world->ranks == 1) return;
    wait_ms(delay_ms(j, st));
    if (j->spoken && atomic_exchange(j->spoken, 1)) wait_ms(10000); /* the rank that speaks ends the job */
    else log_failure(st);
    comm_abort(j->world, status_exit_code(st));
}
