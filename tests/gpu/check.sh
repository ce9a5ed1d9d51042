#!/bin/bash
# SPDX-License-Identifier: MIT
# What of tests/gpu.sh can be tested where there is no GPU: tests/gpu/check.sh [BUILD]; prints TAP. BUILD: a folder with the
# program, which then does on the CPU what it would do on a GPU.
set -u
build=$(realpath "${1:-/nonexistent}" 2>/dev/null)
cd "$(dirname "$0")/.." || exit 2
count=0 bad=0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
result() { # name, whether it is good, what was said
    count=$((count + 1))
    if [ "$2" = 0 ]; then
        echo "ok $count - $1"
    else
        bad=$((bad + 1))
        echo "not ok $count - $1"
        echo "$3" | head -n 30 | sed 's/^/#   /'
    fi
}
groups="check models units memcheck bench-ops bench-model errors train"
# shellcheck disable=SC2086 # words
said=$(./gpu.sh --dry-run --out "$folder/none" $groups 2>&1)
status=$?
for group in $groups; do
    grep -q "^group $group: " <<<"$said" || status=1
done
for case in "products timed: again" "attention, 48 x 128, S = 73,728" "attention and gradient" "SwiGLU, 73,728" "product of a layer: output, 73,728" \
    "30B model forward, 48 layers, 73,728 tokens" "layer forward + backward, 73,728 tokens" "training step of 4 layers" \
    "TAE decode, 96 x 96 x 32"; do
    grep -q "$case" <<<"$said" || status=1
done
[ ! -e "$folder/none" ] || status=1
result "--dry-run names every group's work and does none of it" $status "$said"
said=$(./gpu.sh --dry-run --quick --out "$folder/none" 2>&1)
status=$?
for case in "group check" "group models" "--bench --op attention_grad --case 8192 --variant sm80,cudnn,sm90,cublaslt" \
    "^  attention, 48 x 128, S = 73,728" "^  30B model forward" "^  SwiGLU, 73,728"; do
    grep -qe "$case" <<<"$said" || status=1
done
! grep -q "8,192 x" <<<"$said" || status=1
result "--dry-run --quick names what is most wanted" $status "$said"

# A machine without cuDNN, where products go right, a norm is wrong, a pad ends early and attention hangs.
cp -r gpu.sh gpu "$folder"
mkdir "$folder/programs"
cat >"$folder/programs/checkkernel" <<'END'
#!/bin/sh
[ "$1" != --list ] || exec printf '%s\n' 'matmul sm80' 'matmul sm90' 'matmul cublaslt' 'norm cuda' 'pad cuda' 'attention sm90'
[ "$2" != attention ] || exec sleep 60
[ "$2" != pad ] || exit 3
echo "ok 1 - $2 check: 9 illegal arguments and 9 kinds of changes refused"
[ "$2" = norm ] || exec echo "ok 2 - $2 $4: $6 of $6 cases"
echo "not ok 2 - $2 $4: 1 of $6 cases" && exit 1
END
printf '#!/bin/sh\n' >"$folder/programs/moviegen"
chmod +x "$folder/programs/checkkernel" "$folder/programs/moviegen"
said=$(GROUP_SECONDS=1 "$folder/gpu.sh" --quick --out "$folder/out" check 2>&1)
status=$((1 - $?))
for line in "not ok - attention sm90 takes more than . s: it hangs" "not ok - pad cuda ended with status 3" \
    "not ok 2 - norm cuda: 1 of 4" "skipped cudnn: this machine" "check: 3 of 6 variants good, 3 failures" \
    "+ matmul cublaslt, products timed" "^4 passed, 3 failed, 1 skipped"; do
    grep -qe "$line" <<<"$said" || status=1
done
result "check tells variants that are right, wrong, end or hang, and which cannot be run" $status "$said"

# A program that makes nothing, and once says so.
# shellcheck disable=SC2016 # of the script that is written
printf '#!/bin/sh\n[ "$1" != rewrite ] || exit 3\n' >"$folder/programs/moviegen"
said=$("$folder/gpu.sh" --out "$folder/out" models 2>&1)
status=$((1 - $?))
grep -q "^not ok - a prompt rewritten on cpu: status 3" <<<"$said" && [ "$(grep -c "^not ok" <<<"$said")" = 2 ] || status=1
result "models tells at once what ended badly" $status "$said"

# Unit tests: one is wrong, one hangs, one ends early, the others find no GPU.
mkdir -p "$folder/tests/unit" "$folder/pack/programs"
cp -r gpu.sh gpu "$folder/pack"
others=-3
for name in $(sed -n 's/^units=(\(.*\))$/\1/p' gpu.sh | tr -d '"' | sed 's/test_[a-z*]*//g'); do
    printf '#!/bin/sh\necho 1..1\necho "not ok 1 # SKIP test_gpu"\n' >"$folder/pack/programs/test_$name"
    others=$((others + 1))
done
printf '#!/bin/sh\nprintf "1..2\\nok 1 - test_a\\nnot ok 2 - test_b\\n# 1 is not 2\\n"\nexit 1\n' >"$folder/pack/programs/test_graph"
printf '#!/bin/sh\nsleep 60\n' >"$folder/pack/programs/test_cuda"
printf '#!/bin/sh\nexit 3\n' >"$folder/pack/programs/test_hold"
printf '#!/bin/sh\n' >"$folder/pack/programs/moviegen"
chmod +x "$folder"/pack/programs/*
said=$(GROUP_SECONDS=1 "$folder/pack/gpu.sh" --out "$folder/out" units 2>&1)
status=$((1 - $?))
for line in "graph: not ok 2 - test_b" "graph: # 1 is not 2" "cuda: not ok - test_cuda takes too long" "hold: not ok - test_hold ended with status 3" \
    "^1 passed, 3 failed, $others skipped"; do
    grep -qe "$line" <<<"$said" || status=1
done
result "units tells tests that are wrong, hang or end early" $status "$said"

# Films and a few steps of each stage, by the program itself, with the CPU in the GPU's place; then one film is another's.
if [ -x "$build/examples/cli/moviegen" ]; then
    played=$folder/played
    mkdir -p "$played/models" "$played/programs"
    cp -r gpu.sh gpu "$played"
    cp -r "$PWD/../examples/models/toybox" "$played/models/toybox" # smaller films: whether two agree does not depend on it
    sed -i -E 's/"(width|height)": 64/"\1": 32/; s/"frames": 32/"frames": 16/' "$played/models/toybox/pipeline.json"
    sed -i -E 's/("steps"): 20\b/\1: 3/' "$played/models/toybox/editor.json" "$played/models/toybox/personalizer.json"
    sed -i -E 's/"steps": [24]0,/"steps": 2,/; s/"clips": [0-9]+/"clips": 8/; s/"validate_every": [0-9]+/"validate_every": 2, "validate_clips": 2/
        s/"(width|height)": 64/"\1": 48/g; s/"frames": 16/"frames": 8/
        s/"drop": 0\.1,/& "buckets": [{"width": 48, "height": 48, "frames": 8}],/' "$played/gpu/recipe.json"
    # Of the words only the device becomes another, and steps fewer: a folder named after it stays its own, or both would save
    # there at once.
    # Stages that learn from the same clips encode them once.
    cat >"$played/programs/moviegen" <<END
#!/bin/bash
device=cpu words=()
for word; do
    [ "\$word" != cuda ] || device=cuda word=cpu
    [ "\$word" != 20 ] || word=3
    words+=("\$word")
done
MOVIEGEN_CACHE=\${MOVIEGEN_CACHE:-$(printf %q "$played")/cache-\$device} exec $(printf %q "$build/examples/cli/moviegen") "\${words[@]}"
END
    chmod +x "$played/programs/moviegen"
    tar -C "$played" -cJf "$played/programs.tar.xz" programs && rm -r "$played/programs" # as a pack has them
    said=$(GROUP_SECONDS=900 RUN_SECONDS=300 "$played/gpu.sh" --out "$played/out" models 2>&1)
    status=$?
    grep -q "^1 passed, 0 failed, 0 skipped" <<<"$said" && ! grep -qE "^moviegen|^not ok|OTHER" <<<"$said" &&
        [ "$(grep -c "0.00e+00 in the first" <<<"$said")" = "$(grep -c '^      "name"' gpu/recipe.json)" ] &&
        grep -q "sound: GPU and CPU are inf" <<<"$said" || status=1
    result "models runs each film and each stage, and finds that all agree" $status "$(grep -v "^+" <<<"$said")"
    [ -d "$played/out/train-cpu" ] && [ -d "$played/out/train-cuda" ] # else they would save in one at the same time
    result "each device trains in a folder of its own" $? "$(ls "$played/out")"
    cp "$played/out/film-cpu.y4m" "$played/out/edit-cuda.y4m" && rm "$played/out/clip-cuda.jsonl"
    said=$(python3 "$played/gpu/films_and_losses.py" "$played/out" 2>&1)
    [ $? = 1 ] && grep -q "^stage clip: .*No such file" <<<"$said" && grep -q "^17 of 19 agree" <<<"$said"
    result "another film and a stage that did not run are told" $? "$said"
else
    count=$((count + 3))
    echo "ok $((count - 2)) - models runs each film and each stage # SKIP no folder with the program was given"
    echo "ok $((count - 1)) - each device has a folder # SKIP no folder with the program was given"
    echo "ok $count - another film is told # SKIP no folder with the program was given"
fi

# errors.sh is played: two things are right, one is wrong, and then it is ended.
# shellcheck disable=SC2016 # of the script, not of this one
printf '#!/bin/sh\nprintf "ok - a\\nnot ok - b: why\\nok - c\\n# more\\n"\nexit $STATUS\n' >"$folder/gpu/errors.sh"
said=$(for status in 1 3; do STATUS=$status "$folder/gpu.sh" --out "$folder/out" errors 2>&1 || echo "status $?"; done)
grep -q "^2 passed, 1 failed, 0 skipped" <<<"$said" && grep -q "^2 passed, 2 failed, 0 skipped" <<<"$said" &&
    [ "$(grep -c "^status 1" <<<"$said")" = 2 ]
result "errors: each line is counted, and an early end" $? "$said"

# A pack has the files of this folder and some of bench/ side by side.
# shellcheck disable=SC2016
beside=$(sed -n 's/^ *cp \(.*\) "$pack\/gpu"$/\1/p' gpu.sh | tr ' ' '\n' | sed 's/"$//; s/.*\///')
twice=$({ ls gpu && echo "$beside"; } | sort | uniq -d)
grep -q "^compare.py" <<<"$beside" && [ -z "$twice" ]
result "no two files of a pack have one name" $? "twice: $twice; beside: $beside"

said=$(./gpu.sh no-such-group 2>&1)
[ $? = 2 ] && grep -q "groups are" <<<"$said"
result "an unknown group is refused" $? "$said"
if [ -e /dev/nvidia0 ]; then
    count=$((count + 1))
    echo "ok $count - bench_model.py without a GPU # SKIP there is one"
else
    said=$(python3 gpu/bench_model.py /nonexistent 2>&1)
    [ $? = 1 ] && grep -qE "PyTorch (is not installed|finds no GPU)" <<<"$said"
    result "bench_model.py says that there is no GPU" $? "$said"
fi
echo '{"passed": 3, "failed": 0, "skipped": 1, "gpu": "a GPU"}' >"$folder/summary.json"
echo '{"results": []}' >"$folder/bench-model.json"
echo '| what |' >"$folder/bench-model.md"
echo '{"device": "a GPU", "copy, GB/s": 4000.0}' >"$folder/ceilings.json"
echo '{"f32": 1, "times": [
{"op": "glu", "variant": "cuda", "case": "large", "seconds": 0.002, "bytes": 4e9, "flops": 0},
{"op": "glu", "variant": "sm80", "case": "large", "seconds": 0.001, "bytes": 4e9, "flops": 0},' >"$folder/bench.json"
said=$(python3 gpu/merge.py "$folder" 2>&1 && cat "$folder/summary.json" "$folder/RESULTS.md")
grep -q '"bench-model"' <<<"$said" && grep -q "3 checks passed" <<<"$said" && grep -q "| what |" <<<"$said" &&
    grep -q "| glu | large | sm80 1.000, cuda 2.000 | 4000 | 0.0 | 100 % |" <<<"$said"
result "results are merged" $? "$said"
echo "1..$count"
[ $bad = 0 ]
