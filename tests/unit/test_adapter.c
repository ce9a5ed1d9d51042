/* SPDX-License-Identifier: MIT
 * Low-rank adapters: what they begin as and learn, and that a model opened with one is the one that was validated. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter_stage.h"
#include "kernels/common/bf16.h"
#include "logged.h"
#include "stage_runs.h"
#include "pair_films.h"
#include "said.h"
#include "tensor/device_cuda.h"
#include "train/average.h"
#include "train/checkpoint.h"
#include "train/checkpoint_head.h"
#include "train/video_stage.h"

#include <sys/stat.h>

enum { HALVES = 28 /* 2 blocks of 7 matrices */ };

static int make_base(void **state)
{
    if (make_context_and_folder(state) != 0)
        return -1;
    save_new(tiny_autoencoder(1, 2));
    mgi_stage video = tiny_text_to_video(30, 8);
    double first, last;
    video.optimizer.lr = 0.005;
    train(&video, &first, &last);
    strcpy(video.save_as, "dit");
    video.video.block = MGI_VT_DIT;
    train(&video, &first, &last);
    video.video.block = MGI_VT_LLAMA;
    strcpy(video.save_as, "other");
    video.optimizer.lr = 0.002;
    train(&video, &first, &last);
    strcpy(video.save_as, "");
    video.optimizer.lr = 0.005;
    train(&video, &first, &last); /* the folder's pipeline has its plain names again */
    return 0;
}

static void end(struct mgi_stage_run *run)
{
    mgi_stage_text_to_video.destroy(run);
}

static double step_of(const mgi_stage *stage, struct mgi_stage_run *run, int64_t i)
{
    mgen_report *report;
    OK(mgi_report_create(ctx, &report));
    OK(mgi_stage_kind_of(stage)->step(run, i, report));
    const double loss = reported(report, "loss");
    mgen_report_destroy(report);
    return loss;
}

static float *values_of(const mgi_tensor *t)
{
    float *x = malloc((size_t)t->count * sizeof *x);
    assert_non_null(x);
    mgi_tensor_read(t, 0, x, t->count);
    OK(mgi_device_wait(ctx->device));
    return x;
}

static uint8_t *read_all(const char *name, size_t *size)
{
    char path[400];
    struct stat s;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    assert_true(f && stat(path, &s) == 0);
    *size = (size_t)s.st_size;
    uint8_t *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    bytes[*size] = 0;
    fclose(f);
    return bytes;
}

static void put_model(const char *name, const void *bytes, size_t size)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_true(f && fwrite(bytes, 1, size, f) == size && fclose(f) == 0);
}

/* ---- learning ------------------------------------------------------------------------------------- */

/* With B of zeros, the first loss is that of training the whole model, bit for bit, whatever A is. */
static void test_begins(void **state)
{
    (void)state;
    for (int k = 0; k < 4; k++) {
        mgi_stage stage = adapter_stage(4, 8), whole = stage;
        stage.dtype = whole.dtype = k % 2 ? MGK_BF16 : MGK_F32;
        if (k > 1) {
            strcpy(stage.start_from, "dit");
            strcpy(stage.text[0].from, "dit_text_encoder");
            stage.video.block = MGI_VT_DIT;
            whole = stage;
        }
        whole.adapter.rank = 0;
        struct mgi_stage_run *run = begin(&stage), *all = begin(&whole);
        assert_int_equal(run->adapter.module.count, HALVES);
        assert_true(step_of(&stage, run, 0) == step_of(&whole, all, 0));
        assert_true(step_of(&stage, run, 1) != step_of(&whole, all, 1));
        end(run);
        end(all);
    }
}

/* The recipe may leave out what the model's file says. */
static void test_leaves_out(void **state)
{
    (void)state;
    char hash[2][MGI_HEAD_TEXT];
    mgi_stage stage = adapter_stage(4, 8), brief = stage;
    memset(&brief.video, 0, sizeof brief.video);
    struct mgi_stage_run *said = begin(&stage), *run = begin(&brief);
    assert_true(step_of(&stage, said, 0) == step_of(&brief, run, 0));
    assert_true(step_of(&stage, said, 1) == step_of(&brief, run, 1));
    mgi_stage_state s;
    mgi_stage_text_to_video.state(said, &s);
    OK(mgi_stage_hash(ctx, s.stage, hash[0]));
    mgi_stage_text_to_video.state(run, &s);
    OK(mgi_stage_hash(ctx, s.stage, hash[1]));
    assert_string_equal(hash[0], hash[1]);
    end(said);
    end(run);
    strcpy(brief.start_from, "nothing");
    assert_said(create_on(&brief, NULL, &run), MGEN_E_STATE, "needs the model of an earlier stage");

    size_t size; /* what a recipe that says it is refused for */
    uint8_t *bytes = read_all("video_model.safetensors", &size);
    put_model("levels.safetensors", bytes, size);
    free(bytes);
    bytes = read_all("video_model.json", &size);
    char *config = strstr((char *)bytes, "\"layers\""), text[4096];
    assert_non_null(config);
    snprintf(text, sizeof text, "%.*s\"objective\": \"v_prediction\", %s",
             (int)(config - (char *)bytes), (char *)bytes, config);
    put_model("levels.json", text, strlen(text));
    free(bytes);
    strcpy(brief.start_from, "levels");
    brief.time_mean = -0.5;
    brief.time_deviation = 1.0;
    assert_said(create_on(&brief, NULL, &run), MGEN_E_CORRUPT, "\"times\" are of flow matching");
}

/* Nothing but A and B has moments, and no more than matrices have gradients. */
static void test_states(void **state)
{
    mgi_stage stage = adapter_stage(4, 8);
    int64_t matrices = 0;
    (void)state;
    struct mgi_stage_run *run = begin(&stage);
    const mgi_module *m = &run->video.module, *own = &run->adapter.module;
    for (int64_t i = 0; i < m->count; i++) {
        const mgi_param *p = m->params[i];
        assert_true(!p->m && !p->v && !p->ema && p->frozen == !p->adapted);
        assert_true((p->value->var != NULL) == p->adapted && (p->compute != NULL) == p->adapted);
        matrices += p->adapted ? p->value->count : 0;
    }
    assert_int_equal(own->count, HALVES);
    for (int64_t i = 0; i < own->count;
         i++) { /* A is random, B is not, averages begin as they do */
        const int64_t n = own->params[i]->value->count;
        float *a = values_of(own->params[i]->value), *b = values_of(own->params[i]->ema);
        double sum = 0.0;
        for (int64_t k = 0; k < n; k++)
            sum += (double)a[k] * a[k] * (double)own->params[i]->dims[1] / (double)n;
        assert_memory_equal(a, b, (size_t)n * sizeof *a);
        assert_true(i % 2 ? sum == 0.0 : sum > 0.5 && sum < 1.6);
        free(a);
        free(b);
    }
    assert_int_equal(run->optimizer.item_count, HALVES);
    const uint64_t *now = ctx->device->counts.now;
    assert_in_range(now[MGI_MEM_OPTIMIZER], 12 * mgi_module_size(own),
                    13 * mgi_module_size(own) + 64 * 3 * HALVES);
    /* those of one of two blocks, and of A and B */
    assert_in_range(now[MGI_MEM_GRADIENT], 2 * matrices + 4 * mgi_module_size(own),
                    2 * matrices + 5 * mgi_module_size(own));
    end(run);
}

/* The loss of the first batch, without a step: the rate is 0. */
static double loss_of(const mgi_stage *stage, struct mgi_stage_run *run)
{
    run->updated = 0;
    return step_of(stage, run, 0);
}

/* Along the gradient of all A, or of all B, the loss rises by its length. */
static void assert_slope(const mgi_stage *stage, struct mgi_stage_run *run, int half)
{
    enum { MOST = 1 << 12 };
    const mgi_adapter *a = &run->adapter;
    static float was[HALVES / 2][MOST], grad[HALVES / 2][MOST];
    double square = 0.0, loss[2];
    loss_of(stage, run);
    for (int64_t i = 0; i < a->pairs; i++) {
        mgi_tensor *t = half ? a->pair[i].b->value : a->pair[i].a->value;
        assert_in_range(t->count, 1, MOST);
        mgi_tensor_read(t, 0, was[i], t->count);
        mgi_tensor_read(t->var->grad, 0, grad[i], t->count);
        for (int64_t k = 0; k < t->count; k++)
            square += (double)grad[i][k] * grad[i][k];
    }
    assert_true(square > 0.0);
    const double length = sqrt(square), e = 0.01;
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int64_t i = 0; i < a->pairs; i++) {
            mgi_tensor *t = half ? a->pair[i].b->value : a->pair[i].a->value;
            float x[MOST];
            for (int64_t k = 0; k < t->count; k++)
                x[k] = was[i][k] + (float)(sign * e * grad[i][k] / length);
            mgi_tensor_write(t, 0, x, t->count);
        }
        loss[sign > 0] = loss_of(stage, run);
    }
    for (int64_t i = 0; i < a->pairs; i++) {
        mgi_tensor *t = half ? a->pair[i].b->value : a->pair[i].a->value;
        mgi_tensor_write(t, 0, was[i], t->count);
    }
    const double slope = (loss[1] - loss[0]) / (2.0 * e);
    if (!(fabs(slope / length - 1.0) < 0.01))
        fail_msg("half %d: slope %g, gradient %g", half, slope, length);
}

static void test_gradients(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        mgi_stage stage = adapter_stage(4, 8);
        stage.optimizer.lr = 0.0;
        stage.recompute = k ? MGI_RECOMPUTE_FULL : MGI_RECOMPUTE_NONE;
        if (k) {
            strcpy(stage.start_from, "dit");
            strcpy(stage.text[0].from, "dit_text_encoder");
            stage.video.block = MGI_VT_DIT;
            stage.accumulate = 2;
        }
        struct mgi_stage_run *run = begin(&stage);
        for (int64_t i = 0; i < run->adapter.pairs; i++) { /* or A had no gradient */
            mgi_tensor *b = run->adapter.pair[i].b->value;
            float x[1 << 12];
            for (int64_t j = 0; j < b->count; j++)
                x[j] = 0.1f * (float)((j + i) % 5 - 2);
            mgi_tensor_write(b, 0, x, b->count);
        }
        assert_slope(&stage, run, 0);
        assert_slope(&stage, run, 1);
        end(run);
    }
}

/* What products read becomes that of the averages. */
static void apply_averages(struct mgi_stage_run *run)
{
    mgi_run own;
    mgi_run_init(&own, ctx, false);
    mgi_module_swap_ema(&run->adapter.module);
    mgi_adapter_apply(&run->adapter, &own);
    mgi_module_swap_ema(&run->adapter.module);
    OK(own.status);
    mgi_run_finish(&own);
}

/* The weights that were validated, as products read them. */
static void assert_validated(struct mgi_stage_run *run, const mgi_vt *opened, bool same)
{
    int64_t differ = 0;
    apply_averages(run);
    for (int64_t i = 0; i < opened->module.count; i++) {
        float *a = values_of(opened->module.params[i]->value);
        float *b = values_of(mgi_value(run->video.module.params[i]));
        differ += memcmp(a, b, (size_t)opened->module.params[i]->value->count * sizeof *a) != 0;
        free(a);
        free(b);
    }
    assert_int_equal(differ == 0, same);
}

/* A model of the folder with adapters; its hash. */
static uint64_t open_with(const mgi_adapters *adapters, mgi_vt *out)
{
    uint64_t hash;
    OK(mgi_vt_open_mesh(ctx, folder, "video_model", adapters, NULL, out, &hash));
    return hash;
}

static mgi_adapters some(int count, double scale)
{
    mgi_adapters a = {.count = count};
    for (int i = 0; i < count; i++) {
        strcpy(a.list[i].name, "mine_adapter");
        a.list[i].scale = scale;
    }
    return a;
}

/* How far the matrices of a model are from another's. */
static double apart(const mgi_vt *a, const mgi_vt *b)
{
    double sum = 0.0;
    for (int64_t i = 0; i < a->module.count; i++) {
        float *x = values_of(a->module.params[i]->value),
              *y = values_of(b->module.params[i]->value);
        for (int64_t k = 0; k < a->module.params[i]->value->count; k++)
            sum += ((double)x[k] - y[k]) * ((double)x[k] - y[k]);
        free(x);
        free(y);
    }
    return sqrt(sum);
}

static void write_video(mgi_json_writer *w, const void *config)
{
    mgi_vt_config_write(w, config);
}

/* The validation loss of a model of the folder, saved as a whole. */
static double held_loss(mgi_vt *vt)
{
    mgi_stage stage = adapter_stage(1, 8);
    double first, last;
    OK(mgi_model_file_save(ctx, folder, "merged_video_model", "video-transformer", write_video,
                           &vt->config, &vt->module, MGI_ST_F32));
    stage.adapter.rank = 0;
    stage.optimizer.lr = 0.0;
    strcpy(stage.start_from, "merged");
    struct mgi_stage_run *run = begin(&stage);
    steps_of(&stage, run, &first, &last);
    end(run);
    return last;
}

/* Losses go down, the file of the model stays as it is, and the model opened with the adapter is the one that was validated, to
 * the bit; several adapters add up. */
static void test_learns(void **state)
{
    mgi_stage stage = adapter_stage(40, 8);
    mgi_pipeline_file p;
    mgi_vt with, base, twice, other;
    double first, last;
    size_t size, again, own_size;
    uint8_t *before = read_all("video_model.safetensors", &size);
    (void)state;
    stage.validate_every = 20;
    struct mgi_stage_run *run = begin(&stage);
    stage.optimizer.lr = 0.0;
    stage.steps = stage.validate_every = 1;
    struct mgi_stage_run *still = begin(&stage);
    double start;
    steps_of(&stage, still, &start, &last);
    end(still);
    stage = adapter_stage(40, 8);
    stage.validate_every = 20;
    steps_of(&stage, run, &first, &last);
    if (!(first < start && last < 0.98 * start))
        fail_msg("losses %g, %g and %g", start, first, last);
    OK(mgi_stage_text_to_video.save(run));

    uint8_t *after = read_all("video_model.safetensors", &again);
    assert_true(size == again && !memcmp(before, after, size));
    uint8_t *own = read_all("mine_adapter.safetensors", &own_size);
    assert_true(own_size < size);
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    assert_string_equal(p.video, "video_model");
    assert_string_equal(p.text[0], "text_encoder");
    assert_int_equal(p.adapters[MGI_ADAPTED_VIDEO].count, 1);
    assert_string_equal(p.adapters[MGI_ADAPTED_VIDEO].list[0].name, "mine_adapter");
    assert_true(p.adapters[MGI_ADAPTED_VIDEO].list[0].scale == 1.0);

    logged[0] = '\0';
    ctx->log = keep_log;
    const uint64_t hash = open_with(&p.adapters[MGI_ADAPTED_VIDEO], &with),
                   plain = open_with(NULL, &base);
    ctx->log = NULL;
    assert_string_equal(logged, "");
    assert_true(hash != plain);
    assert_validated(run, &with, true);
    assert_validated(run, &base, false);
    assert_true(held_loss(&with) == last);
    assert_true(held_loss(&base) == start);
    const mgi_adapters halves = some(2, 0.5), none = some(1, 0.0), back = some(1, -1.0);
    const double whole = apart(&with, &base);
    assert_true(whole > 0.1);
    assert_true(open_with(&halves, &twice) != hash);
    assert_true(apart(&with, &twice) < 1e-5 * whole);
    mgi_vt_finish(&twice);
    open_with(&none, &twice);
    assert_true(apart(&base, &twice) == 0.0);
    mgi_vt_finish(&twice);
    open_with(&back, &twice);
    assert_true(fabs(apart(&with, &twice) / whole - 2.0) < 1e-4);
    uint64_t other_hash;
    logged[0] = '\0';
    ctx->log = keep_log;
    OK(mgi_vt_open_mesh(ctx, folder, "other_video_model", &p.adapters[MGI_ADAPTED_VIDEO], NULL,
                        &other, &other_hash));
    ctx->log = NULL;
    assert_non_null(strstr(logged, "was trained beside other weights (of \"video_model\""));
    mgi_vt_finish(&other);
    mgi_vt_finish(&twice);
    mgi_vt_finish(&base);
    mgi_vt_finish(&with);
    end(run);
    free(before);
    free(after);
    free(own);
}

/* A model of a folder against what values of another become in its file. */
static void assert_stored(const char *dir, const char *name, const mgi_vt *values)
{
    mgi_vt stored;
    uint64_t hash;
    OK(mgi_vt_open(ctx, dir, name, &stored, &hash));
    for (int64_t i = 0; i < stored.module.count; i++) {
        const mgi_tensor *t = stored.module.params[i]->value;
        float *a = values_of(t), *b = values_of(values->module.params[i]->value);
        for (int64_t k = 0; k < t->count; k++)
            assert_true(a[k] == mgk_from_bf16(mgk_to_bf16(b[k])));
        free(a);
        free(b);
    }
    mgi_vt_finish(&stored);
}

/* Averages have adapters in their weights: of one model, it with its adapter, as a stage that goes on with it takes it. */
static void test_averages(void **state)
{
    mgi_stage mean = {.name = "mean",
                      .kind = MGI_STAGE_AVERAGE,
                      .steps = 1,
                      .save_as = "whole",
                      .average = {"mine"},
                      .average_weight = {1.0},
                      .average_count = 1};
    const mgi_adapters one = some(1, 1.0);
    mgi_pipeline_file p;
    mgi_vt with;
    char out[400];
    (void)state;
    open_with(&one, &with);
    save_new(mean);
    OK(mgi_pipeline_file_read(ctx, folder, "whole_pipeline", &p));
    assert_string_equal(p.video, "whole_video_model");
    assert_string_equal(p.text[0], "text_encoder");
    assert_int_equal(p.adapters[MGI_ADAPTED_VIDEO].count, 0);
    assert_stored(folder, "whole_video_model", &with);

    strcpy(mean.save_as, "both"); /* with a set that has a text encoder of its own */
    strcpy(mean.average[1], "other");
    mean.average_weight[1] = 1.0;
    mean.average_count = 2;
    save_new(mean);
    OK(mgi_pipeline_file_read(ctx, folder, "both_pipeline", &p));
    assert_string_equal(p.video, "both_video_model");
    assert_string_equal(p.text[0], "both_text_encoder");
    assert_int_equal(p.adapters[MGI_ADAPTED_VIDEO].count, 0);

    mgi_stage stage = adapter_stage(1, 8);
    save_new(stage); /* the folder's pipeline has an adapter again */
    mgi_vt_finish(&with);
    open_with(&one, &with);
    snprintf(out, sizeof out, "%s/out", folder);
    OK(mgi_average_folders(ctx, (const char *const[]){folder}, (const double[]){1.0}, 1, out));
    OK(mgi_pipeline_file_read(ctx, out, "pipeline", &p));
    assert_string_equal(p.video, "video_model");
    assert_int_equal(p.adapters[MGI_ADAPTED_VIDEO].count, 0);
    assert_stored(out, "video_model", &with);
    mgi_vt_finish(&with);
    assert_int_equal(remove_all(out), 0);
}

/* In bf16, too; and a checkpoint, which has A and B alone, changes nothing. */
static void test_resumes(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        mgi_stage stage = adapter_stage(8, 8);
        char path[400];
        size_t size, whole;
        mgi_stage_state s;
        stage.dtype = k ? MGK_BF16 : MGK_F32;
        snprintf(path, sizeof path, "%s/state%d", folder, k);
        struct mgi_stage_run *run = begin(&stage), *again;
        for (int64_t i = 0; i < stage.steps; i++) {
            if (i == 4)
                OK(mgi_checkpoint_save(ctx, &mgi_stage_text_to_video, run, path));
            step_of(&stage, run, i);
        }
        again = begin(&stage);
        OK(mgi_checkpoint_load(ctx, &mgi_stage_text_to_video, again, path));
        mgi_stage_text_to_video.state(again, &s);
        assert_int_equal(*s.position, 4);
        for (int64_t i = 4; i < stage.steps; i++)
            step_of(&stage, again, i);
        for (int64_t i = 0; i < run->adapter.module.count; i++) {
            const mgi_param *p = run->adapter.module.params[i],
                            *q = again->adapter.module.params[i];
            for (int j = 0; j < 2; j++) {
                float *a = values_of(j ? p->ema : p->value), *b = values_of(j ? q->ema : q->value);
                assert_memory_equal(a, b, (size_t)p->value->count * sizeof *a);
                free(a);
                free(b);
            }
        }
        OK(mgi_stage_text_to_video.save(run));
        mgi_vt opened; /* held in f32, from which bf16 is rounded */
        const mgi_adapters one = some(1, 1.0);
        ctx->device->hold = k ? MGI_HOLD_BF16 : MGI_HOLD_F32;
        open_with(&one, &opened);
        ctx->device->hold = MGI_HOLD_F32;
        if (k) {
            apply_averages(run);
            for (int64_t i = 0; i < run->adapter.pairs; i++) {
                const mgi_tensor *a = run->adapter.pair[i].of->compute, *b = NULL;
                for (int64_t j = 0; j < opened.module.count; j++)
                    if (!strcmp(opened.module.params[j]->name, run->adapter.pair[i].of->name))
                        b = opened.module.params[j]->value;
                uint16_t x[1 << 12], y[1 << 12];
                assert_true(b->dtype == MGK_BF16 && a->dtype == MGK_BF16);
                mgi_tensor_read(a, 0, x, a->count);
                mgi_tensor_read(b, 0, y, a->count);
                assert_memory_equal(x, y, (size_t)a->count * sizeof *x);
            }
        } else {
            assert_validated(run, &opened, true);
        }
        mgi_vt_finish(&opened);
        end(again);
        end(run);
        snprintf(path, sizeof path, "state%d", k);
        free(read_all(path, &size));
        free(read_all("video_model.safetensors", &whole));
        assert_true(size < 6 * whole); /* f32 of A, B and their states, 4 of 16 bytes a value */
    }
    /* beside other weights of the same name it cannot go on */
    mgi_stage stage = adapter_stage(8, 8);
    char path[400];
    size_t size;
    strcpy(stage.start_from, "other");
    strcpy(stage.text[0].from, "other_text_encoder");
    snprintf(path, sizeof path, "%s/state2", folder);
    struct mgi_stage_run *run = begin(&stage);
    OK(mgi_checkpoint_save(ctx, &mgi_stage_text_to_video, run, path));
    OK(mgi_checkpoint_load(ctx, &mgi_stage_text_to_video, run, path));
    end(run);
    uint8_t *bytes = read_all("video_model.safetensors", &size);
    put_model("other_video_model.safetensors", bytes, size);
    free(bytes);
    run = begin(&stage);
    assert_said(mgi_checkpoint_load(ctx, &mgi_stage_text_to_video, run, path), MGEN_E_STATE,
                "an earlier stage's model with the hash");
    end(run);
}

enum { FILMS = 4 };
static const mgi_prefer_recipe preferences = {
    .on = true, .strength = 1.0, .prompts = 2, .films = 2, .steps = 2, .guidance_to = 1.0};

/* A folder of them, with captions and scores. */
static mgi_dataset *put_films(const char *name)
{
    mgi_dataset *ds;
    make_films(folder, name);
    for (int i = 0; i < FILMS; i++) {
        const char letter = (char)('a' + i);
        put_film((char[]){letter, '.', 'y', '4', 'm', 0}, 10 + 30 * i);
        put_text((char[]){letter, '.', 't', 'x', 't', 0}, "a square");
        put_text((char[]){letter, '.', 's', 'c', 'o', 'r', 'e', '.', 't', 'x', 't', 0},
                 i % 2 ? "1" : "-0.5");
    }
    OK(open_films_of(PAIR_SIDE, 9, &ds));
    return ds;
}

/* A stage with preferences has an adapter as any other: what it leads away from is the model without, which is there once. */
static void test_prefers(void **state)
{
    const uint64_t *now = ctx->device->counts.now;
    struct mgi_stage_run *run, *all;
    uint64_t had[2];
    mgi_dataset *ds = put_films("scored");
    (void)state;
    mgi_stage stage = adapter_stage(3, 8), whole;
    stage.prefer = preferences;
    stage.clips = FILMS;
    whole = stage;
    whole.adapter.rank = 0;
    for (int32_t dtype = MGK_F32; dtype <= MGK_BF16; dtype++)
        for (int prefers = 0; prefers < 2; prefers++) {
            mgi_stage s = stage;
            s.dtype = dtype;
            s.prefer.on = prefers;
            OK(create_on(&s, ds, &run));
            assert_true(!prefers ||
                        (now[MGI_MEM_PARAMETER] == had[0] && now[MGI_MEM_COMPUTE] == had[1]));
            had[0] = now[MGI_MEM_PARAMETER];
            had[1] = now[MGI_MEM_COMPUTE];
            end(run);
        }
    OK(create_on(&stage, ds, &run));
    OK(create_on(&whole, ds, &all));
    const double first = step_of(&stage, run, 0);
    assert_true(first > 0.01 && first == step_of(&whole, all, 0));
    for (int i = 1; i < 3; i++)
        assert_true(step_of(&stage, run, i) > 0.0);
    assert_int_equal(run->adapter.module.count, HALVES);
    end(run);
    end(all);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Of films without their captions, which are nobody's preference, the aim is what the model predicted before, however far the adapter is from it. */
static void test_model_before(void **state)
{
    struct mgi_stage_run *run;
    mgi_dataset *ds = put_films("told_not");
    (void)state;
    for (int32_t dtype = MGK_F32; dtype <= MGK_BF16; dtype++) {
        mgi_stage stage = adapter_stage(3, 8);
        stage.dtype = dtype;
        stage.drop = 1.0;
        stage.prefer = preferences;
        stage.clips = FILMS;
        OK(create_on(&stage, ds, &run));
        assert_true(step_of(&stage, run, 0) == 0.0);
        for (int64_t i = 0; i < run->adapter.pairs; i++) {
            const mgi_tensor *b = run->adapter.pair[i].b->value;
            for (int64_t k = 0; k < b->count; k++)
                mgi_f32(b)[k] = 0.1f * (float)(k % 5 - 2);
        }
        assert_true(step_of(&stage, run, 1) > 1e-4);
        end(run);
    }
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

/* Losses of steps by a GPU, captured and not, beside the CPU's; with preferences, too. */
static void test_gpu(void **state)
{
    enum { STEPS = 4 };
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *cpu = ctx, *gpu;
    double loss[3][STEPS];
    (void)state;
    if (mgi_cuda_count(NULL, 0) == 0)
        skip();
    mgi_dataset *ds = put_films("shown");
    assert_int_equal(mgi_context_init(&gpu, &params), MGEN_OK);
    assert_int_equal(mgi_device_open(gpu, "cuda:0", NULL, 0), MGEN_OK);
    for (int way = 0; way < 4; way++) {
        const bool narrow = way % 2;
        mgi_stage stage = adapter_stage(STEPS, 2);
        if (way / 2)
            stage.prefer = preferences;
        stage.clips = FILMS;
        stage.validate_every = 3; /* the average's weights give way to the others */
        stage.dtype = narrow ? MGK_BF16 : MGK_F32;
        for (int k = 0; k < 3 - narrow; k++) {
            struct mgi_stage_run *run;
            ctx = k ? gpu : cpu;
            gpu->device->graphs_off = k == 2;
            OK(create_on(&stage, ds, &run));
            for (int64_t i = 0; i < STEPS; i++)
                loss[k][i] = step_of(&stage, run, i);
            end(run);
        }
        ctx = cpu;
        assert_true(narrow || !memcmp(loss[1], loss[2], sizeof loss[1]));
        for (int i = 0; i < STEPS; i++)
            if (!(loss[0][i] > 0.0 && fabs(loss[1][i] / loss[0][i] - 1.0) < (narrow ? 1e-2 : 1e-3)))
                fail_msg("step %d: %g and %g", i, loss[0][i], loss[1][i]);
    }
    mgi_context_free(gpu);
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins),       cmocka_unit_test(test_leaves_out),
        cmocka_unit_test(test_states),       cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_learns),       cmocka_unit_test(test_averages),
        cmocka_unit_test(test_resumes),      cmocka_unit_test(test_prefers),
        cmocka_unit_test(test_model_before), cmocka_unit_test(test_gpu)};
    return cmocka_run_group_tests_name("adapter", tests, make_base, free_context_and_folder);
}
