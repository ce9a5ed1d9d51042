/* SPDX-License-Identifier: MIT
 * moviegen eval: measure a model in the toybox. */
#include "cli.h"

#include <string.h>

typedef struct eval_options {
    const char *protocol, *model, *data;
    uint64_t seed;
    uint32_t n, steps, threads, side, frames;
    const char *device;
    bool autotune;
    double guidance;
    cli_sampling sampling;
    bool json, quiet;
} eval_options;

static int32_t on_progress(void *user, uint32_t done, uint32_t total)
{
    progress_update(user, done, total, NULL);
    return interrupted();
}

/* The library's report may hold "n" itself; the line has it once. */
static uint32_t measured(const mgen_report *report, uint32_t asked)
{
    double n = report_find(report, "n");
    return n >= 0 && n <= 4e9 ? (uint32_t)n : asked;
}

/* Of generating; an upsampler's and an editor's own number stands in the report. */
static uint32_t steps_of(const eval_options *o)
{
    return o->steps || strcmp(o->protocol, "alignment") ? o->steps : DEFAULT_STEPS;
}

static bool of_a_model(const eval_options *o)
{
    return strcmp(o->protocol, "curate") != 0;
}

static void print_json(const cli_session *s, const eval_options *o, const mgen_report *report)
{
    printf("{\"protocol\":");
    json_string(stdout, o->protocol);
    printf(",\"n\":%u,\"seed\":%llu", measured(report, o->n), (unsigned long long)o->seed);
    if (of_a_model(o))
        printf(",\"model_hash\":\"%016llx\"", (unsigned long long)mgen_pipeline_hash(&s->pipe));
    if (strcmp(o->protocol, "alignment") == 0)
        printf(",\"steps\":%u", steps_of(o));
    for (uint32_t i = 0; i < mgen_report_count(report); i++) {
        const char *name = mgen_report_name(report, i);
        if (!strcmp(name, "n") || !strcmp(name, "seed"))
            continue;
        fputc(',', stdout);
        json_string(stdout, name);
        fputc(':', stdout);
        json_number(stdout, mgen_report_value(report, i));
    }
    printf("}\n");
}

static void print_table(const cli_session *s, const eval_options *o, const mgen_report *report)
{
    printf("%s, %u %s, seed %llu", o->protocol, measured(report, o->n),
           of_a_model(o) ? "clips" : "films", (unsigned long long)o->seed);
    if (of_a_model(o))
        printf(", model %016llx", (unsigned long long)mgen_pipeline_hash(&s->pipe));
    printf("\n");
    int width = 24;
    for (uint32_t i = 0; i < mgen_report_count(report); i++) {
        int own = (int)strlen(mgen_report_name(report, i));
        width = own > width ? own : width;
    }
    for (uint32_t i = 0; i < mgen_report_count(report); i++)
        if (strcmp(mgen_report_name(report, i), "n"))
            printf("  %-*s %10.4f\n", width, mgen_report_name(report, i),
                   mgen_report_value(report, i));
}

static mgen_status open_data(cli_session *s, const eval_options *o, mgen_dataset **data)
{
    mgen_dataset_params p = MGEN_DATASET_PARAMS_INIT;
    const bool as_made = !strcmp(o->protocol, "frechet"); /* the pipeline's own clip */
    p.width = o->side ? o->side : as_made ? s->pipe.width : 64;
    p.height = o->side ? o->side : as_made ? s->pipe.height : 64;
    p.frames = o->frames ? o->frames : as_made ? s->pipe.frames : 32;
    return mgen_dataset_open(s->ctx, o->data, &p, data);
}

static int evaluate(cli_session *s, const eval_options *o)
{
    mgen_eval_params params = MGEN_EVAL_PARAMS_INIT;
    mgen_report *report;
    progress p;
    if (!sampling_numbers(s, &o->sampling, &params.solver, &params.schedule, &params.drop_text))
        return STATUS_USAGE;
    int result = of_a_model(o) ? session_load(s, o->model) : STATUS_DONE;
    if (result != STATUS_DONE)
        return result;
    params.protocol = o->protocol;
    params.n = o->n;
    params.seed = o->seed;
    params.steps = steps_of(o);
    params.guidance = (float)o->guidance;
    params.guidance_from = (float)o->sampling.guidance_from;
    params.guidance_to = (float)o->sampling.guidance_to;
    params.noise_scale = (float)o->sampling.noise_scale;
    params.on_progress = on_progress;
    params.user = &p;
    mgen_status status = o->data ? open_data(s, o, &params.dataset) : MGEN_OK;
    if (status != MGEN_OK)
        return complain_library(s, status);
    progress_start(&p, "measuring", o->quiet);
    status = mgen_evaluate(s->ctx, &s->pipe, &params, &report);
    progress_end(&p);
    mgen_dataset_release(params.dataset);
    if (status != MGEN_OK)
        return complain_library(s, status);
    if (o->json)
        print_json(s, o, report);
    else
        print_table(s, o, report);
    mgen_report_destroy(report);
    return STATUS_DONE;
}

static int run(const cli_command *self, int argc, char **argv)
{
    eval_options o = {.seed = DEFAULT_SEED};
    const cli_option table[] = {
        OPTION_MODEL(&o.model),
        {"--clips", "-n", OPTION_U32, &o.n, 1, 1000000, "N",
         "clips to measure (default: the protocol's own number)"},
        {"--data", NULL, OPTION_TEXT, &o.data, 0, 0, "DIR",
         "tae, frechet: a folder of films, with captions, that is measured instead of the toybox"},
        {"--size", NULL, OPTION_U32, &o.side, 8, 4096, "N",
         "width and height, a multiple of 8, that those films are scaled and cropped to (default: "
         "64; "
         "frechet: as films are made)"},
        {"--frames", NULL, OPTION_U32, &o.frames, 1, 4096, "N",
         "frames that are taken of each (default: 32; frechet: as films are made)"},
        OPTION_SEED(&o.seed),
        {"--steps", NULL, OPTION_U32, &o.steps, 1, 1000, "N",
         "solver steps (default: 50; upsample, edit, sound, personalize: as their models say)"},
        OPTION_GUIDANCE(&o.guidance),
        OPTIONS_SAMPLING(&o.sampling),
        OPTION_THREADS(&o.threads),
        OPTION_MEMORY,
        OPTION_DEVICE(&o.device),
        OPTION_AUTOTUNE(&o.autotune),
        OPTION_JSON(&o.json),
        OPTION_QUIET(&o.quiet),
        OPTION_END,
    };
    const char *word = NULL;
    int words;
    int result = options_parse(self, table, argc, argv, &word, 1, &words);
    if (result != OPTIONS_OK)
        return result;
    if (!words ||
        (strcmp(word, "tae") && strcmp(word, "alignment") && strcmp(word, "frechet") &&
         strcmp(word, "upsample") && strcmp(word, "edit") && strcmp(word, "sound") &&
         strcmp(word, "personalize") && strcmp(word, "rewrite") && strcmp(word, "curate"))) {
        complain(self,
                 "%s%s%s; protocols are tae, alignment, frechet, upsample, edit, sound, "
                 "personalize, rewrite and curate",
                 words ? "unknown protocol '" : "no protocol given", words ? word : "",
                 words ? "'" : "");
        return STATUS_USAGE;
    }
    if (!o.data && (o.side || o.frames)) {
        complain(self, "--size and --frames are of the films of --data; those of the toybox are as "
                       "the protocol has them");
        return STATUS_USAGE;
    }
    o.protocol = word;
    cli_session s;
    interrupt_catch();
    result =
        session_open(&s, self, o.threads, o.device, o.autotune) ? evaluate(&s, &o) : STATUS_ERROR;
    session_close(&s);
    return result;
}

const cli_command command_eval = {
    "eval", "measure a model in the toybox",
    "tae|alignment|frechet|upsample|edit|sound|personalize|rewrite|curate [options]",
    "tae: how well the autoencoder reproduces clips that it has not seen, what a program that "
    "looks "
    "at\n"
    "the pixels still finds in them, and how films longer than a tile come together.\n"
    "alignment: whether that program finds in the generated films what the prompts asked for, on\n"
    "combinations that no training has; with what is found in reproduced true films (ceiling), and "
    "what\n"
    "another prompt would have scored (control). Of a model of pictures: what a picture can show.\n"
    "frechet: how far films made for prompts are, as a set, from true films of other scenes of "
    "that kind (Frechet\n"
    "distance of what a fixed network sees in frames, and in what changes between them); with how "
    "far true films are\n"
    "from them (floor), and reproduced ones (ceiling). Near the floor is good.\n"
    "upsample: how near small films, reproduced and upsampled, come to the same scenes drawn "
    "large; "
    "with\n"
    "what a bilinear resize makes of them, with films that were not reproduced before (clean), and "
    "with\n"
    "the large ones reproduced by the upsampler's autoencoder (ceiling).\n"
    "edit: how near edited films come to the same scenes drawn as the instruction says (psnr, "
    "ssim), in\n"
    "what is to stay and what is to change (kept, changed), and whether that program finds the "
    "edit in them\n"
    "(applied), of all and of each task; with films left as they were (copy), edited by the video "
    "model\n"
    "alone (sdedit), and with the true ones reproduced (ceiling).\n"
    "sound: whether a program that listens finds in sounds made for films what is heard there "
    "(place, "
    "music,\n"
    "mood, tempo, impacts in time); with what it finds in the true ones, reproduced (ceiling), "
    "what "
    "another\n"
    "film would have scored (control), and sounds made of captions alone (unseen).\n"
    "personalize: whether that program finds the person of a photo, whom no training has shown, "
    "in\n"
    "films made from it (identity: the first of 256, of the film, its best and its worst frame), "
    "and\n"
    "what the prompt asked for; with what it finds in true films, reproduced (ceiling), what "
    "another\n"
    "person would have scored (control), and films made without the photo (unseen).\n"
    "rewrite: alignment with prompts as users type them, rewritten; with prompts as they were "
    "typed "
    "(plain)\n"
    "and the captions that say the same (told); and of how many nothing is lost or added (exact).\n"
    "curate: of no model: what curation finds in raw films, of which it is known what is wrong "
    "with them: "
    "of each\n"
    "filter precision and recall.",
    run};
