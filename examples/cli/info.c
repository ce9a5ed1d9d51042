/* SPDX-License-Identifier: MIT
 * moviegen info: what this library is and what it chose on this machine. */
#include "cli.h"

static int run(const cli_command *self, int argc, char **argv)
{
    const char *model = NULL, *device = NULL;
    uint32_t threads = 0;
    const cli_option table[] = {
        {"--model", NULL, OPTION_TEXT, &model, 0, 0, "DIR", "load this model folder too"},
        OPTION_THREADS(&threads),
        OPTION_MEMORY,
        OPTION_DEVICE(&device),
        OPTION_END,
    };
    int words;
    int result = options_parse(self, table, argc, argv, NULL, 0, &words);
    if (result != OPTIONS_OK)
        return result;
    cli_session s;
    interrupt_catch();
    result = session_open(&s, self, threads, device, false) ? STATUS_DONE : STATUS_ERROR;
    if (result == STATUS_DONE && model)
        result = session_load(&s, model);
    if (result == STATUS_DONE) {
        uint64_t peak;
        printf("moviegen %s\n", mgen_version());
        if (model) {
            mgen_context_memory(s.ctx, NULL, &peak);
            printf("model %s, hash %016llx, %.1f MB\n", model,
                   (unsigned long long)mgen_pipeline_hash(&s.pipe), (double)peak / 1e6);
        }
        printf("kernels\n%s", mgen_context_kernels(s.ctx));
    }
    session_close(&s);
    return result;
}

const cli_command command_info = {"info", "print the version and the kernels chosen here",
                                  "[options]", NULL, run};
