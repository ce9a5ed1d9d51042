#!/bin/bash
# SPDX-License-Identifier: MIT
# What needs an NVIDIA GPU: tests/gpu.sh [--dry-run] [--quick] [--out DIR] [GROUP...]
#        tests/gpu.sh --pack DIR     builds the programs and puts what a GPU machine needs into DIR: some 7 MB, and the models
#                                    (40 MB) unless DIR lies in the repository, with which it then travels
#
#   check      checkkernel: the GPU's variants of every op against the references, on all processors
#   models     films of the shipped model, one of them edited, enlarged and heard, a prompt rewritten, and losses of 20 to 40 training
#              steps of each kind, on the GPU and on the CPU
#   units      unit tests of a context on a GPU: captured steps, bit for bit the plain ones, of sampling and of each kind of stage that
#              has such; memory and its limit; models held as bf16 and FP8; editing, enlarging, sound ... beside the CPU
#   memcheck   compute-sanitizer over some cases of every op, and its leak check over a short training
#   bench-ops  times of the ops, variant by variant, beside the ceilings that PyTorch reaches here (copy, matrix product)
#   bench-model  attention, elementwise ops, products, layers, a training step and the decoder of the 30B model beside PyTorch,
#              and the whole model (tests/gpu/bench_model.py); called again it goes on with what it had no time for
#   errors     what goes wrong is told and harms nothing: no such device, memory that others took, Ctrl-C (tests/gpu/errors.sh)
#   train      stages of a recipe: RECIPE=file STAGES="name:seconds ...", from the models in FROM=dir, if any
#
# A group takes at most 8 minutes (GROUP_SECONDS), a film or a stage of models on the GPU 40 s (RUN_SECONDS). --quick: check,
# models, units, bench-ops and bench-model within 9 minutes in all, for a machine that is lent for a quarter of an hour: after 2
# minutes it is known whether every variant is right, in few cases each; then films and losses, and units; then attention and
# products of a large model, variant by variant and beside PyTorch. What failed is told as soon as it is known. Called again
# with --out DIR, bench-model goes on.
#
# Needs a driver, bash and Python with PyTorch (for bench-ops, bench-model and errors). Programs are taken from the folder of
# this script if it was packed, else from build-gpu, which is built if it is missing (needs nvcc, meson, ninja).
# Results go to DIR (default: gpu-results): a log for each group, and all together in summary.json and RESULTS.md, which
# tests/bench/RESULTS.md takes over when they are the best so far. The last line counts checks: "N passed, N failed, N skipped".
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=$PWD/gpu-results
dry=
quick=
pack=
groups=()
while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry=yes ;;
    --quick) quick=yes ;;
    --out) out=$2 && shift ;;
    --pack) pack=$2 && shift ;;
    check | models | units | memcheck | bench-ops | bench-model | errors | train) groups+=("$1") ;;
    -h | --help)
        sed -n '3,/^set /s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "gpu.sh: unknown word '$1'; groups are check, models, units, memcheck, bench-ops, bench-model, errors and train" >&2
        exit 2
        ;;
    esac
    shift
done

# Unit tests that use a GPU where there is one: each with its tests that do.
units=("graph test_*" "cuda test_*" "hold test_gpu" "upsample test_gpu" "edit test_gpu" "personalize test_gpu" "prefer test_gpu" "adapter test_gpu" "adapter_kinds test_gpu" "sound test_gpu" "rewriter test_gpu")

build_programs() { # folder
    local root=$here/.. unit more=()
    for unit in "${units[@]}"; do
        more+=("tests/test_${unit% *}")
    done
    mkdir -p "$1"
    [ -f "$1/build.ninja" ] ||
        meson setup "$1" "$root" -Dcuda=enabled -Dgpu_archs=90a -Dgpu_ptx= -Dbuildtype=release >"$1/build.log" 2>&1 || return 1
    ninja -C "$1" libmoviegen.so.0.1.0 examples/cli/moviegen tests/kernels/checkkernel tests/bench/bench_models "${more[@]}" >>"$1/build.log" 2>&1
}

# The programs have most of their bytes in common: together they take a sixth of what they take one by one.
if [ -n "$pack" ]; then
    build=$here/../build-gpu
    build_programs "$build" || {
        tail -n 20 "$build/build.log" >&2
        exit 1
    }
    rm -rf "$pack"
    mkdir -p "$pack/programs"
    cp "$build/libmoviegen.so.0" "$build/examples/cli/moviegen" "$build/tests/kernels/checkkernel" "$build/tests/bench/bench_models" "$pack/programs"
    for unit in "${units[@]}"; do
        cp "$build/tests/test_${unit% *}" "$pack/programs"
    done
    cp "$(ldd "$build/tests/test_graph" | sed -n 's/.*libcmocka[^ ]* => \(.*\) (.*/\1/p')" "$pack/programs" || exit 1
    strip "$pack"/programs/*
    tar -C "$pack" -c programs | xz --lzma2=preset=6,dict=64MiB >"$pack/programs.tar.xz" || exit 1
    rm -r "$pack/programs"
    cp -r "$here/gpu.sh" "$here/gpu" "$pack"
    cp "$here/bench/torch_compare.py" "$here/bench/compare.py" "$pack/gpu"
    [ -d "$pack/../examples/models" ] || { mkdir "$pack/models" && cp -r "$here/../examples/models/toybox" "$pack/models"; }
    du -sh "$pack"
    exit 0
fi
if [ ${#groups[@]} -eq 0 ]; then
    groups=(check models units memcheck bench-ops bench-model errors)
    [ -z "$quick" ] || groups=(check models units bench-ops bench-model)
fi
cases=${CASES:-40} bench_seconds=${BENCH_SECONDS:-300}
declare -A limits=() # seconds, of a group
bench_ops=() bench_case=() bench_model=()
if [ -n "$quick" ]; then
    cases=${CASES:-4}
    limits=([check]=120 [models]=90 [units]=60 [bench-ops]=90 [bench-model]=170)
    bench_ops=(--case 8192 --variant "sm80,cudnn,sm90,cublaslt") bench_case=(--case 8192) bench_model=(--quick)
    bench_seconds=${BENCH_SECONDS:-150}
fi

if [ -z "$dry" ] && [ -f "$here/programs.tar.xz" ] && [ ! -d "$here/programs" ]; then
    tar -C "$here" -xJf "$here/programs.tar.xz" || python3 -m tarfile -e "$here/programs.tar.xz" "$here" || exit 1
fi
if [ -d "$here/programs" ]; then
    programs=$here/programs models=$here/models
    checkkernel=$programs/checkkernel moviegen=$programs/moviegen bench_models=$programs/bench_models tests=$programs
    [ -d "$models" ] || models=$here/../examples/models
else
    programs=$here/../build-gpu models=$here/../examples/models
    checkkernel=$programs/tests/kernels/checkkernel moviegen=$programs/examples/cli/moviegen
    bench_models=$programs/tests/bench/bench_models tests=$programs/tests
fi
export LD_LIBRARY_PATH=$programs:${LD_LIBRARY_PATH-}
# cuBLASLt and cuDNN of the PyTorch that is installed, where the system has none.
theirs=$(python3 -c 'import nvidia, glob, os
names = ("libcublasLt.so*", "libcudnn.so*")
print(":".join(sorted({os.path.dirname(f) for d in nvidia.__path__ for n in names for f in glob.glob(d + "/**/" + n, recursive=True)})))' 2>/dev/null)
export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$theirs
if [ -z "$dry" ]; then
    if ! "$moviegen" --version >/dev/null 2>&1; then
        if [ ! -f "$here/../meson.build" ]; then
            echo "gpu.sh: $moviegen does not start here: $("$moviegen" --version 2>&1 | head -n 1); build a pack on a system like this one" >&2
            exit 1
        fi
        build_programs "$here/../build-gpu" || exit 1
    fi
    mkdir -p "$out"
fi
passed=0 failed=0 skipped=0
variants=cuda,sm80,cudnn,sm90,cublaslt
cores=$(nproc)

group_end=0
left() { # seconds of the group, [at most so many]
    local seconds=$((group_end - SECONDS))
    seconds=$((seconds > 5 ? seconds : 5))
    echo $((seconds < ${1:-seconds} ? seconds : ${1:-seconds}))
}

run() { # what to say, command...
    echo "+ $1"
    shift
    [ -n "$dry" ] || "$@"
}
told() { # the same, and say if it does not succeed
    run "$@" || echo "not ok - $1: status $?"
}
check() { # the same, and count whether it succeeds
    local what=$1
    if run "$@"; then
        [ -n "$dry" ] || passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $what"
    fi
}

# Each variant of each op by itself, as many at a time as there are processors, in the order of ops.def: products, convolutions
# and attention, which take longest, first.
one_variant() { # op, variant, seconds, cases
    local log=$out/check-$1-$2.log status
    timeout -k 5 "$3" "$checkkernel" --op "$1" --variant "$2" --cases "$4" >"$log" 2>&1
    status=$?
    case $status in
    0 | 1) ;;
    124 | 137) echo "not ok - $1 $2 takes more than $3 s: it hangs, or no time was left" >>"$log" ;;
    *) echo "not ok - $1 $2 ended with status $status" >>"$log" ;;
    esac
    grep -hE "^not ok|^Bail|^# (ended|crashed)" "$log"
}
check_variants() {
    local op variant
    "$checkkernel" --list --variant "$variants" >"$out/variants.txt"
    while read -r op variant; do
        while [ "$(jobs -rp | wc -l)" -ge "$cores" ]; do
            wait -n
        done
        one_variant "$op" "$variant" "$(left)" "$cases" &
    done <"$out/variants.txt"
    wait
}
group_check() {
    local good bad variant op
    run "checkkernel --variant $variants --cases $cases, $cores at a time" check_variants
    [ -z "$dry" ] || return
    cat "$out"/check-*.log >"$out/check.log"
    rm -f "$out"/check-*.log
    good=$(grep -E "^ok .* (${variants//,/|}): " "$out/check.log" | sed 's/^ok [0-9]* - //; s/:.*//' | sort -u | wc -l)
    bad=$(grep -cE "^not ok|^Bail" "$out/check.log")
    passed=$((passed + good)) failed=$((failed + bad))
    for variant in ${variants//,/ }; do
        grep -q " $variant\$" "$out/variants.txt" && continue
        skipped=$((skipped + 1))
        echo "skipped $variant: this machine cannot run it"
    done
    grep -hE "^# cu(BLASLt|DNN) " "$out/check.log" | sort -u
    for op in matmul matmul_fp8; do # whichever algorithm is the fastest must be right
        grep -q "^$op cublaslt\$" "$out/variants.txt" || continue
        check "$op cublaslt, products timed" logged "$out/check-$op-tuned.txt" env MOVIEGEN_AUTOTUNE=1 timeout "$(left)" \
            "$checkkernel" --op "$op" --variant cublaslt --cases "$cases"
    done
    echo "check: $good of $(wc -l <"$out/variants.txt") variants good, $bad failures"
    grep -E "^# \w+ (${variants//,/|}), case" "$out/check.log" | awk '++seen[$2 $3] <= 3' | head -n 60
}

# Films and trainings on one device. What is made of a film is made of the CPU's.
models_on() { # device, stages...
    local device=$1 most=480 stage on=(--model "$models/toybox" --device "$1" -q)
    shift
    [ "$device" = cpu ] || most=${RUN_SECONDS:-40} # one that hangs takes no time of the others
    [ "$device" = cpu ] || # of the CPU it is there
        told "a film on $device" timeout "$(left "$most")" "$moviegen" generate "a red ball rolls left" "${on[@]}" --json --steps 20 \
            -o "$out/film-$device.y4m"
    told "it edited on $device" timeout "$(left "$most")" "$moviegen" edit "$out/film-cpu.y4m" "make the red ball blue" "${on[@]}" --json \
        -o "$out/edit-$device.y4m"
    told "it enlarged on $device" timeout "$(left "$most")" "$moviegen" upsample "$out/film-cpu.y4m" "${on[@]}" --json -o "$out/upsample-$device.y4m"
    told "a film of a person on $device" timeout "$(left "$most")" "$moviegen" personalize "$models/toybox/photo.png" \
        "a smiling person in a red shirt walks left on snow" "${on[@]}" --json -o "$out/personalize-$device.y4m"
    told "its sound on $device" timeout "$(left "$most")" "$moviegen" sound "$out/film-cpu.y4m" -p "a ball bounces" "${on[@]}" --json \
        -o "$out/sound-$device.wav"
    told "a prompt rewritten on $device" logged "$out/rewrite-$device.txt" timeout "$(left "$most")" "$moviegen" rewrite "red ball goes left" \
        "${on[@]}"
    for stage; do
        told "some steps of training on $device, stage $stage" timeout "$(left "$most")" "$moviegen" train --recipe "$out/recipe.json" \
            --stage "$stage" --dir "$out/train-$device" --device "$device" --log "$out/$stage-$device.jsonl" --log-every 1 --quiet
    done
}
group_models() {
    local name stages
    read -ra stages <<<"$(sed -n 's/^      "name": "\(.*\)",$/\1/p' "$here/gpu/recipe.json" | tr '\n' ' ')"
    # The tokenizer that stage clip names lies beside the recipe. Logs of an earlier call would be added to.
    [ -n "$dry" ] || { cp "$here/gpu/recipe.json" "$models/toybox/vocab.json" "$models/toybox/merges.txt" "$out" && rm -f "$out"/*-{cpu,cuda}.jsonl; }
    for name in tuned again; do # the second by what the first has chosen
        told "a film on cuda, products timed: $name" env MOVIEGEN_CACHE="$out/choices" timeout "$(left)" "$moviegen" generate \
            "a red ball rolls left" --model "$models/toybox" --device cuda --autotune --steps 20 -o "$out/film-$name.y4m" --json -q
    done
    told "a film on cpu" timeout "$(left)" "$moviegen" generate "a red ball rolls left" --model "$models/toybox" --device cpu --steps 20 \
        -o "$out/film-cpu.y4m" --json -q
    models_on cpu "${stages[@]}" & # beside the GPU, of which the time is short
    models_on cuda "${stages[@]}"
    wait
    check "films and losses agree" python3 "$here/gpu/films_and_losses.py" "$out"
}

one_unit() { # name, which of its tests; what is not right is told at once
    local log=$out/unit-$1.log status
    CMOCKA_MESSAGE_OUTPUT=TAP CMOCKA_TEST_FILTER=$2 MOVIEGEN_SOURCE=$here/.. timeout -k 5 "$(left)" "$tests/test_$1" >"$log" 2>&1
    status=$?
    case $status in
    124 | 137) echo "not ok - test_$1 takes too long: it hangs, or no time was left" >>"$log" ;;
    *) grep -qE "^(not )?ok [0-9]" "$log" || echo "not ok - test_$1 ended with status $status" >>"$log" ;;
    esac
    grep -E "^(not ok|#)" "$log" | grep -vE "# (SKIP|ok - )" | sed "s/^/$1: /"
}
run_units() {
    local unit
    for unit in "${units[@]}"; do
        one_unit "${unit% *}" "${unit#* }" &
    done
    wait
}
group_units() {
    local unit log
    if [ -z "$dry" ] && [ ! -d "$here/../tests/unit" ]; then # some read files of it
        skipped=$((skipped + 1))
        echo "skipped units: the repository is not here"
        return
    fi
    run "unit tests: ${units[*]}" run_units
    [ -z "$dry" ] || return
    for unit in "${units[@]}"; do
        log=$out/unit-${unit% *}.log
        passed=$((passed + $(grep -c "^ok [0-9]" "$log"))) skipped=$((skipped + $(grep -c "^not ok .*# SKIP" "$log")))
        failed=$((failed + $(grep "^not ok" "$log" | grep -cv "# SKIP")))
    done
}

logged() { # file, command...
    local file=$1
    shift
    "$@" >"$file" 2>&1
}
group_memcheck() {
    local tool
    tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
    if [ -z "$tool" ]; then
        skipped=$((skipped + 1))
        echo "skipped memcheck: compute-sanitizer is not installed"
        return
    fi
    check "compute-sanitizer over checkkernel: $out/memcheck.log" logged "$out/memcheck.log" timeout 300 "$tool" --error-exitcode 9 \
        "$checkkernel" --variant "$variants" --cases 3
    check "leak check over a short training: $out/leaks.log" logged "$out/leaks.log" timeout "$(left)" "$tool" --leak-check full \
        --error-exitcode 9 "$moviegen" train --recipe "$here/gpu/recipe.json" --stage tae --dir "$out/leaks" --device cuda --quiet
}

# One op by itself, so that one that hangs takes no time of the others.
bench_op() { # op, name of the log, what its lines begin with, seconds, words...
    local op=$1 name=$2 lines=$3 seconds=$4
    shift 4
    run "checkkernel --bench --op $op $*" logged "$out/$name.log" timeout -k 5 "$seconds" "$checkkernel" --bench --op "$op" "$@"
    local status=$?
    [ -z "$dry" ] || return
    case $status in
    0) ;;
    *) failed=$((failed + 1)) && echo "FAILED checkkernel --bench --op $op: status $status after at most $seconds s" ;;
    esac
    grep -h "^# [a-z]" "$out/$name.log" | sed "s/^# /$lines/" | tail -n 30
}
group_bench-ops() {
    local op
    if [ -n "$quick" ]; then
        for op in attention attention_grad matmul matmul_fp8; do
            bench_op "$op" "ops-$op" "# " $(($(left) < 20 ? $(left) : 20)) "${bench_ops[@]}" --json "$out/ops-$op.json"
        done
    fi
    check "ceilings" timeout "$(left)" python3 "$here/gpu/ceilings.py" "$out/ceilings.json"
    if [ -z "$quick" ]; then
        run "checkkernel --bench" logged "$out/bench.log" timeout "$(left)" "$checkkernel" --bench --variant "$variants" \
            --json "$out/bench.json"
        [ -n "$dry" ] || grep -h "^# [a-z]" "$out/bench.log" | tail -n 30
    fi
    for op in matmul matmul_fp8; do # what is gained by timing cuBLASLt's algorithms
        MOVIEGEN_AUTOTUNE=1 bench_op "$op" "bench-$op-tuned" "# timed: " "$(left)" --variant cublaslt "${bench_case[@]}"
    done
}

group_bench-model() {
    [ -z "$dry" ] || python3 "$here/gpu/bench_model.py" "$bench_models" "${bench_model[@]}" --dry-run | sed 's/^/  /'
    check "bench_model.py: results agree, and times" timeout "$(left)" python3 "$here/gpu/bench_model.py" "$bench_models" "${bench_model[@]}" \
        --seconds "$bench_seconds" \
        --json "$out/bench-model.json" --markdown "$out/bench-model.md"
}

group_errors() {
    run "errors.sh: no such device, no memory, Ctrl-C" logged "$out/errors.log" timeout "$(left)" "$here/gpu/errors.sh" "$moviegen" \
        "$models" "$out/errors"
    local status=$?
    [ -z "$dry" ] || return
    cat "$out/errors.log"
    passed=$((passed + $(grep -c "^ok - " "$out/errors.log"))) failed=$((failed + $(grep -c "^not ok - " "$out/errors.log")))
    # One that ends before its time has failed, whatever it said until then.
    case $status in
    0) ;;
    1) grep -q "^not ok - " "$out/errors.log" || failed=$((failed + 1)) ;;
    *) failed=$((failed + 1)) && echo "FAILED errors.sh: status $status" ;;
    esac
}

# FROM (a model folder, may be empty) is copied to $out/model, where the stages save.
group_train() {
    local word stage seconds
    [ -n "$dry" ] || [ -z "${FROM-}" ] || cp -r "$FROM" "$out/model"
    [ -n "$dry" ] || : "${STAGES:?set STAGES to name:seconds ...}"
    for word in ${STAGES:-STAGE:SECONDS}; do
        stage=${word%:*} seconds=${word#*:}
        check "stage $stage, at most $seconds s" timeout "$(left)" "$moviegen" train --recipe "${RECIPE-}" --stage "$stage" --dir "$out/model" --device cuda \
            --max-seconds "$seconds" --log "$out/$stage.jsonl" --log-every "${LOG_EVERY:-20}" --quiet
        [ -n "$dry" ] || tail -n 1 "$out/$stage.jsonl"
    done
}

for g in "${groups[@]}"; do
    start=$SECONDS group_end=$((SECONDS + ${GROUP_SECONDS:-${limits[$g]:-480}}))
    "group_$g"
    echo "group $g: $((SECONDS - start)) s"
done
[ -n "$dry" ] || printf '{"passed": %d, "failed": %d, "skipped": %d, "gpu": "%s"}\n' $passed $failed $skipped \
    "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)" >"$out/summary.json"
[ -n "$dry" ] || python3 "$here/gpu/merge.py" "$out"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
