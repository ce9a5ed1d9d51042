/* SPDX-License-Identifier: MIT */
#include "io/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* As much as fits. */
static void put(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void put(char *out, size_t size, const char *format, ...)
{
    size_t n = strlen(out);
    va_list list;
    va_start(list, format);
    vsnprintf(out + n, size - n, format, list);
    va_end(list);
}

static void put_value(char *out, size_t size, const mgi_json *v)
{
    if (!v)
        put(out, size, "absent");
    else if (v->kind == MGI_JSON_NULL)
        put(out, size, "null");
    else if (v->kind == MGI_JSON_BOOL)
        put(out, size, "%s", v->i ? "true" : "false");
    else if (v->kind == MGI_JSON_INT)
        put(out, size, "%lld", (long long)v->i);
    else if (v->kind == MGI_JSON_REAL)
        put(out, size, "%.9g", v->d);
    else if (v->kind == MGI_JSON_STRING)
        put(out, size, "\"%.60s\"", v->s);
    else if (v->kind == MGI_JSON_OBJECT)
        put(out, size, "an object");
    else {
        put(out, size, "[");
        for (const mgi_json *e = v->child; e; e = e->next) {
            put_value(out, size, e);
            put(out, size, e->next ? ", " : "]");
        }
        put(out, size, v->child ? "" : "]");
    }
}

/* `i` is the number of members or elements too. */
static bool same(const mgi_json *a, const mgi_json *b)
{
    if (!a || !b || a->kind != b->kind || a->s_len != b->s_len || a->i != b->i || a->d != b->d)
        return false;
    if (a->kind == MGI_JSON_STRING)
        return !memcmp(a->s, b->s, a->s_len);
    const mgi_json *y = b->child;
    for (const mgi_json *x = a->child; x; x = x->next, y = y ? y->next : NULL)
        if (!same(x, a->kind == MGI_JSON_OBJECT ? mgi_json_find(b, x->key) : y))
            return false;
    return true;
}

static bool find(const mgi_json *a, const mgi_json *b, const char *path, char *out, size_t size)
{
    char inner[256];
    for (const mgi_json *x = a->child; x; x = x->next) {
        const mgi_json *y = mgi_json_find(b, x->key);
        snprintf(inner, sizeof inner, "%.120s%s%.100s", path, *path ? "." : "", x->key);
        if (y && x->kind == MGI_JSON_OBJECT && y->kind == MGI_JSON_OBJECT) {
            if (find(x, y, inner, out, size))
                return true;
        } else if (!same(x, y)) {
            put(out, size, "\"%s\": ", inner);
            put_value(out, size, x);
            put(out, size, " and ");
            put_value(out, size, y);
            return true;
        }
    }
    for (const mgi_json *y = b->child; y; y = y->next) {
        if (mgi_json_find(a, y->key))
            continue;
        put(out, size, "\"%s%s%s\": absent and ", path, *path ? "." : "", y->key);
        put_value(out, size, y);
        return true;
    }
    return false;
}

bool mgi_json_difference(const mgi_json *a, const mgi_json *b, char *out, size_t size)
{
    out[0] = '\0';
    return find(a, b, "", out, size);
}
