/* SPDX-License-Identifier: MIT
 * Curation of a folder: its films watched, several at a time, and what came of them written. */
#include "core/alloc.h"
#include "core/checked.h"
#include "core/in_order.h"
#include "data/curate.h"
#include "data/curate_journal.h"
#include "data/curate_tell.h"
#include "data/folder.h"
#include "data/folder_edits.h"
#include "io/path.h"
#include "text/byte_tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LINES = 8 /* of a film's log that are passed on */ };

/* A film that is watched, or waits to be told of. */
typedef struct place {
    mgen_context *ctx; /* of its own, for what it says may not get lost among that of others */
    mgi_curate_film film;
    mgen_status status;
    bool unread, cut; /* cut: it was not watched to its end */
    int lines;
    struct {
        int32_t level;
        char text[sizeof((mgen_context *)0)->error_text];
    } line[LINES];
} place;

typedef struct folder {
    mgen_context *ctx;
    const char *dir;
    mgi_dir_file *files;
    int64_t count;
    mgi_curator curator;
    const mgi_dir_file **film;
    mgi_curate_film **seen; /* of each film what was found by a curation that was ended, or NULL */
    mgi_curate_journal journal;
    int64_t films, unread, others, edited;
    int64_t next, done, before; /* the next film; films that are done, those seen before first */
    bool (*progress)(void *user, int64_t done, int64_t total);
    void *user;
    place *places;
    mgen_status status;
    bool alone,
        again; /* one film at a time; from film `next` on so, since there was no memory for several */
} folder;

/* ---- films -------------------------------------------------------------------------------------- */

/* When others fail or nobody wants to wait any longer, what is left of a film is not watched; nor is it told of. */
static mgen_status watch_frames(const folder *d, mgi_in_order *run, place *p, mgi_film *film)
{
    const int64_t dims[] = {p->film.info.width, p->film.info.height, 3};
    mgi_curate_watch *watch = NULL;
    uint8_t *rgb = NULL;
    int64_t size;
    bool enough = false, over = false;
    mgen_status status;
    if (!mgi_dims_count(dims, 3, &size))
        return mgi_fail(p->ctx, MGEN_E_CORRUPT, "the film has impossible sides");
    MGI_TRY_GOTO(status, mgi_alloc(p->ctx, (size_t)size, &rgb), end);
    MGI_TRY_GOTO(status, mgi_curate_watch_begin(p->ctx, &d->curator.rules, &p->film, &watch), end);
    while (!enough && !over && !p->cut) {
        p->cut = !mgi_in_order_goes_on(run);
        if (!p->cut)
            MGI_TRY_GOTO(status, mgi_film_next(film, rgb, &over), end);
        if (!p->cut && !over)
            MGI_TRY_GOTO(status, mgi_curate_watch_frame(watch, rgb, &enough), end);
    }
    p->film.uneven = mgi_film_is_uneven(film);
    mgi_film_what_is_known(film, &p->film.known);
    if (!mgi_film_bears_out(film, &p->film.known)) /* nobody would believe it */
        p->film.known = (mgi_film_known){0, 0};
    status = mgi_curate_watch_end(watch);
end:
    mgi_curate_watch_free(watch);
    mgi_free(p->ctx, rgb);
    return status;
}

/* That this film cannot be read is no reason to give up the others. */
static bool of_the_film(mgen_status status)
{
    return status == MGEN_E_CORRUPT || status == MGEN_E_UNSUPPORTED || status == MGEN_E_INVALID;
}

static mgen_status watch_film(const folder *d, mgi_in_order *run, place *p, const char *path)
{
    mgi_curate_film *out = &p->film;
    mgi_film *film = NULL;
    mgen_status status = mgi_film_open(p->ctx, path, &film);
    if (status == MGEN_OK) {
        out->info = *mgi_film_about(film);
        out->fps = mgi_film_rate(&out->info);
        if (mgi_curator_wants(&d->curator, out))
            status = watch_frames(d, run, p, film);
    }
    mgi_film_close(film);
    if (status == MGEN_OK || !of_the_film(status))
        return status;
    mgi_log(p->ctx, MGEN_LOG_WARN, "%s", mgen_last_error(p->ctx));
    for (int64_t i = 0; i < out->count; i++)
        mgi_free(p->ctx, out->clips[i].view);
    out->count = 0;
    out->fails = UINT32_C(1) << MGI_CURATE_READ;
    p->unread = true;
    return MGEN_OK;
}

/* {"aesthetic": 5.1}, of a model of the host's, and whatever else it says. */
static mgen_status read_rating(const folder *d, mgen_context *ctx, const char *film, double *out)
{
    const mgi_dir_file *from = mgi_folder_beside(film, ".json", d->files, d->count);
    char path[MGI_PATH_MAX + 1];
    mgi_file file;
    mgi_json *root = NULL;
    *out = NAN;
    if (!from)
        return MGEN_OK;
    MGI_TRY(mgi_path_join(ctx, d->dir, from->name, path, sizeof path));
    MGI_TRY(mgi_file_open_large(ctx, path, &file));
    mgen_status status = mgi_json_parse(ctx, "its JSON", (const char *)file.data, file.size, &root);
    if (status == MGEN_OK && root->kind == MGI_JSON_OBJECT)
        status = mgi_json_get_real(ctx, root, "aesthetic", false, -1e6, 1e6, out);
    mgi_json_free(ctx, root);
    mgi_file_close(ctx, &file);
    return status == MGEN_OK ? status : mgi_fail_context(ctx, status, "'%s'", path);
}

static mgen_status see_film(const folder *d, mgi_in_order *run, place *p, int64_t item)
{
    const char *name = d->film[item]->name;
    char path[MGI_PATH_MAX + 1];
    const mgi_dir_file *text = mgi_folder_beside(name, ".txt", d->files, d->count);
    size_t bad;
    if (!mgi_utf8_valid(name, strlen(name), &bad))
        return mgi_fail(p->ctx, MGEN_E_INVALID,
                        "the name of the film '%.*s...' in '%s' is no UTF-8 text from byte %zu on; "
                        "rename it",
                        (int)bad, name, d->dir, bad);
    MGI_TRY(mgi_strdup(p->ctx, name, &p->film.name));
    if (text)
        MGI_TRY(mgi_folder_caption(p->ctx, d->dir, text, &p->film.caption));
    MGI_TRY(read_rating(d, p->ctx, name, &p->film.aesthetic));
    if (d->seen[item])
        return MGEN_OK;
    MGI_TRY(mgi_path_join(p->ctx, d->dir, name, path, sizeof path));
    return watch_film(d, run, p, path);
}

/* ---- several at a time -------------------------------------------------------------------------- */

static void keep_line(void *user, int32_t level, const char *text)
{
    place *p = user;
    if (p->lines == LINES)
        return;
    p->line[p->lines].level = level;
    snprintf(p->line[p->lines++].text, sizeof p->line[0].text, "%s", text);
}

static void work(void *user, mgi_in_order *run, int64_t item, int64_t at)
{
    folder *d = user;
    place *p = &d->places[at];
    p->film = (mgi_curate_film){.aesthetic = NAN};
    p->unread = p->cut = false;
    p->lines = 0;
    p->status = see_film(d, run, p, item);
    /* at once, though others are told of first; what could not be read may be so another day */
    if (p->status == MGEN_OK && !p->unread && !p->cut && !d->seen[item])
        mgi_curate_journal_add(&d->journal, d->film[item], &p->film);
}

/* What was found in it before, of a film that has name, caption and rating. */
static void remember_film(folder *d, mgi_curate_film *film, int64_t item)
{
    mgi_curate_film *seen = d->seen[item];
    seen->name = film->name;
    seen->caption = film->caption;
    seen->aesthetic = film->aesthetic;
    *film = *seen;
    mgi_free(d->ctx, seen);
    d->seen[item] = NULL;
}

static mgen_status tell_progress(folder *d)
{
    if (!d->progress || !d->progress(d->user, d->done, d->films))
        return MGEN_OK;
    return mgi_fail(d->ctx, MGEN_E_CANCELLED, "curation was stopped after %lld films%s",
                    (long long)d->done,
                    mgi_curate_journal_holds(&d->journal)
                        ? "; the same curation goes on from there when it is begun again"
                        : "");
}

/* What a film says is said when its turn comes: as if films were watched one after the other. */
static mgen_status tell(folder *d, place *p, int64_t item)
{
    const char *why = mgen_last_error(p->ctx);
    for (int i = 0; i < p->lines; i++)
        mgi_log(d->ctx, p->line[i].level, "%s", p->line[i].text);
    if (p->status != MGEN_OK)
        return mgi_fail_from(d->ctx, p->status, p->ctx);
    const bool before = d->seen[item];
    if (before)
        remember_film(d, &p->film, item);
    MGI_TRY(mgi_curate_journal_check(&d->journal));
    MGI_TRY(mgi_curator_take(&d->curator, &p->film));
    d->next = item + 1;
    d->unread += p->unread;
    if (d->unread == d->films) /* then it is not the films */
        return mgi_fail(d->ctx, MGEN_E_UNSUPPORTED,
                        "no film in '%s' can be read; the last one: %.400s", d->dir, why);
    if (before)
        return MGEN_OK;
    d->done++;
    return tell_progress(d);
}

static bool deliver(void *user, int64_t item, int64_t at)
{
    folder *d = user;
    place *p = &d->places[at];
    d->again = !d->alone && (p->status == MGEN_E_NO_MEMORY || p->status == MGEN_E_LIMIT);
    if (!d->again)
        d->status = tell(d, p, item);
    return !d->again && d->status == MGEN_OK;
}

static void clear_places(folder *d, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (d->places[i].ctx)
            mgi_curate_film_free(d->places[i].ctx, &d->places[i].film);
}

static mgen_status make_places(folder *d, int64_t count)
{
    MGI_TRY(mgi_alloc_zero(d->ctx, (size_t)count, sizeof *d->places, &d->places));
    for (int64_t i = 0; i < count; i++) {
        place *p = &d->places[i];
        MGI_TRY(mgi_context_private(d->ctx, &p->ctx));
        p->ctx->log = keep_line;
        p->ctx->log_user = p;
        atomic_fetch_add(&p->ctx->quiet, 1); /* what fails is told of the film, or by the call */
        if (d->ctx->plugin_dir)
            MGI_TRY(mgi_strdup(d->ctx, d->ctx->plugin_dir, &p->ctx->plugin_dir));
    }
    return MGEN_OK;
}

static mgen_status find_films(folder *d)
{
    MGI_TRY(mgi_alloc_zero(d->ctx, (size_t)d->count, sizeof *d->film, &d->film));
    for (int64_t i = 0; i < d->count; i++)
        if (mgi_folder_is_sample(d->files[i].name, false, d->files, d->count))
            d->film[d->films++] = &d->files[i];
    d->others = mgi_folder_tell_of_others(d->ctx, d->dir, d->files, d->count, false);
    if (!d->films)
        return mgi_folder_no_film(d->ctx, d->dir);
    for (int64_t i = 0; i < d->count; i++)
        d->edited += mgi_folder_is_film(d->files[i].name);
    d->edited -= d->films;
    if (d->edited)
        mgi_log(d->ctx, MGEN_LOG_INFO, "%lld films after an edit of another one are left out",
                (long long)d->edited);
    return MGEN_OK;
}

/* What an earlier curation of this list found before it was ended. */
static mgen_status recall(folder *d, const char *path)
{
    mgi_writer list;
    MGI_TRY(mgi_writer_open(d->ctx, path, &list)); /* not after hours */
    mgi_writer_abort(&list);
    MGI_TRY(mgi_alloc_zero(d->ctx, (size_t)d->films, sizeof *d->seen, &d->seen));
    MGI_TRY(mgi_curate_journal_open(d->ctx, path, &d->curator.rules, d->film, d->films, d->seen,
                                    &d->journal));
    for (int64_t i = 0; i < d->films; i++)
        d->before += d->seen[i] != NULL;
    d->done = d->before;
    if (!d->before)
        return MGEN_OK;
    mgi_log(d->ctx, MGEN_LOG_INFO,
            "%lld of %lld films were watched before, by a curation of this list that was ended",
            (long long)d->before, (long long)d->films);
    return tell_progress(d);
}

static void forget(folder *d)
{
    for (int64_t i = 0; d->seen && i < d->films; i++)
        if (d->seen[i]) {
            mgi_curate_film_free(d->ctx, d->seen[i]);
            mgi_free(d->ctx, d->seen[i]);
        }
    mgi_free(d->ctx, d->seen);
    mgi_free(d->ctx, d->film);
}

static mgen_status take_films(folder *d)
{
    const mgi_in_order_calls calls = {work, deliver, d};
    const int64_t count = mgi_in_order_places(d->ctx->pool);
    mgen_status status;
    MGI_TRY_GOTO(status, make_places(d, count), end);
    d->alone = mgi_pool_threads(d->ctx->pool) == 1;
    MGI_TRY_GOTO(status, mgi_in_order_run(d->ctx, &calls, 0, d->films, d->alone), end);
    if (d->again) { /* what does not fit beside others may fit by itself */
        clear_places(d, count);
        d->alone = true;
        MGI_TRY_GOTO(status, mgi_in_order_run(d->ctx, &calls, d->next, d->films, true), end);
    }
    status = d->status;
end:
    if (d->places) {
        clear_places(d, count);
        for (int64_t i = 0; i < count; i++)
            mgi_context_free(d->places[i].ctx);
    }
    mgi_free(d->ctx, d->places);
    return status;
}

/* ---- the list ----------------------------------------------------------------------------------- */

static void put_scores(mgi_json_writer *w, const mgi_curate_film *f, const mgi_curate_clip *c)
{
    mgi_json_open(w, "scores", '{');
    mgi_json_put_real(w, "text", c->text);
    mgi_json_put_real(w, "border", c->border);
    mgi_json_put_real(w, "still", c->still);
    mgi_json_put_real(w, "still_seconds", c->still_seconds);
    mgi_json_put_real(w, "motion", c->motion);
    mgi_json_put_real(w, "vector", c->vector);
    mgi_json_put_real(w, "shake", c->shake);
    mgi_json_put_real(w, "shots", f->seconds > 0.0 ? (double)f->shots / f->seconds : 0.0);
    if (!isnan(f->aesthetic))
        mgi_json_put_real(w, "aesthetic", f->aesthetic);
    mgi_json_close(w, '}');
}

/* For who reads the clip: where in time the film's frames stand, up to its last one that may be read. */
static void put_known(mgi_json_writer *w, const mgi_curate_film *f)
{
    int64_t end = 0;
    for (int64_t k = 0; k < f->count; k++)
        if (mgi_curate_dropped(f, &f->clips[k]) == MGI_CURATE_STEPS)
            end = f->clips[k].first + f->clips[k].frames;
    end = end < f->known.frames ? end : f->known.frames;
    if (end <= 0)
        return;
    mgi_json_put_int(w, "even", end);
    mgi_json_put_int(w, "even_from", f->known.base);
}

/* `clip` NULL: of a film without any. */
static void put_clip(mgi_json_writer *w, const mgi_curate_film *f, const mgi_curate_clip *clip)
{
    const int step = mgi_curate_dropped(f, clip);
    const int64_t frames = clip ? clip->frames : f->info.frames;
    mgi_json_open(w, NULL, '{');
    mgi_json_put_string(w, "file", f->name);
    mgi_json_put_int(w, "first", clip ? clip->first : 0);
    mgi_json_put_int(w, "frames", frames);
    mgi_json_put_int(w, "width", f->info.width);
    mgi_json_put_int(w, "height", f->info.height);
    mgi_json_put_real(w, "fps", f->fps);
    mgi_json_put_bool(w, "kept", step == MGI_CURATE_STEPS);
    if (step < MGI_CURATE_STEPS) {
        mgi_json_put_string(w, "dropped", mgi_curate_step_name(step));
    } else {
        mgi_json_put_real(w, "weight", clip->weight);
        mgi_json_put_int(w, "cluster", clip->cluster);
        put_known(w, f);
    }
    if (f->caption)
        mgi_json_put_string(w, "caption", f->caption);
    if (clip)
        put_scores(w, f, clip);
    mgi_json_close(w, '}');
}

static mgen_status write_line(mgi_writer *file, const mgi_curate_film *f,
                              const mgi_curate_clip *clip)
{
    mgi_json_writer w;
    const char *text;
    size_t size;
    mgi_json_writer_init(&w, file->ctx, 0);
    put_clip(&w, f, clip);
    mgen_status status = mgi_json_text(&w, &text, &size);
    if (status == MGEN_OK)
        status = mgi_writer_write(file, text, size);
    if (status == MGEN_OK)
        status = mgi_writer_write(file, "\n", 1);
    mgi_json_writer_free(&w);
    return status;
}

static mgen_status write_list(const mgi_curator *c, const char *path)
{
    mgi_writer file;
    mgen_status status = MGEN_OK;
    MGI_TRY(mgi_writer_open(c->ctx, path, &file));
    for (int64_t i = 0; i < c->count && status == MGEN_OK; i++) {
        const mgi_curate_film *f = &c->films[i];
        if (!f->count)
            status = write_line(&file, f, NULL);
        for (int64_t k = 0; k < f->count && status == MGEN_OK; k++)
            status = write_line(&file, f, &f->clips[k]);
    }
    if (status == MGEN_OK)
        status = mgi_writer_commit(&file);
    mgi_writer_abort(&file);
    return status;
}

mgen_status mgi_curate_folder(mgen_context *ctx, const char *dir, const char *rules,
                              const char *path,
                              bool (*progress)(void *user, int64_t done, int64_t total), void *user,
                              mgi_curate_funnel *funnel)
{
    folder d = {.ctx = ctx, .dir = dir, .progress = progress, .user = user, .journal.file.fd = -1};
    mgi_curate_rules r;
    MGI_TRY(mgi_curate_rules_open(ctx, rules, &r));
    MGI_TRY(mgi_dir_list(ctx, dir, &d.files, &d.count));
    mgi_curator_init(&d.curator, ctx, &r);
    mgen_status status = find_films(&d);
    if (status == MGEN_OK)
        status = recall(&d, path);
    if (status == MGEN_OK)
        status = take_films(&d);
    if (status == MGEN_OK)
        status = mgi_curator_decide(&d.curator, funnel);
    if (status == MGEN_OK) {
        funnel->others = d.others;
        funnel->edited = d.edited;
        funnel->before = d.before;
        status = write_list(&d.curator, path);
    }
    mgi_curate_journal_close(&d.journal, status == MGEN_OK);
    if (status == MGEN_OK)
        status = mgi_curate_tell(&d.curator, funnel, dir, path);
    mgi_curator_finish(&d.curator);
    forget(&d);
    mgi_dir_free(ctx, d.files, d.count);
    return status;
}
