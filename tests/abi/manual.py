# SPDX-License-Identifier: MIT
"""The header as a manual: every part has its words, and every example compiles.

An example is what stands between @code and @endcode in the header's comments, or between ```c and ``` in the
project's pages. One without main() is the inside of a function that returns int.
"""
import os
import re

from header import plain
from layout import standards
from run import CC, WARNINGS, compile_text, have, run

WRAPPER = """#include <moviegen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int example(void);
int example(void)
{
%s    return 0;
}
"""
SINCE = re.compile(r"\bSince (\d+)\.(\d+)\b")


def pages(root):
    """The project's pages: all in Markdown outside of hidden and build folders."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "build", "out")))
        for name in sorted(files):
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(folder, name), root)


def examples(header, root):
    """(where, program)"""
    found = [(f"moviegen.h, example {number}", text) for number, text in enumerate(header.examples(), 1)]
    for page in pages(root):
        with open(os.path.join(root, page), encoding="utf-8") as f:
            blocks = re.findall(r"^```c\n(.*?)^```", f.read(), re.S | re.M)
        found += [(f"{page}, C block {number}", text) for number, text in enumerate(blocks, 1)]
    return [(where, text if re.search(r"\bmain\s*\(", text) else WRAPPER % text) for where, text in found]


def check_examples(header, root):
    found = examples(header, root)
    problems = [f"{place} shows no example" for place in ("moviegen.h", "README.md")
                if not any(where.startswith(place + ",") for where, _ in found)]
    for where, text in found:
        complaints = compile_text(text, [CC, "-std=c11", "-O2", *WARNINGS], os.path.dirname(header.path))
        problems += [f"{where}: {line}" for line in complaints]
    return problems


def header_alone(header):
    """(name, complaints or None where the compiler is missing) for each compiler and standard."""
    for compiler, standard in standards():
        name = f"the header alone compiles: {compiler} -std={standard}"
        if not have(compiler):
            yield name, None
            continue
        language = "c++" if standard.startswith("c++") else "c"
        own = ["-Wc++-compat", "-Wstrict-prototypes"] if language == "c" else []
        yield name, compile_text('#include "moviegen.h"\n#include "moviegen.h"\ntypedef int some;\n',
                                 [compiler, f"-std={standard}", *WARNINGS, *own],
                                 os.path.dirname(header.path), language=language)


def check_functions(header):
    """Each function has a comment with its statuses, who owns what it hands out, and since when it is there."""
    problems = []
    known = set(header.statuses())
    for f in header.functions:
        if not f.comment:
            problems.append(f"{f.name} has no comment")
            continue
        statuses = header.documented_statuses(f)
        problems += [f"{f.name} names {name}, which is no status" for name in sorted(statuses - known)]
        if f.result == "mgen_status":
            if "MGEN_OK" not in statuses:
                problems.append(f"{f.name} does not name its statuses")
            if "@return" not in f.comment:
                problems.append(f"{f.name} does not say @return")
        elif f.result != "void" and not re.search(r"@return|identity", f.comment):
            problems.append(f"{f.name} does not say what it returns")
        if any(kind.endswith("**") and kind.split()[0] in header.opaque for kind, _ in f.parameters) \
                and "Ownership:" not in f.comment:
            problems.append(f"{f.name} hands out an object, but does not say \"Ownership:\"")
        if f.result.endswith("*") and f.result.split()[0] in header.opaque and "owner" not in f.comment.lower():
            problems.append(f"{f.name} returns an object, but does not say whose it is")
        since = SINCE.search(f.comment)
        if not since or tuple(map(int, since.groups())) > header.version[:2]:
            problems.append(f"{f.name} does not say \"Since X.Y\", a version up to this one")
        names = {name for _, name in f.parameters}
        for line in re.findall(r"@param ([\w, ]+?)(?:  |$)", f.comment, re.M):
            problems += [f"{f.name} has no parameter {name}" for name in re.split(r",\s*", line) if name not in names]
    return problems


def check_structs(header):
    problems = [f"{struct.name} has no comment" for struct in header.structs if not struct.comment]
    for struct in header.structs:
        problems += [f"{struct.name}.{field.name} has no comment" for field in struct.fields if not field.comment]
    for name in header.opaque:
        if not re.search(rf"typedef struct {name} {name};[ \t]*/\*\*<|\*/\ntypedef struct {name} {name};", header.text):
            problems.append(f"{name} has no comment")
    for name in header.statuses():
        if name != "MGEN_OK" and not re.search(rf"^#define {name}\b[^\n]*/\*\*<", header.text, re.M):
            problems.append(f"{name} has no comment")
    return problems


def check_since(header, older):
    """What an older header lacks says since when it is there; `older` is [(version, header)]."""
    problems = []
    for version, old in older:
        if version >= header.version[:2]:
            continue
        for f in header.functions:
            since = SINCE.search(f.comment)
            if since and not old.function(f.name) and tuple(map(int, since.groups())) <= version:
                problems.append(f"{f.name} says Since {since.group(1)}.{since.group(2)}, but {old.path} has it not")
    return problems
