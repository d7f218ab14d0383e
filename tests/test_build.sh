# What CMake makes of machines without NCCL, with an nvcc that does not work, and of TALLY_CUDA=OFF after that.
cd "$(dirname "$0")/.." && . tests/tap.sh

if [ "${SANITIZED:-OFF}" = ON ]; then skip "configuring" "no code of ours runs in it"; finish; fi
for command in cmake ninja; do command -v $command >/dev/null || { skip "configuring" "no $command here"; finish; }; done

unset CUDACXX
configure() { cmake -S . -B "$scratch/$1" -G Ninja "${@:2}" >"$scratch/out" 2>"$scratch/err"; }
told() { tr -s ' \n' ' ' <"$scratch/$1" | grep -q -- "$2"; } # messages are broken into lines

configure plain -DTALLY_CUDA=EMULATED -DTALLY_NCCL=OFF &&
    cmake --build "$scratch/plain" --target CMakeFiles/tally_core.dir/parallel/comm_no_nccl.c.o >"$scratch/out" 2>"$scratch/err" &&
    ! grep -qE "parallel/(comm_nccl|nccl_library)" "$scratch/plain/compile_commands.json" && ! grep -q -- -DTALLY_NCCL "$scratch/plain/compile_commands.json"
ok "with TALLY_NCCL=OFF the files for NCCL are left out, and the rest compiles"

printf '#!/bin/sh\necho "no host compiler" >&2\nexit 1\n' >"$scratch/nvcc"
chmod +x "$scratch/nvcc"
nvcc=-DCMAKE_CUDA_COMPILER=$scratch/nvcc
configure auto -DTALLY_CUDA=AUTO "$nvcc" && told out "CUDA: $scratch/nvcc: .*: CPU only" &&
    ! grep -qE 'parallel/(comm_nccl|nccl_library|comm_staged)|DTALLY_CUDA' "$scratch/auto/compile_commands.json"
ok "TALLY_CUDA=AUTO builds for the CPU only if nvcc does not work"
configure on -DTALLY_CUDA=ON "$nvcc"; [ $? -ne 0 ] && told err "TALLY_CUDA=ON: $scratch/nvcc: "; ok "TALLY_CUDA=ON fails and gives the reason"
configure auto -DTALLY_CUDA=OFF && told out "CUDA is disabled: CPU only"; ok "a folder configured with AUTO can be configured with OFF"
finish
