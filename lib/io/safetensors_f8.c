/* SPDX-License-Identifier: MIT
 * FP8 in safetensors: which tensor has the scales of which, and codes times scales. */
#include "io/safetensors_f8.h"

#include "core/checked.h"
#include "kernels/fp8/e4m3.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    QUOTE_MAX = 100, /* bytes of a name that a message shows */
    READ = 16384,    /* codes on their way to be converted */
    SOME = 256,      /* scales that are read at a time */
    BLOCK = 128,     /* rows and columns that share a scale */
    NAME_ROOM = MGI_ST_NAME_MAX + 16
};

static const char weight_end[] = ".weight";
#define STEM(name) (int)(strlen(name) - (sizeof weight_end - 1)), name

/* ---- whose scales are whose ------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const mgi_st_entry *)a)->name, ((const mgi_st_entry *)b)->name);
}

static mgi_st_entry *find(mgi_st_entry *entries, int64_t count, const char *name)
{
    const mgi_st_entry key = {.name = name};
    return bsearch(&key, entries, (size_t)count, sizeof key, compare_names);
}

static bool is_f8(const mgi_st_entry *e)
{
    return e->dtype == MGI_ST_F8 || e->dtype == MGI_ST_F8_E5M2;
}

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

static int64_t blocks(int64_t n)
{
    return n / BLOCK + (n % BLOCK != 0);
}

/* Of a matrix, a number for each row, (rows, 1). */
static bool a_row_each(const mgi_st_entry *e, const mgi_st_entry *scale)
{
    return e->rank == 2 && scale->rank == 2 && scale->dims[0] == e->dims[0] && scale->dims[1] == 1;
}

static bool is_one(const mgi_st_entry *scale)
{
    for (int i = 0; i < scale->rank; i++)
        if (scale->dims[i] != 1)
            return false;
    return true;
}

/* The shape tells: rows are more than blocks of them, but for a single one. */
static void take(mgi_st_entry *e, const mgi_st_entry *scale)
{
    const int64_t *d = scale->dims;
    e->scale_dtype = scale->dtype;
    e->scale_name = scale->name;
    e->scale_file = scale->file;
    e->scale_at = scale->at;
    if (scale->dtype != MGI_ST_F32 && scale->dtype != MGI_ST_BF16 && scale->dtype != MGI_ST_F16)
        e->why_not = "has scales that are not F32, BF16 or F16";
    else if (is_one(scale) && !e->scaled)
        e->scales = MGI_ST_SCALES_ONE;
    else if (e->scaled || (e->rank >= 2 && d[0] == e->dims[0] &&
                           (scale->rank == 1 || (scale->rank == 2 && d[1] == 1))))
        e->scales = MGI_ST_SCALES_ROWS;
    else if (e->rank == 2 && scale->rank == 2 && d[0] == blocks(e->dims[0]) &&
             d[1] == blocks(e->dims[1]))
        e->scales = MGI_ST_SCALES_BLOCKS;
    else
        e->why_not = "has scales that are neither one number, nor one for each row, (rows) or "
                     "(rows, 1), nor one for each block of 128 x 128";
}

/* As this library has it, or not at all. */
static void pair_own(mgi_st_entry *entries, int64_t count, mgi_st_entry *e)
{
    char name[NAME_ROOM];
    snprintf(name, sizeof name, "%s_scale", e->name);
    mgi_st_entry *scale = find(entries, count, name);
    e->own = true;
    e->scaled =
        scale && e->dtype == MGI_ST_F8 && scale->dtype == MGI_ST_F32 && a_row_each(e, scale);
    if (e->scaled) {
        take(e, scale);
        scale->rank = -1; /* goes */
    } else {
        e->why_not =
            "in a file of the format \"moviegen\", whose FP8 is matrices of F8_E4M3 with a "
            "tensor of that name and _scale beside it, F32 of (rows, 1)";
    }
}

static void pair(mgi_st_entry *entries, int64_t count, mgi_st_entry *e)
{
    static const char *const beside[] = {"input_scale", "scale_input", "comfy_quant"};
    const bool weight = ends_with(e->name, weight_end);
    mgi_st_entry *scale = NULL;
    char name[NAME_ROOM];
    for (int i = 0; i < 3; i++) {
        if (i == 2 && weight)
            snprintf(name, sizeof name, "%.*s.scale_weight", STEM(e->name));
        else
            snprintf(name, sizeof name, "%s_scale%s", e->name, i ? "_inv" : "");
        mgi_st_entry *found = i < 2 || weight ? find(entries, count, name) : NULL;
        if (!found)
            continue;
        e->scaled =
            i == 0 && e->dtype == MGI_ST_F8 && found->dtype == MGI_ST_F32 && a_row_each(e, found);
        if (scale)
            e->why_not = "has several tensors of scales";
        else
            take(e, found);
        scale = found;
        found->rank = -1;
    }
    for (size_t i = 0; i < sizeof beside / sizeof *beside && weight; i++) {
        snprintf(name, sizeof name, "%.*s.%s", STEM(e->name), beside[i]);
        mgi_st_entry *found = find(entries, count, name);
        if (found)
            found->rank = -1;
    }
}

/* A mark that weights have scales, of two values at the most. */
static bool is_mark(const mgi_st_entry *e)
{
    return (!strcmp(e->name, "scaled_fp8") || ends_with(e->name, ".scaled_fp8")) && e->rank == 1 &&
           e->dims[0] <= 2;
}

void mgi_st_pair(mgi_st_entry *entries, int64_t *count, bool own)
{
    int64_t kept = 0;
    bool any = false;
    for (int64_t i = 0; i < *count; i++) {
        mgi_st_entry *e = &entries[i];
        if (!is_f8(e) || e->rank < 0)
            continue;
        any = true;
        (own ? pair_own : pair)(entries, *count, e);
    }
    for (int64_t i = 0; i < *count && any; i++)
        if (entries[i].rank >= 0 && (own || !is_mark(&entries[i])))
            entries[kept++] = entries[i];
    *count = any ? kept : *count;
}

/* ---- scales ----------------------------------------------------------------------------------- */

static int64_t columns_of(const mgi_st_entry *e)
{
    int64_t cols = 1;
    for (int i = 1; i < e->rank; i++)
        cols *= e->dims[i];
    return cols > 0 ? cols : 1;
}

static int64_t scale_count(const mgi_st_entry *e)
{
    return e->scales == MGI_ST_SCALES_ONE    ? 1
           : e->scales == MGI_ST_SCALES_ROWS ? e->dims[0]
                                             : blocks(e->dims[0]) * blocks(e->dims[1]);
}

static bool is_power(float scale)
{
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    return (bits & 0x7FFFFFu) == 0 && scale >= mgk_power_of_two(-MGK_E4M3_SCALE_LOG2) &&
           scale <= mgk_power_of_two(MGK_E4M3_SCALE_LOG2);
}

static mgen_status check_scale(mgen_context *ctx, const mgi_st_entry *e, int64_t i, float scale,
                               bool as_codes)
{
    const bool power = is_power(scale);
    if (e->own && !power)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "tensor '%.*s': the scale of row %" PRId64
                        " is %g; it must be a power of two from 2^-%d to 2^%d",
                        QUOTE_MAX, e->name, i, (double)scale, MGK_E4M3_SCALE_LOG2,
                        MGK_E4M3_SCALE_LOG2);
    if (!(scale > 0.0f && scale <= mgk_power_of_two(MGK_E4M3_SCALE_LOG2)))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "tensor '%.*s': scale %" PRId64
                        " is %g; scales are numbers above 0, up to 2^%d",
                        QUOTE_MAX, e->scale_name, i, (double)scale, MGK_E4M3_SCALE_LOG2);
    if (as_codes && !power)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "tensor '%.*s': scale %" PRId64
                        " is %g, no power of two from 2^-%d to 2^%d, as codes that are held as "
                        "they are (precision fp8) must have; open the model in bf16 or f32",
                        QUOTE_MAX, e->scale_name, i, (double)scale, MGK_E4M3_SCALE_LOG2,
                        MGK_E4M3_SCALE_LOG2);
    return MGEN_OK;
}

/* Scales i .. i + n - 1, at most SOME. */
static mgen_status read_some(mgen_context *ctx, const mgi_st_entry *e, int64_t i, int64_t n,
                             bool as_codes, float *out)
{
    uint16_t halves[SOME];
    const bool wide = e->scale_dtype == MGI_ST_F32;
    const size_t each = wide ? sizeof *out : sizeof *halves;
    MGI_TRY(mgi_reader_read(ctx, e->scale_file, e->scale_at + each * (uint64_t)i,
                            wide ? (void *)out : halves, each * (size_t)n));
    for (int64_t k = 0; k < n; k++) {
        if (!wide)
            out[k] = e->scale_dtype == MGI_ST_BF16 ? mgi_st_from_bf16(halves[k])
                                                   : mgi_st_from_f16(halves[k]);
        MGI_TRY(check_scale(ctx, e, i + k, out[k], as_codes));
    }
    return MGEN_OK;
}

static mgen_status refuse(mgen_context *ctx, const mgi_st_entry *e)
{
    return mgi_fail(ctx, MGEN_E_CORRUPT, "tensor '%.*s' is of FP8 and %s", QUOTE_MAX, e->name,
                    e->why_not);
}

mgen_status mgi_st_read_scales(mgen_context *ctx, const mgi_st_entry *e, int64_t row, float *out,
                               int64_t n)
{
    if (e->why_not)
        return refuse(ctx, e);
    if (e->scales == MGI_ST_SCALES_BLOCKS)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "tensor '%.*s': codes that are held as they are (precision fp8) have a "
                        "scale for each row, and '%.*s' one for each block of 128 x 128; open the "
                        "model in bf16 or f32",
                        QUOTE_MAX, e->name, QUOTE_MAX, e->scale_name);
    float one = 1.0f;
    if (e->scales == MGI_ST_SCALES_ONE)
        MGI_TRY(read_some(ctx, e, 0, 1, true, &one));
    for (int64_t done = 0, some; done < n; done += some) {
        some = n - done < SOME ? n - done : SOME;
        if (e->scales == MGI_ST_SCALES_ROWS)
            MGI_TRY(read_some(ctx, e, row + done, some, true, out + done));
        for (int64_t k = 0; k < some && e->scales != MGI_ST_SCALES_ROWS; k++)
            out[done + k] = one;
    }
    return MGEN_OK;
}

/* ---- codes ------------------------------------------------------------------------------------ */

_Static_assert(MGK_E4M3_NAN == 0x7F, "and of either sign");

/* Codes from this one on are those of no numbers, of either sign. */
static int first_bad(const mgi_st_entry *e)
{
    return e->dtype == MGI_ST_F8 ? MGK_E4M3_NAN : 0x7C;
}

/* Whether one of eight is such a code: with what is missing to 0x80 added to it it reaches the sign's place. */
static bool any_bad(const uint8_t codes[8], int bad)
{
    uint64_t all;
    memcpy(&all, codes, sizeof all);
    const uint64_t missing = bad == MGK_E4M3_NAN ? 0x0101010101010101u : 0x0404040404040404u;
    return (((all & 0x7F7F7F7F7F7F7F7Fu) + missing) & 0x8080808080808080u) != 0;
}

mgen_status mgi_st_read_codes(mgen_context *ctx, const mgi_st_entry *e, int64_t first, uint8_t *out,
                              int64_t n)
{
    const int bad = first_bad(e);
    int64_t i = 0;
    MGI_TRY(mgi_st_read_bytes(ctx, e, (uint64_t)first, out, (size_t)n));
    while (n - i >= 8 && !any_bad(out + i, bad))
        i += 8;
    for (; i < n; i++)
        if ((out[i] & 0x7F) >= bad)
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "tensor '%.*s': value %" PRId64 " is the code of no number", QUOTE_MAX,
                            e->name, first + i);
    return MGEN_OK;
}

/* ---- numbers ---------------------------------------------------------------------------------- */

typedef struct reading {
    const mgi_st_entry *e;
    int64_t cols;
    int64_t first, count; /* of the scales that are here */
    float scale[SOME];
    float value[256]; /* of codes */
} reading;

static void start(const mgi_st_entry *e, reading *r)
{
    r->e = e;
    r->cols = columns_of(e);
    r->first = r->count = 0;
    for (int i = 0; i < 256; i++)
        r->value[i] =
            e->dtype == MGI_ST_F8 ? mgk_from_e4m3((uint8_t)i) : mgi_st_from_f16((uint16_t)(i << 8));
}

/* The scale of element `at`, and before which element the next begins. */
static mgen_status scale_of(mgen_context *ctx, reading *r, int64_t at, float *scale, int64_t *end)
{
    const mgi_st_entry *e = r->e;
    const int64_t row = at / r->cols, col = at % r->cols, row_end = at - col + r->cols;
    int64_t i = 0;
    *scale = 1.0f;
    *end = INT64_MAX;
    if (e->scales == MGI_ST_SCALES_NONE)
        return MGEN_OK;
    if (e->scales == MGI_ST_SCALES_ROWS) {
        i = row;
        *end = row_end;
    } else if (e->scales == MGI_ST_SCALES_BLOCKS) {
        const int64_t left = BLOCK - col % BLOCK;
        i = row / BLOCK * blocks(r->cols) + col / BLOCK;
        *end = row_end - at < left ? row_end : at + left;
    }
    if (i < r->first || i >= r->first + r->count) {
        const int64_t all = scale_count(e);
        r->count = 0; /* what was here goes */
        r->first = i;
        const int64_t n = all - i < SOME ? all - i : SOME;
        MGI_TRY(read_some(ctx, e, i, n, false, r->scale));
        r->count = n;
    }
    *scale = r->scale[i - r->first];
    return MGEN_OK;
}

mgen_status mgi_st_read_f8(mgen_context *ctx, const mgi_st_entry *e, int64_t first, float *out,
                           int64_t n)
{
    uint8_t codes[READ];
    reading r;
    if (e->why_not)
        return refuse(ctx, e);
    start(e, &r);
    for (int64_t done = 0, some; done < n; done += some) {
        some = n - done < READ ? n - done : READ;
        MGI_TRY(mgi_st_read_codes(ctx, e, first + done, codes, some));
        for (int64_t i = 0, end; i < some; i = end) {
            float scale;
            MGI_TRY(scale_of(ctx, &r, first + done + i, &scale, &end));
            end = end - first - done < some ? end - first - done : some;
            for (int64_t k = i; k < end; k++)
                out[done + k] = r.value[codes[k]] * scale;
        }
    }
    return MGEN_OK;
}
