#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One file for Python users: a wheel of the binding with the library, its FFmpeg plug-in and the toybox's model inside.

    make_wheel.py BUILD OUT [--no-ffmpeg]     BUILD: a build folder; OUT: the folder that the wheel is written into

Nothing but Python and readelf is needed. The wheel's tag is what its files hold to: manylinux with the newest version of
glibc that a symbol asks for, or linux where a plug-in needs libraries that not every system has. Equal files make equal
wheels.
"""
import argparse
import base64
import configparser
import contextlib
import hashlib
import os
import re
import subprocess
import sys
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = os.path.join(ROOT, "bindings", "python")
MODEL = os.path.join(ROOT, "examples", "models", "toybox")
INSIDE = "moviegen/_bundled/"  # where moviegen/_library.py looks
LIBRARY = "libmoviegen.so.0"
PLUGIN = "mgen_ffmpeg.so"
# What each Linux with glibc has; those that PEP 600 lets a manylinux wheel link, as far as they are used here.
EVERYWHERE = re.compile(r"(libc\.so\.6|libm\.so\.6|libz\.so\.1|libdl\.so\.2|librt\.so\.1|libpthread\.so\.0|ld-linux.*\.so\.\d)$")
ARCHES = {"Advanced Micro Devices X86-64": "x86_64", "AArch64": "aarch64"}


def fail(text):
    sys.exit(f"make_wheel.py: {text}")


def readelf(option, path):
    try:
        run = subprocess.run(["readelf", "--wide", option, path], capture_output=True, text=True, check=False,
                             env={**os.environ, "LC_ALL": "C"})
    except FileNotFoundError:
        fail("readelf is missing; install binutils")
    if run.returncode or not run.stdout.strip():
        fail(f"{path} cannot be read: {run.stderr.strip() or 'readelf says nothing'}")
    return run.stdout


class Elf:
    """What a shared object asks of the machine that it runs on."""

    def __init__(self, path):
        dynamic = readelf("--dynamic", path)
        machine = re.search(r"Machine:\s+(.*\S)", readelf("--file-header", path)).group(1)
        self.arch = ARCHES.get(machine) or fail(f"{path} is for {machine}, of which no wheel's name is known here")
        self.foreign = [name for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic) if not EVERYWHERE.match(name)]
        self.paths = re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", dynamic)
        versions = re.findall(r"Name: GLIBC_2\.(\d+)", readelf("--version-info", path))
        self.glibc = max(map(int, versions), default=5)


def metadata():
    """METADATA, and the version, of setup.cfg and what it names."""
    setup = configparser.ConfigParser()
    setup.read(os.path.join(PACKAGE, "setup.cfg"), encoding="utf-8")
    with open(os.path.join(PACKAGE, "moviegen", "_version.py"), encoding="utf-8") as f:
        version = re.search(r'__version__ = "(.*)"', f.read()).group(1)
    with open(os.path.join(PACKAGE, "README.md"), encoding="utf-8") as f:
        readme = f.read()
    about = setup["metadata"]
    lines = ["Metadata-Version: 2.1", f"Name: {about['name']}", f"Version: {version}", f"Summary: {about['description']}",
             f"License: {about['license']}", f"Requires-Python: {setup['options']['python_requires']}", "License-File: LICENSE",
             f"Description-Content-Type: {about['long_description_content_type']}", "", readme]
    return version, "\n".join(lines)


def library_of(build):
    path = os.path.join(build, LIBRARY)
    if not os.path.exists(path):
        fail(f"there is no {LIBRARY} in '{build}'; name the folder that `meson setup` made and `ninja -C` filled")
    said = binding_says(path, "import moviegen")
    if said:
        fail(f"{path} does not fit this binding: {said}. Build it from the same sources")
    return os.path.realpath(path)


def binding_says(library, code, *arguments):
    """The last line of what went wrong; empty where nothing did."""
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False,
                         env={**os.environ, "MOVIEGEN_LIBRARY": library, "PYTHONPATH": PACKAGE, "PYTHONDONTWRITEBYTECODE": "1"})
    return run.stderr.strip().splitlines()[-1] if run.returncode else ""


def check_plugin(library, plugin):
    """Whether the library takes it, which a build of single targets may leave behind."""
    said = binding_says(library, """
import sys, moviegen
context = moviegen.Context(threads=1, plugin_dir=sys.argv[1])
try:
    moviegen.Clip.read(context, sys.argv[2])
except moviegen.Error as error:
    if "plug-in" in str(error):  # otherwise it has looked at the file, and seen that it is no film
        sys.exit(str(error))
""", os.path.dirname(plugin), plugin)
    if said:
        fail(f"{said}; build all (ninja -C {os.path.dirname(library)}), or leave the plug-in out with --no-ffmpeg")


def model_files():
    """All that the model's folder holds but its pictures; the photo to try personalization on is one of the inputs."""
    names = [name for name in sorted(os.listdir(MODEL)) if name.endswith((".json", ".safetensors", ".model", ".txt", ".md"))]
    for name in ("pipeline.json", "video_model.safetensors"):
        if name not in names:
            fail(f"there is no {name} in {MODEL}, the model that goes into the wheel")
    return names + ["photo.png"]


def contents(build, with_ffmpeg):
    """Pairs of the names in the wheel and the files; the library's and the plug-in's demands; the plug-in's path."""
    library = library_of(build)
    plugin = os.path.join(build, "lib", "plugins", PLUGIN)
    if not with_ffmpeg or not os.path.exists(plugin):
        plugin = None
    if plugin:
        check_plugin(library, plugin)
    demands = [Elf(library)] + ([Elf(plugin)] if plugin else [])
    if demands[0].foreign:
        fail(f"{library} needs {', '.join(demands[0].foreign)}, which other machines may not have; build it without "
             "sanitizers")
    for path, elf in zip((library, plugin), demands):
        if elf.paths:
            print(f"warning: {path} looks for libraries in {', '.join(elf.paths)}, which other machines may not have")
    files = [("moviegen/" + name, os.path.join(PACKAGE, "moviegen", name))
             for name in sorted(os.listdir(os.path.join(PACKAGE, "moviegen"))) if name.endswith(".py") or name == "py.typed"]
    files.append((INSIDE + LIBRARY, library))
    if plugin:
        files.append((INSIDE + "moviegen/" + PLUGIN, plugin))
    files += [(INSIDE + "toybox/" + name, os.path.join(MODEL, name)) for name in model_files()]
    return files, demands, plugin


def tag_of(demands):
    kind = "linux" if any(elf.foreign for elf in demands) else f"manylinux_2_{max(elf.glibc for elf in demands)}"
    return f"py3-none-{kind}_{demands[0].arch}"


def write(path, files, info, about):
    """The archive; RECORD, which tells of all others, comes last."""
    record, part = [], path + ".part"
    with contextlib.ExitStack() as undo, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        undo.callback(os.remove, part)

        def add(name, data):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if ".so" in name else 0o100644) << 16
            archive.writestr(entry, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(data)}\n")
        for name, source in files:
            with open(source, "rb") as f:
                add(name, f.read())
        with open(os.path.join(ROOT, "LICENSE"), "rb") as f:
            add(info + "LICENSE", f.read())
        for name, text in about:
            add(info + name, text.encode())
        record.append(f"{info}RECORD,,\n")
        add(info + "RECORD", "".join(record).encode())
        undo.pop_all()
    os.replace(part, path)


def main():
    parser = argparse.ArgumentParser(description="A wheel with the library and the toybox's model inside.")
    parser.add_argument("build", help="a build folder, which holds libmoviegen.so.0")
    parser.add_argument("out", help="the folder that the wheel is written into; made if there is none")
    parser.add_argument("--no-ffmpeg", action="store_true", help="leave the FFmpeg plug-in out: a wheel for any FFmpeg, or none")
    arguments = parser.parse_args()
    files, demands, plugin = contents(arguments.build, not arguments.no_ffmpeg)
    version, text = metadata()
    foreign = [name for elf in demands for name in elf.foreign]
    tag = tag_of(demands)
    wheel = f"Wheel-Version: 1.0\nGenerator: make_wheel.py of libmoviegen\nRoot-Is-Purelib: false\nTag: {tag}\n"
    path = os.path.join(arguments.out, f"moviegen-{version}-{tag}.whl")
    try:
        os.makedirs(arguments.out, exist_ok=True)
        write(path, files, f"moviegen-{version}.dist-info/", [("METADATA", text), ("WHEEL", wheel)])
    except OSError as error:
        fail(f"{path} cannot be written: {error}")
    print(f"needs glibc 2.{max(elf.glibc for elf in demands)}"
          + (f"; for films other than .y4m, {', '.join(foreign)}" if foreign else "")
          + ("" if plugin else "; no FFmpeg plug-in is inside: films are .y4m"))
    print(path)


if __name__ == "__main__":
    main()
