/* SPDX-License-Identifier: MIT */
#include "train/checkpoint_head.h"

#include "core/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const mgi_head_field[MGI_HEAD_FIELDS] = {"format", "version", "kind", "stage", "recipe",
                                                     "seed",   "parent",  "step", "check"};

/* ---- the recipe's hash ------------------------------------------------------------------------ */

/* Exact: the writer's numbers are those of a float. */
static void put_exact(mgi_json_writer *w, const char *key, double value)
{
    char text[32];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    snprintf(text, sizeof text, "%016" PRIx64, bits);
    mgi_json_put_string(w, key, text);
}

static void put_optimizer(mgi_json_writer *w, const mgi_optimizer_recipe *r)
{
    put_exact(w, "lr", r->lr);
    put_exact(w, "lr_final", r->lr_final);
    mgi_json_put_int(w, "warmup", r->warmup);
    put_exact(w, "cosine_from", r->cosine_from);
    if (r->schedule != MGI_LR_COSINE)
        mgi_json_put_int(w, "schedule", r->schedule);
    put_exact(w, "beta1", r->beta1);
    put_exact(w, "beta2", r->beta2);
    put_exact(w, "eps", r->eps);
    put_exact(w, "weight_decay", r->weight_decay);
    put_exact(w, "clip", r->clip);
    put_exact(w, "skip_factor", r->skip_factor);
    put_exact(w, "ema", r->ema);
}

static void put_buckets(mgi_json_writer *w, const mgi_stage *s)
{
    for (int64_t i = 0; i < s->bucket_count; i++) {
        const mgi_bucket *b = &s->bucket[i];
        mgi_json_open(w, "bucket", '{');
        mgi_json_put_int(w, "width", b->width);
        mgi_json_put_int(w, "height", b->height);
        mgi_json_put_int(w, "frames", b->frames);
        mgi_json_put_int(w, "fps", b->fps);
        mgi_json_put_int(w, "batch", b->batch);
        put_exact(w, "weight", b->weight);
        if (b->edits)
            mgi_json_put_string(w, "edits", mgi_edits_kind_name[b->edits - 1]);
        mgi_json_close(w, '}');
    }
    if (s->bucket_count)
        put_exact(w, "images", s->images);
}

static void put_autoencoder(mgi_json_writer *w, const mgi_stage *s)
{
    mgi_json_put_string(w, "start_from", s->start_from);
    mgi_json_put_int(w, "frames", s->frames);
    mgi_json_put_int(w, "image_every", s->image_every);
    mgi_json_put_int(w, "image_batch", s->image_batch);
    put_exact(w, "l1", s->l1);
    put_exact(w, "mse", s->mse);
    put_exact(w, "kl", s->kl);
    if (s->freeze_encoder)
        mgi_json_put_bool(w, "freeze_encoder", true);
    put_buckets(w, s);
    if (s->opl > 0.0) {
        put_exact(w, "opl", s->opl);
        put_exact(w, "opl_r", s->opl_r);
    }
    if (s->perceptual > 0.0)
        put_exact(w, "perceptual", s->perceptual);
    if (s->gan > 0.0) {
        put_exact(w, "gan", s->gan);
        mgi_json_put_int(w, "gan_start", s->gan_start);
        mgi_json_put_int(w, "gan_channels", s->gan_channels);
        mgi_json_open(w, "gan_optimizer", '{');
        put_optimizer(w, &s->gan_optimizer);
        mgi_json_close(w, '}');
    }
}

static void put_windows(mgi_json_writer *w, const char *key, const int64_t *window, int count)
{
    mgi_json_open(w, key, '[');
    for (int i = 0; i < count; i++)
        mgi_json_put_int(w, NULL, window[i]);
    mgi_json_close(w, ']');
}

static void put_audio_codec(mgi_json_writer *w, const mgi_stage *s)
{
    const mgi_audio_codec_recipe *r = &s->sound;
    mgi_json_open(w, "codec", '{');
    mgi_audio_codec_config_write(w, &r->codec);
    mgi_json_close(w, '}');
    mgi_json_put_string(w, "start_from", s->start_from);
    mgi_json_put_int(w, "frames", s->frames);
    put_exact(w, "l1", s->l1);
    put_exact(w, "mse", s->mse);
    put_exact(w, "kl", s->kl);
    mgi_json_put_bool(w, "freeze_encoder", s->freeze_encoder);
    put_exact(w, "mel", r->mel);
    put_exact(w, "squares", r->mel_squares);
    mgi_json_put_int(w, "bands", r->mel_bands);
    put_exact(w, "highest", r->mel_highest);
    put_exact(w, "floor", r->mel_floor);
    put_windows(w, "windows", r->mel_window, r->mel_windows);
    if (s->gan > 0.0) {
        put_exact(w, "gan", s->gan);
        put_exact(w, "features", r->features);
        mgi_json_put_int(w, "gan_start", s->gan_start);
        mgi_json_put_int(w, "gan_channels", s->gan_channels);
        put_windows(w, "gan_windows", r->gan_window, r->gan_windows);
        mgi_json_open(w, "gan_optimizer", '{');
        put_optimizer(w, &s->gan_optimizer);
        mgi_json_close(w, '}');
    }
}

/* Of an encoder; f32, as before there was a choice, is not said. */
static void put_hold(mgi_json_writer *w, const char *key, int32_t hold)
{
    if (hold != MGI_HOLD_F32)
        mgi_json_put_string(w, key, "bf16");
}

static void put_texts(mgi_json_writer *w, const mgi_stage *s)
{
    for (int i = 0; i < MGI_ROLES; i++) {
        const mgi_text_recipe *t = &s->text[i];
        if (!t->name[0])
            continue;
        mgi_json_open(w, mgi_role_key[i], '{');
        mgi_json_put_string(w, "name", t->name);
        mgi_json_put_string(w, "from", t->from);
        mgi_json_put_bool(w, "frozen", t->frozen);
        put_hold(w, "precision", t->hold);
        mgi_json_put_string(w, "kind", mgi_text_kind(&t->config));
        mgi_text_config_write(w, &t->config);
        mgi_json_close(w, '}');
    }
}

static void put_times(mgi_json_writer *w, const mgi_stage *s)
{
    if (s->time_mean != 0.0 || s->time_deviation != 0.0) {
        put_exact(w, "time_mean", s->time_mean);
        put_exact(w, "time_deviation", s->time_deviation);
    }
}

static void put_prefer(mgi_json_writer *w, const mgi_prefer_recipe *p)
{
    mgi_json_open(w, "prefer", '{');
    put_exact(w, "strength", p->strength);
    mgi_json_put_int(w, "prompts", p->prompts);
    mgi_json_put_int(w, "films", p->films);
    mgi_json_put_int(w, "steps", p->steps);
    put_exact(w, "guidance_to", p->guidance_to);
    mgi_json_close(w, '}');
}

static void put_adapter(mgi_json_writer *w, const mgi_adapter_recipe *a)
{
    mgi_json_open(w, "adapter", '{');
    mgi_json_put_int(w, "rank", a->rank);
    put_exact(w, "alpha", a->alpha);
    mgi_json_close(w, '}');
}

static void put_text_to_video(mgi_json_writer *w, const mgi_stage *s)
{
    mgi_json_put_string(w, "tae_name", s->tae_name);
    put_texts(w, s);
    mgi_json_open(w, "video", '{');
    mgi_vt_config_write(w, &s->video);
    mgi_json_close(w, '}');
    mgi_json_put_int(w, "clips", s->clips);
    put_exact(w, "drop", s->drop);
    put_times(w, s);
    if (s->start_from[0])
        mgi_json_put_string(w, "start_from", s->start_from);
    if (s->prefer.on)
        put_prefer(w, &s->prefer);
    if (s->adapter.rank)
        put_adapter(w, &s->adapter);
    put_buckets(w, s);
}

static void put_upsampler(mgi_json_writer *w, const mgi_stage *s)
{
    static const mgi_degrade_options none;
    const mgi_upsampler_config *u = &s->upsampler;
    char hash[32]; /* of floats without gaps */
    snprintf(hash, sizeof hash, "%016" PRIx64, mgi_hash64(&s->degrade, sizeof s->degrade, 0));
    mgi_json_put_int(w, "factor", u->factor);
    mgi_json_put_int(w, "window", u->frames);
    mgi_json_put_int(w, "overlap", u->overlap);
    mgi_json_put_int(w, "sampler_steps", u->steps);
    if (s->artifacts[0]) {
        mgi_json_put_string(w, "artifacts", s->artifacts);
        put_exact(w, "artifacts_share", s->artifacts_share);
    }
    if (memcmp(&s->degrade, &none, sizeof none))
        mgi_json_put_string(w, "degrade", hash);
    put_text_to_video(w, s);
}

static void put_editor(mgi_json_writer *w, const mgi_stage *s)
{
    put_exact(w, "source_guidance", (double)s->editor.source_guidance);
    mgi_json_put_int(w, "sampler_steps", s->editor.steps);
    for (int i = 0; i < MGI_EDITS_KINDS; i++)
        if (i != MGI_EDITS_BACK || s->edits[i] > 0.0)
            put_exact(w, mgi_edits_kind_name[i], s->edits[i]);
    if (s->back_from[0]) {
        mgi_json_put_string(w, "back_from", s->back_from);
        mgi_json_put_int(w, "back_steps", s->back_steps);
    }
    put_exact(w, "drop_source", s->drop_source);
    put_exact(w, "drop_both", s->drop_both);
    put_text_to_video(w, s);
}

static void put_vision(mgi_json_writer *w, const mgi_vision_recipe *v)
{
    mgi_json_put_string(w, "vision_from", v->from);
    mgi_json_put_bool(w, "vision_frozen", v->frozen);
    put_hold(w, "vision_precision", v->hold);
    mgi_json_open(w, "vision", '{');
    mgi_clip_vision_config_write(w, &v->config);
    mgi_json_close(w, '}');
}

static void put_personalizer(mgi_json_writer *w, const mgi_stage *s)
{
    put_exact(w, "source_guidance", (double)s->personalizer.source_guidance);
    mgi_json_put_int(w, "sampler_steps", s->personalizer.steps);
    put_vision(w, &s->vision);
    put_exact(w, "vision_lr_scale", s->vision.lr_scale);
    put_exact(w, "paired", s->photos[0]);
    put_exact(w, "cross", s->photos[1]);
    put_exact(w, "drop_source", s->drop_source);
    put_exact(w, "drop_both", s->drop_both);
    put_text_to_video(w, s);
}

static void put_audio(mgi_json_writer *w, const mgi_stage *s)
{
    mgi_json_put_string(w, "codec", s->codec);
    put_texts(w, s);
    mgi_json_open(w, "audio", '{');
    mgi_audio_config_write(w, &s->audio);
    mgi_json_close(w, '}');
    if (s->audio.vision[0])
        put_vision(w, &s->vision);
    for (int64_t i = 0; i < s->lengths; i++) {
        put_exact(w, "seconds", s->length[i].seconds);
        mgi_json_put_int(w, "fps", s->length[i].fps);
        put_exact(w, "weight", s->length[i].weight);
    }
    mgi_json_put_int(w, "clips", s->clips);
    put_exact(w, "drop", s->drop);
    put_exact(w, "drop_film", s->drop_film);
    put_exact(w, "drop_text", s->drop_text);
    put_exact(w, "nothing_heard", s->nothing_heard);
    put_times(w, s);
    if (s->start_from[0])
        mgi_json_put_string(w, "start_from", s->start_from);
}

static void put_rewriter(mgi_json_writer *w, const mgi_stage *s)
{
    mgi_json_open(w, "rewriter", '{');
    mgi_rewriter_config_write(w, &s->rewriter);
    mgi_json_close(w, '}');
    mgi_json_put_string(w, "pairs", s->pairs);
    put_exact(w, "captions", s->captions);
    if (s->start_from[0])
        mgi_json_put_string(w, "start_from", s->start_from);
}

static void put_clip(mgi_json_writer *w, const mgi_stage *s)
{
    put_texts(w, s);
    put_vision(w, &s->vision);
    mgi_json_put_int(w, "learn", s->learn);
    mgi_json_put_int(w, "tokens_max", s->tokens_max);
    put_exact(w, "scale", s->scale);
}

static void put_world(mgi_json_writer *w, const mgi_world_options *o)
{
    const int32_t numbers[] = {o->width,       o->height, o->frames, o->fps,   o->objects_min,
                               o->objects_max, o->camera, o->sign,   o->sizes, o->split};
    mgi_json_open(w, "world", '[');
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        mgi_json_put_int(w, NULL, numbers[i]);
    mgi_json_close(w, ']');
    put_exact(w, "scale", (double)o->scale);
    if (o->people > 0.0f)
        put_exact(w, "people", (double)o->people);
    for (int i = 0; i < MGI_WORLD_MOTIONS; i++)
        if (o->motion_weight[i] > 0.0f)
            put_exact(w, mgi_world_motion_name(i), (double)o->motion_weight[i]);
}

static void put_average(mgi_json_writer *w, const mgi_stage *s)
{
    for (int64_t i = 0; i < s->average_count; i++) {
        mgi_json_put_string(w, "set", s->average[i]);
        put_exact(w, "weight", s->average_weight[i]);
    }
}

/* Of everything that decides on the weights: how often one validates does so with the plateau schedule only, and
 * what is computed again instead of kept does not. What is as it was before there was a choice is left out. */
mgen_status mgi_stage_hash(mgen_context *ctx, const mgi_stage *s, char out[MGI_HEAD_TEXT])
{
    mgi_json_writer w;
    const char *text;
    size_t size;
    mgi_json_writer_init(&w, ctx, 0);
    mgi_json_open(&w, NULL, '{');
    mgi_json_put_int(&w, "steps", s->steps);
    mgi_json_put_int(&w, "batch", s->batch);
    if (s->accumulate != 1)
        mgi_json_put_int(&w, "accumulate", s->accumulate);
    mgi_json_put_int(&w, "dtype", s->dtype);
    put_optimizer(&w, &s->optimizer);
    put_world(&w, &s->world);
    if (s->optimizer.schedule == MGI_LR_PLATEAU) {
        mgi_json_put_int(&w, "patience", s->optimizer.patience);
        mgi_json_put_int(&w, "validate_every", s->validate_every);
        if (s->validate_clips)
            mgi_json_put_int(&w, "validate_clips", s->validate_clips);
    }
    mgi_json_open(&w, "tae", '{');
    mgi_tae_config_write(&w, &s->tae);
    mgi_json_close(&w, '}');
    if (s->kind == MGI_STAGE_AUTOENCODER)
        put_autoencoder(&w, s);
    else if (s->kind == MGI_STAGE_TEXT_TO_VIDEO)
        put_text_to_video(&w, s);
    else if (s->kind == MGI_STAGE_UPSAMPLER)
        put_upsampler(&w, s);
    else if (s->kind == MGI_STAGE_EDITOR)
        put_editor(&w, s);
    else if (s->kind == MGI_STAGE_PERSONALIZER)
        put_personalizer(&w, s);
    else if (s->kind == MGI_STAGE_AUDIO_CODEC)
        put_audio_codec(&w, s);
    else if (s->kind == MGI_STAGE_AUDIO)
        put_audio(&w, s);
    else if (s->kind == MGI_STAGE_REWRITER)
        put_rewriter(&w, s);
    else if (s->kind == MGI_STAGE_CLIP)
        put_clip(&w, s);
    else
        put_average(&w, s);
    mgi_json_close(&w, '}');
    mgen_status status = mgi_json_text(&w, &text, &size);
    if (status == MGEN_OK) {
        uint8_t digest[32];
        mgi_sha256(text, size, digest);
        for (int i = 0; i < 32; i++)
            snprintf(out + 2 * i, 3, "%02x", digest[i]);
    }
    mgi_json_writer_free(&w);
    return status;
}

/* Behind the kind of a stage, so that nobody goes on with other data unawares. Which films or samples they are is not told:
 * one may go on with a folder that grew. */
static const char *learns_from(int data)
{
    return data == MGI_DATASET_FOLDER ? ", films of a folder"
           : data == MGI_DATASET_HOST ? ", samples of a host"
                                      : "";
}

mgen_status mgi_head_make(mgen_context *ctx, const mgi_stage_state *s, mgi_head *out)
{
    const mgi_stage *stage = s->stage;
    memset(out, 0, sizeof *out);
    snprintf(out->text[MGI_HEAD_FORMAT], MGI_HEAD_TEXT, "moviegen-checkpoint");
    snprintf(out->text[MGI_HEAD_VERSION], MGI_HEAD_TEXT, "%d", MGI_CHECKPOINT_VERSION);
    snprintf(out->text[MGI_HEAD_KIND], MGI_HEAD_TEXT, "%s%s", mgi_stage_kind_name[stage->kind],
             learns_from(s->data));
    snprintf(out->text[MGI_HEAD_STAGE], MGI_HEAD_TEXT, "%s", stage->name);
    snprintf(out->text[MGI_HEAD_SEED], MGI_HEAD_TEXT, "%" PRIu64, s->seed);
    snprintf(out->text[MGI_HEAD_PARENT], MGI_HEAD_TEXT, "%016" PRIx64, s->parent);
    snprintf(out->text[MGI_HEAD_STEP], MGI_HEAD_TEXT, "%" PRId64, *s->position);
    return mgi_stage_hash(ctx, stage, out->text[MGI_HEAD_RECIPE]);
}

uint64_t mgi_head_hash(const mgi_head *h)
{
    uint64_t hash = 0;
    for (int i = 0; i < MGI_HEAD_CHECK; i++)
        hash = mgi_hash64(h->text[i], strlen(h->text[i]) + 1, hash);
    return hash;
}

/* ---- reading ------------------------------------------------------------------------------------ */

mgen_status mgi_head_read(mgen_context *ctx, const mgi_json *object, int more, mgi_head *out)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < MGI_HEAD_FIELDS; i++) {
        const mgi_json *value = object ? mgi_json_find(object, mgi_head_field[i]) : NULL;
        if (!value || value->kind != MGI_JSON_STRING || value->s_len >= MGI_HEAD_TEXT)
            return mgi_fail(ctx, MGEN_E_CORRUPT, "is no checkpoint: its \"%s\" %s",
                            mgi_head_field[i],
                            !value                           ? "is missing"
                            : value->kind == MGI_JSON_STRING ? "is too long"
                                                             : "is no text");
        memcpy(out->text[i], value->s, value->s_len);
        if (i == MGI_HEAD_FORMAT && strcmp(out->text[i], "moviegen-checkpoint"))
            return mgi_fail(ctx, MGEN_E_CORRUPT,
                            "is no checkpoint: its \"format\" is \"%s\", not "
                            "\"moviegen-checkpoint\"",
                            out->text[i]);
        if (i == MGI_HEAD_VERSION && strcmp(out->text[i], "1")) {
            bool newer = strspn(out->text[i], "0123456789") == value->s_len && value->s_len > 0 &&
                         out->text[i][0] != '0';
            return mgi_fail(ctx, newer ? MGEN_E_VERSION : MGEN_E_CORRUPT,
                            "is of version \"%s\"; this library reads %d", out->text[i],
                            MGI_CHECKPOINT_VERSION);
        }
    }
    return object->i == MGI_HEAD_FIELDS + more
               ? MGEN_OK
               : mgi_fail(ctx, MGEN_E_CORRUPT, "has metadata that no checkpoint has");
}

bool mgi_head_number(const char *text, int64_t most, int64_t *out)
{
    char again[MGI_HEAD_TEXT];
    int64_t value = 0;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9' || value > most)
            return false;
        value = 10 * value + (*c - '0'); /* most < 10^9 */
    }
    snprintf(again, sizeof again, "%" PRId64, value);
    *out = value;
    return value <= most && !strcmp(again, text);
}

mgen_status mgi_head_fits(mgen_context *ctx, const mgi_head *file, const mgi_head *ours)
{
    static const struct {
        int field;
        const char *what;
    } must[] = {{MGI_HEAD_KIND, "a stage of the kind"},
                {MGI_HEAD_STAGE, "the stage"},
                {MGI_HEAD_RECIPE, "a recipe with the hash"},
                {MGI_HEAD_SEED, "the seed"},
                {MGI_HEAD_PARENT, "an earlier stage's model with the hash"}};
    for (size_t i = 0; i < sizeof must / sizeof must[0]; i++) {
        const char *theirs = file->text[must[i].field], *mine = ours->text[must[i].field];
        if (strcmp(theirs, mine))
            return mgi_fail(ctx, MGEN_E_STATE,
                            "was made with %s \"%s\", but here it is \"%s\"; go on with what it "
                            "was made with, or begin anew",
                            must[i].what, theirs, mine);
    }
    return MGEN_OK;
}
