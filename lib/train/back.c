/* SPDX-License-Identifier: MIT */
#include "train/back.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "task/generate.h"
#include "train/adapting.h"
#include "train/stage.h"

#include <string.h>

void mgi_back_finish(mgi_back *b)
{
    mgi_editor_finish(&b->editor);
    for (int i = 0; i < MGI_ROLES; i++)
        mgi_text_encoder_finish(&b->text[i]);
    memset(b, 0, sizeof *b);
}

static mgen_status open_text(mgen_context *ctx, const char *dir, const mgi_pipeline_file *p,
                             int role, const mgi_stage *stage, mgi_back *out)
{
    uint64_t hash = 0;
    if (!out->editor.config.video.text[role])
        return MGEN_OK;
    if (!p->text[role][0])
        return mgi_fail(ctx, MGEN_E_STATE,
                        "the editor of \"back_from\" reads the text of role %s, of which "
                        "pipeline.json names no encoder",
                        mgi_role_title[role]);
    MGI_TRY(mgi_stage_open_text(ctx, dir, p->text[role], stage->text[role].hold, NULL,
                                &out->text[role], &hash));
    if (stage->text[role].hold != MGI_HOLD_F32)
        hash = mgi_hash64(&stage->text[role].hold, sizeof stage->text[role].hold, hash);
    out->hash = mgi_hash64(&hash, sizeof hash, out->hash);
    out->networks.text[role] = &out->text[role];
    return mgi_stage_compute(stage, mgi_text_module(&out->text[role]));
}

mgen_status mgi_back_open(mgen_context *ctx, const char *dir, const mgi_stage *stage,
                          const mgi_pipeline_file *pipeline, const mgi_tae *tae, mgi_back *out)
{
    char editor[MGI_NAME_MAX + 1];
    mgi_adapters with;
    uint64_t hash;
    int kind;
    memset(out, 0, sizeof *out);
    MGI_TRY(mgi_adapting_named(ctx, dir, stage->back_from, editor, &with, &kind));
    MGI_TRY(mgi_editor_open_mesh(ctx, dir, editor, &with, NULL, &out->editor, &hash));
    if (!with.count && pipeline->adapters[MGI_ADAPTED_EDITOR].count &&
        !strcmp(pipeline->editor, editor))
        mgi_log(
            ctx, MGEN_LOG_INFO,
            "the editor \"%s\" makes films without the adapters that pipeline.json gives it; to "
            "have one, name the adapter in \"back_from\"",
            editor);
    out->steps = stage->back_steps;
    out->hash = mgi_hash64(&out->steps, sizeof out->steps, hash);
    out->networks =
        (mgi_networks){.tae = tae, .video = &out->editor.video, .editor = &out->editor.config};
    mgen_status status = mgi_module_compute(&out->editor.video.module, stage->dtype);
    for (int i = 0; i < MGI_ROLES && status == MGEN_OK; i++)
        status = open_text(ctx, dir, pipeline, i, stage, out);
    if (status != MGEN_OK)
        mgi_back_finish(out);
    return status;
}

bool mgi_back_passes(const uint8_t *made, const uint8_t *wanted, const uint8_t *was, int64_t count)
{
    int64_t to = 0, from = 0;
    for (int64_t i = 0; i < count; i++) { /* where these are the same, both are as far */
        int64_t a = made[i] - wanted[i], b = made[i] - was[i];
        to += a * a;
        from += b * b;
    }
    return to < from;
}

mgen_status mgi_back_make(mgen_context *ctx, mgi_back *b, const mgi_edits_sample *s,
                          const mgi_dataset *ds, int64_t frames, uint8_t *both)
{
    const int64_t size = frames * ds->height * ds->width * 3;
    const uint64_t numbers[] = {s->seed, s->element}, seed = mgi_hash64(numbers, sizeof numbers, 1);
    char text[MGI_WORLD_CAPTION_MAX];
    const char *prompt = text;
    mgi_film_bytes f = {.in = both, .height = ds->height, .width = ds->width};
    mgi_networks n = b->networks;
    n.clip = (mgi_clip_shape){ds->width, ds->height, frames, s->forth.before.fps};
    mgi_world_edit_text(&s->forth, text);
    const mgi_generate_request request = {.prompts = &prompt,
                                          .count = 1,
                                          .seeds = &seed,
                                          .steps = (int)b->steps,
                                          .width = ds->width,
                                          .height = ds->height,
                                          .frames = frames,
                                          .source = mgi_film_give,
                                          .task = s->forth.task,
                                          .sink = mgi_film_take,
                                          .user = &f};
    MGI_TRY(mgi_alloc(ctx, (size_t)size, &f.out));
    mgen_status status = mgi_generate(ctx, &n, &request);
    b->made += status == MGEN_OK;
    if (status == MGEN_OK && mgi_back_passes(f.out, both + size, both, size)) {
        memcpy(both + size, f.out, (size_t)size);
        b->kept++;
    }
    mgi_free(ctx, f.out);
    return status;
}
