#!/bin/sh
# SPDX-License-Identifier: MIT
# One target of tests/fuzz under clang's libFuzzer: scripts/fuzz.sh TARGET|all [SECONDS, 60]
# The inputs that it learns from stay in build-fuzz/corpus/TARGET; one that ends the program is build-fuzz/TARGET-...,
# and build-fuzz/tests/fuzz_TARGET FILE shows it again. Exit status 1: there was one.
set -u
cd "$(dirname "$0")/.." || exit 2
all='json safetensors index sentencepiece bpe config recipe pipeline manifest y4m png picture prompt tuned wav rules clips seen peer state shard caption pairs csv foreign adapter'
targets=${1-} seconds=${2-60} status=0
case " $all all " in
*" $targets "*) ;;
*) targets= ;;
esac
if [ -z "$targets" ]; then
    echo "usage: scripts/fuzz.sh TARGET|all [SECONDS]; targets are $all" >&2
    exit 2
fi
[ "$targets" != all ] || targets=$all
scripts/install-deps.sh build clang || exit 2
[ -f build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzz=true -Dffmpeg=disabled || exit 2
programs=
for target in $targets; do
    programs="$programs tests/fuzz_$target"
done
# shellcheck disable=SC2086 # a list of words
ninja -C build-fuzz tests/test_fuzz $programs || exit 2
export MOVIEGEN_SOURCE="$PWD"
export ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
mkdir -p build-fuzz/corpus && build-fuzz/tests/test_fuzz --seeds build-fuzz/corpus || exit 2
for target in $targets; do
    build-fuzz/tests/fuzz_"$target" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="build-fuzz/$target-" build-fuzz/corpus/"$target" || status=1
done
exit $status
