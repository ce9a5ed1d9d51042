#!/bin/sh
# SPDX-License-Identifier: MIT
# Install what is missing with apt: scripts/install-deps.sh build|ffmpeg|mpi|test|clang|rust|aarch64 ...
# Does nothing where everything is there. Exit status 1: something is still missing (it says what).
set -u

have() { command -v "$1" >/dev/null 2>&1; }
have_libs() { have pkg-config && pkg-config --exists "$@" 2>/dev/null; }
have_libc() { echo '#include <stdio.h>' | gcc -E -x c - >/dev/null 2>&1; }
have_module() { /usr/bin/python3 -c "import importlib.util as u; exit(not u.find_spec('$1'))" 2>/dev/null; }

packages_missing() { # of one group
    case $1 in
    build)
        have gcc || echo gcc
        have_libc || echo libc6-dev
        have meson || echo meson
        have ninja || echo ninja-build
        have pkg-config || echo pkg-config
        have_libs zlib || echo zlib1g-dev
        ;;
    ffmpeg)
        have_libs libavformat libavcodec libavutil libswscale ||
            echo libavformat-dev libavcodec-dev libavutil-dev libswscale-dev
        ;;
    mpi)
        have mpicc || echo libopenmpi-dev
        have mpirun || echo openmpi-bin
        ;;
    test)
        have_libs cmocka || echo libcmocka-dev
        have clang-format || echo clang-format
        have readelf || echo binutils
        have abidiff || echo abigail-tools
        have g++ || echo g++
        [ -x /usr/bin/python3 ] || echo python3
        for module in numpy pyflakes setuptools wheel pip; do
            have_module $module || echo python3-$module
        done
        ;;
    clang)
        have clang || echo clang
        ;;
    rust)
        have cargo || echo cargo
        have rustc || echo rustc
        ;;
    aarch64)
        have aarch64-linux-gnu-gcc || echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross
        have qemu-aarch64-static || echo qemu-user-static
        ;;
    esac
}

all_missing() {
    for group in "$@"; do
        packages_missing "$group"
    done | tr '\n' ' '
}

for group in "$@"; do
    case $group in
    build | ffmpeg | mpi | test | clang | rust | aarch64) ;;
    *)
        echo "install-deps.sh: unknown group '$group'; groups are build, ffmpeg, mpi, test, clang, rust, aarch64" >&2
        exit 2
        ;;
    esac
done
missing=$(all_missing "$@")
[ -n "$missing" ] || exit 0

if ! have apt-get; then
    echo "install-deps.sh: missing: $missing(there is no apt-get here; install them another way)" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    if ! have sudo; then
        echo "install-deps.sh: missing: $missing(run as root, or install sudo)" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "installing: $missing" >&2
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # a list of words
{
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
} >"$log" 2>&1 </dev/null
missing=$(all_missing "$@")
[ -z "$missing" ] && exit 0
tail -n 5 "$log" >&2
echo "install-deps.sh: still missing: $missing" >&2
exit 1
