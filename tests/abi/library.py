# SPDX-License-Identifier: MIT
"""The built library against the header and against what was recorded of it."""
import ctypes
import fnmatch
import os
import re

from layout import read_lines
from run import CC, WARNINGS, run

# Never to be imported, listed or not: they end the process, print, or change what belongs to the host.
FORBIDDEN = re.compile(r"abort|_?exit|_Exit|quick_exit|__assert\w*|raise|kill|system|signal|sigaction|sigprocmask|"
                       r"setlocale|uselocale|v?f?printf|vprintf|fputs|fputc|puts|putc|putchar|perror|"
                       r"psignal|error|warnx?|errx?|syslog|__v?f?printf_chk|stdout|stderr|atexit|at_quick_exit|chdir|"
                       r"umask|setenv|putenv|unsetenv|srand|rand|popen|fork")


def exported(library):
    """Names the library defines for others, but for those of symbol versions."""
    lines = run(["nm", "-D", "--defined-only", library]).stdout.splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if line.split()[-2:-1] != ["A"]}


def read_map(path):
    """The global patterns of a linker's version script."""
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/|#[^\n]*", " ", f.read(), flags=re.S)
    names = []
    for part in re.findall(r"global:(.*?)(?:local:|\})", text, re.S):
        names += part.replace(";", " ").split()
    return names


def check_symbols(header, map_path, library):
    declared, names, found = {f.name for f in header.functions}, read_map(map_path), exported(library)
    problems = [f"{name} is exported but not in moviegen.h" for name in sorted(found - declared)]
    problems += [f"{name} is in moviegen.h but not exported" for name in sorted(declared - found)]
    problems += [f"{name} is in moviegen.h but not in moviegen.map" for name in sorted(declared)
                 if not any(fnmatch.fnmatchcase(name, pattern) for pattern in names)]
    return problems + [f"{pattern} of moviegen.map is not in moviegen.h" for pattern in names
                       if not fnmatch.filter(declared, pattern)]


def imported(library):
    """Strong undefined names; weak ones are the compiler's own."""
    lines = run(["nm", "-D", "-u", library]).stdout.splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if line.split()[0] == "U"}


def read_list(path):
    """{name: rest of the line} without comments."""
    table = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                name, _, rest = line.strip().partition(" ")
                table[name] = rest.strip()
    return table


def check_imports(library, path):
    found, listed = imported(library), read_list(path)
    problems = [f"the library imports {name}, which it never may" for name in sorted(found)
                if FORBIDDEN.fullmatch(name)]
    problems += [f"{os.path.basename(path)} lists {name}, which the library never may import" for name in listed
                 if FORBIDDEN.fullmatch(name)]
    problems += [f"the library imports {name}, which {os.path.basename(path)} does not list"
                 for name in sorted(found - set(listed))]
    return problems if found else ["no import was found: is this a library?"]


def writable(library):
    """{name: section} of what lies in sections that can be written to after loading; None if stripped."""
    sections = {}
    for number, name, flags in re.findall(r"^\s*\[\s*(\d+)\] (\S+)\s+\S+\s+\S+\s+\S+\s+\S+\s+\S+\s+(\w*) ",
                                          run(["readelf", "-SW", library]).stdout, re.M):
        if "W" in flags and not re.match(r"\.data\.rel\.ro|\.(init|fini)_array|\.dynamic|\.got", name):
            sections[number] = name
    symbols = re.findall(r"^\s*\d+: [0-9a-f]+\s+\w+ (OBJECT|TLS|COMMON)\s+\w+\s+\w+\s+(\d+) (\S+)$",
                         run(["readelf", "-sW", library]).stdout, re.M)
    if not re.search(r"Symbol table '\.symtab'", run(["readelf", "-sW", library]).stdout):
        return None
    return {re.sub(r"\.\d+$", "", name): sections[section] for _, section, name in symbols if section in sections}


def check_writable(library, path):
    found, listed = writable(library), read_list(path)
    problems = [f"{name} in {found[name]} can be written to: hang it on a context, or make it const"
                for name in sorted(found) if name not in listed]
    problems += [f"{os.path.basename(path)} lists {name}, which is not there" for name in listed if name not in found]
    return problems + [f"{os.path.basename(path)} gives no reason for {name}" for name in listed if not listed[name]]


def check_table(header, lines, library):
    """mgen_abi_name() and mgen_abi_value() tell what the compiler says: each constant, size and offset."""
    loaded = ctypes.CDLL(library)
    loaded.mgen_abi_name.restype = ctypes.c_char_p
    loaded.mgen_abi_value.restype = ctypes.c_int64
    told = {}
    while loaded.mgen_abi_name(len(told)):
        name = loaded.mgen_abi_name(len(told)).decode()
        if name in told:
            return [f"{name} is in the table twice"]
        told[name] = loaded.mgen_abi_value(len(told))
    wanted = {f"MGEN_VERSION_{part}": value for part, value in zip(("MAJOR", "MINOR", "PATCH"), header.version)}
    for key, rest in read_lines(lines).items():
        kind, name = key.split(" ")
        prefix = {"constant": "", "struct": "sizeof ", "field": "offsetof "}[kind]
        wanted[prefix + name] = int(rest[0])
    problems = [f"{name} is not in the table of lib/api/abi.c" for name in wanted if name not in told]
    problems += [f"the table says {name} = {told[name]}, the header {wanted[name]}" for name in wanted
                 if name in told and told[name] != wanted[name]]
    return problems + [f"the table has {name}, the header has not" for name in told if name not in wanted]


# -- abidiff ----------------------------------------------------------------------------------------

PUBLIC_ONLY = ["--drop-private-types", "--exported-interfaces-only"]


def built_by_gcc(library):
    """Whether the debug information is there, and gcc's: the recorded form is."""
    return "GNU C" in run(["readelf", "--string-dump=.debug_str", library]).stdout


def abidw(library, include, path):
    done = run(["abidw", "--headers-dir", include, *PUBLIC_ONLY, "--drop-undefined-syms", "--no-show-locs",
                "--no-corpus-path", "--no-comp-dir-path", "--no-elf-needed", "--no-parameter-names", "--type-id-style",
                "hash", "--out-file", path, library])
    return [] if done.returncode == 0 else [f"abidw ended with {done.returncode}", *done.stderr.splitlines()]


# What abidiff says about structs that grew at their end, and about those who use them; anything else is a change.
GROWN = re.compile(r"""
    (Functions|Variables)\ changes\ summary:\ 0\ Removed,.* | \d+\ functions?\ with\ some\ indirect\ sub-type\ changes?: |
    \[C\]\ '.*'\ has\ some\ indirect\ sub-type\ changes: |
    (parameter\ \d+\ of\ type|in\ pointed\ to\ type|in\ unqualified\ underlying\ type|underlying\ type|type\ of)\ '.*'
        \ (changed:|has\ sub-type\ changes:|changed,\ as\ (reported|being\ reported).*) |
    (in\ pointed\ to\ type|in\ unqualified\ underlying\ type)\ '.*': |
    type\ size\ (changed\ from\ \d+\ to\ \d+\ \(in\ bits\)|hasn't\ changed) |
    \d+\ data\ member\ (insertion|change)s?(\ \(\d+\ filtered\))?: | '.*',\ at\ offset\ \d+\ \(in\ bits\) |
    (these\ changes\ )?were\ reported\ earlier.* | type\ '.*'\ (of\ '.*'\ )?changed.*,\ as\ reported\ earlier
    """, re.X)


def check_abidiff(recorded, library, include, folder):
    """Nothing removed, nothing changed; new functions are fine, and so are structs that grew (check_grown says how).

    Both sides are abidw's: given a library and --headers-dir2, abidiff takes every struct of a recorded side without
    locations for a private one, and says nothing."""
    today = os.path.join(folder, "today.abi")
    problems = abidw(library, include, today)
    if problems:
        return problems
    done = run(["abidiff", "--no-added-syms", recorded, today])
    if done.returncode == 0:
        return []
    if done.returncode & ~4:
        return [f"abidiff ended with {done.returncode}", *done.stdout.splitlines(), *done.stderr.splitlines()]
    odd = [line.strip() for line in done.stdout.splitlines() if line.strip() and not GROWN.fullmatch(line.strip())]
    return [f"abidiff: {line}" for line in odd]


# -- old clients ------------------------------------------------------------------------------------

def run_client(source, include, library, model, program):
    """(complaints, what it printed)"""
    folder = os.path.dirname(library)
    built = run([CC, "-std=c11", *WARNINGS, "-I", include, source, library, f"-Wl,-rpath,{folder}", "-o", program])
    if built.returncode:
        return built.stderr.splitlines(), ""
    done = run([program, model], timeout=300)
    if done.returncode:
        return [f"the client ended with {done.returncode}", *done.stdout.splitlines(), *done.stderr.splitlines()], ""
    return [], done.stdout


def check_old_client(old, header, library, model, folder):
    """A host built against an old header does with today's library what it does when it is built anew."""
    source = os.path.join(old, "client.c")
    problems, before = run_client(source, old, library, model, os.path.join(folder, "client-old"))
    if problems:
        return problems
    problems, today = run_client(source, os.path.dirname(header.path), library, model,
                                 os.path.join(folder, "client-new"))
    if problems:
        return [f"built against today's header: {line}" for line in problems]
    if not re.search(r"^pixels [0-9a-f]{16}$", before, re.M):
        return ["the client did not print its pixels"]
    return [] if before == today else ["the old client prints", *before.splitlines(), "built anew it prints",
                                       *today.splitlines()]
