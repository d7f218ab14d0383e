# inspect: models against published numbers, files and runs against what is in them.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "inspect"

json() { # EXPRESSION ARGUMENTS...: python expression over the JSON object o that `tally inspect ARGUMENTS --json` prints
    local expression=$1; shift
    "$tally" inspect "$@" --json 2>"$scratch/err" | python3 -c "import json, sys; o = json.load(sys.stdin); sys.exit(not ($expression))" 2>>"$scratch/err"
}
cat >"$scratch/mistral.json" <<'EOF'
{"model_type": "mistral", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
 "intermediate_size": 96, "vocab_size": 300, "max_position_embeddings": 512, "sliding_window": 40, "rms_norm_eps": 1e-5, "rope_theta": 10000}
EOF
mkdir "$scratch/folder" && cp "$scratch/mistral.json" "$scratch/folder/config.json" && : >"$scratch/folder/model.safetensors"
json 'o["shape"]["channels"] == 64 and o["shape"]["window"] == 40 and o["shape"]["layers_with_window"] == 2 and o["parameters"] > 0' "$scratch/folder"; ok "a folder with a model"
printf 'one document' >"$scratch/a.txt"
json 'o["documents"] == 1 and o["tokens"] == 13' "$scratch/a.txt"; ok "a text file"
json 'len(o["tensors"]) > 20 and o["elements"] > 0' tests/reference/gpt2-tiny.safetensors; ok "a safetensors file"
head -c 100 tests/reference/gpt2-tiny.safetensors >"$scratch/cut.safetensors"
refuses "a truncated safetensors file" "cut.safetensors" inspect "$scratch/cut.safetensors"
refuses "nothing there" "$scratch/none" inspect "$scratch/none"
finish
