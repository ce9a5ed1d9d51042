# SPDX-License-Identifier: MIT
"""What stands in the public header: constants, structs with their fields, functions, and their comments.

The header is regular C (`typedef struct X { ... } X;`, one declaration a statement), and what this cannot
read is an error, not a gap.
"""
import re

COMMENT = re.compile(r"/\*.*?\*/", re.S)
IDENTIFIER = r"[A-Za-z_]\w*"


class HeaderError(Exception):
    pass


class Field:
    def __init__(self, name, base, pointer, array, comment, function=None):
        self.name, self.base, self.pointer, self.array = name, base, pointer, array
        self.comment = comment          # text, '' if there is none
        self.function = function        # (result, [parameter]) of a pointer to a function

    def type(self):
        if self.function:
            return f"{self.function[0]} (*)({', '.join(self.function[1])})"
        return self.base + (" " + self.pointer if self.pointer else "") + self.array


class Struct:
    def __init__(self, name, comment, fields):
        self.name, self.comment, self.fields = name, comment, fields

    def init_macro(self):
        return self.name.upper() + "_INIT"

    def grows(self):
        return any(field.name == "struct_size" for field in self.fields)

    def made_by_library(self):
        return self.grows() and "set by the library" in self.fields[0].comment


class Function:
    def __init__(self, name, result, parameters, comment):
        self.name, self.result = name, result
        self.parameters = parameters    # [(type, name)]
        self.comment = comment

    def signature(self):
        return f"{self.result} {self.name}({', '.join(declare(t, n) for t, n in self.parameters) or 'void'})"


def declare(kind, name):
    """`float *` and `x` -> `float *x`; `const mgen_text *const [3]` and `text` -> `... text[3]`."""
    match = re.fullmatch(r"(.*?)(\[.*\])", kind)
    kind, array = match.groups() if match else (kind, "")
    return kind.strip() + ("" if kind.strip().endswith("*") else " ") + name + array


def words(text):
    return " ".join(text.split())


def plain(comment):
    """The text of a comment without its stars."""
    text = re.sub(r"^/\*+<?|\*/$", "", comment.strip())
    return "\n".join(re.sub(r"^\s*\* ?", "", line) if number else line.strip()
                     for number, line in enumerate(text.splitlines())).strip()


def split_top(text, separator):
    """Split outside of parentheses, brackets and braces."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == separator and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return parts + [text[start:]]


def read_type(text):
    """`const char *` -> spaces as they should be."""
    text = words(text)
    text = re.sub(r"\s*\*\s*", " *", text)
    text = re.sub(r"\*\s+\*", "**", text)
    return re.sub(r"\*(const|volatile)\b", r"*\1", text).strip()


def read_parameter(text):
    """-> (type, name) of `const mgen_text *const text[3]`."""
    text = words(text)
    match = re.fullmatch(r"(.*?)\b(" + IDENTIFIER + r")\s*((?:\[[^\]]*\])*)", text)
    if not match or not match.group(1).strip():
        raise HeaderError(f"a parameter that cannot be read: {text}")
    return read_type(match.group(1)) + match.group(3), match.group(2)


def read_parameters(text):
    return [] if words(text) in ("", "void") else [read_parameter(part) for part in split_top(text, ",")]


def read_fields(declaration, comment):
    """The fields of one declaration without its semicolon."""
    text = words(declaration)
    if ":" in text:
        raise HeaderError(f"a bit-field: {text}")
    match = re.fullmatch(r"(.+?)\(\s*\*\s*(" + IDENTIFIER + r")\s*\)\s*\((.*)\)", text)
    if match:
        kinds = [declared[0] for declared in read_parameters(match.group(3))]
        return [Field(match.group(2), "", "", "", comment, (read_type(match.group(1)), kinds))]
    declarators = split_top(text, ",")
    match = re.fullmatch(r"((?:const\s+)?(?:struct\s+|enum\s+|unsigned\s+|signed\s+|long\s+|short\s+)*"
                         + IDENTIFIER + r")\s*(\W.*)", declarators[0])
    if not match:
        raise HeaderError(f"a field that cannot be read: {text}")
    base, declarators[0] = match.group(1), match.group(2)
    fields = []
    for declarator in declarators:
        match = re.fullmatch(r"\s*([\s*]*(?:\*\s*const\s*)?)\b(" + IDENTIFIER + r")\s*((?:\[[^\]]*\])*)\s*", declarator)
        if not match:
            raise HeaderError(f"a field that cannot be read: {text}")
        fields.append(Field(match.group(2), base, re.sub(r"\s", "", match.group(1)), match.group(3), comment))
    return fields


def read_body(body):
    """The fields of a struct, from what stands between its braces."""
    fields, before = [], ""
    tokens = re.split(r"(/\*.*?\*/)", body, flags=re.S)
    pending, latest = "", []
    for token in tokens:
        if token.startswith("/*"):
            if token.startswith("/**<"):
                for field in latest:
                    field.comment = field.comment or plain(token)
            elif token.startswith("/**"):
                before = plain(token)
            continue
        pieces = (pending + token).split(";")
        pending = pieces.pop()
        for piece in pieces:
            latest = read_fields(piece, before)
            fields += latest
            before = ""
        pending = pending if pending.strip() else ""
    if pending:
        raise HeaderError(f"a field without end: {words(pending)}")
    return fields


class Header:
    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.text = f.read()
        self.path = path
        self.joined = self.text.replace("\\\n", "")
        self.version = tuple(int(self.define(f"MGEN_VERSION_{part}")) for part in ("MAJOR", "MINOR", "PATCH"))
        self.constants = self.read_constants()
        self.inits = set(re.findall(r"^#define (MGEN_\w+_INIT)\b", self.joined, re.M))
        self.opaque = re.findall(r"typedef struct (\w+) \1;", COMMENT.sub(" ", self.text))
        self.structs = self.read_structs()
        self.functions = self.read_functions()
        counted = len(re.findall(r"^MGEN_API\b", self.text, re.M))
        if counted != len(self.functions):
            raise HeaderError(f"{counted} lines begin with MGEN_API, but {len(self.functions)} functions were read")
        counted = len(re.findall(r"^typedef struct \w+ \{", self.text, re.M))
        if counted != len(self.structs) or "struct {" in self.text or re.search(r"\b(enum|union)\b", self.bare()):
            raise HeaderError("a struct, union or enum is not written `typedef struct X { ... } X;`")

    def bare(self):
        return COMMENT.sub(" ", self.text)

    def define(self, name):
        match = re.search(rf"^#define {name}\s+(\S+)", self.text, re.M)
        if not match:
            raise HeaderError(f"{name} is missing")
        return match.group(1)

    def read_constants(self):
        """[name] of every macro with a number or a string."""
        found = []
        for name, value in re.findall(r"^#define (MGEN_\w+)[ \t]+(.+)$", COMMENT.sub("", self.joined), re.M):
            if re.match(r"\(?\s*[-+~\d\"]", value) or re.match(r"\(?\s*(U?INT\d+_|MGEN_)\w+", value):
                found.append(name)
            elif not value.lstrip().startswith(("{", "__attribute__")):
                raise HeaderError(f"{name} is neither a number nor a known kind of macro: {value}")
        return found

    def read_structs(self):
        pattern = re.compile(r"(?:(/\*\*(?:(?!\*/).)*\*/)\s*)?^typedef struct (\w+) \{(.*?)^\} (\w+);", re.S | re.M)
        structs = []
        for match in pattern.finditer(self.text):
            comment, name, body, again = match.groups()
            if name != again:
                raise HeaderError(f"struct {name} is called {again}")
            structs.append(Struct(name, plain(comment or ""), read_body(body)))
        return structs

    def read_functions(self):
        pattern = re.compile(r"(?:(/\*\*(?!<)(?:(?!\*/).)*\*/)\s*\n)?^MGEN_API\s+([^;(]*?)\b(\w+)\(([^;]*)\);", re.S | re.M)
        functions, end = [], None
        for match in pattern.finditer(self.text):
            comment, result, name, parameters = match.groups()
            # Of the comment above is what follows at once and does the same to another kind: mgen_tae_open, mgen_editor_open.
            follows = (end is not None and self.text[end:match.start()] == "\n"
                       and functions[-1].name.split("_")[-1] == name.split("_")[-1])
            comment = functions[-1].comment if not comment and follows else plain(comment or "")
            functions.append(Function(name, read_type(result), read_parameters(parameters), comment))
            end = match.end()
        return functions

    def function(self, name):
        return next((f for f in self.functions if f.name == name), None)

    def statuses(self):
        return [name for name in self.constants if name == "MGEN_OK" or name.startswith("MGEN_E_")]

    def documented_statuses(self, function, seen=()):
        """The statuses that a function's comment names, its own and those of the function it refers to."""
        named = set(re.findall(r"\bMGEN_(?:OK|E_\w+)\b", function.comment))
        for other in re.findall(r"\bas (mgen_\w+)\(\)", function.comment, re.I):
            target = self.function(other)
            if not target:
                raise HeaderError(f"{function.name} is documented by {other}, which is not there")
            if other not in seen:
                named |= self.documented_statuses(target, (*seen, function.name))
        return named

    def examples(self):
        """The text between each @code and @endcode."""
        blocks = re.findall(r"^ \* @code\n(.*?)^ \* @endcode", self.text, re.S | re.M)
        return ["\n".join(re.sub(r"^ \* ?", "", line) for line in block.splitlines()) + "\n" for block in blocks]
