# tools/gpu_check.sh without a GPU: on the emulated device or, in a build without CUDA, on the CPU. The folder that it packs
# runs with only the C library of this system.
cd "$(dirname "$0")/.." && . tests/tap.sh
. tests/mpi.sh

if [ "${SANITIZED:-OFF}" = ON ]; then skip "gpu_check.sh" "it packs and times what it is given; the tests that it calls run sanitized by themselves"; finish; fi
need_python "gpu_check.sh"
command -v mpirun >/dev/null || { skip "gpu_check.sh" "no mpirun here"; finish; }

device=cpu
if grep -q '^TALLY_CUDA:.*=EMULATED' "$TESTS/CMakeCache.txt" 2>/dev/null; then device=cuda; fi
check() { timeout 300 "$1"/gpu_check.sh "${@:2}" >"$scratch/out" 2>"$scratch/err"; }
last() { tail -1 "$scratch/out"; }
# what has failed, for the message of `ok`
told() { grep -A 15 FAILED "$scratch/out" >>"$scratch/err"; }

line_of() { grep -nF -m1 -- "$1" "$scratch/out" | cut -d: -f1; }
in_order() { # each text begins behind the one before
    local before=0 line
    for text; do
        line=$(line_of "$text") && [ "${line:-0}" -gt "$before" ] || { echo "not in its place: $text" >>"$scratch/err"; return 1; }
        before=$line
    done
}

mkdir "$scratch/bin"
printf '#!/bin/sh\necho "Some GPU, 580.1, 81559 MiB, 1980 MHz, 700.00 W"\n' >"$scratch/bin/nvidia-smi"
chmod +x "$scratch/bin/nvidia-smi"
PATH=$scratch/bin:$PATH check tools --build "$TESTS" --quick --device $device --tests 'test_cuda_[dn]*[em]' --out "$scratch/results.md"; status=$?; told
[ $status -eq 0 ] && last | grep -qE '^[1-9][0-9]* passed, 0 failed, [0-9]+ skipped$'; ok "all parts run, on $device"
grep -q "gradients are bitwise the same with all recompute policies" "$scratch/out" && grep -q "ok: losses of two ranks and of one are equal within rounding, bf16" "$scratch/out"
ok "the comparisons with the tiny model run"
grep -qE '^\| tiny \| 1 x 1, none, fp32, fp32, own \| [0-9.]+ \| [0-9]+ \| ' "$scratch/results.md" && grep -q '^{.*"step_ms":' "$scratch/results.md"
ok "--out gets the table and its JSON lines"

first=; if [ $device = cuda ]; then first="test_cuda_norm: "; fi
in_order ${first:+"$first"} "== the step" '"step_ms":' "== a tiny model" "== bandwidth" "== the other tests" ${first:+"test_cuda_device: "} "== compute-sanitizer" '| tiny |'
ok "tests of GEMM, attention, norm and loss run first, then the step, whose JSON is printed at once"
in_order "recompute none, moments fp32, master fp32: does not fit" "micro-batch 1 x 1, recompute none, moments fp32, master fp32: 0.1 GiB planned"
ok "a step that does not fit the GPU's memory is not started, and the output says which shape is measured"
grep -qF "SKIP step of tiny, attention cudnn: it is not in this build" "$scratch/out"; ok "a build without cuDNN says so"

"$tally" bench step --device $device --model llama-3m -B 1 -T 8 --steps 1 --warmup 1 --peak-seconds 0 --json >"$scratch/out" 2>"$scratch/err" &&
    grep -q '"peak_measured_flops":null,"fraction_of_peak":null' "$scratch/out"; ok "bench step --peak-seconds 0 measures no peak"

cat >"$scratch/test_cuda_bad" <<'S'
#!/bin/sh
echo "ok 1 - good"; echo "ok 2 - absent # SKIP no such part"; echo "not ok 3 - as cmocka skips # SKIP"
echo "not ok 4 - bad"; exit 1
S
printf '#!/bin/sh\nkill -9 $$\n' >"$scratch/test_cuda_dead"
printf '#!/bin/sh\nexit 0\n' >"$scratch/test_cuda_silent"
printf '#!/bin/sh\n[ "$1" = --help ]\n' >"$scratch/tally"
chmod +x "$scratch"/test_cuda_* "$scratch/tally"
check tools --build "$scratch" --quick --tests 'test_cuda_[bds]*'
[ $? -eq 1 ] && grep -q 'test_cuda_bad: 1 ok, 1 failed, 2 skipped' "$scratch/out" && grep -q 'FAILED test_cuda_dead' "$scratch/out" &&
    grep -q 'FAILED test_cuda_silent' "$scratch/out" && last | grep -qE '^1 passed, ([4-9]|1[0-9]) failed, '
ok "a test that fails, dies or prints no result is counted as failed"
rm "$scratch"/test_cuda_*
printf '#!/bin/sh\ntouch "%s"; sleep 300\n' "$scratch/begun" >"$scratch/test_cuda_slow"; chmod +x "$scratch/test_cuda_slow"
tools/gpu_check.sh --build "$scratch" --quick --out "$scratch/stopped.md" >"$scratch/out" 2>"$scratch/err" & checker=$!
for _ in $(seq 600); do [ ! -e "$scratch/begun" ] || break; sleep 0.1; done
kill -TERM $checker; wait $checker
[ $? -eq 1 ] && grep -q "was stopped after" "$scratch/out" && grep -q "[1-9][0-9]* failed" "$scratch/stopped.md"; ok "if it is stopped, it writes the results so far"

# a checkout with a compiler and a CMake that only write down what they are called with
mkdir -p "$scratch"/checkout/{tools,tests} "$scratch"/cudnn
cp tools/gpu_check.sh tools/gpu_pack.sh "$scratch/checkout/tools/"
touch "$scratch"/checkout/tests/test_cuda_{gemm,cudnn}.c "$scratch"/cudnn/{cudnn.h,cudnn_frontend.h,libcudnn.so.9}
printf '#!/bin/sh\n' >"$scratch/bin/nvcc"
cat >"$scratch/bin/cmake" <<S
#!/bin/sh
echo "\$*" >>"$scratch/calls"
[ "\$1" != --build ] || { mkdir -p "\$2"; cp /bin/true "\$2/tally"; cp /bin/true "\$2/test_cuda_cudnn"; }
S
chmod +x "$scratch"/bin/*
built() { PATH=$scratch/bin:$PATH CUDACXX=nvcc CUDNN_INCLUDE_DIR=$scratch/cudnn CUDNN_FRONTEND_INCLUDE_DIR=$scratch/cudnn CUDNN_LIBRARY_DIR=$scratch/cudnn \
    check "$scratch/checkout/tools" "$@"; }
built --quick
grep -q -- "build-gpu .*-DTALLY_CUDNN=ON -DCUDNN_INCLUDE_DIR=$scratch/cudnn -DCUDNN_LIBRARY=$scratch/cudnn/libcudnn.so.9 -DCUDNN_FRONTEND_INCLUDE_DIR=$scratch/cudnn" "$scratch/calls" &&
    grep -q "with cuDNN's attention" "$scratch/out"; ok "it builds with cuDNN if it finds its headers and library"
: >"$scratch/calls"; rm -rf "$scratch/checkout/build-gpu"
built --pack "$scratch/packed-cudnn"
grep -q -- "build-gpu-cudnn .*-DTALLY_CUDNN=ON" "$scratch/calls" && grep -q -- "build-gpu .*-DTALLY_CUDNN=OFF" "$scratch/calls" &&
    [ -x "$scratch/packed-cudnn/build/tally" ] && [ -x "$scratch/packed-cudnn/build/tally_cudnn" ]; ok "it packs one program without cuDNN and one with it"
rm "$scratch/cudnn/cudnn_frontend.h"
if built --quick; grep -q "without cuDNN's attention: cudnn_frontend.h" "$scratch/out"; then ok "the output names what is missing for cuDNN"
else skip "the output names what is missing for cuDNN" "this machine has cudnn_frontend.h"; fi
rm "$scratch"/bin/{cmake,nvcc}

check tools --build "$scratch/none"; [ $? -eq 2 ] && grep -q "none: found no tally in it" "$scratch/err"; ok "a folder without a build is refused"
check tools --nonsense; [ $? -eq 2 ] && grep -q -- "--nonsense: no such option" "$scratch/err"; ok "an unknown option is refused"
mkdir "$scratch/mine" && check tools --build "$TESTS" --pack "$scratch/mine"
[ $? -eq 2 ] && [ -d "$scratch/mine" ]; ok "--pack does not overwrite a folder of something else"

packed=$scratch/there/tally-gpu
check tools --build "$TESTS" --pack "$packed"; ok "--pack"
[ "$(stat -c %s "$packed.tar.gz")" -le $((60 << 20)) ]; ok "the packed folder is below 60 MiB compressed"
if [ ! -x "$packed/mpi/bin/mpirun" ]; then skip "the packed folder runs by itself" "$(grep 'will skip the checks with two ranks' "$scratch/out")"; finish; fi

# this system's own are taken away: the libraries that were packed, MPI's programs, plugins and texts
rm -rf "$packed" && tar -C "$scratch/there" -xzf "$packed.tar.gz"
hidden=("$(readlink -f "$(command -v mpirun)")" "$(readlink -f "$(command -v orted)")")
for library in "$packed"/lib/*.so*; do
    path=$(ldconfig -p | awk -v name="$(basename "$library")" '$1 == name { print $NF; exit }')
    [ -z "$path" ] || hidden+=("$(readlink -f "$path")")
done
folders=()
for folder in $(ompi_info --parsable --path all 2>/dev/null | sed -nE 's/^path:(pkglibdir|pkgdatadir|sysconfdir)://p' | sort -u); do
    [ ! -d "$folder" ] || folders+=("$folder")
done
mkdir "$scratch/empty"
cat >"$scratch/bare.sh" <<'S'
set -e
python3 -c 'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 1))' # SIOCSIFFLAGS: up
while [ "$1" != -- ]; do if [ -d "$1" ]; then mount --bind "$EMPTY" "$1"; else mount --bind /dev/null "$1"; fi; shift; done
shift
exec env -i PATH=/usr/bin:/bin HOME=/nonexistent "$@"
S
for how in "unshare -mn" "unshare -rmn"; do $how true 2>/dev/null && break; how=''; done
if [ -z "$how" ]; then skip "the packed folder runs by itself" "unshare is not permitted here"; finish; fi
bare() { EMPTY=$scratch/empty timeout 300 $how bash "$scratch/bare.sh" "${hidden[@]}" "${folders[@]}" -- "$@" >"$scratch/out" 2>"$scratch/err"; }
if ! bare true; then skip "the packed folder runs by itself" "mounts are not permitted here"; finish; fi
bare "$tally" --help; [ $? -ne 0 ]; ok "without these libraries the program does not start"
bare "$packed/gpu_check.sh" --quick --device $device --tests test_cuda_device; status=$?; told
[ $status -eq 0 ] && last | grep -qE '^[1-9][0-9]* passed, 0 failed, ' && grep -q "ok: losses of two ranks and of one are equal within rounding, fp32" "$scratch/out"
ok "the packed folder runs, with two ranks too, without this system's libraries, MPI and network"
finish
