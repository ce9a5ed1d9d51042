/* SPDX-License-Identifier: MIT
 * Processes that a host starts and connects in its own way make one film together: no MPI, no address.
 *
 *     06_ranks_of_a_host MODEL PROMPT FILE RANKS
 */
#include <moviegen.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RANKS_MAX = 16 };

/* All bytes, out or in, or the process ends: whoever waits for it learns that it is gone. */
static void transfer(int fd, void *data, uint64_t bytes, int out)
{
    char *at = data;
    for (ssize_t n; bytes > 0; at += n, bytes -= (uint64_t)n)
        if ((n = out ? write(fd, at, bytes) : read(fd, at, bytes)) <= 0)
            exit(1);
}

/* The host: gives everybody what all have. */
static void serve(const int *fds, uint64_t ranks)
{
    uint64_t bytes = 0;
    for (uint64_t r = 0; r < ranks; r++)
        transfer(fds[r], &bytes, sizeof bytes, 0);
    char *all = malloc(ranks * bytes);
    if (!all)
        exit(1);
    for (uint64_t r = 0; r < ranks; r++)
        transfer(fds[r], all + r * bytes, bytes, 0);
    for (uint64_t r = 0; r < ranks; r++)
        transfer(fds[r], all, ranks * bytes, 1);
    free(all);
}

/* One process of it. */
typedef struct rank {
    int host; /* a connection to it */
    uint32_t index, count;
} rank;

static int32_t exchange(void *user, const void *mine, void *all, uint64_t bytes)
{
    const rank *r = user;
    transfer(r->host, &bytes, sizeof bytes, 1);
    transfer(r->host, (void *)(uintptr_t)mine, bytes, 1);
    transfer(r->host, all, r->count * bytes, 0);
    return 0;
}

static mgen_status make_film(mgen_context *ctx, const mgen_pipeline *pipe, char **words)
{
    mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
    mgen_job *job = NULL;
    mgen_clip *clip = NULL;
    params.prompt = words[2], params.seed = 1;
    mgen_status status = mgen_generate_start(ctx, pipe, &params, &job);
    if (status == MGEN_OK)
        status = mgen_job_wait(job, -1);
    if (status == MGEN_OK && mgen_mesh_rank(pipe->mesh) == 0) /* the clip is rank 0's */
        status = mgen_job_take_clip(job, &clip);
    if (clip)
        status = mgen_clip_write(ctx, clip, words[3]);
    mgen_clip_destroy(clip);
    mgen_job_destroy(job);
    return status;
}

static int run_rank(rank *r, char **words)
{
    mgen_context *ctx = NULL;
    mgen_mesh_params how = MGEN_MESH_PARAMS_INIT;
    mgen_pipeline pipe = MGEN_PIPELINE_INIT;
    how.rank = r->index;
    how.size = r->count;
    how.exchange = exchange;
    how.user = r;
    mgen_status status = mgen_context_create(NULL, &ctx);
    if (status == MGEN_OK)
        status = mgen_mesh_create(ctx, &how, &pipe.mesh);
    if (status == MGEN_OK)
        status = mgen_pipeline_open(ctx, words[1], &pipe);
    if (status == MGEN_OK)
        status = make_film(ctx, &pipe, words);
    if (status != MGEN_OK)
        fprintf(stderr, "rank %u: %s: %s\n", r->index, mgen_status_name(status),
                mgen_last_error(ctx));
    mgen_pipeline_close(&pipe);
    mgen_mesh_destroy(pipe.mesh);
    mgen_context_destroy(ctx);
    return status != MGEN_OK;
}

int main(int argc, char **argv)
{
    int fds[RANKS_MAX], pair[2], failed = 0, count = argc == 5 ? atoi(argv[4]) : 0;
    if (count < 1 || count > RANKS_MAX) {
        fprintf(stderr, "usage: %s MODEL PROMPT FILE RANKS (1 to %d)\n", argv[0], RANKS_MAX);
        return 2;
    }
    for (int r = 0; r < count; r++) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
            return 1;
        if (fork() == 0)
            return run_rank(&(rank){pair[1], (uint32_t)r, (uint32_t)count}, argv);
        close(pair[1]);
        fds[r] = pair[0];
    }
    if (count > 1) /* one rank alone has nobody to meet */
        serve(fds, (uint64_t)count);
    for (int status; wait(&status) > 0;)
        failed |= status != 0;
    return failed;
}
