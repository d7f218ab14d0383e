# A short training run under valgrind's memcheck: no invalid access, no use of uninitialised memory, nothing lost.
cd "$(dirname "$0")/.." && . tests/tap.sh

name="a short run is clean under valgrind"
if ! command -v valgrind >/dev/null; then skip "$name" "valgrind is not installed"; finish; fi
if grep -aq __asan_init "$tally"; then skip "$name" "the program is built with sanitizers"; finish; fi
if [ "$(uname -m)" != x86_64 ]; then skip "$name" "tried on x86-64 only"; finish; fi
for i in $(seq 100); do echo "line $i of a small text"; done >"$scratch/text.txt"
cat >"$scratch/model.json" <<'J'
{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": 257, "hidden_size": 16, "intermediate_size": 24,
 "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
 "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"}
J
# GOMP_SPINCOUNT: so that the program does not start itself anew, away from valgrind
for precision in bf16 fp32; do
    GOMP_SPINCOUNT=1000 valgrind -q --suppressions=tests/valgrind.supp --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite \
        "$tally" train --model "$scratch/model.json" --data "$scratch/text.txt" --out "$scratch/$precision" --steps 2 --batch 2 \
        --seq-len 16 --warmup 1 --threads 1 --precision $precision --recompute block:1 --peak-seconds 0 >"$scratch/out" 2>"$scratch/err"
    ok "$name: $precision"
done
finish
