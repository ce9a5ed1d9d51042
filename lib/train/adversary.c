/* SPDX-License-Identifier: MIT */
#include "train/adversary.h"

mgen_status mgi_adversary_init(mgi_adversary *a, mgen_context *ctx, const mgi_stage_params *params,
                               const mgi_stage *stage, mgi_module *module)
{
    a->stage = stage;
    a->module = module;
    MGI_TRY(mgi_module_random(module, params->seed));
    MGI_TRY(mgi_module_train(module));
    MGI_TRY(mgi_module_compute(module, stage->dtype));
    MGI_TRY(
        mgi_optimizer_init(&a->optimizer, ctx, &stage->gan_optimizer, stage->steps, &a->module, 1));
    mgi_dp_init(&a->parallel, params->comm, &a->module, 1);
    return MGEN_OK;
}

void mgi_adversary_finish(mgi_adversary *a)
{
    mgi_optimizer_finish(&a->optimizer);
}

bool mgi_adversary_acts(const mgi_adversary *a, int64_t index)
{
    return a->module && index >= a->stage->gan_start;
}

void mgi_adversary_begin(mgi_adversary *a, mgi_run *run, int64_t index)
{
    if (mgi_adversary_acts(a, index))
        mgi_optimizer_begin(&a->optimizer, run, index - a->stage->gan_start);
}

void mgi_adversary_clear(mgi_adversary *a, mgi_run *run, int64_t index)
{
    if (mgi_adversary_acts(a, index))
        mgi_module_zero_grad(a->module, run);
}

void mgi_adversary_end(mgi_adversary *a, mgi_run *run, int64_t index)
{
    if (mgi_adversary_acts(a, index))
        mgi_dp_end(&a->parallel, run, NULL);
}

void mgi_adversary_apply(mgi_adversary *a, mgi_run *run, int64_t index)
{
    if (mgi_adversary_acts(a, index))
        mgi_optimizer_apply(&a->optimizer, run);
}
