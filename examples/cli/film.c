/* SPDX-License-Identifier: MIT
 * Films of the program: the job that makes one, and the files that it goes to. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLL_MS = 100 };

int film_finish(cli_session *s, mgen_job *job, progress *p, mgen_clip **out)
{
    mgen_job_info info = MGEN_JOB_INFO_INIT;
    mgen_status status;
    *out = NULL;
    while ((status = mgen_job_wait(job, POLL_MS)) == MGEN_E_TIMEOUT) {
        if (p && mgen_job_get_info(job, &info) == MGEN_OK && info.total > 0)
            progress_update(p, info.done, info.total, NULL);
        if (interrupted())
            mgen_job_cancel(job);
    }
    if (p && status == MGEN_OK && mgen_job_get_info(job, &info) == MGEN_OK)
        progress_update(p, info.total, info.total, NULL);
    if (p)
        progress_end(p);
    if (status == MGEN_OK && s->rank == 0)
        status = mgen_job_take_clip(job, out);
    int result = status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
    mgen_job_destroy(job);
    return result;
}

int film_no_upsampler(const cli_session *s)
{
    complain(s->command, "the model has no upsampler: its pipeline.json names none; take a model "
                         "that has one, or train one (docs/recipes.md#upsampler)");
    return STATUS_ERROR;
}

/* To the end of a job that was started or not. */
static int film_started(cli_session *s, mgen_status status, mgen_job *job, const char *what,
                        bool quiet, mgen_clip **out)
{
    progress p;
    if (status != MGEN_OK)
        return complain_library(s, status);
    progress_start(&p, what, quiet);
    return film_finish(s, job, &p, out);
}

int film_upsample(cli_session *s, const mgen_clip *clip, const mgen_generate_params *params,
                  bool quiet, mgen_clip **out)
{
    mgen_job *job;
    *out = NULL;
    if (!s->pipe.upsampler)
        return film_no_upsampler(s);
    mgen_status status = mgen_upsample_start(s->ctx, &s->pipe, clip, params, &job);
    return film_started(s, status, job, "upsampling", quiet, out);
}

int film_edit(cli_session *s, const mgen_clip *clip, const mgen_generate_params *params, bool quiet,
              mgen_clip **out)
{
    mgen_job *job;
    *out = NULL;
    if (!s->pipe.editor && !(params->strength > 0)) {
        complain(s->command,
                 "the model has no editor: its pipeline.json names none; take a model "
                 "that has one, train one (docs/recipes.md#editor), or let the video model "
                 "edit by --strength");
        return STATUS_ERROR;
    }
    mgen_status status = mgen_edit_start(s->ctx, &s->pipe, clip, params, &job);
    return film_started(s, status, job, "editing", quiet, out);
}

/* The ending of a path's last component, with its dot; NULL if there is none. */
static const char *ending_of(const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    const char *dot = strrchr(name, '.');
    return dot && dot != name && dot[1] ? dot : NULL;
}

/* "<path without ending><ending>", allocated. */
static char *with_ending(const char *path, const char *ending)
{
    const char *old = ending_of(path);
    char *result = NULL;
    if (asprintf(&result, "%.*s%s", (int)(old ? old - path : (long)strlen(path)), path, ending) < 0)
        return NULL;
    return result;
}

/* Copy `text` with its first `from` replaced by `to`. */
static void replace_once(const char *text, const char *from, const char *to, char *out, size_t size)
{
    const char *at = strstr(text, from);
    if (at)
        snprintf(out, size, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    else
        snprintf(out, size, "%s", text);
}

mgen_status output_probe(cli_session *s, const char *path, char why[OUTPUT_WHY_SIZE])
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip *clip = NULL;
    char *probe = NULL;
    const char *slash = strrchr(path, '/'), *ending = ending_of(path);
    info.width = info.height = 64;
    info.frames = 2;
    info.fps_num = 16;
    info.fps_den = 1;
    *why = 0;
    if (asprintf(&probe, "%.*s.moviegen-probe-%ld%s", (int)(slash ? slash + 1 - path : 0), path,
                 (long)getpid(), ending ? ending : "") < 0)
        return MGEN_E_NO_MEMORY;
    mgen_status status = mgen_clip_create(s->ctx, &info, &clip);
    if (status == MGEN_OK)
        status = mgen_clip_write(s->ctx, clip, probe);
    if (status == MGEN_OK)
        unlink(probe);
    else
        replace_once(mgen_last_error(s->ctx), probe, path, why, OUTPUT_WHY_SIZE);
    mgen_clip_destroy(clip);
    free(probe);
    return status;
}

int film_check(cli_session *s, const char *path, bool quiet, film_files *f)
{
    struct stat st;
    char why[OUTPUT_WHY_SIZE];
    *f = (film_files){.path = path};
    if (!ending_of(path)) {
        complain(s->command,
                 "--out needs a file name with an ending such as .mp4, .y4m or .png, not '%s'",
                 path);
        return STATUS_USAGE;
    }
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        complain(s->command, "cannot write '%s': it is a folder", path);
        return STATUS_ERROR;
    }
    mgen_status status = output_probe(s, path, why);
    if (status == MGEN_E_UNSUPPORTED) {
        f->fallback = true;
        complain(s->command, "%s", why);
        char *plain = with_ending(path, ".y4m");
        status = plain ? output_probe(s, plain, why) : MGEN_E_NO_MEMORY;
        free(plain);
    }
    if (status != MGEN_OK) {
        complain(s->command, "%s", *why ? why : mgen_status_name(status));
        return STATUS_ERROR;
    }
    if (f->fallback && !quiet)
        complain(s->command, "so the film goes to a .y4m and a .png file beside '%s' instead",
                 path);
    return STATUS_DONE;
}

int film_write(cli_session *s, const mgen_clip *clip, film_files *f)
{
    static const char *const plain[FILM_FILES_MAX] = {".y4m", ".png"};
    for (int i = 0; i < (f->fallback ? FILM_FILES_MAX : 1); i++) {
        char *name = f->fallback ? with_ending(f->path, plain[i]) : strdup(f->path);
        if (!name) {
            complain(s->command, "out of memory");
            return STATUS_ERROR;
        }
        f->name[f->count++] = name;
        mgen_status status = mgen_clip_write(s->ctx, clip, name);
        if (status != MGEN_OK)
            return complain_library(s, status);
    }
    return STATUS_DONE;
}

void film_files_free(film_files *f)
{
    for (int i = 0; i < f->count; i++)
        free(f->name[i]);
    f->count = 0;
}

void film_tell(const film_files *f, const mgen_clip *clip, double seconds)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip_get_info(clip, &info);
    for (int i = 0; i < f->count; i++)
        printf("wrote %s: %u frames of %u x %u, %g frames per second, in %.1f s\n", f->name[i],
               info.frames, info.width, info.height, (double)info.fps_num / info.fps_den, seconds);
}

void json_film(FILE *out, const film_files *f, const mgen_clip *clip, double seconds)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_clip_get_info(clip, &info);
    fprintf(out, ",\"width\":%u,\"height\":%u,\"frames\":%u,\"fps\":", info.width, info.height,
            info.frames);
    json_number(out, (double)info.fps_num / info.fps_den);
    fprintf(out, ",\"seconds\":%.3f,\"files\":[", seconds);
    for (int i = 0; i < f->count; i++) {
        fputs(i ? "," : "", out);
        json_string(out, f->name[i]);
    }
    fprintf(out, "]}\n");
}
