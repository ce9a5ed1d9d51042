/* SPDX-License-Identifier: MIT
 * .wav: all samples of what is accepted are numbers. */
#include "fuzz.h"

#include "core/alloc.h"
#include "media/track.h"

#include <math.h>
#include <string.h>

static bool read_wav(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_track t;
    (void)data;
    if (!fuzz_ok(ctx, mgi_wav_read(ctx, path, &t))) {
        FUZZ_CHECK(!t.samples);
        return false;
    }
    FUZZ_CHECK(t.count > 0 && t.rate > 0 && t.channels > 0 && t.channels <= 8);
    FUZZ_CHECK((uint64_t)t.count * t.channels <= size);
    for (int64_t i = 0; i < t.count * t.channels; i++)
        FUZZ_CHECK(isfinite(t.samples[i]));
    mgi_free(ctx, t.samples);
    return true;
}

static uint8_t *put(uint8_t *at, const char *name, uint32_t size)
{
    memcpy(at, name, 4);
    for (int i = 0; i < 4; i++)
        at[4 + i] = (uint8_t)(size >> (8 * i));
    return at + 8;
}

/* 24 bytes of samples behind a chunk that nobody needs. */
static uint8_t *make_wav(bool extensible, int format, int channels, int bits, uint32_t length,
                         size_t *size)
{
    static const uint8_t guid_end[14] = {0, 0, 0,    0, 0x10, 0,    0x80,
                                         0, 0, 0xAA, 0, 0x38, 0x9B, 0x71};
    uint8_t *out = calloc(1, 128), *at = out, *f;
    FUZZ_CHECK(out);
    at = put(at, "RIFF", 100);
    memcpy(at, "WAVE", 4);
    at = put(at + 4, "LIST", 3) + 4;
    f = put(at, "fmt ", extensible ? 40 : 16);
    f[0] = extensible ? 0xFE : (uint8_t)format;
    f[1] = extensible ? 0xFF : 0;
    f[2] = (uint8_t)channels;
    f[4] = 0x80;
    f[5] = 0xBB; /* 48000 */
    f[12] = (uint8_t)(channels * bits / 8);
    f[14] = (uint8_t)bits;
    if (extensible) {
        f[16] = 22;
        f[18] = (uint8_t)bits;
        f[24] = (uint8_t)format;
        memcpy(f + 26, guid_end, sizeof guid_end);
    }
    at = put(f + (extensible ? 40 : 16), "data", length);
    for (int i = 0; i < 24; i++)
        at[i] = i % 4 == 3 ? 0x3F : (uint8_t)(37 * i); /* floats are then small numbers */
    *size = (size_t)(at + 24 - out);
    return out;
}

static uint8_t *make_16(size_t *size)
{
    return make_wav(false, 1, 2, 16, 24, size);
}

static uint8_t *make_24(size_t *size)
{
    return make_wav(true, 1, 1, 24, 24, size);
}

static uint8_t *make_floats(size_t *size)
{
    return make_wav(false, 3, 1, 32, UINT32_MAX, size);
}

static uint8_t *make_doubles(size_t *size)
{
    return make_wav(true, 3, 3, 64, 24, size);
}

static const fuzz_seed sounds[] = {
    {.make = make_16}, {.make = make_24}, {.make = make_floats}, {.make = make_doubles}};

const fuzz_target fuzz_wav = {
    .name = "wav",
    .size_max = 4096,
    .ending = ".wav",
    .failures = {MGEN_E_UNSUPPORTED},
    FUZZ_SEEDS(sounds),
    .read = read_wav,
};
