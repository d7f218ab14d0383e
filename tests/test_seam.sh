# The seam between CPU and CUDA: each half NAME_cpu and NAME_cuda is given one more parameter, and its file must not compile.
cd "$(dirname "$0")/.." && . tests/tap.sh

if [ "${SANITIZED:-OFF}" = ON ]; then skip "halves" "no code of ours runs here"; finish; fi
half='^(extern "C" )?(status|void|size_t) [a-z_]+_(cpu|cuda)\(' # a definition: static functions are no halves
flags=(-fsyntax-only -w -fmax-errors=0 -D_GNU_SOURCE -I"$PWD" -isystem "$PWD/tests/simt/include")

# drifted FILE COMPILER...: the compiler rejects every half of FILE, and says that it conflicts with the header
drifted() {
    local file=$1 halves missed=; shift
    sed -E "s#$half#&int drifted, #" "$file" >"$scratch/$(basename "$file")"
    halves=$(grep -E "$half" "$file" | grep -oE '[a-z_]+_(cpu|cuda)\(' | tr -d '(')
    [ -n "$halves" ] || { echo "$file holds no half" >"$scratch/err"; return 1; }
    LC_ALL=C "$@" "${flags[@]}" "$scratch/$(basename "$file")" 2>"$scratch/out"
    for half_name in $halves; do grep -q "error: conflicting .*\b$half_name\b" "$scratch/out" || missed+=" $half_name"; done
    [ -z "$missed" ] || { echo "compiled:$missed" >"$scratch/err"; return 1; }
}

for file in $(grep -lE "$half" {runtime,layers,optim}/*.c); do
    drifted "$file" cc -std=gnu11; ok "$file: a half that differs from its header does not compile"
done
for file in $(grep -lE "$half" {layers,optim}/*.cu); do
    if ! command -v g++ >/dev/null; then skip "$file" "no g++ here"; continue; fi
    drifted "$file" g++ -std=c++17 -x c++; ok "$file: a half that differs from its header does not compile"
done

# every NAME that is dispatched has its halves in a header, and no file declares one for itself
names() { grep -ohE "$1\((dev, )?[a-z_]+" "${@:2}" | sed -E 's/.*[( ]//' | sort -u; }
diff <(names '\b(DISPATCH|HALF)' {runtime,layers,optim}/*.c) <(names '^HALVES' {runtime,layers,optim}/*.h) >"$scratch/err"
ok "every function that is dispatched is declared in two halves"
finish
