/* SPDX-License-Identifier: MIT */
#include "train/bucket_films.h"

#include "core/alloc.h"
#include "core/hash.h"
#include "data/dataset_edits.h"
#include "data/folder.h"

#include <math.h>

_Static_assert(MGI_BUCKETS_MAX <= 32, "a film's buckets are the bits of a word");

static bool is_image(const mgi_bucket_data *d)
{
    return d->bucket.frames == 1;
}

static bool same_aspect(const mgi_bucket *a, const mgi_bucket *b)
{
    return a->width * b->height == b->width * a->height;
}

/* How many frames, of how wide pictures. */
static bool same_clips(const mgi_bucket *a, const mgi_bucket *b)
{
    return same_aspect(a, b) && a->frames == b->frames;
}

/* Pictures have no rate, and a bucket without one is of any. */
static bool same_films(const mgi_bucket *a, const mgi_bucket *b)
{
    return same_clips(a, b) && (a->frames == 1 || !a->fps || !b->fps || a->fps == b->fps);
}

bool mgi_bucket_films_differ(const mgi_dataset *ds, const mgi_buckets *b)
{
    if (ds->kind != MGI_DATASET_FOLDER)
        return false;
    for (int64_t i = 0; i < b->count; i++)
        for (int64_t k = 0; k < i; k++) {
            const mgi_bucket_data *one = &b->list[i], *other = &b->list[k];
            const bool both = is_image(one) == is_image(other);
            if (both ? !same_films(&one->bucket, &other->bucket) : ds->frames == 1)
                return true;
        }
    return false;
}

/* ---- which buckets a film goes into --------------------------------------------------------------- */

/* How many times wider one is than the other, which grows with |log ratio| and is the same for equal ones. */
static double apart(const mgi_folder_measure *film, const mgi_bucket *b)
{
    const double a = (double)film->width * (double)b->height;
    const double c = (double)film->height * (double)b->width;
    return a > c ? a / c : c / a;
}

/* How many times as fast. */
static double faster(const mgi_folder_measure *film, const mgi_bucket *b)
{
    const double a = (double)film->fps, c = (double)b->fps;
    return a > c ? a / c : c / a;
}

/* The bits of its buckets, of images or of more frames: of those of its clips the ones of the nearest rate. */
static uint32_t find_buckets(const mgi_buckets *b, const mgi_folder_measure *film, bool images)
{
    const mgi_bucket *best = NULL;
    double least = INFINITY;
    uint32_t any = 0, nearest = 0;
    for (int64_t i = 0; i < b->count; i++) {
        const mgi_bucket *one = &b->list[i].bucket;
        if (is_image(&b->list[i]) != images || one->frames > film->frames)
            continue;
        const double further = best ? apart(film, one) - apart(film, best) : -1.0;
        if (further < 0.0 || (further == 0.0 && one->frames > best->frames))
            best = one;
    }
    for (int64_t i = 0; best && i < b->count; i++) {
        const mgi_bucket *one = &b->list[i].bucket;
        if (!same_clips(best, one))
            continue;
        const bool of_any = !one->fps || one->frames == 1;
        const double rate = of_any ? INFINITY : faster(film, one);
        if (of_any)
            any |= UINT32_C(1) << i;
        else if (rate <= least)
            nearest = (rate < least ? 0 : nearest) | UINT32_C(1) << i;
        least = fmin(rate, least);
    }
    return any | nearest;
}

/* ---- what is asked of films ----------------------------------------------------------------------- */

static mgi_folder_lengths lengths_of(const mgi_stage *stage, const mgi_dataset *ds,
                                     const mgi_buckets *b)
{
    mgi_folder_lengths f = {.most = ds->frames,
                            .edited = stage->kind == MGI_STAGE_EDITOR && mgi_dataset_has_edits(ds)};
    bool images = false;
    for (int64_t i = 0; i < b->count; i++) {
        const int64_t frames = b->list[i].bucket.frames;
        images = images || frames == 1;
        f.most = frames > f.most ? frames : f.most;
        if (frames > 1 && (!f.least || frames < f.least))
            f.least = frames;
    }
    f.least = f.least ? f.least : 1;
    f.least_picture = images ? 1 : f.least;
    return f;
}

/* ---- datasets ------------------------------------------------------------------------------------- */

typedef struct division {
    mgen_context *ctx;
    const mgi_stage *stage;
    mgi_dataset *ds;
    mgi_folder_measure *films;
    uint32_t *bits;
    uint64_t *list; /* room for one bucket's */
} division;

static void choose(const division *d, const mgi_buckets *b)
{
    for (uint64_t i = 0; i < d->ds->count; i++) {
        d->bits[i] = find_buckets(b, &d->films[i], true);
        if (!mgi_folder_is_picture(d->ds->films[i].name))
            d->bits[i] |= find_buckets(b, &d->films[i], false);
    }
}

/* What has all films is sized as ever. Samples are as long as the folder's, if all films that it has are, else as the bucket's
 * clips, or as the shortest one: from where in it a piece begins may be drawn. */
static mgen_status make_dataset(const division *d, uint64_t count, mgi_bucket_data *to)
{
    const mgi_bucket *b = &to->bucket;
    int64_t frames = d->ds->frames;
    for (uint64_t i = 0; i < count; i++) {
        const int64_t has = d->films[d->list[i]].frames;
        frames = has < frames ? has : frames;
    }
    frames = frames > b->frames ? frames : b->frames;
    return count == d->ds->count && frames == d->ds->frames
               ? mgi_dataset_sized(d->ctx, d->ds, b->width, b->height, frames, b->fps, &to->dataset)
               : mgi_dataset_part(d->ctx, d->ds, b->width, b->height, frames, d->list, count,
                                  &to->dataset);
}

/* *taught: it has films to train on, and its dataset. */
static mgen_status fill_bucket(const division *d, int64_t i, mgi_bucket_data *to, bool *taught)
{
    const mgi_bucket *b = &to->bucket;
    uint64_t count = 0;
    for (uint64_t k = 0; k < d->ds->count; k++)
        if (d->bits[k] & UINT32_C(1) << i)
            d->list[count++] = k;
    *taught = mgi_folder_part_teaches(d->ds, d->list, count);
    mgi_log(d->ctx, MGEN_LOG_INFO,
            "bucket %lld of stage \"%s\", %lld x %lld x %lld frames: %llu of the folder's films%s",
            (long long)to->number, d->stage->name, (long long)b->width, (long long)b->height,
            (long long)b->frames, (unsigned long long)count,
            *taught ? "" : "; its share goes to the others");
    if (!*taught)
        return MGEN_OK;
    mgen_status status = make_dataset(d, count, to);
    return status == MGEN_OK ? status
                             : mgi_fail_context(d->ctx, status, "bucket %lld of stage \"%s\"",
                                                (long long)to->number, d->stage->name);
}

static mgen_status fill_buckets(const division *d, mgi_buckets *b)
{
    const int64_t count = b->count;
    bool asked = false, given = false; /* films of several frames */
    b->count = 0;
    for (int64_t i = 0; i < count; i++) {
        mgi_bucket_data one = b->list[i];
        bool taught;
        MGI_TRY(fill_bucket(d, i, &one, &taught));
        asked = asked || !is_image(&one);
        given = given || (taught && !is_image(&one));
        if (taught)
            b->list[b->count++] = one;
    }
    return b->count && asked == given
               ? MGEN_OK
               : mgi_fail(d->ctx, MGEN_E_INVALID,
                          "stage \"%s\": the folder '%s' has no film to train on in its buckets%s",
                          d->stage->name, d->ds->dir,
                          asked ? " of more than one frame; pictures are in those of one" : "");
}

static mgen_status divide(division *d, mgi_buckets *b)
{
    const mgi_folder_lengths lengths = lengths_of(d->stage, d->ds, b);
    const size_t count = (size_t)d->ds->count;
    MGI_TRY(mgi_alloc_zero(d->ctx, count, sizeof *d->films, &d->films));
    MGI_TRY(mgi_alloc_zero(d->ctx, count, sizeof *d->bits, &d->bits));
    MGI_TRY(mgi_alloc_zero(d->ctx, count, sizeof *d->list, &d->list));
    mgen_status status = mgi_folder_measure_films(d->ctx, d->ds, &lengths, d->films);
    if (status != MGEN_OK)
        return mgi_fail_context(d->ctx, status, "stage \"%s\"", d->stage->name);
    choose(d, b);
    b->division = mgi_hash64(d->bits, count * sizeof *d->bits, 0);
    return fill_buckets(d, b);
}

mgen_status mgi_bucket_films_divide(mgen_context *ctx, const mgi_stage *stage, mgi_dataset *ds,
                                    mgi_buckets *b)
{
    division d = {.ctx = ctx, .stage = stage, .ds = ds};
    mgen_status status = divide(&d, b);
    mgi_free(ctx, d.films);
    mgi_free(ctx, d.bits);
    mgi_free(ctx, d.list);
    return status;
}
