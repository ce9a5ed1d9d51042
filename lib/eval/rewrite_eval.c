/* SPDX-License-Identifier: MIT */
#include "eval/rewrite_eval.h"

#include "core/alloc.h"
#include "data/world_prompt.h"
#include "eval/alignment.h"
#include "eval/films.h"
#include "eval/world_check.h"
#include "eval/world_tally.h"
#include "task/rewrite.h"

#include <stdio.h>
#include <string.h>

/* Lots of this protocol's prompts; no seed of training. */
static const uint64_t eval_lots = UINT64_C(0x7265777269746521);

enum { REWRITTEN, PLAIN, TOLD, WAYS };

typedef struct measurement {
    mgen_context *ctx;
    const mgi_networks *n;
    const mgi_rewriter *rewriter;
    const mgi_eval_request *r;
    uint8_t *pixels; /* a batch of films */
    mgi_world_tally seen[WAYS];
    int64_t exact, plain_exact, signs, quoted;
} measurement;

typedef struct batch {
    int64_t first, count;
    char typed[MGI_EVAL_BATCH][MGI_WORLD_CAPTION_MAX], told[MGI_EVAL_BATCH][MGI_WORLD_CAPTION_MAX];
    char *written[MGI_EVAL_BATCH];
    mgi_world_said says[MGI_EVAL_BATCH];
} batch;

void mgi_rewrite_case(const mgi_clip_shape *clip, int64_t i, mgi_world_scene *scene,
                      char typed[MGI_WORLD_CAPTION_MAX], mgi_world_said *says)
{
    char caption[MGI_WORLD_CAPTION_MAX];
    mgi_alignment_prompt(clip, i, scene, caption);
    mgi_world_prompt(scene, eval_lots, (uint64_t)i, typed);
    mgi_world_prompt_says(scene, eval_lots, (uint64_t)i, says);
}

/* ---- words -------------------------------------------------------------------------------------- */

static int or_static(int camera)
{
    return camera < 0 ? MGI_WORLD_STATIC : camera;
}

bool mgi_rewrite_exact(const mgi_world_said *says, const char *text)
{
    const bool film = says->camera >= 0; /* of an image nothing is said of motions either */
    mgi_world_said is;
    mgi_world_parse(text, &is);
    bool exact = is.count == says->count && is.fps == says->fps && !strcmp(is.sign, says->sign) &&
                 is.expression == says->expression &&
                 or_static(is.camera) == or_static(says->camera) &&
                 (says->background < 0 ? is.background >= 0 : is.background == says->background);
    for (int i = 0; i < MGI_WORLD_OBJECTS && exact; i++) {
        const int motion = says->objects[i].motion, moves = is.objects[i].motion;
        const bool open = film && i < says->count && motion < 0;
        exact = is.objects[i].shape == says->objects[i].shape &&
                is.objects[i].colour == says->objects[i].colour &&
                is.objects[i].size == says->objects[i].size &&
                (open ? moves >= 0 : moves == motion);
    }
    return exact;
}

static bool quotes(const char *text, const char *sign)
{
    char quoted[MGI_WORLD_SIGN + 3];
    snprintf(quoted, sizeof quoted, "\"%s\"", sign);
    return strstr(text, quoted) != NULL;
}

static void read_words(measurement *m, const batch *b, int64_t i)
{
    const char *sign = b->says[i].sign;
    m->exact += mgi_rewrite_exact(&b->says[i], b->written[i]);
    m->plain_exact += mgi_rewrite_exact(&b->says[i], b->typed[i]);
    if (sign[0]) {
        m->signs++;
        m->quoted += quotes(b->written[i], sign);
    }
}

/* What is counted of a film: all that was typed. */
static mgi_world_said asked_for(const mgi_world_said *says)
{
    mgi_world_said asked = *says;
    asked.fps = MGI_TALLY_ANY;
    if (says->camera < 0) /* a picture's */
        asked.camera = MGI_TALLY_ANY;
    if (asked.background < 0)
        asked.background = MGI_TALLY_ANY;
    for (int i = 0; i < asked.count; i++)
        if (asked.objects[i].motion < 0)
            asked.objects[i].motion = MGI_TALLY_ANY;
    return asked;
}

/* ---- films -------------------------------------------------------------------------------------- */

static mgen_status look(measurement *m, int way, const batch *b)
{
    const mgi_clip_shape *c = &m->n->clip;
    const char *prompts[MGI_EVAL_BATCH];
    mgi_world_said seen[MGI_EVAL_BATCH];
    for (int64_t i = 0; i < b->count; i++)
        prompts[i] = way == REWRITTEN ? b->written[i] : way == PLAIN ? b->typed[i] : b->told[i];
    MGI_TRY(mgi_eval_generate(m->ctx, m->n, m->r, prompts, NULL, b->first, b->count, m->pixels));
    MGI_TRY(mgi_world_check_films(m->ctx, m->pixels, b->count, (int)c->width, (int)c->height,
                                  (int)c->frames, seen));
    for (int64_t i = 0; i < b->count; i++) {
        const mgi_world_said asked = asked_for(&b->says[i]);
        mgi_world_tally_add(&m->seen[way], &asked, &seen[i]);
    }
    return MGEN_OK;
}

static mgen_status measure(measurement *m, batch *b)
{
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < b->count && status == MGEN_OK; i++) {
        mgi_world_scene scene;
        mgi_rewrite_case(&m->n->clip, b->first + i, &scene, b->typed[i], &b->says[i]);
        mgi_world_told(&scene, b->told[i]);
        status = mgi_rewrite(m->ctx, m->rewriter, b->typed[i], &b->written[i]);
        if (status == MGEN_OK)
            read_words(m, b, i);
    }
    for (int way = 0; way < WAYS && status == MGEN_OK; way++)
        status = look(m, way, b);
    for (int64_t i = 0; i < b->count; i++)
        mgi_free(m->ctx, b->written[i]);
    return status;
}

/* ---- the protocol ------------------------------------------------------------------------------- */

static void report_all(measurement *m, mgen_report *report)
{
    static const int kind[WAYS] = {MGI_TALLY_FILMS, MGI_TALLY_PLAIN, MGI_TALLY_TOLD};
    const double n = (double)m->r->n;
    mgi_report_add(report, "exact", (double)m->exact / n);
    mgi_report_add(report, "plain_exact", (double)m->plain_exact / n);
    if (m->signs)
        mgi_report_add(report, "quoted", (double)m->quoted / (double)m->signs);
    memset(m->seen[REWRITTEN].motion_asked, 0, sizeof m->seen[REWRITTEN].motion_asked);
    for (int way = 0; way < WAYS; way++)
        mgi_world_tally_report(&m->seen[way], kind[way], report);
}

mgen_status mgi_eval_rewrite(mgen_context *ctx, const mgi_networks *n, const mgi_rewriter *rewriter,
                             const mgi_eval_request *r, mgen_report *report)
{
    measurement m = {.ctx = ctx, .n = n, .rewriter = rewriter, .r = r};
    const mgi_clip_shape *c = &n->clip;
    mgen_status status = MGEN_OK;
    MGI_TRY(mgi_alignment_check(ctx, c, "rewrite"));
    MGI_TRY(mgi_alloc_zero(ctx, MGI_EVAL_BATCH, (size_t)(c->frames * c->width * c->height * 3),
                           &m.pixels));
    for (int64_t first = 0; first < r->n && status == MGEN_OK; first += MGI_EVAL_BATCH) {
        batch b = {.first = first,
                   .count = r->n - first < MGI_EVAL_BATCH ? r->n - first : MGI_EVAL_BATCH};
        status = measure(&m, &b);
        if (status == MGEN_OK && r->progress &&
            r->progress(r->user, (int)(first + b.count), (int)r->n))
            status = mgi_fail(ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
    mgi_free(ctx, m.pixels);
    if (status == MGEN_OK)
        report_all(&m, report);
    return status;
}
