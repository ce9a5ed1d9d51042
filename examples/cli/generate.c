/* SPDX-License-Identifier: MIT
 * moviegen generate: a prompt becomes a film. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 2, POLL_MS = 100 };

typedef struct generate_options {
    const char *model, *prompt, *negative, *out;
    uint64_t seed;
    uint32_t steps, frames;
    cli_place place;
    double guidance;
    cli_sampling sampling;
    bool json, quiet;
} generate_options;

int generate_clip(cli_session *s, const mgen_generate_params *params, progress *p, mgen_clip **out)
{
    mgen_job *job;
    mgen_status status = mgen_generate_start(s->ctx, &s->pipe, params, &job);
    *out = NULL;
    if (status != MGEN_OK)
        return complain_library(s, status);
    mgen_job_info info = MGEN_JOB_INFO_INIT;
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

/* Says before the work starts what would go wrong after it. *fallback: the format is not available,
 * the film goes to .y4m and .png instead. */
static int check_output(cli_session *s, const char *path, bool *fallback)
{
    struct stat st;
    char why[OUTPUT_WHY_SIZE];
    *fallback = false;
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
        *fallback = true;
        complain(s->command, "%s", why);
        char *plain = with_ending(path, ".y4m");
        status = plain ? output_probe(s, plain, why) : MGEN_E_NO_MEMORY;
        free(plain);
    }
    if (status != MGEN_OK) {
        complain(s->command, "%s", *why ? why : mgen_status_name(status));
        return STATUS_ERROR;
    }
    return STATUS_DONE;
}

/* Writes the clip; files receives allocated names. */
static int write_clip(cli_session *s, const mgen_clip *clip, const char *path, bool fallback,
                      char *files[FILES_MAX], int *file_count)
{
    static const char *const plain[] = {".y4m", ".png"};
    *file_count = 0;
    for (int i = 0; i < (fallback ? 2 : 1); i++) {
        char *name = fallback ? with_ending(path, plain[i]) : strdup(path);
        if (!name) {
            complain(s->command, "out of memory");
            return STATUS_ERROR;
        }
        files[(*file_count)++] = name;
        mgen_status status = mgen_clip_write(s->ctx, clip, name);
        if (status != MGEN_OK)
            return complain_library(s, status);
    }
    return STATUS_DONE;
}

static void print_result(const cli_session *s, const generate_options *o, const mgen_clip *clip,
                         char *const *files, int file_count, double seconds)
{
    mgen_clip_info info = MGEN_CLIP_INFO_INIT;
    mgen_model_info model = MGEN_MODEL_INFO_INIT;
    mgen_clip_get_info(clip, &info);
    mgen_video_model_get_info(s->pipe.video, &model);
    double fps = info.fps_den ? (double)info.fps_num / info.fps_den : 0;
    if (!o->json) {
        for (int i = 0; i < file_count && !o->quiet; i++)
            printf("wrote %s: %u frames of %u x %u, %g frames per second, in %.1f s\n", files[i],
                   info.frames, info.width, info.height, fps, seconds);
        return;
    }
    printf("{\"n\":1,\"seed\":%llu,\"model_hash\":\"%016llx\",\"prompt\":",
           (unsigned long long)o->seed, (unsigned long long)mgen_pipeline_hash(&s->pipe));
    json_string(stdout, o->prompt);
    printf(",\"steps\":%u,\"guidance\":", o->steps);
    json_number(stdout, o->guidance > 0 ? o->guidance : (double)model.guidance);
    printf(",\"width\":%u,\"height\":%u,\"frames\":%u,\"fps\":", info.width, info.height,
           info.frames);
    json_number(stdout, fps);
    printf(",\"seconds\":%.3f,\"files\":[", seconds);
    for (int i = 0; i < file_count; i++) {
        fputs(i ? "," : "", stdout);
        json_string(stdout, files[i]);
    }
    printf("]}\n");
}

static int generate(cli_session *s, const void *options)
{
    const generate_options *o = options;
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_clip *clip = NULL;
    char *files[FILES_MAX] = {NULL};
    int file_count = 0;
    bool fallback = false, first = s->rank == 0; /* who gets the film */
    progress p;

    if (!sampling_numbers(s, &o->sampling, &params.solver, &params.schedule, &params.drop_text))
        return STATUS_USAGE;
    int result = first ? check_output(s, o->out, &fallback) : STATUS_DONE;
    if (result != STATUS_DONE)
        return result;
    if (fallback && !o->quiet)
        complain(s->command, "so the film goes to a .y4m and a .png file beside '%s' instead",
                 o->out);
    if (!session_load(s, o->model))
        return STATUS_ERROR;
    params.prompt = o->prompt;
    params.negative_prompt = o->negative;
    params.seed = o->seed;
    params.steps = o->steps;
    params.frames = o->frames;
    params.guidance = (float)o->guidance;
    params.guidance_from = (float)o->sampling.guidance_from;
    params.guidance_to = (float)o->sampling.guidance_to;
    double start = seconds_now();
    progress_start(&p, "generating", o->quiet || !first);
    result = generate_clip(s, &params, &p, &clip);
    if (result == STATUS_DONE && first)
        result = write_clip(s, clip, o->out, fallback, files, &file_count);
    if (result == STATUS_DONE && first)
        print_result(s, o, clip, files, file_count, seconds_now() - start);
    for (int i = 0; i < FILES_MAX; i++)
        free(files[i]);
    mgen_clip_destroy(clip);
    return result;
}

static int run(const cli_command *self, int argc, char **argv)
{
    generate_options o = {.place = {.rank = RANK_UNTOLD},
                          .out = "movie.mp4",
                          .seed = DEFAULT_SEED,
                          .steps = DEFAULT_STEPS};
    const cli_option table[] = {
        {"--prompt", "-p", OPTION_TEXT, &o.prompt, 0, 0, "TEXT", "what the film shows, in UTF-8"},
        {"--out", "-o", OPTION_TEXT, &o.out, 0, 0, "FILE",
         "where the film goes (default: movie.mp4)"},
        OPTION_MODEL(&o.model),
        OPTION_SEED(&o.seed),
        OPTION_STEPS(&o.steps),
        {"--frames", NULL, OPTION_U32, &o.frames, 1, 65536, "N",
         "frames of the film; 1 is a picture (default: the model's own)"},
        OPTION_GUIDANCE(&o.guidance),
        OPTION_SOLVER(&o.sampling.solver),
        OPTION_SCHEDULE(&o.sampling.schedule),
        OPTION_GUIDANCE_FROM(&o.sampling.guidance_from),
        OPTION_GUIDANCE_TO(&o.sampling.guidance_to),
        OPTION_DROP_TEXT(&o.sampling.drop_text),
        OPTION_PRECISION(&o.sampling.precision),
        {"--negative", NULL, OPTION_TEXT, &o.negative, 0, 0, "TEXT",
         "what guidance leads away from (default: nothing)"},
        OPTION_MESH(&o.place.mesh),
        OPTION_MEET(&o.place.meet),
        OPTION_RANK(&o.place.rank),
        OPTION_RANKS(&o.place.ranks),
        OPTION_RUN(&o.place.run),
        OPTION_THREADS(&o.place.threads),
        OPTION_DEVICE(&o.place.device),
        OPTION_AUTOTUNE(&o.place.autotune),
        OPTION_JSON(&o.json),
        OPTION_QUIET(&o.quiet),
        OPTION_END,
    };
    const char *word;
    int words;
    int result = options_parse(self, table, argc, argv, &word, 1, &words);
    if (result != OPTIONS_OK)
        return result;
    if (words && o.prompt) {
        complain(self, "two prompts, '%s' and '%s'; give one (quote a prompt of several words)",
                 o.prompt, word);
        return STATUS_USAGE;
    }
    if (words)
        o.prompt = word;
    if (!o.prompt) {
        complain(self, "no prompt given; usage: moviegen generate %s", self->usage);
        return STATUS_USAGE;
    }
    return ranks_run(self, &o.place, generate, &o);
}

const cli_command command_generate = {
    "generate", "generate a film from a prompt", "\"PROMPT\" [options]",
    "The ending of FILE chooses the format: .y4m and .png (a strip of frames; with %03d in the "
    "name\n"
    "a file per frame) always work; .mp4, .mkv, .webm and others need the FFmpeg plug-in, and\n"
    "without it a .y4m and a .png file are written instead. Ctrl-C cancels.",
    run};
