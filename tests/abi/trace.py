# SPDX-License-Identifier: MIT
"""Write traced.h: trace.py moviegen.h traced.h

Included before a test of the public interface, it puts a wrapper before each public function, which appends
`function status` (or `function -` for one that returns no status) to the file that MOVIEGEN_TRACE names, the
first time that a program sees the two together. coverage.py reads it.
"""
import os
import sys

from header import Header, declare

HEAD = """/* Written by tests/abi/trace.py. */
#ifndef MOVIEGEN_TRACED_H
#define MOVIEGEN_TRACED_H
#include "moviegen.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MGEN_TRACED_STATUSES = 256 };

/* What could not be written yet: some tests take away files and disk for a while. */
typedef struct mgen_traced_lines {
    atomic_flag busy;
    int size;
    char text[8192];
} mgen_traced_lines;

static inline int mgen_traced_append(const char *text, int size)
{
    const char *path = getenv("MOVIEGEN_TRACE");
    if (!path || !*path)
        return 1;
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    int written = file >= 0 && write(file, text, (size_t)size) == size;
    if (file >= 0)
        close(file);
    return written;
}

/* Lines go out in one write, so that programs side by side do not mix. */
static inline void mgen_traced_write(const char *line, int length)
{
    static mgen_traced_lines waiting = {ATOMIC_FLAG_INIT, 0, {0}};
    while (atomic_flag_test_and_set(&waiting.busy))
        ;
    if (waiting.size + length <= (int)sizeof waiting.text) {
        memcpy(waiting.text + waiting.size, line, (size_t)length);
        waiting.size += length;
    }
    if (mgen_traced_append(waiting.text, waiting.size))
        waiting.size = 0;
    atomic_flag_clear(&waiting.busy);
}

static inline void mgen_traced_note(atomic_bool *seen, const char *function, mgen_status status)
{
    char line[160];
    if (status <= 0 && -status < MGEN_TRACED_STATUSES && atomic_exchange(&seen[-status], 1))
        return;
    mgen_traced_write(line, snprintf(line, sizeof line, "%s %d\\n", function, (int)status));
}

static inline void mgen_traced_call(atomic_bool *seen, const char *function)
{
    char line[160];
    if (!atomic_exchange(seen, 1))
        mgen_traced_write(line, snprintf(line, sizeof line, "%s -\\n", function));
}
"""


def wrapper(function):
    parameters = ", ".join(declare(kind, name) for kind, name in function.parameters) or "void"
    call = f"{function.name}({', '.join(name for _, name in function.parameters)})"
    lines = [f"static inline {declare(function.result, 'mgen_traced_' + function.name)}({parameters})", "{"]
    if function.result == "mgen_status":
        lines += ["    static atomic_bool seen[MGEN_TRACED_STATUSES];", f"    mgen_status traced_status = {call};",
                  f'    mgen_traced_note(seen, "{function.name}", traced_status);', "    return traced_status;"]
    else:
        lines += ["    static atomic_bool seen;", f'    mgen_traced_call(&seen, "{function.name}");',
                  f"    {'' if function.result == 'void' else 'return '}{call};"]
    return "\n".join(lines + ["}", ""])


def main():
    header = Header(sys.argv[1])
    text = HEAD + "\n" + "\n".join(wrapper(function) for function in header.functions) + "\n"
    text += "".join(f"#define {function.name} mgen_traced_{function.name}\n" for function in header.functions)
    with open(sys.argv[2] + ".part", "w", encoding="utf-8") as f:
        f.write(text + "#endif\n")
    os.rename(sys.argv[2] + ".part", sys.argv[2])


if __name__ == "__main__":
    main()
