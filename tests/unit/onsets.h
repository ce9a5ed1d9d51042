/* SPDX-License-Identifier: MIT
 * Clips that become light when their sounds set in, and when that is seen and heard of a dataset; on `ctx` and OK() of the test.
 */
#ifndef TESTS_UNIT_ONSETS_H
#define TESTS_UNIT_ONSETS_H

#include "data/dataset_sound.h"
#include "data/world_sound.h"
#include "said.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RATE = MGI_WORLD_SOUND_RATE, SIDE = 16, FRAME = SIDE * SIDE * 3, FRAMES = 16 };

/* From `onset` seconds on it is light. */
static void light_up(uint8_t *rgb, int frames, int fps, double onset)
{
    for (int i = 0; i < frames; i++)
        memset(rgb + i * FRAME, (double)i / fps >= onset - 1e-9 ? 200 : 40, FRAME);
}

/* What is heard at a time: nothing, then 0.4 of a tone. */
static double tone(double seconds, double onset)
{
    return seconds < onset ? 0.0 : 0.4 * sin(2.0 * acos(-1.0) * 440.0 * (seconds - onset));
}

/* A film's first light frame of those seen at `fps`, and the first sample that is as loud as it becomes. */
static void find_onsets(mgi_dataset *ds, uint64_t index, int fps, double seconds[2])
{
    enum { COUNT = RATE / 2 };
    uint8_t *pixels = malloc(FRAMES * FRAME);
    float *samples = malloc(COUNT * sizeof *samples);
    int frame = 0, at = 0;
    assert_true(pixels && samples);
    OK(mgi_dataset_watch(ctx, ds, index, fps, fps / 2, pixels));
    OK(mgi_dataset_hear(ctx, ds, index, 0, COUNT, samples));
    while (frame < fps / 2 && pixels[frame * FRAME] < 120)
        frame++;
    while (at < COUNT && fabsf(samples[at]) < 0.1f)
        at++;
    seconds[0] = (double)frame / fps;
    seconds[1] = (double)at / RATE;
    free(samples);
    free(pixels);
}

/* Of a clip of `own` frames a second, seen at `fps`. */
static void assert_onsets(mgi_dataset *ds, uint64_t index, int own, int fps, double onset)
{
    double seconds[2];
    find_onsets(ds, index, fps, seconds);
    /* the clip's first light frame, and half of the time that one of those seen stands for */
    const double first = ceil(onset * own - 1e-9) / own;
    if (fabs(seconds[0] - first) > 0.5 / fps + 1e-9 || fabs(seconds[1] - onset) > 0.001)
        fail_msg("sample %d, %d frames a second, at %d: light at %g s, loud at %g s", (int)index,
                 own, fps, seconds[0], seconds[1]);
}

#endif
