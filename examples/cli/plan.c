/* SPDX-License-Identifier: MIT
 * moviegen plan: what a training step of one of the large models needs. */
#include "cli.h"

#include <string.h>

static void print_table(const mgen_plan_params *p, const mgen_report *report)
{
    printf("%s, %u x %u pixels, %u frames, batch %u, %s, recompute %s\n", p->preset, p->width,
           p->height, p->frames, p->batch, p->precision, p->recompute);
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
    if (json)
        print_json(report);
    else
        print_table(p, report);
    mgen_report_destroy(report);
    return STATUS_DONE;
}

static int run(const cli_command *self, int argc, char **argv)
{
    mgen_plan_params p = MGEN_PLAN_PARAMS_INIT;
    bool json = false;
    p.width = p.height = 768;
    p.frames = 256;
    p.batch = 1;
    p.recompute = "selective";
    p.precision = "bf16";
    const cli_option table[] = {
        {"--width", "-W", OPTION_U32, &p.width, 16, 65536, "N", "pixels (default 768)"},
        {"--height", "-H", OPTION_U32, &p.height, 16, 65536, "N", "pixels (default 768)"},
        {"--frames", "-f", OPTION_U32, &p.frames, 1, 65536, "N", "frames (default 256)"},
        {"--batch", NULL, OPTION_U32, &p.batch, 1, 65536, "N", "samples (default 1)"},
        {"--text-tokens", NULL, OPTION_U32, &p.text_tokens, 1, 65536, "N",
         "of all text encoders together (default 1024)"},
        {"--recompute", NULL, OPTION_TEXT, &p.recompute, 0, 0, "WHAT",
         "none, selective (default) or full: what is computed again for the gradient"},
        {"--precision", NULL, OPTION_TEXT, &p.precision, 0, 0, "P",
         "bf16 (default) or f32: of products and activations"},
        OPTION_JSON(&json),
        OPTION_END,
    };
    int words;
    int result = options_parse(self, table, argc, argv, &p.preset, 1, &words);
    if (result != OPTIONS_OK)
        return result;
    if (!words) {
        complain(self, "no model given; presets are toybox, 1b, 5b and 30b");
        return STATUS_USAGE;
    }
    cli_session s;
    interrupt_catch();
    result = session_open(&s, self, 1, "cpu") ? plan(&s, &p, json) : STATUS_ERROR;
    session_close(&s);
    return result;
}

const cli_command command_plan = {
    "plan", "what a training step of a large model needs", "toybox|1b|5b|30b [options]",
    "Runs the step on shapes alone: memory by what it is for, and floating point operations.\n"
    "Bytes of activations and of gradients that flow are the highest during the step.",
    run};
