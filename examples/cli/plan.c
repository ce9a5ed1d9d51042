/* SPDX-License-Identifier: MIT
 * moviegen plan: what a training step of one of the large models needs. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static void print_table(const mgen_plan_params *p, const mgen_report *report)
{
    printf("%s, ", p->preset);
    if (p->width)
        printf("%u x %u pixels, %u frames", p->width, p->height, p->frames);
    else
        printf("%u latents of sound", p->frames);
    printf(", batch %u, %s, recompute %s\n", p->batch, p->precision, p->recompute);
    for (uint32_t i = 0; i < mgen_report_count(report); i++) {
        const char *name = mgen_report_name(report, i);
        double value = mgen_report_value(report, i);
        size_t length = strlen(name);
        bool bytes = length > 6 && !strcmp(name + length - 6, "_bytes");
        if (bytes)
            printf("  %-18.*s %12.1f GB\n", (int)length - 6, name, value * 1e-9);
        else
            printf("  %-18s %12.4g\n", name, value);
    }
}

static void print_json(const mgen_report *report)
{
    for (uint32_t i = 0; i < mgen_report_count(report); i++) {
        printf(i ? "," : "{");
        json_string(stdout, mgen_report_name(report, i));
        printf(":");
        json_number(stdout, mgen_report_value(report, i));
    }
    printf("}\n");
}

static int plan(cli_session *s, const mgen_plan_params *p, bool json)
{
    mgen_report *report;
    mgen_status status = mgen_plan_training(s->ctx, p, &report);
    if (status != MGEN_OK)
        return complain_library(s, status);
    if (p->text)
        printf("%s%s", mgen_report_text(report), json ? "\n" : "");
    else if (json)
        print_json(report);
    else
        print_table(p, report);
    mgen_report_destroy(report);
    return STATUS_DONE;
}

/* What a sample is unless it is said: the report's long training clips; of its upsampler, a window; of its audio model, 30
 * seconds, which have no size. */
static void fill_sample(mgen_plan_params *p)
{
    static const struct {
        const char *preset;
        uint32_t width, height, frames;
    } samples[] = {
        {"toybox", 64, 64, 32}, {"7b", 1920, 1088, 14}, {"13b", 0, 0, 750}, {"", 768, 768, 256}};
    size_t i = 0;
    while (*samples[i].preset && strcmp(samples[i].preset, p->preset))
        i++;
    p->width = p->width ? p->width : samples[i].width;
    p->height = p->height ? p->height : samples[i].height;
    p->frames = p->frames ? p->frames : samples[i].frames;
}

/* A recipe's stages say what their samples are; GPUs, unless they are given, are those that each is meant for. */
static bool complete_recipe(const cli_command *self, mgen_plan_params *p, const char *file,
                            const char *stage, bool timeline, bool json, char **preset)
{
    size_t size = strlen(file) + (stage ? strlen(stage) : 0) + 2;
    if (p->preset || p->width || p->height || p->frames || p->global_batch || p->precision ||
        timeline) {
        complain(self, "--recipe says what is trained: of a model's options it goes with --batch, "
                       "--text-tokens, --recompute, --gpus, --gpu, --mesh and --json");
        return false;
    }
    if (!(*preset = malloc(size))) {
        complain(self, "no memory");
        return false;
    }
    snprintf(*preset, size, "%s:%s", file, stage ? stage : "");
    p->preset = *preset;
    p->gpu = p->gpu ? p->gpu : "h100-80gb";
    p->text = json ? 1 : 2;
    return true;
}

/* What a plan of one device and one of a mesh have of their own. */
static bool complete(const cli_command *self, mgen_plan_params *p, bool timeline, bool json)
{
    if (!p->preset) {
        complain(self, "no model given; presets are toybox, 1b, 5b, 7b, 13b and 30b; or give "
                       "--recipe FILE");
        return false;
    }
    fill_sample(p);
    p->batch = p->batch ? p->batch : 1;
    p->precision = p->precision ? p->precision : "bf16";
    if (!p->gpus) {
        if (p->gpu || p->mesh || p->global_batch || timeline) {
            complain(self, "--gpu, --mesh, --global-batch and --timeline need --gpus N");
            return false;
        }
        if (!p->recompute)
            p->recompute = "selective";
        return true;
    }
    if (!p->gpu)
        p->gpu = "h100-80gb";
    p->timeline = timeline;
    p->text = json ? 1 : 2;
    return true;
}

static int run(const cli_command *self, int argc, char **argv)
{
    mgen_plan_params p = MGEN_PLAN_PARAMS_INIT;
    bool json = false, timeline = false;
    const char *word = NULL, *recipe = NULL, *stage = NULL;
    char *preset = NULL;
    const cli_option table[] = {
        {"--preset", NULL, OPTION_TEXT, &p.preset, 0, 0, "NAME", "the same as NAME alone"},
        {"--width", "-W", OPTION_U32, &p.width, 16, 65536, "N",
         "pixels (default 768; toybox: 64; 7b: 1920; not of 13b)"},
        {"--height", "-H", OPTION_U32, &p.height, 16, 65536, "N",
         "pixels (default 768; toybox: 64; 7b: 1088; not of 13b)"},
        {"--frames", "-f", OPTION_U32, &p.frames, 1, 65536, "N",
         "frames (default 256; toybox: 32; 7b: 14); of 13b latents of sound (750)"},
        {"--batch", NULL, OPTION_U32, &p.batch, 1, 65536, "N",
         "samples; on a mesh, of each dp rank in a pass (default 1)"},
        {"--text-tokens", NULL, OPTION_U32, &p.text_tokens, 1, 65536, "N",
         "of all text encoders together (default 1024; 13b: 512)"},
        {"--recompute", NULL, OPTION_TEXT, &p.recompute, 0, 0, "WHAT",
         "none, selective or full: what is computed again for the gradient (default: selective; on "
         "a "
         "mesh, the first that fits)"},
        {"--precision", NULL, OPTION_TEXT, &p.precision, 0, 0, "P",
         "bf16 (default) or f32: of products and activations"},
        {"--gpus", NULL, OPTION_U32, &p.gpus, 1, 65536, "N", "plan for a mesh of N GPUs"},
        {"--gpu", NULL, OPTION_TEXT, &p.gpu, 0, 0, "KIND",
         "a100-40gb, a100-80gb, h100-80gb (default), h200-141gb or b200-180gb; with other rates, "
         "as "
         "in h100-80gb,attention=0.5,gb=64"},
        {"--mesh", NULL, OPTION_TEXT, &p.mesh, 0, 0, "SIZES",
         "dp=..,cp=..,tp=.. and perhaps shard=.. (default: all that are legal, from the best on)"},
        {"--global-batch", NULL, OPTION_U32, &p.global_batch, 1, 4294967295.0, "N",
         "samples of a step, in as many passes as it takes (default: one pass)"},
        {"--recipe", NULL, OPTION_TEXT, &recipe, 0, 0, "FILE",
         "plan the stages of a recipe instead, each on the GPUs that it is meant for or on --gpus"},
        {"--stage", NULL, OPTION_TEXT, &stage, 0, 0, "NAME", "of them this one (default: all)"},
        {"--timeline", NULL, OPTION_FLAG, &timeline, 0, 0, NULL,
         "launches and collectives of one block, in order"},
        OPTION_JSON(&json),
        OPTION_END,
    };
    int words;
    int result = options_parse(self, table, argc, argv, &word, 1, &words);
    if (result != OPTIONS_OK)
        return result;
    if (words)
        p.preset = word;
    if (stage && !recipe) {
        complain(self, "--stage is of a --recipe");
        return STATUS_USAGE;
    }
    if (!(recipe ? complete_recipe(self, &p, recipe, stage, timeline, json, &preset)
                 : complete(self, &p, timeline, json)))
        return STATUS_USAGE;
    cli_session s;
    interrupt_catch();
    result = session_open(&s, self, 1, "cpu", false) ? plan(&s, &p, json) : STATUS_ERROR;
    session_close(&s);
    free(preset);
    return result;
}

const cli_command command_plan = {
    "plan", "what a training step of a large model needs",
    "toybox|1b|5b|7b|13b|30b [options], or --recipe FILE [options]",
    "Runs the step on shapes alone: memory by what it is for, and floating point operations.\n"
    "Bytes of activations and of gradients that flow are the highest during the step.\n"
    "With --gpus: memory, time and communication of each rank of a mesh (docs/planning.md).\n"
    "With --recipe: of each of its stages the memory, the time of a step and the days.",
    run};
