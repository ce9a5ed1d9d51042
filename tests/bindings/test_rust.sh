#!/bin/bash
# SPDX-License-Identifier: MIT
# The Rust crates, with each toolchain that there is: test_rust.sh BUILD_FOLDER        prints TAP
#
# cargo's own report of each test becomes a line; formatting and lints are checked where the tools are.
set -u
cd "$(dirname "$0")/../.." || exit 2
build=$(cd "${1:-build-test}" && pwd) || exit 2
crates=$PWD/bindings/rust/Cargo.toml
export MOVIEGEN_SOURCE=$PWD MOVIEGEN_LIB_DIR=$build RUST_TEST_THREADS=2 RUST_BACKTRACE=0
scratch=$(mktemp -d) || exit 2
log=$scratch/log
trap 'rm -rf "$scratch"' EXIT
number=0

result() { # status, name
    number=$((number + 1))
    [ "$1" = 0 ] && echo "ok $number - $2" && return
    echo "not ok $number - $2"
    return 1
}

# One step as one line; what it printed follows if it failed.
step() { # name, command...
    local name=$1 status
    shift
    "$@" >"$log" 2>&1 </dev/null
    status=$?
    result $status "$name"
    [ $status = 0 ] || tail -n 40 "$log" | sed 's/^/# /'
}

# One that fails and says something.
said() { # name, words, command...
    local name=$1 words=$2
    shift 2
    ! "$@" >"$log" 2>&1 </dev/null && grep -qF "$words" "$log"
    result $? "$name" || sed 's/^/# /' "$log"
}

# Tests as lines of their own. A crash, or cargo without a test to report, is a failure too.
tests() { # name, command...
    local name=$1 status word first=$((number + 1))
    shift
    "$@" >"$log" 2>&1 </dev/null
    status=$?
    while read -r word; do
        case $word in
        ok\ *) result 0 "$name: ${word#ok }" ;;
        ignored\ *) result 0 "$name: ${word#ignored }" ;;
        *) result 1 "$name: ${word#FAILED }" ;;
        esac
    done < <(sed -nE -e 's/^test (.*) \.\.\. (ok|FAILED)$/\2 \1/p' \
        -e 's/^test (.*) \.\.\. ignored,?(.*)$/ignored \1 # SKIP\2/p' "$log")
    if [ $status != 0 ] || [ $number -lt $first ]; then
        result 1 "$name: cargo ended with $status"
        grep -vE '^test .* ok$' "$log" | tail -n 60 | sed 's/^/# /'
    fi
}

# Whether a toolchain has this tool itself: cargo alone would take another one's from PATH.
has() { # cargo, clippy or fmt
    [ -x "$1-$2" ] && "$1" "$2" --version >/dev/null 2>&1
}

toolchain() { # cargo, rustc
    local cargo=$1 rustc=$2 version name
    version=$("$rustc" --version | cut -d' ' -f2)
    name="rust $version"
    export CARGO_TARGET_DIR=$build/rust/$version RUSTC=$rustc RUSTDOC=${rustc%rustc}rustdoc
    tests "$name" "$cargo" test --no-fail-fast --offline --locked --workspace --manifest-path "$crates"
    if has "$cargo" clippy; then
        step "$name: clippy" env -u RUSTC "$cargo" clippy --offline --locked --workspace --all-targets \
            --manifest-path "$crates" -- -D warnings
    else
        step "$name: no warnings" env RUSTFLAGS="-D warnings" "$cargo" check --offline --locked \
            --workspace --all-targets --manifest-path "$crates"
    fi
    RUSTDOCFLAGS="-D warnings" step "$name: doc" "$cargo" doc --offline --locked --workspace --no-deps \
        --manifest-path "$crates"
    if has "$cargo" fmt; then
        step "$name: fmt" "$cargo" fmt --all --check --manifest-path "$crates"
    fi
}

# How build.rs finds the library for a crate of a user's, in a copy of the repository without a build folder, and what it
# says when it cannot. The program runs without being told where the library is, and finds the plug-ins.
finding() { # cargo
    local copy=$scratch/copy film=$scratch/film.y4m clip
    [ ! -e "$build/lib/plugins/mgen_ffmpeg.so" ] || film=$scratch/film.mp4
    clip=("$1" run --quiet --offline --manifest-path "$scratch/film/Cargo.toml" -- "$film")
    mkdir -p "$copy/bindings" "$scratch/film/src"
    tar -C bindings --exclude=target -cf - rust | tar -C "$copy/bindings" -xf - || return
    cat >"$scratch/film/Cargo.toml" <<'END'
[package]
name = "film"
version = "0.1.0"
edition = "2021"
[dependencies]
moviegen = { path = "../copy/bindings/rust/moviegen" }
END
    cat >"$scratch/film/src/main.rs" <<'END'
use moviegen::{Clip, ClipInfo, Context};
fn main() -> moviegen::Result<()> {
    let path = std::env::args().nth(1).unwrap();
    let info = ClipInfo { width: 64, height: 64, frames: 2, fps_num: 8, fps_den: 1 };
    let mut ctx = Context::new()?;
    Clip::new(&mut ctx, &info)?.write(&mut ctx, path)
}
END
    export CARGO_TARGET_DIR=$scratch/target
    unset LD_LIBRARY_PATH MOVIEGEN_LIB_DIR
    step "found by pkg-config" env PKG_CONFIG_PATH="$build/meson-uninstalled" "${clip[@]}"
    step "found by MOVIEGEN_LIB_DIR" env MOVIEGEN_LIB_DIR="$build" "${clip[@]}"
    said "a library that is not found is said" "there is no libmoviegen.so in '$copy/build'. Build it there" \
        env PKG_CONFIG=false "${clip[@]}"
    said "a relative MOVIEGEN_LIB_DIR is refused" "give the whole path, such as" env MOVIEGEN_LIB_DIR=build "${clip[@]}"
    said "a folder without the library is refused" "there is no libmoviegen.so in '$scratch', which MOVIEGEN_LIB_DIR" \
        env MOVIEGEN_LIB_DIR="$scratch" "${clip[@]}"
    ln -s "$build" "$copy/build"
    step "found in the folder build of the repository" env PKG_CONFIG=false "${clip[@]}"
    said "what main returns is a sentence" "(MGEN_E_" env PKG_CONFIG=false "${clip[@]::${#clip[@]}-1}" "$scratch/no/film.y4m"
}

found=
if command -v cargo >/dev/null && command -v rustc >/dev/null; then
    found=$(command -v cargo)
    toolchain "$found" "$(command -v rustc)"
fi
# The system's own, where another one comes first.
if [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && [ "$found" != /usr/bin/cargo ]; then
    found=/usr/bin/cargo
    toolchain /usr/bin/cargo /usr/bin/rustc
fi
[ -z "$found" ] || finding "$found"
[ -n "$found" ] || echo "ok 1 - rust # SKIP cargo is not installed (scripts/install-deps.sh rust)"
[ -n "$found" ] && echo "1..$number" || echo "1..1"
