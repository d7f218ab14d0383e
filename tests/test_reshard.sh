# Checkpoints of several ranks: what any number of ranks saves, any other loads bit by bit; full disks and kills in between.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
program=$TESTS/test_checkpoint_ranks
need_ranks "checkpoints of several ranks"

ranks() { # N ARGUMENTS...
    local n=$1; shift
    timeout -s KILL 300 "$MPIEXEC" -np "$n" "$program" "$@" >"$scratch/out" 2>"$scratch/err"
}
for n in ${numbers_of_ranks#1 }; do ranks $n; ok "$n ranks: damaged files, pruning, errors of one rank"; done

# cases: 2 models, 3 precisions, and the ways of sharding that so many ranks have
for n in $numbers_of_ranks; do ranks $n save "$scratch/$n"; ok "$n ranks save every case"; done
for n in $numbers_of_ranks; do
    for m in $numbers_of_ranks; do
        pairs=0; ranks $m load "$scratch/$n" && pairs=$(cat "$scratch/out")
        [ "$pairs" -ge 6 ]; ok "what $n saved, $m load: $pairs pairs of ways to shard, every element the same"
    done
done
"$tally" inspect "$scratch/$n" --json >"$scratch/out" 2>"$scratch/err" && grep -q '"whole":true' "$scratch/out"
ok "inspect verifies what $n ranks saved"

# the program on what several ranks have saved: what it does on what it has saved alone
for i in $(seq 300); do echo "line $i: a text to learn, with the number $((i * 7919 % 1000))"; done >"$scratch/text.txt"
sed 's/"max_position_embeddings": [0-9]*/"max_position_embeddings": 256/' tests/reference/llama-tiny-tied.json >"$scratch/llama.json"
train() { # RUN STEPS
    "$tally" train --model "$scratch/llama.json" --data "$scratch/text.txt" --out "$1" --steps "$2" --batch 2 --seq-len 64 --lr 1e-2 \
        --schedule constant --threads 1 --precision fp32 --peak-seconds 0 --resume >"$scratch/out" 2>"$scratch/err"
}
evaluate() { "$tally" eval "$1" --data "$scratch/text.txt" --seq-len 64 --precision fp32 --json 2>"$scratch/err" | sed 's/.*"loss":\([^,]*\).*/\1/'; }
train "$scratch/alone" 4 && ranks 3 again "$scratch/alone/checkpoints/step-4" "$scratch/split" &&
    [ ! -e "$scratch/split/checkpoints/step-4/model.safetensors" ]
ok "3 ranks save a run's checkpoint again"
loss=$(evaluate "$scratch/alone"); [ -n "$loss" ] && [ "$(evaluate "$scratch/split")" = "$loss" ]; ok "eval finds the same loss: $loss"
train "$scratch/alone" 7 && train "$scratch/split" 7 &&
    cmp "$scratch"/{alone,split}/checkpoints/step-7/model.safetensors 2>"$scratch/err" &&
    cmp "$scratch"/{alone,split}/checkpoints/step-7/optimizer.safetensors 2>"$scratch/err"
ok "resumed from it, one rank ends with the same bits"

# newest STEP: on one rank, and on two
newest() {
    "$program" newest "$scratch/run" >"$scratch/out" 2>"$scratch/err" && [ "$(tail -1 "$scratch/out")" = "$1" ] &&
        ranks 2 newest "$scratch/run" && [ "$(tail -1 "$scratch/out")" = "$1" ]
}
ranks 2 one "$scratch/run" 1 && newest 1; ok "2 ranks save one more checkpoint"
for full in 0 1; do
    export FULL_DISK_ON_RANK=$full
    ranks 2 one "$scratch/run" 2; status=$?
    unset FULL_DISK_ON_RANK
    [ $status -eq 1 ] && [ "$(grep -c "rank [01] says: rank $full: .*File too large" "$scratch/err")" -eq 2 ] &&
        [ ! -e "$scratch/run/checkpoints/.step-2.tmp" ]
    ok "rank $full cannot write: both ranks fail, and no part of this checkpoint is left"
    newest 1; ok "the checkpoint before it is complete"
done

# killed RANK N: that rank dies before its N-th write, fsync or rename of a save by two ranks
killed() {
    timeout -s KILL 300 "$MPIEXEC" -np 2 bash -c "[ \${OMPI_COMM_WORLD_RANK-\${PMI_RANK-}} != $1 ] || export TALLY_CRASH_AT_WRITE=$2; exec \"\$@\"" \
        - "$program" one "$scratch/run" 2 >"$scratch/out" 2>"$scratch/err"
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
    ok "rank $rank of 2 killed at each of its $boundaries write boundaries: a complete checkpoint exists, and the next save works"
    rm -rf "$scratch/run/checkpoints/step-2"
done
finish
