/* SPDX-License-Identifier: MIT
 * RIFF/WAVE (Multimedia Programming Interface and Data Specifications 1.0, and WAVEFORMATEXTENSIBLE).
 *
 * Strict: "fmt " before "data", each chunk within the file, sizes that fit each other, whole samples, floats that are numbers.
 * What stands behind the samples is not looked at; and who writes into a pipe does not know the sizes, which are then
 * 0xFFFFFFFF: samples up to the file's end. */
#include "media/track.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "io/path.h"
#include "io/read.h"

#include <math.h>
#include <string.h>

enum { PCM = 1, FLOATS = 3, EXTENSIBLE = 0xFFFE, FORMAT_BYTES = 16, EXTENSIBLE_BYTES = 40 };
enum { BLOCKS = 512 /* that are read at a time */, BLOCK_MAX = 8 * MGI_TRACK_CHANNELS_MAX };
#define UNKNOWN UINT32_MAX

/* The names of formats are GUIDs that begin with the number of the format and end so. */
static const uint8_t guid_end[14] = {0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71};

typedef struct wav {
    mgen_context *ctx;
    mgi_reader *file;
    uint32_t format, bits, rate, channels;
    size_t at, size; /* of the samples */
} wav;

static uint32_t get_u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t get_u32(const uint8_t *p)
{
    return get_u16(p) | get_u16(p + 2) << 16;
}

static mgen_status corrupt(const wav *w, size_t at, const char *what)
{
    return mgi_fail(w->ctx, MGEN_E_CORRUPT, "%s at byte %zu", what, at);
}

/* ---- reading -------------------------------------------------------------------------------------- */

static mgen_status read_extensible(wav *w, size_t at, const uint8_t *p, uint32_t size)
{
    if (size < EXTENSIBLE_BYTES || get_u16(p + 16) < EXTENSIBLE_BYTES - FORMAT_BYTES - 2)
        return corrupt(w, at, "an extensible format that is too short");
    if (get_u16(p + 18) < 1 || get_u16(p + 18) > w->bits)
        return corrupt(w, at + 18, "more valid bits than there are, or none,");
    if (memcmp(p + 26, guid_end, sizeof(guid_end)) != 0)
        return mgi_fail(w->ctx, MGEN_E_UNSUPPORTED,
                        "its samples are of a kind that is not read; PCM and floats are");
    w->format = get_u16(p + 24);
    return MGEN_OK;
}

static mgen_status read_format(wav *w, size_t at, uint32_t size)
{
    uint8_t p[EXTENSIBLE_BYTES] = {0};
    if (size < FORMAT_BYTES)
        return corrupt(w, at, "a format that is too short");
    MGI_TRY(mgi_reader_read(w->ctx, w->file, at, p, size < sizeof(p) ? size : sizeof(p)));
    w->format = get_u16(p);
    w->channels = get_u16(p + 2);
    w->rate = get_u32(p + 4);
    w->bits = get_u16(p + 14);
    if (w->format == EXTENSIBLE)
        MGI_TRY(read_extensible(w, at, p, size));
    const bool known = w->format == PCM
                           ? w->bits == 8 || w->bits == 16 || w->bits == 24 || w->bits == 32
                       : w->format == FLOATS ? w->bits == 32 || w->bits == 64
                                             : false;
    if (!known)
        return mgi_fail(w->ctx, MGEN_E_UNSUPPORTED,
                        "its samples are of format %u with %u bits; PCM (1) of 8, 16, 24 and 32 "
                        "bits and floats (3) of 32 and 64 are read",
                        w->format, w->bits);
    if (w->channels > MGI_TRACK_CHANNELS_MAX)
        return mgi_fail(w->ctx, MGEN_E_UNSUPPORTED, "it has %u channels; at most %d are read",
                        w->channels, MGI_TRACK_CHANNELS_MAX);
    if (w->channels < 1 || w->rate < 1 || w->rate > MGI_TRACK_RATE_MAX)
        return corrupt(w, at, "a format of no channels or of an impossible rate");
    if (get_u16(p + 12) != w->channels * (w->bits / 8))
        return corrupt(w, at + 12, "a block that is not a sample of each channel");
    return MGEN_OK;
}

/* Find the format and the samples. */
static mgen_status read_chunks(wav *w)
{
    const size_t size = (size_t)mgi_reader_size(w->file);
    uint8_t data[12] = {0}, head[8];
    MGI_TRY(mgi_reader_read(w->ctx, w->file, 0, data, size < sizeof(data) ? size : sizeof(data)));
    if (size >= 4 && memcmp(data, "RF64", 4) == 0)
        return mgi_fail(w->ctx, MGEN_E_UNSUPPORTED, "RF64 is not read; .wav of up to 4 GiB is");
    if (size < 12 || memcmp(data, "RIFF", 4) != 0 || memcmp(data + 8, "WAVE", 4) != 0)
        return corrupt(w, 0, "no 'RIFF' and 'WAVE'");
    for (size_t at = 12;;) {
        if (size - at < 8)
            return corrupt(w, at, w->channels ? "no 'data'" : "no 'fmt '");
        MGI_TRY(mgi_reader_read(w->ctx, w->file, at, head, sizeof(head)));
        uint32_t length = get_u32(head + 4);
        at += 8;
        if (memcmp(head, "data", 4) == 0) {
            if (!w->channels)
                return corrupt(w, at - 8, "'data' before 'fmt '");
            w->at = at;
            w->size = length == UNKNOWN ? size - at : length;
            return w->size <= size - at ? MGEN_OK
                                        : corrupt(w, size, "the file ends within its samples");
        }
        if (length > size - at)
            return corrupt(w, at - 8, "a chunk that is longer than the file");
        if (memcmp(head, "fmt ", 4) == 0) {
            if (w->channels)
                return corrupt(w, at - 8, "a second 'fmt '");
            MGI_TRY(read_format(w, at, length));
        }
        at += length;
        at += at < size && (length & 1); /* chunks begin at even bytes */
    }
}

static float sample_of(const wav *w, const uint8_t *p)
{
    if (w->format == FLOATS && w->bits == 32) {
        float x;
        uint32_t bits = get_u32(p);
        memcpy(&x, &bits, sizeof(x));
        return x;
    }
    if (w->format == FLOATS) {
        double x;
        uint64_t bits = get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
        memcpy(&x, &bits, sizeof(x));
        return (float)x;
    }
    switch (w->bits) {
    case 8: /* the only ones without a sign */
        return (float)((int)p[0] - 128) / 128.0f;
    case 16:
        return (float)(int16_t)get_u16(p) / 32768.0f;
    case 24:
        return (float)((int32_t)(get_u16(p) << 8 | (uint32_t)p[2] << 24) >> 8) / 8388608.0f;
    default:
        return (float)(int32_t)get_u32(p) / 2147483648.0f;
    }
}

/* Of each channel `count` samples, whose bytes are at `at`. */
static mgen_status read_blocks(const wav *w, size_t at, int64_t count, float *samples)
{
    const size_t each = w->bits / 8, block = each * w->channels;
    uint8_t bytes[BLOCKS * BLOCK_MAX];
    const uint8_t *p = bytes;
    MGI_TRY(mgi_reader_read(w->ctx, w->file, at, bytes, (size_t)count * block));
    for (int64_t i = 0; i < count * w->channels; i++, p += each) {
        samples[i] = sample_of(w, p);
        if (!isfinite(samples[i]))
            return corrupt(w, at + (size_t)(p - bytes), "a sample that is no number");
    }
    return MGEN_OK;
}

static mgen_status read_samples(wav *w, mgi_track *out)
{
    const size_t each = w->bits / 8, block = each * w->channels;
    const int64_t count = (int64_t)(w->size / block);
    if (w->size % block)
        return corrupt(w, w->at + w->size, "the samples end within a block");
    if (count < 1)
        return corrupt(w, w->at, "no samples");
    if (count > MGI_TRACK_COUNT_MAX)
        return mgi_fail(w->ctx, MGEN_E_INVALID, "it has %lld samples; at most %d are read",
                        (long long)count, MGI_TRACK_COUNT_MAX);
    MGI_TRY(mgi_track_make(w->ctx, count, w->rate, w->channels, out));
    mgen_status status = MGEN_OK;
    size_t at = w->at;
    for (int64_t i = 0; i < count && status == MGEN_OK; i += BLOCKS) {
        const int64_t n = count - i < BLOCKS ? count - i : BLOCKS;
        status = read_blocks(w, at, n, out->samples + i * w->channels);
        at += (size_t)n * block;
    }
    if (status != MGEN_OK) {
        mgi_free(w->ctx, out->samples);
        out->samples = NULL;
    }
    return status;
}

mgen_status mgi_wav_read(mgen_context *ctx, const char *path, mgi_track *out)
{
    wav w = {.ctx = ctx};
    *out = (mgi_track){.samples = NULL};
    mgen_status status = mgi_reader_open(ctx, NULL, path, &w.file);
    if (status == MGEN_OK) {
        status = read_chunks(&w);
        if (status == MGEN_OK)
            status = read_samples(&w, out);
        mgi_reader_close(ctx, w.file);
    }
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "cannot read '%s'", path);
}

/* ---- writing -------------------------------------------------------------------------------------- */

static uint8_t *put_u16(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)x;
    p[1] = (uint8_t)(x >> 8);
    return p + 2;
}

static uint8_t *put_u32(uint8_t *p, uint32_t x)
{
    return put_u16(put_u16(p, x), x >> 16);
}

static uint8_t *put_name(uint8_t *p, const char *name)
{
    memcpy(p, name, 4);
    return p + 4;
}

/* More than two channels must say so by the extensible form; where they stand in the room is not said. */
static size_t make_header(const mgi_track *t, uint32_t bytes, uint8_t *out)
{
    const bool extensible = t->channels > 2;
    const uint32_t format = extensible ? EXTENSIBLE_BYTES : FORMAT_BYTES;
    uint8_t *p = put_name(out, "RIFF");
    p = put_u32(p, 4 + 8 + format + 8 + bytes);
    p = put_name(put_name(p, "WAVE"), "fmt ");
    p = put_u32(p, format);
    p = put_u16(put_u16(p, extensible ? EXTENSIBLE : PCM), t->channels);
    p = put_u32(put_u32(p, t->rate), t->rate * t->channels * 2);
    p = put_u16(put_u16(p, t->channels * 2), 16);
    if (extensible) {
        p = put_u16(put_u16(p, EXTENSIBLE_BYTES - FORMAT_BYTES - 2), 16);
        p = put_u16(put_u32(p, 0), PCM);
        memcpy(p, guid_end, sizeof(guid_end));
        p += sizeof(guid_end);
    }
    return (size_t)(put_u32(put_name(p, "data"), bytes) - out);
}

mgen_status mgi_wav_write(mgen_context *ctx, const char *path, const mgi_track *t)
{
    enum { PIECE = 4096 };
    uint8_t header[8 + 4 + 8 + EXTENSIBLE_BYTES + 8], piece[2 * PIECE];
    const int64_t values = t->count * t->channels;
    mgi_writer writer;
    mgen_status status;
    MGI_TRY(mgi_track_check(ctx, t));
    if (values > (UINT32_MAX - (int64_t)sizeof(header)) / 2)
        return mgi_fail(ctx, MGEN_E_INVALID,
                        "cannot write '%s': %lld samples of %u channels are more than the 4 GiB of "
                        "a .wav; use .flac",
                        path, (long long)t->count, t->channels);
    size_t size = make_header(t, (uint32_t)(2 * values), header);
    MGI_TRY(mgi_writer_open(ctx, path, &writer));
    MGI_TRY_GOTO(status, mgi_writer_write(&writer, header, size), abort_writer);
    for (int64_t i = 0; i < values; i += PIECE) {
        const int64_t n = values - i < PIECE ? values - i : PIECE;
        for (int64_t k = 0; k < n; k++) {
            float x = rintf(t->samples[i + k] * 32768.0f);
            put_u16(piece + 2 * k, (uint32_t)(int32_t)fminf(fmaxf(x, -32768.0f), 32767.0f));
        }
        MGI_TRY_GOTO(status, mgi_writer_write(&writer, piece, 2 * (size_t)n), abort_writer);
    }
    status = mgi_writer_commit(&writer);
abort_writer:
    mgi_writer_abort(&writer);
    return status;
}
