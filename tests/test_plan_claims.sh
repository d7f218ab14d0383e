# plan --reproduce: the claims of articles and published MFU.
cd "$(dirname "$0")/.." && . tests/tap.sh
need_python "plan --reproduce"

use() { "$tally" plan "$@" >"$scratch/out" 2>"$scratch/err"; }
use --reproduce && grep -q "^28 claims: 19 reproduce, 8 are wrong, 1 open" "$scratch/out" && grep -q "^published-mfu: 144 .*: 144 within" "$scratch/out"
ok "every claim has the expected verdict, and every published MFU is within the tolerance"
use --reproduce llama31-405b-peak && grep -q "sparse peak: twice the dense 989.4" "$scratch/out" && grep -q "^    inputs: " "$scratch/out"
ok "one claim, with its inputs and the reason"
use --reproduce --json && python3 -c 'import json, sys; o = json.load(open(sys.argv[1])); sys.exit(not (len(o["claims"]) == 28 and len(o["published_mfu"]) == 144))' "$scratch/out"
ok "claims and published MFU as JSON"
refuses "an unknown claim" "--reproduce \"no-claim\": expected no row, or one of sam-hw" plan --reproduce no-claim
refuses "two claims" "\"palm-8b\": expected only one" plan --reproduce sam-hw palm-8b
finish
