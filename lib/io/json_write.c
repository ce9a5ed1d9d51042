/* SPDX-License-Identifier: MIT
 * JSON writer: a growing text, the same in every locale. */
#include "io/json.h"
#include "io/path.h"

#include "core/alloc.h"
#include "core/checked.h"

#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_FIRST 256 /* bytes */

void mgi_json_writer_init(mgi_json_writer *w, mgen_context *ctx, int indent)
{
    *w = (mgi_json_writer){.ctx = ctx, .indent = indent, .status = MGEN_OK};
}

static void append(mgi_json_writer *w, const char *text, size_t size)
{
    if (w->status != MGEN_OK)
        return;
    size_t need;
    if (!mgi_size_add(w->size, size, &need) || !mgi_size_add(need, 1, &need)) {
        w->status = mgi_fail(w->ctx, MGEN_E_NO_MEMORY, "the JSON text is too long");
        return;
    }
    if (need > w->capacity) {
        size_t capacity = w->capacity ? w->capacity : CAPACITY_FIRST;
        while (capacity < need)
            if (!mgi_size_mul(capacity, 2, &capacity))
                capacity = need;
        w->status = mgi_realloc(w->ctx, &w->text, capacity, 1);
        if (w->status != MGEN_OK)
            return;
        w->capacity = capacity;
    }
    memcpy(w->text + w->size, text, size);
    w->size += size;
    w->text[w->size] = '\0';
}

static void append_text(mgi_json_writer *w, const char *text)
{
    append(w, text, strlen(text));
}

static void new_line(mgi_json_writer *w)
{
    if (w->indent <= 0)
        return;
    append(w, "\n", 1);
    for (int i = 0; i < w->depth * w->indent; i++)
        append(w, " ", 1);
}

static void append_quoted(mgi_json_writer *w, const char *text)
{
    append(w, "\"", 1);
    size_t left = strlen(text);
    while (left > 0 && w->status == MGEN_OK) {
        unsigned char c = (unsigned char)*text;
        size_t length = mgi_utf8_length(text, left);
        if (length == 0)
            w->status = mgi_fail(w->ctx, MGEN_E_INVALID,
                                 "cannot write a text to JSON that is not UTF-8: '%.40s'", text);
        else if (c == '"' || c == '\\') {
            char escape[2] = {'\\', (char)c};
            append(w, escape, 2);
        } else if (c < 0x20) {
            char escape[8];
            snprintf(escape, sizeof(escape), "\\u%04x", c);
            append(w, escape, 6);
        } else
            append(w, text, length);
        text += length;
        left -= length;
    }
    append(w, "\"", 1);
}

/* What stands before every value: comma, line, key. */
static void begin_value(mgi_json_writer *w, const char *key)
{
    if (w->comma)
        append(w, ",", 1);
    if (w->depth > 0) {
        if (w->comma && w->indent <= 0)
            append(w, " ", 1);
        new_line(w);
    }
    if (key) {
        append_quoted(w, key);
        append(w, ": ", 2);
    }
    w->comma = true;
}

void mgi_json_open(mgi_json_writer *w, const char *key, char bracket)
{
    begin_value(w, key);
    append(w, &bracket, 1);
    w->depth++;
    w->comma = false;
}

void mgi_json_close(mgi_json_writer *w, char bracket)
{
    if (w->depth == 0 && w->status == MGEN_OK)
        w->status = mgi_fail(w->ctx, MGEN_E_INTERNAL, "a JSON bracket is closed but not open");
    if (w->status != MGEN_OK)
        return;
    w->depth--;
    if (w->comma) /* not empty */
        new_line(w);
    append(w, &bracket, 1);
    w->comma = true;
    if (w->depth == 0 && w->indent > 0)
        append(w, "\n", 1);
}

void mgi_json_put_int(mgi_json_writer *w, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64, value);
    begin_value(w, key);
    append_text(w, text);
}

/* snprintf() writes the locale's decimal point, of any length: put a '.' there. */
static void format_real(double value, int digits, char text[64])
{
    char local[64];
    snprintf(local, sizeof(local), "%.*g", digits, value);
    char *to = text;
    for (const char *c = local; *c; c++) {
        if ((*c >= '0' && *c <= '9') || *c == 'e' || *c == '+' || *c == '-')
            *to++ = *c;
        else if (to == text || to[-1] != '.')
            *to++ = '.';
    }
    *to = '\0';
}

void mgi_json_put_real(mgi_json_writer *w, const char *key, double value)
{
    begin_value(w, key);
    if (!isfinite(value)) { /* JSON has neither */
        append_text(w, "null");
        return;
    }
    char text[64];
    if (value == 0 && signbit(value)) {
        append_text(w, "-0.0"); /* "-0" would be read as an integer */
        return;
    }
    if (fabs(value) < 1e15 && value == rint(value)) {
        snprintf(text, sizeof(text), "%" PRId64, (int64_t)value); /* 100, not 1e+02 */
        append_text(w, text);
        return;
    }
    if (fabs(value) > (double)FLT_MAX) {
        format_real(value, DBL_DECIMAL_DIG, text);
        append_text(w, text);
        return;
    }
    locale_t locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!locale) {
        if (w->status == MGEN_OK)
            w->status = mgi_fail(w->ctx, MGEN_E_NO_MEMORY, "cannot make the C locale");
        return;
    }
    for (int digits = 1; digits <= FLT_DECIMAL_DIG; digits++) {
        format_real(value, digits, text);
        if ((float)strtod_l(text, NULL, locale) == (float)value)
            break;
    }
    freelocale(locale);
    append_text(w, text);
}

void mgi_json_put_bool(mgi_json_writer *w, const char *key, bool value)
{
    begin_value(w, key);
    append_text(w, value ? "true" : "false");
}

void mgi_json_put_string(mgi_json_writer *w, const char *key, const char *value)
{
    begin_value(w, key);
    if (value)
        append_quoted(w, value);
    else
        append_text(w, "null");
}

mgen_status mgi_json_text(mgi_json_writer *w, const char **text, size_t *size)
{
    if (w->status == MGEN_OK && w->depth != 0)
        w->status = mgi_fail(w->ctx, MGEN_E_INTERNAL, "%d JSON brackets are still open", w->depth);
    if (w->status == MGEN_OK && w->size == 0)
        w->status = mgi_fail(w->ctx, MGEN_E_INTERNAL, "no JSON value was written");
    if (w->status != MGEN_OK)
        return w->status;
    *text = w->text;
    if (size)
        *size = w->size;
    return MGEN_OK;
}

void mgi_json_writer_free(mgi_json_writer *w)
{
    mgi_free(w->ctx, w->text);
    *w = (mgi_json_writer){.ctx = w->ctx, .status = MGEN_OK};
}

mgen_status mgi_json_take(mgi_json_writer *w, char **out)
{
    const char *text;
    mgen_status status = mgi_json_text(w, &text, NULL);
    if (status == MGEN_OK)
        status = mgi_strdup(w->ctx, text, out);
    mgi_json_writer_free(w);
    return status;
}

mgen_status mgi_json_save(mgi_json_writer *w, const char *path)
{
    mgi_writer file;
    const char *text;
    size_t size;
    mgen_status status = mgi_json_text(w, &text, &size);
    if (status == MGEN_OK && (status = mgi_writer_open(w->ctx, path, &file)) == MGEN_OK) {
        status = mgi_writer_write(&file, text, size);
        if (status == MGEN_OK)
            status = mgi_writer_write(&file, "\n", 1);
        if (status == MGEN_OK)
            status = mgi_writer_commit(&file);
        mgi_writer_abort(&file);
    }
    mgi_json_writer_free(w);
    return status;
}
