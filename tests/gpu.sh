#!/bin/bash
# SPDX-License-Identifier: MIT
# What needs an NVIDIA GPU: tests/gpu.sh [--dry-run] [--out DIR] GROUP...
#        tests/gpu.sh --pack DIR     builds the programs and puts what a GPU machine needs into DIR (under 60 MB)
#
#   check      checkkernel: the GPU's variants of every op against the references, on all processors
#   models     films of the shipped model, and losses of 20 to 40 training steps of each kind, on the GPU and on the CPU
#   memcheck   compute-sanitizer over some cases of every op, and its leak check over a short training
#   bench-ops  times of the ops, variant by variant, beside the ceilings that PyTorch reaches here (copy, matrix product)
#   bench-model  attention, elementwise ops, products, layers, a training step and the decoder of the 30B model beside PyTorch,
#              and the whole model (tests/gpu/bench_model.py); called again it goes on with what it had no time for
#   train      stages of a recipe: RECIPE=file STAGES="name:seconds ...", from the models in FROM=dir, if any
#
# A group takes at most 8 minutes (GROUP_SECONDS).
#
# Needs a driver, bash and Python with PyTorch (for models, bench-ops and bench-model). Programs are taken from the folder of
# this script if it was packed, else from build-gpu, which is built if it is missing (needs nvcc, meson, ninja).
# Results go to DIR (default: gpu-results): a log for each group, and all together in summary.json and RESULTS.md, which
# tests/bench/RESULTS.md takes over when they are the best so far. The last line counts checks: "N passed, N failed, N skipped".
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=$PWD/gpu-results
dry=
pack=
groups=()
while [ $# -gt 0 ]; do
    case $1 in
    --dry-run) dry=yes ;;
    --out) out=$2 && shift ;;
    --pack) pack=$2 && shift ;;
    check | models | memcheck | bench-ops | bench-model | train) groups+=("$1") ;;
    -h | --help)
        sed -n '3,/^set /s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "gpu.sh: unknown word '$1'; groups are check, models, memcheck, bench-ops, bench-model and train" >&2
        exit 2
        ;;
    esac
    shift
done

build_programs() { # folder
    local root=$here/..
    mkdir -p "$1"
    [ -f "$1/build.ninja" ] ||
        meson setup "$1" "$root" -Dcuda=enabled -Dgpu_archs=90a -Dgpu_ptx= -Dbuildtype=release >"$1/build.log" 2>&1 || return 1
    ninja -C "$1" >>"$1/build.log" 2>&1
}

if [ -n "$pack" ]; then
    build=$here/../build-gpu
    build_programs "$build" || {
        tail -n 20 "$build/build.log" >&2
        exit 1
    }
    rm -rf "$pack"
    mkdir -p "$pack/models"
    cp "$build/libmoviegen.so.0" "$build/examples/cli/moviegen" "$build/tests/kernels/checkkernel" "$build/tests/bench/bench_models" "$pack"
    cp -r "$here/gpu.sh" "$here/gpu" "$pack"
    cp "$here/bench/torch_compare.py" "$here/bench/compare.py" "$pack/gpu"
    cp -r "$here/../examples/models/toybox" "$pack/models"
    strip "$pack/libmoviegen.so.0" "$pack/moviegen" "$pack/checkkernel" "$pack/bench_models"
    du -sh "$pack"
    [ "$(du -sm "$pack" | cut -f1)" -lt 60 ] || echo "gpu.sh: that is more than 60 MB" >&2
    exit 0
fi
[ ${#groups[@]} -gt 0 ] || groups=(check models memcheck bench-ops bench-model)

if [ -x "$here/checkkernel" ]; then
    programs=$here checkkernel=$here/checkkernel moviegen=$here/moviegen bench_models=$here/bench_models models=$here/models
else
    programs=$here/../build-gpu models=$here/../examples/models
    checkkernel=$programs/tests/kernels/checkkernel moviegen=$programs/examples/cli/moviegen
    bench_models=$programs/tests/bench/bench_models
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
left() { # seconds of the group
    local seconds=$((group_end - SECONDS))
    echo $((seconds > 5 ? seconds : 5))
}

run() { # what to say, command...
    echo "+ $1"
    shift
    [ -n "$dry" ] || "$@"
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

# checkkernel in as many parts as there are processors; part P's output in check-P.log.
check_parts() { # options...
    local p
    for p in $(seq "$cores"); do
        timeout "${CHECK_SECONDS:-300}" "$checkkernel" --part "$p/$cores" "$@" >"$out/check-$p.log" 2>&1 || echo "# exit $?" >>"$out/check-$p.log" &
    done
    wait
}
group_check() {
    local bad good
    run "checkkernel --variant $variants --cases ${CASES:-40} in $cores parts" check_parts --variant "$variants" --cases "${CASES:-40}"
    [ -z "$dry" ] || return
    cat "$out"/check-*.log >"$out/check.log"
    rm -f "$out"/check-*.log
    good=$(grep -cE "^ok .* (${variants//,/|}): " "$out/check.log")
    bad=$(grep -cE "^not ok|^Bail|^# (exit|crashed)" "$out/check.log")
    passed=$((passed + good)) failed=$((failed + bad))
    echo "check: $good good, $bad failures"
    grep -E "^not ok|^Bail|^# (exit|crashed)" "$out/check.log" | head -n 40
    grep -E "^# \w+ (${variants//,/|}), case" "$out/check.log" | awk '++seen[$2 $3] <= 3' | head -n 60
}

group_models() {
    local device stage
    for device in cpu cuda; do
        run "a film on $device" timeout "$(left)" "$moviegen" generate "a red ball rolls left" --model "$models/toybox" --device "$device" \
            --steps 20 -o "$out/film-$device.y4m" --json -q
        for stage in tae video gan diffusion; do
            run "some steps of training on $device, stage $stage" timeout "$(left)" "$moviegen" train --recipe "${here}/gpu/recipe.json" \
                --stage "$stage" --dir "$out/train-$device" --device "$device" --log "$out/$stage-$device.jsonl" --log-every 1 --quiet
        done
    done
    check "films and losses agree" python3 "$here/gpu/compare.py" "$out"
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

group_bench-ops() {
    check "ceilings" timeout "$(left)" python3 "$here/gpu/ceilings.py" "$out/ceilings.json"
    run "checkkernel --bench" logged "$out/bench.log" timeout "$(left)" "$checkkernel" --bench --variant "$variants" --json "$out/bench.json"
    [ -n "$dry" ] || tail -n 3 "$out/bench.log"
}

group_bench-model() {
    [ -z "$dry" ] || python3 "$here/gpu/bench_model.py" "$bench_models" --dry-run | sed 's/^/  /'
    check "bench_model.py: results agree, and times" timeout "$(left)" python3 "$here/gpu/bench_model.py" "$bench_models" --seconds "${BENCH_SECONDS:-300}" \
        --json "$out/bench-model.json" --markdown "$out/bench-model.md"
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
    start=$SECONDS group_end=$((SECONDS + ${GROUP_SECONDS:-480}))
    "group_$g"
    echo "group $g: $((SECONDS - start)) s"
done
[ -n "$dry" ] || printf '{"passed": %d, "failed": %d, "skipped": %d, "gpu": "%s"}\n' $passed $failed $skipped \
    "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)" >"$out/summary.json"
[ -n "$dry" ] || python3 "$here/gpu/merge.py" "$out"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
