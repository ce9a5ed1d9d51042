/* SPDX-License-Identifier: MIT
 * moviegen convert: the transformers of a model folder, stored in another precision. */
#include "cli.h"

#include <string.h>

static int run(const cli_command *self, int argc, char **argv)
{
    const char *dir = NULL, *store = NULL, *device = NULL;
    uint32_t threads = 0;
    bool quiet = false;
    int count;
    const cli_option table[] = {
        {"--store", NULL, OPTION_TEXT, &store, 0, 0, "NAME", "fp8 or bf16: of the weights"},
        OPTION_THREADS(&threads),
        OPTION_MEMORY,
        OPTION_DEVICE(&device),
        OPTION_QUIET(&quiet),
        OPTION_END,
    };
    int result = options_parse(self, table, argc, argv, &dir, 1, &count);
    if (result != OPTIONS_OK)
        return result;
    if (!count) {
        complain(self, "DIR is missing; usage: moviegen convert %s", self->usage);
        return STATUS_USAGE;
    }
    bool fp8 = store && !strcmp(store, "fp8");
    if (!fp8 && (!store || strcmp(store, "bf16"))) {
        complain(self, "--store needs fp8 or bf16%s%s%s", store ? ", not '" : "",
                 store ? store : "", store ? "'" : "");
        return STATUS_USAGE;
    }
    cli_session s;
    interrupt_catch();
    result = STATUS_ERROR;
    if (session_open(&s, self, threads, device, false)) {
        mgen_status status =
            mgen_pipeline_convert(s.ctx, dir, fp8 ? MGEN_PRECISION_FP8 : MGEN_PRECISION_BF16);
        result = status == MGEN_OK ? STATUS_DONE : complain_library(&s, status);
        if (status == MGEN_OK && !quiet)
            printf("the transformers in %s are stored in %s\n", dir, store);
    }
    session_close(&s);
    return result;
}

const cli_command command_convert = {
    "convert", "store a model's transformers in another precision", "DIR --store NAME [options]",
    "DIR is a model folder, whose transformers are written anew in their places: as FP8 in half "
    "the space of bf16.\n"
    "What that rounds does not come back: copy the folder first (cp -r) to keep it.",
    run};
