/* SPDX-License-Identifier: MIT */
#include "eval/personalize_eval.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "eval/films.h"

#include <string.h>

enum {
    SIDE_MIN = 48,      /* pixels; also of what scenes are laid out for */
    PIXELS_MAX = 10240, /* of a frame, and frames, as the checker reads them */
    FRAMES_MIN = 2
};

/* World of this protocol; no training or validation seed. */
static const uint64_t eval_world = UINT64_C(0x706572736f6e6576);

enum { MADE, CONTROL, CEILING, UNSEEN, WAYS };
enum { FIGURES = MGI_PERSONALIZE_FIGURES };

typedef struct measurement {
    mgen_context *ctx;
    mgi_networks n; /* with the frame rate of the scene */
    const mgi_eval_request *r;
    int64_t side; /* of photos */
    uint8_t *film, *photo;
    mgi_person_seen *seen;
    double sum[WAYS][FIGURES];
} measurement;

void mgi_personalize_case(const mgi_clip_shape *clip, uint64_t seed, int64_t i,
                          mgi_world_scene *scene, uint64_t *photo)
{
    const uint64_t key[] = {eval_world, seed, (uint64_t)i};
    const mgi_world_options o = {.width = (int)clip->width,
                                 .height = (int)clip->height,
                                 .frames = (int)clip->frames,
                                 .camera = MGI_WORLD_NEVER,
                                 .split = MGI_WORLD_HELD_OUT,
                                 .people = 1.0f};
    mgi_world_scene_random(scene, eval_world, (seed << 32) + (uint64_t)i, &o);
    *photo = mgi_hash64(key, sizeof key, 0);
}

/* -- judging ----------------------------------------------------------------------------------- */

static bool same_person(const mgi_person_costs *a, const mgi_person_costs *b)
{
    mgi_world_identity p, q;
    mgi_person_identity(a, &p);
    mgi_person_identity(b, &q);
    return mgi_world_identity_number(&p) == mgi_world_identity_number(&q);
}

/* By the person, who is seen in some frames at least. */
static void judge_person(const mgi_person_seen *s, uint32_t number, uint64_t seed, float *out)
{
    uint32_t gallery[MGI_PERSON_GALLERY];
    int near = -1, far = -1, agree = 0;
    bool all = true;
    mgi_person_gallery(number, seed, gallery);
    for (int f = 0; f < s->frames; f++) {
        if (!s->seen[f]) {
            all = false;
            continue;
        }
        float d = mgi_person_distance(&s->frame[f], number);
        if (near < 0 || d < mgi_person_distance(&s->frame[near], number))
            near = f;
        if (far < 0 || d > mgi_person_distance(&s->frame[far], number))
            far = f;
        agree += same_person(&s->frame[f], &s->film);
    }
    out[MGI_PERSONALIZE_IDENTITY] = mgi_person_first(&s->film, gallery);
    out[MGI_PERSONALIZE_BEST] = near >= 0 && mgi_person_first(&s->frame[near], gallery);
    out[MGI_PERSONALIZE_WORST] = all && far >= 0 && mgi_person_first(&s->frame[far], gallery);
    out[MGI_PERSONALIZE_SIMILARITY] = mgi_person_similarity(&s->film, number);
    out[MGI_PERSONALIZE_CONSISTENCY] = (float)agree / (float)s->frames;
}

void mgi_personalize_judge(const mgi_person_seen *s, const mgi_world_scene *asked, uint64_t gallery,
                           float out[FIGURES])
{
    memset(out, 0, FIGURES * sizeof *out);
    out[MGI_PERSONALIZE_BACKGROUND] = s->background == asked->background;
    if (!s->person)
        return;
    judge_person(s, (uint32_t)asked->person - 1, gallery, out);
    out[MGI_PERSONALIZE_EXPRESSION] = s->expression == asked->expression;
    out[MGI_PERSONALIZE_SHIRT] = s->shirt == asked->objects[0].colour;
    out[MGI_PERSONALIZE_MOTION] = s->motion == asked->objects[0].motion;
}

static void add(measurement *m, int way, int64_t i, const mgi_world_scene *asked)
{
    float figures[FIGURES];
    mgi_personalize_judge(m->seen, asked, (uint64_t)i, figures);
    for (int k = 0; k < FIGURES; k++)
        m->sum[way][k] += (double)figures[k];
}

/* The film in m->film. */
static mgen_status judge(measurement *m, int way, int64_t i, const mgi_world_scene *asked)
{
    const mgi_clip_shape *c = &m->n.clip;
    MGI_TRY(mgi_person_check(m->ctx, m->film, (int)c->width, (int)c->height, (int)c->frames,
                             asked->fps, m->seen));
    add(m, way, i, asked);
    return MGEN_OK;
}

/* -- measuring --------------------------------------------------------------------------------- */

static mgen_status measure(measurement *m, const mgi_clip_shape *clip, int64_t i)
{
    const int width = (int)clip->width, height = (int)clip->height;
    const mgi_photo photo = {m->photo, m->side, m->side};
    mgi_world_scene scene, next;
    char text[MGI_WORLD_CAPTION_MAX];
    const char *const prompt = text;
    uint64_t drawn, other;
    mgi_personalize_case(clip, m->r->seed, i, &scene, &drawn);
    m->n.clip.fps = scene.fps;
    mgi_world_caption(&scene, 0, text);
    mgi_world_photo(&scene, drawn, true, (int)m->side, m->photo);
    MGI_TRY(mgi_eval_generate(m->ctx, &m->n, m->r, &prompt, &photo, i, 1, m->film));
    MGI_TRY(judge(m, MADE, i, &scene));
    mgi_personalize_case(clip, m->r->seed, i + 1, &next, &other);
    for (int64_t k = 2; next.person == scene.person; k++)
        mgi_personalize_case(clip, m->r->seed, i + k, &next, &other);
    add(m, CONTROL, i, &next);
    MGI_TRY(mgi_eval_generate(m->ctx, &m->n, m->r, &prompt, NULL, i, 1, m->film));
    MGI_TRY(judge(m, UNSEEN, i, &scene));
    mgi_world_draw(&scene, width, height, 0, (int)clip->frames, m->film);
    MGI_TRY(mgi_eval_reconstruct(m->ctx, m->n.tae, clip->frames, height, width, m->film, m->film));
    return judge(m, CEILING, i, &scene);
}

#define NAMES(prefix)                                                                              \
    {                                                                                              \
        prefix "identity", prefix "identity_best", prefix "identity_worst", prefix "similarity",   \
            prefix "consistency", prefix "expression", prefix "shirt", prefix "motion",            \
            prefix "background"                                                                    \
    }

static void report_all(const measurement *m, mgen_report *report)
{
    static const char *const names[WAYS][FIGURES] = {NAMES(""), NAMES("control_"),
                                                     NAMES("ceiling_"), NAMES("unseen_")};
    for (int way = 0; way < WAYS; way++)
        for (int k = 0; k < (way == CONTROL ? MGI_PERSONALIZE_CONSISTENCY : FIGURES); k++)
            mgi_report_add(report, names[way][k], m->sum[way][k] / (double)m->r->n);
}

/* -- the protocol ------------------------------------------------------------------------------ */

static mgen_status check_shape(mgen_context *ctx, const mgi_clip_shape *c)
{
    if (c->width >= SIDE_MIN && c->height >= SIDE_MIN && c->width % 2 == 0 && c->height % 2 == 0 &&
        c->width <= PIXELS_MAX / c->height && c->frames >= FRAMES_MIN &&
        c->frames <= MGI_PERSON_FRAMES)
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_STATE,
                    "the personalize protocol needs a pipeline of clips with even sides of at "
                    "least %d pixels, %d pixels a frame at most, and %d to %d frames; its are "
                    "%lld x %lld, %lld frames",
                    SIDE_MIN, PIXELS_MAX, FRAMES_MIN, MGI_PERSON_FRAMES, (long long)c->width,
                    (long long)c->height, (long long)c->frames);
}

mgen_status mgi_eval_personalize(mgen_context *ctx, const mgi_networks *personalizer,
                                 const mgi_eval_request *r, mgen_report *report)
{
    const mgi_clip_shape clip = personalizer->clip;
    mgen_status status;
    MGI_TRY(check_shape(ctx, &clip));
    measurement m = {
        .ctx = ctx, .n = *personalizer, .r = r, .side = personalizer->vision->config.image};
    const size_t pixels = (size_t)(clip.frames * clip.width * clip.height);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, pixels, 3, &m.film), done);
    MGI_TRY_GOTO(status, mgi_alloc_zero(ctx, (size_t)(m.side * m.side), 3, &m.photo), done);
    MGI_TRY_GOTO(status, mgi_alloc(ctx, sizeof *m.seen, &m.seen), done);
    for (int64_t i = 0; i < r->n && status == MGEN_OK; i++) {
        status = measure(&m, &clip, i);
        if (status == MGEN_OK && r->progress && r->progress(r->user, (int)i + 1, (int)r->n))
            status = mgi_fail(ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
    if (status == MGEN_OK)
        report_all(&m, report);
done:
    mgi_free(ctx, m.seen);
    mgi_free(ctx, m.photo);
    mgi_free(ctx, m.film);
    return status;
}
