# SPDX-License-Identifier: MIT
"""The guards themselves: each must object when the header is spoiled in the way that it is there for.

    mutations.py HEADER        prints TAP

Nothing of the library is needed. Names are taken from the header, so that it may change freely.
"""
import os
import re
import sys
import tempfile

import layout
import library
import manual
from header import Header, HeaderError
from run import CC, Report, have, run


class Spoiled:
    """A header after an edit, in a folder of its own."""

    def __init__(self, text, folder, name):
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder, exist_ok=True)
        self.path = os.path.join(self.folder, "moviegen.h")
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(text)

    def header(self):
        return Header(self.path)


def once(text, old, new):
    if old not in text:
        raise RuntimeError(f"mutations.py: not in the header: {old}")
    return text.replace(old, new, 1)


def struct_text(text, name):
    return re.search(rf"typedef struct {name} \{{.*?^\}} {name};", text, re.S | re.M).group(0)


def in_struct(text, name, edit):
    body = struct_text(text, name)
    changed = edit(body)
    if changed == body:
        raise RuntimeError(f"mutations.py: nothing was edited in {name}")
    return text.replace(body, changed, 1)


def append_field(text, name, field, init=""):
    """A field at the end of a struct, and in its INIT macro."""
    text = in_struct(text, name, lambda body: once(body, f"}} {name};", f"    {field} /**< new */\n}} {name};"))
    return re.sub(rf"(#define {name.upper()}_INIT\b.*)\}}", rf"\1{init}}}", text) if init else text


def first_field(name, old, new):
    """Replace in the second declaration of a struct, the first after struct_size."""
    def edit(body):
        head, rest = body.split(";", 1)
        return head + ";" + re.sub(old, new, rest, count=1)
    return lambda text: in_struct(text, name, edit)


def layout_mutations(header):
    """(what, edit, whether the layout may become so)"""
    struct = next(s for s in header.structs if s.grows() and s.init_macro() in header.inits
                  and s.fields[1].type() == "uint32_t" and s.fields[2].type() != "uint32_t")
    pair = next(s for s in header.structs if s.grows() and s.fields[2].type() == "uint32_t")
    fixed = next(s for s in header.structs if not s.grows())
    number = next(name for name in header.statuses() if name != "MGEN_OK")
    second, name = struct.fields[1].name, struct.name
    spare = next(s.name for s in header.structs if s.grows() and any(f.name == "reserved0" for f in s.fields))
    yield "a reserved field taken up", lambda t: in_struct(
        t, spare, lambda body: once(body, "uint32_t reserved0;", "float added;")), True
    yield "a reserved field taken up by a larger one", lambda t: in_struct(
        t, spare, lambda body: once(body, "uint32_t reserved0;", "double added;")), False
    yield "a field appended", lambda t: append_field(t, name, "uint64_t added;", ", 0"), True
    yield "a constant added", lambda t: once(t, f"#define {number} ", f"#define MGEN_ADDED 7\n#define {number} "), True
    yield "a field inserted", first_field(name, r"\n", "\n    uint64_t added; /**< new */\n"), False
    yield "two fields exchanged", lambda t: in_struct(t, pair.name, lambda body: exchange(body, pair)), False
    yield "a field renamed", first_field(name, rf"\b{second}\b", "renamed"), False
    yield "a field's type changed", first_field(name, r"uint32_t", "int32_t"), False
    yield "a field removed", first_field(name, r"\w+ \w+;", ""), False
    yield "a fixed struct grown", lambda t: append_field(t, fixed.name, "uint64_t added;"), False
    yield "a constant changed", lambda t: re.sub(rf"(#define {number}\s+)\S+", r"\1(-9)", t, count=1), False
    yield "a constant removed", lambda t: re.sub(rf"#define {number}\b.*\n", "", t, count=1), False


def rule_mutations(header):
    """(what, edit, check that must object)"""
    struct = next(s for s in header.structs if s.grows() and s.init_macro() in header.inits
                  and s.fields[1].type() == "uint32_t" and s.fields[2].type() != "uint32_t")
    function = next(f for f in header.functions if f.result == "mgen_status" and "Ownership:" in f.comment
                    and "\n" in f.comment)
    name, init = struct.name, struct.init_macro()
    for kind in ("bool", "long", "int", "size_t", "FILE *", "va_list", "enum mgen_kind", "time_t"):
        yield f"a field of type {kind}", first_field(name, r"\buint32_t ", kind + " "), layout.check_types
    yield "a bit-field", first_field(name, r"(uint32_t \w+);", r"\1 : 3;"), layout.check_types
    yield "a growing struct by value", lambda t: append_field(t, header.structs[-1].name, f"{name} inside;"), \
        layout.check_types
    yield "a bool parameter", lambda t: re.sub(rf"(\b{function.name}\()", r"\1bool on, ", t), layout.check_types
    yield "struct_size not first", lambda t: in_struct(
        t, name, lambda body: body.replace("{", "{\n    uint32_t before; /**< new */", 1)), layout.check_struct_size
    yield "no INIT macro", lambda t: re.sub(rf"#define {init}\b.*\n", "", t), layout.check_struct_size
    yield "an INIT macro of nothing", lambda t: t.replace("/* clang-format on */", "#define MGEN_X_INIT {0}\n"), \
        layout.check_struct_size
    yield "padding without a name", lambda t: append_field(t, name, "uint8_t added;", ", 0"), probed_padding
    yield "an INIT macro that forgets a field", lambda t: append_field(t, name, "uint64_t added;"), inits("c11")
    yield "an INIT macro that sets a field", lambda t: re.sub(rf"(#define {init} .*?, )0", r"\g<1>1", t), inits("c++17")
    yield "a comment lost", lambda t: re.sub(rf"/\*\*(?:(?!\*/).)*\*/\s*(MGEN_API mgen_status {function.name}\()", r"\1", t,
                                             flags=re.S), manual.check_functions
    for word, new in (("Since", "From"), ("Ownership", "Owner"), ("@return", "@gives"),
                      ("MGEN_E_", "MGEN_E_X_")):
        yield f"{new} for {word} in a comment", comment_edit(function, word, new), manual.check_functions
    yield "a field without a comment", first_field(name, r"/\*\*<.*?\*/", ""), manual.check_structs
    yield "an example that does not compile", lambda t: once(t, " * @code\n", " * @code\n *     no such thing;\n"), examples
    yield "no example", lambda t: t.replace("@code", "code"), examples
    yield "a header that needs another", lambda t: once(t, "#include <stdint.h>\n", ""), alone
    yield "a header that warns", lambda t: once(t, "#include <stdint.h>\n", "#include <stdint.h>\n#if MGEN_NONE\n#endif\n"), \
        alone


def comment_edit(function, old, new):
    def edit(text):
        end = re.search(rf"^MGEN_API mgen_status {function.name}\(", text, re.M).start()
        start = text.rindex("/**", 0, end)
        return text[:start] + text[start:end].replace(old, new) + text[end:]
    return edit


def probed_padding(header):
    return layout.check_padding(layout.probe(header, os.path.dirname(header.path)))


def inits(standard):
    compiler = "g++" if standard.startswith("c++") else CC
    return lambda header: layout.check_inits(header, os.path.dirname(header.path), compiler, standard)


def examples(header):
    folder = os.path.dirname(header.path)
    with open(os.path.join(folder, "README.md"), "w", encoding="utf-8") as f:
        f.write("```c\nint main(void)\n{\n    return 0;\n}\n```\n")
    return manual.check_examples(header, folder)


def alone(header):
    return [line for name, problems in manual.header_alone(header) if "-std=c11" in name for line in problems or []]


# -- the library's side, on libraries without contents ------------------------------------------------

def stub(header, folder, more=""):
    """A library of the header's functions, which do nothing, and of more."""
    path = os.path.join(folder, "libstub.so")
    bodies = "".join(f"{function.signature()}\n{{\n{unused(function)}{answer(function)}}}\n" for function in header.functions)
    done = run([CC, "-g", "-O0", "-shared", "-fPIC", "-I", folder, "-x", "c", "-", "-o", path],
               input='#include "moviegen.h"\n' + bodies + more)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return path


def unused(function):
    return "".join(f"    (void){name};\n" for _, name in function.parameters)


def answer(function):
    return "" if function.result == "void" else "    return 0;\n"


def append_everywhere(header, text):
    for struct in header.structs:
        if struct.grows():
            text = append_field(text, struct.name, "uint64_t added;", ", 0")
    return text


def exchange(body, struct):
    first, second = struct.fields[1].name, struct.fields[2].name
    return re.sub(rf"\b({first}|{second})\b", lambda m: second if m.group(1) == first else first, body)


def abidiff_mutations(header):
    """(what, edit, whether abidiff may let it pass)"""
    struct = next(s for s in header.structs if s.grows() and s.fields[1].type() == "uint32_t")
    pair = next(s for s in header.structs if s.grows() and s.fields[2].type() == "uint32_t")
    last = header.functions[-1]
    declaration = re.search(rf"^MGEN_API [^;]*\b{last.name}\([^;]*;", header.text, re.M | re.S).group(0)
    yield "nothing", lambda t: t, True
    yield "a function added", lambda t: once(t, declaration, declaration + "\nMGEN_API void mgen_added(void);"), True
    yield "a field appended to each struct", lambda t: append_everywhere(header, t), True
    yield "two fields exchanged", lambda t: in_struct(t, pair.name, lambda body: exchange(body, pair)), False
    yield "a return type changed", lambda t: once(t, declaration, "MGEN_API double mgen_" + declaration.split("mgen_", 1)[1]), \
        False
    yield "a function removed", lambda t: once(t, declaration, ""), False
    yield "a parameter added", lambda t: once(t, f"{last.name}(", f"{last.name}(uint64_t added, "), False
    yield "a field's type changed", first_field(struct.name, r"uint32_t", "float"), False
    yield "a field removed", first_field(struct.name, r"\w+ \w+;", ""), False


def check_edits(report, header, folder):
    lines = layout.probe(header, folder)
    for number, (what, edit, legal) in enumerate(layout_mutations(header)):
        spoiled = Spoiled(edit(header.text), folder, f"layout{number}")
        problems = layout.check_grown(lines, layout.probe(spoiled.header(), spoiled.folder))
        report.result(f"layout, {what}: {'passes' if legal else 'is refused'}",
                      problems if legal else [] if problems else ["nobody objected"])
    for number, (what, edit, check) in enumerate(rule_mutations(header)):
        spoiled = Spoiled(edit(header.text), folder, f"rule{number}")
        before = Spoiled(header.text, folder, f"good{number}")
        try:
            problems = check(spoiled.header())
        except (HeaderError, RuntimeError) as error:
            problems = [str(error)]
        report.result(f"rules, {what}: is refused", check(before.header()) or ([] if problems else ["nobody objected"]))


def check_abidiff(report, header, folder):
    good = Spoiled(header.text, folder, "stub")
    recorded = os.path.join(folder, "stub.abi")
    problems = library.abidw(stub(good.header(), good.folder), good.folder, recorded)
    if problems:
        report.result("abidw", problems)
        return
    for number, (what, edit, legal) in enumerate(abidiff_mutations(header)):
        spoiled = Spoiled(edit(header.text), folder, f"stub{number}")
        problems = library.check_abidiff(recorded, stub(spoiled.header(), spoiled.folder), spoiled.folder, folder)
        report.result(f"abidiff, {what}: {'passes' if legal else 'is refused'}",
                      problems if legal else [] if problems else ["nobody objected"])


USES = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
__attribute__((used)) static size_t legal(const char *s) { return strlen(s); }
"""
CONTENTS = (
    ("", "nothing", ""),
    ("symbols", "one more", "void mgen_more(void) {}"),
    ("imports", "printing", '__attribute__((used)) static void f(void) { puts("x"); }'),
    ("imports", "one that is not listed", '__attribute__((used)) static int f(void) { return atoi("1"); }'),
    ("writable data", "a static", "__attribute__((used)) static int state = 1;"),
    ("writable data", "one of each thread", "__attribute__((used)) static _Thread_local int state;"),
)


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def export_map(functions):
    return "X { global: " + " ".join(f"{function.name};" for function in functions) + " local: *; };"


def check_contents(report, header, folder):
    """Symbols, imports and writable data, of libraries that have too much or too little."""
    good = Spoiled(header.text, folder, "contents")
    map_path = write(os.path.join(good.folder, "moviegen.map"), export_map(header.functions))
    imports = write(os.path.join(good.folder, "imports.txt"), "strlen\n")
    data = write(os.path.join(good.folder, "writable.txt"), "__dso_handle x\n__TMC_END__ x\ncompleted x\n")
    checks = {"symbols": lambda built: library.check_symbols(header, map_path, built),
              "imports": lambda built: library.check_imports(built, imports),
              "writable data": lambda built: library.check_writable(built, data)}
    for spoiled, what, more in CONTENTS:
        built = stub(header, good.folder, USES + more)
        for name, check in checks.items():
            problems = check(built)
            if name == spoiled:
                report.result(f"{name}, {what}: is refused", [] if problems else ["nobody objected"])
            elif not spoiled:
                report.result(f"{name}, {what}: passes", problems)
    write(map_path, export_map(header.functions[1:]))
    report.result("symbols, one not in the map: is refused",
                  [] if checks["symbols"](stub(header, good.folder, USES)) else ["nobody objected"])


def main():
    header = Header(os.path.abspath(sys.argv[1]))
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        check_edits(report, header, folder)
        check_contents(report, header, folder)
        if have("abidiff"):
            check_abidiff(report, header, folder)
        else:
            report.skip("abidiff", "abigail-tools is not installed")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
