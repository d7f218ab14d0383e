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
printf 'one document' >"$scratch/a.txt"
json 'o["documents"] == 1 and o["tokens"] == 13' "$scratch/a.txt"; ok "a text file"
json 'len(o["tensors"]) > 20 and o["elements"] > 0' tests/reference/gpt2-tiny.safetensors; ok "a safetensors file"
head -c 100 tests/reference/gpt2-tiny.safetensors >"$scratch/cut.safetensors"
refuses "a truncated safetensors file" "cut.safetensors" inspect "$scratch/cut.safetensors"
refuses "nothing there" "$scratch/none" inspect "$scratch/none"
refuses "an unknown model, with the nearest" "llama-15m" inspect --model llama-15
finish
