/* SPDX-License-Identifier: MIT
 * Films made by many ranks: those of one rank, to the very bits where nothing is added in another order; stopped, and
 * lost ranks. MOVIEGEN_DIST=1 runs what takes its time, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/philox.h"
#include "model/tae_stream.h"
#include "mpi_launch.h"
#include "rank_threads.h"
#include "task/generate.h"
#include "task/ranks.h"
#include "tiny_stages.h"

#include <math.h>

enum { WIDTH = 32, HEIGHT = 16, FRAMES = 16, CLIPS = 2, FRAMES_MOST = 72, STEPS = 3 };
enum { FRAME = WIDTH * HEIGHT * 3 };

static char folder[] = "/tmp/mgi-mesh-XXXXXX";

static const mgi_tae_config tae_config = {
    .levels = 3, .channels = {4, 6, 8}, .latent_channels = 3, .blocks = 1, .temporal = true};
static const mgi_text_config text_config = {.t5 = {.vocab = 259,
                                                   .dim = 12,
                                                   .layers = 1,
                                                   .heads = 2,
                                                   .head_dim = 6,
                                                   .ff_dim = 16,
                                                   .buckets = 8,
                                                   .max_distance = 16,
                                                   .tokens_max = 40,
                                                   .eps = 1e-6f}};
static const mgi_vt_config vt_config = {.layers = 2,
                                        .dim = 32,
                                        .heads = 4,
                                        .ff_dim = 24,
                                        .channels = 3,
                                        .patch_t = 1,
                                        .patch_h = 2,
                                        .patch_w = 2,
                                        .frames_max = 4,
                                        .rows_max = 2,
                                        .columns_max = 4,
                                        .text = {12, 12, 0},
                                        .time_dim = 16};

/* -- models in a folder ------------------------------------------------------------------------ */

static void randomise(mgi_module *m, float scale)
{
    for (int64_t k = 0; k < m->count; k++)
        for (int64_t i = 0; i < m->params[k]->value->count; i++)
            mgi_f32(m->params[k]->value)[i] +=
                scale * mgi_random_normal(8, 100 + (uint64_t)k, (uint64_t)i);
}

static void write_vt(mgi_json_writer *w, const void *config)
{
    mgi_vt_config_write(w, config);
}

static void write_tae(mgi_json_writer *w, const void *config)
{
    mgi_tae_config_write(w, config);
}

static void save_tae(mgen_context *ctx, const char *name, mgi_tae_config config)
{
    mgi_tae tae;
    assert_int_equal(mgi_tae_init(&tae, ctx, &config), MGEN_OK);
    assert_int_equal(mgi_module_random(&tae.module, 1), MGEN_OK);
    randomise(&tae.module, 0.05f);
    assert_int_equal(
        mgi_model_file_save(ctx, folder, name, "tae", write_tae, &config, &tae.module, MGI_ST_F32),
        MGEN_OK);
    mgi_tae_finish(&tae);
}

/* "tae" is plain, "norm" has group norm, "tiles" runs in blended tiles of time. */
static int save_models(void **state)
{
    (void)state;
    mgi_vt vt;
    mgi_text_encoder text;
    mgi_tae_config norm = tae_config, tiles = tae_config;
    mgen_context *ctx = make_context();
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    norm.groups = 2;
    tiles.tile_frames = 24;
    tiles.tile_overlap = 16;
    save_tae(ctx, "tae", tae_config);
    save_tae(ctx, "norm", norm);
    save_tae(ctx, "tiles", tiles);
    assert_int_equal(mgi_vt_init(&vt, ctx, &vt_config), MGEN_OK);
    assert_int_equal(mgi_vt_random(&vt, 1), MGEN_OK);
    randomise(&vt.module, 0.05f);
    assert_int_equal(mgi_model_file_save(ctx, folder, "video", "video-transformer", write_vt,
                                         &vt_config, &vt.module, MGI_ST_F32),
                     MGEN_OK);
    mgi_vt_finish(&vt);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mgi_text_encoder_init(&text, ctx, NULL, &text_config), MGEN_OK);
        assert_int_equal(mgi_module_random(mgi_text_module(&text), 2 + (uint64_t)i), MGEN_OK);
        assert_int_equal(mgi_text_encoder_save(&text, folder, i ? "byt5" : "ul2", MGI_ST_F32),
                         MGEN_OK);
        mgi_text_encoder_finish(&text);
    }
    ctx->device_destroy(ctx->device);
    ctx->device = NULL;
    mgi_context_free(ctx);
    return 0;
}

static int remove_models(void **state)
{
    (void)state;
    return remove_all(folder);
}

typedef struct models {
    mgi_tae tae;
    mgi_text_encoder text[2];
    mgi_vt video;
    mgi_networks n;
} models;

/* What a rank needs: text encoders only where they run. */
static mgen_status open_models(mgen_context *ctx, const mgi_mesh *mesh, const char *tae, models *m)
{
    uint64_t hash;
    memset(m, 0, sizeof *m);
    MGI_TRY(mgi_vt_open_mesh(ctx, folder, "video", mesh, &m->video, &hash));
    MGI_TRY(mgi_tae_open(ctx, folder, tae, &m->tae, &hash));
    m->n = (mgi_networks){.tae = &m->tae, .video = &m->video, .clip = {WIDTH, HEIGHT, FRAMES, 16}};
    for (int i = 0; i < 2; i++)
        if (mgi_runs_text(mesh, i)) {
            MGI_TRY(mgi_text_encoder_open(ctx, folder, i ? "byt5" : "ul2", &m->text[i], &hash));
            m->n.text[i] = &m->text[i];
        }
    return mgi_networks_check(ctx, &m->n);
}

static void close_models(models *m)
{
    mgi_vt_finish(&m->video);
    mgi_tae_finish(&m->tae);
    for (int i = 0; i < 2; i++)
        mgi_text_encoder_finish(&m->text[i]);
}

/* -- one rank ---------------------------------------------------------------------------------- */

/* What is made, and how. */
typedef struct way {
    mgi_mesh_shape shape;
    int cp;          /* MGI_CP_* */
    const char *tae; /* NULL: "tae" */
    int clips, frames, solver, tile;
    float guidance, from;
    /* what goes wrong: on this rank, after this step or (stop_frames) while frames are decoded */
    int bad_rank, bad_step;
    bool stop_frames, leave, other_request, sink_fails;
} way;

typedef struct seen {
    rank_state *rank;
    int steps, previews, frames;
    float latents[(FRAMES_MOST / 4) * 4 * 8 * 3]; /* of the last preview */
    float rgb[CLIPS * FRAMES_MOST * FRAME];
    double flops;
    uint64_t most, needs; /* memory */
} seen;

static way now;
static seen *saw[RANKS]; /* by each rank */
static seen truth;

static bool bad(const seen *s)
{
    return now.bad_step && s->rank->rank == now.bad_rank;
}

static bool progress(void *user, int done, int total)
{
    seen *s = user;
    (void)total;
    s->steps++;
    if (bad(s) && !now.stop_frames && done == now.bad_step && now.leave) {
        mgi_comm_abort(s->rank->comm);
        return true;
    }
    return bad(s) && !now.stop_frames && !now.sink_fails && done == now.bad_step;
}

static bool preview(void *user, int done, const float *latents, const int64_t dims[4])
{
    seen *s = user;
    (void)done;
    s->previews++;
    memcpy(s->latents, latents, (size_t)(dims[0] * dims[1] * dims[2] * dims[3]) * sizeof *latents);
    return false;
}

static bool stop(void *user)
{
    return bad(user) && now.stop_frames;
}

/* Whole frames come in order; tiles of them anywhere. */
static mgen_status take(void *user, const mgi_frames_box *box, const float *rgb)
{
    seen *s = user;
    rank_state *rank = s->rank;
    if (rank->rank != 0 || box->first + box->count > CLIPS * FRAMES_MOST)
        rank->wrong = "the sink gets what is not its own";
    else if (!now.tile && box->first != s->frames)
        rank->wrong = "frames do not come in order";
    else
        for (int64_t i = 0; i < box->count * box->height; i++)
            memcpy(s->rgb +
                       ((box->first + i / box->height) * HEIGHT + box->top + i % box->height) *
                           WIDTH * 3 +
                       box->left * 3,
                   rgb + i * box->width * 3, (size_t)(box->width * 3) * sizeof *rgb);
    if (box->last)
        s->frames += (int)box->count;
    return bad(s) && now.sink_fails && s->frames > 2 ? MGEN_E_IO : MGEN_OK;
}

static const char *const prompts[CLIPS] = {"a red ball \"go\"", "two cubes that turn"};
static const uint64_t seeds[CLIPS] = {7, 8}, other_seeds[CLIPS] = {7, 9};

static mgi_generate_request request(seen *s)
{
    return (mgi_generate_request){.prompts = prompts,
                                  .count = now.clips,
                                  .seeds =
                                      now.other_request && s->rank->rank == 1 ? other_seeds : seeds,
                                  .steps = now.solver == MGI_SOLVER_DOPRI5 ? 30 : STEPS,
                                  .solver = now.solver,
                                  .guidance = now.guidance,
                                  .guidance_from = now.from,
                                  .frames = now.frames,
                                  .tile = now.tile,
                                  .progress = progress,
                                  .preview = preview,
                                  .stop = stop,
                                  .sink = take,
                                  .user = s};
}

static mgen_status make_film(rank_state *s, const mgi_mesh *mesh, seen *out)
{
    models m;
    mgi_generate_needs needs = {0};
    mgen_status status = open_models(s->ctx, mesh, now.tae ? now.tae : "tae", &m);
    out->rank = s;
    if (status == MGEN_OK) {
        m.video.cp = now.cp;
        mgi_generate_request r = request(out);
        mgen_status estimated = mgi_generate_estimate(s->ctx, &m.n, &r, &needs);
        CHECK(estimated == MGEN_OK || now.shape.cp == 3);
        mgi_device_trim(s->ctx->device);
        uint64_t before = atomic_load(&s->ctx->heap->now);
        double flops = s->ctx->device->counts.flops;
        atomic_store(&s->ctx->heap->peak, before);
        status = mgi_generate(s->ctx, &m.n, &r);
        out->most = atomic_load(&s->ctx->heap->peak) - before;
        out->needs = needs.host_bytes;
        out->flops = (s->ctx->device->counts.flops - flops) / needs.flops;
    }
    close_models(&m);
    return status;
}

static void film_rank(rank_state *s)
{
    mgi_mesh mesh;
    seen *out = saw[s->rank];
    CHECK(mgi_device_create(s->ctx, NULL) == MGEN_OK);
    if (!now.shape.dp) {
        s->status = make_film(s, NULL, out);
    } else {
        s->status = mgi_mesh_create(s->comm, now.shape, &mesh);
        if (s->status == MGEN_OK) {
            s->status = make_film(s, &mesh, out);
            mesh.group[MGI_AXIS_WORLD] = NULL; /* the harness's */
            mgi_mesh_destroy(&mesh);
        }
    }
    s->ctx->device_destroy(s->ctx->device);
    s->ctx->device = NULL;
}

static void run_way(way w, world *all)
{
    now = w;
    int size = w.shape.dp ? w.shape.dp * w.shape.cp * w.shape.tp : 1;
    for (int r = 0; r < size; r++) {
        free(saw[r]);
        saw[r] = calloc(1, sizeof *saw[r]);
        assert_non_null(saw[r]);
    }
    run_ranks(all, size, 20000, film_rank);
}

static void assert_made(const world *all)
{
    for (int r = 0; r < all->size; r++)
        if (all->ranks[r].status != MGEN_OK)
            fail_msg("rank %d: %s", r, all->ranks[r].said);
}

static double apart(const float *a, const float *b, int64_t count)
{
    double most = 0.0;
    for (int64_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* The film of one rank, to be compared with. */
static void make_truth(way w)
{
    world all;
    w.shape = (mgi_mesh_shape){0, 0, 0};
    run_way(w, &all);
    assert_made(&all);
    end_ranks(&all);
    truth = *saw[0];
    assert_int_equal(truth.frames, w.clips * w.frames);
}

/* `near`: 0 asks for the very bits. */
static void compare(way w, double near)
{
    world all;
    char text[64];
    run_way(w, &all);
    assert_made(&all);
    const seen *s = saw[0];
    mgi_mesh_text(w.shape, text, sizeof text);
    assert_true(s->frames == truth.frames && s->previews == truth.previews);
    double latents = apart(s->latents, truth.latents, (int64_t)(w.frames + 3) / 4 * 4 * 8 * 3);
    double frames = apart(s->rgb, truth.rgb, (int64_t)w.clips * w.frames * FRAME);
    if (latents > near || frames > near)
        fail_msg("%s: latents %.3g and frames %.3g apart", text, latents, frames);
    for (int r = 0; r < all.size; r++) {
        assert_int_equal(saw[r]->steps, truth.steps);
        assert_int_equal(saw[r]->frames, r ? 0 : truth.frames);
        if (saw[r]->most > saw[r]->needs)
            fail_msg("%s, rank %d: %llu bytes estimated, %llu needed", text, r,
                     (unsigned long long)saw[r]->needs, (unsigned long long)saw[r]->most);
        if (saw[r]->flops > 1.0 + 1e-6)
            fail_msg("%s, rank %d: %.6f of the operations estimated", text, r, saw[r]->flops);
    }
    end_ranks(&all);
}

/* -- tests ------------------------------------------------------------------------------------- */

static const way plain = {.clips = 1, .frames = FRAMES, .guidance = 4.0f};

/* Guidance over two ranks; clips, windows and guidance over more: not a bit differs. */
static void test_shared_rows(void **state)
{
    (void)state;
    static const struct {
        int dp, clips, frames, solver;
        float guidance, from;
    } cases[] = {
        {2, 1, 16, MGI_SOLVER_EULER, 4.0f, 0.0f},  {4, 1, 16, MGI_SOLVER_EULER, 4.0f, 0.0f},
        {2, 2, 16, MGI_SOLVER_MIDPOINT, 4, 0.0f},  {3, 1, 40, MGI_SOLVER_EULER, 4.0f, 0.0f},
        {4, 1, 72, MGI_SOLVER_EULER, 4.0f, 0.3f},  {2, 1, 40, MGI_SOLVER_EULER, 1.0f, 0.0f},
        {2, 1, 40, MGI_SOLVER_DOPRI5, 4.0f, 0.4f}, {8, 2, 9, MGI_SOLVER_EULER, 4.0f, 0.0f}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        way w = plain;
        w.clips = cases[i].clips;
        w.frames = cases[i].frames;
        w.solver = cases[i].solver;
        w.guidance = cases[i].guidance;
        w.from = cases[i].from;
        if (cases[i].dp > 4 && !getenv("MOVIEGEN_DIST"))
            continue;
        make_truth(w);
        w.shape = (mgi_mesh_shape){cases[i].dp, 1, 1};
        compare(w, 0.0);
    }
}

static void test_split(void **state)
{
    (void)state;
    static const struct {
        mgi_mesh_shape shape;
        int cp;
    } cases[] = {{{1, 1, 2}, 0},
                 {{1, 2, 1}, 0},
                 {{1, 2, 1}, MGI_CP_EXCHANGE},
                 {{1, 2, 2}, 0},
                 {{2, 1, 2}, 0},
                 {{1, 4, 1}, 0},
                 {{1, 4, 1}, MGI_CP_EXCHANGE},
                 {{1, 1, 4}, 0},
                 {{2, 2, 1}, MGI_CP_EXCHANGE},
                 {{2, 2, 2}, 0},
                 {{2, 2, 2}, MGI_CP_EXCHANGE},
                 {{1, 2, 4}, 0}};
    for (int frames = FRAMES; frames <= 40; frames += 24) {
        way w = plain;
        w.frames = frames;
        make_truth(w);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            w.shape = cases[i].shape;
            w.cp = cases[i].cp;
            if ((frames > FRAMES || i > 4) && !getenv("MOVIEGEN_DIST") && i != 4)
                continue;
            compare(w, 2e-5);
        }
    }
}

/* The solver that chooses its steps takes the same ones on all ranks. */
static void test_adaptive(void **state)
{
    (void)state;
    way w = plain;
    w.solver = MGI_SOLVER_DOPRI5;
    w.guidance = 1.0f; /* else the flow is so steep here that rounding grows */
    make_truth(w);
    w.shape = (mgi_mesh_shape){2, 1, 2};
    compare(w, 1e-4);
}

/* -- frames ------------------------------------------------------------------------------------ */

enum { LONG = 4 * 61 - 2 }; /* frames: several rounds of parts, and no whole latent at the end */

static struct {
    const char *tae;
    int64_t frames, tile;
} film;
static float whole[(LONG + 2) * FRAME], made[(LONG + 2) * FRAME]; /* by one rank, by many */

static mgen_status take_long(void *user, const mgi_frames_box *box, const float *rgb)
{
    float *out = user;
    for (int64_t i = 0; i < box->count * box->height; i++)
        memcpy(out +
                   ((box->first + i / box->height) * HEIGHT + box->top + i % box->height) * WIDTH *
                       3 +
                   box->left * 3,
               rgb + i * box->width * 3, (size_t)(box->width * 3) * sizeof *rgb);
    return MGEN_OK;
}

static void decode_rank(rank_state *s)
{
    mgi_tae tae;
    mgi_run run;
    uint64_t hash;
    CHECK(mgi_device_create(s->ctx, NULL) == MGEN_OK);
    s->status = mgi_tae_open(s->ctx, folder, film.tae, &tae, &hash);
    float *out = s->rank ? NULL : made;
    mgi_run_init(&run, s->ctx, false);
    T *z = mgi_new(&run, MGK_F32, MGI_DIMS(1, (film.frames + 3) / 4, HEIGHT / 4, WIDTH / 4, 3));
    for (int64_t i = 0; z && i < z->count; i++)
        mgi_f32(z)[i] = mgi_random_normal(3, 1, (uint64_t)i);
    if (s->status == MGEN_OK && s->world->size > 1)
        s->status = mgi_decode_ranks(&run, s->comm, &tae, z, film.frames, 0, film.tile, take_long,
                                     NULL, out);
    else if (s->status == MGEN_OK)
        s->status = mgi_decode_run(&run, &tae, z, film.frames, 0, film.tile, take_long, out);
    mgi_run_finish(&run);
    mgi_tae_finish(&tae);
    s->ctx->device_destroy(s->ctx->device);
    s->ctx->device = NULL;
}

static void run_decode(int ranks)
{
    world all;
    memset(made, 0, sizeof made);
    run_ranks(&all, ranks, 20000, decode_rank);
    assert_made(&all);
    end_ranks(&all);
}

/* Parts of a film in time, with what is around them: the very bits of the whole. */
static void test_parts(void **state)
{
    (void)state;
    static const struct {
        const char *tae;
        int64_t frames, tile;
    } films[] = {{"tae", LONG, 0},   {"tae", 5, 0},   {"norm", 50, 0},
                 {"tiles", LONG, 0}, {"tae", 50, 16}, {"tiles", 50, 16}};
    for (size_t i = 0; i < sizeof films / sizeof films[0]; i++) {
        film.tae = films[i].tae;
        film.frames = films[i].frames;
        film.tile = films[i].tile;
        run_decode(1);
        memcpy(whole, made, sizeof made);
        for (int ranks = 2; ranks <= (getenv("MOVIEGEN_DIST") ? 8 : 4); ranks++) {
            run_decode(ranks);
            if (memcmp(whole, made, sizeof made))
                fail_msg("film %zu by %d ranks: %.3g apart", i, ranks,
                         apart(whole, made, film.frames * FRAME));
        }
    }
}

/* How far a latent is seen: changed, it changes frames up to there, and the reach says no less; nor a latent more. */
static void test_reach(void **state)
{
    (void)state;
    static const char *const names[] = {"tae", "norm"};
    mgen_context *ctx = make_context();
    uint64_t hash;
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    for (int k = 0; k < 2; k++) {
        enum { LATENTS = 33, AT = 16 };
        mgi_tae tae;
        mgi_run run;
        assert_int_equal(mgi_tae_open(ctx, folder, names[k], &tae, &hash), MGEN_OK);
        const mgi_tae_reach reach = mgi_tae_reach_of(&tae, MGI_TAE_DECODES);
        mgi_run_init(&run, ctx, false);
        T *z = mgi_new(&run, MGK_F32, MGI_DIMS(1, LATENTS, 4, 4, 3)), *y[2];
        for (int i = 0; i < 2; i++) {
            for (int64_t j = 0; z && j < z->count; j++)
                mgi_f32(z)[j] =
                    mgi_random_normal(3, 1, (uint64_t)j) + (i && j / 48 == AT ? 100.0f : 0.0f);
            y[i] = mgi_tae_decode(&run, &tae, z);
            assert_non_null(y[i]);
        }
        int64_t frame = y[0]->count / y[0]->dims[1], first = -1, last = -1;
        for (int64_t i = 0; i < y[0]->count; i++)
            if (mgi_f32(y[0])[i] != mgi_f32(y[1])[i]) {
                first = first < 0 ? i / frame : first;
                last = i / frame;
            }
        /* what is before a part is seen by the latents after it */
        assert_int_equal(reach.after, AT - first / 4);
        assert_int_equal(reach.before, last / 4 - AT);
        mgi_run_finish(&run);
        mgi_tae_finish(&tae);
    }
    ctx->device_destroy(ctx->device);
    ctx->device = NULL;
    mgi_context_free(ctx);
}

/* -- what goes wrong --------------------------------------------------------------------------- */

static void run_bad(way w, mgen_status status, const char *says, bool goes_on)
{
    world all;
    int ranks = w.shape.dp * w.shape.cp * w.shape.tp;
    run_way(w, &all);
    for (int r = 0; r < ranks; r++) {
        rank_state *s = &all.ranks[r];
        bool own = w.leave && r == w.bad_rank;
        if (s->status != status && !own)
            fail_msg("rank %d: %d, not %d: %s", r, s->status, status, s->said);
        if (!own)
            assert_says(s, says);
        if ((s->later == MGEN_OK) != goes_on)
            fail_msg("rank %d: afterwards %d", r, s->later);
        if (w.bad_step && !w.stop_frames && !w.leave && !w.sink_fails)
            assert_int_equal(saw[r]->steps, w.bad_step);
    }
    end_ranks(&all);
}

/* Any rank may cancel: all end at the same step, and can go on. */
static void test_cancel(void **state)
{
    (void)state;
    way w = plain;
    w.frames = 40;
    for (int i = 0; i < 4; i++) {
        w.shape = i % 2 ? (mgi_mesh_shape){2, 1, 1} : (mgi_mesh_shape){1, 2, 2};
        w.bad_rank = i % 2 ? i / 2 : 3 - i;
        w.bad_step = 2;
        run_bad(w, MGEN_E_CANCELLED, "cancelled after step 2 of 3", true);
        w.stop_frames = true;
        run_bad(w, MGEN_E_CANCELLED, "cancelled before frame", true);
        w.stop_frames = false;
    }
    w.bad_rank = 0;
    w.sink_fails = true;
    run_bad(w, MGEN_E_IO, "", true);
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

static void test_refused(void **state)
{
    (void)state;
    way w = plain;
    w.shape = (mgi_mesh_shape){1, 3, 1};
    run_bad(w, MGEN_E_INVALID, "32 tokens cannot be split", true);
    w.shape = (mgi_mesh_shape){2, 1, 1};
    w.clips = 2;
    w.other_request = true;
    run_bad(w, MGEN_E_DESYNC, "ranks disagree on the request", true);
}

/* -- ranks that are processes ------------------------------------------------------------------ */

static int process_main(const char *mesh)
{
    rank_state s = {.ctx = make_context()};
    mgi_comm *all;
    seen *one = calloc(1, sizeof *one), *many = calloc(1, sizeof *many);
    mgen_status status = mgi_comm_mpi_create(s.ctx, 60000, &all);
    snprintf(folder, sizeof folder, "%s", getenv("MESH_MODELS"));
    now = plain;
    now.frames = 40;
    saw[0] = one;
    if (status == MGEN_OK) {
        film_rank(&s);
        status = s.status;
    }
    if (status == MGEN_OK) {
        s.rank = mgi_comm_rank(all);
        s.comm = all;
        saw[s.rank] = many;
        status = mgi_mesh_parse(s.ctx, mesh, &now.shape);
        if (status == MGEN_OK)
            film_rank(&s);
        status = s.status;
        mgi_comm_destroy(all);
    }
    bool same = s.rank || apart(one->rgb, many->rgb, 40 * FRAME) < 2e-5;
    printf("rank %d: %s, %s, %d frames\n", s.rank,
           status == MGEN_OK ? "sampled" : mgen_last_error(s.ctx),
           !s.wrong && same ? "as one rank"
           : s.wrong        ? s.wrong
                            : "apart",
           many->frames);
    mgi_context_free(s.ctx);
    free(one);
    free(many);
    return 0;
}

static void test_processes(void **state)
{
    (void)state;
    static const char *const meshes[] = {"dp=2,tp=2", "dp=2,cp=2", "tp=4"};
    need_mpi();
    if (!getenv("MOVIEGEN_DIST"))
        skip();
    setenv("MESH_MODELS", folder, 1);
    for (int i = 0; i < 3; i++) {
        launch(4, meshes[i]);
        for (int r = 0; r < 4; r++)
            assert_said(r,
                        r ? "sampled, as one rank, 0 frames" : "sampled, as one rank, 40 frames");
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reach),       cmocka_unit_test(test_parts),
        cmocka_unit_test(test_shared_rows), cmocka_unit_test(test_split),
        cmocka_unit_test(test_adaptive),    cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_lost),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_processes)};
    if (argc == 3 && !strcmp(argv[1], "--rank"))
        return process_main(argv[2]);
    int failed = cmocka_run_group_tests_name("mesh generate", tests, save_models, remove_models);
    for (int r = 0; r < RANKS; r++)
        free(saw[r]);
    return failed;
}
