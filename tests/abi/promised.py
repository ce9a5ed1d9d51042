# SPDX-License-Identifier: MIT
"""Write promised.h: promised.py moviegen.h promised.h

A table of the public functions with the statuses that the header allows each, for tests/api/test_random_calls.c.
"""
import os
import sys

from coverage import general
from header import Header

HEAD = """/* Written by tests/abi/promised.py. */
#ifndef MOVIEGEN_PROMISED_H
#define MOVIEGEN_PROMISED_H
#include "moviegen.h"

typedef struct promise {
    const char *name;
    int32_t statuses;          /* how many it may return; 0: it returns none */
    mgen_status status[24];
} promise;

static const promise promises[] = {
"""


def row(header, function):
    if function.result != "mgen_status":
        return f'    {{"{function.name}", 0, {{0}}}},\n'
    named = header.documented_statuses(function)
    allowed = [status for status in header.statuses() if status in named or
               (status != "MGEN_E_INTERNAL" and general(header, function, status))]
    return f'    {{"{function.name}", {len(allowed)}, {{{", ".join(allowed)}}}}},\n'


def main():
    header = Header(sys.argv[1])
    text = HEAD + "".join(row(header, function) for function in header.functions)
    with open(sys.argv[2] + ".part", "w", encoding="utf-8") as f:
        f.write(text + "};\n\nenum { PROMISES = sizeof promises / sizeof *promises };\n#endif\n")
    os.rename(sys.argv[2] + ".part", sys.argv[2])


if __name__ == "__main__":
    main()
