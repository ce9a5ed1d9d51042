/* SPDX-License-Identifier: MIT
 * A folder of small films as a test makes it, and pairs of them: before and after an edit, with its instruction. `ctx` and OK()
 * are those of the program. */
#ifndef PAIR_FILMS_H
#define PAIR_FILMS_H

#include "films_folder.h"
#include "media/media.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAIR_SIDE = 48, PAIR_FRAMES = 20, PAIR_FRAME = PAIR_SIDE * PAIR_SIDE * 3, PAIR_STEP = 2 };

/* A folder in this one. */
static inline void make_films(const char *dir, const char *name)
{
    snprintf(films, sizeof films, "%.100s/%.40s", dir, name);
    assert_int_equal(mkdir(films, 0700), 0);
}

/* What a pixel of a film is: a square in the middle of a ground, both of which become lighter by PAIR_STEP each frame. */
static inline int shade_of(int ground, int64_t width, int64_t height, int64_t x, int64_t y,
                           int64_t frame)
{
    const bool square =
        4 * x >= width && 4 * x < 3 * width && 4 * y >= height && 4 * y < 3 * height;
    return ground + (square ? 60 : 0) + PAIR_STEP * (int)frame;
}

/* `fps` in hundredths. */
static inline void put_film_of(const char *name, int64_t width, int64_t height, int64_t frames,
                               uint32_t fps, int ground)
{
    uint8_t *rgb = malloc((size_t)(frames * height * width * 3)), *at = rgb;
    assert_non_null(rgb);
    for (int64_t i = 0; i < frames; i++)
        for (int64_t y = 0; y < height; y++)
            for (int64_t x = 0; x < width; x++, at += 3)
                memset(at, shade_of(ground, width, height, x, y, i), 3);
    const mgi_frames f = {rgb, width, height, frames, fps, 100};
    OK(mgi_frames_write(ctx, in_films(name), &f));
    free(rgb);
}

static inline void put_film(const char *name, int ground)
{
    put_film_of(name, PAIR_SIDE, PAIR_SIDE, PAIR_FRAMES, 1600, ground);
}

/* Whether `frames` frames are those of such a film from `first` on. */
static inline void assert_film(const uint8_t *rgb, int64_t frames, int64_t first, int ground)
{
    for (int64_t i = 0; i < frames; i++)
        for (int64_t y = 0; y < PAIR_SIDE; y += 5)
            for (int64_t x = 0; x < PAIR_SIDE; x += 5) {
                const int is = rgb[i * PAIR_FRAME + (y * PAIR_SIDE + x) * 3];
                const int want = shade_of(ground, PAIR_SIDE, PAIR_SIDE, x, y, first + i);
                if (abs(is - want) > 1)
                    fail_msg("frame %d at %d, %d: %d is not %d", (int)i, (int)x, (int)y, is, want);
            }
}

/* Grounds of pair i. */
static inline int before_of(int i)
{
    return 10 + 5 * i;
}

static inline int after_of(int i)
{
    return 60 + 4 * i;
}

/* `count` pairs, 00.y4m and so on, each with a caption and an instruction of another task. */
static inline void put_pairs(int count)
{
    static const char *const told[] = {"make the square white", "remove the square\n",
                                       "style: light", "add a square"};
    for (int i = 0; i < count; i++) {
        char name[32], text[64];
        snprintf(name, sizeof name, "%02d.y4m", i);
        put_film(name, before_of(i));
        snprintf(name, sizeof name, "%02d.edited.y4m", i);
        put_film(name, after_of(i));
        snprintf(name, sizeof name, "%02d.edit.txt", i);
        put_text(name, told[i % 4]);
        snprintf(name, sizeof name, "%02d.txt", i);
        snprintf(text, sizeof text, "square %d on a ground", i);
        put_text(name, text);
    }
}

/* Samples of the films are whole. */
static inline mgen_status open_films_of(int64_t side, int64_t frames, mgi_dataset **out)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    p.width = p.height = (uint32_t)side;
    p.frames = (uint32_t)frames;
    return mgi_dataset_folder(ctx, films, &p, out);
}

static inline mgi_dataset *open_films(void)
{
    mgi_dataset *ds;
    OK(open_films_of(PAIR_SIDE, PAIR_FRAMES, &ds));
    return ds;
}

#endif
