#include "parallel/job.h"

#include <stdio.h>

#include "parallel/job_same.h"
#include "runtime/host.h"
#include "runtime/log.h"

enum { REFUSE_S = 60 }; /* how long job_refuse waits for the other ranks */

static int threads_of(const placement *p) {
    int threads = placement_cpus(p) / placement_sharing_cpus(p);
    int allowed = host_whole_cpus(host_cpu_quota().cpus / p->local_ranks);
    if (threads > allowed) threads = allowed;
    return threads > 1 ? threads : 1;
}

/* of this rank's host */
static void log_idle_cpus(const placement *p) {
    cpu_set_t used;
    CPU_ZERO(&used);
    for (int r = 0; r < p->ranks; r++)
        if (placement_same_host(p, r, p->rank)) CPU_OR(&used, &used, &p->all[r].cpus);
    int unbound = placement_unbound_cpus(p);
    if (CPU_COUNT(&used) < unbound)
        log_line("%d ranks may use %d of this host's %d CPUs; mpirun --bind-to none gives them all", p->local_ranks,
                 CPU_COUNT(&used), unbound);
}

static bool tried; /* whether this process has opened a communicator: MPI can be started once */

status job_open(job *j, double timeout_s, const char *same) {
    *j = (job){0};
    tried = true;
    TRY(comm_open(&j->world, timeout_s));
    log_set_rank(j->world->rank, j->world->ranks);
    if (j->world->ranks == 1) return STATUS_OK;
    TRY(job_same(j->world, same));
    const placement *p = j->world->placement;
    host_set_ranks(p->local_ranks);
    j->threads = threads_of(p);
    log_idle_cpus(p);
    return STATUS_OK;
}

void job_close(job *j) {
    comm_close(j->world);
    j->world = NULL;
}

/* Bad input, a loss that is not finite, and errors of comm_agree ("rank 2: ...") are the same on every rank. */
static bool is_common(status_code st) {
    int rank, used = 0;
    if (status_exit_code(st) == 2 || st == STATUS_NUMERIC) return true;
    return st != STATUS_COMM && sscanf(status_message(), "rank %d: %n", &rank, &used) == 1 && used > 0;
}

/* Rank 0 logs a common error before the barrier, so that no rank ends the job earlier. If the barrier fails, the error was not
 * common after all. */
void job_fail(job *j, status_code st) {
    if (!j->world || j->world->ranks == 1) return;
    char message[1024];
    snprintf(message, sizeof message, "%s", status_message());
    bool logs = j->world->rank == 0 || !is_common(st), common = is_common(st);
    if (logs) log_failure(st);
    if (common && comm_barrier(j->world) != STATUS_OK && !logs)
        log_failure(status_fail(st, __FILE__, __LINE__, "%s", message));
    comm_abort(j->world, status_exit_code(st));
}

void job_refuse(status_code st) {
    job j = {0};
    char message[1024];
    if (tried || comm_launch_ranks() == 1) return;
    tried = true;
    snprintf(message, sizeof message, "%s", status_message());
    if (comm_open(&j.world, REFUSE_S) == STATUS_OK)
        job_fail(&j, comm_agree(j.world, status_fail(st, __FILE__, __LINE__, "%s", message)));
    status_fail(st, __FILE__, __LINE__, "%s", message);
}
