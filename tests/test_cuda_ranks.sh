# Ranks with GPUs: their collectives, over NCCL and through host memory, and the errors of the other ranks when one dies. With
# TALLY_CUDA=EMULATED each rank emulates its own GPUs and NCCL; else the test needs as many GPUs as ranks.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
program=$TESTS/test_cuda_comm
printf 'some text\n%.0s' $(seq 2000) >"$scratch/text"
refuses "NCCL between CPUs" "^tally: --comm nccl: needs GPUs, but --device is .*; expected auto$" train --data "$scratch/text" --out "$scratch/x" \
    --device cpu --comm nccl --seq-len 16 --batch 1
need_ranks "communication between GPUs"
need_python "communication between GPUs"
if "$program" open 2>/dev/null | grep -q SKIP; then skip "communication between GPUs" "no GPU here"; finish; fi
export SIMT_WORKERS=1 # of each rank
[ -z "${SIMT_GUARD:-}" ] || numbers_of_ranks="1 3" # it is slow
run() { timeout -s KILL 300 "$MPIEXEC" -np "$@" >"$scratch/out" 2>"$scratch/err"; }
shown() { sed 's/^/# /' "$scratch/out" "$scratch/err" | grep -E '^# (not ok|.*FAILED|.*ERROR)'; }

# kinds RANKS PATTERN: what `auto` opens on so many ranks
kinds() { run "$1" "$program" open && [ "$(cut -d' ' -f1 "$scratch/out" | sort -u | tr '\n' ' ')" = "$2 " ]; }
if SIMT_DEVICES=4 kinds 2 nccl; then separate=true; else separate=false; fi
if $separate; then true; ok "with one GPU per rank, --comm auto is nccl"; else skip "ranks over NCCL" "no GPU for each rank, or no NCCL"; fi
if grep -q '^TALLY_CUDA:.*=EMULATED' "$TESTS/CMakeCache.txt"; then
    SIMT_DEVICES=1 kinds 2 staged; ok "with a GPU that ranks share, --comm auto is staged"
    $separate; ok "every rank can have an emulated GPU"
    export SIMT_DEVICES=2
    SIMT_NCCL_VERSION=21602 kinds 2 staged &&
        grep -q "host memory, which is slow: rank 0: libnccl.so.2: found nccl 2.16.2, expected nccl 2.18 or newer$" "$scratch/err"
    ok "with an NCCL that is too old, --comm auto is staged, and the log says why"
    mkdir "$scratch/fake_nccl" && : >"$scratch/fake_nccl/libnccl.so.2" && cp "$program" "$scratch/alone"
    run 2 "$scratch/alone" open && grep -q '^staged 0/2' "$scratch/out" &&
        grep -q "host memory, which is slow: rank 0: NCCL: .*/libnccl.so.2: file too short$" "$scratch/err"
    ok "with an NCCL that cannot be loaded, --comm auto is staged, and the log says why"
    SIMT_NCCL_VERSION=21602 refuses "--comm nccl with an NCCL that is too old is an error" \
        "^tally: --comm nccl: libnccl.so.2: found nccl 2.16.2, expected nccl 2.18 or newer; expected auto or staged$" train \
        --data "$scratch/text" --out "$scratch/x" --device cuda --comm nccl --seq-len 16 --batch 1 --peak-seconds 0
    ! differing 1 "$program" open : env DEVICE=cpu "$program" open &&
        grep -q '^rank [01]: --device: rank 0 (.*) is on a GPU, rank 1 (.*) on a CPU; expected the same kind for all$' "$scratch/err"
    ok "if only one rank has no GPU, all ranks fail"
    unset SIMT_DEVICES
fi

for ranks in $numbers_of_ranks; do
    if [ $((ranks % 2)) = 0 ]; then models=models; else models=order; fi # the order of things on all, models where they fit
    SIMT_DEVICES=1 run "$ranks" "$program" staged; ok "$ranks ranks through host memory"; shown
    SIMT_DEVICES=1 run "$ranks" "$TESTS/test_cuda_fsdp" staged $models; ok "$ranks ranks through host memory: the sharding engine"; shown
    if ! $separate || ! SIMT_DEVICES=4 kinds "$ranks" "$([ "$ranks" = 1 ] && echo staged || echo nccl)"; then continue; fi
    SIMT_DEVICES=4 run "$ranks" "$program" nccl; ok "$ranks ranks over NCCL"; shown
    SIMT_DEVICES=4 run "$ranks" "$TESTS/test_cuda_fsdp" nccl $models; ok "$ranks ranks over NCCL: the sharding engine"; shown
done
$separate || finish

# dies NAME PATTERN RANKS ARGUMENTS...: the last rank dies and the job fails, well before the time-out of 100 s that hang
# protection is, and the ranks that say why say what the pattern says
dies() {
    local name=$1 pattern=$2 ranks=$3; shift 3
    local began=$SECONDS
    SIMT_DEVICES=4 timeout -s KILL 90 "$MPIEXEC" -np "$ranks" "$program" "$@" >"$scratch/out" 2>"$scratch/err"
    local status=$?
    [ $status -ne 0 ] && [ $SECONDS -lt $((began + 80)) ] && { told_by_prrte $((ranks - 1)) ||
        { job_err | grep -qE "^rank [0-9]: $pattern\$" && ! job_err | grep -E '^rank [0-9]: ' | grep -vE "^rank [0-9]: $pattern\$"; }; }
    ok "$name"
}
for ranks in 2 4; do
    last=$((ranks - 1))
    dies "rank $last of $ranks is killed: who waits for it over NCCL says so" \
        "rank $last \([^ ]+, pid [0-9]+\) died; other ranks wait for it in all-gather 2 of step 12" $ranks nccl die kill
    TIMEOUT_S=20 dies "rank $last of $ranks stops: who waits for it over NCCL ends after the time-out" \
        "rank [0-9] has waited 20 s in all-gather 2 of step 12 for ranks that do not come" $ranks nccl die stop
done
if grep -q '^TALLY_CUDA:.*=EMULATED' "$TESTS/CMakeCache.txt"; then
    SIMT_NCCL_KILL=init dies "rank 2 is killed when NCCL starts" \
        "rank 2 \([^ ]+, pid [0-9]+\) died; other ranks wait for it in NCCL's initialisation 1 of step 0" 3 open
    SIMT_NCCL_KILL=finalize dies "rank 2 is killed when NCCL ends: the others go on to where that is said" \
        "rank 2 \([^ ]+, pid [0-9]+\) died; other ranks wait for it in exchange [0-9]+ of step 0" 3 open
fi
dies "rank 1 is killed: who waits for it through host memory says so" \
    "rank 1 \([^ ]+, pid [0-9]+\) died; other ranks wait for it in all-gather [0-9]+ of step 12" 2 staged die kill

# a whole run: two ranks over NCCL, and the same ranks through host memory
tiny_llama "$scratch/model.json" 32 48 2 2 1 '"head_dim": 16'
seq 500 | sed 's/.*/line & of the text/' >"$scratch/text"
export SIMT_DEVICES=4
train() { # RANKS RUN OPTIONS...
    local ranks=$1 folder=$2; shift 2
    run "$ranks" "$tally" train --model "$scratch/model.json" --data "$scratch/text" --out "$scratch/$folder" --device cuda --batch 2 \
        --seq-len 16 --steps 4 --lr 1e-2 --warmup 0 --schedule constant --checkpoint-every 2 --eval-every 3 --eval-batches 2 --price 1 --peak-seconds 0 "$@"
}
weights() { cat "$scratch/$1"/checkpoints/step-4/*.safetensors | sha256sum; }
train 2 nccl; ok "training on two GPUs"
grep -q "ranks: 2 on 1 host; shard full; over nccl [0-9.]*$" "$scratch/err" "$scratch/out"; ok "training on two GPUs uses NCCL"
train 2 stopped --steps 2 && train 2 stopped --resume --steps 4 && [ "$(weights stopped)" = "$(weights nccl)" ]
ok "resumed: bitwise the uninterrupted run"
train 2 staged --comm staged; ok "training on two GPUs through host memory"
# bf16: half an ulp is 2^-9; means of 64 tokens, after up to 4 steps that have drifted apart
python3 - "$scratch" <<'P'; ok "through host memory: the same losses within rounding, the same bytes sent at every step; every second is booked once"
import json, sys
runs = [[json.loads(x) for x in open(f"{sys.argv[1]}/{run}/metrics.jsonl")] for run in ("nccl", "staged")]
assert len(runs[0]) == 4
for a, b in zip(*runs):
    for key in ("loss", "grad_norm"): assert abs(a[key] - b[key]) <= 4 * 2**-8 * abs(b[key]), (key, a, b)
    assert a["bytes_sent"] == b["bytes_sent"] > 0, (a, b)
l = json.load(open(sys.argv[1] + "/nccl/ledger.json"))
assert abs(sum(l["bookings"].values()) - l["wall_s"]) < 1e-6, l
P
train 2 killed --steps 100000 --checkpoint-every 0 --eval-every 0 & job=$!
for i in $(seq 300); do [ "$(cat "$scratch/killed/metrics.jsonl" 2>/dev/null | wc -l)" -ge 3 ] && break; sleep 0.1; done
kill -KILL "$(pgrep -f -- "--out $scratch/killed" | tail -1)"
wait $job; [ $? -ne 0 ] && { job_err | grep -qE '^tally: .*died; other ranks wait for it in' || told_by_prrte "[01]"; }
ok "the error names a rank that is killed during training"
finish
