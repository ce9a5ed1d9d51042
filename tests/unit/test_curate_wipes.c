/* SPDX-License-Identifier: MIT
 * Borders that travel over the picture from one scene to another, as curation finds them: in frames that are made up, and in films. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api/proc.h"
#include "data/curate_wipes.h"
#include "hills.h"
#include "one_context.h"
#include "raw_films.h"

#include <string.h>

/* A film of two places: from frame `from` on, for `length` frames, a border travels; or something else happens. */
typedef struct passage {
    int frames, from, length;
    double fps, x, y; /* to where the border travels */
    double soft;      /* its width, of the way */
    double speed;     /* of the view, pixels a frame */
    int bar;          /* a bright bar, so high and wide, crosses the picture instead */
    int every;        /* or the places take turns so often */
} passage;

static double share_of(const passage *p, int i, int k)
{
    const double sum = fabs(p->x) + fabs(p->y), soft = p->soft > 0.0 ? p->soft : 1e-6;
    const double u = (k % W + 0.5) / W, v = (k / W + 0.5) / H;
    const double at =
        (fabs(p->x) * (p->x < 0.0 ? 1.0 - u : u) + fabs(p->y) * (p->y < 0.0 ? 1.0 - v : v)) / sum;
    const double passed = (double)(i - p->from + 1) / (p->length + 1);
    const double share = (passed * (1.0 + soft) - at) / soft;
    return fmin(fmax(share, 0.0), 1.0);
}

static void frame_of(const passage *p, int i, uint8_t *out)
{
    static float a[PIXELS], b[PIXELS];
    if (i == 0 || p->speed > 0.0) {
        hills(a, 1, p->speed * i);
        hills(b, 2, p->speed * i);
    }
    for (int k = 0; k < PIXELS; k++) {
        double share = 0.0;
        if (p->every)
            share = i / p->every % 2;
        else if (!p->bar)
            share = share_of(p, i, k);
        out[k] = (uint8_t)((1.0 - share) * (double)a[k] + share * (double)b[k] + 0.5);
        const int at = (i - p->from) * (W + p->bar) / (p->length + 1) - p->bar;
        if (p->bar && k / W >= 8 && k / W < 8 + p->bar && k % W >= at && k % W < at + p->bar)
            out[k] = 250;
    }
}

static bool find(const passage *p, double ratio, int64_t *first, int64_t *end)
{
    static uint8_t grey[2][PIXELS];
    mgi_curate_rules rules;
    mgi_curate_wipes *wipes;
    mgi_look_motion m = {0};
    bool found = false;
    mgi_curate_rules_report(&rules);
    rules.join_ratio = ratio;
    OK(mgi_curate_wipes_begin(ctx, &rules, W, H, p->fps, &wipes));
    for (int i = 0; i < p->frames; i++) {
        int64_t from, to;
        frame_of(p, i, grey[i % 2]);
        if (i)
            mgi_look_motion_of(grey[(i + 1) % 2], grey[i % 2], W, H, &m);
        if (!mgi_curate_wipes_frame(wipes, i, grey[i % 2], &m, &from, &to))
            continue;
        assert_true(from >= 0 && from < to && to <= i + 1);
        *first = found && *first < from ? *first : from;
        *end = found && *end > to ? *end : to;
        found = true;
    }
    mgi_curate_wipes_free(wipes);
    return found;
}

/* All of a wipe is found, and little else. */
static void test_found(void **state)
{
    (void)state;
    for (int way = 0; way < 8; way += SANITIZED ? 3 : 1) {
        static const double to[8][2] = {{1, 0},  {1, 1},   {0, 1},  {-1, 1},
                                        {-1, 0}, {-1, -1}, {0, -1}, {1, -1}};
        const passage all[] = {
            {70, 25, 8, 16.0, to[way][0], to[way][1], 0.0, 0.0, 0, 0},
            {70, 25, 16, 16.0, to[way][0], to[way][1], 0.15, 0.0, 0, 0},
            {90, 30, 32, 16.0, to[way][0], to[way][1], 0.0, 0.0, 0, 0},
            {70, 25, 14, 16.0, to[way][0], to[way][1], 0.0, 0.25, 0, 0},
            {110, 40, 30, 30.0, to[way][0], to[way][1], 0.1, 0.0, 0, 0},
            {160, 60, 60, 60.0, to[way][0], to[way][1], 0.0, 0.0, 0, 0},
        };
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            const passage *p = &all[i];
            const int until = p->from + p->length, spare = 3 + p->length / 3 + (int)(p->fps / 8.0);
            int64_t first = -1, end = -1;
            if (!find(p, 1.25, &first, &end) || first > p->from || end < until - 1 ||
                first < p->from - spare || end > until + spare)
                fail_msg("way %d, %d: [%d, %d) is found as [%d, %d)", way, (int)i, p->from, until,
                         (int)first, (int)end);
            assert_false(way == 0 && find(p, 0.0, &first, &end)); /* nobody looks */
        }
    }
}

/* What stands, moves, crosses the picture or is cut is none. */
static void test_none(void **state)
{
    static const passage all[] = {
        {60, 99, 9, 16.0, 1, 0, 0.0, 0.0, 0, 0},   {60, 99, 9, 16.0, 1, 0, 0.0, 0.5, 0, 0},
        {60, 99, 9, 16.0, 1, 0, 0.0, 3.0, 0, 0},   {60, 99, 9, 16.0, 1, 0, 0.0, 9.0, 0, 0},
        {60, 15, 20, 16.0, 1, 0, 0.0, 0.0, 24, 0}, {60, 15, 20, 16.0, 1, 0, 0.0, 0.0, 40, 0},
        {60, 15, 20, 16.0, 1, 0, 0.0, 0.5, 24, 0}, {60, 99, 9, 16.0, 1, 0, 0.0, 0.0, 0, 30},
        {60, 99, 9, 16.0, 1, 0, 0.0, 0.0, 0, 3},   {60, 99, 9, 16.0, 1, 0, 0.0, 0.0, 0, 7},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        int64_t first, end;
        if (find(&all[i], 1.25, &first, &end))
            fail_msg("%d: [%d, %d)", (int)i, (int)first, (int)end);
    }
}

/* ---- films -------------------------------------------------------------------------------------- */

/* A film is a function of (seed, index); most joins are found, and clips have none of them. */
static void test_films(void **state)
{
    enum { FILMS = SANITIZED ? 8 : 16 };
    mgi_curate_rules rules;
    mgi_world_raw raw, again;
    mgi_curate_film film;
    int there = 0, met = 0, clips = 0, whole = 0;
    (void)state;
    mgi_curate_rules_toybox(&rules);
    for (uint64_t i = 0; i < FILMS; i++) {
        mgi_world_raw_slow(&raw, 41, i);
        mgi_world_raw_slow(&again, 41, i);
        assert_memory_equal(&raw, &again, sizeof raw);
        assert_int_equal(raw.kind, i % 2 ? MGI_RAW_SLOWS : MGI_RAW_WIPES);
        OK(watch_raw(ctx, &rules, &raw, &film));
        assert_int_equal(film.shots, 1 + film.cut_count + film.joined);
        for (int t = 1; t < raw.scenes; t++, there++)
            for (int64_t k = 0; k < film.joined; k++)
                if (film.joins[k].first < raw.joined[t] && film.joins[k].end > raw.join[t]) {
                    met++;
                    break;
                }
        for (int64_t k = 0; k < film.count; k++, clips++) {
            bool one = true;
            for (int t = 1; t < raw.scenes; t++)
                one = one && (film.clips[k].first >= raw.joined[t] ||
                              film.clips[k].first + film.clips[k].frames <= raw.join[t]);
            whole += one;
        }
        mgi_curate_film_free(ctx, &film);
    }
    if (10 * met < 8 * there || 10 * whole < 7 * clips || clips < FILMS)
        fail_msg("%d of %d found, %d of %d clips whole", met, there, whole, clips);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_found), cmocka_unit_test(test_none),
                                       cmocka_unit_test(test_films)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
