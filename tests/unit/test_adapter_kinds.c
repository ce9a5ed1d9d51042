/* SPDX-License-Identifier: MIT
 * Low-rank adapters of upsamplers, editors, personalizers and models of sound, which are trained, named, opened and averaged as
 * those of video models are (test_adapter.c). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapter_stage.h"
#include "audio_stages.h"
#include "kernels/common/bf16.h"
#include "logged.h"
#include "stage_runs.h"
#include "said.h"
#include "tensor/device_cuda.h"
#include "train/adapting.h"
#include "train/average.h"
#include "train/back.h"
#include "train/checkpoint.h"

#include <sys/stat.h>

enum { HALVES = 28 /* 2 blocks of 7 matrices */, STEPS = 4, MOST = 1 << 12 };

/* A model, opened; `vt` is inside. */
typedef struct opened {
    mgi_upsampler upsampler;
    mgi_editor editor;
    mgi_personalizer personalizer;
    mgi_audio audio;
    const mgi_vt *vt;
    uint64_t hash;
} opened;

static const char *as; /* the name of the model that is opened; NULL: its kind's */

static mgen_status open_upsampler(const char *dir, const mgi_adapters *with, opened *o)
{
    o->vt = &o->upsampler.video;
    return mgi_upsampler_open_mesh(ctx, dir, as ? as : "upsampler", with, NULL, &o->upsampler,
                                   &o->hash);
}

static mgen_status open_editor(const char *dir, const mgi_adapters *with, opened *o)
{
    o->vt = &o->editor.video;
    return mgi_editor_open_mesh(ctx, dir, as ? as : "editor", with, NULL, &o->editor, &o->hash);
}

static mgen_status open_personalizer(const char *dir, const mgi_adapters *with, opened *o)
{
    o->vt = &o->personalizer.video;
    return mgi_personalizer_open_mesh(ctx, dir, as ? as : "personalizer", with, NULL,
                                      &o->personalizer, &o->hash);
}

static mgen_status open_audio(const char *dir, const mgi_adapters *with, opened *o)
{
    o->vt = &o->audio.transformer;
    return mgi_audio_open(ctx, dir, as ? as : "audio", with, NULL, &o->audio, &o->hash);
}

static const struct {
    int32_t kind;
    const char *name, *list; /* of the model, in the folder and in pipeline.json */
    mgi_stage (*stage)(int64_t steps, int64_t batch);
    mgen_status (*open)(const char *dir, const mgi_adapters *with, opened *o);
} kinds[] = {
    {MGI_ADAPTED_UPSAMPLER, "upsampler", "upsampler_adapters", tiny_upsampler, open_upsampler},
    {MGI_ADAPTED_EDITOR, "editor", "editor_adapters", tiny_editor, open_editor},
    {MGI_ADAPTED_PERSONALIZER, "personalizer", "personalizer_adapters", tiny_personalizer,
     open_personalizer},
    {MGI_ADAPTED_AUDIO, "audio", "audio_adapters", tiny_audio_stage, open_audio},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* A stage that trains one as a whole. Its file says a guidance, or readers would take one of their own. */
static mgi_stage whole_of(int k, int64_t steps)
{
    mgi_stage s = kinds[k].stage(steps, 2);
    s.video.guidance = 2.0f;
    s.audio.transformer.guidance = 2.0f;
    return s;
}

static int make_base(void **state)
{
    if (make_context_and_folder(state) != 0)
        return -1;
    save_new(tiny_autoencoder(1, 2));
    save_new(tiny_text_to_video(1, 2));
    save_stage_codec(ctx, folder);
    for (int k = 0; k < KINDS; k++) {
        mgi_stage stage = whole_of(k, 3);
        double first, last;
        stage.optimizer.lr = 0.02;
        train(&stage, &first, &last);
    }
    return 0;
}

/* The stage that trains an adapter of it: one frame, as its films take longest. */
static mgi_stage stage_of(int k)
{
    mgi_stage s = adapting(whole_of(k, STEPS), kinds[k].name);
    if (s.bucket_count > 1) {
        s.bucket[0] = s.bucket[1];
        s.bucket_count = 1;
    }
    s.validate_clips = 2;
    if (s.kind == MGI_STAGE_AUDIO) {
        s.lengths = 1;
        strcpy(s.text[0].from, "audio_text");
        s.text[0].frozen = true;
    }
    s.vision.frozen = true;
    s.vision.from[0] = '\0';
    return s;
}

static const char *vision_of(int k)
{
    return kinds[k].kind == MGI_ADAPTED_AUDIO ? "audio_vision" : "personalizer_vision";
}

static void put_file(const char *name, const void *bytes, size_t size)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_true(f && fwrite(bytes, 1, size, f) == size && fclose(f) == 0);
}

static void close_model(opened *o)
{
    mgi_upsampler_finish(&o->upsampler);
    mgi_editor_finish(&o->editor);
    mgi_personalizer_finish(&o->personalizer);
    mgi_audio_finish(&o->audio);
}

static uint64_t open_model(int k, const char *dir, const mgi_adapters *with, opened *o)
{
    memset(o, 0, sizeof *o);
    OK(kinds[k].open(dir, with, o));
    return o->hash;
}

static void open_as(int k, const char *name, opened *o)
{
    as = name;
    open_model(k, folder, NULL, o);
    as = NULL;
}

static uint64_t hash_of_file(const char *name)
{
    mgi_reader *file;
    uint64_t hash;
    OK(mgi_reader_open(ctx, folder, name, &file));
    OK(mgi_reader_hash(ctx, file, 0, &hash));
    mgi_reader_close(ctx, file);
    return hash;
}

static const mgi_tensor *value_of(const mgi_vt *vt, const char *name)
{
    for (int64_t i = 0; i < vt->module.count; i++)
        if (!strcmp(vt->module.params[i]->name, name))
            return vt->module.params[i]->value;
    fail_msg("there is no \"%s\"", name);
    return NULL;
}

static void half_of(const mgi_st_file *st, const char *matrix, const char *half, float *out,
                    int64_t count)
{
    char name[256];
    snprintf(name, sizeof name, "base_model.model.%.*s.%s.weight",
             (int)(strlen(matrix) - strlen(".weight")), matrix, half);
    const mgi_st_entry *e = mgi_st_find(st, name);
    assert_non_null(e);
    OK(mgi_st_read_f32(ctx, e, out, count));
}

/* All of it is as without its adapter, but for the blocks' matrices: W + alpha / rank B A. */
static void assert_merged(int k, const opened *with, const opened *base)
{
    static float a[MOST], b[MOST];
    mgi_model_file f;
    int matrices = 0;
    OK(mgi_model_file_open(ctx, folder, "mine_adapter", mgi_adapted[kinds[k].kind].adapter, &f));
    assert_int_equal(f.weights.count, HALVES);
    for (int64_t i = 0; i < base->vt->module.count; i++) {
        const mgi_param *p = base->vt->module.params[i];
        const float *w = mgi_f32(p->value), *x = mgi_f32(value_of(with->vt, p->name));
        if (strncmp(p->name, "block", 5) || p->rank != 2) {
            assert_memory_equal(w, x, (size_t)p->value->count * sizeof *w);
            continue;
        }
        const int64_t rows = p->dims[0], columns = p->dims[1];
        double moved = 0.0;
        half_of(&f.weights, p->name, "lora_A", a, 3 * columns);
        half_of(&f.weights, p->name, "lora_B", b, rows * 3);
        for (int64_t n = 0; n < rows * columns; n++) {
            double sum = 0.0;
            for (int64_t r = 0; r < 3; r++)
                sum += 2.0 * (double)b[n / columns * 3 + r] * (double)a[r * columns + n % columns];
            moved += fabs(sum);
            assert_true(fabs((double)w[n] + sum - (double)x[n]) < 1e-5);
        }
        assert_true(moved > 1e-3);
        matrices++;
    }
    assert_int_equal(2 * matrices, HALVES);
    mgi_model_file_close(ctx, &f);
}

static void copy_json(const char *from, const char *to)
{
    char name[64];
    mgi_file file;
    snprintf(name, sizeof name, "%s.json", from);
    OK(mgi_file_open_in(ctx, folder, name, &file));
    snprintf(name, sizeof name, "%s.json", to);
    put_file(name, file.data, file.size);
    mgi_file_close(ctx, &file);
}

/* The validation loss of a model as it is, saved as a whole. */
static double held_loss(int k, const opened *o)
{
    mgi_stage s = stage_of(k);
    char path[400];
    double first, last;
    copy_json(kinds[k].name, "merged");
    snprintf(path, sizeof path, "%s/merged.safetensors", folder);
    OK(mgi_module_save((mgi_module *)&o->vt->module, path, true, MGI_ST_F32));
    strcpy(s.start_from, "merged");
    strcpy(s.vision.from, vision_of(k));
    s.adapter.rank = 0;
    s.optimizer.lr = 0.0;
    s.steps = s.validate_every = 1;
    struct mgi_stage_run *run = begin(&s);
    steps_of(&s, run, &first, &last);
    mgi_stage_kind_of(&s)->destroy(run);
    return last;
}

static double step_of(const mgi_stage *stage, struct mgi_stage_run *run, int64_t i, double *held)
{
    mgen_report *report;
    OK(mgi_report_create(ctx, &report));
    OK(mgi_stage_kind_of(stage)->step(run, i, report));
    const double loss = reported(report, "loss");
    if (held)
        *held = reported_or(report, "val_loss", 0.0);
    mgen_report_destroy(report);
    return loss;
}

static void clear_config(mgi_stage *s)
{
    memset(&s->video, 0, sizeof s->video);
    memset(&s->upsampler, 0, sizeof s->upsampler);
    memset(&s->editor, 0, sizeof s->editor);
    memset(&s->personalizer, 0, sizeof s->personalizer);
    memset(&s->audio, 0, sizeof s->audio);
}

/* A stage that leaves out what the model's file says goes on from the other's checkpoint to the same bits. */
static void assert_resumes(int k, const char *path, uint64_t hash)
{
    mgi_stage s = stage_of(k);
    const struct mgi_stage_kind *kind = mgi_stage_kind_of(&s);
    clear_config(&s);
    struct mgi_stage_run *run = begin(&s);
    OK(mgi_checkpoint_load(ctx, kind, run, path));
    for (int64_t i = STEPS / 2; i < STEPS; i++)
        step_of(&s, run, i, NULL);
    OK(kind->save(run));
    kind->destroy(run);
    assert_true(hash_of_file("mine_adapter.safetensors") == hash);
}

/* It learns nothing but A and B, from the loss of the model on; the file of the model stays; the folder's pipeline has it; and the
 * model opened with it is the one that was validated. */
static void test_learns(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        mgi_stage s = stage_of(k), whole = s, still = s;
        const struct mgi_stage_kind *kind = mgi_stage_kind_of(&s);
        char weights[64], path[400];
        double last;
        mgi_stage_state st;
        mgi_pipeline_file p;
        opened with, base;
        snprintf(weights, sizeof weights, "%s.safetensors", kinds[k].name);
        snprintf(path, sizeof path, "%s/state", folder);
        const uint64_t before = hash_of_file(weights);
        whole.adapter.rank = 0;
        strcpy(whole.vision.from, vision_of(k));
        still.optimizer.lr = 0.0;
        struct mgi_stage_run *run = begin(&s), *all = begin(&whole), *as_was = begin(&still);
        kind->state(run, &st);
        assert_int_equal(st.modules, 1);
        assert_int_equal(st.module[0]->count, HALVES);
        assert_true(step_of(&s, run, 0, NULL) == step_of(&whole, all, 0, NULL));
        const double second = step_of(&still, as_was, 1, NULL); /* by the model as it was */
        kind->destroy(all);
        kind->destroy(as_was);
        for (int64_t i = 1; i < STEPS; i++) {
            if (i == STEPS / 2)
                OK(mgi_checkpoint_save(ctx, kind, run, path));
            const double loss = step_of(&s, run, i, &last);
            assert_true(i > 1 || loss != second);
        }
        OK(kind->save(run));
        kind->destroy(run);
        assert_true(hash_of_file(weights) == before);
        OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
        const mgi_adapters *a = &p.adapters[kinds[k].kind];
        assert_string_equal(mgi_pipeline_model(&p, kinds[k].kind), kinds[k].name);
        assert_true(a->count == 1 && a->list[0].scale == 1.0);
        assert_string_equal(a->list[0].name, "mine_adapter");
        assert_int_equal(p.adapters[MGI_ADAPTED_VIDEO].count, 0);
        assert_true(open_model(k, folder, a, &with) != open_model(k, folder, NULL, &base));
        assert_merged(k, &with, &base);
        assert_true(held_loss(k, &with) == last);
        assert_true(held_loss(k, &base) != last);
        close_model(&with);
        close_model(&base);
        assert_resumes(k, path, hash_of_file("mine_adapter.safetensors"));
        mgi_pipeline_put(&p, kinds[k].kind, kinds[k].name, NULL); /* the next one has its name */
        OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &p));
    }
}

/* Losses of steps by a GPU beside the CPU's; the second one is by what the first has learnt. */
static void test_gpu(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *cpu = ctx, *gpu;
    (void)state;
    if (mgi_cuda_count(NULL, 0) == 0)
        skip();
    assert_int_equal(mgi_context_init(&gpu, &params), MGEN_OK);
    assert_int_equal(mgi_device_open(gpu, "cuda:0", NULL, 0), MGEN_OK);
    for (int k = 0; k < KINDS; k++) {
        mgi_stage s = stage_of(k);
        double loss[2][2];
        s.validate_every = 0;
        for (int i = 0; i < 2; i++) {
            ctx = i ? gpu : cpu;
            struct mgi_stage_run *run = begin(&s);
            for (int n = 0; n < 2; n++)
                loss[i][n] = step_of(&s, run, n, NULL);
            mgi_stage_kind_of(&s)->destroy(run);
        }
        ctx = cpu;
        for (int n = 0; n < 2; n++)
            if (!(loss[0][n] > 0.0 && fabs(loss[1][n] / loss[0][n] - 1.0) < 1e-3))
                fail_msg("%s, step %d: %g and %g", kinds[k].name, n, loss[0][n], loss[1][n]);
    }
    mgi_context_free(gpu);
}

/* An adapter under a name of its own, in the folder's pipeline. */
static void save_adapter(int k)
{
    mgi_stage s = stage_of(k);
    strcpy(s.save_as, "");
    save_new(s);
}

/* A model with a part that is a folder of another library is left out, which the log says. */
static void average_foreign(const char *out)
{
    static const char own[] = "personalizer_vision", others[] = "elsewhere_of_others";
    mgi_file file;
    mgi_pipeline_file p;
    char path[400];
    copy_json("personalizer", "kept");
    OK(mgi_file_open_in(ctx, folder, "kept.json", &file));
    char *text = strndup((const char *)file.data, file.size), *at = strstr(text, own);
    assert_non_null(at);
    memcpy(at, others, sizeof own - 1);
    put_file("personalizer.json", text, file.size);
    mgi_file_close(ctx, &file);
    free(text);
    snprintf(path, sizeof path, "%s/%s", folder, others);
    assert_int_equal(mkdir(path, 0700), 0);
    logged[0] = '\0';
    ctx->log = keep_log;
    OK(mgi_average_folders(ctx, (const char *const[]){folder}, (const double[]){1.0}, 1, out));
    ctx->log = NULL;
    assert_non_null(strstr(logged, "the model \"personalizer\" is left out"));
    OK(mgi_pipeline_file_read(ctx, out, "pipeline", &p));
    assert_true(!p.personalizer[0] && !strcmp(p.editor, "editor") && !strcmp(p.audio, "audio"));
    copy_json("kept", "personalizer");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(remove_all(out), 0);
}

/* With no set's name they are called after their kinds. Those of a single folder come into the weights of the models, which come
 * along. */
static void test_averages(void **state)
{
    char out[400], name[64];
    mgi_pipeline_file p, after;
    (void)state;
    for (int k = 0; k < KINDS; k++)
        save_adapter(k);
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    snprintf(out, sizeof out, "%s/out", folder);
    OK(mgi_average_folders(ctx, (const char *const[]){folder}, (const double[]){1.0}, 1, out));
    OK(mgi_pipeline_file_read(ctx, out, "pipeline", &after));
    for (int k = 0; k < KINDS; k++) {
        opened with, merged;
        snprintf(name, sizeof name, "%s_adapter", kinds[k].name);
        assert_int_equal(p.adapters[kinds[k].kind].count, 1);
        assert_string_equal(p.adapters[kinds[k].kind].list[0].name, name);
        assert_int_equal(after.adapters[kinds[k].kind].count, 0);
        assert_string_equal(mgi_pipeline_model(&after, kinds[k].kind), kinds[k].name);
        open_model(k, folder, &p.adapters[kinds[k].kind], &with);
        open_model(k, out, NULL, &merged);
        for (int64_t i = 0; i < with.vt->module.count; i++) {
            const mgi_tensor *x = with.vt->module.params[i]->value;
            const float *y = mgi_f32(value_of(merged.vt, with.vt->module.params[i]->name));
            for (int64_t n = 0; n < x->count; n++)
                assert_true(y[n] == mgk_from_bf16(mgk_to_bf16(mgi_f32(x)[n])));
        }
        close_model(&with);
        close_model(&merged);
    }
    assert_int_equal(remove_all(out), 0);
    average_foreign(out);
    const char *const two[] = {folder, folder};
    OK(mgi_average_folders(ctx, two, (const double[]){1.0, 1.0}, 2, out));
    OK(mgi_pipeline_file_read(ctx, out, "pipeline", &after));
    for (int k = 0; k < KINDS; k++)
        assert_string_equal(mgi_pipeline_model(&after, kinds[k].kind), "");
    assert_int_equal(remove_all(out), 0);
}

static mgi_stage average_of(const char *a, const char *b, const char *save_as)
{
    mgi_stage s = {.name = "average", .kind = MGI_STAGE_AVERAGE, .steps = 1};
    const char *const from[2] = {a, b};
    for (; s.average_count < 2 && from[s.average_count]; s.average_count++) {
        strcpy(s.average[s.average_count], from[s.average_count]);
        s.average_weight[s.average_count] = 1.0 + 2.0 * (double)s.average_count;
    }
    strcpy(s.save_as, save_as);
    return s;
}

static void run_average(const mgi_stage *s)
{
    mgen_report *report;
    struct mgi_stage_run *run = begin(s);
    OK(mgi_report_create(ctx, &report));
    OK(mgi_stage_average.step(run, 0, report));
    mgen_report_destroy(report);
    OK(mgi_stage_average.save(run));
    mgi_stage_average.destroy(run);
}

/* A model is, in bf16, a quarter of one and three of another, or the first alone. */
static void assert_mean(const mgi_vt *mean, const mgi_vt *a, const mgi_vt *b)
{
    for (int64_t i = 0; i < a->module.count; i++) {
        const char *name = a->module.params[i]->name;
        const float *x = mgi_f32(a->module.params[i]->value), *y = mgi_f32(value_of(mean, name));
        const float *z = b ? mgi_f32(value_of(b, name)) : NULL;
        for (int64_t n = 0; n < a->module.params[i]->value->count; n++) {
            const double sum = z ? 0.25 * (double)x[n] + 0.75 * (double)z[n] : (double)x[n];
            if (fabs((double)y[n] - sum) > fabs(sum) / 256.0 + 1e-7)
                fail_msg("%s[%d] is %g, not %g", name, (int)n, (double)y[n], sum);
        }
    }
}

/* A stage averages models of each kind and, in the place of a model, its adapter, and names what it makes in the folder's pipeline. */
static void test_stage(void **state)
{
    char adapter[64], merged[64], mean[64], said[160];
    mgi_pipeline_file p;
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        mgi_adapters a = {.count = 1, .list = {{.scale = 1.0}}};
        opened with, base, one, both;
        mgi_stage s;
        struct mgi_stage_run *run = NULL;
        snprintf(adapter, sizeof adapter, "%s_adapter", kinds[k].name);
        snprintf(merged, sizeof merged, "merged_%s", kinds[k].name);
        snprintf(mean, sizeof mean, "mean_%s", kinds[k].name);
        s = average_of(adapter, NULL, "merged");
        run_average(&s);
        OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
        assert_string_equal(mgi_pipeline_model(&p, kinds[k].kind), merged);
        assert_int_equal(p.adapters[kinds[k].kind].count, 0);
        s = average_of(kinds[k].name, merged, "mean");
        run_average(&s);
        OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
        assert_string_equal(mgi_pipeline_model(&p, kinds[k].kind), mean);
        strcpy(a.list[0].name, adapter);
        open_model(k, folder, &a, &with);
        open_model(k, folder, NULL, &base);
        open_as(k, merged, &one);
        open_as(k, mean, &both);
        assert_mean(one.vt, with.vt, NULL);
        assert_mean(both.vt, base.vt, one.vt);
        close_model(&with);
        close_model(&base);
        close_model(&one);
        close_model(&both);

        s = average_of(adapter, NULL, "");
        snprintf(said, sizeof said, "as \"%s\", the model that \"%s\" changes", kinds[k].name,
                 adapter);
        assert_said(create_on(&s, NULL, &run), MGEN_E_STATE, said);
        s = average_of(kinds[k].name, kinds[(k + 1) % KINDS].name, "mean");
        snprintf(said, sizeof said, "\"%s\" is no %s, as \"%s\" is", kinds[(k + 1) % KINDS].name,
                 mgi_adapted[kinds[k].kind].key, kinds[k].name);
        assert_said(create_on(&s, NULL, &run), MGEN_E_STATE, said);
        s = average_of(kinds[k].name, "nowhere", "mean");
        assert_said(create_on(&s, NULL, &run), MGEN_E_STATE, "needs the model of an earlier stage");
        mgi_pipeline_put(&p, kinds[k].kind, kinds[k].name, adapter);
        OK(mgi_pipeline_file_write(ctx, folder, "pipeline", &p));
    }
}

/* Films that are edited back are made by an editor as it is, which is noted, or with an adapter that is named. */
static void test_back(void **state)
{
    const int k = 1;
    const mgi_tae tae = {.config = {.blocks = 0}};
    mgi_adapters a = {.count = 1, .list = {{"editor_adapter", 1.0}}};
    mgi_stage s = {.back_from = "editor", .back_steps = 2, .dtype = MGK_F32};
    mgi_pipeline_file p;
    mgi_back plain, adapted;
    opened with, base;
    (void)state;
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
    assert_true(!strcmp(p.editor, "editor") && p.adapters[MGI_ADAPTED_EDITOR].count == 1);
    logged[0] = '\0';
    ctx->log = keep_log;
    OK(mgi_back_open(ctx, folder, &s, &p, &tae, &plain));
    assert_non_null(strstr(logged, "without the adapters that pipeline.json gives it"));
    logged[0] = '\0';
    strcpy(s.back_from, "editor_adapter");
    OK(mgi_back_open(ctx, folder, &s, &p, &tae, &adapted));
    assert_null(strstr(logged, "without the adapters"));
    ctx->log = NULL;
    open_model(k, folder, NULL, &base);
    open_model(k, folder, &a, &with);
    assert_mean(&plain.editor.video, base.vt, NULL);
    assert_mean(&adapted.editor.video, with.vt, NULL);
    assert_true(plain.hash != adapted.hash);
    mgi_back_finish(&plain);
    mgi_back_finish(&adapted);
    close_model(&base);
    close_model(&with);
    strcpy(s.back_from, "upsampler_adapter");
    assert_said(mgi_back_open(ctx, folder, &s, &p, &tae, &plain), MGEN_E_CORRUPT,
                "\"kind\" is \"upsampler\", not \"editor\"");
}

static void assert_refused(const mgi_stage *stage, mgen_status wanted, const char *said)
{
    struct mgi_stage_run *run = NULL;
    assert_said(create_on(stage, NULL, &run), wanted, said);
}

/* What is of another kind of models, or of other parts; meshes that divide the model; what was begun beside other weights. A model that takes the place of another has
 * no adapter of that. */
static void test_refused(void **state)
{
    mgi_pipeline_file p;
    char said[160];
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        const int other = kinds[(k + 1) % KINDS].kind;
        mgi_adapters a = {.count = 1, .list = {{.scale = 1.0}}};
        opened o = {.hash = 0};
        snprintf(a.list[0].name, sizeof a.list[0].name, "%s_adapter", kinds[(k + 1) % KINDS].name);
        snprintf(said, sizeof said, "%s_adapter.json: \"kind\" is \"%s\", not \"%s\"",
                 kinds[(k + 1) % KINDS].name, mgi_adapted[other].adapter,
                 mgi_adapted[kinds[k].kind].adapter);
        assert_said(kinds[k].open(folder, &a, &o), MGEN_E_CORRUPT, said);
        close_model(&o);

        mgi_stage s = stage_of(k);
        strcpy(s.start_from, "video_model");
        snprintf(said, sizeof said, "trains an adapter of %s %s, and video_model.json is a",
                 mgi_stage_kind_article(s.kind), mgi_stage_kind_name[s.kind]);
        const bool sound = kinds[k].kind == MGI_ADAPTED_AUDIO; /* which no video model becomes */
        assert_refused(&s, sound ? MGEN_E_CORRUPT : MGEN_E_STATE,
                       sound ? "\"kind\" is \"video-transformer\", not \"audio\"" : said);
        s = stage_of(k);
        s.video.frames_max++;
        s.audio.transformer.frames_max++;
        assert_refused(&s, MGEN_E_STATE, "the configuration in");
        s = stage_of(k);
        snprintf(s.save_as, sizeof s.save_as, "%s", kinds[(k + 1) % KINDS].name);
        snprintf(said, sizeof said, "would save its adapter as \"%s_adapter\", which \"%s\"",
                 s.save_as, kinds[(k + 1) % KINDS].list);
        assert_refused(&s, MGEN_E_STATE, said);
        const mgi_mesh meshes[] = {{.shape = {1, 1, 2, 1}}, {.shape = {2, 1, 1, 2}}};
        for (int i = 0; i < 2; i++)
            assert_said(mgi_adapting_check(ctx, &s, folder, &meshes[i]), MGEN_E_UNSUPPORTED,
                        "use a mesh of dp and cp alone");
    }
    for (int k = 0; k < KINDS; k++) {
        char path[400];
        mgi_stage s = stage_of(k);
        const struct mgi_stage_kind *kind = mgi_stage_kind_of(&s);
        snprintf(path, sizeof path, "%s/state", folder);
        struct mgi_stage_run *run = begin(&s);
        OK(mgi_checkpoint_save(ctx, kind, run, path));
        kind->destroy(run);
        mgi_stage other = s; /* of the same encoders */
        other.adapter.rank = 0;
        strcpy(other.start_from, "");
        strcpy(other.save_as, "");
        strcpy(other.vision.from, vision_of(k));
        save_new(other);
        run = begin(&s);
        assert_said(mgi_checkpoint_load(ctx, kind, run, path), MGEN_E_STATE,
                    "an earlier stage's model with the hash");
        kind->destroy(run);
        OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &p));
        assert_int_equal(p.adapters[kinds[k].kind].count, 0);
        assert_string_equal(mgi_pipeline_model(&p, kinds[k].kind), kinds[k].name);
    }
    mgi_stage s = stage_of(0);
    s.upsampler.factor = 3;
    assert_refused(&s, MGEN_E_STATE, "enlarges by 3 (\"factor\"), but \"upsampler\"");
    strcpy(s.tae_name, "other");
    assert_refused(&s, MGEN_E_STATE, "has the autoencoder \"other\", but \"upsampler\"");
    s = stage_of(2);
    strcpy(s.vision.from, "other");
    assert_refused(&s, MGEN_E_STATE, "has the image encoder \"other\", but \"personalizer\"");
    s = whole_of(3, 1);
    strcpy(s.save_as, "blind");
    strcpy(s.text[0].from, "audio_text");
    strcpy(s.text[0].name, "audio_text");
    s.text[0].frozen = true;
    s.audio.vision[0] = '\0';
    s.audio.transformer.features = 0;
    save_new(s);
    s = stage_of(3);
    strcpy(s.vision.from, "other");
    assert_refused(&s, MGEN_E_STATE, "has the image encoder \"other\", but \"audio\"");
    strcpy(s.start_from, "blind_audio"); /* it has none */
    assert_refused(&s, MGEN_E_STATE, "has the image encoder \"other\", but \"blind_audio\"");
    strcpy(s.start_from, "audio");
    strcpy(s.text[0].from, "other");
    assert_refused(&s, MGEN_E_STATE, "has the text encoder \"other\", but \"audio\"");
    strcpy(s.codec, "other");
    assert_refused(&s, MGEN_E_STATE, "has the codec \"other\", but \"audio\"");
}

/* What recipes say of them. */
static void test_recipe(void **state)
{
    static const struct {
        const char *kind, *more, *said;
    } cases[] = {
        {"upsampler", "", NULL},
        {"editor", "", NULL},
        {"personalizer", "", NULL},
        {"personalizer", "\"vision\": {\"from\": \"v\", \"frozen\": true},", NULL},
        {"personalizer", "\"vision\": {\"from\": \"v\"},",
         "\"adapter\" stands where an image encoder learns"},
        {"upsampler", "\"store\": \"fp8\",", "\"store\" stands beside \"adapter\""},
        {"editor", "\"store\": \"fp8\",", "\"store\" stands beside \"adapter\""},
        {"editor", "\"editor\": {},", "\"transformer\" must be an object"},
        {"personalizer", "\"personalizer\": {},", "\"transformer\" must be an object"},
        {"upsampler", "\"upsampler\": {},", "\"transformer\" must be an object"},
        {"audio", "", NULL},
        {"audio",
         "\"text\": {\"from\": \"t\", \"frozen\": true}, \"vision\": {\"from\": \"v\", \"frozen\": "
         "true},",
         NULL},
        {"audio", "\"text\": {\"from\": \"t\"},", "\"adapter\" stands where a text encoder learns"},
        {"audio", "\"vision\": {\"from\": \"v\"},",
         "\"adapter\" stands where an image encoder learns"},
        {"audio", "\"store\": \"fp8\",", "\"store\" stands beside \"adapter\""},
        {"audio", "\"audio\": {},", "\"transformer\" must be an object"},
    };
    static const char films[] =
        "\"tae\": \"tae\", \"text_encoders\": {\"ul2\": {\"from\": \"ul2\", "
        "\"frozen\": true}}",
                      sounds[] = "\"codec\": \"codec\", \"lengths\": [{\"seconds\": 1}]";
    mgi_stage stage;
    char path[400];
    (void)state;
    snprintf(path, sizeof path, "%s/recipe.json", folder);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": "
                 "\"own\", \"kind\": \"%s\", %s \"start_from\": \"a\", \"adapter\": {\"rank\": 8}, "
                 "\"steps\": 4, \"batch\": 2, \"clips\": 4, %s, \"optimizer\": {\"lr\": 0.001}}]}",
                 cases[i].kind, cases[i].more, strcmp(cases[i].kind, "audio") ? films : sounds);
        put_file("recipe.json", text, strlen(text));
        mgen_status status = mgi_recipe_stage(ctx, path, "own", &stage);
        if (cases[i].said) {
            assert_said(status, MGEN_E_CORRUPT, cases[i].said);
            continue;
        }
        OK(status);
        assert_true(stage.adapter.rank == 8 && stage.adapter.alpha == 8.0);
        assert_true(!stage.video.layers && !stage.audio.transformer.layers);
        assert_true(stage.text[0].frozen);
        assert_true(stage.vision.frozen ==
                    (!strcmp(cases[i].kind, "personalizer") || !strcmp(cases[i].kind, "audio")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learns),  cmocka_unit_test(test_averages),
        cmocka_unit_test(test_stage),   cmocka_unit_test(test_back),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_recipe),
        cmocka_unit_test(test_gpu)};
    return cmocka_run_group_tests_name("adapter_kinds", tests, make_base, free_context_and_folder);
}
