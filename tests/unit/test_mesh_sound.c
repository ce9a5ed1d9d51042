/* SPDX-License-Identifier: MIT
 * Sounds made by many ranks: those of one rank, to the very bits where nothing is added in another order; what is refused,
 * stopped, and lost. MOVIEGEN_DIST=1 runs what takes its time, too; MOVIEGEN_MESH_DEVICE: rank_device.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "faulty_comm.h"
#include "rank_device.h"
#include "test_folder.h"
#include "tiny_audio.h"

#include <math.h>

enum { HOP = 6, SIDE = 10, FRAMES = 7, STEPS = 3, BEFORE = 4 * HOP, SAMPLES = 256 * HOP };

static int save_model(void **state)
{
    mgi_audio audio;
    if (make_folder(state) != 0)
        return -1;
    mgen_context *ctx = make_context();
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    make_audio(&audio, ctx);
    save_audio(&audio, ctx, folder);
    mgi_audio_finish(&audio);
    mgi_context_free(ctx);
    return 0;
}

/* What is made, and how. */
typedef struct way {
    mgi_mesh_shape shape;
    int cp; /* MGI_CP_* */
    int64_t latents;
    int solver, extension, candidates, hold;
    float guidance;
    bool film, before;
    /* what goes wrong: on this rank, after this step, or later */
    int bad_rank, bad_step, timeout_ms;
    bool stop_pieces, sink_fails, film_fails, leave, faulty;
    bool other_text, other_film, other_before;
} way;

typedef struct heard {
    rank_state *rank;
    int steps, total;
    int64_t count;
    float samples[SAMPLES];
    uint64_t most, needs; /* memory */
    double flops;
} heard;

static way now;
static fault faults[RANKS]; /* of each rank's communicator */
static _Atomic bool released;
static heard all_heard[RANKS], truth;

static bool bad(const heard *h)
{
    return now.bad_step && h->rank->rank == now.bad_rank;
}

/* A film without end, each of whose pixels is another. */
static mgen_status film(void *user, int64_t first, int64_t count, float *rgb)
{
    heard *h = user;
    rank_state *s = h->rank;
    CHECK(s->rank == 0);
    if (now.film_fails && bad(h))
        return mgi_fail(s->ctx, MGEN_E_IO, "the film cannot be read");
    for (int64_t i = 0; i < count * SIDE * SIDE * 3; i++)
        rgb[i] = sinf((float)(first * SIDE * SIDE * 3 + i) * 0.37f);
    return MGEN_OK;
}

static mgen_status take(void *user, int64_t first, int64_t count, const float *samples)
{
    heard *h = user;
    rank_state *s = h->rank;
    CHECK(s->rank == 0 && first == h->count && first + count <= SAMPLES);
    if (!s->wrong)
        memcpy(h->samples + first, samples, (size_t)count * sizeof *samples);
    h->count += count;
    return bad(h) && now.sink_fails ? mgi_fail(s->ctx, MGEN_E_IO, "the sink is full") : MGEN_OK;
}

static bool progress(void *user, int done, int total)
{
    heard *h = user;
    rank_state *s = h->rank;
    CHECK(++h->steps == done || now.solver == MGI_SOLVER_DOPRI5);
    h->total = total;
    bool here = bad(h) && !now.stop_pieces && !now.sink_fails && done == now.bad_step;
    if (here && now.leave)
        mgi_comm_abort(s->comm);
    return here;
}

static bool stop(void *user)
{
    heard *h = user;
    rank_state *s = h->rank;
    CHECK(s->rank != 0);
    return bad(h) && now.stop_pieces;
}

static float before[2][BEFORE];

static mgi_sound_request request(heard *h)
{
    const bool other = h->rank->rank == 1;
    mgi_sound_request r = {.caption = now.other_text && other ? "a bell" : "a ball",
                           .negative = "hiss",
                           .seed = 7,
                           .steps = now.solver == MGI_SOLVER_DOPRI5 ? 30 : STEPS,
                           .schedule = MGI_SCHEDULE_LINEAR,
                           .solver = now.solver,
                           .guidance = now.guidance,
                           .samples = now.latents * HOP - 1,
                           .extension = now.extension,
                           .candidates = now.candidates,
                           .progress = progress,
                           .stop = stop,
                           .sink = take,
                           .user = h};
    if (now.film) {
        r.source = film;
        r.film[0] = FRAMES;
        r.film[1] = r.film[2] = SIDE;
        r.fps = 9.0;
        r.film_hash = h->rank->rank == 0 ? 5 : !other ? 0 : now.other_film ? 6 : 5;
    }
    if (now.before) {
        r.before = before[now.other_before && other];
        r.before_count = BEFORE;
        r.before_hash = now.other_before && other;
    }
    return r;
}

static mgen_status make_sound(rank_state *s, const mgi_mesh *mesh)
{
    heard *h = &all_heard[s->rank];
    mgi_audio audio;
    mgi_generate_needs needs = {0};
    uint64_t hash;
    s->ctx->device->hold = now.hold ? now.hold : MGI_HOLD_F32;
    MGI_TRY(mgi_audio_open(s->ctx, folder, "audio", NULL, mesh, &audio, &hash));
    audio.transformer.cp = now.cp;
    h->rank = s;
    const mgi_sound_request r = request(h);
    mgen_status estimated = mgi_sound_estimate(s->ctx, &audio, &r, &needs);
    mgi_device_trim(s->ctx->device);
    const uint64_t held = atomic_load(&s->ctx->heap->now);
    const double flops = s->ctx->device->counts.flops;
    atomic_store(&s->ctx->heap->peak, held);
    mgen_status status = mgi_sound_make(s->ctx, &audio, &r);
    CHECK(estimated == MGEN_OK || estimated == status);
    h->most = atomic_load(&s->ctx->heap->peak) - held;
    h->needs = needs.host_bytes;
    h->flops = (s->ctx->device->counts.flops - flops) / needs.flops;
    mgi_audio_finish(&audio);
    return status;
}

static void sound_rank(rank_state *s)
{
    rank_device_open(s);
    if (now.faulty && s->rank == now.bad_rank) {
        mgi_comm *own = s->comm;
        CHECK(faulty_create(own, &faults[s->rank], &s->comm) == MGEN_OK);
    }
    rank_over_mesh(s, now.shape, make_sound);
    rank_device_close(s);
    if (s->rank != now.bad_rank)
        released = true;
}

static void run_way(way w, world *all)
{
    now = w;
    memset(all_heard, 0, sizeof all_heard);
    run_ranks(all, w.shape.dp ? w.shape.dp * w.shape.cp * w.shape.tp : 1,
              w.timeout_ms ? w.timeout_ms : 20000, sound_rank);
}

static void assert_made(const world *all)
{
    for (int r = 0; r < all->size; r++)
        if (all->ranks[r].status != MGEN_OK)
            fail_msg("rank %d: %s", r, all->ranks[r].said);
}

/* The sound of one rank, to be compared with. */
static void make_truth(way w)
{
    world all;
    w.shape = (mgi_mesh_shape){0, 0, 0};
    run_way(w, &all);
    assert_made(&all);
    end_ranks(&all);
    truth = all_heard[0];
    assert_int_equal(truth.count, w.latents * HOP - 1);
}

/* `near`, of the loudest: 0 asks for the very bits. */
static void compare(way w, double near)
{
    world all;
    char text[64];
    double far = 0.0, most = 0.0;
    run_way(w, &all);
    assert_made(&all);
    mgi_mesh_text(w.shape, text, sizeof text);
    for (int64_t i = 0; i < truth.count; i++) {
        far = fmax(far, fabs((double)all_heard[0].samples[i] - (double)truth.samples[i]));
        most = fmax(most, fabs((double)truth.samples[i]));
    }
    if (!(far <= near * most))
        fail_msg("%s, %lld latents: %.3g apart of %.3g", text, (long long)w.latents, far, most);
    for (int r = 0; r < all.size; r++) {
        const heard *h = &all_heard[r];
        assert_true(h->steps == truth.steps && h->total == truth.total);
        assert_int_equal(h->count, r ? 0 : truth.count);
        if (h->most > h->needs && !getenv("MOVIEGEN_MESH_DEVICE"))
            fail_msg("%s, rank %d: %llu bytes estimated, %llu needed", text, r,
                     (unsigned long long)h->needs, (unsigned long long)h->most);
        if (h->flops > 1.0 + 1e-6)
            fail_msg("%s, rank %d: %.6f of the operations estimated", text, r, h->flops);
    }
    end_ranks(&all);
}

/* -- tests -------------------------------------------------------------------------------------- */

static const way plain = {.latents = 8, .film = true};

/* Guidance over two ranks, windows and guidance over more: not a bit differs. */
static void test_shared_rows(void **state)
{
    (void)state;
    static const struct {
        int dp;
        way w;
    } cases[] = {
        {2, {.latents = 8, .film = true}},
        {2, {.latents = 5}},
        {3, {.latents = 21, .film = true, .before = true}},
        {2, {.latents = 33, .film = true, .solver = MGI_SOLVER_MIDPOINT, .guidance = 1.0f}},
        {4, {.latents = 21, .film = true}},
        {2, {.latents = 21, .extension = MGI_SOUND_ONE_BY_ONE, .candidates = 2}},
        {2, {.latents = 13, .film = true, .candidates = 3}},
        {2, {.latents = 20, .solver = MGI_SOLVER_DOPRI5}},
        {8, {.latents = 33, .film = true}}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        way w = cases[i].w;
        if (cases[i].dp > 4 && !getenv("MOVIEGEN_DIST"))
            continue;
        make_truth(w);
        w.shape = (mgi_mesh_shape){cases[i].dp, 1, 1};
        compare(w, 0.0);
    }
}

/* Tokens, heads and FFN; windows of lengths that ranks do not divide among them. */
static void test_split(void **state)
{
    (void)state;
    static const struct {
        mgi_mesh_shape shape;
        int cp;
    } cases[] = {{{1, 1, 2}, 0}, {{1, 2, 1}, 0}, {{1, 2, 1}, MGI_CP_EXCHANGE}, {{1, 3, 1}, 0},
                 {{2, 1, 2}, 0}, {{1, 2, 2}, 0}, {{2, 2, 1}, MGI_CP_EXCHANGE}, {{1, 4, 1}, 0},
                 {{2, 2, 2}, 0}};
    static const way ways[] = {
        {.latents = 8, .film = true},
        {.latents = 5},
        {.latents = 33, .film = true, .before = true},
        {.latents = 21, .film = true, .extension = MGI_SOUND_ONE_BY_ONE, .candidates = 2}};
    for (size_t k = 0; k < sizeof ways / sizeof ways[0]; k++) {
        make_truth(ways[k]);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            way w = ways[k];
            w.shape = cases[i].shape;
            w.cp = cases[i].cp;
            if (i > 4 && !getenv("MOVIEGEN_DIST"))
                continue;
            compare(w, 2e-5);
        }
    }
}

/* The solver that chooses its steps takes the same ones on all ranks. Their lengths follow its first errors, which are as small
 * as rounding: what two meshes make is as far apart as it is from the flow's own end, by what the solver tolerates. */
static void test_adaptive(void **state)
{
    (void)state;
    way w = plain;
    w.solver = MGI_SOLVER_DOPRI5;
    make_truth(w);
    w.shape = (mgi_mesh_shape){2, 1, 2};
    compare(w, 0.1);
    w.shape = (mgi_mesh_shape){2, 1, 1};
    compare(w, 0.0);
}

/* Weights in bf16: rows that are shared have the same bits, sums over ranks other roundings. */
static void test_held(void **state)
{
    (void)state;
    way w = plain;
    w.hold = MGI_HOLD_BF16;
    make_truth(w);
    w.shape = (mgi_mesh_shape){2, 1, 1};
    compare(w, 0.0);
    w.shape = (mgi_mesh_shape){1, 1, 2};
    compare(w, 0.1);
}

/* -- what goes wrong ---------------------------------------------------------------------------- */

static void run_bad(way w, mgen_status status, const char *says, bool goes_on)
{
    world all;
    run_way(w, &all);
    for (int r = 0; r < all.size; r++) {
        const rank_state *s = &all.ranks[r];
        const bool own = w.leave && r == w.bad_rank;
        if (s->status != status && !own)
            fail_msg("rank %d: %d, not %d: %s", r, s->status, status, s->said);
        if (!own)
            assert_says(s, says);
        if ((s->later == MGEN_OK) != goes_on)
            fail_msg("rank %d: afterwards %d", r, s->later);
        if (status == MGEN_E_CANCELLED && !w.stop_pieces)
            assert_int_equal(all_heard[r].steps, w.bad_step);
    }
    end_ranks(&all);
}

/* Any rank may cancel: all end at the same step, or piece, and can go on. So they can when the film or the sink fails. */
static void test_cancel(void **state)
{
    (void)state;
    way w = plain;
    w.latents = 205; /* in two pieces */
    w.bad_step = 2;
    for (int i = 0; i < 4; i++) {
        w.shape = i % 2 ? (mgi_mesh_shape){2, 1, 1} : (mgi_mesh_shape){1, 2, 2};
        w.bad_rank = i % 2 ? i / 2 : 3 - i;
        run_bad(w, MGEN_E_CANCELLED, "cancelled after step 2 of 3", true);
        w.stop_pieces = true;
        if (w.bad_rank)
            run_bad(w, MGEN_E_CANCELLED, "cancelled at piece 1 of 2", true);
        w.stop_pieces = false;
    }
    w.bad_rank = 0;
    w.sink_fails = true;
    run_bad(w, MGEN_E_IO, "the sink is full", true);
    w.sink_fails = false;
    w.film_fails = true;
    run_bad(w, MGEN_E_IO, "the film cannot be read", true);
}

static void test_lost(void **state)
{
    (void)state;
    way w = plain;
    w.shape = (mgi_mesh_shape){2, 2, 1};
    w.bad_rank = 2;
    w.bad_step = 2;
    w.leave = true;
    run_bad(w, MGEN_E_PEER_LOST, "rank 2", false);
}

/* A call that fails on one rank, wherever that is: nobody makes a sound, and nobody is left waiting. */
static void test_faults(void **state)
{
    (void)state;
    world all;
    way w = plain;
    const int64_t times = getenv("MOVIEGEN_DIST") ? 60 : 6, begin = 8; /* behind the mesh's own */
    w.latents = 20;
    w.candidates = 2;
    w.shape = (mgi_mesh_shape){2, 1, 2};
    w.bad_rank = 3;
    w.faulty = true;
    faults[3] = (fault){.kind = FAULT_NONE, .at = -1};
    run_way(w, &all);
    assert_made(&all);
    end_ranks(&all);
    const int64_t calls = faults[3].calls;
    assert_true(calls > 100);
    for (int64_t i = 0; i <= times; i++) {
        const bool silent = i == times;
        const int64_t at = silent ? calls / 2 : begin + i * (calls - 1 - begin) / (times - 1);
        released = false;
        faults[3] = (fault){.kind = silent ? FAULT_SILENT : FAULT_STATUS,
                            .at = at,
                            .status = MGEN_E_NO_MEMORY,
                            .released = &released};
        w.timeout_ms = silent ? 1000 : 0;
        run_way(w, &all);
        for (int r = 0; r < all.size; r++)
            if (all.ranks[r].status == MGEN_OK && !(at == calls - 1 && r == 3))
                fail_msg("call %lld of %lld fails on rank 3, and rank %d does not see it",
                         (long long)at, (long long)calls, r);
        if (silent)
            assert_says(&all.ranks[0], "rank(s) 3 did not arrive");
        end_ranks(&all);
    }
}

static void test_refused(void **state)
{
    (void)state;
    way w = plain;
    w.shape = (mgi_mesh_shape){1, 6, 1}; /* 12 are too long */
    run_bad(w, MGEN_E_INVALID, "8 tokens cannot be split over cp=6 x tp=1", true);
    w = plain;
    w.shape = (mgi_mesh_shape){2, 1, 1, 2};
    run_bad(w, MGEN_E_UNSUPPORTED, "shard=2", true);
    w.shape = (mgi_mesh_shape){3, 1, 1};
    w.other_text = true;
    run_bad(w, MGEN_E_DESYNC, "ranks disagree on the request", true);
    w.other_text = false;
    w.other_film = true;
    run_bad(w, MGEN_E_DESYNC, "ranks disagree on the request", true);
    w.other_film = false;
    w.before = w.other_before = true;
    run_bad(w, MGEN_E_DESYNC, "ranks disagree on the request", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_rows), cmocka_unit_test(test_split),
        cmocka_unit_test(test_adaptive),    cmocka_unit_test(test_held),
        cmocka_unit_test(test_cancel),      cmocka_unit_test(test_lost),
        cmocka_unit_test(test_faults),      cmocka_unit_test(test_refused)};
    for (int i = 0; i < BEFORE; i++) {
        before[0][i] = 0.3f * sinf((float)i * 0.7f);
        before[1][i] = 0.3f * sinf((float)i * 0.9f);
    }
    return cmocka_run_group_tests_name("mesh sound", tests, save_model, remove_folder);
}
