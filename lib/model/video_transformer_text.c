/* SPDX-License-Identifier: MIT
 * What the video transformer's cross-attention reads: the streams of text encoders, each by its own projection and
 * LayerNorm, one behind the other (report 3.1.3); and tokens of a photo, likewise (section on personalization). */
#include "model/video_transformer_block.h"

#include "core/alloc.h"
#include "core/checked.h"
#include "kernels/norm/norm.h"

#include <math.h>
#include <string.h>

/* Names in files. The first stream's are those of a model that has no other. */
static const char *const prefix[MGI_ROLES] = {"text", "text.byt5", "text.metaclip"};

/* -- parameters ------------------------------------------------------------------------------- */

static void stream_init(mgi_vt *vt, mgi_vt_stream *s, int64_t width, const char *name)
{
    mgi_module *m = &vt->module;
    const int64_t d = vt->config.dim;
    const int partial = MGI_PARTIAL_SP | MGI_PARTIAL_CP;
    if (!width)
        return;
    s->proj = mgi_param_add(m,
                            (mgi_param_spec){.init = MGI_INIT_NORMAL,
                                             .scale = 1.0f / sqrtf((float)width),
                                             .decay = 1.0f,
                                             .partial = partial,
                                             .operand = true},
                            MGI_DIMS(d, width), "%s.proj.weight", name);
    s->norm_w = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ONE, .partial = partial}, 1, &d,
                              "%s.norm.weight", name);
    s->norm_b = mgi_param_add(m, (mgi_param_spec){.init = MGI_INIT_ZERO, .partial = partial}, 1, &d,
                              "%s.norm.bias", name);
}

void mgi_vt_text_init(mgi_vt *vt)
{
    mgi_module *m = &vt->module;
    const int64_t d = vt->config.dim;
    const int partial = MGI_PARTIAL_SP | MGI_PARTIAL_CP;
    for (int i = 0; i < MGI_ROLES; i++)
        stream_init(vt, &vt->stream[i], vt->config.text[i], prefix[i]);
    stream_init(vt, &vt->reference, vt->config.reference, "reference");
    if (!vt->config.tasks)
        return;
    const int64_t width_of_task = vt->config.task_dim;
    const mgi_param_spec zero = {
        .init = MGI_INIT_ZERO, .decay = 1.0f, .partial = partial, .operand = true};
    vt->task = mgi_param_add(
        m,
        (mgi_param_spec){.init = MGI_INIT_NORMAL, .scale = 1.0f, .partial = partial, .table = true},
        MGI_DIMS(vt->config.tasks, width_of_task), "task.embedding.weight");
    vt->task_text =
        mgi_param_add(m, zero, MGI_DIMS(MGI_VT_TASK_TOKENS * d, width_of_task), "task.text.weight");
    vt->task_time = mgi_param_add(m, zero, MGI_DIMS(d, width_of_task), "task.time.weight");
}

/* -- forward ---------------------------------------------------------------------------------- */

static T *project(mgi_run *run, const mgi_vt_stream *s, T *x, int32_t dtype)
{
    return mgi_norm(run, mgi_linear(run, mgi_cast(run, x, dtype), mgi_value(s->proj), NULL),
                    (mgi_norm_options){.kind = MGK_NORM_LAYER,
                                       .eps = MGI_VT_EPS,
                                       .weight = mgi_value(s->norm_w),
                                       .bias = mgi_value(s->norm_b)});
}

static int64_t tokens_of(const mgi_vt_text *text, const int64_t rows[MGI_ROLES], int role,
                         int64_t sample)
{
    return rows[role] && text->tokens[role] ? text->tokens[role][sample] : rows[role];
}

/* Tokens that tell the task of a sample, before those of its text. */
static int64_t task_tokens(const mgi_vt_text *text)
{
    return text->task ? MGI_VT_TASK_TOKENS : 0;
}

T *mgi_vt_task(mgi_run *run, const mgi_vt *vt, const mgi_vt_text *text, const mgi_param *w)
{
    T *vectors =
        mgi_cast(run, mgi_embedding(run, text->task, mgi_value(vt->task)), vt->module.dtype);
    return mgi_linear(run, vectors, mgi_value(w), NULL);
}

bool mgi_vt_task_fits(mgi_run *run, const mgi_vt *vt, const mgi_vt_text *text, int64_t samples)
{
    return mgi_require(
               run, !vt->config.tasks == !text->task,
               "video transformer: it has tasks and is told none, or the other way round") &&
           mgi_require(run, !text->task || text->task->count == samples,
                       "video transformer: there is not a task for each sample");
}

/* Rows of photos' tokens; of them, a sample's. */
static int64_t reference_rows(const mgi_vt_text *text)
{
    return text->reference ? text->reference->dims[1] : text->reference_rows;
}

static int64_t references_of(const mgi_vt_text *text, int64_t sample)
{
    int64_t rows = reference_rows(text);
    return rows && text->references ? text->references[sample] : rows;
}

/* Tokens of the longest sample, all its streams together. */
static int64_t longest(const mgi_vt_text *text, int64_t samples, const int64_t rows[MGI_ROLES])
{
    int64_t most = 0;
    for (int64_t b = 0; b < samples; b++) {
        int64_t own = task_tokens(text) + references_of(text, b);
        for (int i = 0; i < MGI_ROLES; i++)
            own += tokens_of(text, rows, i, b);
        most = own > most ? own : most;
    }
    return most;
}

/* (B,size): 1 for the tokens of a sample, which come first; and, for each of them, its row among the flat streams
 * one behind the other. */
static void write_places(mgi_run *run, const mgi_vt_text *text, const int64_t rows[MGI_ROLES])
{
    T *mask = text->mask;
    int64_t samples = mask->dims[0], size = mask->dims[1];
    int32_t *row;
    if (!mgi_ok(run, mgi_alloc_zero(run->ctx, (size_t)mask->count, sizeof *row + 1, &row)))
        return;
    uint8_t *is = (uint8_t *)(row + mask->count);
    for (int64_t b = 0; b < samples; b++) {
        int64_t at = b * size, told = task_tokens(text), first = samples * told;
        for (int64_t k = 0; k < told; k++, at++) {
            row[at] = (int32_t)(b * told + k);
            is[at] = 1;
        }
        for (int i = 0; i < MGI_ROLES; i++) {
            int64_t n = tokens_of(text, rows, i, b);
            for (int64_t k = 0; k < n; k++, at++) {
                row[at] = (int32_t)(first + b * rows[i] + k);
                is[at] = 1;
            }
            first += samples * rows[i];
        }
        for (int64_t k = 0; k < references_of(text, b); k++, at++) {
            row[at] = (int32_t)(first + b * reference_rows(text) + k);
            is[at] = 1;
        }
    }
    if (text->places)
        mgi_tensor_write(text->places, 0, row, text->places->count);
    mgi_tensor_write(mask, 0, is, mask->count);
    mgi_free(run->ctx, row);
}

int64_t mgi_text_padded(int64_t size, int64_t multiple, int64_t most)
{
    int64_t padded = (size + multiple - 1) / multiple * multiple;
    padded = padded < most ? padded : most;
    return padded > size ? padded : size;
}

/* A stream alone is what it is; of several, or beside a task or a photo, the padding of all goes to the end: what is attended to does not depend on
 * the other samples of the batch. */
void mgi_vt_text_places(mgi_run *run, mgi_vt_text *text, int64_t samples,
                        const int64_t rows[MGI_ROLES], int64_t multiple)
{
    int64_t size = task_tokens(text) + reference_rows(text);
    int count = (task_tokens(text) > 0) + (reference_rows(text) > 0);
    for (int i = 0; i < MGI_ROLES; i++) {
        size += rows[i];
        count += rows[i] > 0;
    }
    if (count > 1)
        size = mgi_text_padded(longest(text, samples, rows), multiple, size);
    text->places = count > 1 ? mgi_new(run, MGK_I32, MGI_DIMS(samples, size)) : NULL;
    text->mask = mgi_new(run, MGK_U8, MGI_DIMS(samples, size));
    if (run->status == MGEN_OK)
        write_places(run, text, rows);
}

static bool references_fit(mgi_run *run, const mgi_vt *vt, const mgi_vt_text *text, int64_t samples)
{
    const T *x = text->reference;
    if (x &&
        !mgi_require(run,
                     vt->config.reference && x->rank == 3 && x->dims[0] == samples &&
                         x->dims[1] > 0 && x->dims[2] == vt->config.reference,
                     "video transformer: tokens of photos are not (B,N,width), or it has none"))
        return false;
    for (int64_t b = 0; x && b < samples; b++)
        if (!mgi_require(run, references_of(text, b) >= 0 && references_of(text, b) <= x->dims[1],
                         "video transformer: a photo has more tokens than rows"))
            return false;
    return mgi_require(run, x || !text->reference_rows,
                       "video transformer: there are places for photos, but no photos");
}

static bool streams_fit(mgi_run *run, const mgi_vt *vt, const mgi_vt_text *text, int64_t samples,
                        int64_t rows[MGI_ROLES], int *count)
{
    int64_t all = samples * (task_tokens(text) + reference_rows(text));
    const int beside = (text->task != NULL) + (text->reference != NULL);
    if (!mgi_vt_task_fits(run, vt, text, samples) || !references_fit(run, vt, text, samples))
        return false;
    *count = beside;
    for (int i = 0; i < MGI_ROLES; i++) {
        const T *x = text->x[i];
        rows[i] = x && x->rank == 3 ? x->dims[1] : 0;
        if (!x)
            continue;
        if (!mgi_require(run,
                         x->rank == 3 && x->dims[0] == samples && x->dims[2] == vt->config.text[i],
                         "video transformer: a stream of text is not (B,S,width)"))
            return false;
        for (int64_t b = 0; b < samples; b++)
            if (!mgi_require(
                    run, tokens_of(text, rows, i, b) > 0 && tokens_of(text, rows, i, b) <= rows[i],
                    "video transformer: a stream of text has more tokens than rows"))
                return false;
        all += x->dims[0] * x->dims[1];
        (*count)++;
    }
    return mgi_require(run, *count > beside, "video transformer: there is no text") &&
           mgi_require(run, all <= INT32_MAX, "video transformer: there is too much text");
}

T *mgi_vt_text_forward(mgi_run *run, const mgi_vt *vt, const mgi_vt_text *text, int64_t samples,
                       T **mask)
{
    int64_t d = vt->config.dim, rows[MGI_ROLES];
    mgi_vt_text written = *text;
    int32_t dtype = vt->module.dtype;
    T *part[2 + MGI_ROLES];
    int count, n = 0;
    *mask = NULL;
    if (run->status != MGEN_OK || !streams_fit(run, vt, text, samples, rows, &count))
        return NULL;
    if (text->task)
        part[n++] = mgi_vt_task(run, vt, text, vt->task_text);
    for (int i = 0; i < MGI_ROLES; i++)
        if (text->x[i])
            part[n++] = project(run, &vt->stream[i], text->x[i], dtype);
    if (text->reference)
        part[n++] = project(run, &vt->reference, text->reference, dtype);
    if (!written.mask)
        mgi_vt_text_places(run, &written, samples, rows, 1);
    if (run->status != MGEN_OK ||
        !mgi_require(run,
                     written.mask->dims[0] == samples && (count > 1) == (written.places != NULL),
                     "video transformer: the places are those of another text"))
        return NULL;
    *mask = written.mask;
    if (count == 1)
        return part[0];
    for (int i = 0; i < count; i++) { /* f32: the gradient of a table is */
        T *flat = mgi_cast(run, part[i], MGK_F32);
        part[i] = flat ? mgi_reshape(run, flat, MGI_DIMS(flat->count / d, d)) : NULL;
    }
    return mgi_cast(run, mgi_embedding(run, written.places, mgi_concat(run, part, count)), dtype);
}

/* -- configuration ---------------------------------------------------------------------------- */

mgen_status mgi_vt_text_read(mgen_context *ctx, const mgi_json *json, mgi_vt_config *out)
{
    static const char *const keys[] = {"ul2", "byt5", "metaclip", NULL};
    const mgi_json *text = mgi_json_find(json, "text");
    MGI_TRY(mgi_json_get_bool(ctx, json, "fps_prefix", false, &out->fps_prefix));
    if (!text && mgi_json_find(json, "preset") && !mgi_json_find(json, "text_dim"))
        return MGEN_OK;
    memset(out->text, 0, sizeof out->text);
    if (!text) /* before there were streams */
        return mgi_json_get_int(ctx, json, "text_dim", true, 1, 65536, &out->text[MGI_ROLE_UL2]);
    if (mgi_json_find(json, "text_dim") || text->kind != MGI_JSON_OBJECT || !text->child)
        return mgi_fail(ctx, MGEN_E_CORRUPT,
                        "\"text\" must be an object of the streams' widths, such as {\"ul2\": "
                        "128}, and stands instead of \"text_dim\"");
    MGI_TRY(mgi_json_only_keys(ctx, text, keys));
    for (int i = 0; i < MGI_ROLES; i++)
        MGI_TRY(mgi_json_get_int(ctx, text, mgi_role_key[i], false, 1, 65536, &out->text[i]));
    return MGEN_OK;
}

void mgi_vt_text_write(mgi_json_writer *w, const mgi_vt_config *c)
{
    mgi_json_open(w, "text", '{');
    for (int i = 0; i < MGI_ROLES; i++)
        if (c->text[i])
            mgi_json_put_int(w, mgi_role_key[i], c->text[i]);
    mgi_json_close(w, '}');
    mgi_json_put_bool(w, "fps_prefix", c->fps_prefix);
}
