/* SPDX-License-Identifier: MIT
 * The library loaded, used and unloaded again and again by a program that is not linked with it: nothing of it
 * is left in the process. Prints TAP; the library's path is the first argument or built in. */
#include "moviegen.h"
#include "proc.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMES = 100, WHOLE_EVERY = 10, WARM = 20, GROWTH_MAX = 1 << 20, SIDE = 64 };

typedef struct calls {
    __typeof__(&mgen_context_create) context_create;
    __typeof__(&mgen_context_destroy) context_destroy;
    __typeof__(&mgen_last_error) last_error;
    __typeof__(&mgen_pipeline_open) pipeline_open;
    __typeof__(&mgen_pipeline_close) pipeline_close;
    __typeof__(&mgen_generate_start) generate_start;
    __typeof__(&mgen_job_wait) job_wait;
    __typeof__(&mgen_job_take_clip) job_take_clip;
    __typeof__(&mgen_job_destroy) job_destroy;
    __typeof__(&mgen_clip_pixels) clip_pixels;
    __typeof__(&mgen_clip_write) clip_write;
    __typeof__(&mgen_clip_destroy) clip_destroy;
    __typeof__(&mgen_tae_open) tae_open;
    __typeof__(&mgen_tae_release) tae_release;
    __typeof__(&mgen_noise) noise;
    __typeof__(&mgen_tae_decode) tae_decode;
} calls;

static bool find(void *library, calls *c)
{
    static const char *const names[] = {
        "mgen_context_create", "mgen_context_destroy", "mgen_last_error", "mgen_pipeline_open",
        "mgen_pipeline_close", "mgen_generate_start",  "mgen_job_wait",   "mgen_job_take_clip",
        "mgen_job_destroy",    "mgen_clip_pixels",     "mgen_clip_write", "mgen_clip_destroy",
        "mgen_tae_open",       "mgen_tae_release",     "mgen_noise",      "mgen_tae_decode"};
    void *found[sizeof names / sizeof *names];
    _Static_assert(sizeof found == sizeof *c, "one name a call, in their order");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!(found[i] = dlsym(library, names[i])))
            return false;
    memcpy(c, found, sizeof found);
    return true;
}

static uint8_t pixels[SIDE * SIDE * 3];

/* Through the plug-in where there is one: it may stay, the library goes. */
static bool write_film(const calls *c, mgen_context *ctx, const mgen_clip *clip)
{
    char folder[] = "/tmp/mgen-unload-XXXXXX", path[64];
    if (!mkdtemp(folder))
        return false;
    snprintf(path, sizeof path, "%s/film.mp4", folder);
    mgen_status status = c->clip_write(ctx, clip, path);
    unlink(path);
    rmdir(folder);
    return status == MGEN_OK || status == MGEN_E_UNSUPPORTED;
}

/* A picture in two steps, from all networks. */
static bool generate(const calls *c, mgen_context *ctx, const char *model)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_job *job = NULL;
    mgen_clip *clip = NULL;
    params.prompt = "a red ball rolls left on grass";
    params.frames = 1;
    params.steps = 2;
    bool good = !c->pipeline_open(ctx, model, &pipe) &&
                !c->generate_start(ctx, &pipe, &params, &job) && !c->job_wait(job, -1) &&
                !c->job_take_clip(job, &clip) && write_film(c, ctx, clip);
    if (good)
        memcpy(pixels, c->clip_pixels(clip), sizeof pixels);
    c->clip_destroy(clip);
    c->job_destroy(job);
    c->pipeline_close(&pipe);
    return good;
}

/* Noise, seen through the decoder: the fast way to a picture. */
static bool decode_noise(const calls *c, mgen_context *ctx, const char *model)
{
    static float values[SIDE / 8 * SIDE / 8 * 16];
    mgen_latents z = {sizeof z, 1, SIDE / 8, SIDE / 8, 16, 0, values};
    mgen_frames frames = {sizeof frames, MGEN_FORMAT_RGB8, SIDE, SIDE, 1, 0, {pixels}, {0}, {0}};
    mgen_tae *tae = NULL;
    bool good = !c->tae_open(ctx, model, "tae", &tae) && !c->noise(ctx, 1, &z) &&
                !c->tae_decode(ctx, tae, &z, &frames);
    c->tae_release(tae);
    return good;
}

/* Its pixels as one number. */
static bool make_picture(const calls *c, const char *model, bool whole, uint64_t *sum)
{
    mgen_context_params settings = MGEN_CONTEXT_PARAMS_INIT;
    mgen_context *ctx = NULL;
    settings.threads = 2;
    bool good = !c->context_create(&settings, &ctx) &&
                (whole ? generate(c, ctx, model) : decode_noise(c, ctx, model));
    if (!good)
        printf("# %s\n", c->last_error(ctx));
    *sum = 0;
    for (size_t i = 0; good && i < sizeof pixels; i++)
        *sum = *sum * 31 + pixels[i];
    c->context_destroy(ctx);
    return good;
}

static bool is_mapped(const char *library)
{
    char line[4096];
    bool found = false;
    const char *name = strrchr(library, '/') ? strrchr(library, '/') + 1 : library;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && !found && fgets(line, sizeof line, f))
        found = strstr(line, name) != NULL;
    if (f)
        fclose(f);
    return found;
}

static bool once(const char *library, const char *model, bool whole, uint64_t *sum)
{
    calls c;
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle || !find(handle, &c)) {
        printf("# %s\n", dlerror());
        return false;
    }
    bool good = make_picture(&c, model, whole, sum);
    if (dlclose(handle) || is_mapped(library)) {
        printf("# it is still mapped after dlclose()\n");
        return false;
    }
    return good;
}

static void result(int number, bool good, const char *what)
{
    printf("%sok %d - %s\n", good ? "" : "not ", number, what);
}

static void *nothing(void *arg)
{
    return arg;
}

int main(int argc, char **argv)
{
    const char *library = argc > 1 ? argv[1] : UNLOAD_LIBRARY;
    const char *source = getenv("MOVIEGEN_SOURCE");
    char model[4096];
    uint64_t first[2] = {0}, sum = 0;
    /* With the first thread of a program a sanitizer starts one of its own. */
    pthread_t thread;
    bool good = !pthread_create(&thread, NULL, nothing, NULL) && !pthread_join(thread, NULL);
    int64_t rss = 0, fds = 0, threads = proc_threads();
    snprintf(model, sizeof model, "%s/examples/models/toybox", source ? source : ".");
    if (access(model, R_OK)) {
        printf("ok 1 - unload # SKIP there is no model in '%s'; set MOVIEGEN_SOURCE\n1..1\n",
               model);
        return 0;
    }
    for (int i = 0; good && i < TIMES; i++) {
        int whole = i % WHOLE_EVERY == 0;
        good = once(library, model, whole, &sum) && (i < 2 || sum == first[whole]);
        if (i < 2)
            first[whole] = sum;
        if (i == WARM) {
            malloc_trim(0);
            rss = proc_rss();
            fds = proc_fds();
        }
    }
    malloc_trim(0);
    int64_t growth = proc_rss() - rss;
    printf("# resident memory grew by %lld bytes in %d rounds\n", (long long)growth, TIMES - WARM);
    result(1, good, "loaded, used and unloaded, with the same picture each time");
    result(2, SANITIZED || growth < GROWTH_MAX, "resident memory does not grow");
    result(3, proc_fds() == fds, "no open file is left");
    result(4, proc_threads_fall_to(threads), "no thread is left");
    printf("1..4\n");
    return 0;
}
