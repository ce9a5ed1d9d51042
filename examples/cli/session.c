/* SPDX-License-Identifier: MIT
 * The library's context and a loaded model; Ctrl-C. */
#include "cli.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAITS 1.0 /* seconds of work in the library of which nothing is drawn */

static volatile sig_atomic_t interrupt_seen;

static void on_interrupt(int number)
{
    (void)number;
    interrupt_seen = 1;
}

void interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool interrupted(void)
{
    return interrupt_seen;
}

/* Warnings and, if a command wants them, notes: errors come back as a status and are explained where they are met. */
static void on_log(void *user, int32_t level, const char *text)
{
    cli_session *s = user;
    if (level == MGEN_LOG_WARN)
        complain(s->command, "warning: %s", text);
    else if (level == MGEN_LOG_INFO && session_tells) {
        if (s->waiting.what) /* a note comes from the thread that draws */
            progress_end(&s->waiting);
        complain(s->command, "%s", text);
    }
}

/* Clips that are encoded, weights that are read: drawn when it takes long, and ended by Ctrl-C. */
static int32_t on_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    cli_session *s = user;
    progress *p = &s->waiting;
    if (!p->what || strcmp(p->what, what) != 0 || done < p->drawn_done) {
        session_waited(s);
        progress_start(p, what, !s->shows);
        p->before = done; /* some may have been done by an earlier run */
    }
    if (seconds_now() - p->started > WAITS)
        progress_update(p, done, total, NULL);
    return interrupted();
}

void session_waited(cli_session *s)
{
    if (s->waiting.what)
        progress_end(&s->waiting);
    s->waiting = (progress){.what = NULL};
}

static atomic_bool begun;
double session_memory;
bool session_tells;

bool session_begun(void)
{
    return begun;
}

bool session_open(cli_session *s, const cli_command *command, uint32_t threads, const char *device,
                  bool autotune)
{
    begun = true;
    mgen_context_params params = MGEN_CONTEXT_PARAMS_INIT;
    *s = (cli_session){.command = command, .pipe = MGEN_PIPELINE_INIT};
    params.threads = threads;
    params.host_memory_max = params.device_memory_max = (uint64_t)(session_memory * 1e9);
    params.autotune = autotune;
    params.log = on_log;
    params.log_user = s;
    params.progress = on_progress;
    params.progress_user = s;
    char why[256];
    const char *plugins = getenv("MOVIEGEN_PLUGINS"), *cache = getenv("MOVIEGEN_CACHE");
    const char *wanted = device ? device : getenv("MOVIEGEN_DEVICE");
    const char *kernels = getenv("MOVIEGEN_KERNELS");
    if (wanted && *wanted)
        params.device = wanted;
    if (plugins && *plugins)
        params.plugin_dir = plugins;
    if (cache && *cache)
        params.cache_dir = cache;
    if (kernels && *kernels)
        params.kernels = kernels;
    params.error_text = why;
    params.error_size = sizeof why;
    mgen_status status = mgen_context_create(&params, &s->ctx);
    if (status != MGEN_OK)
        complain(command, "%s%s", why, limit_note(status));
    return status == MGEN_OK;
}

static bool is_model(const char *dir)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/pipeline.json", dir);
    return n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0;
}

int session_load(cli_session *s, const char *dir)
{
    static const char *const places[] = {"examples/models/toybox", CLI_DATA_DIR "/models/toybox"};
    const char *from_environment = getenv("MOVIEGEN_MODEL");
    if (!dir && from_environment && *from_environment)
        dir = from_environment;
    for (size_t i = 0; !dir && i < sizeof places / sizeof places[0]; i++)
        if (is_model(places[i]))
            dir = places[i];
    if (!dir) {
        complain(s->command,
                 "no model found in %s nor in %s; give --model DIR or set MOVIEGEN_MODEL",
                 places[0], places[1]);
        return STATUS_ERROR;
    }
    s->pipe.mesh = s->mesh;
    mgen_status status = mgen_pipeline_open(s->ctx, dir, &s->pipe);
    return status == MGEN_OK ? STATUS_DONE : complain_library(s, status);
}

bool session_alone(const cli_session *s)
{
    return mgen_mesh_size(s->mesh) == 1;
}

void session_close(cli_session *s)
{
    mgen_pipeline_close(&s->pipe);
    mgen_mesh_destroy(s->mesh);
    mgen_context_destroy(s->ctx);
    s->ctx = NULL;
}
