/* SPDX-License-Identifier: MIT
 * moviegen rewrite: a prompt as one types it becomes one as the captions are that the models learned from. */
#include "cli.h"

typedef struct rewrite_options {
    const char *model, *prompt, *device;
    cli_sampling sampling; /* of which the precision counts */
    uint32_t threads;
    bool json, quiet;
} rewrite_options;

int prompt_rewrite(cli_session *s, const char *prompt, char out[REWRITTEN_SIZE])
{
    if (!s->pipe.rewriter) {
        if (s->rank == 0)
            complain(s->command,
                     "the model has no rewriter: its pipeline.json names none; take a model that "
                     "has one, or train one (docs/rewriting.md)");
        return STATUS_ERROR;
    }
    mgen_status status = mgen_rewrite(s->ctx, &s->pipe, prompt, out, REWRITTEN_SIZE);
    session_waited(s);
    return status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
}

static int rewrite(cli_session *s, const rewrite_options *o)
{
    char rewritten[REWRITTEN_SIZE];
    uint32_t none[3];
    if (!sampling_numbers(s, &o->sampling, &none[0], &none[1], &none[2]))
        return STATUS_USAGE;
    s->shows = !o->quiet;
    int result = session_load(s, o->model);
    session_waited(s);
    if (result == STATUS_DONE)
        result = prompt_rewrite(s, o->prompt, rewritten);
    if (result == STATUS_DONE && o->json) {
        printf("{\"prompt\":");
        json_string(stdout, o->prompt);
        printf(",\"rewritten\":");
        json_string(stdout, rewritten);
        printf("}\n");
    } else if (result == STATUS_DONE) {
        printf("%s\n", rewritten);
    }
    return result;
}

static int run(const cli_command *self, int argc, char **argv)
{
    rewrite_options o = {.model = NULL};
    const cli_option table[] = {
        OPTION_MODEL(&o.model),     OPTION_PRECISION(&o.sampling.precision),
        OPTION_THREADS(&o.threads), OPTION_MEMORY,
        OPTION_DEVICE(&o.device),   OPTION_JSON(&o.json),
        OPTION_QUIET(&o.quiet),     OPTION_END,
    };
    int words;
    int result = options_parse(self, table, argc, argv, &o.prompt, 1, &words);
    if (result != OPTIONS_OK)
        return result;
    if (!words) {
        complain(self, "no prompt given; usage: moviegen rewrite %s", self->usage);
        return STATUS_USAGE;
    }
    cli_session s;
    interrupt_catch();
    result = session_open(&s, self, o.threads, o.device, false) ? rewrite(&s, &o) : STATUS_ERROR;
    session_close(&s);
    return result;
}

const cli_command command_rewrite = {
    "rewrite", "rewrite a prompt as the model's captions are", "\"PROMPT\" [options]",
    "Prints what 'moviegen generate --rewrite' would make the film of. Text that is to be drawn "
    "is named in\n"
    "quotation marks, and stays as it is. Where the rewriter's answer cannot be used, a warning "
    "says why,\n"
    "and the prompt itself is printed.",
    run};
