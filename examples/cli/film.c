/* SPDX-License-Identifier: MIT
 * Films and sounds of the program: the job that makes one, and the files that it goes to. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLL_MS = 100 };

mgen_status job_wait(mgen_job *job, progress *p)
{
    mgen_job_info info = MGEN_JOB_INFO_INIT;
    mgen_status status;
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
    return status;
}

int film_finish(cli_session *s, mgen_job *job, progress *p, mgen_clip **out)
{
    mgen_status status = job_wait(job, p);
    *out = NULL;
    if (status == MGEN_OK && s->rank == 0)
        status = mgen_job_take_clip(job, out);
    int result = status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
    mgen_job_destroy(job);
    return result;
}

int film_no_upsampler(const cli_session *s)
{
    if (s->rank == 0)
        complain(s->command,
                 "the model has no upsampler: its pipeline.json names none; take a model "
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
    progress_start(&p, what, quiet || s->rank != 0);
    return film_finish(s, job, &p, out);
}

int film_upsample(cli_session *s, const mgen_clip *clip, const mgen_generate_params *params,
                  bool quiet, mgen_clip **out)
{
    mgen_job *job;
    *out = NULL;
    if (!s->pipe.upsampler && session_alone(s))
        return film_no_upsampler(s);
    mgen_status status = mgen_upsample_start(s->ctx, &s->pipe, clip, params, &job);
    return film_started(s, status, job, "upsampling", quiet, out);
}

int film_edit(cli_session *s, const mgen_clip *clip, const mgen_generate_params *params, bool quiet,
              mgen_clip **out)
{
    mgen_job *job;
    *out = NULL;
    if (!s->pipe.editor && !(params->strength > 0) && session_alone(s)) {
        if (s->rank == 0)
            complain(s->command,
                     "the model has no editor: its pipeline.json names none; take a model "
                     "that has one, train one (docs/recipes.md#editor), or let the video model "
                     "edit by --strength");
        return STATUS_ERROR;
    }
    mgen_status status = mgen_edit_start(s->ctx, &s->pipe, clip, params, &job);
    return film_started(s, status, job, "editing", quiet, out);
}

int film_personalize(cli_session *s, const mgen_clip *photo, const mgen_generate_params *params,
                     bool quiet, mgen_clip **out)
{
    mgen_job *job;
    *out = NULL;
    if (!s->pipe.personalizer && session_alone(s)) {
        if (s->rank == 0)
            complain(
                s->command,
                "the model has no personalizer: its pipeline.json names none; take a model that "
                "has one, or train one (docs/recipes.md#personalizer)");
        return STATUS_ERROR;
    }
    mgen_status status = mgen_personalize_start(s->ctx, &s->pipe, photo, params, &job);
    return film_started(s, status, job, "generating", quiet, out);
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

/* Formats of films that hold no sound: it goes to a .wav file beside them. */
static bool is_silent(const char *path)
{
    const char *ending = ending_of(path);
    return ending && (!strcasecmp(ending, ".y4m") || !strcasecmp(ending, ".png"));
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

/* A clip, a sound, or both, of which either may be NULL. */
static mgen_status write_any(cli_session *s, const mgen_clip *clip, const mgen_sound *sound,
                             const char *path)
{
    return !sound ? mgen_clip_write(s->ctx, clip, path)
           : clip ? mgen_movie_write(s->ctx, clip, sound, path)
                  : mgen_sound_write(s->ctx, sound, path);
}

static mgen_status probe_with(cli_session *s, const char *path, bool film, bool heard,
                              char why[OUTPUT_WHY_SIZE])
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_sound_info silence = MGEN_SOUND_INFO_INIT;
    mgen_clip *clip = NULL;
    mgen_sound *sound = NULL;
    char *probe = NULL;
    const char *slash = strrchr(path, '/'), *ending = ending_of(path);
    info.width = info.height = 64;
    info.frames = 2;
    info.fps_num = 16;
    info.fps_den = 1;
    silence.rate = 48000;
    silence.channels = 1;
    silence.samples = 6000;
    *why = 0;
    if (asprintf(&probe, "%.*s.moviegen-probe-%ld%s", (int)(slash ? slash + 1 - path : 0), path,
                 (long)getpid(), ending ? ending : "") < 0)
        return MGEN_E_NO_MEMORY;
    mgen_status status = film ? mgen_clip_create(s->ctx, &info, &clip) : MGEN_OK;
    if (status == MGEN_OK && heard)
        status = mgen_sound_create(s->ctx, &silence, &sound);
    if (status == MGEN_OK)
        status = write_any(s, clip, sound, probe);
    if (status == MGEN_OK)
        unlink(probe);
    else
        replace_once(mgen_last_error(s->ctx), probe, path, why, OUTPUT_WHY_SIZE);
    mgen_clip_destroy(clip);
    mgen_sound_destroy(sound);
    free(probe);
    return status;
}

mgen_status output_probe(cli_session *s, const char *path, char why[OUTPUT_WHY_SIZE])
{
    return probe_with(s, path, true, false, why);
}

/* Without the plug-in: a film goes to .y4m and .png, its sound to .wav. */
static mgen_status probe_plain(cli_session *s, const char *path, bool film,
                               char why[OUTPUT_WHY_SIZE])
{
    char *plain = with_ending(path, film ? ".y4m" : ".wav");
    mgen_status status = plain ? probe_with(s, plain, film, !film, why) : MGEN_E_NO_MEMORY;
    free(plain);
    return status;
}

int film_check(cli_session *s, const char *path, bool quiet, film_files *f)
{
    return files_check(s, path, true, false, quiet, f);
}

int files_check(cli_session *s, const char *path, bool film, bool sound, bool quiet, film_files *f)
{
    struct stat st;
    char why[OUTPUT_WHY_SIZE];
    *f = (film_files){.path = path};
    if (!ending_of(path)) {
        complain(s->command, "--out needs a file name with an ending such as %s, not '%s'",
                 film ? ".mp4, .y4m or .png" : ".wav, .m4a or .flac", path);
        return STATUS_USAGE;
    }
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        complain(s->command, "cannot write '%s': it is a folder", path);
        return STATUS_ERROR;
    }
    mgen_status status = probe_with(s, path, film, sound && !(film && is_silent(path)), why);
    if (status == MGEN_E_UNSUPPORTED) {
        f->fallback = true;
        complain(s->command, "%s", why);
        status = probe_plain(s, path, film, why);
    }
    if (status != MGEN_OK) {
        complain(s->command, "%s", *why ? why : mgen_status_name(status));
        return STATUS_ERROR;
    }
    if (f->fallback && !quiet)
        complain(s->command, "so the %s beside '%s' instead",
                 !film   ? "sound goes to a .wav file"
                 : sound ? "film goes to a .y4m and a .png file and its sound to a .wav file"
                         : "film goes to a .y4m and a .png file",
                 path);
    return STATUS_DONE;
}

bool same_file(const char *a, const char *b)
{
    struct stat one, other;
    return a && !stat(a, &one) && !stat(b, &other) && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

int files_spare(cli_session *s, const film_files *f, const char *input)
{
    static const char *const beside[] = {
        ".wav", ".y4m", ".png"}; /* the sound of silent formats; the others' place */
    const size_t count = f->fallback ? 3 : is_silent(f->path) ? 1 : 0;
    bool hit = input && !f->fallback && same_file(f->path, input);
    for (size_t i = 0; input && i < count; i++) {
        char *name = with_ending(f->path, beside[i]);
        hit = hit || same_file(name, input);
        free(name);
    }
    if (!hit)
        return STATUS_DONE;
    complain(s->command, "'%s' is read and would be written over; give --out another name", input);
    return STATUS_USAGE;
}

/* Takes over the name. */
static int write_file(cli_session *s, const mgen_clip *clip, const mgen_sound *sound, char *name,
                      film_files *f)
{
    if (!name) {
        complain(s->command, "out of memory");
        return STATUS_ERROR;
    }
    f->name[f->count++] = name;
    mgen_status status = write_any(s, clip, sound, name);
    return status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
}

int film_write(cli_session *s, const mgen_clip *clip, film_files *f)
{
    return files_write(s, clip, NULL, f);
}

int files_write(cli_session *s, const mgen_clip *clip, const mgen_sound *sound, film_files *f)
{
    static const char *const plain[] = {".y4m", ".png"};
    if (!f->fallback && clip && sound && is_silent(f->path)) {
        int result = write_file(s, clip, NULL, strdup(f->path), f);
        return result == STATUS_DONE ? write_file(s, NULL, sound, with_ending(f->path, ".wav"), f)
                                     : result;
    }
    if (!f->fallback)
        return write_file(s, clip, sound, strdup(f->path), f);
    int result = STATUS_DONE;
    for (int i = 0; i < 2 && clip && result == STATUS_DONE; i++)
        result = write_file(s, clip, NULL, with_ending(f->path, plain[i]), f);
    if (sound && result == STATUS_DONE)
        result = write_file(s, NULL, sound, with_ending(f->path, ".wav"), f);
    return result;
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
    for (int i = 0; i < f->count && info.frames == 1; i++)
        printf("wrote %s: a picture of %u x %u, in %.1f s\n", f->name[i], info.width, info.height,
               seconds);
    for (int i = 0; i < f->count && info.frames > 1; i++)
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
