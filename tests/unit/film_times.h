/* SPDX-License-Identifier: MIT
 * Times of frames, written into a film that is there. `films` is that of films_folder.h. */
#ifndef FILM_TIMES_H
#define FILM_TIMES_H

#include "films_folder.h"

#include <stdint.h>
#include <stdlib.h>

static inline uint8_t *load_film(const char *name, size_t *size)
{
    FILE *f = fopen(in_films(name), "rb");
    uint8_t *data = malloc(1 << 22);
    if (!f || !data)
        fail_msg("no %s", name);
    *size = fread(data, 1, 1 << 22, f);
    fclose(f);
    return data;
}

static inline uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void set_u32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Frame i of the `count` of a .mp4 lasts percent[i] of what it did. The muxer left room behind the index. */
static inline void set_durations(const char *name, const uint32_t *percent, int count)
{
    static const char *const boxes[] = {"moov", "trak", "mdia", "minf", "stbl", "stts"};
    uint32_t runs = 1, run = 0;
    for (int i = 1; i < count; i++)
        runs += percent[i] != percent[i - 1];
    const uint32_t more = 8 * (runs - 1);
    size_t size;
    uint8_t *file = load_film(name, &size), *moov = memmem(file, size, "moov", 4);
    uint8_t *edits = memmem(file, size, "edts", 4);
    assert_non_null(moov);
    if (edits) /* they say how long all of it lasts */
        memcpy(edits, "free", 4);
    uint8_t *space = moov - 4 + get_u32(moov - 4), *times = memmem(moov, size - 64, "stts", 4);
    assert_memory_equal(space + 4, "free", 4);
    const uint32_t room = get_u32(space);
    assert_true(room > more + 8 && times && get_u32(times + 8) == 1);
    const uint32_t each = get_u32(times + 16);
    memmove(times + 20 + more, times + 20, (size_t)(space - (times + 20)));
    for (int i = 0; i < 6; i++) {
        uint8_t *box = memmem(moov, (size_t)(space - moov), boxes[i], 4);
        set_u32(box - 4, get_u32(box - 4) + more);
    }
    set_u32(times + 8, runs);
    for (int i = 0; i < count; i++) {
        run += i && percent[i] != percent[i - 1];
        set_u32(times + 12 + 8 * run,
                i && percent[i] == percent[i - 1] ? get_u32(times + 12 + 8 * run) + 1 : 1);
        set_u32(times + 16 + 8 * run, each * percent[i] / 100);
    }
    set_u32(space + more, room - more);
    memcpy(space + more + 4, "free", 4);
    put_bytes(name, (const char *)file, size);
    free(file);
}

/* The `count` frames of a .mkv with one cluster begin at `begin` ms, and those from number `from` on are `later` ms later. */
static inline void set_times(const char *name, uint8_t begin, int from, int later, int count)
{
    static const uint8_t cluster[] = {0x1F, 0x43, 0xB6, 0x75};
    size_t size;
    uint8_t *file = load_film(name, &size), *end = file + size;
    uint8_t *at = memmem(file, size, cluster, 4);
    assert_true(at && !memmem(at + 4, size - (size_t)(at + 4 - file), cluster, 4));
    at += 4 + 1;
    at += __builtin_clz((uint32_t)at[-1] << 24 | 1);
    at += at[0] == 0xBF ? 6 : 0;                 /* a checksum, which nobody looks at */
    assert_true(at[0] == 0xE7 && at[1] == 0x81); /* its own time, of one byte */
    at[2] = begin;
    at += 3;
    int frames = 0;
    while (at < end && (at[0] == 0xA3 || at[0] == 0xA0)) {
        const int bytes = __builtin_clz((uint32_t)at[1] << 24 | 1) + 1;
        uint64_t length = at[1] & (0xFFU >> bytes);
        for (int i = 1; i < bytes; i++)
            length = length << 8 | at[1 + i];
        uint8_t *block = at + 1 + bytes;
        if (at[0] == 0xA0) { /* a group, with the block in it */
            assert_int_equal(block[0], 0xA1);
            block += 2 + __builtin_clz((uint32_t)block[1] << 24 | 1);
        }
        const int time = block[1] << 8 | block[2], moved = time + (frames++ >= from ? later : 0);
        block[1] = (uint8_t)(moved >> 8);
        block[2] = (uint8_t)moved;
        at += 1 + bytes + length;
    }
    assert_int_equal(frames, count);
    put_bytes(name, (const char *)file, size);
    free(file);
}

/* A .mkv or .webm, which tells how long a frame lasts, does not any more. */
static inline void take_rate(const char *name)
{
    static const uint8_t duration[] = {0x23, 0xE3, 0x83};
    size_t size;
    uint8_t *file = load_film(name, &size), *at = memmem(file, size, duration, 3);
    assert_true(at && (at[3] & 0x80) &&
                !memmem(at + 3, size - (size_t)(at + 3 - file), duration, 3));
    at[1] = (uint8_t)(0x80 | ((at[3] & 0x7F) + 2)); /* nothing, of as many bytes */
    at[0] = 0xEC;
    put_bytes(name, (const char *)file, size);
    free(file);
}

#endif
