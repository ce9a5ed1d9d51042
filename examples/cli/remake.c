/* SPDX-License-Identifier: MIT
 * A film that becomes another: what upsample, edit and, with a photo, personalize share. */
#include "cli.h"

static void print_json(const cli_session *s, const cli_remake *r,
                       const mgen_generate_params *params, const mgen_clip *clip,
                       const film_files *files, double seconds)
{
    mgen_model_info model = MGEN_MODEL_INFO_INIT;
    r->model_of(s, params, &model);
    printf("{\"n\":1,\"seed\":%llu,\"model_hash\":\"%016llx\",\"input\":",
           (unsigned long long)r->seed, (unsigned long long)mgen_pipeline_hash(&s->pipe));
    json_string(stdout, r->input);
    printf(",\"prompt\":");
    json_string(stdout, params->prompt);
    if (params->steps)
        printf(",\"steps\":%u", params->steps);
    printf(",\"guidance\":");
    json_number(stdout, params->guidance > 0 ? params->guidance : model.guidance);
    if (params->strength <= 0) {
        printf(",\"noise_scale\":");
        json_number(stdout, params->noise_scale > 0 ? params->noise_scale : model.noise_scale);
    }
    if (r->tell)
        r->tell(params, &model);
    json_film(stdout, files, clip, seconds);
}

static int make(cli_session *s, const cli_remake *r, const mgen_generate_params *params,
                const mgen_clip *clip, film_files *files)
{
    mgen_clip *made;
    double start = seconds_now();
    int result = r->make(s, clip, params, r->quiet, &made);
    bool first = result == STATUS_DONE && s->rank == 0; /* who gets it */
    if (first)
        result = film_write(s, made, files);
    if (first && result == STATUS_DONE && r->json)
        print_json(s, r, params, made, files, seconds_now() - start);
    else if (first && result == STATUS_DONE && !r->quiet)
        film_tell(files, made, seconds_now() - start);
    film_files_free(files);
    mgen_clip_destroy(made);
    return result;
}

typedef struct remaking {
    const cli_remake *r;
    const mgen_generate_params *params;
} remaking;

static int remake(cli_session *s, const void *options)
{
    const remaking *of = options;
    const cli_remake *r = of->r;
    mgen_generate_params params = *of->params;
    mgen_clip *clip = NULL; /* the first rank's, of which the others get to know what they need */
    film_files files = {.count = 0};
    mgen_status status = MGEN_OK;
    if (!sampling_set(s, &r->sampling, &params))
        return STATUS_USAGE;
    int result = s->rank == 0 ? film_check(s, r->out, r->quiet, &files) : STATUS_DONE;
    if (result == STATUS_DONE && s->rank == 0)
        result = files_spare(s, &files, r->input);
    if (result != STATUS_DONE)
        return result;
    if (s->rank == 0)
        status = mgen_clip_read(s->ctx, r->input, r->first, r->frames, &clip);
    if (status != MGEN_OK)
        return complain_library(s, status);
    params.negative_prompt = r->negative;
    params.seed = r->seed;
    params.steps = r->steps;
    params.width = r->width;
    params.height = r->height;
    params.guidance = (float)r->guidance;
    result = session_load(s, r->model);
    if (result == STATUS_DONE)
        result = make(s, r, &params, clip, &files);
    mgen_clip_destroy(clip);
    return result;
}

int remake_run(const cli_command *self, const cli_remake *r, const mgen_generate_params *params)
{
    const remaking of = {r, params};
    return ranks_run(self, &r->place, remake, &of);
}
