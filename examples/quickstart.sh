#!/bin/sh
# SPDX-License-Identifier: MIT
# From a bare Debian 12 to a film: examples/quickstart.sh ["PROMPT"] [options of moviegen generate]
#
# Installs what is missing, builds the library into build/, and writes movie.mp4 into the folder
# that you are in.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build
prompt="a red ball rolls left on grass"
if [ $# -gt 0 ]; then
    case $1 in
    -h | --help)
        sed -n '3,6s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    '')
        echo "quickstart.sh: the prompt is empty" >&2
        exit 2
        ;;
    -*) ;;
    *)
        prompt=$1
        shift
        ;;
    esac
fi

"$root/scripts/install-deps.sh" build
"$root/scripts/install-deps.sh" ffmpeg ||
    echo "quickstart.sh: going on without FFmpeg: the film will be a .y4m and a .png file" >&2

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
    if ! "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        echo "quickstart.sh: failed: $*" >&2
        exit 1
    fi
}
if [ ! -f "$build/build.ninja" ]; then
    quietly meson setup "$build" "$root" --buildtype=release -Dtests=false -Dwerror=false
elif [ ! -f "$build/lib/plugins/mgen_ffmpeg.so" ] && pkg-config --exists libavformat; then
    quietly meson setup --reconfigure "$build" "$root"
fi
echo "building (about a minute the first time)" >&2
quietly ninja -C "$build"

if [ -z "${MOVIEGEN_MODEL-}" ] && [ -d "$root/examples/models/toybox" ]; then
    MOVIEGEN_MODEL=$root/examples/models/toybox
    export MOVIEGEN_MODEL
fi
"$build/examples/cli/moviegen" generate --rewrite --prompt "$prompt" "$@"
