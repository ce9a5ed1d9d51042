/* SPDX-License-Identifier: MIT
 * Errors in one line, JSON in one line, files in one piece. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In one piece: ranks may speak at the same time. */
void complain(const cli_command *command, const char *format, ...)
{
    char text[4096];
    va_list args;
    if (!session_begun() && !ranks_speaks())
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *c = text; *c; c++) /* one line, whatever is quoted */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    fprintf(stderr, "moviegen%s%s: %s\n", command ? " " : "", command ? command->name : "", text);
}

/* What goes wrong on one rank is told by all of them. The first one speaks, unless it is the one that is lost. */
static bool speaks(const cli_session *s, mgen_status status, const char *text)
{
    return s->rank == 0 || (status == MGEN_E_TIMEOUT && strstr(text, "rank(s) 0")) ||
           (status == MGEN_E_PEER_LOST && strstr(text, "rank 0 has left, its "));
}

const char *limit_note(mgen_status status)
{
    return status == MGEN_E_LIMIT && session_memory > 0 ? " (the limit is that of --memory)" : "";
}

int complain_library(const cli_session *s, mgen_status status)
{
    const char *text = mgen_last_error(s->ctx);
    text = *text ? text : mgen_status_name(status);
    if (s->mesh && mgen_mesh_size(s->mesh) > 1 && speaks(s, status, text))
        complain(s->command, "rank %d: %s%s", s->rank, text, limit_note(status));
    else if (speaks(s, status, text))
        complain(s->command, "%s%s", text, limit_note(status));
    return status == MGEN_E_CANCELLED ? STATUS_INTERRUPTED : STATUS_ERROR;
}

/* Bytes of the UTF-8 sequence at s, 0 if it is not one. */
static int utf8_length(const unsigned char *s)
{
    int len = s[0] < 0x80                   ? 1
              : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
              : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
              : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                            : 0;
    for (int i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

bool utf8_valid(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    for (int length; *s; s += length)
        if (!(length = utf8_length(s)))
            return false;
    return true;
}

void json_string(FILE *f, const char *text)
{
    fputc('"', f);
    for (const unsigned char *s = (const unsigned char *)text; *s;) {
        int len = utf8_length(s);
        if (len == 0) {
            fputs("\\ufffd", f);
            len = 1;
        } else if (*s == '"' || *s == '\\') {
            fprintf(f, "\\%c", *s);
        } else if (*s < 0x20 || *s == 0x7f) {
            fprintf(f, "\\u%04x", *s);
        } else {
            fwrite(s, 1, (size_t)len, f);
        }
        s += len;
    }
    fputc('"', f);
}

void json_number(FILE *f, double value)
{
    if (!isfinite(value)) {
        fputs("null", f);
        return;
    }
    if (value == floor(value) && fabs(value) <= 9007199254740992.0) { /* counts are whole */
        fprintf(f, "%.0f", value);
        return;
    }
    /* the shortest that reads back; most values were floats */
    bool is_float = (double)(float)value == value;
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (is_float ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    fputs(text, f);
}

void json_report(FILE *f, const mgen_report *report)
{
    for (uint32_t i = 0; i < mgen_report_count(report); i++) {
        fputc(',', f);
        json_string(f, mgen_report_name(report, i));
        fputc(':', f);
        json_number(f, mgen_report_value(report, i));
    }
}

double report_find(const mgen_report *report, const char *name)
{
    for (uint32_t i = 0; i < mgen_report_count(report); i++)
        if (!strcmp(mgen_report_name(report, i), name))
            return mgen_report_value(report, i);
    return NAN;
}

int file_write(const cli_command *command, const char *path, const char *text, size_t length)
{
    char temporary[4096 + 8];
    const int n = snprintf(temporary, sizeof temporary, "%s.part", path);
    if (n < 0 || (size_t)n >= sizeof temporary) {
        complain(command, "the path '%s' is too long", path);
        return STATUS_ERROR;
    }
    FILE *f = fopen(temporary, "w");
    bool fine = f && fwrite(text, 1, length, f) == length && !fflush(f) && !fsync(fileno(f));
    int problem = errno;
    if (f && fclose(f) && fine) {
        fine = false;
        problem = errno;
    }
    if (fine && rename(temporary, path)) {
        fine = false;
        problem = errno;
    }
    if (fine)
        return STATUS_DONE;
    unlink(temporary);
    complain(command, "cannot write '%s': %s", path, strerror(problem));
    return STATUS_ERROR;
}
