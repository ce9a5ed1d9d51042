/* SPDX-License-Identifier: MIT
 * safetensors: the tensors of a file that is accepted can be read and fill it; the index of several files names all. */
#include "fuzz.h"

#include "io/safetensors_set.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static void check_entry(mgen_context *ctx, const mgi_st_file *st, const mgi_st_entry *e)
{
    const uint64_t end = mgi_reader_size(st->file);
    int64_t count = 1;
    FUZZ_CHECK(mgi_st_find(st, e->name) == e);
    FUZZ_CHECK(!e->data && e->file == st->file && e->at <= end && e->bytes <= end - e->at);
    FUZZ_CHECK(e->rank >= 0 && e->rank <= MGI_ST_RANK_MAX);
    for (int i = 0; i < e->rank; i++)
        count *= e->dims[i]; /* what is as large as the file cannot be more */
    const bool coded = e->dtype == MGI_ST_F8 || e->dtype == MGI_ST_F8_E5M2;
    FUZZ_CHECK(coded || !(e->scales || e->scaled || e->own || e->why_not));
    if (e->scaled) {
        FUZZ_CHECK(e->dtype == MGI_ST_F8 && e->rank == 2 && e->scales == MGI_ST_SCALES_ROWS);
        FUZZ_CHECK(e->scale_at <= end && 4 * (uint64_t)e->dims[0] <= end - e->scale_at);
    }
    if (e->dtype != MGI_ST_F32 && e->dtype != MGI_ST_BF16 && e->dtype != MGI_ST_F16 && !coded)
        return;
    float *out =
        malloc((size_t)(e->rank && e->dims[0] > count ? e->dims[0] : count) * sizeof *out + 1);
    FUZZ_CHECK(out);
    mgen_status status = mgi_st_read_f32(ctx, e, out, count);
    FUZZ_CHECK(status == MGEN_OK || (coded && status == MGEN_E_CORRUPT));
    for (int64_t i = 0; coded && status == MGEN_OK && i < count; i++)
        FUZZ_CHECK(isfinite(out[i]));
    if (coded && e->rank > 0 && count > 0) /* as codes: a scale for each row, or an answer */
        FUZZ_CHECK(mgi_st_read_scales(ctx, e, 0, out, e->dims[0]) != MGEN_OK || out[0] > 0.0f);
    free(out);
}

static bool read_safetensors(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_st_file st;
    if (!fuzz_ok(ctx, mgi_st_open(ctx, NULL, path, &st)))
        return false;
    uint64_t header, tensors = 0;
    bool coded = false; /* whose scales, and more, are gone */
    memcpy(&header, data, sizeof header);
    for (int64_t i = 0; i < st.count; i++) {
        check_entry(ctx, &st, &st.entries[i]);
        tensors += st.entries[i].bytes;
        coded = coded || st.entries[i].dtype == MGI_ST_F8 || st.entries[i].dtype == MGI_ST_F8_E5M2;
    }
    coded = coded || st.header->i - (st.metadata != NULL) > st.count;
    FUZZ_CHECK(coded ? sizeof header + header + tensors <= size
                     : sizeof header + header + tensors == size);
    mgi_st_close(ctx, &st);
    return true;
}

static uint8_t *make(const char *header, size_t data, size_t *size)
{
    uint64_t length = strlen(header);
    *size = sizeof length + length + data;
    uint8_t *out = calloc(*size, 1);
    FUZZ_CHECK(out);
    memcpy(out, &length, sizeof length);
    memcpy(out + sizeof length, header, length);
    for (size_t i = 0; i < data; i++)
        out[sizeof length + length + i] = (uint8_t)(37 * i);
    return out;
}

static uint8_t *make_two(size_t *size)
{
    return make("{\"__metadata__\":{\"format\":\"pt\"},"
                "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                "\"b.weight\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]}}",
                32, size);
}

static uint8_t *make_kinds(size_t *size)
{
    return make("{\"h\":{\"dtype\":\"F16\",\"shape\":[1,2,1],\"data_offsets\":[0,4]},"
                "\"none\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]},"
                "\"one\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[5,13]},"
                "\"u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4,5]}}  ",
                13, size);
}

/* The scales 2^-3 and 1 of two rows of codes. */
static uint8_t *make_codes(size_t *size)
{
    uint8_t *out = make("{\"w\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,3],\"data_offsets\":[0,6]},"
                        "\"w_scale\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[6,14]}}",
                        14, size);
    const float scale[] = {0.125f, 1.0f};
    memcpy(out + *size - sizeof scale, scale, sizeof scale);
    return out;
}

/* The same, as this library writes it. */
static uint8_t *make_own(size_t *size)
{
    uint8_t *out = make("{\"__metadata__\":{\"format\":\"moviegen\"},"
                        "\"w\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,3],\"data_offsets\":[0,6]},"
                        "\"w_scale\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[6,14]}}",
                        14, size);
    const float scale[] = {0.125f, 1.0f};
    memcpy(out + *size - sizeof scale, scale, sizeof scale);
    return out;
}

/* As others write it: one scale, one for each row, one for each block, none; and what stands beside. */
static uint8_t *make_others(size_t *size)
{
    uint8_t *out = make(
        "{\"a.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,3],\"data_offsets\":[0,6]},"
        "\"b.weight\":{\"dtype\":\"F8_E5M2\",\"shape\":[2,3],\"data_offsets\":[6,12]},"
        "\"c.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[130,1],\"data_offsets\":[12,142]},"
        "\"scaled_fp8\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[142,144]},"
        "\"d.bias\":{\"dtype\":\"F8_E5M2\",\"shape\":[4],\"data_offsets\":[144,148]},"
        "\"a.scale_weight\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[148,152]},"
        "\"a.scale_input\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[152,156]},"
        "\"b.weight_scale\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[156,160]},"
        "\"c.weight_scale_inv\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[160,168]}}",
        168, size);
    const float scale[] = {0.3f, 1.0f, 0.0f, 0.75f, 2.0f};
    const uint16_t rows[] = {0x3f40, 0x4010}; /* 0.75, 2.25 */
    uint8_t *data = out + *size - 168;
    for (int i = 0; i < 148; i++)
        data[i] &= 0xbb; /* a number, in either kind */
    memcpy(data + 148, scale, sizeof scale);
    memcpy(data + 156, rows, sizeof rows);
    return out;
}

static uint8_t *make_empty(size_t *size)
{
    return make("{}", 0, size);
}

static const fuzz_seed seeds[] = {{.make = make_two}, {.make = make_kinds},  {.make = make_codes},
                                  {.make = make_own}, {.make = make_others}, {.make = make_empty}};

const fuzz_target fuzz_safetensors = {
    .name = "safetensors",
    .size_max = 4096,
    .ending = ".safetensors",
    .failures = {MGEN_E_UNSUPPORTED},
    FUZZ_SEEDS(seeds),
    .read = read_safetensors,
};

/* ---- an index --------------------------------------------------------------------------------------- */

static void in_folder(const char *path, const char *name, char out[256])
{
    const char *end = strrchr(path, '/');
    FUZZ_CHECK(end);
    snprintf(out, 256, "%.*s/%s", (int)(end - path), path, name);
}

static void put_shard(const char *path, const char *name, uint8_t *(*make_shard)(size_t *size))
{
    char file[256];
    size_t size;
    uint8_t *shard = make_shard(&size);
    in_folder(path, name, file);
    fuzz_write(file, shard, size);
    free(shard);
}

/* The input, under the name of an index too, of two files that are there. */
static bool read_index(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    char file[256];
    mgi_st_set set;
    (void)data;
    (void)size;
    in_folder(path, "model.safetensors.index.json", file);
    if (unlink(file) != 0) { /* the first input */
        put_shard(path, "a.safetensors", make_two);
        put_shard(path, "b.safetensors", make_kinds);
    }
    FUZZ_CHECK(link(path, file) == 0);
    in_folder(path, "", file);
    if (!fuzz_ok(ctx, mgi_st_set_open(ctx, file, "model", &set)))
        return false;
    for (int64_t i = 0; i < set.count; i++)
        FUZZ_CHECK(mgi_st_set_find(&set, set.entries[i].name) == &set.entries[i]);
    mgi_st_set_close(ctx, &set);
    return true;
}

static const fuzz_seed indices[] = {
    {.text = "{\"metadata\": {\"total_size\": 45}, \"weight_map\": {\"a\": \"a.safetensors\", "
             "\"b.weight\": \"a.safetensors\", \"h\": \"b.safetensors\", \"none\": "
             "\"b.safetensors\", \"one\": \"b.safetensors\", \"u\": \"b.safetensors\"}}"},
    {.text = "{\"weight_map\": {\"b.weight\": \"a.safetensors\", \"a\": \"a.safetensors\"}}"}};

const fuzz_target fuzz_index = {
    .name = "index",
    .size_max = 1024,
    .ending = ".json",
    .failures = {MGEN_E_UNSUPPORTED, MGEN_E_NOT_FOUND},
    FUZZ_SEEDS(indices),
    .read = read_index,
};
