#!/bin/bash
# SPDX-License-Identifier: MIT
# Build and test: tests/run.sh [--medium|--long] [suite...]
#
#   format   clang-format 14 and shellcheck over the sources
#   arch     the rules of ARCHITECTURE.md
#   unit     tests/unit: one program a part of the library; tests/fuzz without a fuzzer
#   api      tests/api: the public interface as a host uses it, every call and every promised status
#   kernels  checkkernel: every variant of every op against its reference
#   abi      the public interface: layout, symbols, manual, old clients (tests/abi)
#   cli      the moviegen program: messages, exit statuses, outputs
#   bindings the library from other languages
#   examples the examples and the programs of README.md and docs, from an installed copy
#   asan     unit again, but for some long programs, with AddressSanitizer and UBSan in all but the kernels
#   emulated the kernels for GPUs and a context on one, played by the host; faults planted in them  (--medium)
#   emulated-asan  these kernels with AddressSanitizer and UBSan  (--medium)
#   asan-full  unit and kernels again, with them in the kernels, too  (--medium)
#   binaries the code for GPUs: registers, spills, instructions; a build for GPUs where there is none (--medium)
#   asan-api api again, with them                                (--medium)
#   clang    unit, api and kernels again, built by clang         (--medium)
#   tsan     unit, api and some kernel cases with ThreadSanitizer (--medium)
#   large    tensors of more than 2^31 elements, in 10 GB; 1000 cancelled jobs (--medium)
#   dist     ranks: the video transformer over meshes, processes, all the ways in which they are lost  (--medium)
#   kills    training killed 1000 times at random moments        (--medium)
#   seeds    kernels again, with other random numbers           (--long)
#   aarch64  unit and kernels again, built for 64-bit ARM, emulated  (--long)
#
# Checks of the suites from format to asan run beside one another, as many at a time as there are processors.
# Without names: format to asan; --medium adds emulated, emulated-asan, asan-full, binaries, asan-api, clang, tsan, large, dist and kills, --long seeds and aarch64 too. Installs
# what is missing with apt. The last line counts test cases: "N passed, N failed, N skipped".
set -u
cd "$(dirname "$0")/.." || exit 2
root=$PWD
passed=0 failed=0 skipped=0
jobs=$(nproc)
suites=()
export CC=gcc
short=(format arch unit api abi kernels cli bindings examples asan)
medium=("${short[@]}" emulated emulated-asan asan-full binaries asan-api clang tsan large dist kills)
long=("${medium[@]}" seeds aarch64)

usage() {
    sed -n '3,/^set /s/^# \{0,1\}//p' "$0"
}
for word in "$@"; do
    case $word in
    --medium) suites+=("${medium[@]}") ;;
    --long) suites+=("${long[@]}") ;;
    -h | --help)
        usage
        exit 0
        ;;
    format | arch | unit | api | abi | kernels | cli | bindings | examples | asan | emulated | emulated-asan | asan-full | binaries | asan-api | clang | tsan | large | dist | kills | seeds | aarch64) suites+=("$word") ;;
    *)
        echo "run.sh: unknown suite '$word'; suites are ${long[*]}, options --medium and --long" >&2
        exit 2
        ;;
    esac
done
[ ${#suites[@]} -gt 0 ] || suites=("${short[@]}")
mapfile -t suites < <(printf '%s\n' "${suites[@]}" | awk '!seen[$0]++') # each once

logs=$root/build-test/logs
mkdir -p "$logs"

pass() {
    passed=$((passed + 1))
}
fail() { # what, log
    failed=$((failed + 1))
    echo "FAILED $1"
    [ -z "${2-}" ] || tail -n 30 "$2" | sed 's/^/    /'
}
skip() { # what, reason
    skipped=$((skipped + 1))
    echo "skipped $1: $2"
}

# Run a program that prints TAP; count its cases. A crash or a missing report is a failure too.
tap() { # name, seconds allowed, command...
    local name=$1 limit=$2 log=$logs/$1.log status p f s start=$SECONDS
    shift 2
    timeout -k 10 "$limit" "$@" >"$log" 2>&1 </dev/null
    status=$?
    read -r p f s < <(awk '
        /^(not )?ok [0-9]+/ { if (/# SKIP/) s++; else if (/^not/) f++; else p++ }
        END { print p + 0, f + 0, s + 0 }' "$log")
    if [ $((p + f + s)) = 0 ] || { [ $status != 0 ] && [ "$f" = 0 ]; }; then
        f=$((f + 1))
        echo "FAILED $name: exit status $status$([ $status = 124 ] && echo " (took over $limit s)")"
        tail -n 15 "$log" | sed 's/^/    /'
    elif [ "$f" != 0 ]; then
        echo "FAILED $name:"
        grep -E '^(not ok|#|\[|Bail)' "$log" | grep -v '# SKIP' | head -n 40 | sed 's/^/    /'
    fi
    grep -o '^.*# SKIP.*' "$log" | sed -E 's/^(not )?ok [0-9]+( - )?/skipped '"$name"' /' |
        sed 's/  *# SKIP */: /'
    echo "$name: $p passed, $f failed, $s skipped, $((SECONDS - start)) s"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# Configure and build a folder once a run, all of it or `targets`; says whether it is usable.
declare -A built=()
targets=()
build() { # folder, meson options...
    local folder=$1 log=$logs/build-$1.log start=$SECONDS key="$1 ${targets[*]}"
    shift
    if [ -z "${built[$key]-}" ]; then
        built[$key]=no
        if { if [ -f "$folder/build.ninja" ]; then
            meson setup --reconfigure "$folder" "$@"
        else
            meson setup "$folder" -Dbrief_kernels=true "$@" # a folder that is there keeps what it was made with
        fi && ninja -C "$folder" -j "$jobs" "${targets[@]}"; } >"$log" 2>&1 </dev/null; then
            built[$key]=yes
            pass
            echo "build $folder: $((SECONDS - start)) s"
        else
            grep -E 'error|FAILED|ERROR' "$log" | head -n 20 | sed 's/^/    /'
            fail "build $folder" "$log"
        fi
    fi
    [ "${built[$key]}" = yes ]
}
build_plain() {
    build build-test
}

# Checks run beside others, those of one suite beside the next one's, as many at a time as there are processors. What they
# say comes in the order in which they began, once all before them are done.
begun=()
declare -A named=() # all so far: a log has its check's name
later=() # functions that begin checks when all others are done
aside=() # processes that take no place: what mostly waits, for time to pass or for peers that are silent
waiting=' test_peers asan-test_peers test_sockets asan-test_sockets '
installing=
begin() { # name, command...; the command calls pass, fail, skip or tap
    local name=$1
    shift
    if [ -n "${named[$name]-}" ]; then
        fail "$name: two checks have this name"
        return
    fi
    named[$name]=yes
    while [ "$(jobs -rp | grep -cvx "${aside[@]/#/-e}" -e none)" -ge "$jobs" ]; do
        wait -n
    done
    say
    begun+=("$name")
    rm -f "$logs/$name.count"
    # shellcheck disable=SC2030 # the counts come through a file
    {
        passed=0 failed=0 skipped=0
        "$@"
        echo "$passed $failed $skipped" >"$logs/$name.part"
        mv "$logs/$name.part" "$logs/$name.count"
    } >"$logs/$name.said" 2>&1 </dev/null &
    [[ $waiting != *" $name "* ]] || aside+=($!)
}
begin_tap() { # as tap
    begin "$1" tap "$@"
}
# shellcheck disable=SC2031 # as above
say() {
    local p f s
    while [ ${#begun[@]} -gt 0 ] && [ -f "$logs/${begun[0]}.count" ]; do
        cat "$logs/${begun[0]}.said"
        read -r p f s <"$logs/${begun[0]}.count"
        passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
        begun=("${begun[@]:1}")
    done
}
finish() {
    local function functions
    wait
    say
    while [ ${#begun[@]} -gt 0 ]; do
        fail "${begun[0]}: it did not end" "$logs/${begun[0]}.said"
        begun=("${begun[@]:1}")
        say
    done
    functions=("${later[@]}")
    later=()
    for function in "${functions[@]}"; do
        "$function"
    done
}

runner=() # what programs for another processor are run by
programs() { # folder of a build, prefix of the names, programs that are left out...
    local program folder=$1 prefix=$2 left_out
    shift 2
    left_out=" $* "
    for program in "$folder"/test_*; do
        if [ -f "$program" ] && [ -x "$program" ] && [[ $left_out != *" $(basename "$program") "* ]]; then
            begin_tap "$prefix$(basename "$program")" $((${#runner[@]} ? 7200 : 900)) \
                env CMOCKA_MESSAGE_OUTPUT=TAP MOVIEGEN_SOURCE="$root" "${runner[@]}" "$program"
        fi
    done
}

# checkkernel in parts, whose lengths differ.
kernels() { # folder of a build, prefix of the names, options...
    local program=$1/tests/kernels/checkkernel prefix=$2 part
    shift 2
    for part in 1 2 3 4 5 6; do
        begin_tap "${prefix}kernels-$part" 900 "${runner[@]}" "$program" --part "$part/6" "$@"
    done
}

suite_format() {
    begin format check_format
}
check_format() {
    local files tool
    tool=$(command -v clang-format-14 || command -v clang-format)
    mapfile -t files < <(find include lib kernels examples tests \( -name '*.[ch]' -o -name '*.cu' -o -path 'kernels/*.cpp' \) \
        -not -path 'tests/abi/old/*/moviegen.h' | sort)
    if [ -z "$tool" ]; then
        skip format "clang-format is not installed"
    elif ! "$tool" --version | grep -q 'version 14\.'; then
        skip format "clang-format is not version 14, which the sources are formatted with"
    elif "$tool" --dry-run --Werror "${files[@]}" >"$logs/format.log" 2>&1; then
        pass
    else
        fail "format: run $(basename "$tool") -i on these files"
        grep -o '^[^:]*\.[ch]' "$logs/format.log" | sort | uniq -c | sed 's/^/    /'
    fi
    if ! command -v shellcheck >/dev/null; then
        skip shellcheck "shellcheck is not installed"
    elif find scripts examples tests .ci -name '*.sh' -print0 |
        xargs -0 shellcheck .ci/run >"$logs/shellcheck.log" 2>&1; then
        pass
    else
        fail shellcheck "$logs/shellcheck.log"
    fi
}
suite_arch() {
    build_plain && begin_tap arch 120 "$python" tests/arch/check.py "$root" \
        --library build-test/libmoviegen.so
    begin_tap gpu.sh 900 tests/gpu/check.sh build-test
}
suite_unit() {
    build_plain && programs build-test/tests ''
}
suite_api() {
    build_plain || return
    rm -f "$logs/api.trace"
    MOVIEGEN_TRACE=$logs/api.trace programs build-test/tests/api api-
    later+=(check_coverage)
}
check_coverage() {
    tap api-coverage 60 "$python" tests/abi/coverage.py --strict include/moviegen.h "$logs/api.trace"
}
suite_abi() {
    build_plain || return
    begin_tap abi 300 "$python" tests/abi/check.py "$root" build-test
    begin_tap abi-guards 300 "$python" tests/abi/mutations.py include/moviegen.h
}
# Killed more often (--medium).
suite_kills() {
    build_plain && MOVIEGEN_KILLS=1000 tap kills-1000 3600 "$python" tests/cli/check_kills.py build-test/examples/cli/moviegen
}
suite_kernels() {
    build_plain && kernels build-test ''
}
suite_cli() {
    build_plain || return
    begin_tap cli 600 "$python" tests/cli/check_cli.py build-test/examples/cli/moviegen
    begin_tap folders 600 "$python" tests/cli/check_folders.py build-test/examples/cli/moviegen
    begin_tap plan 600 "$python" tests/cli/check_plan.py build-test/examples/cli/moviegen
    begin_tap memory 600 "$python" tests/cli/check_memory.py build-test/examples/cli/moviegen
    begin_tap upsample 600 "$python" tests/cli/check_upsample.py build-test/examples/cli/moviegen
    begin_tap edit 600 "$python" tests/cli/check_edit.py build-test/examples/cli/moviegen
    begin_tap personalize 600 "$python" tests/cli/check_personalize.py build-test/examples/cli/moviegen
    begin_tap rewrite 600 "$python" tests/cli/check_rewrite.py build-test/examples/cli/moviegen
    begin_tap pictures 600 "$python" tests/cli/check_pictures.py build-test/examples/cli/moviegen
    begin_tap sound 600 "$python" tests/cli/check_sound.py build-test/examples/cli/moviegen
    begin_tap curate 600 "$python" tests/cli/check_curate.py build-test/examples/cli/moviegen
    begin_tap own-films 600 "$python" tests/cli/check_own_films.py build-test/examples/cli/moviegen
    begin_tap compare 600 "$python" tests/cli/check_compare.py build-test/examples/cli/moviegen
    begin_tap votes 600 "$python" tests/cli/check_votes.py build-test/examples/cli/moviegen
    begin_tap eval-upsample 600 "$python" tests/cli/check_eval_upsample.py build-test/examples/cli/moviegen
    begin_tap eval-frechet 600 "$python" tests/cli/check_eval_frechet.py build-test/examples/cli/moviegen
    begin_tap prefer 600 "$python" tests/cli/check_prefer.py build-test/examples/cli/moviegen
    begin_tap kills 600 "$python" tests/cli/check_kills.py build-test/examples/cli/moviegen
}
await_rust() {
    [ -n "$installing" ] || return
    wait "$installing" 2>/dev/null
    cat "$logs/rust-installed.log"
    installing=
}
suite_bindings() {
    await_rust
    build_plain || return
    begin_tap rust 900 tests/bindings/test_rust.sh build-test
    begin_tap python 600 "$python" tests/bindings/test_python.py build-test/libmoviegen.so.0
}
suite_examples() {
    build_plain && begin_tap examples 900 "$python" tests/examples/check.py build-test
}
build_asan() { # folder, meson options...
    local folder=$1
    shift
    # What the library is told not to do (abort, print) the sanitizers do for it.
    export ASAN_OPTIONS=abort_on_error=0:allocator_may_return_null=1
    export UBSAN_OPTIONS=print_stacktrace=1
    # Optimized less, and without what variables are called, they compile in half the time; where a fault is they still say.
    build "$folder" -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 \
        -Dc_args='-fno-sanitize-recover=all -g1' "$@"
}
# What is not watched, kernels, is taken from build-test.
build_asan_plain() { # targets...
    local targets=()
    build_plain || return
    targets=("$@")
    build_asan build-asan -Dsanitize_kernels=false -Dplain_kernels="$root/build-test"
}
# Long ones of measures, and what the fuzz targets read, are left to asan-full.
suite_asan() {
    build_asan_plain unit && programs build-asan/tests asan- test_curate_duplicates test_curate_eval test_curate_joins \
        test_curate_journal test_curate_wipes test_edit_eval test_rewrite_eval test_upsample_eval
}
suite_asan-full() {
    build_asan build-asan-full || return
    programs build-asan-full/tests asan-full-
    kernels build-asan-full asan-full- --cases 10
}
# cuDNN, as far as it goes without a GPU, where it is installed.
cudnn=$(ldconfig -p 2>/dev/null | grep -o 'libcudnn\.so\.9' | head -n 1)
suite_emulated() {
    local name targets=(tests/kernels/checkkernel tests/fake_cudnn.so tests/fake_nccl.so tests/fake_cublaslt.so)
    for name in cuda graph nccl cudnn autotune upsample edit personalize prefer adapter adapter_kinds sound rewriter mesh_generate mesh_tasks fsdp; do
        targets+=("tests/test_$name")
    done
    build build-emulated -Dcuda=emulated || return
    for name in cuda graph nccl cudnn autotune upsample edit personalize sound rewriter; do
        tap "emulated-test_$name" 900 env CMOCKA_MESSAGE_OUTPUT=TAP MOVIEGEN_SOURCE="$root" ${cudnn:+MOVIEGEN_CUDNN=$cudnn} \
            "build-emulated/tests/test_$name"
    done
    for name in prefer adapter adapter_kinds; do
        tap "emulated-test_$name" 900 env CMOCKA_MESSAGE_OUTPUT=TAP CMOCKA_TEST_FILTER=test_gpu MOVIEGEN_SOURCE="$root" "build-emulated/tests/test_$name"
    done
    tap emulated-test_mesh_generate 900 env CMOCKA_MESSAGE_OUTPUT=TAP CMOCKA_TEST_FILTER='test_s*' MOVIEGEN_MESH_DEVICE=cuda \
        build-emulated/tests/test_mesh_generate
    tap emulated-test_mesh_tasks 900 env CMOCKA_MESSAGE_OUTPUT=TAP CMOCKA_TEST_FILTER='test_other*' MOVIEGEN_MESH_DEVICE=cuda \
        build-emulated/tests/test_mesh_tasks
    tap emulated-test_fsdp 900 env CMOCKA_MESSAGE_OUTPUT=TAP CMOCKA_TEST_FILTER=test_parity MOVIEGEN_MESH_DEVICE=nccl \
        build-emulated/tests/test_fsdp
    kernels build-emulated emulated- --variant cuda,sm80,sm90 --cases 12
    finish
    tap emulated-faults 900 "$python" tests/kernels/kernel_mutations.py "$root" build-emulated
}
suite_emulated-asan() {
    local targets=(tests/kernels/checkkernel tests/test_cuda tests/fake_cudnn.so)
    export ASAN_OPTIONS=abort_on_error=0:allocator_may_return_null=1:detect_stack_use_after_return=0
    build build-emulated-asan -Dcuda=emulated -Db_sanitize=address,undefined -Db_lundef=false -Dc_args=-fno-sanitize-recover=all &&
        tap emulated-asan-test_cuda 900 env CMOCKA_MESSAGE_OUTPUT=TAP MOVIEGEN_SOURCE="$root" build-emulated-asan/tests/test_cuda &&
        kernels build-emulated-asan emulated-asan- --variant cuda,sm80,sm90 --cases 1
}
# Both take minutes of nvcc.
suite_binaries() {
    tap binaries 3600 "$python" tests/arch/binaries.py "$root" --jobs "$jobs"
    if ! command -v nvcc >/dev/null && [ ! -x /usr/local/cuda/bin/nvcc ]; then
        skip no-driver "nvcc is not here"
    elif build build-cuda -Dcuda=enabled -Dgpu_archs=80 -Dgpu_ptx= -Dtests=false; then
        tap no-driver 600 "$python" tests/cli/check_no_driver.py "$root" build-cuda
    fi
}
suite_asan-api() {
    build_asan_plain && programs build-asan/tests/api asan-api-
}
suite_clang() {
    await_rust
    if ! scripts/install-deps.sh clang; then
        skip clang "clang is not installed"
        return
    fi
    CC=clang build build-clang || return
    programs build-clang/tests clang-
    programs build-clang/tests/api clang-api-
    kernels build-clang clang-
}
suite_tsan() {
    build build-tsan -Db_sanitize=thread -Db_lundef=false || return
    programs build-tsan/tests tsan-
    programs build-tsan/tests/api tsan-api-
    kernels build-tsan tsan- --cases 8
}
suite_large() {
    build_plain || return
    tap large 900 env CMOCKA_MESSAGE_OUTPUT=TAP build-test/tests/large_tensors
    tap cancels 900 env CMOCKA_MESSAGE_OUTPUT=TAP CMOCKA_TEST_FILTER='test_cancel*' \
        MOVIEGEN_CANCELS=1000 build-test/tests/api/test_guest
}
suite_dist() {
    local name
    build_plain || return
    for name in comm fsdp mesh mesh_codec mesh_generate mpi shards sockets; do
        MOVIEGEN_DIST=1 tap "dist-$name" 900 env CMOCKA_MESSAGE_OUTPUT=TAP "build-test/tests/test_$name"
    done
    tap dist-program 900 "$python" tests/cli/check_ranks.py build-test/examples/cli/moviegen
}
suite_seeds() {
    local seed
    build_plain || return
    for seed in 2 3 4 5 6; do
        kernels build-test "seed-$seed-" --seed "$seed"
    done
}
suite_aarch64() {
    local folder=build-aarch64
    if ! scripts/install-deps.sh aarch64 || ! tests/aarch64.sh "$folder" >"$logs/aarch64.log" 2>&1; then
        skip aarch64 "its compiler, emulator or libraries are not to be had"
        return
    fi
    build "$folder" --cross-file "$folder/cross.ini" -Dffmpeg=disabled -Dmpi=disabled || return
    runner=(qemu-aarch64-static -L /usr/aarch64-linux-gnu -E "LD_LIBRARY_PATH=$root/$folder/root/usr/lib/aarch64-linux-gnu")
    kernels "$folder" aarch64- --cases 8
    programs "$folder/tests" aarch64-
    runner=()
}

# What is missing comes from one call of apt, or from one a group where something cannot be had; Rust, which only a late suite
# needs, meanwhile.
scripts/install-deps.sh build test ffmpeg mpi || {
    scripts/install-deps.sh build || exit 1
    scripts/install-deps.sh test || echo "going on without: tests that need it are skipped"
    scripts/install-deps.sh ffmpeg || echo "going on without FFmpeg"
    scripts/install-deps.sh mpi || echo "going on without MPI"
}
if [[ " ${suites[*]} " = *" bindings "* ]]; then
    { scripts/install-deps.sh rust || echo "going on without Rust"; } >"$logs/rust-installed.log" 2>&1 </dev/null &
    installing=$!
    aside+=("$installing")
fi
python=/usr/bin/python3
[ -x $python ] || python=$(command -v python3)
for suite in "${suites[@]}"; do
    # Only the suites of the short rung go on beside one another.
    [[ " ${short[*]} " = *" $suite "* ]] || finish
    "suite_$suite"
done
finish
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
