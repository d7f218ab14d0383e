# The sharding engine started by mpirun; test_fsdp tests it on one rank.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
need_ranks "the sharding engine on several ranks"
for ranks in $numbers_of_ranks; do
    timeout 900 "$MPIEXEC" -np $ranks "$TESTS/test_fsdp" >"$scratch/out" 2>"$scratch/err"
    ok "$ranks ranks"
    sed 's/^/# /' "$scratch/out" | grep '^# not ok'
done
finish
