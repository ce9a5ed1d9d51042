/* SPDX-License-Identifier: MIT */
#include "eval/edit_eval.h"

#include "core/alloc.h"
#include "eval/films.h"
#include "eval/image_quality.h"
#include "eval/world_check.h"

#include <math.h>
#include <string.h>

enum {
    SIDE_MIN = 48,      /* pixels; also of what scenes are laid out for */
    PIXELS_MAX = 10240, /* of a frame, and frames, as the checker reads them */
    FRAMES_MAX = 64,
    TASKS = MGI_EDIT_TEXT_TO_VIDEO, /* those before it */
    LEAST = 1000 /* a side counts that has more than all pixels divided by this */
};

/* World of this protocol; no training or validation seed. */
static const uint64_t eval_world = UINT64_C(0x6564697473216576);

enum { EDITED, COPY, CEILING, SDEDIT, WAYS };
enum { PSNR, SSIM, KEPT, CHANGED, APPLIED, FIGURES };

typedef struct mean {
    double sum;
    int64_t count;
} mean;

typedef struct measurement {
    mgen_context *ctx;
    mgi_networks editor, plain; /* with the frame rate of the scene */
    const mgi_eval_request *r;
    int64_t frames, width, height, pixels; /* pixels: of a film */
    uint8_t *room, *before, *after, *made; /* films in the room */
    mean of[WAYS][TASKS + 1][FIGURES];     /* TASKS: of all */
} measurement;

void mgi_edit_case(const mgi_clip_shape *clip, uint64_t seed, int64_t i, mgi_world_edit *edit)
{
    const mgi_world_options o = {.width = (int)clip->width,
                                 .height = (int)clip->height,
                                 .frames = (int)clip->frames,
                                 .split = MGI_WORLD_HELD_OUT};
    mgi_world_edit_random(edit, eval_world, (seed << 32) + (uint64_t)i, (int)(i % TASKS), &o);
}

/* -- what can be seen -------------------------------------------------------------------------- */

/* The object seen in a colour, or -1. */
static int seen_in(const mgi_world_said *seen, int colour)
{
    for (int i = 0; i < seen->count; i++)
        if (seen->objects[i].colour == colour)
            return i;
    return -1;
}

static bool local_seen(const mgi_world_edit *e, const mgi_world_said *seen)
{
    const mgi_world_object *was = &e->before.objects[e->object], *is = &e->after.objects[e->object];
    int k = seen_in(seen, is->colour);
    return k >= 0 && seen->objects[k].shape == is->shape && seen->objects[k].size == is->size &&
           (was->colour == is->colour || seen_in(seen, was->colour) < 0);
}

bool mgi_edit_seen(const mgi_world_edit *e, const mgi_world_said *seen)
{
    const mgi_world_object *o;
    int k;
    switch (e->task) {
    case MGI_EDIT_LOCAL:
        return local_seen(e, seen);
    case MGI_EDIT_BACKGROUND:
        return seen->background == e->after.background;
    case MGI_EDIT_REMOVAL:
        if (e->object < 0)
            return !seen->sign[0];
        return seen_in(seen, e->before.objects[e->object].colour) < 0 &&
               seen->count == e->after.count;
    case MGI_EDIT_ADDITION:
        if (e->object < 0)
            return !strcmp(seen->sign, e->after.sign);
        o = &e->after.objects[e->object];
        k = seen_in(seen, o->colour);
        return k >= 0 && seen->objects[k].shape == o->shape;
    default:
        return false;
    }
}

static bool checker_reads(int task)
{
    return task == MGI_EDIT_LOCAL || task == MGI_EDIT_BACKGROUND || task == MGI_EDIT_REMOVAL ||
           task == MGI_EDIT_ADDITION;
}

/* -- measuring --------------------------------------------------------------------------------- */

static void score(measurement *m, int way, int task, int figure, double value)
{
    mean *of[2] = {&m->of[way][task][figure], &m->of[way][TASKS][figure]};
    for (int i = 0; i < 2; i++) {
        of[i]->sum += value;
        of[i]->count++;
    }
}

/* Squared errors over pixels that are equal before and after, and those that are not. */
typedef struct errors {
    int64_t pixels[2];
    double after[2], before[2]; /* to those films */
} errors;

static double squares(const uint8_t *a, const uint8_t *b)
{
    double sum = 0.0;
    for (int k = 0; k < 3; k++)
        sum += ((double)a[k] - b[k]) * ((double)a[k] - b[k]);
    return sum;
}

static errors compare(const measurement *m)
{
    errors e = {0};
    for (int64_t i = 0; i < 3 * m->pixels; i += 3) {
        int side = memcmp(m->before + i, m->after + i, 3) != 0;
        e.pixels[side]++;
        e.after[side] += squares(m->made + i, m->after + i);
        e.before[side] += squares(m->made + i, m->before + i);
    }
    return e;
}

static void score_side(measurement *m, int way, int task, int figure, const errors *e, int side)
{
    double error = e->after[side] / (3.0 * (double)e->pixels[side]);
    if (e->pixels[side] > m->pixels / LEAST)
        score(m, way, task, figure,
              error > 0.0 ? fmin(100.0, 10.0 * log10(255.0 * 255.0 / error)) : 100.0);
}

/* What was made, against the film after. */
static mgen_status judge(measurement *m, int way, const mgi_world_edit *edit)
{
    const int task = edit->task;
    const errors e = compare(m);
    mgi_world_said seen;
    if (task != MGI_EDIT_ADDITION) {
        score(m, way, task, PSNR, mgi_psnr(m->after, m->made, (size_t)(3 * m->pixels)));
        score(m, way, task, SSIM, mgi_ssim_clip(m->after, m->made, m->frames, m->height, m->width));
        score_side(m, way, task, CHANGED, &e, 1);
    }
    score_side(m, way, task, KEPT, &e, 0);
    if (!checker_reads(task)) {
        score(m, way, task, APPLIED, e.after[1] < e.before[1]);
        return MGEN_OK;
    }
    MGI_TRY(mgi_world_check(m->ctx, m->made, (int)m->width, (int)m->height, (int)m->frames, &seen));
    score(m, way, task, APPLIED, mgi_edit_seen(edit, &seen));
    return MGEN_OK;
}

/* The film before becomes another by what n holds: an editor, or a video model that begins with it. */
static mgen_status generate(measurement *m, const mgi_networks *n, int64_t i, int task,
                            const char *text)
{
    const uint64_t seed = m->r->seed + (uint64_t)i;
    mgi_film_bytes film = {m->before, m->made, m->height, m->width};
    mgi_generate_request g = mgi_eval_asks(m->r, &text, &seed, 1);
    g.width = m->width;
    g.height = m->height;
    g.frames = m->frames;
    g.source = mgi_film_give;
    g.task = n->editor ? task : 0;
    g.skip = n->editor ? 0.0f : 1.0f - MGI_EDIT_SDEDIT;
    g.sink = mgi_film_take;
    g.user = &film;
    return mgi_generate(m->ctx, n, &g);
}

static mgen_status recode(measurement *m, const uint8_t *film)
{
    return mgi_eval_reconstruct(m->ctx, m->editor.tae, m->frames, m->height, m->width, film,
                                m->made);
}

static mgen_status measure(measurement *m, const mgi_clip_shape *clip, int64_t i)
{
    char text[MGI_WORLD_CAPTION_MAX];
    mgi_world_edit e;
    mgi_edit_case(clip, m->r->seed, i, &e);
    m->editor.clip.fps = m->plain.clip.fps = e.after.fps;
    mgi_world_edit_draw(&e, false, (int)m->width, (int)m->height, 0, (int)m->frames, m->before);
    mgi_world_edit_draw(&e, true, (int)m->width, (int)m->height, 0, (int)m->frames, m->after);
    mgi_world_edit_text(&e, text);
    MGI_TRY(generate(m, &m->editor, i, e.task, text));
    MGI_TRY(judge(m, EDITED, &e));
    MGI_TRY(recode(m, m->before));
    MGI_TRY(judge(m, COPY, &e));
    MGI_TRY(recode(m, m->after));
    MGI_TRY(judge(m, CEILING, &e));
    if (!m->plain.video)
        return MGEN_OK;
    mgi_world_caption(&e.after, 0, text);
    MGI_TRY(generate(m, &m->plain, i, e.task, text));
    return judge(m, SDEDIT, &e);
}

/* A report keeps the names. */
#define NAMES(prefix)                                                                              \
    {                                                                                              \
        prefix "psnr", prefix "ssim", prefix "kept_psnr", prefix "changed_psnr", prefix "applied"  \
    }
#define TASK_NAMES(prefix)                                                                         \
    {                                                                                              \
        NAMES(prefix "local_"), NAMES(prefix "style_"), NAMES(prefix "background_"),               \
            NAMES(prefix "removal_"), NAMES(prefix "addition_"), NAMES(prefix "texture_"),         \
            NAMES(prefix "segmentation_"), NAMES(prefix)                                           \
    }

static void report_row(const measurement *m, int way, int row, mgen_report *report)
{
    static const char *const names[WAYS][TASKS + 1][FIGURES] = {
        TASK_NAMES(""), TASK_NAMES("copy_"), TASK_NAMES("ceiling_"), TASK_NAMES("sdedit_")};
    for (int k = 0; k < FIGURES; k++) {
        const mean *f = &m->of[way][row][k];
        if (f->count > 0)
            mgi_report_add(report, names[way][row][k], f->sum / (double)f->count);
    }
}

static void report_all(const measurement *m, mgen_report *report)
{
    for (int way = 0; way < WAYS; way++)
        report_row(m, way, TASKS, report);
    for (int task = 0; task < TASKS; task++)
        for (int way = 0; way < WAYS; way++)
            report_row(m, way, task, report);
}

/* -- the protocol ------------------------------------------------------------------------------ */

static mgen_status check_shape(mgen_context *ctx, const mgi_clip_shape *c)
{
    if (c->width >= SIDE_MIN && c->height >= SIDE_MIN && c->width % 2 == 0 && c->height % 2 == 0 &&
        c->width <= PIXELS_MAX / c->height && c->frames >= 1 && c->frames <= FRAMES_MAX)
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_STATE,
                    "the edit protocol needs a pipeline of clips with even sides of at least %d "
                    "pixels, %d pixels a frame at most, and 1 to %d frames; its are %lld x %lld, "
                    "%lld frames",
                    SIDE_MIN, PIXELS_MAX, FRAMES_MAX, (long long)c->width, (long long)c->height,
                    (long long)c->frames);
}

mgen_status mgi_eval_edit(mgen_context *ctx, const mgi_networks *editor, const mgi_networks *plain,
                          const mgi_eval_request *r, mgen_report *report)
{
    const mgi_clip_shape clip = editor->clip;
    MGI_TRY(check_shape(ctx, &clip));
    measurement m = {.ctx = ctx,
                     .editor = *editor,
                     .r = r,
                     .frames = clip.frames,
                     .width = clip.width,
                     .height = clip.height,
                     .pixels = clip.frames * clip.width * clip.height};
    if (plain)
        m.plain = *plain;
    MGI_TRY(mgi_alloc_zero(ctx, (size_t)m.pixels, 3 * 3, &m.room));
    m.before = m.room;
    m.after = m.before + 3 * m.pixels;
    m.made = m.after + 3 * m.pixels;
    mgen_status status = MGEN_OK;
    for (int64_t i = 0; i < r->n && status == MGEN_OK; i++) {
        status = measure(&m, &clip, i);
        if (status == MGEN_OK && r->progress && r->progress(r->user, (int)i + 1, (int)r->n))
            status = mgi_fail(ctx, MGEN_E_CANCELLED, "the measurement was stopped");
    }
    mgi_free(ctx, m.room);
    if (status == MGEN_OK)
        report_all(&m, report);
    return status;
}
