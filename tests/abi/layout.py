# SPDX-License-Identifier: MIT
"""Where everything in the public structs lies, found by a probe that is generated from the header.

The probe prints lines
    constant NAME VALUE
    struct NAME SIZE grows|fixed
    field STRUCT.NAME OFFSET SIZE TYPE
A line that was recorded may not change or vanish. A struct that grows may do so at its end; a fixed one,
which has no struct_size, never does. What was reserved in one that grows, and had to be 0, may become a field.
"""
import os
import re

from run import CC, CXX, WARNINGS, compile_text, run

# What a binding in any language can declare the same way everywhere.
FIELD_TYPES = re.compile(r"u?int(8|16|32|64)_t|float|double")
SIGNATURE_TYPES = re.compile(r"u?int(8|16|32|64)_t|float|double|size_t|mgen_status")
POINTED_TYPES = re.compile(r"u?int(8|16|32|64)_t|float|double|char|void")


def recorded_constants(header):
    """Without the version, which is there to change."""
    return [name for name in header.constants if not name.startswith("MGEN_VERSION_")]


def probe_source(header):
    lines = ['#include "moviegen.h"', "#include <stdio.h>",
             '#define SHOW(x) _Generic((x), const char *: "%s", char *: "%s", double: "%.17g", float: "%.9g", '
             'default: "%lld")',
             "int main(void)", "{"]
    for name in recorded_constants(header):
        lines += [f'    printf("constant {name} ");', f"    printf(SHOW({name}), {value_of(header, name)});",
                  '    printf("\\n");']
    for struct in header.structs:
        kind = "grows" if struct.grows() else "fixed"
        lines.append(f'    printf("struct {struct.name} %zu {kind}\\n", sizeof({struct.name}));')
        for field in struct.fields:
            lines.append(f'    printf("field {struct.name}.{field.name} %zu %zu %s\\n", '
                         f'offsetof({struct.name}, {field.name}), sizeof((({struct.name} *)0)->{field.name}), '
                         f'"{field.type()}");')
    return "\n".join(lines + ["    return 0;", "}", ""])


def value_of(header, name):
    """What printf takes: integers are widened, the rest stays."""
    value = re.search(rf"^#define {name}[ \t]+(.*)$", header.joined, re.M).group(1)
    return name if '"' in value.split("/*")[0] or "." in value.split("/*")[0] else f"(long long)({name})"


def probe(header, folder, name="probe"):
    """The lines, from a program compiled against this very header; raises with the compiler's words."""
    program = os.path.join(folder, name)
    problems = compile_text(probe_source(header), [CC, "-std=c11", "-Wno-format"], os.path.dirname(header.path), program)
    if problems:
        raise RuntimeError("\n".join(problems))
    return run([program]).stdout.splitlines()


def read_lines(lines):
    """{'field x.y': ['8', '4', 'uint32_t'], ...}"""
    table = {}
    for line in lines:
        if line and not line.startswith("#"):
            kind, name, rest = line.split(" ", 2)
            table[f"{kind} {name}"] = rest.split(" ", 2)
    return table


def taken_up(old, new):
    """{what was reserved: what is in its place, of its size}"""
    fresh = {(key.split(".")[0], *rest[:2]): key for key, rest in new.items() if key.startswith("field ") and key not in old}
    places = {key: (key.split(".")[0], *rest[:2]) for key, rest in old.items()
              if re.fullmatch(r"field \w+\.reserved\d+", key) and key not in new}
    return {key: fresh[place] for key, place in places.items()
            if place in fresh and old[place[0].replace("field ", "struct ")][1] == "grows"}


def check_grown(recorded, today):
    """Only growth since `recorded`; both are the probe's lines."""
    old, new, problems = read_lines(recorded), read_lines(today), []
    if not old:
        return ["nothing is recorded"]
    taken = taken_up(old, new)
    for key, rest in old.items():
        now = new.get(key)
        if key in taken:
            continue
        if now is None:
            problems.append(f"{key} is gone")
        elif key.startswith("struct ") and rest[1:] == now[1:] == ["grows"]:
            if int(now[0]) < int(rest[0]):
                problems.append(f"{key} shrank from {rest[0]} to {now[0]} bytes")
        elif now != rest:
            problems.append(f"{key} was {' '.join(rest)}, is {' '.join(now)}")
    for key, rest in new.items():
        struct = "struct " + key.split(" ", 1)[1].split(".")[0]
        if key in taken.values():
            continue
        if key.startswith("field ") and key not in old and struct in old and int(rest[0]) < int(old[struct][0]):
            problems.append(f"{key} is new, but not at the end: offset {rest[0]}, the struct had {old[struct][0]} bytes")
    return problems


def check_types(header):
    """No type whose size or form depends on the compiler; no public struct by value but fixed ones inside."""
    known = set(header.opaque) | {struct.name for struct in header.structs}
    fixed = {struct.name for struct in header.structs if not struct.grows()}
    problems = []

    def allowed(kind, values):
        base = re.sub(r"\bconst\b|\*|\[\d+\]", " ", kind).strip()
        if "*" in kind or "[" in kind and values is not FIELD_TYPES:
            return base in known or bool(POINTED_TYPES.fullmatch(base)) or bool(values.fullmatch(base))
        return bool(values.fullmatch(base))

    for struct in header.structs:
        for field in struct.fields:
            where = f"{struct.name}.{field.name}"
            if field.function:
                result, parameters = field.function
                problems += [f"{where} uses {kind}" for kind in [result, *parameters]
                             if kind != "void" and not allowed(kind, SIGNATURE_TYPES)]
            elif field.base in fixed and not field.pointer:
                continue
            elif field.base in known and not field.pointer:
                problems.append(f"{where} is a {field.base} by value, which may grow")
            elif not allowed(field.type(), FIELD_TYPES):
                problems.append(f"{where} uses {field.type()}")
    for function in header.functions:
        problems += [f"{function.name}() uses {kind}" for kind in [function.result] + [t for t, _ in function.parameters]
                     if kind != "void" and not allowed(kind, SIGNATURE_TYPES)]
    return problems


def check_struct_size(header):
    problems = []
    for struct in header.structs:
        if not struct.grows():
            continue
        first = struct.fields[0]
        if first.name != "struct_size" or first.type() != "uint32_t":
            problems.append(f"{struct.name} does not begin with uint32_t struct_size")
        if struct.init_macro() not in header.inits and not struct.made_by_library():
            problems.append(f"{struct.name} has no {struct.init_macro()} (nor is struct_size \"set by the library\")")
    wanted = {struct.init_macro() for struct in header.structs}
    return problems + [f"{name} belongs to no struct" for name in sorted(header.inits - wanted)]


def check_padding(lines):
    """Every byte belongs to a field; what has 8 bytes lies on a multiple of 8."""
    table, problems = read_lines(lines), []
    for key, rest in table.items():
        if not key.startswith("struct "):
            continue
        name, end = key.split(" ")[1], 0
        for field, place in table.items():
            if not field.startswith(f"field {name}."):
                continue
            offset, size = int(place[0]), int(place[1])
            if offset != end:
                problems.append(f"{name}: {offset - end} bytes before {field.split('.')[1]} have no name; "
                                "call them reservedN")
            if re.match(r"u?int64_t|double", place[2]) or "*" in place[2]:
                problems += [f"{field} of 8 bytes lies at {offset}"] if offset % 8 else []
            end = offset + size
        if end != int(rest[0]):
            problems.append(f"{name}: {int(rest[0]) - end} bytes at the end have no name; call them reservedN")
    return problems


def init_source(header):
    lines = ['#include "moviegen.h"', "#include <stdio.h>", "#include <string.h>", "static int bad;",
             "static void look(const char *name, const void *p, uint32_t size)", "{",
             "    unsigned char bytes[4096];", "    uint32_t first, i;",
             "    memcpy(bytes, p, size);", "    memcpy(&first, p, sizeof first);", "    if (first != size) {",
             '        printf("%s sets struct_size to %u, not %u\\n", name, first, size);',
             "        bad = 1;", "    }", "    for (i = sizeof first; i < size; i++)", "        if (bytes[i]) {",
             '            printf("%s: byte %u is not 0\\n", name, i);', "            bad = 1;", "        }", "}",
             "int main(void)", "{"]
    for number, struct in enumerate(s for s in header.structs if s.init_macro() in header.inits):
        lines += [f"    static {struct.name} s{number} = {struct.init_macro()};",
                  f"    {struct.name} a{number} = {struct.init_macro()};",
                  f'    look("{struct.init_macro()}", &s{number}, sizeof s{number});',
                  f'    look("{struct.init_macro()}", &a{number}, sizeof a{number});']
    return "\n".join(lines + ["    return bad;", "}", ""])


def check_inits(header, folder, compiler, standard):
    """Every INIT macro names every field, sets struct_size, and 0 elsewhere."""
    if not header.inits:
        return ["there is no INIT macro"]
    program = os.path.join(folder, "inits")
    language = "c++" if standard.startswith("c++") else "c"
    casts = ["-Wold-style-cast"] if language == "c++" else []
    problems = compile_text(init_source(header), [compiler, f"-std={standard}", *WARNINGS, *casts],
                            os.path.dirname(header.path), program, language)
    return problems or run([program]).stdout.splitlines()


def standards():
    """(compiler, standard) of every compiler that is there."""
    pairs = [(compiler, standard) for compiler, standards in
             ((CC, ("c11", "c17")), (CXX, ("c++17", "c++20")), ("clang", ("c11", "c17")), ("clang++", ("c++17", "c++20")))
             for standard in standards]
    return list(dict.fromkeys(pairs))
