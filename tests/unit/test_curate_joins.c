/* SPDX-License-Identifier: MIT
 * Scenes that pass into each other, as curation finds them: in frames that are made up, and in films, whose clips have none of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/proc.h"
#include "data/curate_joins.h"
#include "hills.h"
#include "one_context.h"
#include "raw_films.h"

#include <stdlib.h>
#include <string.h>

/* ---- frames ------------------------------------------------------------------------------------- */

/* A film of two places: from frame `from` on, `length` frames pass from one to the other. */
typedef struct passage {
    int frames, from, length;
    double fps, speed; /* of the view, pixels a frame */
    bool black;        /* by way of it */
    float dimmed;      /* the other place is the first one in a light so strong; 0: it is another */
    bool crossed;      /* by a bright block, all the time */
} passage;

static void frame_of(const passage *p, int i, float *out)
{
    static float a[PIXELS], b[PIXELS];
    static int drawn = -1; /* what rests is drawn once */
    static double speed;
    const float t = i < p->from               ? 0.0f
                    : i < p->from + p->length ? (float)(i - p->from + 1) / (float)(p->length + 1)
                                              : 1.0f;
    if (drawn < 0 || p->speed > 0.0 || speed > 0.0) {
        hills(a, 1, p->speed * i);
        hills(b, 2, p->speed * i);
    }
    drawn = i;
    speed = p->speed;
    const float first = p->black ? fmaxf(1.0f - 2.0f * t, 0.0f) : 1.0f - t;
    const float second = p->black ? fmaxf(2.0f * t - 1.0f, 0.0f) : t;
    for (int k = 0; k < PIXELS; k++)
        out[k] = first * a[k] + second * (p->dimmed > 0.0f ? p->dimmed * a[k] : b[k]);
    for (int k = 0; p->crossed && k < PIXELS; k++)
        if (k / W >= 20 && k / W < 32 && (k % W + 8 * W - 2 * i) % W < 12)
            out[k] = 240.0f;
}

/* The first and the last frame of all that is told; false: nothing is. */
static bool find(const passage *p, double ratio, int64_t *first, int64_t *end)
{
    static float now[PIXELS];
    static uint8_t grey[2][PIXELS];
    mgi_curate_rules rules;
    mgi_curate_joins *joins;
    mgi_look_motion m = {0};
    bool found = false;
    mgi_curate_rules_report(&rules);
    rules.join_ratio = ratio;
    OK(mgi_curate_joins_begin(ctx, &rules, W, H, p->fps, &joins));
    for (int i = 0; i < p->frames; i++) {
        int64_t from, to;
        frame_of(p, i, now);
        const bool cut = i == p->from && p->length == 0;
        for (int k = 0; k < PIXELS; k++)
            grey[i % 2][k] = (uint8_t)(now[k] + 0.5f);
        if (i)
            mgi_look_motion_of(grey[(i + 1) % 2], grey[i % 2], W, H, &m);
        if (!mgi_curate_joins_frame(joins, i, now, &m, cut, &from, &to))
            continue;
        assert_true(from >= 0 && from < to && to <= i + 1);
        *first = found && *first < from ? *first : from;
        *end = found && *end > to ? *end : to;
        found = true;
    }
    mgi_curate_joins_free(joins);
    return found;
}

/* All of a join is found, and little else. */
static void test_found(void **state)
{
    static const passage all[] = {
        {60, 20, 4, 16.0, 0.0, false, 0.0f},         {60, 20, 12, 16.0, 0.0, false, 0.0f},
        {80, 20, 30, 16.0, 0.0, false, 0.0f},        {90, 30, 24, 24.0, 0.0, false, 0.0f},
        {60, 20, 12, 16.0, 0.25, false, 0.0f},       {200, 70, 60, 60.0, 0.0, false, 0.0f},
        {60, 20, 13, 16.0, 0.0, true, 0.0f},         {110, 30, 61, 24.0, 0.0, true, 0.0f},
        {40, -12, 25, 16.0, 0.0, true, 0.0f}, /* a film that begins with black */
        {150, 50, 40, 16.0, 0.0, false, 0.0f, true}, {200, 70, 70, 24.0, 0.0, false, 0.0f, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const passage *p = &all[i];
        const int from = p->from > 0 ? p->from : 0, until = p->from + p->length;
        const int spare = 2 + p->length / 4 + (int)(p->fps / 16.0);
        int64_t first = -1, end = -1;
        if (!find(p, 1.25, &first, &end) || first > from || end < until || first < from - spare ||
            end > until + spare)
            fail_msg("%d: [%d, %d) is found as [%d, %d)", (int)i, from, until, (int)first,
                     (int)end);
        assert_false(find(p, 0.0, &first, &end)); /* nobody looks */
    }
}

/* What stands, moves, is cut or is seen in another light is none. */
static void test_none(void **state)
{
    static const passage all[] = {
        {60, 99, 0, 16.0, 0.0, false, 0.0f},      {60, 99, 0, 16.0, 0.3, false, 0.0f},
        {60, 99, 0, 16.0, 1.5, false, 0.0f},      {60, 99, 0, 16.0, 6.0, false, 0.0f},
        {60, 25, 0, 16.0, 0.0, false, 0.0f},      {60, 25, 0, 16.0, 1.0, false, 0.0f},
        {60, 25, 10, 16.0, 0.0, false, 0.5f},     {60, 25, 30, 16.0, 0.0, false, 0.6f},
        {99, 0, 0, 16.0, 0.0, false, 0.0f, true}, {99, 0, 0, 16.0, 0.4, false, 0.0f, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        int64_t first, end;
        if (find(&all[i], 1.25, &first, &end))
            fail_msg("%d: [%d, %d)", (int)i, (int)first, (int)end);
    }
}

/* ---- films -------------------------------------------------------------------------------------- */

/* A film of the sequence whose first join is of a kind, and that it is found in. */
static void test_films(void **state)
{
    enum { FILMS = SANITIZED ? 4 : 12 };
    mgi_curate_rules rules;
    mgi_world_raw raw, again;
    mgi_curate_film film;
    int clips = 0;
    (void)state;
    mgi_curate_rules_toybox(&rules);
    for (uint64_t i = 0; i < FILMS; i++) {
        mgi_world_raw_joined(&raw, 77, i);
        mgi_world_raw_joined(&again, 77, i);
        assert_memory_equal(&raw, &again, sizeof raw);
        assert_int_equal(raw.kind, i % 2 ? MGI_RAW_FADES : MGI_RAW_DISSOLVES);
        OK(watch_raw(ctx, &rules, &raw, &film));
        assert_true(film.cut_count == 0 && film.shots == 1 + film.joined);
        for (int t = 1; t < raw.scenes; t++) {
            bool met = false;
            for (int64_t k = 0; k < film.joined; k++)
                met =
                    met || (film.joins[k].first < raw.joined[t] && film.joins[k].end > raw.join[t]);
            assert_true(met);
        }
        for (int64_t k = 0; k < film.count; k++, clips++)
            for (int t = 1; t < raw.scenes; t++)
                assert_true(film.clips[k].first >= raw.joined[t] ||
                            film.clips[k].first + film.clips[k].frames <= raw.join[t]);
        mgi_curate_film_free(ctx, &film);
    }
    assert_in_range(clips, FILMS, 3 * FILMS);
}

/* The first `count` frames. */
static void watch_some(const mgi_curate_rules *rules, const mgi_world_raw *raw, int count,
                       mgi_curate_film *film)
{
    mgi_world_raw part = *raw;
    part.frames = count;
    OK(watch_raw(ctx, rules, &part, film));
}

/* The first clip of a film is what it is if the film ends where its first join begins. */
static void check_alone(const mgi_curate_rules *rules, const mgi_world_raw *raw)
{
    mgi_curate_film film, part;
    OK(watch_raw(ctx, rules, raw, &film));
    const int64_t begins = film.joins[0].first;
    const mgi_curate_clip *c = &film.clips[0];
    assert_true(film.joined > 0 && film.count > 0 && c->first + c->frames == begins);
    watch_some(rules, raw, (int)begins, &part);
    assert_int_equal(part.count, 1);
    mgi_curate_clip other = part.clips[0];
    other.view = c->view;
    assert_memory_equal(c, &other, sizeof *c);
    mgi_curate_film_free(ctx, &part);
    mgi_curate_film_free(ctx, &film);
}

/* A clip that ends where a join begins is measured as if the film ended there; one that was closed within the join is
 * shorter, and is none if that leaves too little. */
static void test_clips(void **state)
{
    mgi_curate_rules rules;
    mgi_world_raw raw;
    mgi_curate_film film, part;
    (void)state;
    mgi_curate_rules_toybox(&rules);
    rules.clip_min = 1.0;
    rules.clip_max = 10.0;
    for (uint64_t i = 0; i < (SANITIZED ? 3 : 12); i++) {
        mgi_world_raw_joined(&raw, 77, i);
        check_alone(&rules, &raw);
    }
    mgi_curate_rules_toybox(&rules);
    mgi_world_raw_joined(&raw, 77, 0);
    OK(watch_raw(ctx, &rules, &raw, &film));
    assert_true(film.joined == 1 && film.count == 2);
    const int64_t begins = film.joins[0].first, until = film.joins[0].end;
    mgi_curate_film_free(ctx, &film);
    /* closed three frames within the join */
    rules.clip_max = (double)(begins + 3 - 4) / MGI_RAW_FPS;
    for (int k = 0; k < 2; k++) {
        rules.clip_min = (double)(begins - 4 + k) / MGI_RAW_FPS;
        OK(watch_raw(ctx, &rules, &raw, &film));
        const bool kept = film.count && film.clips[0].first == 4;
        assert_true(kept == (k == 0));
        if (kept) {
            watch_some(&rules, &raw, (int)begins, &part);
            assert_true(film.clips[0].frames == begins - 4 && part.count == 1);
            assert_true(mgi_curate_alike(film.clips[0].view, part.clips[0].view) > 0.999);
            mgi_curate_film_free(ctx, &part);
        }
        for (int64_t i = kept; i < film.count; i++)
            assert_true(film.clips[i].first >= until);
        mgi_curate_film_free(ctx, &film);
    }
}

/* A rule of 0 is a film whose scenes are not told apart. */
static void test_rule(void **state)
{
    mgi_curate_rules rules;
    mgi_world_raw raw;
    mgi_curate_film film;
    (void)state;
    static const char off[] = "{\"base\": \"toybox\", \"join_ratio\": 0}";
    OK(mgi_curate_rules_read(ctx, "test", off, sizeof off - 1, &rules));
    mgi_world_raw_joined(&raw, 77, 0);
    OK(watch_raw(ctx, &rules, &raw, &film));
    assert_true(film.joined == 0 && film.count == 1);
    assert_true(film.clips[0].first + film.clips[0].frames > raw.join[1]);
    mgi_curate_film_free(ctx, &film);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_found), cmocka_unit_test(test_none),
                                       cmocka_unit_test(test_films), cmocka_unit_test(test_clips),
                                       cmocka_unit_test(test_rule)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
