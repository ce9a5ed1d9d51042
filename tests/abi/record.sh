#!/bin/sh
# SPDX-License-Identifier: MIT
# Record the public interface as it is: tests/abi/record.sh [offsets|abi|imports|old ...], none = all.
#
#   offsets  offsets.golden: constants, sizes and offsets
#   abi      moviegen.abi, for abidiff; by gcc with -g, as build-test is
#   imports  imports.txt: adds what the library imports now
#   old      old/X.Y: the header of this version, for its client
#
# Of a version that is not released, after a change that was meant. Of a released one never again: what
# it recorded only grows, which tests/run.sh abi checks.
set -eu
cd "$(dirname "$0")/../.."
python=/usr/bin/python3
[ -x $python ] || python=python3
[ -f build-test/build.ninja ] || CC=gcc meson setup build-test
version=$(sed -n 's/^#define MGEN_VERSION_[A-Z]* //p' include/moviegen.h | paste -sd.)
ninja -C build-test "libmoviegen.so.$version"
[ $# -gt 0 ] || set -- offsets abi imports old
for what in "$@"; do
    $python tests/abi/check.py . build-test --record "$what"
done
