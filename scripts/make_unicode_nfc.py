# SPDX-License-Identifier: MIT
"""Write lib/text/unicode_pair_tables.h and unicode_single_tables.h: canonical decompositions, combining classes, from
Python's unicodedata.

    make_unicode_nfc.py pair | clang-format --style=file:.clang-format > lib/text/unicode_pair_tables.h
    make_unicode_nfc.py single | clang-format --style=file:.clang-format > lib/text/unicode_single_tables.h
"""
import sys
import unicodedata

LAST = 0x10FFFF


def table(kind, name, rows):
    print(f"static const {kind} {name}[] = {{")
    for row in rows:
        print("    {" + ", ".join(f"0x{n:X}" for n in row) + "},")
    print("};\n")


def main():
    pairs, singles, classes = [], [], []
    for c in range(LAST + 1):
        parts = unicodedata.decomposition(chr(c))
        if parts and not parts.startswith("<"):
            row = [c] + [int(part, 16) for part in parts.split()]
            (pairs if len(row) == 3 else singles).append(row)
        by = unicodedata.combining(chr(c))
        if by and classes and classes[-1][1:] == [c - 1, by]:
            classes[-1][1] = c
        elif by:
            classes.append([c, c, by])
    composed = [i for i, (c, a, b) in enumerate(pairs) if unicodedata.normalize("NFC", chr(a) + chr(b)) == chr(c)]
    composed.sort(key=lambda i: pairs[i][1:])
    which = sys.argv[1]
    guard = f"MGI_TEXT_UNICODE_{which.upper()}_TABLES_H"
    print(f"/* SPDX-License-Identifier: MIT\n * Unicode {unicodedata.unidata_version}; written by "
          "scripts/make_unicode_nfc.py, not by hand. For unicode_nfc.c only. Tier 5. */")
    print(f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n")
    if which == "pair":
        print("/* A character and what it consists of. */")
        print("typedef struct unicode_pair {\n    uint32_t whole, first, second;\n} unicode_pair;\n")
        table("unicode_pair", "pairs", pairs)
        print("/* Places in pairs of those that are composed again, by first and second. */")
        print("static const uint16_t composed[] = {\n" + ", ".join(map(str, composed)) + "};\n")
    else:
        print("/* A character that is another one. */")
        print("typedef struct unicode_single {\n    uint32_t whole, same;\n} unicode_single;\n")
        table("unicode_single", "singles", singles)
        print("typedef struct unicode_class {\n    uint32_t first, last, combining;\n} unicode_class;\n")
        table("unicode_class", "classes", classes)
    print("#endif")


if __name__ == "__main__":
    main()
