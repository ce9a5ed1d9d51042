/* SPDX-License-Identifier: MIT
 * Strict JSON: what is read is written and read again, to the same values. */
#include "fuzz.h"

#include "io/json.h"

#include <string.h>

static void write_value(mgi_json_writer *w, const mgi_json *v)
{
    switch (v->kind) {
    case MGI_JSON_NULL:
        mgi_json_put_real(w, v->key, 0.0 / 0.0);
        break;
    case MGI_JSON_BOOL:
        mgi_json_put_bool(w, v->key, v->i != 0);
        break;
    case MGI_JSON_INT:
        mgi_json_put_int(w, v->key, v->i);
        break;
    case MGI_JSON_REAL:
        mgi_json_put_real(w, v->key, v->d);
        break;
    case MGI_JSON_STRING:
        mgi_json_put_string(w, v->key, v->s);
        break;
    default:
        mgi_json_open(w, v->key, v->kind == MGI_JSON_ARRAY ? '[' : '{');
        for (const mgi_json *e = v->child; e; e = e->next)
            write_value(w, e);
        mgi_json_close(w, v->kind == MGI_JSON_ARRAY ? ']' : '}');
    }
}

static void check_value(const mgi_json *v, size_t size)
{
    int64_t count = 0;
    FUZZ_CHECK(v->offset <= size);
    if (v->kind == MGI_JSON_STRING)
        FUZZ_CHECK(strlen(v->s) == v->s_len);
    if (v->kind != MGI_JSON_ARRAY && v->kind != MGI_JSON_OBJECT)
        return;
    for (const mgi_json *e = v->child; e; e = e->next, count++) {
        FUZZ_CHECK(!e->key == (v->kind == MGI_JSON_ARRAY));
        FUZZ_CHECK(!e->key || mgi_json_find(v, e->key) == e);
        check_value(e, size);
    }
    FUZZ_CHECK(count == v->i);
}

/* Reals are written as floats: of their values nothing is said. */
static void check_same(const mgi_json *a, const mgi_json *b)
{
    FUZZ_CHECK(!a->key == !b->key && (!a->key || !strcmp(a->key, b->key)));
    if (a->kind == MGI_JSON_REAL) {
        FUZZ_CHECK(b->kind == MGI_JSON_REAL || b->kind == MGI_JSON_INT || b->kind == MGI_JSON_NULL);
        return;
    }
    FUZZ_CHECK(a->kind == b->kind);
    FUZZ_CHECK(a->kind == MGI_JSON_NULL || a->kind == MGI_JSON_STRING || a->i == b->i);
    FUZZ_CHECK(a->kind != MGI_JSON_STRING || !strcmp(a->s, b->s));
    const mgi_json *x = a->child, *y = b->child;
    for (; x && y; x = x->next, y = y->next)
        check_same(x, y);
    FUZZ_CHECK(!x && !y);
}

static bool read_json(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_json *root = NULL, *again = NULL;
    mgi_json_writer w;
    const char *text;
    size_t text_size;
    (void)path;
    if (!fuzz_ok(ctx, mgi_json_parse(ctx, "input", (const char *)data, size, &root)))
        return false;
    check_value(root, size);
    mgi_json_writer_init(&w, ctx, (int)(size % 3));
    write_value(&w, root);
    if (fuzz_must(ctx, mgi_json_text(&w, &text, &text_size)) &&
        fuzz_must(ctx, mgi_json_parse(ctx, "written", text, text_size, &again)))
        check_same(root, again);
    mgi_json_free(ctx, again);
    mgi_json_writer_free(&w);
    mgi_json_free(ctx, root);
    return true;
}

static const fuzz_seed seeds[] = {
    {.text = "{\"a\": [1, -2.5e3, true, false, null, \"t\\u00e9\\ud83d\\ude00\\n\"], \"b\": {}}"},
    {.text = "[]"},
    {.text = "9223372036854775807"},
    {.text = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"},
    {.text = " {\"\" : \"\xE6\x97\xA5\", \"k\": -9223372036854775808 , \"r\": 0.1}\n"},
};

const fuzz_target fuzz_json = {
    .name = "json", .size_max = 4096, FUZZ_SEEDS(seeds), .read = read_json};
