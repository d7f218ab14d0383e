# The system's limits: a cgroup's CPU quota and memory, ulimit. A run follows them or is refused in one line.
cd "$(dirname "$0")/.." && . tests/tap.sh && . tests/mpi.sh
head -c 20000 README.md >"$scratch/text.txt"
# A cgroup of version 1 or 2 for this test, with SETTING=VALUE written into it; fails where this machine allows none.
group() { # CONTROLLER FILE=VALUE...
    local controller=$1 top; shift
    top=/sys/fs/cgroup/$controller
    [ -f /sys/fs/cgroup/cgroup.controllers ] && top=/sys/fs/cgroup
    group=$top/tally-test-$$
    mkdir "$group" 2>/dev/null || return 1
    for setting in "$@"; do
        if ! echo "${setting#*=}" 2>/dev/null >"$group/${setting%%=*}"; then rmdir "$group"; return 1; fi
    done
}
# a process that has just ended may still be counted in it
leave() { for _ in $(seq 50); do rmdir "$group" 2>/dev/null && return; sleep 0.1; done; }
inside() { (echo "$BASHPID" >"$group/cgroup.procs" && exec "$@"); }
train() { # OPTIONS: into an own folder
    rm -rf "$scratch/run"
    "${before[@]}" "$tally" train --model llama-3m --data "$scratch/text.txt" --out "$scratch/run" --steps 1 --batch 1 --seq-len 32 \
        --peak-seconds 0 "$@" >"$scratch/out" 2>"$scratch/err"
}
price() { sed -n 's/^price: \(\S*\) an hour.*/\1/p' "$scratch/err"; }
before=()
train --threads 1; of_one=$(price)
before=(inside)

name="a quota of one CPU: one thread, and the price of one"
if group cpu cpu.cfs_period_us=100000 cpu.cfs_quota_us=100000 || group cpu "cpu.max=100000 100000"; then
    train; [ $? -eq 0 ] && grep -q '^device: .*, 1 threads' "$scratch/err" && [ "$(price)" = "$of_one" ]; ok "$name"
    train --threads 2; [ $? -eq 0 ] && grep -q '^threads: 2 share 1 CPUs by the quota' "$scratch/err" &&
        [ "$(price)" = "$of_one" ] && grep -q '^price: .*times the CPU quota' "$scratch/err"; ok "--threads above the quota is obeyed, and the log says that fewer would be faster"
    leave
else skip "$name" "no cgroup with a CPU quota can be made here"; fi

name="a memory limit below the plan: refused with both numbers"
if group memory memory.limit_in_bytes=400000000 || group memory memory.max=400000000; then
    train --model gpt2-124m
    [ $? -eq 2 ] && [ ! -e "$scratch/run" ] &&
        grep -q '^tally: memory: this run needs 1\..* GiB, but cgroup .* leaves .* of 381.5 MiB' "$scratch/err"; ok "$name"
    echo 2500000000 >"$group/memory.limit_in_bytes" 2>/dev/null || echo 2500000000 >"$group/memory.max"
    name="a memory limit that holds the plan of one rank, not of two"
    if [ -n "${MPIEXEC:-}" ]; then
        before=(inside "$MPIEXEC" -np 2)
        train --model gpt2-124m --shard none
        [ $? -eq 2 ] && grep -q 'memory: this run, with 2 ranks here, needs [23]\..* GiB, but cgroup' "$scratch/err"; ok "$name"
    else skip "$name" "no mpirun"; fi
    leave
else skip "$name" "no cgroup with a memory limit can be made here"; fi

# Files that are pipes or devices, or too large for their purpose.
mkfifo "$scratch/pipe.json"; ln -s /dev/zero "$scratch/zero.json"
name="a pipe without a writer, as --config"
timeout 60 "$tally" train --config "$scratch/pipe.json" >"$scratch/out" 2>"$scratch/err"
[ $? -eq 2 ] && grep -q 'pipe.json: is a pipe, expected a regular file' "$scratch/err"; ok "$name"
refuses "/dev/zero as --config" 'zero.json: is a device, expected a regular file' train --config "$scratch/zero.json"
refuses "/dev/zero as a model" 'zero.json: is a device, expected a regular file' plan --model "$scratch/zero.json"
head -c 2000000 /dev/zero | tr '\0' ' ' >"$scratch/large.json"
refuses "a model's config.json of 2 MB" 'large.json: is larger than 1 MiB' plan --model "$scratch/large.json"
{ printf '\xad\xaa\x2a\0\0\0\0\0{"a":['; yes 0, | head -n 1398098 | tr -d '\n'; printf '0]}'; } >"$scratch/many.safetensors"
refuses "a safetensors header of many small values" 'many.safetensors: holds more than 1048576 JSON values' inspect "$scratch/many.safetensors"
{ printf '{"text":"'; yes aaaa | head -c 84000000 | tr -d '\n'; printf '"}\n'; } >"$scratch/long.jsonl"
refuses "a document of 67 MB on a line" 'long.jsonl: an object of more than 64 MiB' train --data "$scratch/long.jsonl" --out "$scratch/run"
{ printf '{"text":"a","b":['; yes 0, | head -n 1398098 | tr -d '\n'; printf '0]}\n'; } >"$scratch/many.jsonl"
refuses "a line of many small values" 'many.jsonl:1: holds more than 1048576 JSON values' train --data "$scratch/many.jsonl" --out "$scratch/run"
printf '{"\\u001b]0;owned\\u0007": 1}' >"$scratch/escape.json"
refuses "what a file holds cannot steer the terminal" 'x1b' train --config "$scratch/escape.json"
printf 'x' >"$scratch/$(printf 'a\033[2Jb.gz')"
refuses "nor can its name" 'a\\x1b\[2Jb.gz' train --data "$scratch/$(printf 'a\033[2Jb.gz')" --out "$scratch/run"

before=()
if [ "${SANITIZED:-OFF}" = ON ]; then skip "ulimit -v" "the address sanitizer needs all addresses"; else
    # what the program and its libraries take, in KiB: some 100 MB, and 600 MB more in a build with CUDA
    own=100000
    until (ulimit -v $own; "$tally" --help) >/dev/null 2>&1 || [ $own -gt 8000000 ]; do own=$((own + 100000)); done
    # one thread: on a machine of many CPUs the stacks of its threads would reach these limits first
    (ulimit -v $((own + 500000)); train --model gpt2-124m --threads 1); [ $? -eq 2 ] && [ "$(grep -c ^tally: "$scratch/err")" -eq 1 ] &&
        grep -q 'this run needs .*ulimit -v leaves' "$scratch/err"; ok "a run that does not fit ulimit -v is refused"
    (ulimit -v $((own + 1600000)); train --threads 1024); [ $? -eq 2 ] && [ "$(wc -l <"$scratch/err")" -eq 1 ] &&
        grep -q '^tally: --threads: 1024, but only [0-9]* can be started' "$scratch/err"; ok "more threads than can be started are refused"
    yes "so it goes on and on" | head -c 400000000 | gzip -1 >"$scratch/large.txt.gz"
    (ulimit -v $((own + 400000)); train --threads 1 --data "$scratch/large.txt.gz"); [ $? -eq 2 ] &&
        grep -q 'large.txt.gz: the text up to here needs .*ulimit -v leaves' "$scratch/err"; ok "text that does not fit the memory is refused"
fi
finish
