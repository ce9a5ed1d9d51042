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
    if (result == STATUS_DONE)
        result = film_write(s, made, files);
    if (result == STATUS_DONE && r->json)
        print_json(s, r, params, made, files, seconds_now() - start);
    else if (result == STATUS_DONE && !r->quiet)
        film_tell(files, made, seconds_now() - start);
    film_files_free(files);
    mgen_clip_destroy(made);
    return result;
}

static int remake(cli_session *s, const cli_remake *r, mgen_generate_params *params)
{
    mgen_clip *clip;
    film_files files;
    if (!sampling_numbers(s, &r->sampling, &params->solver, &params->schedule, &params->drop_text))
        return STATUS_USAGE;
    int result = film_check(s, r->out, r->quiet, &files);
    if (result != STATUS_DONE)
        return result;
    mgen_status status = mgen_clip_read(s->ctx, r->input, r->first, r->frames, &clip);
    if (status != MGEN_OK)
        return complain_library(s, status);
    params->negative_prompt = r->negative;
    params->seed = r->seed;
    params->steps = r->steps;
    params->width = r->width;
    params->height = r->height;
    params->guidance = (float)r->guidance;
    params->guidance_from = (float)r->sampling.guidance_from;
    params->guidance_to = (float)r->sampling.guidance_to;
    result = session_load(s, r->model) ? make(s, r, params, clip, &files) : STATUS_ERROR;
    mgen_clip_destroy(clip);
    return result;
}

int remake_run(const cli_command *self, const cli_remake *r, mgen_generate_params *params)
{
    cli_session s;
    interrupt_catch();
    int result = session_open(&s, self, r->threads, r->device, r->autotune) ? remake(&s, r, params)
                                                                            : STATUS_ERROR;
    session_close(&s);
    return result;
}
