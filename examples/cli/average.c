/* SPDX-License-Identifier: MIT
 * moviegen average: the weights of several models as one. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FOLDERS_MAX = 17 /* what is written, and what is averaged */ };

/* "1,2,0.5": one a folder. */
static bool read_weights(const char *text, double *out, int count)
{
    for (int i = 0; i < count; i++) {
        char *end;
        out[i] = strtod(text, &end);
        if (end == text || !isfinite(out[i]) || out[i] <= 0 || *end != (i < count - 1 ? ',' : 0))
            return false;
        text = end + 1;
    }
    return true;
}

/* A model that is there already took longer to train than another name does to type. */
static bool is_free(const cli_command *self, const char *out)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/pipeline.json", out);
    if (n < 0 || (size_t)n >= sizeof path || access(path, F_OK) != 0)
        return true;
    complain(self,
             "there is a model in '%s' already, and the first folder is written: give a new one "
             "for it; usage: moviegen average %s",
             out, self->usage);
    return false;
}

static int average(cli_session *s, const char *const *words, int count, const double *weights,
                   bool quiet)
{
    mgen_status status =
        mgen_pipeline_average(s->ctx, words + 1, weights, (uint32_t)count - 1, words[0]);
    if (status != MGEN_OK)
        return complain_library(s, status);
    if (!quiet)
        printf("the average of %d models is in %s\n", count - 1, words[0]);
    return STATUS_DONE;
}

static int run(const cli_command *self, int argc, char **argv)
{
    const char *words[FOLDERS_MAX], *text = NULL, *device = NULL;
    double weights[FOLDERS_MAX];
    uint32_t threads = 0;
    bool quiet = false;
    int count;
    const cli_option table[] = {
        {"--weights", NULL, OPTION_TEXT, &text, 0, 0, "W,W,...",
         "numbers above 0, one for each IN (default: all the same)"},
        OPTION_THREADS(&threads),
        OPTION_MEMORY,
        OPTION_DEVICE(&device),
        OPTION_QUIET(&quiet),
        OPTION_END,
    };
    int result = options_parse(self, table, argc, argv, words, FOLDERS_MAX, &count);
    if (result != OPTIONS_OK)
        return result;
    if (count < 2) {
        complain(self, "%s is missing; usage: moviegen average %s", count ? "IN" : "OUT",
                 self->usage);
        return STATUS_USAGE;
    }
    if (text && !read_weights(text, weights, count - 1)) {
        complain(self, "--weights needs %d numbers above 0 with commas between, not '%s'",
                 count - 1, text);
        return STATUS_USAGE;
    }
    if (!is_free(self, words[0]))
        return STATUS_USAGE;
    cli_session s;
    interrupt_catch();
    result = session_open(&s, self, threads, device, false)
                 ? average(&s, words, count, text ? weights : NULL, quiet)
                 : STATUS_ERROR;
    session_close(&s);
    return result;
}

const cli_command command_average = {
    "average", "average the weights of several models", "OUT IN [IN ...] [options]",
    "OUT is a new model folder that is written, IN model folders of the same networks: their video "
    "models and text\n"
    "encoders are averaged, the TAE and the tokenizers must be the same. The rewriter is the "
    "first one's;\n"
    "upsamplers, editors, personalizers and models of sound are left out, but come along where "
    "there "
    "is one IN.\n"
    "Adapters become part of the models' weights.",
    run};
