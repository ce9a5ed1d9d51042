/* SPDX-License-Identifier: MIT
 * What is planned of a step on the meta device is what ranks that compute do: memory, launches, bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "dist/mesh.h"
#include "rank_threads.h"
#include "tensor/device.h"
#include "tiny_networks.h"
#include "train/plan.h"

static mgen_context *small_context(void)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx;
    params.threads = 1;
    assert_int_equal(mgi_context_init(&ctx, &params), MGEN_OK);
    assert_int_equal(mgi_device_create(ctx, NULL), MGEN_OK);
    return ctx;
}

static const mgi_vt_config tiny = {TINY_MESH_VT};
static const mgi_vt_config seeing = {TINY_MESH_VT, .condition = 2};
static const mgi_vt_config photos = {TINY_MESH_VT, .reference = 12};
/* DiT's blocks over 8 frames of one patch, which have features; text of one encoder. */
static const mgi_vt_config sound = {.layers = 2,
                                    .dim = 32,
                                    .heads = 4,
                                    .ff_dim = 24,
                                    .channels = 3,
                                    .condition = 3,
                                    .features = 5,
                                    .patch_t = 1,
                                    .patch_h = 1,
                                    .patch_w = 1,
                                    .frames_max = 9,
                                    .rows_max = 1,
                                    .columns_max = 1,
                                    .text = {12, 0, 0},
                                    .time_dim = 16,
                                    .block = MGI_VT_DIT};

/* A step, on a device that computes or on the meta device, and what the rank sent. */
typedef struct taken {
    mgi_plan plan;
    int64_t sent[MGI_AXES][MGI_COMM_OPS];
} taken;

/* Frozen text encoders, as wide as the streams of `tiny`: the first divided like the model and held in bf16, the second whole,
 * in f32 with copies. */
static const mgi_text_config encoders[] = {{.kind = MGI_TEXT_T5_SENTENCEPIECE,
                                            .t5 = {.vocab = 64,
                                                   .dim = 12,
                                                   .layers = 3,
                                                   .heads = 2,
                                                   .head_dim = 8,
                                                   .ff_dim = 20,
                                                   .buckets = 8,
                                                   .max_distance = 16,
                                                   .tokens_max = 3,
                                                   .eps = 1e-6f}},
                                           {.kind = MGI_TEXT_CLIP_BPE,
                                            .clip = {.vocab = 64,
                                                     .dim = 8,
                                                     .layers = 1,
                                                     .heads = 2,
                                                     .ff_dim = 12,
                                                     .tokens_max = 9,
                                                     .eps = 1e-5f}}};

/* An image encoder that is as wide as what `photos` sees, and one as wide as the features of `sound`. */
static const mgi_clip_vision_config lookers[] = {{.image = 8,
                                                  .patch = 4,
                                                  .dim = 12,
                                                  .layers = 3,
                                                  .heads = 2,
                                                  .ff_dim = 20,
                                                  .projection = 7,
                                                  .deviation = {1.0f, 1.0f, 1.0f},
                                                  .eps = 1e-5f},
                                                 {.image = 8,
                                                  .patch = 8,
                                                  .dim = 4,
                                                  .layers = 1,
                                                  .heads = 1,
                                                  .ff_dim = 8,
                                                  .projection = 5,
                                                  .deviation = {1.0f, 1.0f, 1.0f},
                                                  .eps = 1e-5f}};
enum { GIVEN, IN_F32, IN_BF16, LEARNS }; /* what is seen; or how the image encoder is there */

static mgi_mesh_shape shape;
static const mgi_vt_config *config; /* of what is planned, and done */
static bool encoded;                /* by these */
static int looks;                   /* GIVEN, ... */
static taken done[RANKS];

static mgen_status take(mgen_context *ctx, mgi_comm *all, taken *out)
{
    bool one = config->features > 0;
    mgi_plan_request r = {.config = *config,
                          .batch = 2,
                          .latent_frames = one ? 8 : 4,
                          .latent_height = one ? 1 : 4,
                          .latent_width = one ? 1 : 8,
                          .text_tokens = 8,
                          .recompute = MGI_RECOMPUTE_SELECTIVE,
                          .dtype = MGK_BF16};
    mgi_mesh mesh;
    for (int i = 0; i < 2 && encoded; i++)
        r.text[i] = &encoders[i];
    r.hold[0] = MGI_HOLD_BF16;
    r.vision = looks == GIVEN ? NULL : &lookers[one];
    r.vision_hold = looks == IN_BF16 ? MGI_HOLD_BF16 : MGI_HOLD_F32;
    r.vision_learns = looks == LEARNS;
    r.reference_tokens = 5;
    MGI_TRY(mgi_mesh_create(all, shape, &mesh));
    mgen_status status =
        mgi_plan_walk_step(ctx, &r, &(mgi_plan_walk){.mesh = &mesh, .passes = true}, &out->plan);
    for (int a = 0; a < MGI_AXES; a++)
        for (int op = 0; op < MGI_COMM_OPS; op++)
            out->sent[a][op] = mgi_comm_counted(mesh.group[a], (mgi_comm_op)op).sent;
    mesh.group[MGI_AXIS_WORLD] = NULL; /* the caller's */
    mgi_mesh_destroy(&mesh);
    return status;
}

static void do_rank(rank_state *s)
{
    CHECK(mgi_device_create(s->ctx, "ref") == MGEN_OK);
    s->status = take(s->ctx, s->comm, &done[s->rank]);
    s->ctx->device_destroy(s->ctx->device);
    s->ctx->device = NULL;
}

/* Ranks that are threads and compute, on whatever their memory holds, take the memory, the launches and the bytes that are
 * planned; of a model that sees a condition, of one as the audio model is, of one beside frozen text encoders, and of
 * those that see by an image encoder, which runs, learns, or is there, too. */
static void test_done(void **state)
{
    static const mgi_mesh_shape shapes[] = {{4, 1, 1, 4}, {4, 1, 1, 2}, {1, 2, 2, 1},
                                            {2, 1, 2, 2}, {2, 2, 1, 4}, {1, 2, 2, 2}};
    enum { SHAPES = sizeof shapes / sizeof shapes[0] };
    (void)state;
    static const struct {
        const mgi_vt_config *config;
        int shape;
        bool encoded;
        int looks;
    } more[] = {{&seeing, 0, false},
                {&seeing, 1, false},
                {&sound, 0, false},
                {&sound, 4, false},
                {&sound, 5, false},
                {&tiny, 1, true},
                {&tiny, 4, true},
                {&tiny, 2, true},
                {&photos, 1, false, GIVEN},
                {&photos, 1, false, IN_F32},
                {&photos, 4, true, IN_BF16},
                {&photos, 2, false, LEARNS},
                {&photos, 4, false, LEARNS},
                {&photos, 5, false, LEARNS},
                {&sound, 4, false, IN_BF16}};
    enum { ALL = SHAPES + sizeof more / sizeof more[0] };
    for (int i = 0; i < ALL; i++) {
        world all;
        shape = shapes[i < SHAPES ? i : more[i - SHAPES].shape];
        config = i < SHAPES ? &tiny : more[i - SHAPES].config;
        encoded = i >= SHAPES && more[i - SHAPES].encoded;
        looks = i < SHAPES ? GIVEN : more[i - SHAPES].looks;
        run_ranks(&all, 4, 60000, do_rank);
        for (int r = 0; r < 4; r++) {
            mgen_context *ctx = small_context();
            mgi_comm *comm;
            taken planned, *d = &done[r];
            if (all.ranks[r].status != MGEN_OK)
                assert_says(&all.ranks[r], "nothing");
            mgi_device_make_meta(ctx->device);
            assert_int_equal(mgi_comm_counting_create(ctx, r, 4, &comm), MGEN_OK);
            assert_int_equal(take(ctx, comm, &planned), MGEN_OK);
            const mgi_device_counts *a = &planned.plan.end, *b = &d->plan.end;
            for (int k = 0; k < MGI_MEM_KINDS; k++)
                if (k != MGI_MEM_WORKSPACE)
                    assert_int_equal(a->peak[k], b->peak[k]);
            assert_true(a->flops == b->flops && a->launches == b->launches);
            assert_memory_equal(planned.sent, d->sent, sizeof planned.sent);
            mgi_comm_destroy(comm);
            mgen_context_destroy(ctx);
        }
        end_ranks(&all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_done)};
    return cmocka_run_group_tests_name("plan done", tests, NULL, NULL);
}
