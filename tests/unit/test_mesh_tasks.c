/* SPDX-License-Identifier: MIT
 * Films upsampled, edited, begun with another and made of a photo by many ranks: those of one rank, to the very bits where
 * nothing is added in another order; ranks that are given different things; stopped; without memory. MOVIEGEN_DIST=1 has more
 * meshes and more that goes wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels/pointwise/pointwise.h"
#include "mesh_films.h"
#include "tiny_networks.h"

/* Sides that are rounded up to 32 x 16. */
enum { WIDTH = 30, HEIGHT = 14, FRAMES = 16, FRAMES_MOST = 40, STEPS = 3, WINDOW = 4, SIDE = 20 };
enum { FRAME = WIDTH * HEIGHT * 3 };

typedef enum kind { UPSAMPLES, EDITS, BEGINS, PERSONALIZES, KINDS } kind;

static const char *const kind_name[KINDS] = {"upsampled", "edited", "begun", "personalized"};

static const mgi_vt_config vt_config = {MESH_FILMS_VT};
static const mgi_upsampler_config upsampler_config = {
    .video = {MESH_FILMS_VT, .condition = 3, .guidance = 2.0f},
    .tae = "tae",
    .factor = 2,
    .frames = WINDOW,
    .overlap = 1,
    .steps = STEPS};
static const mgi_editor_config editor_config = {
    .video = {MESH_FILMS_VT, .condition = 3, .tasks = MGI_EDIT_TASKS, .task_dim = 6, .guidance = 3},
    .source_guidance = 1.5f,
    .steps = STEPS};
static const mgi_personalizer_config personalizer_config = {
    .video = {MESH_FILMS_VT, .reference = 12, .guidance = 3},
    .vision = "vision",
    .source_guidance = 1.5f,
    .steps = STEPS};
static const mgi_clip_vision_config vision_config = {TINY_VISION};

/* -- models ------------------------------------------------------------------------------------ */

static void write_vt(mgi_json_writer *w, const void *config)
{
    mgi_vt_config_write(w, config);
}

static void write_upsampler(mgi_json_writer *w, const void *config)
{
    mgi_upsampler_config_write(w, config);
}

static void write_editor(mgi_json_writer *w, const void *config)
{
    mgi_editor_config_write(w, config);
}

static void write_personalizer(mgi_json_writer *w, const void *config)
{
    mgi_personalizer_config_write(w, config);
}

static int save_models(void **state)
{
    (void)state;
    mgi_clip_vision vision;
    mgen_context *ctx = folder_begin();
    save_transformer(ctx, "video", "video-transformer", write_vt, &vt_config, &vt_config);
    save_transformer(ctx, "upsampler", MGI_UPSAMPLER_KIND, write_upsampler, &upsampler_config,
                     &upsampler_config.video);
    save_transformer(ctx, "editor", MGI_EDITOR_KIND, write_editor, &editor_config,
                     &editor_config.video);
    save_transformer(ctx, "personalizer", MGI_PERSONALIZER_KIND, write_personalizer,
                     &personalizer_config, &personalizer_config.video);
    assert_int_equal(mgi_clip_vision_init(&vision, ctx, &vision_config), MGEN_OK);
    assert_int_equal(mgi_module_random(&vision.module, 1), MGEN_OK);
    randomise(&vision.module, 0.2f);
    assert_int_equal(mgi_clip_vision_save(&vision, folder, "vision", MGI_ST_F32), MGEN_OK);
    mgi_clip_vision_finish(&vision);
    folder_end(ctx);
    return 0;
}

typedef struct models {
    mgi_tae tae;
    mgi_text_encoder text[2];
    mgi_vt video;
    mgi_upsampler upsampler;
    mgi_editor editor;
    mgi_personalizer personalizer;
    mgi_networks n;
} models;

/* The model that makes such films; NULL with a status. */
static mgi_vt *open_kind(mgen_context *ctx, kind of, const mgi_mesh *mesh, models *m,
                         mgen_status *status)
{
    uint64_t hash;
    mgi_networks *n = &m->n;
    mgi_vt *video = NULL;
    if (of == UPSAMPLES) {
        *status =
            mgi_upsampler_open_mesh(ctx, folder, "upsampler", NULL, mesh, &m->upsampler, &hash);
        n->upsampler = &m->upsampler.config;
        video = &m->upsampler.video;
    } else if (of == EDITS) {
        *status = mgi_editor_open_mesh(ctx, folder, "editor", NULL, mesh, &m->editor, &hash);
        n->editor = &m->editor.config;
        video = &m->editor.video;
    } else if (of == PERSONALIZES) {
        *status = mgi_personalizer_open_mesh(ctx, folder, "personalizer", NULL, mesh,
                                             &m->personalizer, &hash);
        n->personalizer = &m->personalizer.config;
        n->vision = &m->personalizer.vision;
        video = &m->personalizer.video;
    } else {
        *status = mgi_vt_open_mesh(ctx, folder, "video", NULL, mesh, &m->video, &hash);
        video = &m->video;
    }
    n->video = video;
    return *status == MGEN_OK ? video : NULL;
}

static mgen_status open_models(mgen_context *ctx, kind of, int cp, const mgi_mesh *mesh, models *m)
{
    uint64_t hash;
    mgen_status status;
    memset(m, 0, sizeof *m);
    mgi_vt *video = open_kind(ctx, of, mesh, m, &status);
    if (!video)
        return status;
    video->cp = cp;
    MGI_TRY(mgi_tae_open(ctx, folder, "tae", &m->tae, &hash));
    m->n.tae = of == UPSAMPLES ? &m->upsampler.tae : &m->tae;
    m->n.clip = (mgi_clip_shape){32, 16, of == UPSAMPLES ? WINDOW : FRAMES, 16};
    return open_texts(ctx, mesh, m->text, &m->n);
}

static void close_models(models *m)
{
    mgi_vt_finish(&m->video);
    mgi_upsampler_finish(&m->upsampler);
    mgi_editor_finish(&m->editor);
    mgi_personalizer_finish(&m->personalizer);
    mgi_tae_finish(&m->tae);
    for (int i = 0; i < 2; i++)
        mgi_text_encoder_finish(&m->text[i]);
}

/* -- one rank ---------------------------------------------------------------------------------- */

typedef enum wrong { NOTHING, OTHER_GIVEN, OTHER_TASK, STOP_SEEING, STOP_STEP, STOP_SHOWING } wrong;

/* What is made, and how; what goes wrong, on one rank. */
typedef struct way {
    kind of;
    mgi_mesh_shape shape;
    int cp, frames, tile;
    float from;
    int bad_rank;
    wrong is;
    uint64_t limit; /* bytes of memory that a request may take there; 0: any */
} way;

typedef struct seen {
    rank_state *rank;
    int steps, previews, frames;
    bool shows;                                   /* it is being decoded */
    float latents[(FRAMES_MOST / 4) * 4 * 8 * 3]; /* of the last preview */
    float rgb[FRAMES_MOST * FRAME];
    double flops;
    uint64_t most, needs; /* memory */
} seen;

static way now;
static seen *saw[RANKS]; /* by each rank */
static seen truth;

static bool bad(const seen *s, wrong is)
{
    return now.is == is && s->rank->rank == now.bad_rank;
}

static bool progress(void *user, int done, int total)
{
    seen *s = user;
    s->steps++;
    s->shows = done == total;
    return bad(s, STOP_STEP) && done == 2;
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
    const seen *s = user;
    return bad(s, s->shows ? STOP_SHOWING : STOP_SEEING);
}

static mgen_status give(void *user, int64_t first, int64_t count, float *rgb)
{
    const seen *s = user;
    const uint64_t from = (uint64_t)(first * FRAME), stream = bad(s, OTHER_GIVEN) ? 3 : 2;
    for (int64_t i = 0; i < count * FRAME; i++)
        rgb[i] = 2.0f * mgi_random_unit(3, stream, from + (uint64_t)i) - 1.0f;
    return MGEN_OK;
}

/* Whole frames come in order; tiles of them anywhere. */
static mgen_status take(void *user, const mgi_frames_box *box, float *rgb)
{
    seen *s = user;
    if (s->rank->rank != 0 || box->first + box->count > FRAMES_MOST ||
        box->top + box->height > HEIGHT || box->left + box->width > WIDTH)
        s->rank->wrong = "the sink gets what is not its own";
    else if (!now.tile && box->first != s->frames)
        s->rank->wrong = "frames do not come in order";
    else
        for (int64_t i = 0; i < box->count * box->height; i++) {
            int64_t row = (box->first + i / box->height) * HEIGHT + box->top + i % box->height;
            memcpy(s->rgb + (row * WIDTH + box->left) * 3, rgb + i * box->width * 3,
                   (size_t)(box->width * 3) * sizeof *rgb);
        }
    if (box->last)
        s->frames += (int)box->count;
    return MGEN_OK;
}

static const char *const prompts[1] = {"make the \"red\" ball a cube"};
static const uint64_t seeds[1] = {7};
static uint8_t face[2][SIDE * SIDE * 3];
static const mgi_photo photos[2] = {{face[0], SIDE, SIDE}, {face[1], SIDE, SIDE}};

static mgi_generate_request request(seen *s)
{
    const bool sees = now.of != PERSONALIZES;
    return (mgi_generate_request){.prompts = prompts,
                                  .count = 1,
                                  .seeds = seeds,
                                  .steps = now.of == BEGINS ? 2 * STEPS : STEPS,
                                  .schedule = MGI_SCHEDULE_LINEAR,
                                  .guidance = now.of == BEGINS ? 4.0f : 0.0f,
                                  .guidance_from = now.from,
                                  .width = sees ? WIDTH : 32,
                                  .height = sees ? HEIGHT : 16,
                                  .frames = now.frames,
                                  .source = sees ? give : NULL,
                                  .skip = now.of == BEGINS ? 0.5f : 0.0f,
                                  .task = now.of != EDITS      ? 0
                                          : bad(s, OTHER_TASK) ? MGI_EDIT_STYLE
                                                               : MGI_EDIT_TEXTURE,
                                  .photos = sees ? NULL : &photos[bad(s, OTHER_GIVEN)],
                                  .tile = now.tile,
                                  .progress = progress,
                                  .preview = preview,
                                  .stop = stop,
                                  .sink = take,
                                  .user = s};
}

/* What a personalizer makes has the size of its model: without its last columns and rows. */
static mgen_status take_some(void *user, const mgi_frames_box *box, float *rgb)
{
    float cut[8 * FRAME];
    mgi_frames_box part = *box;
    if (box->width != 32 || box->height != 16 || box->count > 8)
        ((seen *)user)->rank->wrong = "the sink gets no whole frames";
    part.width = WIDTH;
    part.height = HEIGHT;
    for (int64_t i = 0; i < box->count * HEIGHT; i++)
        memcpy(cut + i * WIDTH * 3, rgb + (i / HEIGHT * 16 + i % HEIGHT) * 32 * 3,
               WIDTH * 3 * sizeof *cut);
    return take(user, &part, cut);
}

static mgen_status make_film(rank_state *s, const mgi_mesh *mesh)
{
    seen *out = saw[s->rank];
    models m;
    mgi_generate_needs needs = {0};
    mgi_heap *heap = s->ctx->heap;
    mgen_status status = open_models(s->ctx, now.of, now.cp, mesh, &m);
    out->rank = s;
    if (status == MGEN_OK) {
        mgi_generate_request r = request(out);
        if (now.of == PERSONALIZES)
            r.sink = take_some;
        CHECK(mgi_generate_estimate(s->ctx, &m.n, &r, &needs) == MGEN_OK);
        mgi_device_trim(s->ctx->device);
        uint64_t before = atomic_load(&heap->now);
        double flops = s->ctx->device->counts.flops;
        atomic_store(&heap->peak, before);
        if (now.limit && s->rank == now.bad_rank)
            heap->max = before + now.limit;
        status = mgi_generate(s->ctx, &m.n, &r);
        heap->max = 0;
        out->most = atomic_load(&heap->peak) - before;
        out->needs = needs.host_bytes;
        out->flops = (s->ctx->device->counts.flops - flops) / needs.flops;
    }
    close_models(&m);
    return status;
}

static void film_rank(rank_state *s)
{
    rank_device_open(s);
    rank_over_mesh(s, now.shape, make_film);
    rank_device_close(s);
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

/* The film of one rank, to be compared with. */
static void make_truth(way w)
{
    world all;
    w.shape = (mgi_mesh_shape){0, 0, 0};
    run_way(w, &all);
    assert_made(&all);
    end_ranks(&all);
    truth = *saw[0];
    assert_int_equal(truth.frames, w.frames);
    if (apart(truth.rgb, truth.rgb + FRAME, FRAME) < 0.01)
        fail_msg("%s: nothing moves in the film", kind_name[w.of]);
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
    double latents = apart(s->latents, truth.latents, (int64_t)(sizeof s->latents / sizeof(float)));
    double frames = apart(s->rgb, truth.rgb, (int64_t)w.frames * FRAME);
    if (latents > near || frames > near)
        fail_msg("%s, %d frames, %s: latents %.3g and frames %.3g apart", kind_name[w.of], w.frames,
                 text, latents, frames);
    for (int r = 0; r < all.size; r++) {
        assert_int_equal(saw[r]->steps, truth.steps);
        assert_int_equal(saw[r]->frames, r ? 0 : truth.frames);
        if (saw[r]->most > saw[r]->needs && !getenv("MOVIEGEN_MESH_DEVICE"))
            fail_msg("%s, %d frames, %s, rank %d: %llu bytes estimated, %llu needed",
                     kind_name[w.of], w.frames, text, r, (unsigned long long)saw[r]->needs,
                     (unsigned long long)saw[r]->most);
        if (saw[r]->flops > 1.0 + 1e-6)
            fail_msg("%s, %d frames, %s, rank %d: %.6f of the operations estimated",
                     kind_name[w.of], w.frames, text, r, saw[r]->flops);
    }
    end_ranks(&all);
}

/* -- tests ------------------------------------------------------------------------------------- */

/* In one window, and in several. */
static int frames_of(kind of, bool windows)
{
    return of == UPSAMPLES ? windows ? 9 : WINDOW : windows ? FRAMES_MOST : FRAMES;
}

/* Three rows of guidance, or two, over two ranks, three and four; what a row has over the others. */
static void test_films(void **state)
{
    (void)state;
    static const struct {
        mgi_mesh_shape shape;
        int cp;
        bool always;
    } cases[] = {{{2, 1, 1}, 0, true},
                 {{3, 1, 1}, 0, true},
                 {{1, 2, 1}, 0, true},
                 {{1, 1, 2}, 0, true},
                 {{2, 1, 2}, 0, true},
                 {{4, 1, 1}, 0, false},
                 {{1, 2, 1}, MGI_CP_EXCHANGE, false},
                 {{1, 2, 2}, 0, false},
                 {{2, 2, 1}, 0, false},
                 {{2, 2, 2}, MGI_CP_EXCHANGE, false}};
    for (int k = 0; k < 2 * KINDS; k++) {
        way w = {.of = (kind)(k / 2), .frames = frames_of((kind)(k / 2), k % 2)};
        w.from = k % 2 ? 0.4f : 0.0f; /* at first without guidance */
        make_truth(w);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            if (!cases[i].always && !getenv("MOVIEGEN_DIST"))
                continue;
            w.shape = cases[i].shape;
            w.cp = cases[i].cp;
            compare(w, w.shape.cp * w.shape.tp > 1 ? 2e-5 : 0.0);
        }
    }
}

/* A single frame; frames that are seen and shown in tiles. */
static void test_other_films(void **state)
{
    (void)state;
    for (int k = 0; k < 2 * KINDS; k++) {
        way w = {.of = (kind)(k / 2), .frames = 1};
        if (k % 2) {
            w.frames = frames_of(w.of, false);
            w.tile = 8;
        }
        if (w.tile && w.of == PERSONALIZES) /* as films from noise: test_mesh_generate */
            continue;
        if (w.frames > 1)
            make_truth(w);
        else {
            w.shape = (mgi_mesh_shape){0, 0, 0};
            world all;
            run_way(w, &all);
            assert_made(&all);
            end_ranks(&all);
            truth = *saw[0];
        }
        w.shape = (mgi_mesh_shape){2, 1, 1};
        compare(w, 0.0);
    }
}

/* -- what goes wrong --------------------------------------------------------------------------- */

static void run_bad(way w, mgen_status status, const char *says)
{
    world all;
    run_way(w, &all);
    for (int r = 0; r < all.size; r++) {
        const rank_state *s = &all.ranks[r];
        if (s->status != status)
            fail_msg("%s, rank %d: %d, not %d: %s", kind_name[w.of], r, s->status, status, s->said);
        assert_says(s, says);
        if (s->later != MGEN_OK)
            fail_msg("%s, rank %d: afterwards %d", kind_name[w.of], r, s->later);
        if (w.is != STOP_SHOWING)
            assert_int_equal(saw[r]->steps, w.is == STOP_STEP ? 2 : 0);
    }
    end_ranks(&all);
}

/* Told before anything is made, by all ranks, which can go on. */
static void test_disagreement(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        way w = {.of = (kind)k, .shape = {2, 1, 1}, .bad_rank = 1, .is = OTHER_GIVEN};
        w.frames = frames_of(w.of, false);
        run_bad(w, MGEN_E_DESYNC, "ranks disagree on the film or photos given: rank 0 has \"");
        w.is = OTHER_TASK;
        if (w.of == EDITS)
            run_bad(w, MGEN_E_DESYNC, "task 5, ");
    }
}

static void test_cancel(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++)
        for (int rank = 0; rank < 4; rank += 3) {
            way w = {.of = (kind)k, .shape = {2, 1, 2}, .bad_rank = rank, .is = STOP_STEP};
            w.frames = frames_of(w.of, true);
            run_bad(w, MGEN_E_CANCELLED, "cancelled after step 2 of 3");
            w.is = STOP_SHOWING;
            if (w.of != PERSONALIZES || rank)
                run_bad(w, MGEN_E_CANCELLED, "cancelled before frame");
            w.is = STOP_SEEING;
            if (w.of != PERSONALIZES)
                run_bad(w, MGEN_E_CANCELLED,
                        w.of == UPSAMPLES ? "was seen" : "cancelled before the film was seen");
        }
}

/* One rank with too little memory, wherever it fails: nobody makes a film, and nobody is left waiting. */
static void test_memory(void **state)
{
    (void)state;
    const uint64_t times = getenv("MOVIEGEN_DIST") ? 60 : 12;
    for (int k = 0; k < KINDS; k++) {
        way w = {.of = (kind)k, .shape = {2, 1, 1}, .bad_rank = 1};
        world all;
        w.frames = frames_of(w.of, false);
        run_way(w, &all);
        assert_made(&all);
        end_ranks(&all);
        const uint64_t most = saw[1]->most;
        uint64_t failed = 0;
        for (uint64_t i = 0; i < times; i++) {
            w.limit = 1 + i * most / times;
            run_way(w, &all);
            bool made = all.ranks[1].status == MGEN_OK; /* with less than it took before */
            failed += !made;
            for (int r = 0; r < 2; r++) {
                const rank_state *s = &all.ranks[r];
                bool told = s->status == MGEN_E_LIMIT || (!r && s->status == MGEN_E_PEER_LOST);
                if (made ? s->status != MGEN_OK : !told)
                    fail_msg("%s, %llu of %llu bytes, rank %d: %d: %s", kind_name[k],
                             (unsigned long long)w.limit, (unsigned long long)most, r, s->status,
                             s->said);
            }
            end_ranks(&all);
        }
        assert_true(failed >= times / 2);
    }
}

/* A mesh with shards has no rank that could make a film. */
static void test_refused(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++)
        run_bad((way){.of = (kind)k, .shape = {2, 1, 1, 2}, .frames = FRAMES}, MGEN_E_UNSUPPORTED,
                "shard=2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_films),        cmocka_unit_test(test_other_films),
        cmocka_unit_test(test_disagreement), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_memory),       cmocka_unit_test(test_refused)};
    for (int i = 0; i < SIDE * SIDE * 3; i++) {
        face[0][i] = (uint8_t)(128.0f + 100.0f * sinf(0.05f * (float)i));
        face[1][i] = (uint8_t)(128.0f + 100.0f * sinf(0.1f * (float)i));
    }
    int failed = cmocka_run_group_tests_name("mesh tasks", tests, save_models, remove_models);
    for (int r = 0; r < RANKS; r++)
        free(saw[r]);
    return failed;
}
