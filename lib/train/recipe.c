/* SPDX-License-Identifier: MIT */
#include "train/recipe_parts.h"

#include "data/dataset.h"

#include <stdio.h>
#include <string.h>

const char *const mgi_stage_kind_name[MGI_STAGE_KINDS] = {
    "autoencoder", "text_to_video", "average",      "upsampler", "editor",
    "audio_codec", "audio",         "personalizer", "rewriter",  "clip"};

const char *mgi_stage_kind_article(int32_t kind)
{
    return strchr("aeiou", mgi_stage_kind_name[kind][0]) ? "an" : "a";
}

void mgi_model_name(char out[MGI_NAME_MAX + 1], const char *set, const char *part)
{
    snprintf(out, MGI_NAME_MAX + 1, "%.63s%s%.63s", set, *set ? "_" : "", part);
}

mgen_status mgi_recipe_name(mgen_context *ctx, const mgi_json *o, const char *key, bool required,
                            char out[64])
{
    const char *text = "";
    MGI_TRY(mgi_json_get_string(ctx, o, key, required, &text));
    if (strlen(text) > 63)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" is longer than 63 bytes", key);
    if (*text && !mgi_name_ok(text))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"%s\" is \"%s\"; letters, digits and . _ - are allowed, no dot first",
                        key, text);
    strcpy(out, text);
    return MGEN_OK;
}

mgen_status mgi_recipe_object(mgen_context *ctx, const mgi_json *o, const char *key,
                              const mgi_json **out)
{
    *out = mgi_json_find(o, key);
    if (!*out)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" must be an object and is missing", key);
    if ((*out)->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"%s\" must be an object", key);
    return MGEN_OK;
}

static mgen_status read_optimizer(mgen_context *ctx, const mgi_json *o, mgi_optimizer_recipe *r)
{
    static const char *const keys[] = {
        "lr",    "lr_final", "warmup",       "schedule", "cosine_from", "patience", "beta1",
        "beta2", "eps",      "weight_decay", "clip",     "skip_factor", "ema",      NULL};
    static const char *const schedules[] = {"cosine", "constant", "plateau", "linear"};
    *r = (mgi_optimizer_recipe){.lr_final = 0.02,
                                .patience = 4,
                                .cosine_from = 0.5,
                                .beta1 = 0.9,
                                .beta2 = 0.99,
                                .eps = 1e-8,
                                .clip = 1.0,
                                .skip_factor = 8.0,
                                .ema = 0.999};
    MGI_TRY(mgi_json_only_keys(ctx, o, keys));
    MGI_TRY(mgi_json_get_real(ctx, o, "lr", true, 1e-9, 1.0, &r->lr));
    MGI_TRY(mgi_json_get_real(ctx, o, "lr_final", false, 0.0, 1.0, &r->lr_final));
    MGI_TRY(mgi_json_get_int(ctx, o, "warmup", false, 0, 1000000, &r->warmup));
    MGI_TRY(mgi_json_get_choice(ctx, o, "schedule", schedules, 4, &r->schedule));
    MGI_TRY(mgi_json_get_int(ctx, o, "patience", false, 1, 1000000, &r->patience));
    MGI_TRY(mgi_json_get_real(ctx, o, "cosine_from", false, 0.0, 1.0, &r->cosine_from));
    MGI_TRY(mgi_json_get_real(ctx, o, "beta1", false, 0.0, 0.999999, &r->beta1));
    MGI_TRY(mgi_json_get_real(ctx, o, "beta2", false, 0.0, 0.999999, &r->beta2));
    MGI_TRY(mgi_json_get_real(ctx, o, "eps", false, 1e-20, 1.0, &r->eps));
    MGI_TRY(mgi_json_get_real(ctx, o, "weight_decay", false, 0.0, 10.0, &r->weight_decay));
    MGI_TRY(mgi_json_get_real(ctx, o, "clip", false, 0.0, 1e9, &r->clip));
    MGI_TRY(mgi_json_get_real(ctx, o, "skip_factor", false, 0.0, 1e9, &r->skip_factor));
    return mgi_json_get_real(ctx, o, "ema", false, 0.0, 0.9999999, &r->ema);
}

/* Keys are those of every kind and `own`. */
static mgen_status only_keys(mgen_context *ctx, const mgi_json *o, const char *const *own)
{
    const char *keys[64] = {"name",      "kind",      "steps", "batch",          "accumulate",
                            "precision", "optimizer", "world", "validate_every", "validate_clips"};
    size_t n = 0;
    while (keys[n])
        n++;
    while (*own && n < sizeof keys / sizeof *keys - 1)
        keys[n++] = *own++;
    return mgi_json_only_keys(ctx, o, keys);
}

mgen_status mgi_recipe_common(mgen_context *ctx, const mgi_json *o, const char *const *own,
                              mgi_stage *s)
{
    static const char *const precision[] = {[MGK_F32] = "f32", [MGK_BF16] = "bf16"};
    static const char *const store[] = {"bf16", "fp8"};
    const mgi_json *optimizer, *world;
    MGI_TRY(only_keys(ctx, o, own));
    MGI_TRY(mgi_json_get_int(ctx, o, "steps", true, 1, 100000000, &s->steps));
    MGI_TRY(mgi_json_get_int(ctx, o, "batch", true, 1, 65536, &s->batch));
    s->accumulate = 1;
    MGI_TRY(mgi_json_get_int(ctx, o, "accumulate", false, 1, 65536, &s->accumulate));
    MGI_TRY(mgi_json_get_int(ctx, o, "validate_every", false, 0, 100000000, &s->validate_every));
    MGI_TRY(
        mgi_json_get_int(ctx, o, "validate_clips", false, 1, MGI_HELD_OUT_MAX, &s->validate_clips));
    MGI_TRY(mgi_json_get_choice(ctx, o, "precision", precision, 2, &s->dtype));
    MGI_TRY(mgi_json_get_choice(ctx, o, "store", store, 2, &s->fp8));
    MGI_TRY(mgi_recipe_object(ctx, o, "optimizer", &optimizer));
    MGI_TRY(read_optimizer(ctx, optimizer, &s->optimizer));
    if (mgi_json_find(o, "world")) {
        MGI_TRY(mgi_recipe_object(ctx, o, "world", &world));
        MGI_TRY(mgi_world_options_read(ctx, world, &s->world));
    }
    return s->optimizer.schedule != MGI_LR_PLATEAU || s->validate_every
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT,
                          "the \"schedule\" \"plateau\" needs \"validate_every\"");
}

/* "opl", "perceptual" and "discriminator": objects that may be absent. */
static mgen_status read_losses(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const opl_keys[] = {"weight", "r", NULL};
    static const char *const perceptual_keys[] = {"weight", "weights", NULL};
    static const char *const gan_keys[] = {"weight", "start", "channels", "optimizer", NULL};
    const mgi_json *part, *optimizer;
    s->opl_r = 3.0;
    s->gan_channels = 64;
    if (mgi_json_find(o, "opl")) {
        MGI_TRY(mgi_recipe_object(ctx, o, "opl", &part));
        MGI_TRY(mgi_json_only_keys(ctx, part, opl_keys));
        MGI_TRY(mgi_json_get_real(ctx, part, "weight", true, 0.0, 1e6, &s->opl));
        MGI_TRY(mgi_json_get_real(ctx, part, "r", false, 0.0, 1e3, &s->opl_r));
    }
    if (mgi_json_find(o, "perceptual")) {
        MGI_TRY(mgi_recipe_object(ctx, o, "perceptual", &part));
        MGI_TRY(mgi_json_only_keys(ctx, part, perceptual_keys));
        MGI_TRY(mgi_json_get_real(ctx, part, "weight", true, 0.0, 1e6, &s->perceptual));
        MGI_TRY(mgi_recipe_name(ctx, part, "weights", false, s->perceptual_file));
    }
    if (!mgi_json_find(o, "discriminator"))
        return MGEN_OK;
    MGI_TRY(mgi_recipe_object(ctx, o, "discriminator", &part));
    MGI_TRY(mgi_json_only_keys(ctx, part, gan_keys));
    MGI_TRY(mgi_json_get_real(ctx, part, "weight", true, 0.0, 1e6, &s->gan));
    MGI_TRY(mgi_json_get_int(ctx, part, "start", true, 0, 100000000, &s->gan_start));
    MGI_TRY(mgi_json_get_int(ctx, part, "channels", false, 4, 1024, &s->gan_channels));
    MGI_TRY(mgi_recipe_object(ctx, part, "optimizer", &optimizer));
    MGI_TRY(read_optimizer(ctx, optimizer, &s->gan_optimizer));
    if (s->gan_channels % 4)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"channels\" of the \"discriminator\" is %lld, no multiple of 4",
                        (long long)s->gan_channels);
    if (s->gan_optimizer.schedule == MGI_LR_PLATEAU)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "the \"discriminator\" has no validation for the \"schedule\" "
                        "\"plateau\"");
    return MGEN_OK;
}

static mgen_status read_bucket(mgen_context *ctx, const mgi_json *o, mgi_bucket *b)
{
    static const char *const keys[] = {"width", "height", "frames", "fps",
                                       "batch", "weight", "edits",  NULL};
    const bool edits = mgi_json_find(o, "edits") != NULL;
    if (o->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"buckets\" has an entry that is not an object");
    b->weight = 1.0;
    MGI_TRY(mgi_json_only_keys(ctx, o, keys));
    MGI_TRY(mgi_json_get_int(ctx, o, "width", true, 8, 4096, &b->width));
    MGI_TRY(mgi_json_get_int(ctx, o, "height", true, 8, 4096, &b->height));
    MGI_TRY(mgi_json_get_int(ctx, o, "frames", true, 1, 4096, &b->frames));
    MGI_TRY(mgi_json_get_int(ctx, o, "fps", false, 1, 240, &b->fps));
    MGI_TRY(mgi_json_get_int(ctx, o, "batch", false, 1, 65536, &b->batch));
    MGI_TRY(mgi_json_get_real(ctx, o, "weight", false, 1e-6, 1e6, &b->weight));
    if (edits)
        MGI_TRY(
            mgi_json_get_choice(ctx, o, "edits", mgi_edits_kind_name, MGI_EDITS_KINDS, &b->edits));
    b->edits += edits;
    return MGEN_OK;
}

static mgen_status read_buckets(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    const mgi_json *list = mgi_json_find(o, "buckets");
    int64_t images = 0;
    if (list && (list->kind != MGI_JSON_ARRAY || !list->child))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"buckets\" must be a list of objects");
    for (const mgi_json *e = list ? list->child : NULL; e; e = e->next) {
        if (s->bucket_count == MGI_BUCKETS_MAX)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"buckets\" has more than %d entries",
                            MGI_BUCKETS_MAX);
        MGI_TRY(read_bucket(ctx, e, &s->bucket[s->bucket_count]));
        if (s->bucket[s->bucket_count].edits && s->kind != MGI_STAGE_EDITOR)
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "\"buckets\" has an entry with \"edits\", which are an editor's");
        images += s->bucket[s->bucket_count++].frames == 1;
    }
    s->images = -1.0;
    MGI_TRY(mgi_json_get_real(ctx, o, "images", false, 0.0, 1.0, &s->images));
    if (s->images >= 0.0 && (images == 0 || images == s->bucket_count))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"images\" needs \"buckets\" of both kinds: of one frame, and of more");
    return MGEN_OK;
}

static mgen_status read_autoencoder(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {
        "tae",     "start_from", "frames", "image_every", "image_batch",   "l1",
        "mse",     "kl",         "opl",    "perceptual",  "discriminator", "freeze_encoder",
        "buckets", "images",     "plan",   NULL};
    static const char *const without[] = {"frames", "image_every", "image_batch"};
    const mgi_json *tae;
    s->l1 = 1.0;
    s->frames = 1;
    MGI_TRY(mgi_recipe_common(ctx, o, keys, s));
    MGI_TRY(mgi_recipe_gpus(ctx, o, &s->plan));
    MGI_TRY(read_buckets(ctx, o, s));
    for (int i = 0; s->bucket_count && i < 3; i++)
        if (mgi_json_find(o, without[i]))
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "\"%s\" stands beside \"buckets\", which say how long clips are",
                            without[i]);
    MGI_TRY(mgi_recipe_object(ctx, o, "tae", &tae));
    MGI_TRY(mgi_tae_config_read(ctx, tae, &s->tae));
    MGI_TRY(mgi_recipe_name(ctx, o, "start_from", false, s->start_from));
    MGI_TRY(mgi_json_get_int(ctx, o, "frames", false, 1, 4096, &s->frames));
    MGI_TRY(mgi_json_get_int(ctx, o, "image_every", false, 0, 1000000, &s->image_every));
    MGI_TRY(mgi_json_get_int(ctx, o, "image_batch", s->image_every > 0, 1, 4096, &s->image_batch));
    MGI_TRY(mgi_json_get_real(ctx, o, "l1", false, 0.0, 1e6, &s->l1));
    MGI_TRY(mgi_json_get_real(ctx, o, "mse", false, 0.0, 1e6, &s->mse));
    MGI_TRY(mgi_json_get_real(ctx, o, "kl", false, 0.0, 1e6, &s->kl));
    MGI_TRY(read_losses(ctx, o, s));
    MGI_TRY(mgi_json_get_bool(ctx, o, "freeze_encoder", false, &s->freeze_encoder));
    if (s->freeze_encoder && !s->start_from[0])
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"freeze_encoder\" needs \"start_from\": a random encoder would stay so");
    return MGEN_OK;
}

/* A list of windows of samples, each a multiple of what they overlap by. */
static mgen_status read_windows(mgen_context *ctx, const mgi_json *o, int most, int64_t *out,
                                int *count)
{
    const mgi_json *list = mgi_json_find(o, "windows");
    if (!list)
        return MGEN_OK;
    if (list->kind != MGI_JSON_ARRAY || list->i < 1 || list->i > most)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"windows\" must be a list of 1 to %d numbers", most);
    *count = 0;
    for (const mgi_json *e = list->child; e; e = e->next) {
        if (e->kind != MGI_JSON_INT || e->i < MGI_SPECTRUM_WINDOW_MIN ||
            e->i > MGI_SPECTRUM_WINDOW_MAX || e->i % MGI_SPECTRUM_OVERLAP)
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "\"windows\" has an entry that is no multiple of %d from %d to %d",
                            MGI_SPECTRUM_OVERLAP, MGI_SPECTRUM_WINDOW_MIN, MGI_SPECTRUM_WINDOW_MAX);
        out[(*count)++] = e->i;
    }
    return MGEN_OK;
}

/* A piece must have a frame of each window. */
static mgen_status check_windows(mgen_context *ctx, const mgi_stage *s, const int64_t *window,
                                 int count)
{
    int64_t samples = s->frames * mgi_audio_codec_hop(&s->sound.codec);
    for (int i = 0; i < count; i++)
        if (window[i] / MGI_SPECTRUM_OVERLAP > samples)
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "\"windows\" has %lld, more than %d times the %lld samples of a piece "
                            "(\"frames\")",
                            (long long)window[i], MGI_SPECTRUM_OVERLAP, (long long)samples);
    return MGEN_OK;
}

/* "mel" and "discriminator": objects that may be absent. */
static mgen_status read_sound_losses(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const mel_keys[] = {"weight",  "squares", "windows", "bands",
                                           "highest", "floor",   NULL};
    static const char *const gan_keys[] = {"weight",  "features",  "start", "channels",
                                           "windows", "optimizer", NULL};
    static const int64_t mel_window[] = {2048, 1024, 512, 256, 128, 64},
                         gan_window[] = {2048, 1024, 512};
    mgi_audio_codec_recipe *r = &s->sound;
    const mgi_json *part, *optimizer;
    memcpy(r->mel_window, mel_window, sizeof mel_window);
    memcpy(r->gan_window, gan_window, sizeof gan_window);
    r->mel_windows = sizeof mel_window / sizeof *mel_window;
    r->gan_windows = sizeof gan_window / sizeof *gan_window;
    r->mel_bands = 320;
    r->mel_highest = 0.5 * (double)r->codec.rate;
    r->mel_floor = 1e-7;
    s->gan_channels = 32;
    if (mgi_json_find(o, "mel")) {
        MGI_TRY(mgi_recipe_object(ctx, o, "mel", &part));
        MGI_TRY(mgi_json_only_keys(ctx, part, mel_keys));
        MGI_TRY(mgi_json_get_real(ctx, part, "weight", true, 0.0, 1e6, &r->mel));
        MGI_TRY(mgi_json_get_real(ctx, part, "squares", false, 0.0, 1e6, &r->mel_squares));
        MGI_TRY(read_windows(ctx, part, MGI_SOUND_WINDOWS_MAX, r->mel_window, &r->mel_windows));
        MGI_TRY(mgi_json_get_int(ctx, part, "bands", false, 1, MGI_MEL_WINDOW, &r->mel_bands));
        MGI_TRY(mgi_json_get_real(ctx, part, "highest", false, 100.0, 1e6, &r->mel_highest));
        MGI_TRY(mgi_json_get_real(ctx, part, "floor", false, 1e-20, 1.0, &r->mel_floor));
        MGI_TRY(check_windows(ctx, s, r->mel_window, r->mel_windows));
    }
    if (!mgi_json_find(o, "discriminator"))
        return MGEN_OK;
    MGI_TRY(mgi_recipe_object(ctx, o, "discriminator", &part));
    MGI_TRY(mgi_json_only_keys(ctx, part, gan_keys));
    MGI_TRY(mgi_json_get_real(ctx, part, "weight", true, 0.0, 1e6, &s->gan));
    MGI_TRY(mgi_json_get_real(ctx, part, "features", false, 0.0, 1e6, &r->features));
    MGI_TRY(mgi_json_get_int(ctx, part, "start", true, 0, 100000000, &s->gan_start));
    MGI_TRY(mgi_json_get_int(ctx, part, "channels", false, 1, 1024, &s->gan_channels));
    MGI_TRY(read_windows(ctx, part, MGI_SOUND_SCALES_MAX, r->gan_window, &r->gan_windows));
    MGI_TRY(check_windows(ctx, s, r->gan_window, r->gan_windows));
    MGI_TRY(mgi_recipe_object(ctx, part, "optimizer", &optimizer));
    MGI_TRY(read_optimizer(ctx, optimizer, &s->gan_optimizer));
    return s->gan_optimizer.schedule != MGI_LR_PLATEAU
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT,
                          "the \"discriminator\" has no validation for the \"schedule\" "
                          "\"plateau\"");
}

static mgen_status read_audio_codec(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {
        "codec", "start_from",    "frames",         "l1",   "mse", "mel",
        "kl",    "discriminator", "freeze_encoder", "plan", NULL};
    const mgi_json *codec;
    s->l1 = 1.0;
    s->frames = 24;
    MGI_TRY(mgi_recipe_common(ctx, o, keys, s));
    MGI_TRY(mgi_recipe_gpus(ctx, o, &s->plan));
    MGI_TRY(mgi_recipe_object(ctx, o, "codec", &codec));
    mgen_status status = mgi_audio_codec_config_read(ctx, codec, &s->sound.codec);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"codec\"");
    MGI_TRY(mgi_recipe_name(ctx, o, "start_from", false, s->start_from));
    MGI_TRY(mgi_json_get_int(ctx, o, "frames", false, 1, 65536, &s->frames));
    MGI_TRY(mgi_json_get_real(ctx, o, "l1", false, 0.0, 1e6, &s->l1));
    MGI_TRY(mgi_json_get_real(ctx, o, "mse", false, 0.0, 1e6, &s->mse));
    MGI_TRY(mgi_json_get_real(ctx, o, "kl", false, 0.0, 1e6, &s->kl));
    MGI_TRY(read_sound_losses(ctx, o, s));
    MGI_TRY(mgi_json_get_bool(ctx, o, "freeze_encoder", false, &s->freeze_encoder));
    return !s->freeze_encoder || s->start_from[0]
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT,
                          "\"freeze_encoder\" needs \"start_from\": a random encoder would stay "
                          "so");
}

/* A new encoder, or a model that is there already. */
static mgen_status read_text_encoder(mgen_context *ctx, const mgi_json *o, mgi_text_recipe *r)
{
    static const char *const keys[] = {"kind", "config", "from", "frozen", "precision", NULL};
    static const char *const new_keys[] = {"kind", "config", NULL};
    static const char *const from_keys[] = {"from", "frozen", "precision", NULL};
    bool from = mgi_json_find(o, "from") != NULL;
    MGI_TRY(mgi_json_only_keys(ctx, o, keys));
    MGI_TRY(mgi_json_get_bool(ctx, o, "frozen", false, &r->frozen));
    MGI_TRY(mgi_recipe_hold(ctx, o, r->frozen, &r->hold));
    MGI_TRY(mgi_json_only_keys(ctx, o, from ? from_keys : new_keys));
    if (!from)
        return mgi_text_config_read(ctx, o, &r->config);
    MGI_TRY(mgi_recipe_name(ctx, o, "from", true, r->from));
    if (!r->from[0])
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"from\" is empty; it names a model of the folder");
    if (r->frozen)
        strcpy(r->name, r->from);
    return MGEN_OK;
}

/* "text_encoders", by role; or "text_encoder": one of bytes, of the first role. */
static mgen_status read_text_encoders(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {"ul2", "byt5", "metaclip", NULL};
    const mgi_json *all = mgi_json_find(o, "text_encoders"), *one;
    if (!all) {
        strcpy(s->text[MGI_ROLE_UL2].name, "text_encoder");
        MGI_TRY(mgi_recipe_object(ctx, o, "text_encoder", &one));
        if (mgi_json_find(one, "tokenizer"))
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "\"text_encoder\" takes bytes; \"text_encoders\" may have a tokenizer");
        return mgi_t5_config_read(ctx, one, &s->text[MGI_ROLE_UL2].config.t5);
    }
    if (all->kind != MGI_JSON_OBJECT || !all->child || mgi_json_find(o, "text_encoder"))
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"text_encoders\" must be an object of roles, one at least, and stands "
                        "instead of \"text_encoder\"");
    MGI_TRY(mgi_json_only_keys(ctx, all, keys));
    for (int i = 0; i < MGI_ROLES; i++) {
        if (!mgi_json_find(all, keys[i]))
            continue;
        strcpy(s->text[i].name, keys[i]);
        MGI_TRY(mgi_recipe_object(ctx, all, keys[i], &one));
        mgen_status status = read_text_encoder(ctx, one, &s->text[i]);
        if (status != MGEN_OK)
            return mgi_fail_context(ctx, status, "\"%s\"", keys[i]);
    }
    return MGEN_OK;
}

/* "times": an object that may be absent; the report's are sigmoid(normal(0, 1)). */
static mgen_status read_times(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {"mean", "deviation", NULL};
    const mgi_json *part;
    if (!mgi_json_find(o, "times"))
        return MGEN_OK;
    MGI_TRY(mgi_recipe_object(ctx, o, "times", &part));
    MGI_TRY(mgi_json_only_keys(ctx, part, keys));
    MGI_TRY(mgi_json_get_real(ctx, part, "mean", false, -8.0, 8.0, &s->time_mean));
    return mgi_json_get_real(ctx, part, "deviation", false, 0.01, 8.0, &s->time_deviation);
}

/* What text to video, the upsampler, the editor and the personalizer have in common. */
static mgen_status read_flow(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const recompute[] = {"none", "selective", "full"};
    s->drop = 0.1;
    MGI_TRY(mgi_recipe_name(ctx, o, "tae", true, s->tae_name));
    MGI_TRY(mgi_recipe_name(ctx, o, "start_from", false, s->start_from));
    MGI_TRY(mgi_recipe_name(ctx, o, "save_as", false, s->save_as));
    MGI_TRY(mgi_recipe_plan(ctx, o, &s->plan));
    MGI_TRY(read_buckets(ctx, o, s));
    MGI_TRY(read_text_encoders(ctx, o, s));
    MGI_TRY(mgi_json_get_choice(ctx, o, "recompute", recompute, 3, &s->recompute));
    MGI_TRY(mgi_json_get_int(ctx, o, "clips", true, 1, 1 << 20, &s->clips));
    MGI_TRY(read_times(ctx, o, s));
    return mgi_json_get_real(ctx, o, "drop", false, 0.0, 1.0, &s->drop);
}

static mgen_status read_text_to_video(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {
        "tae",        "text_encoder", "text_encoders", "video_model", "clips",     "drop",
        "start_from", "save_as",      "buckets",       "images",      "recompute", "store",
        "times",      "plan",         "prefer",        "adapter",     NULL};
    const mgi_json *part;
    MGI_TRY(mgi_recipe_common(ctx, o, keys, s));
    MGI_TRY(read_flow(ctx, o, s));
    MGI_TRY(mgi_recipe_prefer(ctx, o, s));
    MGI_TRY(mgi_recipe_adapter(ctx, o, s));
    if (s->adapter.rank && !mgi_json_find(o, "video_model"))
        return MGEN_OK; /* that of the model which it is to change */
    MGI_TRY(mgi_recipe_object(ctx, o, "video_model", &part));
    MGI_TRY(mgi_vt_config_read(ctx, part, &s->video));
    return mgi_recipe_video_ok(ctx, s);
}

mgen_status mgi_recipe_video_ok(mgen_context *ctx, const mgi_stage *s)
{
    const bool times = s->time_mean != 0.0 || s->time_deviation != 0.0;
    if (times && s->video.objective == MGI_VT_V_PREDICTION)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"times\" are of flow matching; \"v_prediction\" draws its levels evenly");
    return !s->video.condition && !s->video.reference
               ? MGEN_OK
               : mgi_fail(
                     ctx, MGEN_E_CORRUPT,
                     "\"video_model\" has \"condition_channels\" or \"reference_width\", for "
                     "which nothing is seen here; a stage of the kind \"upsampler\" or "
                     "\"editor\" has a condition, and one of the kind \"personalizer\" photos");
}

/* "artifacts": an object that may be absent. */
static mgen_status read_artifacts(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {"tae", "share", NULL};
    const mgi_json *part;
    if (!mgi_json_find(o, "artifacts"))
        return MGEN_OK;
    s->artifacts_share = 0.5;
    MGI_TRY(mgi_recipe_object(ctx, o, "artifacts", &part));
    MGI_TRY(mgi_json_only_keys(ctx, part, keys));
    MGI_TRY(mgi_recipe_name(ctx, part, "tae", true, s->artifacts));
    MGI_TRY(mgi_json_get_real(ctx, part, "share", false, 0.0, 1.0, &s->artifacts_share));
    return s->artifacts[0] ? MGEN_OK
                           : mgi_fail(ctx, MGEN_E_CORRUPT, "\"tae\" of \"artifacts\" is empty");
}

/* "degrade": an object that may be absent. */
static mgen_status read_degrade(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    const mgi_json *part;
    if (!mgi_json_find(o, "degrade"))
        return MGEN_OK;
    MGI_TRY(mgi_recipe_object(ctx, o, "degrade", &part));
    mgen_status status = mgi_degrade_options_read(ctx, part, &s->degrade);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "\"degrade\"");
}

/* The same, with the text encoders of the folder's pipeline: it has no room for others. */
mgen_status mgi_recipe_frozen(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    if (!mgi_json_find(o, "text_encoders"))
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"text_encoders\" is missing");
    MGI_TRY(read_flow(ctx, o, s));
    for (int i = 0; i < MGI_ROLES; i++)
        if (s->text[i].name[0] && !s->text[i].frozen)
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "\"%s\": %s %s takes text encoders of the folder as they are: "
                            "{\"from\": NAME, \"frozen\": true}",
                            mgi_role_key[i], mgi_stage_kind_article(s->kind),
                            mgi_stage_kind_name[s->kind]);
    return MGEN_OK;
}

static mgen_status read_upsampler(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {
        "tae",        "upsampler", "artifacts", "degrade", "text_encoders", "clips", "drop",
        "start_from", "save_as",   "buckets",   "images",  "recompute",     "store", "times",
        "plan",       "adapter",   NULL};
    const mgi_json *part;
    MGI_TRY(mgi_recipe_common(ctx, o, keys, s));
    MGI_TRY(mgi_recipe_frozen(ctx, o, s));
    MGI_TRY(read_artifacts(ctx, o, s));
    MGI_TRY(read_degrade(ctx, o, s));
    MGI_TRY(mgi_recipe_adapter(ctx, o, s));
    if (s->adapter.rank && !mgi_json_find(o, "upsampler"))
        return MGEN_OK; /* that of the model which it is to change */
    MGI_TRY(mgi_recipe_object(ctx, o, "upsampler", &part));
    mgen_status status = mgi_upsampler_config_read_with(ctx, part, s->tae_name, &s->upsampler);
    if (status != MGEN_OK)
        return mgi_fail_context(ctx, status, "\"upsampler\"");
    s->video = s->upsampler.video;
    return MGEN_OK;
}

mgen_status mgi_recipe_drops(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    s->drop = mgi_json_find(o, "drop") ? s->drop : 0.05;
    s->drop_source = s->drop_both = 0.05;
    MGI_TRY(mgi_json_get_real(ctx, o, "drop_source", false, 0.0, 1.0, &s->drop_source));
    MGI_TRY(mgi_json_get_real(ctx, o, "drop_both", false, 0.0, 1.0, &s->drop_both));
    return s->drop + s->drop_source + s->drop_both <= 1.0
               ? MGEN_OK
               : mgi_fail(
                     ctx, MGEN_E_CORRUPT,
                     "\"drop\", \"drop_source\" and \"drop_both\" are shares of the same clips "
                     "and cannot be more than 1 together");
}

static mgen_status read_lengths(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {"seconds", "fps", "weight", NULL};
    const mgi_json *list = mgi_json_find(o, "lengths");
    if (!list || list->kind != MGI_JSON_ARRAY || !list->child)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"lengths\" must be a list of objects");
    for (const mgi_json *e = list->child; e; e = e->next) {
        if (s->lengths == MGI_AUDIO_LENGTHS_MAX)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"lengths\" has more than %d entries",
                            MGI_AUDIO_LENGTHS_MAX);
        if (e->kind != MGI_JSON_OBJECT)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"lengths\" has an entry that is not an object");
        mgi_audio_length *l = &s->length[s->lengths++];
        *l = (mgi_audio_length){.fps = MGI_DATASET_FPS, .weight = 1.0};
        MGI_TRY(mgi_json_only_keys(ctx, e, keys));
        MGI_TRY(mgi_json_get_real(ctx, e, "seconds", true, 0.01, 3600.0, &l->seconds));
        MGI_TRY(mgi_json_get_int(ctx, e, "fps", false, 1, 240, &l->fps));
        MGI_TRY(mgi_json_get_real(ctx, e, "weight", false, 1e-6, 1e6, &l->weight));
    }
    return MGEN_OK;
}

static mgen_status read_audio(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {
        "codec",     "audio",     "text",      "vision",        "lengths",    "clips",
        "drop",      "drop_film", "drop_text", "nothing_heard", "start_from", "save_as",
        "recompute", "store",     "times",     "plan",          "adapter",    NULL};
    static const char *const recompute[] = {"none", "selective", "full"};
    const bool adapts =
        mgi_json_find(o, "adapter") != NULL; /* all but the codec may be its model's */
    const mgi_json *part;
    mgen_status status;
    MGI_TRY(mgi_recipe_common(ctx, o, keys, s));
    MGI_TRY(mgi_recipe_name(ctx, o, "codec", true, s->codec));
    MGI_TRY(mgi_recipe_name(ctx, o, "start_from", false, s->start_from));
    MGI_TRY(mgi_recipe_name(ctx, o, "save_as", false, s->save_as));
    MGI_TRY(mgi_recipe_plan(ctx, o, &s->plan));
    MGI_TRY(mgi_json_get_choice(ctx, o, "recompute", recompute, 3, &s->recompute));
    MGI_TRY(mgi_json_get_int(ctx, o, "clips", true, 1, 1 << 20, &s->clips));
    MGI_TRY(read_lengths(ctx, o, s));
    MGI_TRY(read_times(ctx, o, s));
    s->drop = 0.2; /* the report's shares */
    s->drop_film = s->drop_text = 0.1;
    s->nothing_heard = 0.5;
    MGI_TRY(mgi_json_get_real(ctx, o, "drop", false, 0.0, 1.0, &s->drop));
    MGI_TRY(mgi_json_get_real(ctx, o, "drop_film", false, 0.0, 1.0, &s->drop_film));
    MGI_TRY(mgi_json_get_real(ctx, o, "drop_text", false, 0.0, 1.0, &s->drop_text));
    MGI_TRY(mgi_json_get_real(ctx, o, "nothing_heard", false, 0.0, 1.0, &s->nothing_heard));
    strcpy(s->text[MGI_ROLE_UL2].name, "audio_text");
    s->text[MGI_ROLE_UL2].frozen = s->vision.frozen = adapts;
    if (!adapts || mgi_json_find(o, "text")) {
        s->text[MGI_ROLE_UL2].frozen = false;
        MGI_TRY(mgi_recipe_object(ctx, o, "text", &part));
        status = read_text_encoder(ctx, part, &s->text[MGI_ROLE_UL2]);
        if (status != MGEN_OK)
            return mgi_fail_context(ctx, status, "\"text\"");
    }
    if (mgi_json_find(o, "vision")) {
        s->vision.frozen = false;
        MGI_TRY(mgi_recipe_object(ctx, o, "vision", &part));
        status = mgi_recipe_vision(ctx, part, false, &s->vision);
        if (status != MGEN_OK)
            return mgi_fail_context(ctx, status, "\"vision\"");
        strcpy(s->audio.vision, s->vision.frozen ? s->vision.from : "audio_vision");
    }
    MGI_TRY(mgi_recipe_adapter(ctx, o, s));
    if (adapts && !mgi_json_find(o, "audio"))
        return MGEN_OK; /* that of the model which it is to change */
    MGI_TRY(mgi_recipe_object(ctx, o, "audio", &part));
    status = mgi_audio_config_read_with(ctx, part, &s->audio);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "\"audio\"");
}

static mgen_status read_average(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    static const char *const keys[] = {"name", "kind", "models", "save_as", NULL};
    static const char *const model_keys[] = {"start_from", "weight", NULL};
    const mgi_json *list = mgi_json_find(o, "models");
    s->steps = 1;
    MGI_TRY(mgi_json_only_keys(ctx, o, keys));
    MGI_TRY(mgi_recipe_name(ctx, o, "save_as", false, s->save_as));
    if (!list || list->kind != MGI_JSON_ARRAY || !list->child)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"models\" must be a list of objects");
    for (const mgi_json *e = list->child; e; e = e->next) {
        int64_t i = s->average_count++;
        if (i == MGI_AVERAGE_MAX)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"models\" has more than %d entries",
                            MGI_AVERAGE_MAX);
        if (e->kind != MGI_JSON_OBJECT)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"models\" has an entry that is not an object");
        s->average_weight[i] = 1.0;
        MGI_TRY(mgi_json_only_keys(ctx, e, model_keys));
        MGI_TRY(mgi_recipe_name(ctx, e, "start_from", true, s->average[i]));
        MGI_TRY(mgi_json_get_real(ctx, e, "weight", false, 1e-6, 1e6, &s->average_weight[i]));
        if (!s->average[i][0])
            return mgi_fail(ctx, MGEN_E_CORRUPT, "\"start_from\" is empty");
    }
    return MGEN_OK;
}

static mgen_status read_stage(mgen_context *ctx, const mgi_json *o, mgi_stage *s)
{
    const char *kind = NULL;
    memset(s, 0, sizeof *s);
    MGI_TRY(mgi_recipe_name(ctx, o, "name", true, s->name));
    MGI_TRY(mgi_json_get_string(ctx, o, "kind", true, &kind));
    MGI_TRY(mgi_json_get_choice(ctx, o, "kind", mgi_stage_kind_name, MGI_STAGE_KINDS, &s->kind));
    return s->kind == MGI_STAGE_AVERAGE        ? read_average(ctx, o, s)
           : s->kind == MGI_STAGE_AUTOENCODER  ? read_autoencoder(ctx, o, s)
           : s->kind == MGI_STAGE_UPSAMPLER    ? read_upsampler(ctx, o, s)
           : s->kind == MGI_STAGE_EDITOR       ? mgi_recipe_editor(ctx, o, s)
           : s->kind == MGI_STAGE_AUDIO_CODEC  ? read_audio_codec(ctx, o, s)
           : s->kind == MGI_STAGE_AUDIO        ? read_audio(ctx, o, s)
           : s->kind == MGI_STAGE_REWRITER     ? mgi_recipe_rewriter(ctx, o, s)
           : s->kind == MGI_STAGE_PERSONALIZER ? mgi_recipe_personalizer(ctx, o, s)
           : s->kind == MGI_STAGE_CLIP         ? mgi_recipe_clip(ctx, o, s)
                                               : read_text_to_video(ctx, o, s);
}

static mgen_status stages_of(mgen_context *ctx, const mgi_json *root, const mgi_json **out)
{
    static const char *const keys[] = {"format", "version", "stages", NULL};
    const char *format = NULL;
    int64_t version = 0;
    if (root->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "is not a JSON object");
    MGI_TRY(mgi_json_only_keys(ctx, root, keys));
    MGI_TRY(mgi_json_get_string(ctx, root, "format", true, &format));
    MGI_TRY(mgi_json_get_int(ctx, root, "version", true, 1, 1, &version));
    const mgi_json *stages = mgi_json_find(root, "stages");
    if (strcmp(format, "moviegen-recipe") || !stages || stages->kind != MGI_JSON_ARRAY)
        return mgi_fail(
            ctx, MGEN_E_CORRUPT,
            "is not a recipe: \"format\" must be \"moviegen-recipe\" and \"stages\" a list");
    *out = stages->child;
    return MGEN_OK;
}

/* The name of entry `number` of "stages". */
static mgen_status name_of(mgen_context *ctx, const mgi_json *e, int64_t number, const char **name)
{
    if (e->kind != MGI_JSON_OBJECT)
        return mgi_fail(ctx, MGEN_E_CORRUPT, "\"stages\" has an entry that is not an object");
    mgen_status status = mgi_json_get_string(ctx, e, "name", true, name);
    return status == MGEN_OK ? status
                             : mgi_fail_context(ctx, status, "stage %lld", (long long)number);
}

static mgen_status find_stage(mgen_context *ctx, const mgi_json *root, const char *name,
                              mgi_stage *out)
{
    const mgi_json *found = NULL, *stages;
    int64_t number = 0, place = 0;
    char known[512] = "";
    MGI_TRY(stages_of(ctx, root, &stages));
    for (const mgi_json *e = stages; e; e = e->next) {
        const char *text = "";
        MGI_TRY(name_of(ctx, e, ++number, &text));
        if (!strcmp(text, name) && found)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "two stages are named \"%.63s\"", name);
        if (!strcmp(text, name)) {
            found = e;
            place = number;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s\"%.63s\"", used ? ", " : "", text);
    }
    if (!found)
        return mgi_fail(ctx, MGEN_E_INVALID, "has no stage \"%.63s\"; it has %s", name,
                        *known ? known : "none");
    mgen_status status = read_stage(ctx, found, out);
    return status == MGEN_OK
               ? status
               : mgi_fail_context(ctx, status, "stage %lld \"%.63s\"", (long long)place, name);
}

/* `path` has been opened: it fits. */
static void take_folder(const char *path, char folder[MGI_PATH_MAX + 1])
{
    const char *slash = strrchr(path, '/');
    if (slash)
        snprintf(folder, MGI_PATH_MAX + 1, "%.*s", (int)(slash - path) + (slash == path), path);
    else
        strcpy(folder, ".");
}

static mgen_status open_recipe(mgen_context *ctx, const char *path, mgi_json **root)
{
    mgi_file text;
    MGI_TRY(mgi_file_open(ctx, path, &text));
    mgen_status status = mgi_json_parse(ctx, path, (const char *)text.data, text.size, root);
    mgi_file_close(ctx, &text);
    return status;
}

mgen_status mgi_recipe_stage(mgen_context *ctx, const char *path, const char *name, mgi_stage *out)
{
    mgi_json *root = NULL;
    MGI_TRY(open_recipe(ctx, path, &root));
    mgen_status status = find_stage(ctx, root, name, out);
    mgi_json_free(ctx, root);
    take_folder(path, out->folder);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s", path);
}

static mgen_status take_names(mgen_context *ctx, const mgi_json *root,
                              char names[MGI_RECIPE_STAGES_MAX][64], int64_t *count)
{
    const mgi_json *stages;
    MGI_TRY(stages_of(ctx, root, &stages));
    for (const mgi_json *e = stages; e; e = e->next) {
        const char *text = "";
        MGI_TRY(name_of(ctx, e, *count + 1, &text));
        if (*count == MGI_RECIPE_STAGES_MAX)
            return mgi_fail(ctx, MGEN_E_UNSUPPORTED, "has more than %d stages",
                            MGI_RECIPE_STAGES_MAX);
        MGI_TRY(mgi_recipe_name(ctx, e, "name", true, names[(*count)++]));
    }
    return MGEN_OK;
}

mgen_status mgi_recipe_names(mgen_context *ctx, const char *path,
                             char names[MGI_RECIPE_STAGES_MAX][64], int64_t *count)
{
    mgi_json *root = NULL;
    *count = 0;
    MGI_TRY(open_recipe(ctx, path, &root));
    mgen_status status = take_names(ctx, root, names, count);
    mgi_json_free(ctx, root);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "%s", path);
}
