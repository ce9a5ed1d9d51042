/* SPDX-License-Identifier: MIT
 * moviegen sound: a film gets its sound, or a text becomes one. */
#include "cli.h"

#include <string.h>
#include <strings.h>

/* In the order of MGEN_SOUND_*. */
static const char *const extensions[] = {"blended", "one-by-one"};
/* Endings of files that hold a sound alone. */
static const char *const sounds[] = {".wav", ".m4a", ".mp3", ".ogg", ".opus", ".flac", ".aac"};
enum { SOUNDS = sizeof sounds / sizeof *sounds };

typedef struct sound_options {
    const char *input, *model, *out, *context;
    mgen_sound_params params;
    uint64_t first;
    uint32_t frames;
    cli_place place;
    double guidance, quality;
    cli_sampling sampling;
    bool json, quiet;
} sound_options;

int sound_no_model(const cli_session *s)
{
    if (s->rank == 0)
        complain(s->command,
                 "the model has no audio model: its pipeline.json names none; take a model "
                 "that has one, or train one (docs/recipes.md#audio-model)");
    return STATUS_ERROR;
}

int sound_make(cli_session *s, const mgen_clip *clip, const mgen_sound_params *params, bool quiet,
               mgen_sound **out)
{
    mgen_job *job;
    progress p;
    *out = NULL;
    if (!s->pipe.audio && session_alone(s))
        return sound_no_model(s);
    mgen_status status = mgen_sound_start(s->ctx, &s->pipe, clip, params, &job);
    if (status != MGEN_OK)
        return complain_library(s, status);
    progress_start(&p, "making sound", quiet || s->rank != 0);
    status = job_wait(job, &p);
    if (status == MGEN_OK && s->rank == 0)
        status = mgen_job_take_sound(job, out);
    int result = status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
    mgen_job_destroy(job);
    return result;
}

static void print_text(const char *name, const char *text)
{
    printf(",\"%s\":", name);
    if (text)
        json_string(stdout, text);
    else
        printf("null");
}

static void print_json(const cli_session *s, const sound_options *o, const mgen_sound *sound,
                       const film_files *files, double seconds)
{
    mgen_model_info model = MGEN_MODEL_INFO_INIT;
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    mgen_audio_model_get_info(s->pipe.audio, &model);
    mgen_sound_get_info(sound, &info);
    printf("{\"n\":1,\"seed\":%llu,\"model_hash\":\"%016llx\"", (unsigned long long)o->params.seed,
           (unsigned long long)mgen_pipeline_hash(&s->pipe));
    print_text("input", o->input);
    print_text("prompt", o->params.prompt);
    print_text("music", o->params.music);
    if (o->params.steps)
        printf(",\"steps\":%u", o->params.steps);
    printf(",\"guidance\":");
    json_number(stdout, o->guidance > 0 ? o->guidance : (double)model.guidance);
    printf(",\"noise_scale\":");
    json_number(stdout,
                o->sampling.noise_scale > 0 ? o->sampling.noise_scale : (double)model.noise_scale);
    printf(",\"rate\":%u,\"samples\":%llu,\"seconds\":%.3f,\"files\":[", info.rate,
           (unsigned long long)info.samples, seconds);
    for (int i = 0; i < files->count; i++) {
        printf(i ? "," : "");
        json_string(stdout, files->name[i]);
    }
    printf("]}\n");
}

static void tell(const film_files *files, const mgen_sound *sound, double seconds)
{
    mgen_sound_info info = MGEN_SOUND_INFO_INIT;
    mgen_sound_get_info(sound, &info);
    for (int i = 0; i < files->count; i++)
        printf("wrote %s: %.2f s of sound, %u samples a second, in %.1f s\n", files->name[i],
               (double)info.samples / info.rate, info.rate, seconds);
}

static bool is_sound(const char *path)
{
    const char *dot = strrchr(path, '.');
    for (int i = 0; dot && i < SOUNDS; i++)
        if (!strcasecmp(dot, sounds[i]))
            return true;
    return false;
}

/* The film, if there is one, of which the first rank tells the others; and what is heard before, if anything is. */
static int read_inputs(cli_session *s, const sound_options *o, mgen_clip **clip,
                       mgen_sound **before)
{
    mgen_status status = MGEN_OK;
    if (o->input && s->rank == 0)
        status = mgen_clip_read(s->ctx, o->input, o->first, o->frames, clip);
    if (status == MGEN_OK && o->context)
        status = mgen_sound_read(s->ctx, o->context, 0, 0, before);
    return status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
}

static int make(cli_session *s, const sound_options *o, const mgen_sound_params *params,
                const mgen_clip *clip, film_files *files)
{
    mgen_sound *sound;
    double start = seconds_now();
    int result = sound_make(s, clip, params, o->quiet, &sound);
    bool first = result == STATUS_DONE && s->rank == 0; /* who gets it */
    if (first)
        result = files_write(s, is_sound(o->out) ? NULL : clip, sound, files);
    if (first && result == STATUS_DONE && o->json)
        print_json(s, o, sound, files, seconds_now() - start);
    else if (first && result == STATUS_DONE && !o->quiet)
        tell(files, sound, seconds_now() - start);
    film_files_free(files);
    mgen_sound_destroy(sound);
    return result;
}

static int work(cli_session *s, const void *options)
{
    const sound_options *o = options;
    mgen_sound_params params = o->params;
    mgen_clip *clip = NULL;
    mgen_sound *before = NULL;
    film_files files = {.count = 0};
    uint32_t schedule, drop_text;
    if (!sampling_numbers(s, &o->sampling, &params.solver, &schedule, &drop_text))
        return STATUS_USAGE;
    int result = STATUS_DONE;
    if (s->rank == 0)
        result = files_check(s, o->out, !is_sound(o->out), true, o->quiet, &files);
    if (result == STATUS_DONE && s->rank == 0)
        result = files_spare(s, &files, o->input);
    if (result == STATUS_DONE && s->rank == 0)
        result = files_spare(s, &files, o->context);
    if (result == STATUS_DONE)
        result = read_inputs(s, o, &clip, &before);
    if (result == STATUS_DONE)
        result = session_load(s, o->model);
    params.context = before;
    if (result == STATUS_DONE)
        result = make(s, o, &params, clip, &files);
    mgen_clip_destroy(clip);
    mgen_sound_destroy(before);
    return result;
}

static int check(const cli_command *self, sound_options *o)
{
    if (!o->out)
        o->out = o->input ? "sound.mp4" : "sound.wav";
    if (!o->input && !(o->params.seconds > 0)) {
        complain(self, "neither a film nor --seconds given; usage: moviegen sound %s", self->usage);
        return STATUS_USAGE;
    }
    if (!o->input && (o->first || o->frames)) {
        complain(self, "--first and --frames are of a film, and there is none; --seconds says how "
                       "long the sound is");
        return STATUS_USAGE;
    }
    if (!o->input && !is_sound(o->out) && strrchr(o->out, '.')) {
        complain(self,
                 "'%s' is a film by its ending, but there is none; give one, or a file of "
                 "sound such as sound.wav",
                 o->out);
        return STATUS_USAGE;
    }
    return STATUS_DONE;
}

static int run(const cli_command *self, int argc, char **argv)
{
    sound_options o = {.place = {.rank = RANK_UNTOLD},
                       .params = MGEN_SOUND_PARAMS_INIT,
                       .sampling = {.solver = "midpoint"}};
    mgen_sound_params *p = &o.params;
    const char *extension = NULL;
    p->seed = DEFAULT_SEED;
    const cli_option table[] = {
        {"--out", "-o", OPTION_TEXT, &o.out, 0, 0, "FILE",
         "where it goes: a film with sound, or with an ending such as .wav the sound alone "
         "(default: "
         "sound.mp4, without a film sound.wav)"},
        {"--prompt", "-p", OPTION_TEXT, &p->prompt, 0, 0, "TEXT",
         "what is heard, in UTF-8 (default: nothing is said)"},
        {"--music", NULL, OPTION_TEXT, &p->music, 0, 0, "TEXT",
         "what the music is like; \"\": any (default: no music)"},
        {"--seconds", NULL, OPTION_REAL, &p->seconds, 0.01, 65536, "S",
         "length of the sound (default: the film's)"},
        {"--context", NULL, OPTION_TEXT, &o.context, 0, 0, "FILE",
         "sound that is heard before, with which this one goes on (default: none)"},
        OPTION_MODEL(&o.model),
        OPTIONS_FRAMES(&o),
        OPTION_SEED(&p->seed),
        {"--steps", NULL, OPTION_U32, &p->steps, 1, 1000, "N",
         "solver steps (default: the audio model's)"},
        {"--guidance", NULL, OPTION_REAL, &o.guidance, 0.001, 100, "G",
         "guidance scale; 1 = off (default: the audio model's)"},
        OPTION_NOISE_SCALE(&o.sampling.noise_scale),
        {"--quality", NULL, OPTION_REAL, &o.quality, 1, 10, "Q",
         "of the sound, as the model is told it (default: 7, with music 8)"},
        {"--candidates", NULL, OPTION_U32, &p->candidates, 1, 64, "N",
         "make so many and take the one that the model finds the best (default: 1)"},
        {"--extension", NULL, OPTION_TEXT, &extension, 0, 0, "NAME",
         "how sounds longer than the model's window are made: blended or one-by-one (default: "
         "blended)"},
        {"--solver", NULL, OPTION_TEXT, &o.sampling.solver, 0, 0, "NAME",
         "euler, midpoint, or dopri5, which takes at most --steps (default: midpoint)"},
        OPTION_PRECISION(&o.sampling.precision),
        {"--negative", NULL, OPTION_TEXT, &p->negative, 0, 0, "TEXT",
         "what is heard in what guidance leads away from (default: nothing is said of it)"},
        OPTIONS_PLACE(&o.place),
        OPTION_JSON(&o.json),
        OPTION_QUIET(&o.quiet),
        OPTION_END,
    };
    int words;
    int result = options_parse(self, table, argc, argv, &o.input, 1, &words);
    if (result != OPTIONS_OK)
        return result;
    if (!name_number(self, "--extension", extension, extensions, 2, &p->extension))
        return STATUS_USAGE;
    result = check(self, &o);
    if (result != STATUS_DONE)
        return result;
    p->guidance = (float)o.guidance;
    p->noise_scale = (float)o.sampling.noise_scale;
    p->quality = (float)o.quality;
    return ranks_run(self, &o.place, work, &o);
}

const cli_command command_sound = {
    "sound", "make the sound of a film, or of a text", "[INPUT] [options]",
    "INPUT is a film or a picture. The ending of FILE is its format: of films .mp4, .mkv, .webm "
    "and "
    "others by\n"
    "the FFmpeg plug-in, without which the film becomes a .y4m and a .png file and the sound a "
    ".wav "
    "file; of\n"
    "sounds .wav, or .m4a, .mp3, .ogg, .opus and .flac by the plug-in. Ctrl-C cancels.",
    run};
