/* SPDX-License-Identifier: MIT
 * safetensors: the validator is the loader. Nothing is believed before it was compared with the
 * file's real size, and what is written passes the same rules. */
#include "io/safetensors_f8.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "core/hash.h"
#include "kernels/fp8/e4m3.h"

#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES 8     /* the header's length, before the header */
#define QUOTE_MAX    100   /* bytes of a name that a message shows */
#define CONVERT      2048  /* values of 16 bits converted at a time */
#define PIECE        65536 /* values that a reader gives at a time */
#define READ         16384 /* bytes on their way to be hashed */
#define SCALE_SUFFIX "_scale"
#define SCALE_NAME   (MGI_ST_NAME_MAX + sizeof SCALE_SUFFIX) /* bytes */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "files are little-endian, as numbers are");

static const struct {
    const char *name;
    mgi_st_dtype dtype;
    int bytes;
} dtypes[] = {
    {"F32", MGI_ST_F32, 4},    {"BF16", MGI_ST_BF16, 2},  {"F16", MGI_ST_F16, 2},
    {"I32", MGI_ST_I32, 4},    {"U8", MGI_ST_U8, 1},      {"F64", MGI_ST_OTHER, 8},
    {"I64", MGI_ST_OTHER, 8},  {"U64", MGI_ST_OTHER, 8},  {"U32", MGI_ST_OTHER, 4},
    {"I16", MGI_ST_OTHER, 2},  {"U16", MGI_ST_OTHER, 2},  {"I8", MGI_ST_OTHER, 1},
    {"BOOL", MGI_ST_OTHER, 1}, {"F8_E4M3", MGI_ST_F8, 1}, {"F8_E5M2", MGI_ST_F8_E5M2, 1},
};

/* ---- reading ---------------------------------------------------------------------------------- */

static mgen_status check_name(mgen_context *ctx, const char *name, mgen_status code)
{
    size_t length = name ? strnlen(name, MGI_ST_NAME_MAX + 1) : 0;
    if (length == 0)
        return mgi_fail(ctx, code, "a tensor without a name");
    if (length > MGI_ST_NAME_MAX)
        return mgi_fail(ctx, code, "the tensor name '%.40s...' is longer than %d bytes", name,
                        MGI_ST_NAME_MAX);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7F)
            return mgi_fail(ctx, code, "the tensor name '%.*s' has a control character", QUOTE_MAX,
                            name);
    return MGEN_OK;
}

static mgen_status read_dtype(mgen_context *ctx, const mgi_json *value, mgi_st_entry *out,
                              int64_t *element_bytes)
{
    const char *name = NULL;
    MGI_TRY(mgi_json_get_string(ctx, value, "dtype", true, &name));
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            out->dtype = dtypes[i].dtype;
            *element_bytes = dtypes[i].bytes;
            return MGEN_OK;
        }
    return mgi_fail(ctx, MGEN_E_UNSUPPORTED, "unknown dtype '%.40s'", name);
}

static mgen_status read_shape(mgen_context *ctx, const mgi_json *value, mgi_st_entry *out)
{
    const mgi_json *shape = mgi_json_find(value, "shape");
    if (!shape || shape->kind != MGI_JSON_ARRAY)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "shape is %s", shape ? "not an array" : "missing");
    if (shape->i > MGI_ST_RANK_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "shape has %" PRId64 " dimensions; at most %d are read", shape->i,
                        MGI_ST_RANK_MAX);
    out->rank = 0;
    for (const mgi_json *dim = shape->child; dim; dim = dim->next) {
        if (dim->kind != MGI_JSON_INT || dim->i < 0)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "shape[%d] is not a whole number >= 0", out->rank);
        out->dims[out->rank++] = dim->i;
    }
    return MGEN_OK;
}

static mgen_status read_offsets(mgen_context *ctx, const mgi_json *value, int64_t data_size,
                                int64_t *begin, int64_t *end)
{
    const mgi_json *offsets = mgi_json_find(value, "data_offsets");
    if (!offsets || offsets->kind != MGI_JSON_ARRAY || offsets->i != 2 ||
        offsets->child->kind != MGI_JSON_INT || offsets->child->next->kind != MGI_JSON_INT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "data_offsets is %s",
                        offsets ? "not a pair of whole numbers" : "missing");
    *begin = offsets->child->i;
    *end = offsets->child->next->i;
    if (*begin < 0 || *end < *begin || *end > data_size)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "data_offsets [%" PRId64 ", %" PRId64 "] leave the %" PRId64
                        " bytes of data",
                        *begin, *end, data_size);
    return MGEN_OK;
}

/* One member of the header. The data is data_size bytes from byte `data` of the file on. */
static mgen_status read_entry(mgen_context *ctx, const mgi_json *value, uint64_t data,
                              int64_t data_size, mgi_st_entry *out)
{
    static const char *const keys[] = {"dtype", "shape", "data_offsets", NULL};
    int64_t element_bytes = 0, begin = 0, end = 0, bytes;
    *out = (mgi_st_entry){.name = value->key};
    MGI_TRY(check_name(ctx, value->key, MGEN_E_CORRUPT));
    mgen_status status = mgi_json_only_keys(ctx, value, keys);
    if (status == MGEN_OK)
        status = read_dtype(ctx, value, out, &element_bytes);
    if (status == MGEN_OK)
        status = read_shape(ctx, value, out);
    if (status == MGEN_OK)
        status = read_offsets(ctx, value, data_size, &begin, &end);
    if (status == MGEN_OK) {
        if (!mgi_dims_count(out->dims, out->rank, &bytes) ||
            !mgi_i64_mul(bytes, element_bytes, &bytes))
            status = mgi_fail(ctx, MGEN_E_CORRUPT, "shape overflows");
        else if (bytes != end - begin)
            status = mgi_fail(ctx, MGEN_E_CORRUPT,
                              "shape and dtype make %" PRId64 " bytes, data_offsets %" PRId64,
                              bytes, end - begin);
    }
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "tensor '%.*s'", QUOTE_MAX, value->key);
    out->at = data + (uint64_t)begin;
    out->bytes = (size_t)(end - begin);
    return MGEN_OK;
}

static int compare_places(const void *a, const void *b)
{
    const mgi_st_entry *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const mgi_st_entry *)a)->name, ((const mgi_st_entry *)b)->name);
}

/* Every byte of the data belongs to exactly one tensor. Sorts the entries by place. */
static mgen_status check_places(mgen_context *ctx, mgi_st_file *st, uint64_t data)
{
    const uint64_t end = mgi_reader_size(st->file);
    uint64_t at = data;
    if (st->count > 0)
        qsort(st->entries, (size_t)st->count, sizeof(*st->entries), compare_places);
    for (int64_t i = 0; i < st->count; i++) {
        const mgi_st_entry *entry = &st->entries[i];
        if (entry->at != at)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "tensor '%.*s': data_offsets %s", QUOTE_MAX,
                            entry->name,
                            entry->at < at ? "overlap another tensor's" : "leave a hole before it");
        at += entry->bytes;
    }
    if (at != end)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "%" PRIu64 " bytes after the last tensor belong to none", end - at);
    return MGEN_OK;
}

static mgen_status check_metadata(mgen_context *ctx, const mgi_json *metadata)
{
    if (metadata->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "__metadata__ is not an object");
    for (const mgi_json *x = metadata->child; x; x = x->next)
        if (x->kind != MGI_JSON_STRING)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "__metadata__: '%.*s' is not a string", QUOTE_MAX,
                            x->key);
    return MGEN_OK;
}

/* *length: of the header, which the file has whole. `what` names it in messages. */
static mgen_status read_length(mgen_context *ctx, const char *what, const mgi_reader *file,
                               uint64_t *length)
{
    const uint64_t size = mgi_reader_size(file);
    if (size < LENGTH_BYTES)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "%s: %" PRIu64 " bytes are too few for a header", what,
                        size);
    MGI_TRY(mgi_reader_read(ctx, file, 0, length, sizeof *length));
    if (*length > MGI_ST_HEADER_MAX)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "%s: header length %" PRIu64 "; at most %d bytes are read", what, *length,
                        MGI_ST_HEADER_MAX);
    if (*length > size - LENGTH_BYTES)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "%s: header length %" PRIu64 " passes the file's end at %" PRIu64, what,
                        *length, size);
    return MGEN_OK;
}

static mgen_status parse_header(mgen_context *ctx, const char *what, uint64_t length,
                                mgi_st_file *st)
{
    char *text;
    MGI_TRY(mgi_alloc(ctx, (size_t)length, &text));
    mgen_status status = mgi_reader_read(ctx, st->file, LENGTH_BYTES, text, (size_t)length);
    if (status == MGEN_OK && (length == 0 || text[0] != '{'))
        status = mgi_fail(ctx, MGEN_E_CORRUPT, "%s: the header does not begin with '{'", what);
    if (status == MGEN_OK)
        status = mgi_json_parse(ctx, what, text, (size_t)length, &st->header);
    mgi_free(ctx, text);
    return status;
}

/* st->file is open. */
static mgen_status read_header(mgen_context *ctx, const char *what, mgi_st_file *st)
{
    uint64_t length = 0;
    MGI_TRY(read_length(ctx, what, st->file, &length));
    MGI_TRY(parse_header(ctx, what, length, st));
    const uint64_t data = LENGTH_BYTES + length;
    const int64_t data_size = (int64_t)(mgi_reader_size(st->file) - data);
    st->metadata = mgi_json_find(st->header, "__metadata__");
    mgen_status status = MGEN_OK;
    if (st->metadata)
        MGI_TRY_GOTO(status, check_metadata(ctx, st->metadata), fail);
    int64_t count = st->header->i - (st->metadata != NULL);
    if (count > MGI_ST_TENSORS_MAX) {
        status = mgi_fail(ctx, MGEN_E_CORRUPT, "%" PRId64 " tensors; at most %d are read", count,
                          MGI_ST_TENSORS_MAX);
        goto fail;
    }
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, (size_t)count, sizeof(*st->entries), &st->entries),
                 fail);
    for (const mgi_json *value = st->header->child; value; value = value->next) {
        if (value == st->metadata)
            continue;
        MGI_TRY_GOTO(status, read_entry(ctx, value, data, data_size, &st->entries[st->count]),
                     fail);
        st->entries[st->count++].file = st->file;
    }
    MGI_TRY_GOTO(status, check_places(ctx, st, data), fail);
    if (st->count > 0)
        qsort(st->entries, (size_t)st->count, sizeof(*st->entries), compare_names);
    return MGEN_OK;
fail:
    return mgi_fail_context(ctx, status, "%s", what);
}

mgen_status mgi_st_open_single(mgen_context *ctx, const char *dir, const char *name,
                               mgi_st_file *out)
{
    *out = (mgi_st_file){.header = NULL};
    MGI_TRY(mgi_reader_open(ctx, dir, name, &out->file));
    mgen_status status = read_header(ctx, name, out);
    if (status != MGEN_OK)
        mgi_st_close(ctx, out);
    return status;
}

/* Whether this library wrote it, or who does as it does. */
static bool own(const mgi_st_file *st)
{
    const mgi_json *format = st->metadata ? mgi_json_find(st->metadata, "format") : NULL;
    return format && strcmp(format->s, "moviegen") == 0;
}

mgen_status mgi_st_open(mgen_context *ctx, const char *dir, const char *name, mgi_st_file *out)
{
    MGI_TRY(mgi_st_open_single(ctx, dir, name, out));
    mgi_st_pair(out->entries, &out->count, own(out));
    return MGEN_OK;
}

void mgi_st_close(mgen_context *ctx, mgi_st_file *st)
{
    mgi_free(ctx, st->entries);
    mgi_json_free(ctx, st->header);
    mgi_reader_close(ctx, st->file);
    *st = (mgi_st_file){.header = NULL};
}

const mgi_st_entry *mgi_st_find(const mgi_st_file *st, const char *name)
{
    mgi_st_entry key = {.name = name};
    if (st->count == 0)
        return NULL;
    return bsearch(&key, st->entries, (size_t)st->count, sizeof(key), compare_names);
}

/* ---- conversions ------------------------------------------------------------------------------ */

/* Round to nearest, ties to even; not-a-number stays so. */
static uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

mgen_status mgi_st_read_bytes(mgen_context *ctx, const mgi_st_entry *entry, uint64_t at, void *out,
                              size_t size)
{
    if (size == 0)
        return MGEN_OK;
    if (!entry->data)
        return mgi_reader_read(ctx, entry->file, entry->at + at, out, size);
    memcpy(out, (const uint8_t *)entry->data + at, size);
    return MGEN_OK;
}

mgen_status mgi_st_hash_piece(mgen_context *ctx, const mgi_st_entry *entry, uint64_t *hash)
{
    uint8_t bytes[READ];
    for (uint64_t at = 0; at < entry->bytes; at += READ) {
        const size_t n = entry->bytes - at < READ ? (size_t)(entry->bytes - at) : READ;
        MGI_TRY(mgi_st_read_bytes(ctx, entry, at, bytes, n));
        *hash = mgi_hash64_piece(*hash, bytes, n);
    }
    return MGEN_OK;
}

/* BF16 or F16. They are read into the second half of the room, of which what is made of them takes the first and then, when they
 * are no longer needed, this one. */
static mgen_status read_halves(mgen_context *ctx, const mgi_st_entry *entry, int64_t first,
                               float *out, int64_t n)
{
    uint16_t some[CONVERT];
    const uint8_t *from = (const uint8_t *)out + 2 * n;
    MGI_TRY(
        mgi_st_read_bytes(ctx, entry, 2 * (uint64_t)first, (uint8_t *)out + 2 * n, 2 * (size_t)n));
    for (int64_t done = 0, count; done < n; done += count, out += count) {
        count = n - done < CONVERT ? n - done : CONVERT;
        memcpy(some, from + 2 * done, (size_t)count * sizeof *some);
        if (entry->dtype == MGI_ST_BF16)
            for (int64_t i = 0; i < count; i++)
                out[i] = mgi_st_from_bf16(some[i]);
        else
            for (int64_t i = 0; i < count; i++)
                out[i] = mgi_st_from_f16(some[i]);
    }
    return MGEN_OK;
}

mgen_status mgi_st_read_f32(mgen_context *ctx, const mgi_st_entry *entry, float *out, int64_t n)
{
    int64_t count;
    if (!mgi_dims_count(entry->dims, entry->rank, &count) || count != n)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "tensor '%.*s' does not have the %" PRId64 " elements asked for", QUOTE_MAX,
                        entry->name, n);
    return mgi_st_read_part(ctx, entry, 0, out, n);
}

mgen_status mgi_st_read_part(mgen_context *ctx, const mgi_st_entry *entry, int64_t first,
                             float *out, int64_t n)
{
    switch (entry->dtype) {
    case MGI_ST_F32:
        return mgi_st_read_bytes(ctx, entry, 4 * (uint64_t)first, out, (size_t)n * sizeof *out);
    case MGI_ST_BF16:
    case MGI_ST_F16:
        return read_halves(ctx, entry, first, out, n);
    case MGI_ST_F8:
    case MGI_ST_F8_E5M2:
        return mgi_st_read_f8(ctx, entry, first, out, n);
    default:
        return mgi_fail(ctx, MGEN_E_UNSUPPORTED,
                        "tensor '%.*s' is not F32, BF16 or F16, nor F8_E4M3 or F8_E5M2, so it "
                        "cannot be read as numbers",
                        QUOTE_MAX, entry->name);
    }
}

/* ---- writing ---------------------------------------------------------------------------------- */

/* Bytes of a value. */
static int size_of(mgi_st_dtype store)
{
    return store == MGI_ST_F32 ? 4 : store == MGI_ST_BF16 ? 2 : 1;
}

static mgen_status check_source(mgen_context *ctx, const mgi_st_source *source, int64_t *bytes)
{
    MGI_TRY(check_name(ctx, source->name, MGEN_E_INVALID));
    if (strcmp(source->name, "__metadata__") == 0)
        return mgi_fail(ctx, MGEN_E_INVALID, "a tensor cannot be named __metadata__");
    if (source->store != MGI_ST_F32 && source->store != MGI_ST_BF16 &&
        (source->store != MGI_ST_F8 || source->rank != 2))
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "tensor '%.*s' can be stored as F32 or BF16 or, a matrix, as F8_E4M3 only",
                        QUOTE_MAX, source->name);
    if (source->rank < 0 || source->rank > MGI_ST_RANK_MAX ||
        !mgi_dims_count(source->dims, source->rank, bytes) ||
        !mgi_i64_mul(*bytes, size_of(source->store), bytes))
        return mgi_fail(ctx, MGEN_E_INVALID, "tensor '%.*s' has an impossible shape", QUOTE_MAX,
                        source->name);
    if (!source->data && *bytes > 0)
        return mgi_fail(ctx, MGEN_E_INVALID, "tensor '%.*s' has no data", QUOTE_MAX, source->name);
    return MGEN_OK;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names [0, count) must differ; sorts them. `what` says what they name. */
static mgen_status refuse_same(mgen_context *ctx, const char **names, int64_t count,
                               const char *what)
{
    if (count > 0)
        qsort(names, (size_t)count, sizeof(*names), compare_texts);
    for (int64_t i = 1; i < count; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return mgi_fail(ctx, MGEN_E_INVALID, "two %s are named '%.*s'", what, QUOTE_MAX,
                            names[i]);
    return MGEN_OK;
}

/* Nothing else has the name that the scales of a tensor get; `names` are sorted. */
static mgen_status check_scale_name(mgen_context *ctx, const char **names, int64_t count,
                                    const char *tensor)
{
    char name[SCALE_NAME];
    const char *key = name;
    snprintf(name, sizeof name, "%s" SCALE_SUFFIX, tensor);
    MGI_TRY(check_name(ctx, name, MGEN_E_INVALID));
    if (bsearch((const void *)&key, (const void *)names, (size_t)count, sizeof *names,
                compare_texts))
        return mgi_fail(ctx, MGEN_E_INVALID, "two tensors are named '%.*s'", QUOTE_MAX, name);
    return MGEN_OK;
}

static mgen_status check_sources(mgen_context *ctx, const mgi_st_source *tensors, int64_t count,
                                 const char *const *metadata, int metadata_pairs)
{
    if (count < 0 || count > MGI_ST_TENSORS_MAX || metadata_pairs < 0)
        return mgi_fail(ctx, MGEN_E_INVALID, "%" PRId64 " tensors, %d metadata pairs", count,
                        metadata_pairs);
    const char **names;
    int64_t larger = count > metadata_pairs ? count : metadata_pairs;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)larger, sizeof(*names), &names));
    mgen_status status = MGEN_OK;
    for (int i = 0; i < metadata_pairs; i++) {
        names[i] = metadata[2 * i];
        if (!names[i] || !metadata[2 * i + 1]) {
            status = mgi_fail(ctx, MGEN_E_INVALID, "a metadata key or value is NULL");
            goto end;
        }
    }
    MGI_TRY_GOTO(status, refuse_same(ctx, names, metadata_pairs, "metadata values"), end);
    for (int64_t i = 0; i < count; i++) {
        int64_t bytes;
        MGI_TRY_GOTO(status, check_source(ctx, &tensors[i], &bytes), end);
        names[i] = tensors[i].name;
    }
    MGI_TRY_GOTO(status, refuse_same(ctx, names, count, "tensors"), end);
    for (int64_t i = 0; i < count && status == MGEN_OK; i++)
        if (tensors[i].store == MGI_ST_F8)
            status = check_scale_name(ctx, names, count, tensors[i].name);
end:
    mgi_free(ctx, names);
    return status;
}

static const char *dtype_name(mgi_st_dtype store)
{
    return store == MGI_ST_F32 ? "F32" : store == MGI_ST_BF16 ? "BF16" : "F8_E4M3";
}

/* A tensor of the header, whose bytes are at [begin, end) of the data. */
static void put_tensor(mgi_json_writer *w, const char *name, const char *dtype, const int64_t *dims,
                       int rank, int64_t begin, int64_t end)
{
    mgi_json_open(w, name, '{');
    mgi_json_put_string(w, "dtype", dtype);
    mgi_json_open(w, "shape", '[');
    for (int d = 0; d < rank; d++)
        mgi_json_put_int(w, NULL, dims[d]);
    mgi_json_close(w, ']');
    mgi_json_open(w, "data_offsets", '[');
    mgi_json_put_int(w, NULL, begin);
    mgi_json_put_int(w, NULL, end);
    mgi_json_close(w, ']');
    mgi_json_close(w, '}');
}

/* The header of checked sources, without padding. */
static mgen_status make_header(mgi_json_writer *w, const mgi_st_source *tensors, int64_t count,
                               const char *const *metadata, int metadata_pairs)
{
    char name[SCALE_NAME];
    int64_t at = 0;
    mgi_json_open(w, NULL, '{');
    if (metadata_pairs > 0) {
        mgi_json_open(w, "__metadata__", '{');
        for (int i = 0; i < metadata_pairs; i++)
            mgi_json_put_string(w, metadata[2 * i], metadata[2 * i + 1]);
        mgi_json_close(w, '}');
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t bytes, end;
        MGI_TRY(check_source(w->ctx, &tensors[i], &bytes));
        if (!mgi_i64_add(at, bytes, &end))
            return mgi_fail(w->ctx, MGEN_E_INVALID, "the tensors are too large for one file");
        put_tensor(w, tensors[i].name, dtype_name(tensors[i].store), tensors[i].dims,
                   tensors[i].rank, at, end);
        at = end;
        if (tensors[i].store != MGI_ST_F8)
            continue;
        const int64_t dims[] = {tensors[i].dims[0], 1};
        snprintf(name, sizeof name, "%s" SCALE_SUFFIX, tensors[i].name);
        if (!mgi_i64_mul(dims[0], 4, &bytes) || !mgi_i64_add(at, bytes, &end))
            return mgi_fail(w->ctx, MGEN_E_INVALID, "the tensors are too large for one file");
        put_tensor(w, name, "F32", dims, 2, at, end);
        at = end;
    }
    mgi_json_close(w, '}');
    return MGEN_OK;
}

static mgen_status write_header(mgi_writer *file, const char *text, size_t size)
{
    static const char blanks[] = "        ";
    size_t padded;
    if (!mgi_size_align(size, LENGTH_BYTES, &padded) || padded > MGI_ST_HEADER_MAX)
        return mgi_fail(file->ctx, MGEN_E_INVALID, "a header of %zu bytes; at most %d are allowed",
                        size, MGI_ST_HEADER_MAX);
    uint64_t length = padded;
    MGI_TRY(mgi_writer_write(file, &length, sizeof(length)));
    MGI_TRY(mgi_writer_write(file, text, size));
    return mgi_writer_write(file, blanks, padded - size);
}

static mgen_status write_values(mgi_writer *file, mgi_st_dtype store, const float *values,
                                int64_t count)
{
    if (store == MGI_ST_F32)
        return mgi_writer_write(file, values, (size_t)count * sizeof *values);
    uint16_t converted[CONVERT];
    for (int64_t done = 0; done < count;) {
        int64_t n = count - done < CONVERT ? count - done : CONVERT;
        for (int64_t i = 0; i < n; i++)
            converted[i] = to_bf16(values[done + i]);
        MGI_TRY(mgi_writer_write(file, converted, (size_t)n * sizeof(converted[0])));
        done += n;
    }
    return MGEN_OK;
}

/* A row as the op quantize_fp8 has it. */
static mgen_status quantise(mgen_context *ctx, const mgi_st_source *source, const float *row,
                            uint8_t *codes, float *scale)
{
    float largest = 0.0f;
    bool finite = true;
    for (int64_t i = 0; i < source->dims[1]; i++) {
        const float size = row[i] < 0 ? -row[i] : row[i];
        finite = finite && size <= FLT_MAX; /* a NaN is not */
        largest = size > largest ? size : largest;
    }
    if (!finite)
        return mgi_fail(ctx, MGEN_E_NUMERIC,
                        "tensor '%.*s' has values that are not finite, which FP8 cannot store",
                        QUOTE_MAX, source->name);
    const int e = mgk_e4m3_exponent(largest);
    const float down = mgk_power_of_two(-e);
    *scale = mgk_power_of_two(e);
    for (int64_t i = 0; i < source->dims[1]; i++)
        codes[i] = mgk_to_e4m3(row[i] * down);
    return MGEN_OK;
}

/* `piece` has room for `most` rows, `codes` for one, `scale` for a value of each. */
static mgen_status write_rows(mgi_writer *file, const mgi_st_source *source, mgi_st_reader *read,
                              float *piece, int64_t most, uint8_t *codes, float *scale)
{
    const int64_t rows = source->dims[0], cols = source->dims[1];
    for (int64_t first = 0; first < rows; first += most) {
        const int64_t n = rows - first < most ? rows - first : most;
        const float *values = piece;
        if (read)
            MGI_TRY(read(source->data, first * cols, piece, n * cols));
        else
            values = (const float *)source->data + first * cols;
        for (int64_t i = 0; i < n; i++) {
            MGI_TRY(quantise(file->ctx, source, values + i * cols, codes, &scale[first + i]));
            MGI_TRY(mgi_writer_write(file, codes, (size_t)cols));
        }
    }
    return mgi_writer_write(file, scale, (size_t)rows * sizeof *scale);
}

static mgen_status write_f8(mgi_writer *file, const mgi_st_source *source, mgi_st_reader *read)
{
    const int64_t rows = source->dims[0], cols = source->dims[1];
    const int64_t most = cols < 1 || cols > PIECE ? 1 : PIECE / cols;
    const size_t room = (size_t)(cols > PIECE ? cols : PIECE);
    float *scale = NULL, *piece = NULL;
    uint8_t *codes = NULL;
    mgen_status status = mgi_alloc_zero(file->ctx, (size_t)rows, sizeof *scale, &scale);
    if (status == MGEN_OK)
        status = mgi_alloc_zero(file->ctx, room, sizeof *piece, &piece);
    if (status == MGEN_OK)
        status = mgi_alloc_zero(file->ctx, (size_t)cols, sizeof *codes, &codes);
    if (status == MGEN_OK)
        status = write_rows(file, source, read, piece, most, codes, scale);
    mgi_free(file->ctx, codes);
    mgi_free(file->ctx, piece);
    mgi_free(file->ctx, scale);
    return status;
}

/* `piece` has room for PIECE values; NULL: the source's values can be read where they are. */
static mgen_status write_data(mgi_writer *file, const mgi_st_source *source, mgi_st_reader *read,
                              float *piece)
{
    int64_t bytes, count;
    MGI_TRY(check_source(file->ctx, source, &bytes));
    if (source->store == MGI_ST_F8)
        return write_f8(file, source, read);
    count = bytes / size_of(source->store);
    if (!piece)
        return write_values(file, source->store, source->data, count);
    for (int64_t done = 0; done < count; done += PIECE) {
        int64_t n = count - done < PIECE ? count - done : PIECE;
        MGI_TRY(read(source->data, done, piece, n));
        MGI_TRY(write_values(file, source->store, piece, n));
    }
    return MGEN_OK;
}

mgen_status mgi_st_write(mgen_context *ctx, const char *path, const mgi_st_source *tensors,
                         int64_t count, const char *const *metadata, int metadata_pairs)
{
    return mgi_st_write_read(ctx, path, tensors, count, metadata, metadata_pairs, NULL);
}

mgen_status mgi_st_write_read(mgen_context *ctx, const char *path, const mgi_st_source *tensors,
                              int64_t count, const char *const *metadata, int metadata_pairs,
                              mgi_st_reader *read)
{
    mgi_json_writer header;
    mgi_writer file = {.fd = -1};
    const char *text;
    size_t size;
    float *piece = NULL;
    mgi_json_writer_init(&header, ctx, 0);
    mgen_status status = check_sources(ctx, tensors, count, metadata, metadata_pairs);
    if (status == MGEN_OK && read)
        status = mgi_alloc_zero(ctx, PIECE, sizeof *piece, &piece);
    if (status == MGEN_OK)
        status = make_header(&header, tensors, count, metadata, metadata_pairs);
    if (status == MGEN_OK)
        status = mgi_json_text(&header, &text, &size);
    if (status == MGEN_OK)
        status = mgi_writer_open(ctx, path, &file);
    if (status == MGEN_OK)
        status = write_header(&file, text, size);
    for (int64_t i = 0; i < count && status == MGEN_OK; i++)
        status = write_data(&file, &tensors[i], read, piece);
    if (status == MGEN_OK)
        status = mgi_writer_commit(&file);
    mgi_writer_abort(&file);
    mgi_free(ctx, piece);
    mgi_json_writer_free(&header);
    return status;
}
