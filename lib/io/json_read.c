/* SPDX-License-Identifier: MIT
 * Strict JSON reader: recursive descent with a depth cap. Values go into blocks of nodes that grow
 * with what was read, strings into one buffer of the text's size: decoding never lengthens them. */
#include "io/json.h"

#include "core/alloc.h"
#include "core/checked.h"

#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_FIRST 16
#define BLOCK_MAX   8192
#define FEW_KEYS    8  /* so many are compared pair by pair */
#define QUOTE_MAX   40 /* bytes of a value that a message shows */

typedef struct node_block {
    struct node_block *next;
    size_t used, capacity;
    mgi_json nodes[];
} node_block;

/* What mgi_json_free() needs; the caller holds a pointer to `root`. */
typedef struct document {
    mgi_json root;
    node_block *blocks;
    char *strings;
} document;

typedef struct reader {
    mgen_context *ctx;
    const char *what, *text;
    size_t size, at;
    uint32_t line; /* of `at` */
    document *doc;
    size_t nodes;    /* made so far */
    char *string;    /* where the next string goes */
    locale_t locale; /* "C", made for the first real number */
} reader;

/* ---- errors ----------------------------------------------------------------------------------- */

static mgen_status fail_place(reader *r, size_t offset, const char *message, const char *detail)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < r->size; i++) {
        column++;
        if (r->text[i] == '\n') {
            line++;
            column = 1;
        }
    }
    return mgi_fail(r->ctx, MGEN_E_CORRUPT, "%s: line %zu, column %zu: %s%s", r->what, line, column,
                    message, detail);
}

static mgen_status fail_here(reader *r, const char *message)
{
    return fail_place(r, r->at, message, r->at >= r->size ? " (the text ends here)" : "");
}

/* ---- nodes ------------------------------------------------------------------------------------ */

static mgen_status make_node(reader *r, mgi_json **out)
{
    if (r->nodes >= MGI_JSON_NODES_MAX)
        return fail_place(r, r->at, "more values than the reader accepts", "");
    node_block *block = r->doc->blocks;
    if (!block || block->used == block->capacity) {
        size_t capacity = !block                         ? BLOCK_FIRST
                          : block->capacity >= BLOCK_MAX ? BLOCK_MAX
                                                         : 2 * block->capacity;
        node_block *fresh;
        MGI_TRY(mgi_alloc(r->ctx, sizeof(*fresh) + capacity * sizeof(mgi_json), &fresh));
        *fresh = (node_block){block, 0, capacity};
        block = r->doc->blocks = fresh;
    }
    r->nodes++;
    *out = &block->nodes[block->used++];
    return MGEN_OK;
}

/* ---- characters and strings ------------------------------------------------------------------- */

static void skip_blanks(reader *r)
{
    while (r->at < r->size && (r->text[r->at] == ' ' || r->text[r->at] == '\t' ||
                               r->text[r->at] == '\n' || r->text[r->at] == '\r'))
        r->line += r->text[r->at++] == '\n'; /* which stands nowhere else: strings have none */
}

static bool next_is(const reader *r, char c)
{
    return r->at < r->size && r->text[r->at] == c;
}

static bool digit_here(const reader *r)
{
    return r->at < r->size && r->text[r->at] >= '0' && r->text[r->at] <= '9';
}

static bool read_hex4(reader *r, uint32_t *out)
{
    if (r->size - r->at < 4)
        return false;
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = r->text[r->at + (size_t)i];
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (uint32_t)(c - 'A') + 10;
        else
            return false;
        value = value << 4 | digit;
    }
    r->at += 4;
    *out = value;
    return true;
}

static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xC0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *out++ = (char)(0xE0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    } else {
        *out++ = (char)(0xF0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3F));
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    }
    return out;
}

/* After the backslash. */
static mgen_status read_escape(reader *r, char **out)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char c = r->at < r->size ? r->text[r->at] : '\0';
    const char *letter = c ? strchr(letters, c) : NULL;
    if (letter) {
        r->at++;
        *(*out)++ = values[letter - letters];
        return MGEN_OK;
    }
    if (c != 'u')
        return fail_here(r, "unknown escape in a string");
    r->at++;
    uint32_t code, low;
    if (!read_hex4(r, &code))
        return fail_here(r, "\\u needs four hexadecimal digits");
    if (code == 0)
        return fail_here(r, "\\u0000 is not allowed in strings");
    if (code >= 0xDC00 && code <= 0xDFFF)
        return fail_here(r, "a low surrogate without its high one");
    if (code >= 0xD800 && code <= 0xDBFF) {
        if (r->size - r->at < 2 || r->text[r->at] != '\\' || r->text[r->at + 1] != 'u')
            return fail_here(r, "a high surrogate without its low one");
        r->at += 2;
        if (!read_hex4(r, &low) || low < 0xDC00 || low > 0xDFFF)
            return fail_here(r, "a high surrogate without its low one");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    *out = put_utf8(*out, code);
    return MGEN_OK;
}

size_t mgi_utf8_length(const char *text, size_t size)
{
    const uint8_t *c = (const uint8_t *)text;
    if (size == 0)
        return 0;
    if (c[0] < 0x80)
        return 1;
    size_t length = c[0] >= 0xC2 && c[0] <= 0xDF   ? 2
                    : c[0] >= 0xE0 && c[0] <= 0xEF ? 3
                    : c[0] >= 0xF0 && c[0] <= 0xF4 ? 4
                                                   : 0;
    if (length == 0 || size < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xC0) != 0x80)
            return 0;
    bool bad = (c[0] == 0xE0 && c[1] < 0xA0) ||  /* longer than needed */
               (c[0] == 0xED && c[1] >= 0xA0) || /* surrogates */
               (c[0] == 0xF0 && c[1] < 0x90) ||  /* longer than needed */
               (c[0] == 0xF4 && c[1] >= 0x90);   /* past U+10FFFF */
    return bad ? 0 : length;
}

static mgen_status read_string(reader *r, const char **out, size_t *out_length)
{
    if (!next_is(r, '"'))
        return fail_here(r, "expected a string");
    r->at++;
    char *begin = r->string, *to = begin;
    for (;;) {
        if (r->at >= r->size)
            return fail_here(r, "a string without its closing quote");
        unsigned char c = (unsigned char)r->text[r->at];
        if (c == '"')
            break;
        if (c < 0x20)
            return fail_here(r, "a control character in a string");
        if (c == '\\') {
            r->at++;
            MGI_TRY(read_escape(r, &to));
            continue;
        }
        size_t length = mgi_utf8_length(r->text + r->at, r->size - r->at);
        if (length == 0)
            return fail_here(r, "bytes that are not UTF-8 in a string");
        memcpy(to, r->text + r->at, length);
        to += length;
        r->at += length;
    }
    r->at++;
    *to = '\0';
    r->string = to + 1;
    *out = begin;
    *out_length = (size_t)(to - begin);
    return MGEN_OK;
}

/* ---- numbers ---------------------------------------------------------------------------------- */

/* Digits [begin, end) with a sign: false if they pass int64. */
static bool to_int64(const char *begin, const char *end, int64_t *out)
{
    bool negative = *begin == '-';
    int64_t value = 0;
    for (const char *c = begin + negative; c < end; c++) {
        int digit = *c - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *out = value;
    return true;
}

static mgen_status read_number(reader *r, mgi_json *node)
{
    size_t begin = r->at;
    bool whole = true;
    if (next_is(r, '-'))
        r->at++;
    if (!digit_here(r))
        return fail_here(r, "expected a digit");
    if (next_is(r, '0')) {
        r->at++;
        if (digit_here(r))
            return fail_here(r, "a number with a leading zero");
    }
    while (digit_here(r))
        r->at++;
    if (next_is(r, '.')) {
        whole = false;
        r->at++;
        if (!digit_here(r))
            return fail_here(r, "expected a digit after the decimal point");
        while (digit_here(r))
            r->at++;
    }
    if (next_is(r, 'e') || next_is(r, 'E')) {
        whole = false;
        r->at++;
        if (next_is(r, '+') || next_is(r, '-'))
            r->at++;
        if (!digit_here(r))
            return fail_here(r, "expected a digit in the exponent");
        while (digit_here(r))
            r->at++;
    }
    const char *text = r->text + begin;
    size_t length = r->at - begin;
    if (whole && to_int64(text, text + length, &node->i)) {
        node->kind = MGI_JSON_INT;
        node->d = (double)node->i;
        return MGEN_OK;
    }
    /* strtod() reads the process's locale and past the end of our text: give it neither. The
     * string buffer has room for every byte of the text, so also for this copy. */
    memcpy(r->string, text, length);
    r->string[length] = '\0';
    if (!r->locale)
        r->locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!r->locale)
        return mgi_fail(r->ctx, MGEN_E_NO_MEMORY, "%s: cannot make the C locale", r->what);
    node->kind = MGI_JSON_REAL;
    node->d = strtod_l(r->string, NULL, r->locale);
    node->i = 0;
    return isfinite(node->d) ? MGEN_OK
                             : fail_place(r, begin, "a number too large for a double", "");
}

/* ---- objects and arrays ----------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    const mgi_json *const *x = a, *const *y = b;
    int order = strcmp((*x)->key, (*y)->key);
    return order != 0 ? order : (*x)->offset < (*y)->offset ? -1 : (*x)->offset > (*y)->offset;
}

static mgen_status fail_duplicate(reader *r, const mgi_json *second)
{
    char detail[QUOTE_MAX + 8];
    snprintf(detail, sizeof(detail), "'%.*s'", QUOTE_MAX, second->key);
    return fail_place(r, second->offset, "an object has twice the key ", detail);
}

static mgen_status refuse_duplicates(reader *r, const mgi_json *object)
{
    if (object->i <= FEW_KEYS) {
        for (const mgi_json *x = object->child; x; x = x->next)
            for (const mgi_json *y = x->next; y; y = y->next)
                if (strcmp(x->key, y->key) == 0)
                    return fail_duplicate(r, y);
        return MGEN_OK;
    }
    const mgi_json **sorted;
    size_t count = 0;
    MGI_TRY(mgi_alloc_zero(r->ctx, (size_t)object->i, sizeof(*sorted), &sorted));
    for (const mgi_json *x = object->child; x; x = x->next)
        sorted[count++] = x;
    qsort(sorted, count, sizeof(*sorted), compare_keys);
    mgen_status status = MGEN_OK;
    for (size_t i = 1; i < count && status == MGEN_OK; i++)
        if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0)
            status = fail_duplicate(r, sorted[i]);
    mgi_free(r->ctx, sorted);
    return status;
}

static mgen_status read_value(reader *r, mgi_json *node, int depth);

static mgen_status read_member(reader *r, bool keyed, int depth, mgi_json **out)
{
    const char *key = NULL;
    size_t length = 0;
    skip_blanks(r);
    const size_t offset = r->at;
    const uint32_t line = r->line;
    if (keyed) {
        if (!next_is(r, '"'))
            return fail_here(r, "expected a key in quotes");
        MGI_TRY(read_string(r, &key, &length));
        skip_blanks(r);
        if (!next_is(r, ':'))
            return fail_here(r, "expected ':' after a key");
        r->at++;
    }
    MGI_TRY(make_node(r, out));
    MGI_TRY(read_value(r, *out, depth));
    if (keyed) {
        (*out)->key = key;
        (*out)->offset = offset;
        (*out)->line = line;
    }
    return MGEN_OK;
}

static mgen_status read_members(reader *r, mgi_json *node, int depth)
{
    bool keyed = node->kind == MGI_JSON_OBJECT;
    char closing = keyed ? '}' : ']';
    if (depth >= MGI_JSON_DEPTH_MAX)
        return fail_here(r, "nested too deeply");
    r->at++;
    skip_blanks(r);
    if (next_is(r, closing)) {
        r->at++;
        return MGEN_OK;
    }
    const mgi_json **link = &node->child;
    for (;;) {
        mgi_json *member = NULL;
        MGI_TRY(read_member(r, keyed, depth + 1, &member));
        *link = member;
        link = &member->next;
        node->i++;
        skip_blanks(r);
        if (next_is(r, closing))
            break;
        if (!next_is(r, ','))
            return fail_here(r, keyed ? "expected ',' or '}'" : "expected ',' or ']'");
        r->at++;
    }
    r->at++;
    return keyed ? refuse_duplicates(r, node) : MGEN_OK;
}

static mgen_status read_value(reader *r, mgi_json *node, int depth)
{
    static const struct {
        const char *text;
        mgi_json_kind kind;
        int64_t i;
    } words[] = {
        {"true", MGI_JSON_BOOL, 1}, {"false", MGI_JSON_BOOL, 0}, {"null", MGI_JSON_NULL, 0}};

    skip_blanks(r);
    *node = (mgi_json){.kind = MGI_JSON_NULL, .line = r->line, .offset = r->at};
    char c = r->at < r->size ? r->text[r->at] : '\0';
    switch (c) {
    case '{':
    case '[':
        node->kind = c == '{' ? MGI_JSON_OBJECT : MGI_JSON_ARRAY;
        return read_members(r, node, depth);
    case '"':
        node->kind = MGI_JSON_STRING;
        return read_string(r, &node->s, &node->s_len);
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return read_number(r, node);
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            size_t length = strlen(words[i].text);
            if (r->size - r->at >= length && memcmp(r->text + r->at, words[i].text, length) == 0) {
                r->at += length;
                node->kind = words[i].kind;
                node->i = words[i].i;
                return MGEN_OK;
            }
        }
        if (r->at == 0 && r->size >= 3 && memcmp(r->text, "\xEF\xBB\xBF", 3) == 0)
            return fail_here(r, "expected a value, not a byte order mark, which editors do not "
                                "show; save the text as UTF-8 without it");
        return fail_here(r, "expected a value");
    }
}

mgen_status mgi_json_parse(mgen_context *ctx, const char *what, const char *text, size_t size,
                           mgi_json **out)
{
    *out = NULL;
    if (size > MGI_JSON_SIZE_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "%s: %zu bytes of JSON; at most %d are read", what,
                        size, MGI_JSON_SIZE_MAX);
    reader r = {.ctx = ctx, .what = what, .text = text, .size = size, .line = 1};
    size_t strings;
    if (!mgi_size_add(size, 1, &strings))
        return mgi_fail(ctx, MGEN_E_INVALID, "%s: too long", what);
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof(*r.doc), &r.doc));
    mgen_status status = mgi_alloc(ctx, strings, &r.doc->strings);
    if (status == MGEN_OK) {
        r.string = r.doc->strings;
        status = read_value(&r, &r.doc->root, 0);
    }
    if (status == MGEN_OK) {
        skip_blanks(&r);
        if (r.at < r.size)
            status = fail_here(&r, "something follows the end of the value");
    }
    if (r.locale)
        freelocale(r.locale);
    if (status == MGEN_OK)
        *out = &r.doc->root;
    else
        mgi_json_free(ctx, &r.doc->root);
    return status;
}

void mgi_json_free(mgen_context *ctx, mgi_json *root)
{
    if (!root)
        return;
    document *doc = (document *)root; /* its first member */
    while (doc->blocks) {
        node_block *block = doc->blocks;
        doc->blocks = block->next;
        mgi_free(ctx, block);
    }
    mgi_free(ctx, doc->strings);
    mgi_free(ctx, doc);
}

/* ---- typed reads ------------------------------------------------------------------------------ */

const mgi_json *mgi_json_find(const mgi_json *object, const char *key)
{
    if (!object || object->kind != MGI_JSON_OBJECT)
        return NULL;
    for (const mgi_json *x = object->child; x; x = x->next)
        if (strcmp(x->key, key) == 0)
            return x;
    return NULL;
}

/* A value as messages show it. */
static const char *show(const mgi_json *value, char *text, size_t size)
{
    switch (value->kind) {
    case MGI_JSON_NULL:
        return "null";
    case MGI_JSON_BOOL:
        return value->i ? "true" : "false";
    case MGI_JSON_INT:
        snprintf(text, size, "%" PRId64, value->i);
        return text;
    case MGI_JSON_REAL:
        snprintf(text, size, "%g", value->d);
        return text;
    case MGI_JSON_STRING:
        snprintf(text, size, "\"%.*s%s\"", QUOTE_MAX, value->s,
                 value->s_len > QUOTE_MAX ? "..." : "");
        return text;
    case MGI_JSON_ARRAY:
        return "an array";
    default:
        return "an object";
    }
}

#define KEY_MAX 40 /* bytes of a key that is compared with others */

static int small(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

/* What it takes to make one key the other: 2 to swap two letters, 3 to add, take away or exchange one; capitals count as
 * small. */
static int key_distance(const char *a, const char *b)
{
    const int n = (int)strlen(a), m = (int)strlen(b);
    int row[3][KEY_MAX + 1]; /* of the letters of b: for i - 2, i - 1 and i letters of a */
    if (n > KEY_MAX || m > KEY_MAX)
        return INT_MAX;
    for (int j = 0; j <= m; j++)
        row[0][j] = 3 * j;
    for (int i = 1; i <= n; i++) {
        int *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = 3 * i;
        for (int j = 1; j <= m; j++) {
            const int x = small(a[i - 1]), y = small(b[j - 1]);
            int best = last[j - 1] + (x != y ? 3 : 0);
            best = last[j] + 3 < best ? last[j] + 3 : best;
            best = now[j - 1] + 3 < best ? now[j - 1] + 3 : best;
            if (i > 1 && j > 1 && x == small(b[j - 2]) && small(a[i - 2]) == y &&
                before[j - 2] + 2 < best)
                best = before[j - 2] + 2;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

/* Whether one may be the other misspelt: a third of the letters at most, and better than *best, which it becomes. */
static bool key_near(const char *a, const char *b, int *best)
{
    const size_t longer = strlen(a) > strlen(b) ? strlen(a) : strlen(b);
    const int distance = key_distance(a, b);
    if ((size_t)distance > longer || distance >= *best)
        return false;
    *best = distance;
    return true;
}

/* " in "optimizer"": whose key it is, if it has a name. */
static const char *owner_of(const mgi_json *object, char *text, size_t size)
{
    text[0] = '\0';
    if (object->key)
        snprintf(text, size, " in \"%.*s\"", QUOTE_MAX, object->key);
    return text;
}

static mgen_status fail_missing(mgen_context *ctx, const mgi_json *object, const char *key)
{
    char owner[QUOTE_MAX + 8];
    const mgi_json *near = NULL;
    int best = INT_MAX;
    owner_of(object, owner, sizeof owner);
    for (const mgi_json *x = object->child; x; x = x->next)
        near = key_near(x->key, key, &best) ? x : near;
    return near ? mgi_fail(ctx, MGEN_E_CORRUPT,
                           "the key \"%s\" is missing%s; is it \"%.*s\" (line %" PRIu32 ")?", key,
                           owner, QUOTE_MAX, near->key, near->line)
                : mgi_fail(ctx, MGEN_E_CORRUPT, "the key \"%s\" is missing%s", key, owner);
}

/* *out NULL: the key is missing and may be. */
static mgen_status member_of(mgen_context *ctx, const mgi_json *object, const char *key,
                             bool required, const mgi_json **out)
{
    *out = NULL;
    if (!object || object->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "expected an object with the key \"%s\"", key);
    *out = mgi_json_find(object, key);
    if (!*out && required)
        return fail_missing(ctx, object, key);
    return MGEN_OK;
}

static mgen_status fail_kind(mgen_context *ctx, const char *key, const mgi_json *value,
                             const char *wanted)
{
    char text[QUOTE_MAX + 16];
    return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" is %s (line %" PRIu32 "), not %s", key,
                    show(value, text, sizeof(text)), value->line, wanted);
}

mgen_status mgi_json_get_int(mgen_context *ctx, const mgi_json *object, const char *key,
                             bool required, int64_t min, int64_t max, int64_t *out)
{
    const mgi_json *value;
    MGI_TRY(member_of(ctx, object, key, required, &value));
    if (!value)
        return MGEN_OK;
    if (value->kind != MGI_JSON_INT)
        return fail_kind(ctx, key, value, "a whole number");
    if (value->i < min || value->i > max)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"%s\" is %" PRId64 " (line %" PRIu32 "), not within %" PRId64
                        " to %" PRId64,
                        key, value->i, value->line, min, max);
    *out = value->i;
    return MGEN_OK;
}

mgen_status mgi_json_get_real(mgen_context *ctx, const mgi_json *object, const char *key,
                              bool required, double min, double max, double *out)
{
    const mgi_json *value;
    MGI_TRY(member_of(ctx, object, key, required, &value));
    if (!value)
        return MGEN_OK;
    if (value->kind != MGI_JSON_INT && value->kind != MGI_JSON_REAL)
        return fail_kind(ctx, key, value, "a number");
    if (!(value->d >= min && value->d <= max))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" is %g (line %" PRIu32 "), not within %g to %g",
                        key, value->d, value->line, min, max);
    *out = value->d;
    return MGEN_OK;
}

mgen_status mgi_json_get_bool(mgen_context *ctx, const mgi_json *object, const char *key,
                              bool required, bool *out)
{
    const mgi_json *value;
    MGI_TRY(member_of(ctx, object, key, required, &value));
    if (!value)
        return MGEN_OK;
    if (value->kind != MGI_JSON_BOOL)
        return fail_kind(ctx, key, value, "true or false");
    *out = value->i != 0;
    return MGEN_OK;
}

mgen_status mgi_json_get_string(mgen_context *ctx, const mgi_json *object, const char *key,
                                bool required, const char **out)
{
    const mgi_json *value;
    MGI_TRY(member_of(ctx, object, key, required, &value));
    if (!value)
        return MGEN_OK;
    if (value->kind != MGI_JSON_STRING)
        return fail_kind(ctx, key, value, "a string");
    *out = value->s;
    return MGEN_OK;
}

mgen_status mgi_json_get_choice(mgen_context *ctx, const mgi_json *o, const char *key,
                                const char *const *names, int count, int32_t *out)
{
    const char *text = names[0];
    char known[128] = "";
    size_t used = 0;
    MGI_TRY(mgi_json_get_string(ctx, o, key, false, &text));
    for (int i = 0; i < count; i++) {
        if (!strcmp(text, names[i])) {
            *out = i;
            return MGEN_OK;
        }
        used += (size_t)snprintf(known + used, sizeof known - used, "%s\"%s\"",
                                 !i              ? ""
                                 : i < count - 1 ? ", "
                                                 : " and ",
                                 names[i]);
    }
    return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" is \"%.40s\"; known are %s", key, text, known);
}

mgen_status mgi_json_get_ints(mgen_context *ctx, const mgi_json *o, const char *key, int most,
                              int64_t min, int64_t max, int64_t *out, int *count)
{
    const mgi_json *list = mgi_json_find(o, key);
    if (!list || list->kind != MGI_JSON_ARRAY || list->i < 1 || list->i > most)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" must be a list of 1 to %d numbers", key, most);
    *count = 0;
    for (const mgi_json *e = list->child; e; e = e->next) {
        if (e->kind != MGI_JSON_INT || e->i < min || e->i > max)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" has an entry that is not %lld..%lld", key,
                            (long long)min, (long long)max);
        out[(*count)++] = e->i;
    }
    return MGEN_OK;
}

static mgen_status fail_unknown(mgen_context *ctx, const mgi_json *object, const mgi_json *member,
                                const char *const *keys)
{
    char owner[QUOTE_MAX + 8];
    const char *near = NULL;
    int best = INT_MAX;
    owner_of(object, owner, sizeof owner);
    for (; *keys; keys++) /* what stands there already is not what was meant */
        if (!mgi_json_find(object, *keys) && key_near(member->key, *keys, &best))
            near = *keys;
    return mgi_fail(ctx, MGEN_E_CORRUPT, "unknown key \"%.*s\"%s (line %" PRIu32 ")%s%s%s",
                    QUOTE_MAX, member->key, owner, member->line, near ? "; did you mean \"" : "",
                    near ? near : "", near ? "\"?" : "");
}

mgen_status mgi_json_only_keys(mgen_context *ctx, const mgi_json *object, const char *const *keys)
{
    if (!object || object->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "expected an object");
    for (const mgi_json *x = object->child; x; x = x->next) {
        const char *const *known = keys;
        while (*known && strcmp(*known, x->key) != 0)
            known++;
        if (!*known)
            return fail_unknown(ctx, object, x, keys);
    }
    return MGEN_OK;
}
