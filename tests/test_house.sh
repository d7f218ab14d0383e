# The house's own rules, checked on the sources.
cd "$(dirname "$0")/.." && . tests/tap.sh

# direction of include: runtime <- {layers, optim, parallel} <- {train/model, train/data, train/bill} <- train/checkpoint <- train <- {tools, tests}
# no GREP_ARGUMENTS...: nothing matches. Decided by what is printed: grep's exit code is 2, not 0, where a file is missing too.
no() { grep "$@" >"$scratch/err" 2>/dev/null; [ ! -s "$scratch/err" ]; }
forbidden() { no -nE "^#include \"($2)" "$1"/*.{c,h,cu,cuh}; } # FOLDER PATTERN
above='train/[a-z_]*\.h|tools/|tests/'
forbidden runtime 'layers/|optim/|parallel/|train/|tools/|tests/'; ok "runtime includes nothing above it"
forbidden layers 'optim/|parallel/|train/|tools/|tests/'; ok "layers include no sibling"
forbidden optim 'layers/|parallel/|train/|tools/|tests/'; ok "optim includes no sibling"
forbidden parallel 'layers/|optim/|train/|tools/|tests/'; ok "parallel includes no sibling"
forbidden train/model "train/data|train/bill|train/checkpoint|$above"; ok "train/model includes no sibling"
forbidden train/data "train/model|train/bill|train/checkpoint|$above"; ok "train/data includes no sibling"
forbidden train/bill "train/model|train/data|train/checkpoint|$above"; ok "train/bill includes no sibling"
forbidden train/checkpoint "$above"; ok "train/checkpoint includes nothing above it"
forbidden train 'tools/|tests/'; ok "train includes nothing above it"

sources=({runtime,layers,optim,parallel,train,train/*,tools,tests,tests/*}/*.{c,h,cu,cuh})
[ "$(grep -lsE '#include [<"](oneapi/dnnl/)?dnnl' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes oneDNN"
[ "$(grep -lsE '#include [<"]mpi\.h' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes MPI"
[ "$(grep -lsE '#include [<"]hwloc' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes hwloc"
[ "$(grep -lsE '#include [<"]pcre2' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes PCRE2"
[ "$(grep -lsE '#include [<"]utf8proc' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes utf8proc"
[ "$(grep -lsE '#include [<"]zstd' {runtime,layers,optim,parallel,train,train/*,tools}/*.{c,h} | wc -l)" -eq 1 ]; ok "one file includes zstd"
[ "$(grep -lsE '#include [<"]cublasLt' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes cuBLASLt"
[ "$(grep -lsE '#include [<"]nccl' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes NCCL"
[ "$(grep -lsE '#include [<"]cudnn' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes cuDNN"
[ "$(grep -lsE '#include [<"]nvtx' "${sources[@]}" | wc -l)" -eq 1 ]; ok "one file includes NVTX"
no -nE '<<<|__CUDA_ARCH__|cooperative_groups|<cub/' $(ls */*.cu */*.cuh | grep -vx runtime/kernel.cuh)
ok "kernels compile for the emulation too: no launch but RUN's, no __CUDA_ARCH__, no CUB"
no -nE '\basm\b' $(ls */*.cu); ok "PTX only in headers, which have a body for the emulation"
! grep -lsE '\bTALLY_MPI\b' "${sources[@]}" | grep -vx parallel/comm.c >"$scratch/err"; ok "one file chooses the communicator's backend"
! grep -lsE '\b(TALLY_CUDA|TALLY_NCCL)\b' {runtime,layers,optim,parallel,train,train/*,tools}/*.{c,h,cu,cuh} | grep -vx runtime/device.h >"$scratch/err"
ok "one file asks whether the build has CUDA; files that need it have a stub in its place"
! wc -l "${sources[@]}" tests/simt/* 2>/dev/null | awk '$2 != "total" && $1 > 500' | grep . >"$scratch/err"; ok "no file of more than 500 lines"
no -nE -- '-m(arch|tune|cpu)=native' CMakeLists.txt .ci/* tools/* tests/simt/*; ok "what is built does not depend on the processor that builds it"
# Functions in headers begin with the name of their file; a part, a half or a backend belongs to the file it is named after. tensor.h
# defines the element types, whose functions begin with the type's name.
foreign_names() {
    local header name
    for header in {runtime,layers,optim,parallel,train,train/*,tools}/*.h; do
        [ "$header" != runtime/tensor.h ] && [ -e "$header" ] || continue
        name=$(basename "$header" .h | sed -E 's/_(parts|cuda|backend)$//')
        grep -oE '^(static inline )?[a-zA-Z_][a-zA-Z0-9_ ]*[ *]+[a-z_0-9]+\(' "$header" | grep -v '^typedef' | grep -oE '[a-z_0-9]+\($' | tr -d '(' |
            grep -vE "^$name(_|\$)" | sed "s|^|$header: |"
    done
}
foreign_names >"$scratch/err"; [ ! -s "$scratch/err" ]; ok "functions in headers begin with the name of their file"
# Functions that headers declare or define, outside of structs and bodies: more than eight parameters are a sign that an object is missing.
many_parameters() {
    awk 'function report() {
             gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, "", text)
             gsub(/extern "C" \{/, "", text)
             for (i = 1; i <= length(text); i++) {
                 c = substr(text, i, 1)
                 if (c == "{") braces++
                 if (c == "}") braces--
                 if (c == "(" && ++depth == 1) { commas = 0; name = substr(text, 1, i - 1); sub(/.*[^a-zA-Z0-9_]/, "", name) }
                 if (c == "," && depth == 1) commas++
                 if (c == ")" && depth-- == 1 && !braces && commas >= 8) print file ": " name ", " commas + 1 " parameters"
             }
             text = ""; braces = depth = 0
         }
         FNR == 1 { if (file) report(); file = FILENAME }
         /^[ \t]*#/ || joined { joined = /\\$/; next }
         { text = text $0 "\n" }
         END { report() }' "$@"
}
printf '%s\n' '/* a(1, 2, 3, 4, 5, 6, 7, 8, 9) */' 'typedef struct {' 'int (*in_a_table)(int, int, int, int, int, int, int, int, int);' '} table;' \
    'void eight(int, int, int, int, int, int, int, void (*)(int, int));' 'void nine(int a, int b, int c, int d,' 'int e, int f, int g, int h, int i);' >"$scratch/parameters.h"
[ "$(many_parameters "$scratch/parameters.h")" = "$scratch/parameters.h: nine, 9 parameters" ]; ok "the search finds a ninth parameter"
many_parameters $(ls {runtime,layers,optim,parallel,train,train/*,tools,tests}/*.{h,cuh} 2>/dev/null) >"$scratch/err"
[ ! -s "$scratch/err" ]; ok "no function in a header has more than eight parameters"
# Phrases that had to be read twice; a bracket in each keeps this file from matching.
riddles='tells at every[ ]step|share a GPU[ ]count and pay|without that[ ](any|it |they |one )|(is|are) no[ ]plain|; 0: no[t]|[ ]aloud\b'
riddle_in() { grep -rnIE --exclude-dir=__pycache__ -- "$riddles" "$@"; }
found=0
for phrase in "tells at every"" step what the step cost" "that share a GPU"" count and pay" "without that"" anything comes" "is no"" plain file" "to this; 0: no""t"; do
    echo "$phrase" >"$scratch/phrase"; riddle_in "$scratch/phrase" >/dev/null && found=$((found + 1))
done
[ $found -eq 5 ]; ok "the search finds each phrase"
! riddle_in README.md CMakeLists.txt .ci runtime layers optim parallel train tools tests >"$scratch/err"; ok "no file has a phrase that had to be read twice"
no -nE '\bok "[^"]*[$][(]' tests/*.sh; ok "no name of a test runs a command, whose status would be taken for the test's"
! ls -A | grep -vxE 'CMakeLists.txt|runtime|layers|optim|parallel|train|tools|tests|README.md|LICENSE|\.git|\.gitignore|\.clang-format|\.clang-tidy|\.ci|build.*|runs|out' >"$scratch/err"
ok "the top folder has no other files"
finish
