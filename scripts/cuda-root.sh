#!/bin/sh
# SPDX-License-Identifier: MIT
# cuda-root.sh NVCC: prints the folder of the CUDA toolkit whose nvcc (or a wrapper of it) this is, or nothing.
t=$(mktemp -d) || exit 1
trap 'rm -rf "$t"' EXIT
: > "$t/x.cu"
root=$("$1" --dryrun -c "$t/x.cu" -o "$t/x.o" 2>&1 | sed -n 's/^#\$ TOP=//p' | head -n 1)
[ -n "$root" ] && cd "$root" 2>/dev/null && pwd -P
exit 0
