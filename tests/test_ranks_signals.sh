# Signals to one of several ranks: all leave a step or an evaluation at the same place, and save the last step that was finished.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
need_ranks "signals to ranks"

text=$scratch/text.txt
lines_of_text 400 "$text"
tiny_llama "$scratch/model.json" 32 48 2 4 2
options=(--model "$scratch/model.json" --data "$text" --batch 2 --seq-len 32 --global-batch 256 --warmup 2 --lr 1e-2 --steps 4
    --eval-every 2 --eval-batches 4 --checkpoint-every 3 --threads 1 --peak-seconds 0)
weights() { cat "$1"/checkpoints/step-4/*.safetensors | sha256sum; }
# LOOK RUN OPTIONS...: rank 1 gets a TERM at that look for one, 0: never; the others look as often
ranks() {
    local look=$1 run=$2; shift 2
    timeout -s KILL 240 "$MPIEXEC" -np 2 bash -c "export TALLY_STOP_AT_LOOK=0
        [ \${OMPI_COMM_WORLD_RANK-\${PMI_RANK-}} != 1 ] || TALLY_STOP_AT_LOOK=$look; exec \"\$@\"" \
        - "$tally" train "${options[@]}" --out "$run" "$@" >"$scratch/out" 2>"$scratch/err"
}
for shard in "none" "optimizer" "gradients" "full" "full --no-reduce-every-microbatch" "none --precision fp32"; do
    run=$scratch/run
    rm -rf "$scratch/whole"
    ranks 0 "$scratch/whole" --shard $shard; ok "--shard $shard: the run ends with exit code 0 without a signal"
    for look in 4 24 31 38; do
        rm -rf "$run"
        ranks $look "$run" --shard $shard; [ $? -eq 143 ] && grep -q "^stopped " "$scratch/err" &&
            ranks 0 "$run" --shard $shard --resume && [ "$(weights "$run")" = "$(weights "$scratch/whole")" ]
        ok "--shard $shard: rank 1 gets SIGTERM at its check number $look: all ranks stop with exit code 143, and resume bitwise"
    done
done
finish
