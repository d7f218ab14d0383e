# The sharding engine on 2, 3 and 4 ranks; alone it is tested as test_fsdp.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
need_ranks "the sharding engine on several ranks"
for ranks in 2 3 4; do
    timeout 900 "$MPIEXEC" -np $ranks "$TESTS/test_fsdp" >"$scratch/out" 2>"$scratch/err"
    ok "$ranks ranks"
    sed 's/^/# /' "$scratch/out" | grep '^# not ok'
done
finish
