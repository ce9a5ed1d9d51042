/* SPDX-License-Identifier: MIT
 * Curation of a folder: its films watched one after the other, and what came of them written. */
#include "core/alloc.h"
#include "core/checked.h"
#include "data/curate.h"
#include "data/folder.h"
#include "data/folder_edits.h"
#include "io/path.h"
#include "text/byte_tokenizer.h"

#include <math.h>
#include <string.h>

typedef struct folder {
    mgen_context *ctx;
    const char *dir;
    mgi_dir_file *files;
    int64_t count;
    mgi_curator curator;
    int64_t unread; /* films */
} folder;

/* ---- films -------------------------------------------------------------------------------------- */

static mgen_status watch_frames(folder *d, mgi_film *film, mgi_curate_film *out)
{
    const int64_t dims[] = {out->info.width, out->info.height, 3};
    mgi_curate_watch *watch = NULL;
    uint8_t *rgb = NULL;
    int64_t size;
    bool enough = false;
    mgen_status status;
    if (!mgi_dims_count(dims, 3, &size))
        return mgi_fail(d->ctx, MGEN_E_CORRUPT, "the film has impossible sides");
    MGI_TRY_GOTO(status, mgi_alloc(d->ctx, (size_t)size, &rgb), end);
    MGI_TRY_GOTO(status, mgi_curate_watch_begin(d->ctx, &d->curator.rules, out, &watch), end);
    while (!enough) {
        bool over;
        MGI_TRY_GOTO(status, mgi_film_next(film, rgb, &over), end);
        if (over)
            break;
        MGI_TRY_GOTO(status, mgi_curate_watch_frame(watch, rgb, &enough), end);
    }
    status = mgi_curate_watch_end(watch);
end:
    mgi_curate_watch_free(watch);
    mgi_free(d->ctx, rgb);
    return status;
}

/* That this film cannot be read is no reason to give up the others. */
static bool of_the_film(mgen_status status)
{
    return status == MGEN_E_CORRUPT || status == MGEN_E_UNSUPPORTED || status == MGEN_E_INVALID;
}

static mgen_status watch_film(folder *d, const char *path, mgi_curate_film *out)
{
    mgi_film *film = NULL;
    mgen_status status = mgi_film_open(d->ctx, path, &film);
    if (status == MGEN_OK) {
        out->info = *mgi_film_about(film);
        out->fps = mgi_film_rate(&out->info);
        if (mgi_curator_wants(&d->curator, out))
            status = watch_frames(d, film, out);
    }
    mgi_film_close(film);
    if (status == MGEN_OK || !of_the_film(status))
        return status;
    mgi_log(d->ctx, MGEN_LOG_WARN, "%s", mgen_last_error(d->ctx));
    for (int64_t i = 0; i < out->count; i++)
        mgi_free(d->ctx, out->clips[i].view);
    out->count = 0;
    out->fails = UINT32_C(1) << MGI_CURATE_READ;
    d->unread++;
    return MGEN_OK;
}

/* {"aesthetic": 5.1}, of a model of the host's, and whatever else it says. */
static mgen_status read_rating(folder *d, const char *film, double *out)
{
    const mgi_dir_file *from = mgi_folder_beside(film, ".json", d->files, d->count);
    char path[MGI_PATH_MAX + 1];
    mgi_file file;
    mgi_json *root = NULL;
    *out = NAN;
    if (!from)
        return MGEN_OK;
    MGI_TRY(mgi_path_join(d->ctx, d->dir, from->name, path, sizeof path));
    MGI_TRY(mgi_file_open(d->ctx, path, &file));
    mgen_status status = mgi_json_parse(d->ctx, path, (const char *)file.data, file.size, &root);
    if (status == MGEN_OK && root->kind == MGI_JSON_OBJECT)
        status = mgi_json_get_real(d->ctx, root, "aesthetic", false, -1e6, 1e6, out);
    mgi_json_free(d->ctx, root);
    mgi_file_close(d->ctx, &file);
    return status == MGEN_OK ? status : mgi_fail_context(d->ctx, status, "'%s'", path);
}

static mgen_status take_film(folder *d, const char *name)
{
    char path[MGI_PATH_MAX + 1];
    const mgi_dir_file *text = mgi_folder_beside(name, ".txt", d->files, d->count);
    mgi_curate_film film = {.aesthetic = NAN};
    size_t bad;
    mgen_status status;
    if (!mgi_utf8_valid(name, strlen(name), &bad))
        return mgi_fail(d->ctx, MGEN_E_INVALID,
                        "a film in '%s' has a name that is no UTF-8 text; rename it", d->dir);
    MGI_TRY_GOTO(status, mgi_strdup(d->ctx, name, &film.name), end);
    if (text)
        MGI_TRY_GOTO(status, mgi_folder_caption(d->ctx, d->dir, text, &film.caption), end);
    MGI_TRY_GOTO(status, read_rating(d, name, &film.aesthetic), end);
    MGI_TRY_GOTO(status, mgi_path_join(d->ctx, d->dir, name, path, sizeof path), end);
    MGI_TRY_GOTO(status, watch_film(d, path, &film), end);
    return mgi_curator_take(&d->curator, &film);
end:
    mgi_curate_film_free(d->ctx, &film);
    return status;
}

static mgen_status take_films(folder *d, bool (*progress)(void *user, int64_t done, int64_t total),
                              void *user)
{
    int64_t films = 0, done = 0;
    for (int64_t i = 0; i < d->count; i++)
        films += mgi_folder_is_sample(d->files[i].name, false, d->files, d->count);
    if (!films)
        return mgi_folder_no_film(d->ctx, d->dir);
    for (int64_t i = 0; i < d->count; i++) {
        if (!mgi_folder_is_sample(d->files[i].name, false, d->files, d->count))
            continue;
        MGI_TRY(take_film(d, d->files[i].name));
        done++;
        if (d->unread == films) /* then it is not the films */
            return mgi_fail(d->ctx, MGEN_E_UNSUPPORTED,
                            "no film in '%s' can be read; the last one: %.400s", d->dir,
                            mgen_last_error(d->ctx));
        if (progress && progress(user, done, films))
            return mgi_fail(d->ctx, MGEN_E_CANCELLED, "curation was stopped after %lld films",
                            (long long)done);
    }
    return MGEN_OK;
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
    folder d = {.ctx = ctx, .dir = dir};
    mgi_curate_rules r;
    MGI_TRY(mgi_curate_rules_open(ctx, rules, &r));
    MGI_TRY(mgi_dir_list(ctx, dir, &d.files, &d.count));
    mgi_curator_init(&d.curator, ctx, &r);
    mgen_status status = take_films(&d, progress, user);
    if (status == MGEN_OK)
        status = mgi_curator_decide(&d.curator, funnel);
    if (status == MGEN_OK)
        status = write_list(&d.curator, path);
    mgi_curator_finish(&d.curator);
    mgi_dir_free(ctx, d.files, d.count);
    return status;
}
