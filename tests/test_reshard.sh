# Checkpoints of several ranks: what any number of ranks saves, any other loads bit by bit; full disks and kills in between.
cd "$(dirname "$0")/.." && . tests/tap.sh
program=$TESTS/test_checkpoint_ranks
[ -n "${MPIEXEC:-}" ] && command -v "$MPIEXEC" >/dev/null || { skip "checkpoints of several ranks" "no MPI"; finish; }

# Open MPI: as root, more ranks than cores, none bound to one
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export ASAN_OPTIONS=detect_leaks=0 # what MPI itself leaves allocated is not ours

ranks() { # N ARGUMENTS...
    local n=$1; shift
    timeout -s KILL 300 "$MPIEXEC" -np "$n" "$program" "$@" >"$scratch/out" 2>"$scratch/err"
}
for n in 2 3 4; do ranks $n; ok "$n ranks: damage, pruning, what fails on one"; done

# cases: 2 models, 3 precisions, and the ways of sharding that so many ranks have
for n in 1 2 3 4; do ranks $n save "$scratch/$n"; ok "$n ranks save every case"; done
for n in 1 2 3 4; do
    for m in 1 2 3 4; do
        ranks $m load "$scratch/$n" && [ "$(cat "$scratch/out")" -ge 6 ]
        ok "what $n saved, $m load: $(cat "$scratch/out") pairs of ways to shard, every element the same"
    done
done
"$tally" inspect "$scratch/4" --json >"$scratch/out" 2>"$scratch/err" && grep -q '"whole":true' "$scratch/out"
ok "inspect tells that what 4 ranks saved is whole"

# newest STEP: on one rank, and on two
newest() {
    "$program" newest "$scratch/run" >"$scratch/out" 2>"$scratch/err" && [ "$(tail -1 "$scratch/out")" = "$1" ] &&
        ranks 2 newest "$scratch/run" && [ "$(tail -1 "$scratch/out")" = "$1" ]
}
ranks 2 one "$scratch/run" 1 && newest 1; ok "2 ranks save one more"
for full in 0 1; do
    export FULL_DISK_ON_RANK=$full
    ranks 2 one "$scratch/run" 2; status=$?
    unset FULL_DISK_ON_RANK
    [ $status -eq 1 ] && [ "$(grep -c "rank [01] says: rank $full: .*File too large" "$scratch/err")" -eq 2 ] &&
        [ ! -e "$scratch/run/checkpoints/.step-2.tmp" ]
    ok "rank $full cannot write: both ranks say so, nothing is left of it"
    newest 1; ok "and the checkpoint before it is whole"
done

# killed RANK N: that rank dies before its N-th write, fsync or rename of a save by two ranks
killed() {
    local first=() second=()
    [ "$1" -eq 0 ] && first=(env TALLY_CRASH_AT_WRITE="$2") || second=(env TALLY_CRASH_AT_WRITE="$2")
    timeout -s KILL 300 "$MPIEXEC" -np 1 "${first[@]}" "$program" one "$scratch/run" 2 : \
        -np 1 "${second[@]}" "$program" one "$scratch/run" 2 >"$scratch/out" 2>"$scratch/err"
}
for rank in 0 1; do
    boundaries=0 lost=0
    while [ $boundaries -lt 60 ] && ! killed $rank $((boundaries + 1)); do
        boundaries=$((boundaries + 1))
        "$program" newest "$scratch/run" >"$scratch/out" 2>"$scratch/err" || lost=1
        grep -qx "[12]" "$scratch/out" || lost=1
        rm -rf "$scratch/run/checkpoints/step-2"
    done
    # its weights, its part of the optimizer's state; on rank 0 four more files, the folders, the rename
    [ $lost -eq 0 ] && [ $boundaries -ge $((rank ? 4 : 16)) ] && [ $boundaries -lt 60 ] && newest 2
    ok "rank $rank of 2 killed at each of its $boundaries write boundaries: a whole checkpoint is there, and the next save works"
    rm -rf "$scratch/run/checkpoints/step-2"
done
finish
