#!/bin/sh
# SPDX-License-Identifier: MIT
# tests/aarch64.sh FOLDER: what a build for 64-bit ARM needs beside its compiler. Fetches zlib and cmocka for it into FOLDER/root,
# where this machine's own packages are none of apt's business, and writes FOLDER/cross.ini for meson.
set -eu

mkdir -p "$1/root" "$1/apt/lists/partial" "$1/apt/cache/archives/partial"
folder=$(cd "$1" && pwd)
root=$folder/root
lib=usr/lib/aarch64-linux-gnu

cat >"$folder/apt/conf" <<END
APT::Architectures { "$(dpkg --print-architecture)"; "arm64"; };
APT::Sandbox::User "root";
Dir::State::Lists "$folder/apt/lists";
Dir::Cache "$folder/apt/cache";
END
foreign() {
    APT_CONFIG=$folder/apt/conf apt-get -qq "$@"
}

if [ ! -f "$root/$lib/pkgconfig/cmocka.pc" ]; then
    foreign update
    cd "$folder/apt"
    foreign download zlib1g:arm64 zlib1g-dev:arm64 libcmocka0:arm64 libcmocka-dev:arm64
    for package in ./*.deb; do
        dpkg-deb -x "$package" "$root"
    done
    mv "$root"/lib/aarch64-linux-gnu/* "$root/$lib/" # links between both are absolute
    ln -sf libz.so.1 "$root/$lib/libz.so"
fi

cat >"$folder/cross.ini" <<END
[binaries]
c = 'aarch64-linux-gnu-gcc'
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
exe_wrapper = ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu']
[built-in options]
c_args = ['-isystem', '$root/usr/include']
c_link_args = ['-L$root/$lib', '-Wl,-rpath-link,$root/$lib']
[properties]
pkg_config_libdir = '$root/$lib/pkgconfig'
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
END
