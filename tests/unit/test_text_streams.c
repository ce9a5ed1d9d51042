/* SPDX-License-Identifier: MIT
 * Text from prompt to cross-attention: quoted text, the kinds of encoders and their files, several streams in one
 * model and in training. */
#include "core/alloc.h"
#include "core/hash.h"
#include "core/philox.h"
#include "task/generate.h"
#include "train/stage.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ok.h"
#include "tiny_stages.h"

static char folder[] = "/tmp/mgi-text-XXXXXX", fixtures[512];
static mgen_context *ctx;

#include "said.h"

static int set_up(void **state)
{
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    const char *source = getenv("MOVIEGEN_SOURCE");
    (void)state;
    params.threads = 2;
    snprintf(fixtures, sizeof fixtures, "%s/tests/unit/text", source ? source : ".");
    return !mkdtemp(folder) || mgi_context_init(&ctx, &params) != MGEN_OK ||
           mgi_device_create(ctx, NULL) != MGEN_OK;
}

static int tear_down(void **state)
{
    char command[600];
    (void)state;
    mgi_context_free(ctx);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* -- quoted text ------------------------------------------------------------------------------ */

static void test_quoted(void **state)
{
    static const char *const all[][2] = {
        {"", ""},
        {"a red ball", ""},
        {"a sign that says \"GO\"", "GO"},
        {"\"A1\" and \"B2\" on signs", "A1\nB2"},
        {"a sign \xE2\x80\x9Cl\xC3\xA4uft\xE2\x80\x9D", "l\xC3\xA4uft"},
        {"a sign \xE2\x80\x9Csays \"hi\" twice\xE2\x80\x9D", "says \"hi\" twice"},
        {"one \"GO\" and one \"without end", "GO"},
        {"\"without end", ""},
        {"a 5\" sign", ""},
        {"\xE2\x80\x9Cwithout end, \"GO\"", "GO"},
        {"\xE2\x80\x9D is no beginning", ""},
        {"\"\" and \"GO\" and \"\"", "GO"},
        {"\" \"", " "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char *text;
        OK(mgi_prompt_quoted(ctx, all[i][0], &text));
        assert_string_equal(text, all[i][1]);
        mgi_free(ctx, text);
    }
}

static void test_rate(void **state)
{
    static const char *const all[][2] = {
        {"", ""}, {"a ball", "FPS-24 a ball"}, {"FPS-8 a ball", "FPS-8 a ball"}};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char *text;
        OK(mgi_prompt_at_rate(ctx, all[i][0], 24, &text));
        assert_string_equal(text, all[i][1]);
        mgi_free(ctx, text);
    }
}

/* -- encoders and their files ----------------------------------------------------------------- */

static const mgi_t5_config t5 = {.vocab = 512,
                                 .dim = 24,
                                 .layers = 1,
                                 .heads = 2,
                                 .head_dim = 12,
                                 .ff_dim = 32,
                                 .buckets = 8,
                                 .max_distance = 16,
                                 .tokens_max = 40,
                                 .eps = 1e-6f};
static const mgi_clip_text_config clip = {
    .vocab = 831, .dim = 16, .layers = 1, .heads = 2, .ff_dim = 24, .tokens_max = 48, .eps = 1e-5f};

/* Each role by its kind. */
static mgi_text_config config_of(int role)
{
    mgi_text_config c = {.kind = role == MGI_ROLE_UL2    ? MGI_TEXT_T5_SENTENCEPIECE
                                 : role == MGI_ROLE_BYT5 ? MGI_TEXT_T5_BYTES
                                                         : MGI_TEXT_CLIP_BPE,
                         .t5 = t5,
                         .clip = clip};
    if (role == MGI_ROLE_UL2)
        strcpy(c.files.name[0], "nfkc.model");
    if (role == MGI_ROLE_BYT5)
        c.t5.dim = 20;
    if (role == MGI_ROLE_METACLIP) {
        strcpy(c.files.name[0], "clip_vocab.json");
        strcpy(c.files.name[1], "clip_merges.txt");
    }
    return c;
}

static void randomise(mgi_module *m, uint64_t seed)
{
    for (int64_t k = 0; k < m->count; k++)
        for (int64_t i = 0; i < m->params[k]->value->count; i++)
            mgi_f32(m->params[k]->value)[i] +=
                0.1f * mgi_random_normal(seed, (uint64_t)k, (uint64_t)i);
}

static void make_encoder(mgi_text_encoder *e, int role)
{
    mgi_text_config c = config_of(role);
    OK(mgi_text_encoder_init(e, ctx, fixtures, &c, NULL));
    OK(mgi_module_random(mgi_text_module(e), 3));
    randomise(mgi_text_module(e), 9);
}

static void assert_same_encoding(const mgi_text_encoder *a, const mgi_text_encoder *b)
{
    static const char *const prompts[] = {"a red ball rolls left", "", "sign \"A1\" on grass"};
    mgi_run run;
    int64_t tokens[2][3];
    mgi_run_init(&run, ctx, false);
    T *x = mgi_text_batch(&run, a, prompts, 3, tokens[0]),
      *y = mgi_text_batch(&run, b, prompts, 3, tokens[1]);
    if (!x || !y)
        fail_msg("%s", mgen_last_error(ctx));
    assert_int_equal(x->count, y->count);
    assert_int_equal(x->dims[2], mgi_text_width(a));
    assert_memory_equal(tokens[0], tokens[1], sizeof tokens[0]);
    assert_memory_equal(mgi_f32(x), mgi_f32(y), (size_t)x->count * sizeof(float));
    mgi_run_finish(&run);
}

static char *in(const char *dir, const char *name)
{
    static char path[2][700];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static void test_encoders(void **state)
{
    (void)state;
    for (int role = 0; role < MGI_ROLES; role++) {
        mgi_text_encoder e, back;
        uint64_t hash, again;
        make_encoder(&e, role);
        OK(mgi_text_encoder_save(&e, folder, "encoder", MGI_ST_F32));
        OK(mgi_text_encoder_open(ctx, folder, "encoder", &back, &hash));
        assert_same_encoding(&e, &back);
        mgi_text_encoder_finish(&back);
        OK(mgi_text_encoder_open(ctx, folder, "encoder", &back, &again));
        assert_true(hash == again);
        mgi_text_encoder_finish(&back);
        mgi_text_encoder_finish(&e);
        if (role == MGI_ROLE_BYT5)
            continue;
        /* without its tokenizer it is nothing, with another's neither */
        const mgi_text_config config = config_of(role);
        const char *file = config.files.name[0];
        assert_int_equal(rename(in(folder, file), in(folder, "kept")), 0);
        assert_said(mgi_text_encoder_open(ctx, folder, "encoder", &back, &hash), MGEN_E_NOT_FOUND,
                    file);
        FILE *f = fopen(in(folder, file), "w");
        assert_non_null(f);
        fputs("{}", f);
        fclose(f);
        assert_said(mgi_text_encoder_open(ctx, folder, "encoder", &back, &hash), MGEN_E_CORRUPT,
                    file);
        assert_int_equal(rename(in(folder, "kept"), in(folder, file)), 0);
    }
}

static mgen_status read_config(const char *text, mgi_text_config *out)
{
    mgi_json *root;
    OK(mgi_json_parse(ctx, "text", text, strlen(text), &root));
    mgen_status status = mgi_text_config_read(ctx, root, out);
    mgi_json_free(ctx, root);
    return status;
}

static void test_bad_configs(void **state)
{
#define T5                                                                                         \
    "\"vocab\": 512, \"dim\": 8, \"layers\": 1, \"heads\": 1, \"head_dim\": 8, \"ff_dim\": 8, "    \
    "\"tokens_max\": 9"
#define CLIP                                                                                       \
    "\"vocab\": 831, \"dim\": 8, \"layers\": 1, \"heads\": 1, \"ff_dim\": 8, \"tokens_max\": 9"
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"{\"kind\": \"t5\", \"config\": {" T5 "}}", "text encoders are"},
        {"{\"kind\": \"t5-bytes\"}", "\"config\""},
        {"{\"kind\": \"t5-bytes\", \"config\": {" T5 ", \"tokenizer\": \"a\"}}", "not for bytes"},
        {"{\"kind\": \"t5-sentencepiece\", \"config\": {" T5 "}}", "tokenizer"},
        {"{\"kind\": \"t5-sentencepiece\", \"config\": {" T5 ", \"tokenizer\": \"../a\"}}", "../a"},
        {"{\"kind\": \"t5-sentencepiece\", \"config\": {" T5 ", \"tokenizer\": \".a\"}}", ".a"},
        {"{\"kind\": \"clip-bpe\", \"config\": {" CLIP ", \"tokenizer\": \"a\"}}", "object"},
        {"{\"kind\": \"clip-bpe\", \"config\": {" CLIP ", \"tokenizer\": {\"vocab\": \"a\"}}}",
         "merges"},
        {"{\"kind\": \"clip-bpe\", \"config\": {" T5 "}}", "head_dim"},
    };
    mgi_text_config c;
    mgi_text_encoder e;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_said(read_config(bad[i].text, &c), MGEN_E_CORRUPT, bad[i].said);
    OK(read_config("{\"kind\": \"clip-bpe\", \"config\": {" CLIP
                   ", \"tokenizer\": {\"vocab\": \"clip_vocab.json\", \"merges\": "
                   "\"clip_merges.txt\"}}}",
                   &c));
    assert_string_equal(c.files.name[1], "clip_merges.txt");
    c.clip.vocab = 830;
    assert_said(mgi_text_encoder_init(&e, ctx, fixtures, &c, NULL), MGEN_E_CORRUPT, "needs 831");
#undef CLIP
#undef T5
}

/* -- streams ---------------------------------------------------------------------------------- */

static const mgi_vt_config vt_config = {.layers = 1,
                                        .dim = 24,
                                        .heads = 2,
                                        .ff_dim = 40,
                                        .channels = 3,
                                        .patch_t = 1,
                                        .patch_h = 2,
                                        .patch_w = 2,
                                        .frames_max = 2,
                                        .rows_max = 2,
                                        .columns_max = 2,
                                        .text = {24, 20, 16},
                                        .time_dim = 16};
enum { SAMPLE = 2 * 4 * 4 * 3, BATCH_MAX = 4 };

typedef struct model {
    mgi_text_encoder text[MGI_ROLES];
    mgi_vt vt;
} model;

static void make_model(model *m)
{
    for (int i = 0; i < MGI_ROLES; i++)
        make_encoder(&m->text[i], i);
    OK(mgi_vt_init(&m->vt, ctx, &vt_config));
    OK(mgi_vt_random(&m->vt, 1));
    randomise(&m->vt.module, 8);
}

static void free_model(model *m)
{
    mgi_vt_finish(&m->vt);
    for (int i = 0; i < MGI_ROLES; i++)
        mgi_text_encoder_finish(&m->text[i]);
}

/* Velocities of one and the same noise for each prompt. */
static T *velocities(mgi_run *run, const model *m, uint32_t drop, const char *const *prompts,
                     int64_t count)
{
    const mgi_text_encoder *text[MGI_ROLES] = {&m->text[0], &m->text[1], &m->text[2]};
    int64_t tokens[MGI_ROLES * BATCH_MAX];
    mgi_vt_text p;
    T *x = mgi_new(run, MGK_F32, MGI_DIMS(count, 2, 4, 4, 3)),
      *t = mgi_new(run, MGK_F32, MGI_DIMS(count));
    for (int64_t i = 0; x && i < x->count; i++)
        mgi_f32(x)[i] = mgi_random_normal(4, 4, (uint64_t)(i % SAMPLE));
    mgi_fill(run, t, 0.3f);
    mgi_text_streams(run, text, drop, prompts, count, tokens, &p);
    return mgi_vt_forward(run, &m->vt, x, t, &p);
}

static void velocity(const model *m, uint32_t drop, const char *prompt, float out[SAMPLE])
{
    mgi_run run;
    mgi_run_init(&run, ctx, false);
    T *u = velocities(&run, m, drop, &prompt, 1);
    if (!u)
        fail_msg("%s", mgen_last_error(ctx));
    memcpy(out, mgi_f32(u), SAMPLE * sizeof *out);
    mgi_run_finish(&run);
}

/* What a prompt gets beside others, whose streams have other lengths, is what it gets alone. */
static void test_batch(void **state)
{
    static const char *const prompts[BATCH_MAX] = {
        "a red ball", "", "a sign \"LONG\" and a blue cube that rolls to the right", "\"A\""};
    model m;
    mgi_run run;
    (void)state;
    make_model(&m);
    for (uint32_t drop = 0; drop < 7; drop++) {
        mgi_run_init(&run, ctx, false);
        T *u = velocities(&run, &m, drop, prompts, BATCH_MAX);
        assert_non_null(u);
        for (int i = 0; i < BATCH_MAX; i++) {
            float alone[SAMPLE];
            velocity(&m, drop, prompts[i], alone);
            assert_memory_equal(alone, mgi_f32(u) + i * SAMPLE, sizeof alone);
        }
        mgi_run_finish(&run);
    }
    mgi_run_init(&run, ctx, false);
    assert_null(velocities(&run, &m, 7, prompts, BATCH_MAX));
    assert_int_equal(run.status, MGEN_E_INTERNAL);
    mgi_run_finish(&run);
    free_model(&m);
}

/* Each stream reaches the result, and one that is left out does not; ByT5's reads what is quoted only. */
static void test_drop(void **state)
{
    enum { UL2 = 1, BYT5 = 2, METACLIP = 4 };
    float a[SAMPLE], b[SAMPLE];
    model m;
    (void)state;
    make_model(&m);
    for (uint32_t drop = 0; drop < 7; drop++) {
        velocity(&m, drop, "a \"B\" c", a);
        velocity(&m, drop, "d \"B\" e", b);
        assert_int_equal(!memcmp(a, b, sizeof a), drop == (UL2 | METACLIP));
        velocity(&m, drop, "a \"F\" c", b);
        assert_int_not_equal(memcmp(a, b, sizeof a), 0);
    }
    velocity(&m, UL2 | METACLIP, "nothing", a);
    velocity(&m, UL2 | METACLIP, "", b);
    assert_memory_equal(a, b, sizeof a);
    velocity(&m, UL2 | BYT5, "cold", a);
    velocity(&m, UL2, "cold", b);
    assert_int_not_equal(memcmp(a, b, sizeof a), 0);
    free_model(&m);
}

static float loss_of(const model *m, mgi_run *run, T **loss)
{
    static const char *const prompts[3] = {"a red \"1\"", "", "a sign \"A1\" and more"};
    T *u = velocities(run, m, 0, prompts, 3), *zero = u ? mgi_new(run, MGK_F32, 5, u->dims) : NULL;
    mgi_fill(run, zero, 0.0f);
    *loss = mgi_loss(run, 0, 1.0f, u, zero);
    assert_non_null(*loss);
    return mgi_f32(*loss)[0];
}

/* Each parameter of each encoder and stream gets a gradient, which is the slope of the loss. */
static void test_gradients(void **state)
{
    model m;
    mgi_run run, other;
    T *loss;
    (void)state;
    make_model(&m);
    mgi_module *modules[] = {mgi_text_module(&m.text[0]), mgi_text_module(&m.text[1]),
                             mgi_text_module(&m.text[2]), &m.vt.module};
    for (int i = 0; i < 4; i++)
        OK(mgi_module_train(modules[i]));
    mgi_run_init(&run, ctx, true);
    loss_of(&m, &run, &loss);
    OK(mgi_backward(&run, loss));
    mgi_run_finish(&run);
    for (int i = 0; i < 4; i++)
        for (int64_t k = 0; k < modules[i]->count; k++) {
            const mgi_param *p = modules[i]->params[k];
            const float *grad = mgi_f32(p->value->var->grad);
            int64_t most = 0;
            for (int64_t j = 1; j < p->value->count; j++)
                most = fabsf(grad[j]) > fabsf(grad[most]) ? j : most;
            if (!(fabsf(grad[most]) > 0.0f) || !isfinite(grad[most]))
                fail_msg("%s has gradient %g", p->name, (double)grad[most]);
            if (i == 3 && strncmp(p->name, "text", 4))
                continue;
            float *w = mgi_f32(p->value) + most, before = *w, at[2];
            const float step = 2e-3f;
            for (int side = 0; side < 2; side++) {
                *w = side ? before + step : before - step;
                mgi_run_init(&other, ctx, false);
                at[side] = loss_of(&m, &other, &loss);
                mgi_run_finish(&other);
            }
            *w = before;
            float slope = (at[1] - at[0]) / (2.0f * step);
            if (fabsf(slope - grad[most]) > 0.03f * fabsf(grad[most]) + 2e-4f)
                fail_msg("%s: gradient %g, slope %g", p->name, (double)grad[most], (double)slope);
        }
    free_model(&m);
}

/* -- training --------------------------------------------------------------------------------- */

static void write_recipe(const char *encoders, const char *widths)
{
    FILE *f = fopen(in(folder, "recipe.json"), "w");
    assert_non_null(f);
    fprintf(f,
            "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": \"video\", "
            "\"kind\": \"text_to_video\", \"steps\": 2, \"batch\": 2, \"clips\": 2, \"tae\": "
            "\"tae\", %s, \"optimizer\": {\"lr\": 0.01}, \"video_model\": {\"layers\": 1, \"dim\": "
            "16, \"heads\": 2, \"ff_dim\": 16, \"channels\": 4, \"patch\": [1, 2, 2], "
            "\"frames_max\": 4, \"rows_max\": 4, \"columns_max\": 4, %s}}]}",
            encoders, widths);
    fclose(f);
}

static const char three[] =
    "\"text_encoders\": {\"ul2\": {\"kind\": \"t5-sentencepiece\", \"config\": {\"vocab\": 512, "
    "\"dim\": 24, \"layers\": 1, \"heads\": 2, \"head_dim\": 12, \"ff_dim\": 16, \"tokens_max\": "
    "64, \"tokenizer\": \"nfkc.model\"}}, \"byt5\": {\"kind\": \"t5-bytes\", \"config\": "
    "{\"vocab\": 259, \"dim\": 20, \"layers\": 1, \"heads\": 2, \"head_dim\": 10, \"ff_dim\": 16, "
    "\"tokens_max\": 16}}, \"metaclip\": {\"from\": \"frozen\", \"frozen\": true}}";

static void copy_fixture(const char *name)
{
    char command[1600];
    snprintf(command, sizeof command, "cp %s/%s %s/", fixtures, name, folder);
    assert_int_equal(system(command), 0);
}

static struct mgi_stage_run *begin(const mgi_stage *stage, const struct mgi_stage_kind *kind)
{
    struct mgi_stage_run *run;
    mgi_stage_params params = {.stage = stage, .dir = folder, .seed = 5};
    OK(kind->create(ctx, &params, &run));
    return run;
}

static void train(const mgi_stage *stage, const struct mgi_stage_kind *kind)
{
    struct mgi_stage_run *run = begin(stage, kind);
    for (int64_t i = 0; i < stage->steps; i++)
        OK(kind->step(run, i, NULL));
    OK(kind->save(run));
    kind->destroy(run);
}

static uint64_t file_hash(const char *name)
{
    mgi_file f;
    OK(mgi_file_open_in(ctx, folder, name, &f));
    uint64_t hash = mgi_hash64(f.data, f.size, 0);
    mgi_file_close(ctx, &f);
    return hash;
}

/* Two encoders trained along and one frozen, from a recipe to a pipeline. */
static void test_training(void **state)
{
    mgi_stage stage = tiny_autoencoder(1, 1);
    mgi_text_encoder frozen;
    mgi_pipeline_file file;
    uint64_t hash;
    (void)state;
    train(&stage, &mgi_stage_autoencoder);
    make_encoder(&frozen, MGI_ROLE_METACLIP);
    OK(mgi_text_encoder_save(&frozen, folder, "frozen", MGI_ST_F32));
    hash = file_hash("frozen.safetensors");
    copy_fixture("nfkc.model");
    write_recipe(three, "\"text\": {\"ul2\": 24, \"byt5\": 20, \"metaclip\": 16}");
    OK(mgi_recipe_stage(ctx, in(folder, "recipe.json"), "video", &stage));
    assert_string_equal(stage.folder, folder);

    struct mgi_stage_run *run = begin(&stage, &mgi_stage_text_to_video);
    mgi_stage_state s;
    mgi_stage_text_to_video.state(run, &s);
    assert_int_equal(s.modules, 3);
    mgi_stage_text_to_video.destroy(run);
    train(&stage, &mgi_stage_text_to_video);
    OK(mgi_pipeline_file_read(ctx, folder, "pipeline", &file));
    assert_string_equal(file.text[MGI_ROLE_UL2], "ul2");
    assert_string_equal(file.text[MGI_ROLE_BYT5], "byt5");
    assert_string_equal(file.text[MGI_ROLE_METACLIP], "frozen");
    assert_true(file_hash("frozen.safetensors") == hash);
    for (int i = 0; i < MGI_ROLES; i++) {
        mgi_text_encoder e;
        OK(mgi_text_encoder_open(ctx, folder, file.text[i], &e, &hash));
        assert_int_equal(e.config.kind, config_of(i).kind);
        if (i == MGI_ROLE_METACLIP)
            assert_same_encoding(&frozen, &e);
        mgi_text_encoder_finish(&e);
    }
    mgi_text_encoder_finish(&frozen);
}

static mgen_status create(const char *encoders, const char *widths)
{
    mgi_stage stage;
    struct mgi_stage_run *run = NULL;
    write_recipe(encoders, widths);
    MGI_TRY(mgi_recipe_stage(ctx, in(folder, "recipe.json"), "video", &stage));
    mgi_stage_params params = {.stage = &stage, .dir = folder, .seed = 5};
    mgen_status status = mgi_stage_text_to_video.create(ctx, &params, &run);
    if (run)
        mgi_stage_text_to_video.destroy(run);
    return status;
}

/* After the training, whose models are there. */
static void test_bad_recipes(void **state)
{
    static const char widths[] = "\"text\": {\"ul2\": 24}";
#define UL2(entry) "\"text_encoders\": {\"ul2\": {" entry "}}"
    static const struct {
        const char *encoders, *widths, *said;
        mgen_status status;
    } bad[] = {
        {"\"text_encoders\": {}", widths, "one at least", MGEN_E_CORRUPT},
        {"\"text_encoders\": {\"t5\": {}}", widths, "t5", MGEN_E_CORRUPT},
        {UL2("\"from\": \"ul2\"") ", \"text_encoder\": {}", widths, "instead", MGEN_E_CORRUPT},
        {UL2("\"from\": \"../ul2\""), widths, "letters", MGEN_E_CORRUPT},
        {UL2("\"from\": \"\""), widths, "empty", MGEN_E_CORRUPT},
        {UL2("\"from\": \"ul2\", \"kind\": \"t5-bytes\""), widths, "kind", MGEN_E_CORRUPT},
        {UL2("\"frozen\": true, \"kind\": \"t5-bytes\""), widths, "frozen", MGEN_E_CORRUPT},
        {UL2("\"from\": \"absent\""), widths, "absent", MGEN_E_STATE},
        {UL2("\"from\": \"tae\""), widths, "text encoders are", MGEN_E_CORRUPT},
        {"\"text_encoder\": {\"tokenizer\": \"a\"}", widths, "takes bytes", MGEN_E_CORRUPT},
        {UL2("\"from\": \"ul2\""), "\"text\": {\"ul2\": 23}", "UL2 is 24 wide", MGEN_E_CORRUPT},
        {UL2("\"from\": \"ul2\""), "\"text\": {\"byt5\": 24}", "role UL2", MGEN_E_CORRUPT},
        {UL2("\"from\": \"ul2\""), "\"text\": {}", "\"text\"", MGEN_E_CORRUPT},
        {UL2("\"from\": \"ul2\""), "\"text\": {\"ul2\": 24}, \"text_dim\": 24", "\"text_dim\"",
         MGEN_E_CORRUPT},
        {UL2("\"from\": \"ul2\""), "\"frames_max\": 4", "", MGEN_E_CORRUPT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_said(create(bad[i].encoders, bad[i].widths), bad[i].status, bad[i].said);
    OK(create(UL2("\"from\": \"ul2\""), widths));
    OK(create(UL2("\"from\": \"ul2\", \"frozen\": true"), "\"text_dim\": 24"));
#undef UL2
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quoted),      cmocka_unit_test(test_rate),
        cmocka_unit_test(test_encoders),    cmocka_unit_test(test_bad_configs),
        cmocka_unit_test(test_batch),       cmocka_unit_test(test_drop),
        cmocka_unit_test(test_gradients),   cmocka_unit_test(test_training),
        cmocka_unit_test(test_bad_recipes),
    };
    return cmocka_run_group_tests_name("text_streams", tests, set_up, tear_down);
}
