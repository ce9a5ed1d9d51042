/* SPDX-License-Identifier: MIT
 * What networks, in this library's files and in Hugging Face's, recipes, pipelines and manifests of checkpoints say about themselves. A network's configuration that is accepted is written
 * and read again, to the same text. */
#include "fuzz.h"

#include "model/adapter.h"
#include "model/audio_codec_dac.h"
#include "model/clip_vision_hf.h"
#include "model/rewriter.h"
#include "model/tae_diffusers.h"
#include "model/text_encoder_hf.h"
#include "model/video_transformer.h"
#include "task/pipeline.h"
#include "train/checkpoint_shards.h"
#include "train/recipe.h"

#include <string.h>

typedef union config {
    mgi_tae_config tae;
    mgi_vt_config video;
    mgi_t5_config t5;
    mgi_clip_text_config clip;
    mgi_clip_vision_config vision;
    mgi_audio_codec_config codec;
    mgi_rewriter_config rewriter;
    mgi_adapter_config adapter;
} config;

static mgen_status read_tae(mgen_context *ctx, const mgi_json *o, config *out)
{
    return mgi_tae_config_read(ctx, o, &out->tae);
}
static void write_tae(mgi_json_writer *w, const config *c)
{
    mgi_tae_config_write(w, &c->tae);
}
static mgen_status read_video(mgen_context *ctx, const mgi_json *o, config *out)
{
    return mgi_vt_config_read(ctx, o, &out->video);
}
static void write_video(mgi_json_writer *w, const config *c)
{
    mgi_vt_config_write(w, &c->video);
}
static mgen_status read_t5(mgen_context *ctx, const mgi_json *o, config *out)
{
    return mgi_t5_config_read(ctx, o, &out->t5);
}
static void write_t5(mgi_json_writer *w, const config *c)
{
    mgi_t5_config_write(w, &c->t5);
}
static mgen_status read_clip(mgen_context *ctx, const mgi_json *o, config *out)
{
    return mgi_clip_text_config_read(ctx, o, &out->clip);
}
static void write_clip(mgi_json_writer *w, const config *c)
{
    mgi_clip_text_config_write(w, &c->clip);
}

static mgen_status read_vision(mgen_context *ctx, const mgi_json *o, config *out)
{
    return mgi_clip_vision_config_read(ctx, o, &out->vision);
}
static void write_vision(mgi_json_writer *w, const config *c)
{
    mgi_clip_vision_config_write(w, &c->vision);
}

static mgen_status read_codec(mgen_context *ctx, const mgi_json *o, config *out)
{
    return mgi_audio_codec_config_read(ctx, o, &out->codec);
}
static void write_codec(mgi_json_writer *w, const config *c)
{
    mgi_audio_codec_config_write(w, &c->codec);
}

static mgen_status read_rewriter(mgen_context *ctx, const mgi_json *o, config *out)
{
    return mgi_rewriter_config_read(ctx, o, &out->rewriter);
}
static void write_rewriter(mgi_json_writer *w, const config *c)
{
    mgi_rewriter_config_write(w, &c->rewriter);
}

static mgen_status read_adapter(mgen_context *ctx, const mgi_json *o, config *out)
{
    return mgi_adapter_config_read(ctx, o, &out->adapter);
}
static void write_adapter(mgi_json_writer *w, const config *c)
{
    mgi_adapter_config_write(w, &c->adapter);
}

static const struct {
    mgen_status (*read)(mgen_context *ctx, const mgi_json *o, config *out);
    void (*write)(mgi_json_writer *w, const config *c);
} kinds[] = {
    {read_tae, write_tae},           {read_video, write_video},    {read_t5, write_t5},
    {read_clip, write_clip},         {read_vision, write_vision},  {read_codec, write_codec},
    {read_rewriter, write_rewriter}, {read_adapter, write_adapter}};
enum { TAE = 0, T5 = 2, CLIP = 3, VISION = 4, CODEC = 5 };

/* The writer holds the text. */
static bool write_object(mgen_context *ctx, int kind, const config *c, mgi_json_writer *w,
                         const char **text, size_t *size)
{
    mgi_json_writer_init(w, ctx, 0);
    mgi_json_open(w, NULL, '{');
    kinds[kind].write(w, c);
    mgi_json_close(w, '}');
    return fuzz_must(ctx, mgi_json_text(w, text, size));
}

static void check_again(mgen_context *ctx, int kind, const config *c)
{
    config d;
    mgi_json_writer w, v = {0};
    mgi_json *root = NULL;
    const char *text, *other;
    size_t size, other_size;
    if (write_object(ctx, kind, c, &w, &text, &size) &&
        fuzz_must(ctx, mgi_json_parse(ctx, "written", text, size, &root)) &&
        fuzz_must(ctx, kinds[kind].read(ctx, root, &d))) {
        if (write_object(ctx, kind, &d, &v, &other, &other_size))
            FUZZ_CHECK(size == other_size && !memcmp(text, other, size));
        mgi_json_writer_free(&v);
    }
    mgi_json_free(ctx, root);
    mgi_json_writer_free(&w);
}

/* A folder's config.json, or how its pictures are prepared. */
static bool read_hf_vision(mgen_context *ctx, const mgi_json *root)
{
    config c, d = {.vision = {.image = 12, .patch = 4, .dim = 8, .layers = 2, .heads = 2}};
    d.vision.ff_dim = 20;
    mgi_clip_vision_usual(&d.vision);
    bool tower = fuzz_ok(ctx, mgi_hf_clip_vision_config_read(ctx, root, &c.vision));
    bool frames = fuzz_ok(ctx, mgi_hf_clip_vision_frames_read(ctx, root, &d.vision));
    if (tower)
        check_again(ctx, VISION, &c);
    check_again(ctx, VISION, &d);
    return tower || (frames && mgi_json_find(root, "image_mean"));
}

/* By every reader: one of them may take it. */
static bool read_config(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_json *root;
    mgi_text_config text;
    bool good = false;
    (void)path;
    if (!fuzz_ok(ctx, mgi_json_parse(ctx, "input", (const char *)data, size, &root)))
        return false;
    if (root->kind == MGI_JSON_OBJECT) {
        const mgi_json *inner = mgi_json_find(root, "config");
        const mgi_json *object = inner && inner->kind == MGI_JSON_OBJECT ? inner : root;
        for (int k = 0; k < (int)(sizeof kinds / sizeof kinds[0]); k++) {
            config c;
            if (fuzz_ok(ctx, kinds[k].read(ctx, object, &c))) {
                check_again(ctx, k, &c);
                good = true;
            }
        }
        if (fuzz_ok(ctx, mgi_text_config_read(ctx, root, &text))) {
            FUZZ_CHECK(!strcmp(mgi_text_kind(&text), mgi_json_find(root, "kind")->s));
            good = true;
        }
        mgi_tae_diffusers vae;
        if (fuzz_ok(ctx, mgi_tae_diffusers_config_read(ctx, root, &vae))) {
            check_again(ctx, TAE, &(config){.tae = vae.config});
            good = true;
        }
        mgi_audio_codec_config codec;
        if (fuzz_ok(ctx, mgi_audio_codec_dac_config_read(ctx, root, &codec))) {
            check_again(ctx, CODEC, &(config){.codec = codec});
            good = true;
        }
        good = read_hf_vision(ctx, root) || good;
        for (int bytes = 0; bytes < 2; bytes++)
            if (fuzz_ok(ctx, mgi_hf_text_config_read(ctx, root, bytes, &text))) {
                config c = {.clip = text.clip};
                if (text.kind != MGI_TEXT_CLIP_BPE)
                    c.t5 = text.t5;
                check_again(ctx, text.kind == MGI_TEXT_CLIP_BPE ? CLIP : T5, &c);
                good = true;
            }
    }
    mgi_json_free(ctx, root);
    return good;
}

static const fuzz_seed configs[] = {
    {.file = "examples/models/toybox/tae.json"},
    {.file = "tests/unit/vae/vae/config.json"},
    {.file = "examples/models/toybox/ul2.json"},
    {.file = "examples/models/toybox/byt5.json"},
    {.file = "examples/models/toybox/metaclip.json"},
    {.file = "examples/models/toybox/video_model.json"},
    {.text =
         "{\"channels\": [8, 16, 16], \"latent_channels\": 4, \"blocks\": 2, \"temporal\": true, "
         "\"time_strides\": [2, 1], \"norm\": \"group\", \"groups\": 4, \"attention\": true, "
         "\"tiles\": {\"frames\": 32, \"overlap\": 16}}"},
    {.text =
         "{\"channels\": [8, 16, 16], \"decoder_channels\": [16, 16, 32], \"latent_channels\": 4, "
         "\"blocks\": 2, \"temporal\": true, \"space_tile\": 64}"},
    {.text =
         "{\"layers\": 2, \"dim\": 64, \"heads\": 4, \"ff_dim\": 128, \"channels\": 4, \"patch\": "
         "[1, 2, 2], \"frames_max\": 8, \"rows_max\": 8, \"columns_max\": 8, \"text\": {\"ul2\": "
         "32, \"byt5\": 16, \"metaclip\": 24}, \"fps_prefix\": true, \"block\": \"dit\", "
         "\"activation\": \"gelu\", \"objective\": \"v_prediction\"}"},
    {.text = "{\"rank\": 8, \"alpha\": 0.1, \"base\": \"a\", \"base_hash\": \"0123456789abcdef\"}"},
    {.text = "{\"kind\": \"clip-bpe\", \"config\": {\"vocab\": 600, \"dim\": 64, \"layers\": 2, "
             "\"heads\": "
             "4, \"ff_dim\": 128, \"tokens_max\": 77, \"projection\": 32, \"activation\": "
             "\"quick_gelu\", "
             "\"tokenizer\": {\"vocab\": \"vocab.json\", \"merges\": \"merges.txt\"}}}"},
    {.text = "{\"kind\": \"t5-sentencepiece\", \"config\": {\"vocab\": 600, \"dim\": 64, "
             "\"layers\": 2, "
             "\"heads\": 4, \"head_dim\": 16, \"ff_dim\": 128, \"tokens_max\": 64, \"tokenizer\": "
             "\"text.model\", \"ffn\": \"relu\", \"norm_eps\": 1e-05}}"},
    {.text = "{\"strides\": [4, 6, 8, 10], \"dim\": 8, \"decoder_dim\": 128, \"widest\": 96, "
             "\"latent_channels\": 32, \"dilations\": [1, 3], \"hidden\": 64, \"rate\": 48000}"},
    {.text = "{\"text\": {\"kind\": \"t5-bytes\", \"config\": {\"vocab\": 259, \"dim\": 8, "
             "\"layers\": 1, "
             "\"heads\": 2, \"head_dim\": 4, \"ff_dim\": 16, \"tokens_max\": 64}}, \"decoder\": "
             "{\"dim\": 8, "
             "\"layers\": 1, \"heads\": 2, \"head_dim\": 4, \"ff_dim\": 16, \"buckets\": 6, "
             "\"tokens_max\": 64, "
             "\"ffn\": \"relu\", \"tied\": true}, \"instruction\": \"say: \"}"},
    {.file = "tests/unit/dac/dac/config.json"},
    {.file = "tests/unit/text/hf/ul2/config.json"},
    {.file = "tests/unit/text/hf/clip/config.json"},
    {.file = "tests/unit/vision/tower/config.json"},
    {.file = "tests/unit/vision/clip/preprocessor_config.json"},
    {.text = "{\"image\": 24, \"patch\": 8, \"dim\": 64, \"layers\": 2, \"heads\": 4, \"ff_dim\": "
             "128, \"projection\": 32, \"activation\": \"quick_gelu\", \"mean\": [0.5, 0.4, 0.25], "
             "\"deviation\": [0.25, 0.3, 0.5], \"norm_eps\": 0.001}"},
};

const fuzz_target fuzz_config = {
    .name = "config",
    .size_max = 4096,
    .failures = {MGEN_E_UNSUPPORTED},
    FUZZ_SEEDS(configs),
    .read = read_config,
};

/* ---- recipes ---------------------------------------------------------------------------------------- */

enum { STAGES_MAX = 12, NAME_SIZE = 256 };

/* Names of stages, as far as the input is JSON. */
static int stage_names(mgen_context *ctx, const uint8_t *data, size_t size,
                       char names[STAGES_MAX][NAME_SIZE])
{
    mgi_json *root;
    int count = 0;
    if (!fuzz_ok(ctx, mgi_json_parse(ctx, "input", (const char *)data, size, &root)))
        return 0;
    const mgi_json *stages = mgi_json_find(root, "stages");
    for (const mgi_json *e = stages ? stages->child : NULL; e && count < STAGES_MAX; e = e->next) {
        const mgi_json *name = mgi_json_find(e, "name");
        if (name && name->kind == MGI_JSON_STRING)
            snprintf(names[count++], NAME_SIZE, "%s", name->s);
    }
    mgi_json_free(ctx, root);
    return count;
}

static bool read_recipe(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    static mgi_stage stage;
    char names[STAGES_MAX][NAME_SIZE];
    int count = stage_names(ctx, data, size, names);
    bool good = count > 0;
    if (!count)
        fuzz_ok(ctx, mgi_recipe_stage(ctx, path, "none", &stage));
    for (int i = 0; i < count; i++)
        good = fuzz_ok(ctx, mgi_recipe_stage(ctx, path, names[i], &stage)) && good;
    return good;
}

static const fuzz_seed recipes[] = {
    {.text = "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": \"ad\", "
             "\"kind\": \"text_to_video\", \"start_from\": \"a\", \"adapter\": {\"rank\": 8, "
             "\"alpha\": "
             "2}, \"tae\": \"tae\", \"steps\": 4, \"batch\": 2, \"clips\": 4, \"text_encoders\": "
             "{\"ul2\": "
             "{\"from\": \"ul2\", \"frozen\": true, \"precision\": \"bf16\"}}, \"video_model\": "
             "{\"preset\": \"toybox\"}, \"optimizer\": {\"lr\": 0.001}}]}"},
    {.text = "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": \"ad\", "
             "\"kind\": \"personalizer\", \"start_from\": \"a\", \"adapter\": {\"rank\": 8}, "
             "\"tae\": \"tae\", \"steps\": 4, \"batch\": 2, \"clips\": 4, \"text_encoders\": "
             "{\"ul2\": {\"from\": \"a\", \"frozen\": true}}, "
             "\"optimizer\": {\"lr\": 0.001}}]}"},
    {.file = "examples/models/toybox/recipe.json"},
    {.file = "examples/models/toybox/recipe_gpu.json"},
    {.file = "examples/models/toybox/recipe_rewrite.json"},
    {.file = "examples/models/toybox/recipe_sound.json"},
    {.file = "examples/recipes/audio.json"},
    {.file = "examples/recipes/pictures.json"},
    {.text =
         "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": \"cl\", "
         "\"kind\": \"clip\", \"steps\": 9, \"batch\": 4, \"learn\": \"all\", \"scale\": 20, "
         "\"optimizer\": {\"lr\": 0.1}, \"text\": {\"kind\": \"clip-bpe\", \"config\": {\"vocab\": "
         "600, \"dim\": 64, \"layers\": 2, \"heads\": 4, \"ff_dim\": 128, \"tokens_max\": 77, "
         "\"projection\": 32, \"tokenizer\": {\"vocab\": \"v.json\", \"merges\": \"m.txt\"}}}, "
         "\"vision\": {\"config\": {\"image\": 16, \"patch\": 8, \"dim\": 12, \"layers\": 2, "
         "\"heads\": 2, \"ff_dim\": 16, \"projection\": 32}}, \"save_as\": \"c\", \"plan\": "
         "{\"gpus\": "
         "8}}, {\"name\": \"longer\", \"kind\": \"clip\", \"steps\": 9, \"batch\": 2, \"learn\": "
         "\"positions_and_biases\", \"tokens_max\": 256, \"optimizer\": {\"lr\": 0.1}, \"text\": "
         "{\"from\": \"a\"}, \"vision\": {\"from\": \"b\"}}]}"},
    {.text =
         "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": \"mean\", "
         "\"kind\": "
         "\"average\", \"save_as\": \"m\", \"models\": [{\"start_from\": \"a\", \"weight\": 2}, "
         "{\"start_from\": \"b\"}]}]}"},
    {.text =
         "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": \"up\", "
         "\"kind\": \"upsampler\", \"steps\": 9, \"batch\": 2, \"clips\": 8, \"tae\": \"t\", "
         "\"optimizer\": {\"lr\": 0.1}, \"text_encoders\": {\"ul2\": {\"from\": \"u\", "
         "\"frozen\": true}}, \"artifacts\": {\"tae\": \"t\", \"share\": 0.25}, \"degrade\": "
         "{\"clean\": 0, \"ringing\": 0.5, \"cutoff\": [0.5, 0.75], \"first\": {\"blur\": 1, "
         "\"sigma\": [0.5, 2], \"factor\": [0.5, 1]}, \"second\": {\"noise\": 0.5, "
         "\"deviation\": [0.5, 3], \"quality\": [40, 90]}}, \"upsampler\": {\"factor\": 2, "
         "\"transformer\": {\"layers\": 1, \"dim\": 16, \"heads\": 2, \"ff_dim\": 32, "
         "\"channels\": 4, \"condition_channels\": 4, \"patch\": [1, 2, 2], \"frames_max\": 14, "
         "\"rows_max\": 8, \"columns_max\": 8, \"text\": {\"ul2\": 16}, \"time_dim\": 16}}}]}"},
    {.text =
         "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": \"ed\", "
         "\"kind\": \"editor\", \"steps\": 9, \"batch\": 2, \"clips\": 8, \"tae\": \"t\", "
         "\"optimizer\": {\"lr\": 0.1}, \"text_encoders\": {\"ul2\": {\"from\": \"u\", "
         "\"frozen\": true}}, \"edits\": {\"pairs\": 1, \"animated\": 0.5, \"segmentation\": 0, "
         "\"text\": 2, \"backtranslated\": 1, \"back_from\": \"e\", \"back_steps\": 4}, \"drop\": "
         "0.1, \"drop_source\": 0.2, \"drop_both\": 0, \"editor\": "
         "{\"steps\": 8, \"source_guidance\": 1.25, \"transformer\": {\"layers\": 1, \"dim\": 16, "
         "\"heads\": 2, \"ff_dim\": 32, \"channels\": 4, \"condition_channels\": 4, \"tasks\": 8, "
         "\"task_dim\": 16, \"patch\": [1, 2, 2], \"frames_max\": 14, \"rows_max\": 8, "
         "\"columns_max\": 8, \"text\": {\"ul2\": 16}, \"time_dim\": 16}}}]}"},
    {.text =
         "{\"format\": \"moviegen-recipe\", \"version\": 1, \"stages\": [{\"name\": \"pe\", "
         "\"kind\": \"personalizer\", \"steps\": 9, \"batch\": 2, \"clips\": 8, \"tae\": \"t\", "
         "\"world\": {\"people\": 1}, \"optimizer\": {\"lr\": 0.1}, \"text_encoders\": {\"ul2\": "
         "{\"from\": \"u\", \"frozen\": true}}, \"photos\": {\"paired\": 1, \"cross\": 0.5}, "
         "\"vision\": {\"config\": {\"image\": 16, \"patch\": 8, \"dim\": 12, \"layers\": 2, "
         "\"heads\": 2, \"ff_dim\": 16}, \"lr_scale\": 0.5}, \"drop\": 0.1, \"drop_source\": 0.2, "
         "\"drop_both\": 0, \"personalizer\": {\"steps\": 8, \"source_guidance\": 1.25, "
         "\"transformer\": {\"layers\": 1, \"dim\": 16, \"heads\": 2, \"ff_dim\": 32, "
         "\"channels\": 4, \"reference_width\": 12, \"patch\": [1, 2, 2], \"frames_max\": 14, "
         "\"rows_max\": 8, \"columns_max\": 8, \"text\": {\"ul2\": 16}, \"time_dim\": 16}}}]}"},
};

const fuzz_target fuzz_recipe = {
    .name = "recipe",
    .size_max = 16384,
    .ending = ".json",
    .failures = {MGEN_E_INVALID, MGEN_E_UNSUPPORTED},
    FUZZ_SEEDS(recipes),
    .read = read_recipe,
};

/* ---- pipelines -------------------------------------------------------------------------------------- */

static bool read_pipeline(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_pipeline_file file;
    char dir[512];
    (void)data;
    (void)size;
    snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';
    return fuzz_ok(ctx, mgi_pipeline_file_read(ctx, dir, "input", &file));
}

static const fuzz_seed pipelines[] = {
    {.file = "examples/models/toybox/pipeline.json"},
    {.text =
         "{\"format\": \"moviegen-pipeline\", \"version\": 1, \"tae\": \"tae\", \"text\": "
         "{\"ul2\": \"a\", "
         "\"byt5\": \"b\", \"metaclip\": \"c\"}, \"video\": \"v\", \"width\": 64, \"height\": 48, "
         "\"frames\": 32, \"fps\": 8}"},
    {.text = "{\"format\": \"moviegen-pipeline\", \"version\": 1, \"video\": \"v\", "
             "\"video_adapters\": [{\"name\": \"a\"}, {\"name\": \"b\", \"scale\": -0.5}], "
             "\"width\": 64, \"height\": 48, \"frames\": 32, \"fps\": 8}"},
    {.text =
         "{\"format\": \"moviegen-pipeline\", \"version\": 1, \"editor\": \"e\", "
         "\"editor_adapters\": [{\"name\": \"a\"}], \"upsampler_adapters\": [], "
         "\"audio_adapters\": [{\"name\": \"b\"}], \"personalizer_adapters\": [{\"name\": \"c\", "
         "\"scale\": 2}], \"width\": 64, \"height\": 48, \"frames\": 32, \"fps\": 8}"},
};

const fuzz_target fuzz_pipeline = {
    .name = "pipeline",
    .size_max = 4096,
    .ending = ".json",
    FUZZ_SEEDS(pipelines),
    .failures = {MGEN_E_VERSION},
    .read = read_pipeline,
};

/* ---- manifests of checkpoints ----------------------------------------------------------------------- */

/* The same when it is written and read again. */
static bool read_manifest(mgen_context *ctx, const uint8_t *data, size_t size, const char *path)
{
    mgi_manifest m;
    mgi_json_writer w;
    const char *text;
    char check[MGI_HEAD_TEXT];
    (void)path;
    if (!fuzz_ok(ctx, mgi_manifest_parse(ctx, (const char *)data, size, &m)))
        return false;
    memcpy(check, m.head.text[MGI_HEAD_CHECK], sizeof check);
    mgi_json_writer_init(&w, ctx, 2);
    mgi_manifest_write(&w, &m);
    bool good = fuzz_must(ctx, mgi_json_text(&w, &text, &size));
    FUZZ_CHECK(!memcmp(check, m.head.text[MGI_HEAD_CHECK], sizeof check));
    mgi_json_writer_free(&w);
    mgi_manifest_free(ctx, &m);
    return good;
}

static const fuzz_seed manifests[] = {
    {.text =
         "{\"format\": \"moviegen-checkpoint\", \"version\": \"1\", \"kind\": \"autoencoder\", "
         "\"stage\": \"tae\", \"recipe\": \"0\", \"seed\": \"1\", \"parent\": \"0\", \"step\": "
         "\"3\", "
         "\"check\": \"941ae9c38d77ef2d\", \"mesh\": \"dp=1,cp=1,tp=2\", \"save\": "
         "\"0123456789abcdef\", \"shards\": [{\"rank\": 0, \"bytes\": 80, \"check\": "
         "\"0123456789abcdef\"}, {\"rank\": 1, \"bytes\": 90, \"check\": \"fedcba9876543210\"}]}"},
};

const fuzz_target fuzz_manifest = {
    .name = "manifest",
    .size_max = 4096,
    FUZZ_SEEDS(manifests),
    .failures = {MGEN_E_VERSION},
    .read = read_manifest,
};
