# SPDX-License-Identifier: MIT
"""Write lib/text/unicode_tables.h: classes of characters and lower case, from Python's unicodedata.

    make_unicode.py | clang-format --style=file:.clang-format > lib/text/unicode_tables.h
"""
import sys
import unicodedata

LAST = 0x10FFFF


def ranges(wanted):
    """[(first, last)] of the characters that are wanted."""
    out = []
    for c in range(LAST + 1):
        if wanted(chr(c)):
            if out and out[-1][1] == c - 1:
                out[-1][1] = c
            else:
                out.append([c, c])
    return out


def lower_runs():
    """[(first, last, step, distance to lower case)]; what has more than one character below is left out."""
    out = []
    for c in range(LAST + 1):
        low = chr(c).lower()
        if low == chr(c) or len(low) != 1:
            continue
        by = ord(low) - c
        if out and out[-1][3] == by and c - out[-1][1] in (1, 2) and out[-1][2] in (0, c - out[-1][1]):
            out[-1][2] = c - out[-1][1]
            out[-1][1] = c
        else:
            out.append([c, c, 0, by])
    return [(first, last, step or 1, by) for first, last, step, by in out]


def table(kind, name, rows):
    print(f"static const {kind} {name}[] = {{")
    for row in rows:
        print("    {" + ", ".join(f"0x{n:X}" if i < 2 else str(n) for i, n in enumerate(row)) + "},")
    print("};\n")


def main():
    def category(first):
        return ranges(lambda c: unicodedata.category(c)[0] == first)
    print(f"/* SPDX-License-Identifier: MIT\n * Unicode {unicodedata.unidata_version}; written by scripts/make_unicode.py, "
          "not by hand. For unicode.c only. Tier 5. */")
    print("#ifndef MGI_TEXT_UNICODE_TABLES_H\n#define MGI_TEXT_UNICODE_TABLES_H\n\n#include <stdint.h>\n")
    print("typedef struct unicode_range {\n    uint32_t first, last;\n} unicode_range;\n")
    print("/* Each `step`-th character of a range has its lower case `by` further. */")
    print("typedef struct unicode_lower {\n    uint32_t first, last;\n    int32_t step, by;\n} unicode_lower;\n")
    table("unicode_range", "letter_ranges", category("L"))
    table("unicode_range", "number_ranges", category("N"))
    table("unicode_lower", "lower_ranges", lower_runs())
    print("#endif")


if __name__ == "__main__":
    sys.exit(main())
