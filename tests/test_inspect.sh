# inspect: models against published numbers, files and runs against what is in them.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "inspect"

json() { # EXPRESSION ARGUMENTS...: python expression over the JSON object o that `tally inspect ARGUMENTS --json` prints
    local expression=$1; shift
    "$tally" inspect "$@" --json 2>"$scratch/err" | python3 -c "import json, sys; o = json.load(sys.stdin); sys.exit(not ($expression))" 2>>"$scratch/err"
}
json 'o["parameters"] == 124439808 and o["flops_per_token"] == 797870592' --model gpt2-124m --seq-len 1024; ok "gpt2-124m"
json 'o["parameters"] == 494032768' --model qwen2.5-0.5b; ok "qwen2.5-0.5b"
json 'o["parameters"] == 8030261248 and round(o["flops_per_token"] / 1e8) == 515' --model llama3.1-8b --seq-len 8192; ok "llama3.1-8b"
json 'o["flops_per_token_palm"] == 6 * o["parameters"] + 12 * 12 * 768 * 1024 and o["flops_per_token_6n"] == 6 * o["parameters"]' \
    --model gpt2-124m --seq-len 1024; ok "PaLM's count and 6N"
json 'o["training_memory_bytes"]["total"] == sum(v for k, v in o["training_memory_bytes"].items() if k != "total")' --model llama-15m
ok "memory by category adds up"
cat >"$scratch/mistral.json" <<'EOF'
{"model_type": "mistral", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
 "intermediate_size": 96, "vocab_size": 300, "max_position_embeddings": 512, "sliding_window": 40, "rms_norm_eps": 1e-5, "rope_theta": 10000}
EOF
# training is 3 times forward; a head's pairs of 200 tokens: 1 + 2 + .. + 40, then 40 each
json 'o["shape"]["window"] == 40 and o["shape"]["layers_with_window"] == 2 and o["flops_per_token"] * 200 ==
    3 * (200 * (2 * 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96) + 2 * 64 * 300) + 2 * 4 * 64 * (40 * 41 // 2 + 160 * 40))' \
    --model "$scratch/mistral.json" --seq-len 200; ok "a sliding window"
mkdir "$scratch/folder" && cp "$scratch/mistral.json" "$scratch/folder/config.json" && : >"$scratch/folder/model.safetensors"
json 'o["shape"]["channels"] == 64' "$scratch/folder"; ok "a folder with a model"
printf 'one document' >"$scratch/a.txt"
json 'o["documents"] == 1 and o["tokens"] == 13' "$scratch/a.txt"; ok "a text file"
json 'len(o["tensors"]) > 20 and o["elements"] > 0' tests/reference/gpt2-tiny.safetensors; ok "a safetensors file"
head -c 100 tests/reference/gpt2-tiny.safetensors >"$scratch/cut.safetensors"
refuses "a truncated safetensors file" "cut.safetensors" inspect "$scratch/cut.safetensors"
refuses "nothing there" "$scratch/none" inspect "$scratch/none"
refuses "an unknown model, with the nearest" "llama-15m" inspect --model llama-15
finish
