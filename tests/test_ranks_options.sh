# Ranks that are started with different options, data or models: each is refused in one line that names what differs, both values
# and the ranks, before anything is computed. The options are those of a run's own config.json, so that a new one is tested too.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
need_ranks "ranks with different options"
need_python "ranks with different options"

text=$scratch/text.txt
lines_of_text 200 "$text"
tiny_llama "$scratch/model.json" 32 48 2 4 2
# --comm-timeout: a rank that waits for another would take longer than this test may
options=(--model "$scratch/model.json" --steps 2 --batch 2 --seq-len 32 --threads 1 --peak-seconds 0 --comm-timeout 900)
# OPTIONS of rank 0 and 1 : of rank 2; $program and $data are those of rank 2
program=$tally data=$text
two() {
    local first=()
    while [ "$1" != : ]; do first+=("$1"); shift; done; shift
    differing 2 "$tally" train "${options[@]}" --data "$text" --out "$scratch/x" "${first[@]}" : \
        "$program" train "${options[@]}" --data "$data" --out "$scratch/x" "$@"
}
one_line() { [ "$(job_err | grep -c '^tally:')" -eq 1 ] && job_err | grep '^tally: rank [0-9]: ' | grep -qF -- "$1"; }

# "NAME VALUE OTHER", of every option that must be the same
"$tally" train "${options[@]}" --data "$text" --out "$scratch/alone" >"$scratch/out" 2>"$scratch/err" && "$tally" train --help | python3 -c '
import json, re, sys
own = {"model", "init", "data", "tokenizer", "out", "device", "threads", "price", "tdp_watts", "capex", "salvage", "years", "interest",
       "opex", "utilisation", "host_watts", "tensorboard", "prometheus"} # of the rank, or compared by what they lead to
own |= {"kwh_price", "stop_at_loss"} # they need other options
values = json.load(open(sys.argv[1]))
choices = {name: words.split("|") for name, words in re.findall(r"--([a-z-]+) ([a-z0-9]+(?:\|[a-z0-9]+)+)", sys.stdin.read())}
special = {"min_lr": 1e-5, "budget": 5, "recompute": "block", "text_key": "content", "gather_dtype": "bf16", "pue": 1.5, "grid": "FR"}
for key, value in values.items():
    if key in own: continue
    name = key.replace("_", "-")
    if isinstance(value, bool): other = not value
    elif key in special: other = special[key]
    elif name in choices: other = next(x for x in choices[name] if x != value)
    else: other = value / 2 if isinstance(value, float) else value + 1
    print(name, *(("on" if x else "off") if isinstance(x, bool) else "not given" if x is None else x for x in (value, other)), sep="\t")
' "$scratch/alone/config.json" >"$scratch/table"
ok "the options that must be the same are listed"
[ "$(wc -l <"$scratch/table")" -ge 35 ]; ok "they are 35 or more"
while IFS=$'\t' read -r name value other; do
    case $other in
    on) two : "--$name" ;;
    off) two : "--no-$name" ;;
    *) two : "--$name" "$other" ;;
    esac </dev/null
    [ $? -eq 2 ] && one_line "--$name: $value on ranks 0, 1, $other on rank 2; expected the same on all ranks"
    ok "--$name $value on ranks 0 and 1, $other on rank 2"
done < <(awk 'NR % 4 == 2' "$scratch/table") # the comparison does not depend on the option, and each costs a job

two : --resume; [ $? -eq 2 ] && one_line "--resume: off on ranks 0, 1, on on rank 2"; ok "--resume on one rank"
echo '{"lr": 0.5}' >"$scratch/lr.json"
two : --config "$scratch/lr.json"; [ $? -eq 2 ] && one_line "--lr: 0.001 on ranks 0, 1, 0.5 on rank 2"; ok "another value by --config"
sed 's/10000.0/500000.0/' "$scratch/model.json" >"$scratch/other.json"
two : --model "$scratch/other.json"; [ $? -eq 2 ] && one_line "--model: rope_theta: 10000 on ranks 0, 1, 500000 on rank 2"
ok "another model of the same shapes"
tr a b <"$text" >"$scratch/other.txt"
data=$scratch/other.txt; two :; [ $? -eq 2 ] && one_line "--data: "; ok "other text of the same length"
data=$text
DNNL_MAX_CPU_ISA=AVX2 differing 1 "$tally" train "${options[@]}" --data "$text" --out "$scratch/x" : \
    env -u DNNL_MAX_CPU_ISA "$tally" train "${options[@]}" --data "$text" --out "$scratch/x"
[ $? -eq 2 ] && one_line "DNNL_MAX_CPU_ISA: AVX2 on rank 0, not given on rank 1"; ok "another environment"
cp "$tally" "$scratch/tally" && echo >>"$scratch/tally"
program=$scratch/tally; two :; [ $? -eq 2 ] && one_line "the program, by the crc32 of its file: "; ok "another build of the program"
program=$tally
two : --help; [ $? -eq 2 ] && one_line "--help: off on ranks 0, 1, on on rank 2"; ok "--help on one rank ends the job; the others do not wait"
two --help : --help; [ $? -eq 0 ] && [ "$(grep -c '^usage' "$scratch/out")" -eq 1 ]; ok "--help on all of them is printed once"
two : --stesp 3; [ $? -eq 2 ] && one_line "rank 2: --stesp"; ok "an unknown option on one rank"
[ ! -e "$scratch/x" ]; ok "nothing is written for ranks that differ"

cp "$scratch/model.json" "$scratch/same.json"; cp "$text" "$scratch/same.txt"; data=$scratch/same.txt
two --host-watts 70 : --model "$scratch/same.json" --threads 2 --device cpu --price 2 --tdp-watts 9 --host-watts 50; [ $? -eq 0 ]
ok "different paths to the same file, and options of a rank's machine, may differ"
python3 - "$scratch/x/ledger.json" <<'P'
import json, sys
l = json.load(open(sys.argv[1]))
assert abs(l["energy"]["host_j"] / (70 * l["wall_s"]) - 1) < 1e-6, l
P
ok "the power of a host is that which its first rank gives, and counts once"
finish
