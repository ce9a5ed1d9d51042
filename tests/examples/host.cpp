// SPDX-License-Identifier: MIT
// A host written in C++: host MODEL OUTPUT. The handles are held by unique_ptr, a lambda is the callback, and the
// limits of a callback (no exception leaves it) are kept.
#include <moviegen.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Deleter {
    void operator()(mgen_context *p) const { mgen_context_destroy(p); }
    void operator()(mgen_job *p) const { mgen_job_destroy(p); }
    void operator()(mgen_clip *p) const { mgen_clip_destroy(p); }
    void operator()(mgen_pipeline *p) const { mgen_pipeline_close(p); }
};
template <class T> using handle = std::unique_ptr<T, Deleter>;

void check(const handle<mgen_context> &ctx, mgen_status status)
{
    if (status != MGEN_OK)
        throw std::runtime_error(std::string(mgen_status_name(status)) + ": " + mgen_last_error(ctx.get()));
}

void run(const char *model, const char *output)
{
    handle<mgen_context> ctx;
    mgen_context_params settings = MGEN_CONTEXT_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_context *raw = nullptr;
    mgen_job *started = nullptr;
    mgen_clip *taken = nullptr;
    std::vector<uint32_t> steps;
    settings.threads = 2;
    check(ctx, mgen_context_create(&settings, &raw));
    ctx.reset(raw);
    check(ctx, mgen_pipeline_open(ctx.get(), model, &pipe));
    handle<mgen_pipeline> closer(&pipe);
    params.prompt = "a red ball rolls left on grass";
    params.steps = 10;
    params.seed = 1;
    params.user = &steps;
    params.on_progress = [](void *user, uint32_t done, uint32_t) -> int32_t {
        static_cast<std::vector<uint32_t> *>(user)->push_back(done);
        return 0;
    };
    check(ctx, mgen_generate_start(ctx.get(), &pipe, &params, &started));
    handle<mgen_job> job(started);
    check(ctx, mgen_job_wait(job.get(), -1));
    check(ctx, mgen_job_take_clip(job.get(), &taken));
    handle<mgen_clip> clip(taken);
    check(ctx, mgen_clip_write(ctx.get(), clip.get(), output));
    std::printf("%zu steps\n", steps.size());
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    try {
        run(argv[1], argv[2]);
    } catch (const std::exception &e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
    return 0;
}
