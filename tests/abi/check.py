# SPDX-License-Identifier: MIT
"""The guards around the public interface: moviegen.h, the library that is built from it, and what was recorded.

    check.py SOURCE_ROOT BUILD_FOLDER                 prints TAP
    check.py SOURCE_ROOT BUILD_FOLDER --record WHAT   writes offsets, abi, imports or old anew (see record.sh)
"""
import glob
import os
import shutil
import sys
import tempfile

import layout
import library
import manual
from header import Header
from run import Report, have

HERE = os.path.dirname(os.path.abspath(__file__))
OFFSETS = os.path.join(HERE, "offsets.golden")
ABI = os.path.join(HERE, "moviegen.abi")
IMPORTS = os.path.join(HERE, "imports.txt")
WRITABLE = os.path.join(HERE, "writable.txt")


def older_headers():
    """[((major, minor), folder, header)], oldest first."""
    folders = glob.glob(os.path.join(HERE, "old", "*"))
    found = [(tuple(int(part) for part in os.path.basename(folder).split(".")), folder) for folder in folders]
    return [(version, folder, Header(os.path.join(folder, "moviegen.h"))) for version, folder in sorted(found)]


def read_file(path):
    with open(path, encoding="utf-8") as f:
        return f.read().splitlines()


def check_header(report, header, root, folder):
    report.result("functions are documented", manual.check_functions(header))
    report.result("structs, fields, objects and statuses are documented", manual.check_structs(header))
    report.result("types are the same for every compiler and language", layout.check_types(header))
    report.result("growing structs begin with struct_size and have an INIT macro", layout.check_struct_size(header))
    report.result("the manual's examples compile", manual.check_examples(header, root))
    for name, problems in manual.header_alone(header):
        if problems is None:
            report.skip(name, "the compiler is not installed")
        else:
            report.result(name, problems)
    for compiler, standard in layout.standards():
        name = f"INIT macros set struct_size and nothing else: {compiler} -std={standard}"
        if have(compiler):
            report.result(name, layout.check_inits(header, folder, compiler, standard))
        else:
            report.skip(name, "the compiler is not installed")


def check_layout(report, header, folder):
    lines = layout.probe(header, folder)
    report.result("no byte of a struct without a name", layout.check_padding(lines))
    report.result("layout and constants only grow: offsets.golden", layout.check_grown(read_file(OFFSETS), lines))
    older = older_headers()
    for version, _, old in older:
        name = ".".join(map(str, version))
        report.result(f"layout and constants only grow since {name}",
                      layout.check_grown(layout.probe(old, folder, f"probe-{name}"), lines))
    report.result("what is new says since when",
                  manual.check_since(header, [(version, old) for version, _, old in older]))
    return lines


def check_library(report, header, root, build, lines, folder):
    built = os.path.join(build, "libmoviegen.so")
    report.result("header, map and exported symbols are the same", library.check_symbols(
        header, os.path.join(root, "lib", "moviegen.map"), built))
    report.result("the library's table of numbers is the header's", library.check_table(header, lines, built))
    report.result("imports are listed and harmless", library.check_imports(built, IMPORTS))
    if library.writable(built) is None:
        report.skip("no writable globals", "the library is stripped")
    else:
        report.result("no writable globals", library.check_writable(built, WRITABLE))
    if not have("abidiff"):
        report.skip("abidiff", "abigail-tools is not installed")
    elif not library.built_by_gcc(built):
        report.skip("abidiff", "the library has no debug information of gcc's")
    else:
        report.result("abidiff finds nothing removed or changed", library.check_abidiff(
            ABI, built, os.path.dirname(header.path), folder))
    clients = older_headers()
    if not clients:
        report.result("old clients", ["tests/abi/old is empty"])
    for version, old, _ in clients:
        report.result(f"a client of {'.'.join(map(str, version))} runs", library.check_old_client(
            old, header, built, os.path.join(root, "examples", "models", "toybox"), folder))


def record(what, header, build, folder):
    built = os.path.join(build, "libmoviegen.so")
    if what == "offsets":
        text = "# Written by record.sh. Lines stay as they are; new ones are added.\n"
        text += "\n".join(layout.probe(header, folder)) + "\n"
        with open(OFFSETS, "w", encoding="utf-8") as f:
            f.write(text)
    elif what == "abi":
        if not have("abidw") or not library.built_by_gcc(built):
            sys.exit("check.py: abi needs abidw (abigail-tools) and a library built by gcc with -g")
        problems = library.abidw(built, os.path.dirname(header.path), ABI)
        if problems:
            sys.exit("\n".join(problems))
    elif what == "imports":
        names = sorted(library.imported(built) | (set(library.read_list(IMPORTS)) if os.path.exists(IMPORTS) else set()))
        with open(IMPORTS, "w", encoding="utf-8") as f:
            f.write("# What the library may import. Added to by record.sh; other compilers may need more than one does.\n")
            f.write("\n".join(name for name in names if not library.FORBIDDEN.fullmatch(name)) + "\n")
    elif what == "old":
        own = os.path.join(HERE, "old", ".".join(map(str, header.version[:2])))
        os.makedirs(own, exist_ok=True)
        shutil.copy(header.path, own)
        clients = [os.path.join(old, "client.c") for _, old, _ in older_headers()]
        if not os.path.exists(clients[-1]):
            shutil.copy(clients[-2], own)
    else:
        sys.exit(f"check.py: {what} is none of offsets, abi, imports, old")


def main():
    if len(sys.argv) not in (3, 5) or len(sys.argv) == 5 and sys.argv[3] != "--record":
        sys.exit(__doc__)
    root, build = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    header = Header(os.path.join(root, "include", "moviegen.h"))
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) == 5:
            record(sys.argv[4], header, build, folder)
            return 0
        report = Report()
        check_header(report, header, root, folder)
        lines = check_layout(report, header, folder)
        check_library(report, header, root, build, lines, folder)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
