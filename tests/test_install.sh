# What `cmake --install` installs: the program with its version, the man page, the completion for each shell. The last two are made
# from the program's option tables.
cd "$(dirname "$0")/.." && . tests/tap.sh

for command in cmake git; do command -v $command >/dev/null || { skip "installing" "no $command here"; finish; }; done
prefix=$scratch/prefix
cmake --install "$TESTS" --prefix "$prefix" >"$scratch/out" 2>"$scratch/err"; ok "cmake --install"
page=$prefix/share/man/man1/tally.1 bash=$prefix/share/bash-completion/completions/tally
fish=$prefix/share/fish/vendor_completions.d/tally.fish zsh=$prefix/share/zsh/site-functions/_tally
[ -s "$page" ] && [ -s "$bash" ] && [ -s "$zsh" ] && [ -s "$fish" ] && [ -s "$prefix/share/doc/tally/tools/RUNNING.md" ]; ok "the pages are installed"
(cd / && "$prefix/bin/tally" inspect --models) >"$scratch/out" 2>"$scratch/err" && grep -q gpt2-124m "$scratch/out"; ok "the installed program runs"
"$prefix/bin/tally" --version >"$scratch/version" 2>"$scratch/err" && head -1 "$scratch/version" | grep -qE '^tally [0-9]+(\.[0-9]+)*(\+[0-9a-z.]+)?$' &&
    for part in oneDNN MPI CUDA NCCL cuDNN; do grep -q $part "$scratch/version" || echo "no $part" >>"$scratch/err"; done && [ ! -s "$scratch/err" ]
ok "--version names the version and what the program was built with"

# --- the man page ---
"$tally" --options | cut -f 1 >"$scratch/commands"
options=$(while read -r name; do "$tally" "$name" --options; done <"$scratch/commands" | wc -l)
[ "$(grep -c '^\\fB\\-\\-' "$page")" -ge "$options" ] && ! grep -vxFf <(sed -nE 's/^\.SH TALLY ([A-Z]+).*/\1/p' "$page" | tr A-Z a-z) "$scratch/commands" >"$scratch/err"
ok "the man page has each command and each option"
if command -v mandoc >/dev/null; then
    ! mandoc -T lint -W warning "$page" | grep -v "missing date" >"$scratch/err"; ok "mandoc finds no fault in the man page"
else skip "mandoc finds no fault in the man page" "no mandoc here"; fi
if command -v man >/dev/null; then
    LC_ALL=C.UTF-8 MANWIDTH=200 man --warnings -l "$page" >"$scratch/out" 2>"$scratch/err" && [ ! -s "$scratch/err" ] && grep -q -- "--recompute POLICY" "$scratch/out"
    ok "man shows the page"
else skip "man shows the page" "no man here"; fi

# --- completion ---
# completes WORDS EXPECTED: after the last of WORDS bash offers EXPECTED
completes() {
    local IFS=' ' words=($1)
    case $1 in *' ') words+=("") ;; esac
    [ "$(bash -c '. "$0" && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) && compopt() { :; } && _tally && echo "${COMPREPLY[*]}"' "$bash" "${words[@]}" 2>"$scratch/err")" = "$2" ]
}
completes "tally tra" "train"; ok "bash completes a command"
completes "tally " "$(paste -sd ' ' "$scratch/commands") --help --options --version"; ok "bash offers every command"
completes "tally train --sched" "--schedule"; ok "bash completes an option"
completes "tally train --no-gem" "--no-gemm-search"; ok "bash completes the negation of a flag"
completes "tally train --schedule c" "cosine constant" && completes "tally train --schedule = c" "cosine constant"; ok "bash completes a choice"
completes "tally bench s" "step shard"; ok "bash completes the second word of a command"
completes "tally train --steps 1" "" && completes "tally train --data a" ""; ok "bash leaves numbers and files to others"
if command -v zsh >/dev/null; then zsh -n "$zsh" 2>"$scratch/err"; ok "zsh can read its completion"; else skip "zsh can read its completion" "no zsh here"; fi
if command -v fish >/dev/null; then
    HOME=$scratch fish -c "source $fish; complete -C 'tally train --schedule c'" 2>"$scratch/err" | cut -f 1 | paste -sd ' ' | grep -qx "constant cosine"
    ok "fish completes a choice"
else skip "fish completes a choice" "no fish here"; fi

# --- a new command needs no edit ---
cat >"$scratch/program" <<'P'
#!/bin/sh
case "$*" in
    --version) echo "tally 1.2" ;;
    --help) echo "Exit status: 0 success." ;;
    --options) printf 'dance\tdance to music\nsong\tmake songs\n' ;;
    "dance --options") printf 'tempo\tchoice\tslow|fast\tslow\t\t\ttempo\tMusic\thow fast to dance\n' ;;
    "dance --help") printf 'usage: tally dance waltz|tango [options]\n\nDances.\n\nMusic\n  --tempo\n' ;;
    "dance "*) exit 2 ;;
    "song --help") printf 'usage: tally song sing FILE [options]\n       tally song hum [options]\n\nSongs.\n' ;;
    "song sing --options") printf 'voice\tchoice\talto|bass\t\t\t\tvoice\tSinger\twhich voice to sing\n' ;;
    "song hum --options") printf 'pitch\tchoice\tlow|high\t\t\t\tpitch\tSinger\thow high to hum\n' ;;
    "song sing --help") printf 'usage: tally song sing FILE [options]\n\nSings.\n\nSinger\n  --voice\n' ;;
    "song hum --help") printf 'usage: tally song hum [options]\n\nHums.\n\nSinger\n  --pitch\n' ;;
esac
P
chmod +x "$scratch/program"
mkdir "$scratch/made" && sh tools/manual.sh "$scratch/program" "$scratch/made" 2>"$scratch/err" &&
    grep -q '^tally dance waltz|tango' "$scratch/made/tally.1" && grep -q '^Dances' "$scratch/made/tally.1"
ok "a new command is in the man page"
bash=$scratch/made/tally.bash
completes "tally dance t" "tango" && completes "tally dance --tempo " "slow fast" && grep -q "tempo" "$scratch/made/tally.zsh" && grep -q "tempo" "$scratch/made/tally.fish"
ok "a new command is in the completion"

grep -q '^\.SH TALLY SONG HUM' "$scratch/made/tally.1" && grep -q '^Hums' "$scratch/made/tally.1" && completes "tally song " "sing hum" &&
    completes "tally song hum --" "--pitch" && completes "tally song sing --voice " "alto bass"
ok "the words of a command can have options of their own"

# --- the version ---
sources=$scratch/sources
version() {
    cmake -D SOURCE="$sources" -D HEADER="$scratch/header" -P tools/version.cmake 2>"$scratch/err" && sed 's/.*"\(.*\)".*/\1/' "$scratch/header"
}
commit() { git -C "$sources" -c user.name=x -c user.email=x@y -c core.hooksPath=/dev/null -c commit.gpgsign=false commit -q --allow-empty -m x; }
mkdir "$sources"
[ "$(version)" = "0.0.0+unknown" ]; ok "sources without git have no version"
git -C "$sources" init -q 2>"$scratch/err"; commit; commit
version | grep -qE '^0\.0\.0\+2\.g[0-9a-f]{7,}$'; ok "without a tag the version counts commits"
git -C "$sources" tag v1.4.0
[ "$(version)" = 1.4.0 ]; ok "a tag is the version"
commit; echo a >"$sources/a"; git -C "$sources" add a
version | grep -qE '^1\.4\.0\+1\.g[0-9a-f]{7,}\.dirty$'; ok "after a tag the version counts commits and tells of changes"
finish
