# train --mask-documents: the FLOPs of each step, on one rank and on three, and a sliding window beside it.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
need_ranks "--mask-documents"
need_python "--mask-documents"

python3 - "$scratch/text.jsonl" <<'P'
import json, random, sys
draw = random.Random(1)
with open(sys.argv[1], "w") as f:
    for _ in range(200): f.write(json.dumps({"text": " ".join(draw.choice(["tide", "moon", "salt"]) for _ in range(draw.randint(1, 25)))}) + "\n")
P
tiny_llama "$scratch/llama.json" 32 48 2 4 2
sed 's/"llama"/"mistral"/; s/LlamaFor/MistralFor/; s/"tie_word/"sliding_window": 9, "tie_word/' "$scratch/llama.json" >"$scratch/mistral.json"
run() { # RANKS BATCH RUN MODEL OPTIONS...
    timeout -s KILL 240 "$MPIEXEC" -np "$1" "$tally" train --batch "$2" --out "$scratch/$3" --model "$scratch/$4.json" --data "$scratch/text.jsonl" --steps 3 \
        --seq-len 64 --precision fp32 --threads 1 --peak-seconds 0 --seed 3 --eval-every 3 --eval-batches 2 "${@:5}" >"$scratch/out" 2>"$scratch/err"
}
run 1 6 one llama --mask-documents && cat "$scratch/out" "$scratch/err" >"$scratch/log" && run 3 2 three llama --mask-documents && run 1 6 plain llama && run 1 6 window mistral --mask-documents; ok "four runs"
# A step counts 5 multiplications of a head's pairs by rows of q, and the backward pass one more as recompute. So the two
# numbers of a step give its pairs, and the pairs give the first number again.
check() { python3 - "$scratch" "$@" 2>"$scratch/err" <<'P'
import json, sys
folder, expression = sys.argv[1:]
def steps(run): return [x for x in map(json.loads, open(f"{folder}/{run}/metrics.jsonl")) if "flops_model" in x]
def pairs(x):
    L, C, q, k, F, V, N = 2, 32, 32, 16, 48, 257, 6 * 64
    p, rest = divmod(x["flops_executed"] - x["flops_model"], 2 * q * L)
    assert rest == 0 and x["flops_model"] == 3 * (N * (2 * L * (2 * C * q + 2 * C * k + 3 * C * F) + 2 * C * V) + L * 4 * q * p), x
    return p
def close(a, b): return abs(a - b) <= 1e-4 * abs(b)
one, three, plain, window = map(steps, ["one", "three", "plain", "window"])
assert len(one) == 3 and all(eval(expression) for a, b, c, d in zip(one, three, plain, window))
P
}
check 'pairs(c) == 6 * 64 * 65 // 2'; ok "without it, every step has all pairs"
check '6 * 64 <= pairs(a) < pairs(c) * 0.8'; ok "with it, a step has those inside documents"
check 'pairs(d) < pairs(a) and pairs(d) <= 6 * (45 + 55 * 9)'; ok "a window leaves fewer still"
check 'a["flops_model"] == b["flops_model"] and a["flops_executed"] == b["flops_executed"]'; ok "three ranks count what one does"
check 'close(a["loss"], b["loss"]) and a["loss"] != c["loss"]'; ok "three ranks have the losses of one, and other ones than without it"
grep -q "step: 384 tokens, at most " "$scratch/log"; ok "the log says that a step takes at most these FLOPs"
finish
