# SPDX-License-Identifier: MIT
"""The rules of ARCHITECTURE.md, checked on the sources and on the built library.

    check.py SOURCE_ROOT [--library libmoviegen.so]        prints TAP

The table of folders in ARCHITECTURE.md is read, not repeated here: tiers, and which folder may open
files, come from there.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import Report  # noqa: E402

LINES_MAX = 800
NEEDED = re.compile(r"(libc\.so\.6|libm\.so\.6|libz\.so\.1|ld-linux.*)$")
OPENING = re.compile(r"\b(open|openat|fopen|fdopen|freopen|creat|mkstemp|mkostemp|opendir|tmpfile)\s*\(")
STARTING = re.compile(r"\b(pthread_create|thrd_create)\s*\(")
ENDING = re.compile(r"\b(abort|exit|_exit|_Exit|quick_exit|raise|kill|system)\s*\(")
PRINTING = re.compile(r"\b(printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|putc|fputc|perror|fwrite)\s*\(")
ASSERTING = re.compile(r"\b(assert)\s*\(")
VARIANTS = ("ref", "portable", "packed", "avx2", "avx512", "avx512bf16")
# Where sizes come from files, callers or other libraries.
OUTSIDE = ("lib/io/", "lib/media/", "lib/text/", "lib/api/", "lib/plugins/", "lib/data/")
# Multiplications there that cannot overflow: file, a piece of the line, why.
BOUNDED = (
    ("lib/io/json_read.c", "capacity * sizeof(mgi_json)", "capacity <= BLOCK_MAX"),
    ("lib/io/json_read.c", "2 * block->capacity", "less than BLOCK_MAX before"),
    ("lib/media/frames.c", "3 * (size_t)f->width, strip_row = row * (size_t)count",
     "a row of some of the frames that mgi_frames_check measured"),
    ("lib/media/png_read.c", "(size_t)film->info.width * (size_t)p->channels", "at most 65536 x 4"),
    ("lib/media/wav.c", "w->bits / 8, block = each * w->channels", "at most 8 bytes x 8 channels"),
    ("lib/media/wav.c", "(uint32_t)(2 * values)", "compared with 4 GiB before"),
    ("lib/media/y4m_read.c", "(size_t)(row >> y->shift_y) * y->row", "a place in a plane that was measured"),
    ("lib/plugins/ffmpeg.c", "3 * (size_t)f->width", "a row of frames that the caller holds"),
)
ALLOCATING = re.compile(r"\b(?:mgi_alloc\w*|mgi_realloc|malloc|calloc|realloc|aligned_alloc)\s*\(")
SIZED = re.compile(r"\b(?:size_t|uint64_t|uint32_t)\s+\w+\s*=([^;{]*);")
NOT_PRODUCT = re.compile(r"sizeof\s*\(?\s*\*|\(\s*(?:const\s+)?\w+\s*\*+\s*\)")
PRODUCT = re.compile(r"[\w\])]\s*\*\s*[\w(]")


class Row:
    def __init__(self, tier, folder, also):
        self.tier, self.folder, self.also = tier, folder, also


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


def read_table(root):
    """Rows such as  | 1 | `lib/io` | what it holds | opens files |  ('-' = no tier)."""
    rows = []
    for line in read(root, "ARCHITECTURE.md").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(r"\d+|-", cells[0]) and re.fullmatch(r"`[^`]+`", cells[1]):
            tier = None if cells[0] == "-" else int(cells[0])
            rows.append(Row(tier, cells[1].strip("`").rstrip("/"), cells[3]))
    return rows


def row_of(rows, path):
    """The row with the longest folder that holds path."""
    found = None
    for row in rows:
        if path.startswith(row.folder + "/") and (not found or len(row.folder) > len(found.folder)):
            found = row
    return found


def list_files(root):
    """Files of the project, as git sees them; build folders and ignored files are left out."""
    command = ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"]
    git = subprocess.run(command, capture_output=True, check=False) if shutil.which("git") else None
    if git and git.returncode == 0:
        names = git.stdout.decode().split("\0")
        return sorted(name for name in names if name and os.path.isfile(os.path.join(root, name)))
    names = []
    for folder, folders, files in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith("build") and f not in (".git", "__pycache__", "out")]
        names += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    return sorted(names)


def strip_code(text):
    """C without comments and without the contents of strings; lines are kept."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        found = match.group(0)
        if found[0] in "\"'":
            return found[0] + found[0]
        return "\n" * found.count("\n") or " "
    return pattern.sub(blank, text)


def numbered(text, pattern):
    return [(number, match.group(1)) for number, line in enumerate(text.splitlines(), 1)
            for match in pattern.finditer(line)]


def check_folders(rows, root, files):
    problems = [f"ARCHITECTURE.md names {row.folder}, which is no folder" for row in rows
                if not os.path.isdir(os.path.join(root, row.folder))]
    # A row for a folder covers what is below it, but lib and tests list each of theirs.
    listed = {row.folder for row in rows}
    wanted = set()
    for path in files:
        parts = path.split("/")[:-1]
        if parts:
            wanted.add("/".join(parts[:2]) if parts[0] in ("lib", "tests", "examples") and len(parts) > 1 else parts[0])
    wanted -= {"lib"}
    problems += [f"{folder} has no row in ARCHITECTURE.md" for folder in sorted(wanted - listed)]
    return problems


def resolve(root, path, name):
    for base in (os.path.dirname(path), "include", "lib", ""):
        candidate = os.path.normpath(os.path.join(base, name))
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return None


def check_includes(rows, root, sources):
    problems = []
    for path in sources:
        row = row_of(rows, path)
        if not row or row.tier is None:
            continue
        for number, line in enumerate(read(root, path).splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            target = match and resolve(root, path, match.group(1))
            if not target:
                continue
            other = row_of(rows, target)
            if not other or other.tier is None:
                problems.append(f"{path}:{number}: {target} belongs to no tier")
            elif other.tier > row.tier:
                problems.append(f"{path}:{number}: tier {row.tier} includes {target} of tier {other.tier}")
            elif path.startswith("examples/") and not target.startswith(("examples/", "include/")):
                problems.append(f"{path}:{number}: examples use the public header only, not {target}")
    return problems


def check_length(root, files):
    problems = []
    for path in files:
        if path.endswith((".c", ".h", ".cu", ".py", ".sh", ".def")) or path.endswith("meson.build"):
            lines = read(root, path).count("\n")
            if lines > LINES_MAX:
                problems.append(f"{path} has {lines} lines, more than {LINES_MAX}")
    return problems


def check_manners(root, sources):
    """No ending of the process, no printing, no assert in the library."""
    problems = []
    for path in sources:
        if not path.startswith(("lib/", "kernels/")):
            continue
        text = strip_code(read(root, path))
        for pattern, why in ((ENDING, "ends or signals the process"), (PRINTING, "prints"),
                             (ASSERTING, "asserts; return an error, or use _Static_assert")):
            problems += [f"{path}:{number}: {name}() {why}" for number, name in numbered(text, pattern)]
    return problems


def check_opening(rows, root, sources):
    problems = []
    for path in sources:
        row = row_of(rows, path)
        if not path.startswith(("lib/", "kernels/")) or path == "lib/io/path.c" or (row and "opens files" in row.also):
            continue
        text = strip_code(read(root, path))
        problems += [f"{path}:{number}: {name}(): only lib/io/path.c opens files"
                     for number, name in numbered(text, OPENING)]
    return problems


def check_threads(root, sources):
    """By themselves threads have what stack the C library gives, and take signals of the host."""
    return [f"{path}:{number}: {name}(): only lib/core/thread.c starts threads: mgi_thread_start()"
            for path in sources if path.startswith(("lib/", "kernels/")) and path != "lib/core/thread.c"
            for number, name in numbered(strip_code(read(root, path)), STARTING)]


def check_mapping(root, sources):
    """A mapped file that others shorten, or whose disk fails, ends the process."""
    problems = []
    for path in sources:
        if not path.startswith(("lib/", "kernels/")):
            continue
        text = strip_code(read(root, path))
        for call in re.finditer(r"\bmmap\s*\(([^;]*);", text):
            if "MAP_ANONYMOUS" not in call.group(1):
                problems.append(f"{path}:{text.count(chr(10), 0, call.start()) + 1}: mmap() of a file: read it (io/read.h)")
    return problems


def read_ops(root):
    """{op: folder} and {(op, variant)} of kernels/ops.def, expanded by the C preprocessor."""
    program = ('#define MGK_OP(a, b) @op a b;\n#define MGK_VARIANT(a, b, c) @variant a b;\n'
               '#include "kernels/ops.def"\n')
    run = subprocess.run([os.environ.get("CC", "cc"), "-E", "-P", "-x", "c", "-I", root, "-"], input=program,
                         capture_output=True, text=True, check=True)
    ops = dict(re.findall(r"@op (\w+) (\w+);", run.stdout))
    return ops, set(re.findall(r"@variant (\w+) (\w+);", run.stdout))


def check_kernels(root, sources):
    ops, variants = read_ops(root)
    listed = {f"mgk_{op}_{variant}" for op, variant in variants}
    by_folder = {(ops[op], variant) for op, variant in variants}
    problems = [] if len(ops) > 10 else ["ops.def could not be read"]
    launcher = re.compile(r"void\s+(mgk_\w+)\s*\(\s*const void \*\s*\w+,\s*mgk_exec \*\s*\w+\s*\)\s*\{")
    for path in sources:
        parts = path.split("/")
        if parts[0] != "kernels" or len(parts) != 3 or parts[1] == "common":
            continue
        match = re.fullmatch(r"\w+_(" + "|".join(VARIANTS) + r")\.c", parts[2])
        if match and (parts[1], match.group(1)) not in by_folder:
            problems.append(f"{path}: no op of folder {parts[1]} lists the variant {match.group(1)} in ops.def")
        for name in launcher.findall(strip_code(read(root, path))):
            if name not in listed:
                problems.append(f"{path}: {name} is not listed in ops.def")
    for folder in sorted(set(ops.values())):
        if not os.path.isfile(os.path.join(root, "kernels", folder, f"{folder}_cases.c")):
            problems.append(f"kernels/{folder} has no {folder}_cases.c")
    return problems


def launchers_in(library):
    """What of the built library is named like a launcher, whatever macro made it; None if it is stripped."""
    run = subprocess.run(["nm", library], capture_output=True, text=True, check=False)
    functions = set(re.findall(r" [tT] (mgk_\w+)$", run.stdout, re.M))
    pattern = re.compile(r"mgk_\w+_(" + "|".join(VARIANTS) + r")$")
    return {name for name in functions if pattern.match(name)} if functions else None


def check_launchers(root, library):
    listed = {f"mgk_{op}_{variant}" for op, variant in read_ops(root)[1]}
    return [f"{name} is in the library but not listed in ops.def" for name in sorted(launchers_in(library) - listed)]


def call_arguments(text, start):
    """From behind an opening parenthesis to the one that closes it."""
    depth, end = 1, start
    while depth and end < len(text):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
    return text[start:end - 1]


def check_products(root, sources):
    """No plain * in what is allocated, nor where a size is made of others: core/checked.h multiplies."""
    problems = []
    used = set()
    for path in sources:
        if not path.startswith(OUTSIDE):
            continue
        text = strip_code(read(root, path))
        found = [(m.start(), call_arguments(text, m.end())) for m in ALLOCATING.finditer(text)]
        found += [(m.start(), m.group(1)) for m in SIZED.finditer(text)]
        for start, piece in sorted(found):
            piece = " ".join(piece.split())
            excuses = {entry for entry in BOUNDED if entry[0] == path and entry[1] in piece}
            used |= excuses
            for entry in excuses:
                piece = piece.replace(entry[1], "")
            if PRODUCT.search(NOT_PRODUCT.sub("", piece)):
                line = text.count("\n", 0, start) + 1
                problems.append(f"{path}:{line}: a size is multiplied outside of core/checked.h: {piece}")
    return problems + [f"check.py: {entry[0]}: '{entry[1]}' is excused but not found"
                       for entry in BOUNDED if entry not in used]


def check_licence(root, sources):
    return [f"{path} does not begin with its SPDX line" for path in sources
            if "SPDX-License-Identifier: MIT" not in read(root, path)[:120]]


def anchors_of(page):
    """What #... may say of a page: its headings, as GitHub names them."""
    found, names, shown = {}, set(), False
    for line in page.splitlines():
        shown ^= line.startswith("```")
        heading = re.match(r"#+ +(.*)", line)
        if heading and not shown:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1)).strip().lower()
            name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            names.add(f"{name}-{found[name]}" if name in found else name)
            found[name] = found.get(name, 0) + 1
    return names


def check_links(root, files):
    """Links of pages, pages that messages and comments name, and files that pages name, are there."""
    problems, anchors, links = [], {}, 0
    for path in files:
        is_page = path.endswith(".md")
        if not is_page and not path.endswith((".c", ".h", ".py", ".rs", ".sh", ".json")):
            continue
        text, here = read(root, path), os.path.dirname(path)
        to = [(here, link) for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:", link)] if is_page else []
        to += [("", link.rstrip(".")) for link in re.findall(r"(?<![\w/.])docs/\w+\.md(?:#[\w-]+)?", text)]
        for base, link in to:
            name, _, anchor = link.partition("#")
            page = os.path.normpath(os.path.join(base, name)) if name else path
            if not os.path.exists(os.path.join(root, page)):
                problems.append(f"{path} links to {link}, which is not there")
            elif anchor and page not in anchors:
                anchors[page] = anchors_of(read(root, page))
            if anchor and anchor not in anchors.get(page, {anchor}):
                problems.append(f"{path} links to {link}: {page} has no such heading")
        links += len(to)
        for name in re.findall(r"`((?:lib|docs|tests|examples|kernels|scripts|bindings|include)/[\w./*-]+)`", text) if is_page else []:
            if not any(glob.glob(os.path.join(root, name + more)) for more in ("", ".c")):  # or a program's name
                problems.append(f"{path} names {name}, which is not there")
    return problems if links > 100 else problems + ["too few links were found"]


def check_program(root, files):
    """README.md shows each command of the program, docs/program.md each variable of the environment."""
    shown, told = read(root, "README.md"), read(root, "docs/program.md")
    commands = re.findall(r"&command_(\w+)", read(root, "examples/cli/main.c"))
    variables = {name for path in files if path.startswith(("examples/cli/", "bindings/python/moviegen/", "bindings/rust/moviegen-sys/"))
                 and path.endswith((".c", ".py", ".rs")) for name in re.findall(r'"(MOVIEGEN_[A-Z_]+)"', read(root, path))}
    problems = [f"README.md does not show moviegen {name}" for name in commands if f"    moviegen {name} " not in shown + " "
                and f"    moviegen {name}\n" not in shown]
    problems += [f"docs/program.md does not tell of {name}" for name in sorted(variables) if f"`{name}`" not in told]
    return problems if len(commands) > 10 and len(variables) > 5 else problems + ["too few commands and variables were found"]


def check_needed(library):
    run = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True)
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run.stdout)
    return [f"the library needs {name}" for name in needed if not NEEDED.match(name)]


def main():
    root = sys.argv[1]
    library = sys.argv[3] if len(sys.argv) > 3 and sys.argv[2] == "--library" else None
    report = Report()
    rows = read_table(root)
    files = list_files(root)
    sources = [path for path in files if path.endswith((".c", ".h", ".def"))]
    report.result("ARCHITECTURE.md has a table of tiers", [] if len(rows) > 10 else ["too few rows were found"])
    report.result("every folder has a row, every row a folder", check_folders(rows, root, files))
    report.result("includes go downward", check_includes(rows, root, sources))
    report.result(f"no file over {LINES_MAX} lines", check_length(root, files))
    report.result("the library does not exit, print or assert", check_manners(root, sources))
    report.result("only lib/io/path.c opens files", check_opening(rows, root, sources))
    report.result("only lib/core/thread.c starts threads", check_threads(root, sources))
    report.result("no file is mapped", check_mapping(root, sources))
    report.result("kernels and ops.def agree", check_kernels(root, sources))
    report.result("sizes from outside are multiplied in core/checked.h only", check_products(root, sources))
    report.result("every source names its licence", check_licence(root, sources))
    report.result("links of pages, and files and pages that are named, are there", check_links(root, files))
    report.result("pages tell of each command and variable of the program", check_program(root, files))
    checks = (("the library needs libc, libm and libz only", lambda: check_needed(library)),)
    if library and os.path.isfile(library) and launchers_in(library) is None:
        report.skip("every launcher in the library is listed in ops.def", "its symbols are stripped")
    else:
        checks += (("every launcher in the library is listed in ops.def", lambda: check_launchers(root, library)),)
    for name, check in checks:
        if library and os.path.isfile(library):
            report.result(name, check())
        else:
            report.skip(name, "no shared library was given")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
