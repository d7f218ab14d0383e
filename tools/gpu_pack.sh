# The part of gpu_check.sh that packs: it puts the programs, and all that they need except the C library, the driver and the
# CUDA runtime libraries, into one folder.

# libraries of glibc and of NVIDIA, which the other machine has
left_out='^(ld-linux.*|libc|libm|libdl|librt|libpthread|libresolv|libutil|libcuda|libcudart|libcublas|libcublasLt|libcudnn.*|libnvrtc.*|libnvidia.*)\.so'
# the other machine's own are better if they are newer, so these are searched last
fallback='^(libstdc\+\+|libgcc_s|libz|libudev|libcap|libzstd|liblzma)\.so'
# plugins for networks, launchers and MPI's file access, which are not needed on one machine
plugins_left_out='ofi|ucx|openib|usnic|psm|portals|verbs|romio|slurm|_tm|lsf|_alps|monitoring|memheap|spml|scoll|sshmem|atomic|io_|fs_|fcoll|fbtl|sharedfp|crs|snapc|sstore|_tcp_rdma'

copy_libraries() { # DIR ELF...
    local dir=$1 name path to; shift
    ldd "$@" 2>/dev/null | sed -nE 's/^[[:space:]]*([^ ]+) => (\/[^ ]+) .*/\1 \2/p' | sort -u | while read -r name path; do
        if [[ $name =~ $left_out ]]; then continue; fi
        to=$dir/lib; if [[ $name =~ $fallback ]]; then to=$dir/lib/fallback; fi
        [ -e "$to/$name" ] || install -m 755 "$(readlink -f "$path")" "$to/$name"
    done
}

# Open MPI finds its plugins and texts by folder: gpu_check.sh sets these folders in the environment
pack_mpi() { # DIR
    local dir=$1 plugins share pmix plugin
    plugins=$(ompi_info --parsable --path pkglibdir 2>/dev/null | sed -n 's/^path:pkglibdir://p' | head -1)
    share=$(ompi_info --parsable --path pkgdatadir 2>/dev/null | sed -n 's/^path:pkgdatadir://p' | head -1)
    if ! grep -q 'libmpi\.so' <<<"$(ldd "$dir/build/tally")"; then echo "this build has no MPI: gpu_check.sh will skip the checks with two ranks"; return; fi
    if [ ! -d "$plugins" ]; then echo "found no plugins of Open MPI: gpu_check.sh will skip the checks with two ranks"; return; fi
    if ! command -v orted >/dev/null; then echo "this Open MPI has no orted (version 4 has it, 5 does not): gpu_check.sh will skip the checks with two ranks"; return; fi
    mkdir -p "$dir"/mpi/{bin,plugins,pmix,share,etc}
    install -m 755 "$(readlink -f "$(command -v mpirun)")" "$dir/mpi/bin/mpirun"
    install -m 755 "$(readlink -f "$(command -v orted)")" "$dir/mpi/bin/orted"
    for plugin in "$plugins"/mca_*.so; do
        [[ $(basename "$plugin") =~ $plugins_left_out ]] || install -m 755 "$plugin" "$dir/mpi/plugins/"
    done
    cp "$share"/help-*.txt "$dir/mpi/share/" 2>/dev/null
    : >"$dir/mpi/etc/openmpi-mca-params.conf"
    copy_libraries "$dir" "$dir"/mpi/bin/* "$dir"/mpi/plugins/*.so
    pmix=$(ldd "$dir"/mpi/plugins/mca_pmix_*.so | sed -nE 's/.*libpmix\.so[^ ]* => ([^ ]+) .*/\1/p' | head -1)
    if [ -n "$pmix" ]; then
        for plugin in "$(dirname "$(readlink -f "$pmix")")"/pmix/*mca_*.so; do
            [ ! -f "$plugin" ] || [[ $plugin =~ slurm ]] || install -m 755 "$plugin" "$dir/mpi/pmix/"
        done
    fi
}

mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 2^20 }'; }

pack_into() { # DIR BUILD
    local dir=$1 build=$2 program whole packed
    [ ! -e "$dir" ] || [ -f "$dir/PACKED" ] || die "--pack $dir: exists, but was not made by --pack"
    rm -rf "$dir"
    mkdir -p "$dir"/{build,lib/fallback,tests} || exit 1
    for program in "$build"/tally "$build"/test_cuda_*; do
        [ -f "$program" ] && [ -x "$program" ] && install -m 755 "$program" "$dir/build/"
    done
    if [ -x "$build-cudnn/tally" ]; then # used if the other machine has cuDNN
        install -m 755 "$build-cudnn/tally" "$dir/build/tally_cudnn"
        install -m 755 "$build-cudnn/test_cuda_cudnn" "$dir/build/"
    fi
    cp -r tests/test_cuda_*.sh tests/tap.sh tests/mpi.sh tests/reference "$dir/tests/"
    install -m 755 tools/gpu_check.sh "$dir/"
    copy_libraries "$dir" "$dir"/build/*
    pack_mpi "$dir"
    find "$dir" -type f \( -name '*.so*' -o -path '*/build/*' -o -path '*/bin/*' \) -exec strip --strip-unneeded {} + 2>/dev/null
    {
        echo "commit $(git describe --always --dirty --exclude '*' 2>/dev/null || echo unknown)"
        echo "packed $(date -u +%Y-%m-%d)"
        echo "glibc $(ldd --version | sed -n '1s/.* //p')"
    } >"$dir/PACKED"
    tar -C "$(dirname "$dir")" -czf "$dir.tar.gz" "$(basename "$dir")" || exit 1
    whole=$(du -sb "$dir" | cut -f1) packed=$(stat -c %s "$dir.tar.gz")
    du -b "$dir"/build/* "$dir"/lib/*.so* | sort -rn | head -8 | awk '{ printf "  %6.1f MiB  %s\n", $1 / 2^20, $2 }'
    echo "$dir: $(mib "$whole"); $dir.tar.gz: $(mib "$packed"); needs glibc $(sed -n 's/^glibc //p' "$dir/PACKED") or newer"
    [ "$whole" -le $((60 << 20)) ] || echo "$dir is larger than 60 MiB: copy $dir.tar.gz instead"
    [ "$packed" -le $((60 << 20)) ] || die "$dir.tar.gz is larger than 60 MiB"
}
