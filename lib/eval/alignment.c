/* SPDX-License-Identifier: MIT */
#include "eval/alignment.h"

#include "core/alloc.h"
#include "eval/films.h"
#include "eval/world_check.h"
#include "eval/world_tally.h"

/* World of the protocol's scenes; no training or validation seed. */
static const uint64_t eval_world = UINT64_C(0x616c69676e2d7721);

/* Those that mgi_alignment_prompt() writes: a test compares them. */
static const char *const prompts[MGI_ALIGNMENT_PROMPTS] = {
    "FPS-16 tilt up. a yellow ring rolls right on stone",
    "FPS-16 a small yellow cube rises and a small purple triangle stays still on sand, with a sign "
    "that reads \"ALIJ\"",
    "FPS-24 a purple ball stays still on stone",
    "FPS-16 a red ring bounces and a purple ring rises on grass",
    "FPS-16 a cyan cross rolls right on the moon",
    "FPS-16 zoom in. a large orange triangle bounces and a small purple cube spins on the moon",
    "FPS-16 a green cross rolls right on snow",
    "FPS-24 push in. a small cyan cube stays still and a large pink ball rolls left on grass",
    "FPS-8 pedestal down. a small red cross stays still on wood",
    "FPS-24 a large green ring bounces and a small purple star orbits on snow, with a sign that "
    "reads \"G\"",
    "FPS-8 pan right. a small orange cube orbits on wood",
    "FPS-24 zoom in. a small yellow ring spins and a pink star rolls left on wood",
    "FPS-16 zoom in. a large purple ball falls on the moon",
    "FPS-16 a large pink triangle rolls right and a small green ball stays still on sand",
    "FPS-16 a large red cross rises on stone, with a sign that reads \"3H\"",
    "FPS-8 pan right. a green ball falls and a large yellow cube bounces on wood",
    "FPS-24 zoom in. a small pink triangle rises on the moon, with a sign that reads \"LLZX\"",
    "FPS-16 a yellow star falls and a purple ball bounces on wood",
    "FPS-16 a cyan ball rises on the moon, with a sign that reads \"4C\"",
    "FPS-16 zoom out. a small orange cube falls and a small purple triangle rises on snow",
    "FPS-16 tilt up. a large green triangle stays still on snow, with a sign that reads \"4SD\"",
    "FPS-16 pan right. a small cyan triangle spins and a small yellow ball rolls left on sand",
    "FPS-16 a small cyan cube rolls left on wood",
    "FPS-8 pull out. a large blue ball rolls left and a small yellow cross falls on stone",
    "FPS-16 truck right. a small green triangle falls on stone",
    "FPS-16 a small red ring rolls left and a green cube rolls right on stone",
    "FPS-16 a small purple ball falls on the moon, with a sign that reads \"PE\"",
    "FPS-16 push in. a small yellow cross falls and a green star spins on stone",
    "FPS-16 a small yellow triangle orbits on sand, with a sign that reads \"7K8V\"",
    "FPS-16 handheld shot. a pink triangle spins and a small cyan ball spins on stone",
    "FPS-8 tilt down. a purple ball bounces on wood",
    "FPS-8 tilt up. a small blue cube bounces and a pink star orbits on the moon, with a sign that "
    "reads \"YKB\"",
    "FPS-24 pedestal down. a small cyan cube falls on sand",
    "FPS-16 a small orange ball stays still and a small purple cube spins on the moon, with a sign "
    "that reads \"JG\"",
    "FPS-16 a green ring orbits on the moon, with a sign that reads \"M0Q\"",
    "FPS-16 tracking shot. a cyan cross rolls right and a purple ball falls on the moon",
};

const char *mgi_alignment_constant(int i)
{
    return i >= 0 && i < MGI_ALIGNMENT_PROMPTS ? prompts[i] : NULL;
}

void mgi_alignment_prompt(const mgi_clip_shape *clip, int64_t i, mgi_world_scene *scene,
                          char out[MGI_WORLD_CAPTION_MAX])
{
    int objects = i % 2 ? 2 : 1;
    const mgi_world_options o = {.width = (int)clip->width,
                                 .height = (int)clip->height,
                                 .frames = (int)clip->frames,
                                 .objects_min = objects,
                                 .objects_max = objects,
                                 .split = MGI_WORLD_HELD_OUT};
    mgi_world_scene_random(scene, eval_world, (uint64_t)i, &o);
    mgi_world_caption(scene, 0, out);
}

/* What a prompt says, as far as its clip can show it. */
static void parse(const mgi_clip_shape *clip, const char *text, mgi_world_said *out)
{
    mgi_world_parse(text, out);
    if (clip->frames == 1)
        mgi_world_tally_picture(out);
}

/* Of prompt i. */
static void told(const mgi_clip_shape *clip, int64_t i, mgi_world_said *out)
{
    char text[MGI_WORLD_CAPTION_MAX];
    mgi_world_scene unused;
    mgi_alignment_prompt(clip, i, &unused, text);
    parse(clip, text, out);
}

static mgen_status see(mgen_context *ctx, const mgi_networks *n, const uint8_t *pixels,
                       int64_t films, mgi_world_said *out)
{
    return mgi_world_check_films(ctx, pixels, films, (int)n->clip.width, (int)n->clip.height,
                                 (int)n->clip.frames, out);
}

mgen_status mgi_alignment_check(mgen_context *ctx, const mgi_clip_shape *c, const char *protocol)
{
    if (!mgi_world_checkable(c->width, c->height, c->frames))
        return mgi_fail(ctx, MGEN_E_STATE,
                        "the %s protocol needs a model of clips of 48 x 48 to 10240 pixels and at "
                        "most 64 frames",
                        protocol);
    return MGEN_OK;
}

mgen_status mgi_eval_alignment(mgen_context *ctx, const mgi_networks *n, const mgi_eval_request *r,
                               mgen_report *report)
{
    mgi_world_tally hits = {0}, ceiling = {0}, control = {0}, counted = {0};
    const mgi_clip_shape *c = &n->clip;
    uint8_t *pixels;
    mgen_status status = MGEN_OK;
    MGI_TRY(mgi_alignment_check(ctx, c, "alignment"));
    size_t clip = (size_t)(c->frames * c->width * c->height * 3);
    MGI_TRY(mgi_alloc_zero(ctx, MGI_EVAL_BATCH, clip, &pixels));
    for (int64_t first = 0; first < r->n && status == MGEN_OK; first += MGI_EVAL_BATCH) {
        int64_t rows = r->n - first < MGI_EVAL_BATCH ? r->n - first : MGI_EVAL_BATCH;
        char text[MGI_EVAL_BATCH][MGI_WORLD_CAPTION_MAX];
        const char *asked_for[MGI_EVAL_BATCH];
        mgi_world_scene scene[MGI_EVAL_BATCH];
        for (int64_t i = 0; i < rows; i++) {
            mgi_alignment_prompt(c, first + i, &scene[i], text[i]);
            asked_for[i] = text[i];
        }
        MGI_TRY_GOTO(status, mgi_eval_generate(ctx, n, r, asked_for, NULL, first, rows, pixels),
                     done);
        mgi_world_said seen[MGI_EVAL_BATCH], asked[MGI_EVAL_BATCH];
        MGI_TRY_GOTO(status, see(ctx, n, pixels, rows, seen), done);
        for (int64_t i = 0; i < rows; i++) {
            uint8_t *film = pixels + (size_t)i * clip;
            mgi_world_said next, wrong;
            parse(c, text[i], &asked[i]);
            told(c, first + i + 1, &next);
            told(c, first + i + 2, &wrong);
            mgi_world_tally_add(&hits, &asked[i], &seen[i]);
            mgi_world_tally_add(&control, &wrong, &seen[i]);
            mgi_world_tally_add(&counted, &next, &seen[i]);
            mgi_world_draw(&scene[i], (int)c->width, (int)c->height, 0, (int)c->frames, film);
            MGI_TRY_GOTO(
                status,
                mgi_eval_reconstruct(ctx, n->tae, c->frames, c->height, c->width, film, film),
                done);
        }
        MGI_TRY_GOTO(status, see(ctx, n, pixels, rows, seen), done);
        for (int64_t i = 0; i < rows; i++)
            mgi_world_tally_add(&ceiling, &asked[i], &seen[i]);
        if (r->progress && r->progress(r->user, (int)(first + rows), (int)r->n))
            status = mgi_fail(ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
done:
    mgi_free(ctx, pixels);
    if (status != MGEN_OK)
        return status;
    control.right[MGI_TALLY_COUNT] = counted.right[MGI_TALLY_COUNT];
    mgi_world_tally_report(&hits, MGI_TALLY_FILMS, report);
    mgi_world_tally_report(&ceiling, MGI_TALLY_CEILING, report);
    mgi_world_tally_report(&control, MGI_TALLY_CONTROL, report);
    return MGEN_OK;
}
