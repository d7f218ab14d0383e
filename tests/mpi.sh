# Shared by the tests on several ranks; sourced after tap.sh. Open MPI: as root, more ranks than cores, none bound to a core.
# From version 5 on PRRTE starts the ranks, and has its own variables.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none
# A job that aborts leaves its session's folder, named by its pid, and a later job with the same pid does not start.
export PRTE_MCA_prte_tmpdir_base=$scratch
# MPI leaves memory allocated, some of it in plugins that are unloaded before the check.
export ASAN_OPTIONS=detect_leaks=0

# The sanitizers make everything several times slower, and two numbers of ranks are enough to show memory errors.
if [ "${SANITIZED:-OFF}" = ON ]; then numbers_of_ranks="1 3"; else numbers_of_ranks="1 2 3 4"; fi

# need_ranks NAME: the rest of the script is skipped where there is no MPI
need_ranks() {
    if [ -z "${MPIEXEC:-}" ]; then skip "$1" "the build has no MPI"; finish; fi
    if ! command -v "$MPIEXEC" >/dev/null; then skip "$1" "no $MPIEXEC"; finish; fi
}

# The standard error of the job that ran last. Open MPI 5 ends its own text with a NUL, and the next line follows it.
job_err() { tr -d '\0' <"$scratch/err"; }

# told_by_prrte RANK: PRRTE alone tells that RANK was killed. It kills the others 0.25 s later, and on a busy machine that may be
# before they have told of it.
told_by_prrte() { job_err | grep -q "^prterun noticed that process rank $1 " && ! job_err | grep -qE '^(tally|rank [0-9]): '; }

# differing N COMMAND... : OTHER...: a job of N ranks that run COMMAND and a last one that runs OTHER. (With mpiexec's own
# colon, Open MPI 5.0.7 ends with a segmentation fault in some jobs.)
differing() {
    local n=$1 first=(); shift
    while [ "$1" != : ]; do first+=("$1"); shift; done
    shift
    {
        printf '[ "${OMPI_COMM_WORLD_RANK-${PMI_RANK-}}" != %d ] || exec' "$n"; printf ' %q' "$@"
        printf '\nexec'; printf ' %q' "${first[@]}"; echo
    } >"$scratch/by-rank.sh"
    timeout -s KILL 240 "$MPIEXEC" -np $((n + 1)) bash "$scratch/by-rank.sh" >"$scratch/out" 2>"$scratch/err"
}
