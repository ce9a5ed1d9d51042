/* SPDX-License-Identifier: MIT
 * Learning preferences: scores of films of a folder, films that a model makes and the checker judges, where a step leads, and what
 * is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "begun_models.h"
#include "failing_memory.h"
#include "kernels/random/random.h"
#include "logged.h"
#include "data/folder_scores.h"
#include "eval/world_check.h"
#include "eval/world_tally.h"
#include "pair_films.h"
#include "run_threads.h"
#include "shipped_model.h"
#include "tensor/device_cuda.h"
#include "train/checkpoint.h"

enum { FRAMES = 9, FILMS = 8 };

/* ---- scores and preferences ----------------------------------------------------------------------- */

static void test_weigh(void **state)
{
    float w[8];
    (void)state;
    assert_false(mgi_prefer_weigh((double[]){0.7, 0.7, 0.7}, 3, w));
    for (int i = 0; i < 3; i++)
        assert_true(w[i] == 0.0f);
    assert_true(mgi_prefer_weigh((double[]){0.5, 1.0, 0.5, 1.0}, 4, w));
    for (int i = 0; i < 4; i++)
        assert_true(fabsf(w[i] - (i % 2 ? 0.5f : -0.5f)) < 1e-6f);
    assert_true(mgi_prefer_weigh((double[]){0, 0, 0, 1, 0, 0, 0, 0}, 8, w)); /* deviation 0.331 */
    assert_true(w[3] == 1.0f && fabsf(w[0] + 0.125f / 0.6614f) < 1e-3f);
}

static mgi_dataset *open_scored(void)
{
    mgi_dataset *ds;
    OK(open_films_of(PAIR_SIDE, FRAMES, &ds));
    return ds;
}

static void test_scores(void **state)
{
    static const struct {
        const char *text;
        float score; /* above 1: refused */
    } cases[] = {{"1", 1.0f},         {"-1\n", -1.0f},   {" 0.25 \n", 0.25f}, {"0", 0.0f},
                 {"-2.5e-1", -0.25f}, {"1.01", 2.0f},    {"-1.01", 2.0f},     {"good", 2.0f},
                 {"0.5 0.5", 2.0f},   {"+1", 2.0f},      {"nan", 2.0f},       {"[0.5]", 2.0f},
                 {"0,5", 2.0f},       {"\"0.5\"", 2.0f}, {"1e400", 2.0f},     {"", 2.0f}};
    mgi_dataset *ds = NULL;
    (void)state;
    make_films(folder, "scores");
    for (int i = 0; i < 3; i++)
        put_film((char[]){(char)('a' + i), '.', 'y', '4', 'm', 0}, 10 + 30 * i);
    ds = open_scored();
    assert_said(mgi_dataset_check_scores(ctx, ds), MGEN_E_INVALID, "none of the ");
    assert_non_null(strstr(mgen_last_error(ctx), "<name>.score.txt"));
    mgi_dataset_release(ds);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_text("a.score.txt", cases[i].text);
        logged[0] = '\0';
        ctx->log = keep_warnings;
        mgen_status status = open_films_of(PAIR_SIDE, FRAMES, &ds);
        ctx->log = NULL;
        if (cases[i].score > 1.0f) {
            assert_said(status, MGEN_E_CORRUPT, "a.score.txt' in '");
            assert_ptr_equal(strchr(logged, '\n'), logged + strlen(logged) - 1); /* in one line */
            continue;
        }
        assert_string_equal(logged, "");
        OK(status);
        assert_int_equal(ds->count, 3); /* a score is no film */
        assert_true(mgi_dataset_score(ds, 0) == cases[i].score);
        assert_true(mgi_dataset_score(ds, 1) == 0.0f);
        assert_int_equal(mgi_dataset_check_scores(ctx, ds),
                         cases[i].score != 0.0f ? MGEN_OK : MGEN_E_INVALID);
        mgi_dataset_release(ds);
    }
    assert_int_equal(remove_all(films), 0);
}

/* Whichever allocation fails, it is memory that was lacking and no score that was bad. */
static void test_scores_memory(void **state)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    mgen_status status = MGEN_E_NO_MEMORY;
    (void)state;
    p.width = p.height = PAIR_SIDE;
    p.frames = FRAMES;
    make_films(folder, "scores");
    put_film("a.y4m", 10);
    put_text("a.score.txt", "0.5");
    for (int fail_at = 1; status != MGEN_OK; fail_at++) {
        failing memory = {.alone = true};
        mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
        mgen_context *c;
        mgi_dataset *ds = NULL;
        params.allocator = (mgen_allocator){failing_alloc, failing_free, &memory};
        params.threads = 1;
        assert_int_equal(mgi_context_init(&c, &params), MGEN_OK);
        memory.fail_at = fail_at;
        memory.calls = 0;
        status = mgi_dataset_folder(c, films, &p, &ds);
        assert_int_equal(status, memory.calls >= fail_at ? MGEN_E_NO_MEMORY : MGEN_OK);
        mgi_dataset_release(ds);
        mgi_context_free(c);
        assert_int_equal(memory.blocks, 0);
    }
    assert_int_equal(remove_all(films), 0);
}

/* ---- steps ----------------------------------------------------------------------------------------- */

/* Dark films and light ones of one caption, with these scores; opened. */
static mgi_dataset *put_scored(const char *name, const char *dark, const char *light)
{
    make_films(folder, name);
    for (int i = 0; i < FILMS; i++) {
        char text[32];
        snprintf(text, sizeof text, "%02d.y4m", i);
        put_film(text, (i % 2 ? 150 : 5) + i);
        snprintf(text, sizeof text, "%02d.txt", i);
        put_text(text, "a square");
        snprintf(text, sizeof text, "%02d.score.txt", i);
        put_text(text, i % 2 ? light : dark);
    }
    return open_scored();
}

/* From the folder's video model. */
static mgi_stage prefer_stage(int64_t steps)
{
    mgi_stage stage = tiny_text_to_video(steps, 8);
    strcpy(stage.text[0].from, "text_encoder");
    stage.text[0].frozen = true;
    strcpy(stage.start_from, "video_model");
    strcpy(stage.save_as, "preferred");
    stage.prefer = (mgi_prefer_recipe){
        .on = true, .strength = 1.0, .prompts = 2, .films = 2, .steps = 2, .guidance_to = 1.0};
    stage.clips = FILMS;
    stage.drop = 0.0;
    return stage;
}

/* The loss of a step, from its report. */
static double step_of(const mgi_stage *stage, struct mgi_stage_run *run, int64_t i)
{
    mgen_report *report;
    OK(mgi_report_create(ctx, &report));
    OK(mgi_stage_kind_of(stage)->step(run, i, report));
    const double loss = reported(report, "loss");
    mgen_report_destroy(report);
    return loss;
}

static struct mgi_stage_run *begin_on(const mgi_stage *stage, mgi_dataset *data)
{
    struct mgi_stage_run *run;
    OK(create_on(stage, data, &run));
    return run;
}

/* What the first step adds to the parameters, all of them; its loss. */
static float *moved_by(const mgi_stage *stage, mgi_dataset *data, int64_t *count, double *loss)
{
    struct mgi_stage_run *run = begin_on(stage, data);
    const mgi_module *m = &run->video.module;
    *count = 0;
    for (int64_t i = 0; i < m->count; i++)
        *count += m->params[i]->value->count;
    float *moved = malloc(2 * (size_t)*count * sizeof *moved), *before = moved + *count;
    assert_non_null(moved);
    for (int after = 0; after < 2; after++) {
        int64_t at = 0;
        for (int64_t i = 0; i < m->count; at += m->params[i++]->value->count)
            mgi_tensor_read(m->params[i]->value, 0, (after ? moved : before) + at,
                            m->params[i]->value->count);
        OK(mgi_device_wait(ctx->device));
        if (!after)
            *loss = step_of(stage, run, 0);
    }
    for (int64_t i = 0; i < *count; i++)
        moved[i] -= before[i];
    end(run);
    return moved;
}

/* Of two steps: the cosine of the angle between them. */
static double cosine(const float *a, const float *b, int64_t count)
{
    double ab = 0.0, aa = 0.0, bb = 0.0;
    for (int64_t i = 0; i < count; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb + 1e-300);
}

/* With a score of 1 a step is that of plain training, with -1 its opposite; where nothing is preferred it leads nowhere. */
static void test_steps(void **state)
{
    mgi_stage stage = prefer_stage(4), plain = prefer_stage(4);
    int64_t count;
    double loss[4];
    mgi_dataset *towards = put_scored("towards", "1", "1");
    mgi_dataset *away = put_scored("away", "-1", "-1");
    (void)state;
    plain.prefer.on = false;
    float *a = moved_by(&plain, towards, &count, &loss[0]);
    float *b = moved_by(&stage, towards, &count, &loss[1]);
    float *c = moved_by(&stage, away, &count, &loss[2]);
    assert_true(cosine(a, b, count) > 0.999);
    assert_true(cosine(a, c, count) < -0.999);
    assert_true(loss[0] > 0.01 && fabs(loss[1] / loss[0] - 1.0) < 1e-4);
    assert_true(fabs(loss[2] / loss[0] - 1.0) < 1e-4);
    free(c);
    stage.prefer.strength = 0.5; /* half of the way: a quarter of the squares */
    c = moved_by(&stage, away, &count, &loss[3]);
    assert_true(fabs(loss[3] / loss[0] - 0.25) < 1e-4);
    free(c);
    stage.drop = 1.0; /* without its caption a film is nobody's preference */
    c = moved_by(&stage, towards, &count, &loss[3]);
    assert_true(loss[3] < 1e-10 * loss[0]);
    free(a);
    free(b);
    free(c);
    mgi_dataset_release(towards);
    mgi_dataset_release(away);
    assert_int_equal(remove_all(films), 0);
    snprintf(films, sizeof films, "%s/towards", folder);
    assert_int_equal(remove_all(films), 0);
}

/* In bf16 the model that the stage starts from is held as bf16 alone, and steps lead where those in f32 lead. */
static void test_held_once(void **state)
{
    mgi_stage stage = prefer_stage(4);
    int64_t count, narrow = 0;
    double loss[2];
    mgi_dataset *data = put_scored("held", "-1", "0.5");
    (void)state;
    float *a = moved_by(&stage, data, &count, &loss[0]);
    stage.dtype = MGK_BF16;
    struct mgi_stage_run *run = begin_on(&stage, data);
    const mgi_module *m = &run->before.module;
    for (int64_t i = 0; i < m->count; i++) {
        assert_null(m->params[i]->compute);
        assert_int_equal(m->params[i]->value->dtype, m->params[i]->operand ? MGK_BF16 : MGK_F32);
        narrow += m->params[i]->operand;
    }
    assert_true(narrow > 0);
    end(run);
    float *b = moved_by(&stage, data, &count, &loss[1]);
    if (!(cosine(a, b, count) > 0.98 && fabs(loss[1] / loss[0] - 1.0) < 0.02))
        fail_msg("cosine %g, losses %g and %g", cosine(a, b, count), loss[0], loss[1]);
    free(a);
    free(b);
    mgi_dataset_release(data);
    assert_int_equal(remove_all(films), 0);
}

/* How much brighter what the model says of noise became, in the light films' direction, a share of the way to them. */
static double brighter(struct mgi_stage_run *r)
{
    const mgi_latents *l = &r->buckets.list[0].latents;
    const char *prompts[] = {"a square"};
    const mgi_networks n = mgi_video_networks(r);
    const int64_t *d = l->dims;
    double along = 0.0, whole = 0.0;
    float *u[2];
    mgi_vt_text text;
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    T *x = mgi_random(&run, MGK_RANDOM_NORMAL, 3, 1, 0, 1.0f, 0.0f, 5,
                      (int64_t[]){1, d[0], d[1], d[2], d[3]});
    T *t = mgi_new(&run, MGK_F32, MGI_DIMS(1));
    mgi_fill(&run, t, 0.3f);
    mgi_text_streams(&run, n.text, 0, prompts, 1, r->tokens, &text);
    for (int i = 0; i < 2; i++) {
        T *y = mgi_vt_velocity(&run, i ? &r->video : &r->before, x, t, &text);
        u[i] = malloc((size_t)l->size * sizeof *u[i]);
        OK(run.status);
        mgi_tensor_read(y, 0, u[i], l->size);
    }
    OK(mgi_device_wait(run.dev));
    for (int64_t i = 0; i < l->size; i++) {
        double light = 0.0, dark = 0.0;
        for (int64_t k = 0; k < l->clips; k++)
            *(l->scores[k] > 0.0f ? &light : &dark) += l->rows.values[k * l->step + i];
        along += (double)(u[1][i] - u[0][i]) * (light - dark);
        whole += (light - dark) * (light - dark);
    }
    free(u[0]);
    free(u[1]);
    mgi_run_finish(&run);
    return along / whole;
}

/* Scores that say light films are better make a model's films lighter, those that say the contrary darker. A checkpoint in
 * the middle changes nothing. */
static void test_learns(void **state)
{
    const mgi_stage stage = prefer_stage(30);
    mgi_dataset *data = put_scored("light", "-1", "1");
    struct mgi_stage_run *run = begin_on(&stage, data), *again;
    mgi_stage_state s;
    char path[400];
    double last = 0.0;
    (void)state;
    snprintf(path, sizeof path, "%s/state", folder);
    for (int64_t i = 0; i < stage.steps; i++) {
        if (i == 20)
            OK(mgi_checkpoint_save(ctx, &mgi_stage_text_to_video, run, path));
        last = step_of(&stage, run, i);
    }
    const double to = brighter(run);
    if (!(to > 0.0005))
        fail_msg("brighter by %g", to);
    again = begin_on(&stage, data);
    OK(mgi_checkpoint_load(ctx, &mgi_stage_text_to_video, again, path));
    mgi_stage_text_to_video.state(again, &s);
    assert_int_equal(*s.position, 20);
    for (int64_t i = 20; i < stage.steps; i++)
        step_of(&stage, again, i);
    assert_true(brighter(again) == to);
    assert_true(last > 0.0);
    end(again);
    end(run);
    mgi_dataset_release(data);
    assert_int_equal(remove_all(films), 0);
}

/* Losses of steps by a GPU, captured and not, beside the CPU's. */
static void test_gpu(void **state)
{
    enum { STEPS = 4 };
    const mgi_stage stage = prefer_stage(STEPS);
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *cpu = ctx, *gpu;
    double loss[3][STEPS];
    (void)state;
    if (mgi_cuda_count(NULL, 0) == 0)
        skip();
    mgi_dataset *data = put_scored("gpu", "-1", "0.5");
    assert_int_equal(mgi_context_init(&gpu, &params), MGEN_OK);
    assert_int_equal(mgi_device_open(gpu, "cuda:0", NULL, 0), MGEN_OK);
    for (int k = 0; k < 3; k++) {
        ctx = k ? gpu : cpu;
        gpu->device->graphs_off = k == 2;
        struct mgi_stage_run *run = begin_on(&stage, data);
        for (int64_t i = 0; i < STEPS; i++)
            loss[k][i] = step_of(&stage, run, i);
        end(run);
    }
    ctx = cpu;
    assert_memory_equal(loss[1], loss[2], sizeof loss[1]);
    for (int i = 0; i < STEPS; i++)
        assert_true(loss[0][i] > 0.0 && fabs(loss[1][i] / loss[0][i] - 1.0) < 1e-3);
    mgi_context_free(gpu);
    mgi_dataset_release(data);
    assert_int_equal(remove_all(films), 0);
}

/* ---- films that are made ---------------------------------------------------------------------------- */

enum { MADE = 4, EACH = 2 };

static uint64_t made_by = 1; /* a model with another number would make others */

static mgen_status make_shipped(mgen_context *context, mgi_comm *ranks, const char *cache,
                                mgi_preferred *out)
{
    const mgi_prefer_recipe recipe = {
        .prompts = MADE / EACH, .films = EACH, .steps = 3, .guidance_to = 0.5};
    const mgi_world_options options = {.width = 64, /* much to go wrong */
                                       .height = 64,
                                       .frames = 32,
                                       .objects_min = 3,
                                       .sign = MGI_WORLD_ALWAYS};
    shipped m;
    mgi_dataset *ds;
    MGI_TRY(mgi_dataset_world(context, 2, &options, &ds));
    open_toybox(context, &m);
    const mgi_prefer_request q = {.networks = &m.n,
                                  .recipe = &recipe,
                                  .captions = ds,
                                  .seed = 9,
                                  .made_by = made_by,
                                  .cache_dir = cache,
                                  .ranks = ranks};
    mgen_status status = mgi_prefer_make(context, &q, out);
    close_toybox(&m);
    mgi_dataset_release(ds);
    return status;
}

static mgi_preferred alone; /* as one rank makes them */

/* What each film shows, decoded anew, against the other of its prompt. */
static void test_made(void **state)
{
    (void)state;
    OK(make_shipped(ctx, NULL, NULL, &alone));
    assert_true(alone.count > 0 && alone.count <= MADE && alone.count % EACH == 0);
    assert_int_equal(alone.size, 4 * 8 * 8 * 16);
    for (int64_t i = 0; i < alone.count; i += EACH) {
        assert_string_equal(alone.captions[i], alone.captions[i + 1]);
        assert_memory_not_equal(alone.latents + i * alone.size,
                                alone.latents + (i + 1) * alone.size,
                                (size_t)alone.size * sizeof(float));
        assert_true(fabsf(alone.preference[i]) == 0.5f); /* of two films one is better */
        assert_true(alone.preference[i] == -alone.preference[i + 1]);
    }
}

static bool same_films(const mgi_preferred *p)
{
    return p->count == alone.count && p->size == alone.size &&
           !memcmp(p->latents, alone.latents, (size_t)(p->count * p->size) * sizeof(float)) &&
           !memcmp(p->preference, alone.preference, (size_t)p->count * sizeof(float)) &&
           !memcmp(p->captions, alone.captions, (size_t)p->count * sizeof *p->captions);
}

static int made_prompts;
static bool stopped; /* once films of one prompt are made */

static int32_t count_made(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    made_prompts += !strcmp(what, "making films");
    return stopped && made_prompts == 1;
}

/* The same films; how many prompts' had to be made. */
static int prompts_made(const char *cache)
{
    mgi_preferred p;
    made_prompts = 0;
    logged[0] = '\0';
    ctx->progress = count_made;
    ctx->log = keep_log;
    OK(make_shipped(ctx, NULL, cache, &p));
    ctx->progress = NULL;
    ctx->log = NULL;
    assert_true(same_films(&p));
    mgi_prefer_free(ctx, &p);
    return made_prompts;
}

/* The films of one prompt are made, and kept. */
static void make_one(const char *cache)
{
    mgi_preferred p;
    made_prompts = 0;
    stopped = true;
    ctx->progress = count_made;
    assert_int_equal(make_shipped(ctx, NULL, cache, &p), MGEN_E_CANCELLED);
    ctx->progress = NULL;
    stopped = false;
}

/* The file in the cache, of which there is one. */
static void kept_file(const char *cache, char path[600])
{
    int found = 0;
    DIR *list = opendir(cache);
    assert_non_null(list);
    for (const struct dirent *e; (e = readdir(list));)
        if (!strncmp(e->d_name, "preferred-", 10)) {
            snprintf(path, 600, "%.300s/%.250s", cache, e->d_name);
            found++;
        }
    closedir(list);
    assert_int_equal(found, 1);
}

/* They are made once, though in two goes, and again by another model, or where what was kept is damaged. */
static void test_kept(void **state)
{
    char cache[400], path[600];
    (void)state;
    snprintf(cache, sizeof cache, "%s/cache", folder);
    make_one(cache);
    kept_file(cache, path);
    assert_non_null(strstr(path, ".rows"));
    assert_int_equal(prompts_made(cache), MADE / EACH);
    assert_non_null(strstr(logged, "films of 1 of 2 prompts have been made before"));
    kept_file(cache, path);
    assert_non_null(strstr(path, ".safetensors"));
    assert_int_equal(prompts_made(cache), 0);
    assert_non_null(strstr(logged, "made and judged before"));
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, -1, SEEK_END), 0);
    const int last = fgetc(f);
    assert_int_equal(fseek(f, -1, SEEK_END), 0);
    fputc(last ^ 1, f);
    fclose(f);
    assert_int_equal(prompts_made(cache), MADE / EACH);
    assert_non_null(strstr(logged, "are damaged; they are made again"));
    assert_int_equal(prompts_made(cache), 0);
    made_by = 2;
    assert_int_equal(prompts_made(cache), MADE / EACH);
    made_by = 1;
    assert_int_equal(prompts_made(cache), 0);
}

typedef struct together {
    mgi_comm_group *group;
    int rank;
    const char *cache;
    bool same;
    char said[1024];
} together;

static void *make_together(void *arg)
{
    together *t = arg;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *own;
    mgi_preferred p = {0};
    mgi_comm *comm = NULL;
    params.threads = 1;
    if (mgi_context_init(&own, &params) != MGEN_OK)
        return NULL;
    if (mgi_device_create(own, NULL) == MGEN_OK &&
        mgi_comm_join(t->group, t->rank, own, &comm) == MGEN_OK &&
        make_shipped(own, comm, t->cache, &p) == MGEN_OK)
        t->same = same_films(&p);
    snprintf(t->said, sizeof t->said, "%s", mgen_last_error(own));
    mgi_prefer_free(own, &p);
    mgi_comm_destroy(comm);
    mgi_context_free(own);
    return NULL;
}

/* Made, and then from the cache of the first of them, all and in part. */
static void test_ranks(void **state)
{
    together rank[2];
    mgi_comm_group *group;
    char cache[2][400];
    (void)state;
    for (int kept = 0; kept < 3; kept++) {
        if (kept == 2) {
            assert_int_equal(remove_all(cache[0]), 0);
            make_one(cache[0]);
        }
        OK(mgi_comm_group_create(ctx, 2, 60000, &group));
        for (int i = 0; i < 2; i++) {
            snprintf(cache[i], sizeof cache[i], "%s/%s", folder, i ? "none" : "cache");
            rank[i] = (together){.group = group, .rank = i, .cache = kept ? cache[i] : NULL};
        }
        run_threads(make_together, rank, sizeof *rank, 2);
        mgi_comm_group_release(group);
        for (int i = 0; i < 2; i++)
            if (!rank[i].same)
                fail_msg("rank %d: other films than one rank's (%s)", i, rank[i].said);
        assert_int_equal(access(cache[1], F_OK), -1);
    }
    mgi_prefer_free(ctx, &alone);
    assert_int_equal(remove_all(cache[0]), 0);
}

/* ---- what is refused -------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    mgi_stage stage = prefer_stage(2);
    mgi_dataset *ds;
    (void)state;
    assert_refused(&stage, MGEN_E_INVALID,
                   "nothing to prefer"); /* of a model that has learnt nothing */
    stage.bucket_count = 2;
    stage.bucket[0] = (mgi_bucket){.width = 48, .height = 48, .frames = 16, .weight = 1.0};
    stage.bucket[1] = (mgi_bucket){.width = 64, .height = 48, .frames = 16, .weight = 1.0};
    stage.images = -1.0;
    assert_refused(&stage, MGEN_E_INVALID, "one bucket");
    stage.bucket_count = 0;
    stage.world.people = 0.5f;
    assert_refused(&stage, MGEN_E_INVALID, "no \"people\"");
    stage.world.people = 0.0f;
    make_films(folder, "none");
    put_film("a.y4m", 10);
    put_film("b.y4m", 10);
    ds = open_scored();
    assert_refused_on(&stage, ds, MGEN_E_INVALID, "none of the 1 films to train on");
    mgi_dataset_release(ds);
    assert_int_equal(remove_all(films), 0);
}

static mgen_status read_prefer(const char *members, const char *prefer, bool frozen, mgi_stage *out)
{
    char path[400];
    snprintf(path, sizeof path, "%s/recipe.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "{\"format\":\"moviegen-recipe\",\"version\":1,\"stages\":[{\"name\":\"p\",\"kind\":"
            "\"text_to_video\",\"tae\":\"tae\",\"steps\":9,\"batch\":2,\"clips\":4,"
            "\"text_encoders\":{\"ul2\":{\"from\":\"ul2\",\"frozen\":%s}},\"video_model\":{"
            "\"preset\":\"toybox\",\"text\":{\"ul2\":24}},\"optimizer\":{\"lr\":0.1},%s\"prefer\":%"
            "s}]}",
            frozen ? "true" : "false", members, prefer);
    fclose(f);
    mgen_status status = mgi_recipe_stage(ctx, path, "p", out);
    unlink(path);
    return status;
}

static void test_recipe(void **state)
{
    static const char start[] = "\"start_from\":\"base\",";
    mgi_stage s;
    (void)state;
    OK(read_prefer(start, "{}", true, &s));
    assert_true(s.prefer.on && s.prefer.strength == 1.0 && s.prefer.guidance_to == 1.0);
    assert_true(s.prefer.prompts == 48 && s.prefer.films == 8 && s.prefer.steps == 20);
    OK(read_prefer(start,
                   "{\"strength\":0.5,\"prompts\":3,\"films\":2,\"steps\":7,\"guidance_to\":0.6}",
                   true, &s));
    assert_true(s.prefer.strength == 0.5 && s.prefer.prompts == 3 && s.prefer.films == 2);
    assert_true(s.prefer.steps == 7 && fabs(s.prefer.guidance_to - 0.6) < 1e-12);
    assert_said(read_prefer("", "{}", true, &s), MGEN_E_CORRUPT, "\"start_from\"");
    assert_said(read_prefer(start, "{}", false, &s), MGEN_E_CORRUPT, "\"frozen\"");
    assert_said(read_prefer(start, "{\"films\":1}", true, &s), MGEN_E_CORRUPT, "\"films\"");
    assert_said(read_prefer(start, "{\"strenght\":1}", true, &s), MGEN_E_CORRUPT, "\"strength\"");
    assert_said(read_prefer(start, "1", true, &s), MGEN_E_CORRUPT, "\"prefer\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weigh),         cmocka_unit_test(test_scores),
        cmocka_unit_test(test_scores_memory), cmocka_unit_test(test_steps),
        cmocka_unit_test(test_held_once),     cmocka_unit_test(test_learns),
        cmocka_unit_test(test_gpu),           cmocka_unit_test(test_made),
        cmocka_unit_test(test_kept),          cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_recipe),
    };
    return cmocka_run_group_tests(tests, make_models, free_context_and_folder);
}
