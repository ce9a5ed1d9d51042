/* SPDX-License-Identifier: MIT
 * A host that is not linked with the library, but finds it at run time: host_dlopen MODEL OUTPUT. */
#include <moviegen.h>

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define CALLS(X)                                                                                   \
    X(context_create)                                                                              \
    X(context_destroy)                                                                             \
    X(last_error)                                                                                  \
    X(version)                                                                                     \
    X(pipeline_open)                                                                               \
    X(pipeline_close)                                                                              \
    X(generate_start)                                                                              \
    X(job_wait)                                                                                    \
    X(job_take_clip)                                                                               \
    X(job_destroy)                                                                                 \
    X(clip_write)                                                                                  \
    X(clip_destroy)

typedef struct calls {
#define X(name) __typeof__(&mgen_##name) name;
    CALLS(X)
#undef X
} calls;

static int find(void *library, calls *c)
{
    void *address;
#define X(name)                                                                                    \
    if (!(address = dlsym(library, "mgen_" #name)))                                                \
        return -1;                                                                                 \
    memcpy(&c->name, &address, sizeof address);
    CALLS(X)
#undef X
    return 0;
}

static int make_film(const calls *c, const char *model, const char *output)
{
    mgen_context *ctx = NULL;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_job *job = NULL;
    mgen_clip *clip = NULL;
    params.prompt = "a red ball rolls left on grass";
    params.steps = 10;
    params.seed = 1;
    int failed = c->context_create(NULL, &ctx) || c->pipeline_open(ctx, model, &pipe) ||
                 c->generate_start(ctx, &pipe, &params, &job) || c->job_wait(job, -1) ||
                 c->job_take_clip(job, &clip) || c->clip_write(ctx, clip, output);
    if (failed)
        fprintf(stderr, "%s\n", c->last_error(ctx));
    c->clip_destroy(clip);
    c->job_destroy(job);
    c->pipeline_close(&pipe);
    c->context_destroy(ctx);
    return failed;
}

int main(int argc, char **argv)
{
    calls c;
    void *library = dlopen("libmoviegen.so.0", RTLD_NOW | RTLD_LOCAL);
    if (argc != 3 || !library || find(library, &c)) {
        fprintf(stderr, "%s\n", argc != 3 ? "usage: host_dlopen MODEL OUTPUT" : dlerror());
        return 2;
    }
    printf("version %s\n", c.version());
    int failed = make_film(&c, argv[1], argv[2]);
    return dlclose(library) || failed;
}
