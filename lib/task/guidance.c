/* SPDX-License-Identifier: MIT */
#include "task/guidance.h"

#include "kernels/pointwise/pointwise.h"

/* What leads from neither a source nor a prompt to the source; 1: none. */
static float source_scale_of(const mgi_networks *n, const mgi_generate_request *r)
{
    if (!n->editor && !r->photos)
        return 1.0f;
    if (r->source_guidance > 0.0f)
        return r->source_guidance;
    return n->editor ? n->editor->source_guidance : n->personalizer->source_guidance;
}

mgi_guidance mgi_guidance_of(const mgi_networks *n, const mgi_generate_request *r)
{
    mgi_guidance g = {.scale = mgi_vt_guidance(&n->video->config, r->guidance),
                      .source_scale = source_scale_of(n, r),
                      .from = r->guidance_from,
                      .to = r->guidance_to > 0.0f ? r->guidance_to : 1.0f};
    g.parts = g.source_scale != 1.0f ? 3 : g.scale != 1.0f ? 2 : 1;
    return g;
}

static T *value(mgi_run *run, float scale)
{
    T *t = mgi_new(run, MGK_F32, MGI_DIMS(1));
    mgi_fill(run, t, scale);
    return t;
}

void mgi_guidance_make(mgi_run *run, mgi_guidance *g)
{
    if (g->parts > 1)
        g->scales = value(run, g->scale);
    if (g->parts > 2)
        g->source_scales = value(run, g->source_scale);
}

bool mgi_guidance_partial(const mgi_guidance *g)
{
    return g->parts > 1 && (g->from > 0.0f || g->to < 1.0f);
}

bool mgi_guidance_at(const mgi_guidance *g, float time)
{
    return time >= g->from && time <= g->to;
}

/* From neither a source nor a prompt to the source, and from there to the prompt:
 *   u(0,0) + g_source (u(source,0) - u(0,0)) + g (u(source,prompt) - u(source,0)) */
static T *guided_twice(mgi_run *run, const mgi_guidance *g, T *prompted, T *seen, T *nothing)
{
    T *text = mgi_cfg_combine(run, prompted, seen, g->scales); /* u(source,0) + its last term */
    T *source = mgi_cfg_combine(run, seen, nothing, g->source_scales);
    T *u = mgi_add(run, text, source);
    mgk_pointwise_args a = {.count = u ? u->count : 0, .alpha = -1.0f, .beta = 1.0f};
    if (!u || run->status != MGEN_OK)
        return NULL;
    a.x = (mgk_buf){mgi_f32(seen), MGK_F32};
    a.y = (mgk_buf){mgi_f32(u), MGK_F32};
    mgi_run_launch(run, MGK_OP_axpby, &a);
    return u;
}

T *mgi_guided(mgi_run *run, const mgi_guidance *g, T *u, int64_t first, int64_t clips, int parts)
{
    T *part[3];
    if (parts == 1)
        return u && first == 0 && u->dims[0] == clips ? u : mgi_slice(run, u, 0, first, clips);
    for (int i = 0; i < parts; i++)
        part[i] = mgi_slice(run, u, 0, first + i * clips, clips);
    return parts == 2 ? mgi_cfg_combine(run, part[0], part[1], g->scales)
                      : guided_twice(run, g, part[0], part[1], part[2]);
}
