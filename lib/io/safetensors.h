/* SPDX-License-Identifier: MIT
 * safetensors: 8 bytes header length, JSON header, tensors without holes or overlaps. Tier 1. */
#ifndef MGI_IO_SAFETENSORS_H
#define MGI_IO_SAFETENSORS_H

#include "io/json.h"
#include "io/path.h"
#include "io/read.h"

#define MGI_ST_HEADER_MAX  100000000 /* bytes */
#define MGI_ST_RANK_MAX    8
#define MGI_ST_TENSORS_MAX 1000000
#define MGI_ST_NAME_MAX    1024 /* bytes of a tensor name */

typedef enum {
    MGI_ST_F32,
    MGI_ST_BF16,
    MGI_ST_F16,
    MGI_ST_I32,
    MGI_ST_U8,
    MGI_ST_F8, /* E4M3 codes */
    MGI_ST_F8_E5M2,
    MGI_ST_OTHER
} mgi_st_dtype;

/* How codes of FP8 are scaled: not at all; by one number; by one for each row, or for each block of 128 x 128. */
enum { MGI_ST_SCALES_NONE, MGI_ST_SCALES_ONE, MGI_ST_SCALES_ROWS, MGI_ST_SCALES_BLOCKS };

typedef struct mgi_st_entry {
    const char *name;
    mgi_st_dtype dtype;
    int rank;
    int64_t dims[MGI_ST_RANK_MAX];
    const void *data; /* its values, of an entry that was made in memory; NULL: they are */
    const mgi_reader *file;
    uint64_t at; /* in the file, from this byte on */
    size_t bytes;
    /* of FP8 */
    bool scaled;         /* as this library writes it: an E4M3 matrix with F32 scales of its rows */
    bool own;            /* in a file that says that it wrote it: scales are powers of two */
    const char *why_not; /* it cannot be read; NULL: it can */
    int scales;          /* MGI_ST_SCALES_* */
    mgi_st_dtype scale_dtype;
    const char *scale_name;
    const mgi_reader *scale_file;
    uint64_t scale_at; /* in that */
} mgi_st_entry;

typedef struct mgi_st_file {
    mgi_reader *file;
    mgi_json *header;
    mgi_st_entry *entries; /* sorted by name */
    int64_t count;
    const mgi_json *metadata; /* "__metadata__" (strings only) or NULL */
} mgi_st_file;

/* Opens and validates everything: range, holes, overlaps, sizes against shapes, file end. Memory is
 * bounded by the header's real size: values are read from the file by the calls below, on any thread, IO if that fails. `dir` NULL: `name` is the host's own path.
 *
 * A tensor of F8_E4M3 or F8_E5M2 and that of its scales are one entry, whose values are codes times scale, computed in f32. Names
 * and shapes of scales are those of public checkpoints (docs/recipes.md, "FP8 of others"), and there may be none; they
 * are numbers above 0, up to 2^100. In a file of this library ("format" "moviegen") codes are E4M3 matrices with <name>_scale, F32
 * of (rows, 1), powers of two from 2^-100 to 2^100, with which values are numbers of bf16 and codes can be multiplied as
 * they are (kernels/fp8). What is otherwise, and codes that are no numbers, is refused when it is read. */
mgen_status mgi_st_open(mgen_context *ctx, const char *dir, const char *name, mgi_st_file *out);
void mgi_st_close(mgen_context *ctx, mgi_st_file *st);
const mgi_st_entry *mgi_st_find(const mgi_st_file *st, const char *name); /* binary search */
/* Convert an entry (F32, BF16, F16, FP8) into n floats; n must be its element count. CORRUPT: codes or scales of FP8. */
mgen_status mgi_st_read_f32(mgen_context *ctx, const mgi_st_entry *entry, float *out, int64_t n);
/* The same of elements first .. first + n - 1, which it must have. */
mgen_status mgi_st_read_part(mgen_context *ctx, const mgi_st_entry *entry, int64_t first,
                             float *out, int64_t n);
/* Its bytes as they are, from byte `at` of them on. */
mgen_status mgi_st_read_bytes(mgen_context *ctx, const mgi_st_entry *entry, uint64_t at, void *out,
                              size_t size);
/* mgi_hash64_piece() of all of them. */
mgen_status mgi_st_hash_piece(mgen_context *ctx, const mgi_st_entry *entry, uint64_t *hash);
/* Codes as they are, and the scales of n rows of E4M3, which must be powers of two then. CORRUPT as above. */
mgen_status mgi_st_read_codes(mgen_context *ctx, const mgi_st_entry *entry, int64_t first,
                              uint8_t *out, int64_t n);
mgen_status mgi_st_read_scales(mgen_context *ctx, const mgi_st_entry *entry, int64_t row,
                               float *out, int64_t n);

/* One tensor to write; F32 source, stored as F32, BF16 (round to nearest even) or, a matrix, F8: codes and, behind them,
 * <name>_scale, to the bits of the op quantize_fp8. Values that are not finite are NUMERIC then. */
typedef struct mgi_st_source {
    const char *name;
    mgi_st_dtype store; /* MGI_ST_F32, MGI_ST_BF16 or MGI_ST_F8 */
    int rank;
    int64_t dims[MGI_ST_RANK_MAX];
    const void *data; /* floats, or what a reader takes them from */
} mgi_st_source;
/* Tensors in the given order, header padded with blanks to 8 bytes; metadata: pairs key, value. */
mgen_status mgi_st_write(mgen_context *ctx, const char *path, const mgi_st_source *tensors,
                         int64_t count, const char *const *metadata, int metadata_pairs);
/* The same from memory that only `read` can read, some values at a time: n from `first` on. */
typedef mgen_status mgi_st_reader(const void *data, int64_t first, float *out, int64_t n);
mgen_status mgi_st_write_read(mgen_context *ctx, const char *path, const mgi_st_source *tensors,
                              int64_t count, const char *const *metadata, int metadata_pairs,
                              mgi_st_reader *read);

#endif
