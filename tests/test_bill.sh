# What a run books: every second it lived, and numbers that no size makes wrong.
cd "$(dirname "$0")/.." && . tests/tap.sh

text=$scratch/text.txt
for i in $(seq 400); do echo "line $i: the quick brown fox jumps over the lazy dog, $((i * 7919 % 1000)) times"; done >"$text"
cat >"$scratch/model.json" <<'J'
{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 257, "hidden_size": 32, "intermediate_size": 48,
 "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
 "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"}
J
options=(--model "$scratch/model.json" --data "$text" --batch 2 --seq-len 32 --warmup 4 --threads 1 --peak-seconds 0)

refuses "tokens of a run beyond 2^63 are refused" "--steps 1000000000000 of 1000000000000 tokens" \
    train "${options[@]}" --steps 1000000000000 --global-batch 1000000000000 --out "$scratch/many"

finish
