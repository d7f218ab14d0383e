# The communicator on several ranks of this host: its tests, and the errors of the other ranks when one dies.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
program=$TESTS/test_comm

OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 timeout 60 "$program" open >"$scratch/out" 2>"$scratch/err"
status=$?
if [ -z "${MPIEXEC:-}" ]; then [ $status -eq 2 ] && grep -q "one of 2 ranks.*built without MPI" "$scratch/err"; else [ $status -ne 0 ]; fi
ok "several ranks are refused without a launcher, or without MPI in the build"
need_ranks "the communicator as several ranks"

for ranks in 1 2 3 4; do
    timeout 500 "$MPIEXEC" -np $ranks "$program" >"$scratch/out" 2>"$scratch/err"
    ok "$ranks ranks"
    sed 's/^/# /' "$scratch/out" | grep '^# not ok'
done

timeout 60 "$MPIEXEC" -np 3 "$program" open >"$scratch/out" 2>"$scratch/err" &&
    [ "$(sort "$scratch/out" | tr '\n' ,)" = "mpi 0/3 0/3,mpi 1/3 1/3,mpi 2/3 2/3," ]
ok "every rank knows its number and the number of ranks"

# dies NAME PATTERN RANKS ARGUMENTS...: the job fails, well before the time-out of 100 s that ends a hang; every error that a rank
# prints matches PATTERN, and there is at least one
dies() {
    local name=$1 pattern=$2 ranks=$3; shift 3
    local began=$SECONDS
    timeout -s KILL 90 "$MPIEXEC" -np "$ranks" "$program" "$@" >"$scratch/out" 2>"$scratch/err"
    local status=$?
    [ $status -ne 0 ] && [ $SECONDS -lt $((began + 80)) ] && grep -qE "^rank [0-9]: $pattern\$" "$scratch/err" &&
        ! grep -E '^rank [0-9]: ' "$scratch/err" | grep -vE "^rank [0-9]: $pattern\$"
    ok "$name"
}
for collective in all-gather reduce-scatter; do
    for ranks in 2 4; do
        last=$((ranks - 1))
        dies "rank $last of $ranks is killed in the middle of $collective" \
            "rank $last \([^ ]+, pid [0-9]+\) died; other ranks wait for it in $collective 2 of step 12" $ranks die kill $collective
        # two that wait for it may be a round apart: then one of them waits for the other too
        TIMEOUT_S=2 dies "rank $last of $ranks stops in the middle of $collective" \
            "(rank $last \([^ ]+, pid [0-9]+\) has|ranks ([0-9], )+$last have) kept $collective 2 of step 12 waiting for 2 s" \
            $ranks die stop $collective
    done
done
dies "ranks queue different collectives" "rank [01] (sent [0-9]+ bytes )?in all-gather 1 of step 0.*" 2 differ
finish
