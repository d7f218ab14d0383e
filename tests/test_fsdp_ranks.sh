# The sharding engine as started by mpirun; without it, it is tested as test_fsdp.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
need_ranks "the sharding engine on several ranks"
for ranks in $numbers_of_ranks; do
    timeout 900 "$MPIEXEC" -np $ranks "$TESTS/test_fsdp" >"$scratch/out" 2>"$scratch/err"
    ok "$ranks ranks"
    sed 's/^/# /' "$scratch/out" | grep '^# not ok'
done
finish
