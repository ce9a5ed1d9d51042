/* SPDX-License-Identifier: MIT
 * What processes of a test said: each rank a line, "rank N: ...". */
#ifndef RANK_OUTPUT_H
#define RANK_OUTPUT_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char output[65536];

/* All that is said into a pipe, until its last writer is gone. */
static void hear_all(int from)
{
    size_t used = 0;
    for (ssize_t n; (n = read(from, output + used, sizeof output - 1 - used)) > 0;)
        used += (size_t)n;
    output[used] = 0;
    close(from);
}

/* What rank `rank` said. */
static const char *said(int rank)
{
    static char line[2048];
    char begin[32];
    snprintf(begin, sizeof begin, "rank %d: ", rank);
    const char *at = strstr(output, begin), *end = at ? strchr(at, '\n') : NULL;
    if (!at || !end)
        fail_msg("rank %d said nothing: %s", rank, output);
    snprintf(line, sizeof line, "%.*s", (int)(end - at), at);
    return line;
}

static void assert_said(int rank, const char *part)
{
    const char *line = said(rank);
    if (!strstr(line, part))
        fail_msg("'%s' does not say '%s'", line, part);
}

#endif
