/* SPDX-License-Identifier: MIT
 * Encoders that are frozen may be held in bf16 while others learn: they run as at generation, a training goes on as ever, and
 * their files stay. */
#include "core/context.h"
#include "tensor/device.h"
#include "train/checkpoint.h"
#include "train/video_stage.h"

#include "stage_runs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { STEPS = 3, BREAK = 2 };

static const char *in_folder(const char *name)
{
    static char path[4][128];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static uint64_t hash_of(const char *name)
{
    mgi_reader *file;
    uint64_t hash = 0;
    OK(mgi_reader_open(ctx, folder, name, &file));
    OK(mgi_reader_hash(ctx, file, 1, &hash));
    mgi_reader_close(ctx, file);
    return hash;
}

static void steps(const mgi_stage *stage, struct mgi_stage_run *run, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++)
        OK(mgi_stage_kind_of(stage)->step(run, i, NULL));
}

static void end(const mgi_stage *stage, struct mgi_stage_run *run)
{
    mgi_stage_kind_of(stage)->destroy(run);
}

static mgi_stage held(int32_t dtype, int32_t hold)
{
    mgi_stage s = tiny_text_to_video(STEPS, 2);
    strcpy(s.text[0].from, "text_encoder");
    s.text[0].frozen = true;
    s.text[0].hold = hold;
    s.dtype = dtype;
    strcpy(s.save_as, "held");
    return s;
}

/* Trained, with a break at a checkpoint: what its model becomes. */
static uint64_t trained(const mgi_stage *stage)
{
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(stage);
    struct mgi_stage_run *run = begin(stage);
    steps(stage, run, 0, STEPS);
    OK(kind->save(run));
    end(stage, run);
    const uint64_t model = hash_of("held_video_model.safetensors");
    run = begin(stage);
    steps(stage, run, 0, BREAK);
    OK(mgi_checkpoint_save(ctx, kind, run, in_folder("half")));
    end(stage, run);
    run = begin(stage);
    OK(mgi_checkpoint_load(ctx, kind, run, in_folder("half")));
    steps(stage, run, BREAK, STEPS);
    OK(kind->save(run));
    end(stage, run);
    assert_true(hash_of("held_video_model.safetensors") == model);
    return model;
}

/* Matrices and tables are bf16 alone, and nothing is there twice. */
static void assert_narrow(const mgi_module *m)
{
    int64_t narrow = 0;
    assert_true(m->hold == MGI_HOLD_BF16 && m->dtype == MGK_BF16);
    for (int64_t k = 0; k < m->count; k++) {
        const mgi_param *p = m->params[k];
        assert_int_equal(p->value->dtype, p->narrow ? MGK_BF16 : MGK_F32);
        assert_true(!p->compute && !p->m && !p->value->var);
        narrow += p->narrow;
    }
    assert_true(narrow > 0);
}

/* What an encoder makes of a text, as f32. */
static float *encoded(const mgi_text_encoder *e, int64_t *count)
{
    const char *const prompt = "a \"red\" ball";
    int64_t tokens;
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    T *y = mgi_cast(&run, mgi_text_batch(&run, e, &prompt, 1, &tokens), MGK_F32);
    OK(run.status);
    float *values = calloc((size_t)y->count, sizeof *values);
    *count = y->count;
    mgi_tensor_read(y, 0, values, y->count);
    mgi_run_finish(&run);
    return values;
}

/* In a stage of f32 the held encoder's text is that of generation in bf16, to the bit. */
static void test_as_at_generation(void **state)
{
    const mgi_stage stage = held(MGK_F32, MGI_HOLD_BF16);
    mgi_text_encoder at_generation;
    uint64_t hash;
    int64_t n, m;
    (void)state;
    struct mgi_stage_run *run = begin(&stage);
    assert_int_equal(ctx->device->hold, MGI_HOLD_F32);
    assert_int_equal(run->video.module.dtype, MGK_F32);
    assert_narrow(mgi_text_module(&run->text[0]));
    mgi_device_hold(ctx->device, MGI_HOLD_BF16);
    OK(mgi_text_encoder_open(ctx, folder, "text_encoder", &at_generation, &hash));
    mgi_device_hold(ctx->device, MGI_HOLD_F32);
    float *a = encoded(&run->text[0], &n), *b = encoded(&at_generation, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, (size_t)n * sizeof *a);
    free(a);
    free(b);
    mgi_text_encoder_finish(&at_generation);
    end(&stage, run);
}

/* In a stage of bf16 a T5 of a file in bf16 has the same bits either way, in a third of the memory; in one of f32 others.
 * A training that was begun with the one does not go on with the other. */
static void test_bits(void **state)
{
    static const int32_t dtypes[] = {MGK_BF16, MGK_F32};
    const uint64_t file = hash_of("text_encoder.safetensors");
    mgi_pipeline_file p;
    (void)state;
    for (int i = 0; i < 2; i++) {
        const mgi_stage wide = held(dtypes[i], MGI_HOLD_F32),
                        narrow = held(dtypes[i], MGI_HOLD_BF16);
        uint64_t bytes[2], parent[2];
        assert_true((trained(&wide) == trained(&narrow)) == (dtypes[i] == MGK_BF16));
        for (int k = 0; k < 2; k++) {
            const uint64_t *now = ctx->device->counts.now;
            struct mgi_stage_run *run = begin(k ? &narrow : &wide);
            mgi_stage_state s;
            bytes[k] = now[MGI_MEM_PARAMETER] + now[MGI_MEM_COMPUTE];
            mgi_stage_kind_of(&wide)->state(run, &s);
            parent[k] = s.parent;
            if (k == 0) {
                mgen_status got =
                    mgi_checkpoint_load(ctx, mgi_stage_kind_of(&wide), run, in_folder("half"));
                assert_int_equal(got, MGEN_E_STATE);
                assert_non_null(strstr(mgen_last_error(ctx), "made with a recipe"));
            }
            end(&wide, run);
        }
        assert_true(bytes[1] < bytes[0]);
        assert_true(parent[1] != parent[0]); /* nor are films in the cache those of the other */
    }
    assert_true(hash_of("text_encoder.safetensors") == file);
    OK(mgi_pipeline_file_read(ctx, folder, "held_pipeline", &p));
    assert_string_equal(p.text[0], "text_encoder");
}

/* The image encoder of a personalizer, too, and a text encoder that two use. */
static void test_image_encoder(void **state)
{
    mgi_stage stage = tiny_personalizer(1, 2);
    (void)state;
    struct mgi_stage_run *run = begin(&stage);
    steps(&stage, run, 0, 1);
    OK(mgi_stage_kind_of(&stage)->save(run));
    end(&stage, run);
    const uint64_t file = hash_of("personalizer_vision.safetensors");
    strcpy(stage.vision.from, "personalizer_vision");
    stage.vision.frozen = true;
    stage.vision.hold = stage.text[0].hold = MGI_HOLD_BF16;
    run = begin(&stage);
    assert_narrow(&run->vision.module);
    assert_narrow(mgi_text_module(&run->text[0]));
    steps(&stage, run, 0, 1);
    OK(mgi_stage_kind_of(&stage)->save(run));
    end(&stage, run);
    assert_true(hash_of("personalizer_vision.safetensors") == file);
}

/* A stage of the recipe with encoders of text and images as these say. */
static mgen_status read_recipe(const char *text, const char *vision, mgi_stage *out)
{
    FILE *f = fopen(in_folder("recipe.json"), "w");
    assert_non_null(f);
    fprintf(
        f,
        "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": \"one\", "
        "\"kind\": \"personalizer\", \"steps\": 1, \"batch\": 1, \"tae\": \"tae\", \"clips\": 1, "
        "\"optimizer\": {\"lr\": 0.5}, \"text_encoders\": {\"ul2\": {%s}}, \"vision\": {%s}, "
        "\"personalizer\": {\"transformer\": {\"layers\": 1, \"dim\": 16, \"heads\": 2, "
        "\"ff_dim\": 32, \"channels\": 4, \"reference_width\": 12, \"patch\": [1, 2, 2], "
        "\"frames_max\": 14, \"rows_max\": 8, \"columns_max\": 8, \"text\": {\"ul2\": 16}, "
        "\"time_dim\": 16}}}]}",
        text, vision);
    fclose(f);
    return mgi_recipe_stage(ctx, in_folder("recipe.json"), "one", out);
}

/* What stays as it is may be held in bf16; what learns may not. */
static void test_recipe(void **state)
{
#define FROZEN "\"from\": \"a\", \"frozen\": true"
    static const struct {
        const char *text, *vision, *said;
    } bad[] = {
        {"\"from\": \"a\", \"precision\": \"bf16\"", FROZEN,
         "\"precision\" stands without \"frozen\": what learns is held in f32"},
        {"\"from\": \"a\", \"frozen\": false, \"precision\": \"f32\"", FROZEN,
         "without \"frozen\""},
        {"\"kind\": \"t5-bytes\", \"config\": {}, \"precision\": \"bf16\"", FROZEN,
         "without \"frozen\""},
        {FROZEN ", \"precision\": \"fp8\"", FROZEN,
         "\"precision\" is \"fp8\"; known are \"f32\" and \"bf16\""},
        {FROZEN ", \"precision\": true", FROZEN, "\"precision\""},
        {FROZEN, "\"from\": \"a\", \"precision\": \"bf16\"", "without \"frozen\""},
        {FROZEN, "\"config\": {}, \"precision\": \"bf16\"", "without \"frozen\""},
        {FROZEN, FROZEN ", \"precision\": \"fp8\"", "known are \"f32\" and \"bf16\""},
    };
    mgi_stage s;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_recipe(bad[i].text, bad[i].vision, &s), MGEN_E_CORRUPT);
        if (!strstr(mgen_last_error(ctx), bad[i].said))
            fail_msg("'%s' does not say '%s'", mgen_last_error(ctx), bad[i].said);
    }
    OK(read_recipe(FROZEN, FROZEN ", \"precision\": \"f32\"", &s));
    assert_true(s.text[0].hold == MGI_HOLD_F32 && s.vision.hold == MGI_HOLD_F32);
    OK(read_recipe(FROZEN ", \"precision\": \"bf16\"", FROZEN, &s));
    assert_true(s.text[0].hold == MGI_HOLD_BF16 && s.vision.hold == MGI_HOLD_F32);
    OK(read_recipe(FROZEN, FROZEN ", \"precision\": \"bf16\"", &s));
    assert_true(s.text[0].hold == MGI_HOLD_F32 && s.vision.hold == MGI_HOLD_BF16);
#undef FROZEN
}

static int make_models(void **state)
{
    if (make_context_and_folder(state) != 0)
        return -1;
    save_new(tiny_autoencoder(1, 1));
    save_new(tiny_text_to_video(1, 2));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_at_generation), cmocka_unit_test(test_bits),
        cmocka_unit_test(test_image_encoder), cmocka_unit_test(test_recipe)};
    return cmocka_run_group_tests_name("held_encoders", tests, make_models,
                                       free_context_and_folder);
}
