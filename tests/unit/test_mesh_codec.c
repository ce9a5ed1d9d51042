/* SPDX-License-Identifier: MIT
 * Films encoded and decoded by many ranks, by rows or in parts of time: as by one rank. MOVIEGEN_DIST=1 has more ranks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "faulty_comm.h"
#include "model/tae_stream.h"
#include "random_values.h"
#include "rank_threads.h"
#include "task/ranks.h"

#include <math.h>

enum { WIDTH = 32, HEIGHT = 16, FRAME = WIDTH * HEIGHT * 3, FACTOR = 4 };
enum {
    LONG = FACTOR * 61 - 2
}; /* frames: several rounds of parts, and no whole latent at the end */
enum { VALUES = (LONG + 2) * FRAME };

static const mgi_tae_config plain = {
    .levels = 3, .channels = {4, 6, 8}, .latent_channels = 3, .blocks = 1, .temporal = true};

/* A film, and the autoencoder that it passes through. */
static struct {
    mgi_tae_config tae;
    int64_t frames, height, tile;
    bool encodes;
    int bad;   /* the rank whose source fails; 0: none */
    fault lie; /* of rank 1 */
} film;
static float whole[VALUES], made[RANKS][VALUES]; /* by one rank, by each of many */

static mgen_status make_tae(mgen_context *ctx, mgi_tae *tae)
{
    MGI_TRY(mgi_tae_init(tae, ctx, &film.tae));
    MGI_TRY(mgi_module_random(&tae->module, 1));
    randomise(&tae->module, 0.05f);
    return MGEN_OK;
}

static mgen_status take(void *user, const mgi_frames_box *box, float *rgb)
{
    float *out = user;
    for (int64_t i = 0; i < box->count * box->height; i++) {
        int64_t row = (box->first + i / box->height) * film.height + box->top + i % box->height;
        memcpy(out + (row * WIDTH + box->left) * 3, rgb + i * box->width * 3,
               (size_t)(box->width * 3) * sizeof *rgb);
    }
    return MGEN_OK;
}

static mgen_status give(void *user, int64_t first, int64_t count, float *rgb)
{
    const rank_state *s = user;
    if (film.bad && s->rank == film.bad)
        return mgi_fail(s->ctx, MGEN_E_IO, "no such frame");
    int64_t frame = film.height * WIDTH * 3;
    for (int64_t i = 0; i < count * frame; i++)
        rgb[i] = 2.0f * mgi_random_unit(3, 2, (uint64_t)(first * frame + i)) - 1.0f;
    return MGEN_OK;
}

static mgen_status decode(rank_state *s, const mgi_tae *tae, float *out)
{
    mgi_run run;
    mgi_run_init(&run, s->ctx, false);
    T *z = mgi_new(
        &run, MGK_F32,
        MGI_DIMS(1, (film.frames + FACTOR - 1) / FACTOR, film.height / FACTOR, WIDTH / FACTOR, 3));
    for (int64_t i = 0; z && i < z->count; i++)
        mgi_f32(z)[i] = mgi_random_normal(3, 1, (uint64_t)i);
    if (s->world->size > 1)
        mgi_decode_ranks(&run, s->comm, tae, z, film.frames, 0, film.tile, take, NULL, out);
    else
        mgi_decode_run(&run, tae, z, film.frames, 0, film.tile, take, out);
    mgen_status status = run.status;
    mgi_run_finish(&run);
    return status;
}

static mgen_status encode(rank_state *s, const mgi_tae *tae, float *out)
{
    const int64_t dims[3] = {film.frames, film.height, WIDTH};
    return s->world->size > 1
               ? mgi_encode_ranks(s->ctx, s->comm, tae, dims, film.tile, give, s, out)
               : mgi_encode_film(s->ctx, tae, dims, film.tile, give, s, out);
}

static void film_rank(rank_state *s)
{
    mgi_tae tae;
    CHECK(mgi_device_create(s->ctx, NULL) == MGEN_OK);
    CHECK(make_tae(s->ctx, &tae) == MGEN_OK);
    if (film.lie.kind && s->rank == 1)
        CHECK(faulty_create(s->comm, &film.lie, &s->comm) == MGEN_OK);
    memset(made[s->rank], 0, sizeof made[0]);
    s->status = (film.encodes ? encode : decode)(s, &tae, made[s->rank]);
    mgi_tae_finish(&tae);
    s->ctx->device_destroy(s->ctx->device);
    s->ctx->device = NULL;
}

static void run_film(int ranks)
{
    world all;
    run_ranks(&all, ranks, 20000, film_rank);
    for (int r = 0; r < ranks; r++)
        if (all.ranks[r].status != MGEN_OK)
            fail_msg("rank %d: %s", r, all.ranks[r].said);
    end_ranks(&all);
}

/* Decoded frames are rank 0's, latents everyone's. To the bit; norms over shared rows to rounding. */
static void compare(int ranks, size_t which)
{
    bool rounds = film.tae.groups && !film.tile && film.height / FACTOR >= ranks;
    double most = 0.0;
    run_film(ranks);
    for (int r = 0; r < (film.encodes ? ranks : 1); r++)
        for (int64_t i = 0; i < VALUES; i++)
            most = fmax(most, fabs((double)whole[i] - (double)made[r][i]));
    if (most > (rounds ? 1e-5 : 0.0))
        fail_msg("film %zu by %d ranks: %.3g apart", which, ranks, most);
}

static void test_films(void **state)
{
    (void)state;
    mgi_tae_config norm = plain, tiles = plain, overlaps = plain, flat = plain;
    norm.groups = 2;
    tiles.tile_frames = overlaps.tile_frames = 24;
    tiles.tile_overlap = 8;
    overlaps.tile_overlap = 16; /* a tile's end is that of two tiles before it */
    flat.temporal = false;
    norm.ldm = flat.ldm = norm.mixes = flat.mixes = true;
    const struct {
        const mgi_tae_config *tae;
        int64_t frames, height, tile;
    } films[] = {/* rows of latents for four ranks, or for one */
                 {&plain, 50, 16, 0},
                 {&plain, 5, 16, 0},
                 {&norm, 30, 16, 0},
                 {&flat, 7, 16, 0},
                 {&plain, LONG, 4, 0},
                 {&norm, 50, 4, 0},
                 /* in tiles of time, of space, of both */
                 {&tiles, LONG, 8, 0},
                 {&overlaps, 98, 4, 0},
                 {&plain, 50, 16, 16},
                 {&norm, 30, 16, 16},
                 {&overlaps, 50, 16, 16}};
    for (size_t i = 0; i < sizeof films / sizeof films[0]; i++)
        for (int encodes = 0; encodes < 2; encodes++) {
            film.tae = *films[i].tae;
            film.frames = films[i].frames;
            if (!film.tae.temporal) /* a latent a frame */
                film.frames = encodes ? 7 : 7 * FACTOR;
            film.height = films[i].height;
            film.tile = films[i].tile;
            film.encodes = encodes;
            run_film(1);
            memcpy(whole, made[0], sizeof whole);
            for (int ranks = 2; ranks <= (getenv("MOVIEGEN_DIST") ? 8 : 4); ranks += 1 + (i > 0))
                compare(ranks, i);
        }
}

/* A rank's failure is told by all, and they go on. */
static void test_failure(void **state)
{
    (void)state;
    world all;
    film.tae = plain;
    film.frames = 50;
    film.tile = 0;
    film.encodes = true;
    film.bad = 2;
    for (film.height = 4; film.height <= 16; film.height += 12) { /* parts, rows */
        run_ranks(&all, 4, 20000, film_rank);
        for (int r = 0; r < 4; r++) {
            assert_int_equal(all.ranks[r].status, MGEN_E_IO);
            assert_says(&all.ranks[r], r == 2 ? "no such frame" : "rank 2: no such frame");
            assert_int_equal(all.ranks[r].later, MGEN_OK);
        }
        end_ranks(&all);
    }
    film.bad = 0;
}

/* A rank sends frames that the film has not: rank 0 writes them nowhere. */
static void test_lies(void **state)
{
    (void)state;
    static const int64_t words[] = {-1, INT64_MIN, INT64_MAX, 51, INT64_MAX / 3};
    world all;
    film.tae = plain;
    film.frames = 50;
    film.height = 4;
    film.tile = 0;
    film.encodes = false;
    for (int at = 0; at < 6; at++)
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            film.lie = (fault){.kind = FAULT_WORD, .index = at, .word = words[i]};
            run_ranks(&all, 2, 20000, film_rank);
            assert_int_equal(all.ranks[0].status, MGEN_E_DESYNC);
            assert_says(&all.ranks[0], "rank 1 sends frames that the film has not");
            assert_int_not_equal(all.ranks[1].status, MGEN_OK);
            end_ranks(&all);
        }
    film.lie.kind = FAULT_NONE;
}

/* How far a latent is seen: changed, it changes frames as far as the reach says, and hardly farther. */
static void test_reach(void **state)
{
    (void)state;
    enum { LATENTS = 33, AT = 16, SIZE = 4 * 4 * 3 };
    mgen_context *ctx = make_context();
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    for (int k = 0; k < 4; k++) {
        mgi_tae tae;
        mgi_run run;
        film.tae = plain;
        film.tae.blocks = 1 + k / 2;
        film.tae.keeps_time[k % 2] = k > 0;
        assert_int_equal(make_tae(ctx, &tae), MGEN_OK);
        const mgi_tae_reach reach = mgi_tae_reach_of(&tae, MGI_TAE_DECODES);
        mgi_run_init(&run, ctx, false);
        T *z = mgi_new(&run, MGK_F32, MGI_DIMS(1, LATENTS, 4, 4, 3)), *y[2];
        for (int i = 0; i < 2; i++) {
            for (int64_t j = 0; j < z->count; j++)
                mgi_f32(z)[j] =
                    mgi_random_normal(3, 1, (uint64_t)j) + (i && j / SIZE == AT ? 100.0f : 0.0f);
            y[i] = mgi_tae_decode(&run, &tae, z);
            assert_non_null(y[i]);
        }
        int64_t each = y[0]->count / LATENTS, first = -1, last = -1;
        for (int64_t i = 0; i < y[0]->count; i++)
            if (mgi_f32(y[0])[i] != mgi_f32(y[1])[i]) {
                first = first < 0 ? i / each : first;
                last = i / each;
            }
        assert_true(first > 0 && last < LATENTS - 1);
        /* what is seen before it is a part that has it after; the farthest traces are lost in rounding */
        assert_in_range(reach.after, AT - first, AT - first + 2);
        assert_in_range(reach.before, last - AT, last - AT + 2);
        mgi_run_finish(&run);
        mgi_tae_finish(&tae);
    }
    ctx->device_destroy(ctx->device);
    ctx->device = NULL;
    mgi_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reach), cmocka_unit_test(test_films),
                                       cmocka_unit_test(test_failure), cmocka_unit_test(test_lies)};
    return cmocka_run_group_tests_name("mesh codec", tests, NULL, NULL);
}
