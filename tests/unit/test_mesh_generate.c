/* SPDX-License-Identifier: MIT
 * Films made by many ranks: those of one rank, to the very bits where nothing is added in another order; stopped, and
 * lost ranks. MOVIEGEN_DIST=1 runs what takes its time, too; MOVIEGEN_MESH_DEVICE: rank_device.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "faulty_comm.h"
#include "mesh_films.h"
#include "mpi_launch.h"

enum { WIDTH = 32, HEIGHT = 16, FRAMES = 16, CLIPS = 2, FRAMES_MOST = 72, STEPS = 3 };
enum { FRAME = WIDTH * HEIGHT * 3 };

static const mgi_vt_config vt_config = {MESH_FILMS_VT};

/* -- models in a folder ------------------------------------------------------------------------ */

static void write_vt(mgi_json_writer *w, const void *config)
{
    mgi_vt_config_write(w, config);
}

static int save_models(void **state)
{
    (void)state;
    mgen_context *ctx = folder_begin();
    save_transformer(ctx, "video", "video-transformer", write_vt, &vt_config, &vt_config);
    folder_end(ctx);
    return 0;
}

typedef struct models {
    mgi_tae tae;
    mgi_text_encoder text[2];
    mgi_vt video;
    mgi_networks n;
} models;

static mgen_status open_models(mgen_context *ctx, const mgi_mesh *mesh, models *m)
{
    uint64_t hash;
    memset(m, 0, sizeof *m);
    MGI_TRY(mgi_vt_open_mesh(ctx, folder, "video", NULL, mesh, &m->video, &hash));
    MGI_TRY(mgi_tae_open(ctx, folder, "tae", &m->tae, &hash));
    m->n = (mgi_networks){.tae = &m->tae, .video = &m->video, .clip = {WIDTH, HEIGHT, FRAMES, 16}};
    return open_texts(ctx, mesh, m->text, &m->n);
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
    int cp;   /* MGI_CP_* */
    int hold; /* MGI_HOLD_* */
    int clips, frames, solver, tile;
    float guidance, from;
    /* what goes wrong: on this rank, after this step or (stop_frames) while frames are decoded */
    int bad_rank, bad_step, timeout_ms;
    bool stop_frames, leave, other_request, sink_fails, faulty;
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
static fault faults[RANKS]; /* of each rank's communicator */
static _Atomic bool released;
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
static mgen_status take(void *user, const mgi_frames_box *box, float *rgb)
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

static mgen_status make_film(rank_state *s, const mgi_mesh *mesh)
{
    seen *out = saw[s->rank];
    models m;
    mgi_generate_needs needs = {0};
    s->ctx->device->hold = now.hold;
    mgen_status status = open_models(s->ctx, mesh, &m);
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
    rank_device_open(s);
    if (now.faulty && s->rank == now.bad_rank) {
        mgi_comm *own = s->comm;
        CHECK(faulty_create(own, &faults[s->rank], &s->comm) == MGEN_OK);
    }
    rank_over_mesh(s, now.shape, make_film);
    rank_device_close(s);
    if (s->rank != now.bad_rank)
        released = true;
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
    run_ranks(all, size, w.timeout_ms ? w.timeout_ms : 20000, film_rank);
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
        if (saw[r]->most > saw[r]->needs && !getenv("MOVIEGEN_MESH_DEVICE"))
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

/* The solver that chooses its steps takes the same ones on all ranks. Along this flow rounding grows. */
static void test_adaptive(void **state)
{
    (void)state;
    way w = plain;
    w.solver = MGI_SOLVER_DOPRI5;
    w.guidance = 1.0f;
    make_truth(w);
    w.shape = (mgi_mesh_shape){2, 1, 2};
    compare(w, 1e-3);
}

/* Weights in bf16, or in FP8, each rank with scales of its own share: rows that are shared have the same bits, sums over
 * ranks other roundings. */
static void test_held(void **state)
{
    (void)state;
    static const mgi_mesh_shape shapes[] = {{2, 1, 1}, {1, 1, 2}, {1, 2, 2}};
    static const double near[] = {[MGI_HOLD_BF16] = 0.1, [MGI_HOLD_FP8] = 0.5};
    for (int hold = MGI_HOLD_BF16; hold <= MGI_HOLD_FP8; hold++) {
        way w = plain;
        w.hold = hold;
        make_truth(w);
        for (int i = 0; i < 3; i++) {
            w.shape = shapes[i];
            compare(w, i ? near[hold] : 0.0);
        }
    }
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

/* A call that fails on one rank, wherever that is: nobody makes a film, and nobody is left waiting. */
static void test_faults(void **state)
{
    (void)state;
    world all;
    way w = plain;
    int64_t times = getenv("MOVIEGEN_DIST") ? 60 : 6, begin = 8; /* behind the mesh's own */
    w.frames = 40;
    w.shape = (mgi_mesh_shape){2, 1, 2};
    w.bad_rank = 3;
    w.faulty = true;
    faults[3] = (fault){.kind = FAULT_NONE, .at = -1};
    run_way(w, &all);
    assert_made(&all);
    end_ranks(&all);
    int64_t calls = faults[3].calls;
    assert_true(calls > 100);
    for (int64_t i = 0; i <= times; i++) {
        bool silent = i == times;
        released = false;
        faults[3] =
            (fault){.kind = silent ? FAULT_SILENT : FAULT_STATUS,
                    .at = silent ? calls / 2 : begin + i * (calls - 1 - begin) / (times - 1),
                    .status = MGEN_E_NO_MEMORY,
                    .released = &released};
        w.timeout_ms = silent ? 1000 : 0;
        int64_t at = faults[3].at;
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

/* A rank tells of its text what cannot be: its length, its dtype, the tokens of a prompt. */
static void test_lies(void **state)
{
    (void)state;
    static const int64_t words[] = {-1, INT64_MIN, INT64_MAX, 8193};
    world all;
    way w = plain;
    w.shape = (mgi_mesh_shape){2, 1, 1};
    w.bad_rank = 1;
    w.faulty = true;
    for (int i = 0; i < 12; i++) {
        faults[1] = (fault){.kind = FAULT_WORD, .index = i / 4, .word = words[i % 4]};
        run_way(w, &all);
        for (int r = 0; r < 2; r++)
            if (all.ranks[r].status != MGEN_E_DESYNC || !strstr(all.ranks[r].said, "tells a text"))
                fail_msg("lie %d: rank %d ends with %s: '%s'", i, r,
                         mgen_status_name(all.ranks[r].status), all.ranks[r].said);
        end_ranks(&all);
    }
    faults[1] = (fault){.kind = FAULT_NONE};
}

static void test_refused(void **state)
{
    (void)state;
    way w = plain;
    w.shape = (mgi_mesh_shape){1, 3, 1};
    run_bad(w, MGEN_E_INVALID, "32 tokens cannot be split", true);
    w.shape = (mgi_mesh_shape){2, 1, 1, 2};
    run_bad(w, MGEN_E_UNSUPPORTED, "shard=2", true);
    w.shape = (mgi_mesh_shape){2, 1, 1};
    w.clips = 2;
    w.other_request = true;
    run_bad(w, MGEN_E_DESYNC, "ranks disagree on the request", true);
}

/* -- what is sent ------------------------------------------------------------------------------ */

/* A step of the report's largest model, a few layers of it, with guidance, counted on the meta device. There the first
 * two of all steps are made. */
static void count_step(mgen_context *ctx, mgi_mesh_shape shape, int cp)
{
    enum { LAYERS = 2, TOKENS = 32 * 48 * 48, VECTOR = 6144, BF16 = 2, MADE = 2 };
    const mgi_tae_config tae_of = {.levels = 4,
                                   .channels = {4, 4, 4, 4},
                                   .latent_channels = 16,
                                   .blocks = 1,
                                   .temporal = true};
    int64_t size = (int64_t)shape.dp * shape.cp * shape.tp, before[MGI_AXES];
    mgi_vt_config large;
    mgi_comm *all;
    mgi_mesh mesh;
    mgi_vt vt;
    mgi_tae tae;
    assert_int_equal(mgi_vt_preset(ctx, "30b", &large), MGEN_OK);
    large.layers = LAYERS;
    assert_int_equal(mgi_comm_counting_create(ctx, (int)size - 1, (int)size, &all), MGEN_OK);
    assert_int_equal(mgi_mesh_create(all, shape, &mesh), MGEN_OK);
    assert_int_equal(mgi_vt_init_mesh(&vt, ctx, &large, &mesh), MGEN_OK);
    assert_int_equal(mgi_module_compute(&vt.module, MGK_BF16), MGEN_OK);
    assert_int_equal(mgi_tae_init(&tae, ctx, &tae_of), MGEN_OK);
    vt.cp = cp;
    for (int a = 0; a < MGI_AXES; a++)
        before[a] = mgi_comm_counted(mesh.group[a], MGI_COMM_ALL_GATHER).calls;
    const mgi_networks n = {.tae = &tae, .video = &vt, .clip = {768, 768, 256, 16}};
    const mgi_generate_request r = {
        .prompts = prompts, .count = 1, .seeds = seeds, .steps = 50, .guidance = 7.5f};
    assert_int_equal(mgi_generate(ctx, &n, &r), MGEN_OK);

    int64_t rows = shape.dp > 1 ? 1 : 2, ranks = (int64_t)shape.cp * shape.tp;
    const struct {
        mgi_axis axis;
        mgi_comm_op op;
        int ranks;
        int64_t calls, sent; /* of a step; sent: of a call, to each other rank */
    } formulas[] = {
        {MGI_AXIS_DP, MGI_COMM_ALL_GATHER, shape.dp, 1, (int64_t)TOKENS * 64 * 4},
        {MGI_AXIS_MODEL, MGI_COMM_ALL_GATHER, (int)ranks, 1, rows * TOKENS / ranks * 64 * 4},
        {MGI_AXIS_TP, MGI_COMM_ALL_GATHER, shape.tp, 3 * LAYERS,
         rows * TOKENS / ranks * VECTOR * BF16},
        {MGI_AXIS_TP, MGI_COMM_REDUCE_SCATTER, shape.tp, 3 * LAYERS,
         rows * TOKENS / ranks * VECTOR * BF16},
        {MGI_AXIS_CP, MGI_COMM_ALL_GATHER, shape.cp, cp == MGI_CP_GATHER ? LAYERS : 0,
         rows * TOKENS / shape.cp * 2 * VECTOR / shape.tp * BF16},
    };
    for (size_t i = 0; i < sizeof formulas / sizeof formulas[0]; i++) {
        mgi_comm_count c = mgi_comm_counted(mesh.group[formulas[i].axis], formulas[i].op);
        int64_t calls = formulas[i].ranks > 1 ? MADE * formulas[i].calls : 0;
        if (formulas[i].op == MGI_COMM_ALL_GATHER)
            c.calls -= before[formulas[i].axis];
        if (c.calls != calls || c.sent != calls * (formulas[i].ranks - 1) * formulas[i].sent)
            fail_msg("dp=%d,cp=%d,tp=%d, formula %zu: %lld calls for %lld, %lld bytes", shape.dp,
                     shape.cp, shape.tp, i, (long long)c.calls, (long long)calls,
                     (long long)c.sent);
    }
    mgi_comm_count c = mgi_comm_counted(mesh.group[MGI_AXIS_CP], MGI_COMM_ALL_TO_ALL);
    int64_t own = rows * TOKENS / shape.cp * VECTOR / shape.tp * BF16 / shape.cp;
    assert_int_equal(c.calls, cp == MGI_CP_EXCHANGE && shape.cp > 1 ? MADE * 2 * LAYERS : 0);
    assert_int_equal(c.sent, c.calls / 2 * 4 * (shape.cp - 1) * own);
    mgi_tae_finish(&tae);
    mgi_vt_finish(&vt);
    mgi_mesh_destroy(&mesh);
}

static void test_counts(void **state)
{
    (void)state;
    mgen_context *ctx = make_context();
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    mgi_device_make_meta(ctx->device);
    for (int dp = 1; dp <= 2; dp++)
        for (int cp = 1; cp <= 4; cp *= 4)
            for (int tp = 1; tp <= 8; tp *= 8)
                for (int mode = MGI_CP_GATHER; mode <= MGI_CP_EXCHANGE; mode++)
                    if (dp * cp * tp >= 4 && (mode == MGI_CP_GATHER || 48 / tp % cp == 0))
                        count_step(ctx, (mgi_mesh_shape){dp, cp, tp}, mode);
    ctx->device_destroy(ctx->device);
    ctx->device = NULL;
    mgi_context_free(ctx);
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
        cmocka_unit_test(test_shared_rows), cmocka_unit_test(test_split),
        cmocka_unit_test(test_adaptive),    cmocka_unit_test(test_held),
        cmocka_unit_test(test_cancel),      cmocka_unit_test(test_lost),
        cmocka_unit_test(test_faults),      cmocka_unit_test(test_counts),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_lies),
        cmocka_unit_test(test_processes)};
    if (argc == 3 && !strcmp(argv[1], "--rank"))
        return process_main(argv[2]);
    int failed = cmocka_run_group_tests_name("mesh generate", tests, save_models, remove_models);
    for (int r = 0; r < RANKS; r++)
        free(saw[r]);
    return failed;
}
