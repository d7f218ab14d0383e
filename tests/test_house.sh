# The house's own rules, checked on the sources.
cd "$(dirname "$0")/.." && . tests/tap.sh

# direction of include: runtime <- {layers, optim, parallel} <- train <- {tools, tests}
# no GREP_ARGUMENTS...: nothing matches. Decided by what is printed: grep's exit code is 2, not 0, where a file is missing too.
no() { grep "$@" >"$scratch/err" 2>/dev/null; [ ! -s "$scratch/err" ]; }
forbidden() { no -nE "^#include \"($2)/" "$1"/*.{c,h,cu,cuh}; } # FOLDER PATTERN
forbidden runtime 'layers|optim|parallel|train|tools|tests'; ok "runtime includes nothing above it"
forbidden layers 'optim|parallel|train|tools|tests'; ok "layers include no sibling"
forbidden optim 'layers|parallel|train|tools|tests'; ok "optim includes no sibling"
forbidden parallel 'layers|optim|train|tools|tests'; ok "parallel includes no sibling"
forbidden train 'tools|tests'; ok "train includes nothing above it"

[ "$(grep -lE '#include [<"](oneapi/dnnl/)?dnnl' */*.[ch] | wc -l)" -eq 1 ]; ok "one file includes oneDNN"
[ "$(grep -lE '#include [<"]mpi\.h' */*.[ch] | wc -l)" -eq 1 ]; ok "one file includes MPI"
sources=(*/*.{c,h,cu,cuh})
[ "$(grep -lE '#include [<"]cublasLt' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes cuBLASLt"
[ "$(grep -lE '#include [<"]nccl' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes NCCL"
[ "$(grep -lE '#include [<"]cudnn' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes cuDNN"
no -nE '<<<|__CUDA_ARCH__|cooperative_groups|<cub/' $(ls */*.cu */*.cuh | grep -vx runtime/kernel.cuh)
ok "kernels compile for the emulation too: no launch but RUN's, no __CUDA_ARCH__, no CUB"
no -nE '\basm\b' $(ls */*.cu); ok "PTX only in headers, which have a body for the emulation"
! grep -lE '\bTALLY_MPI\b' */*.[ch] | grep -vx parallel/comm.c >"$scratch/err"; ok "one file chooses the communicator's backend"
no -nE '\bTALLY_CUDA\b' layers/*.c optim/*.c train/*.[ch]; ok "no layer chooses a backend"
! wc -l */*.{c,h,cu,cuh} tests/simt/* 2>/dev/null | awk '$2 != "total" && $1 > 500' | grep . >"$scratch/err"; ok "no file of more than 500 lines"
no -nE -- '-m(arch|tune|cpu)=native' CMakeLists.txt .ci/* tools/* tests/simt/*; ok "what is built does not depend on the processor that builds it"
! ls -A | grep -vxE 'CMakeLists.txt|runtime|layers|optim|parallel|train|tools|tests|README.md|LICENSE|\.git|\.gitignore|\.clang-format|\.ci|build.*|runs|out' >"$scratch/err"
ok "nothing else at the top"
finish
