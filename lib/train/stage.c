/* SPDX-License-Identifier: MIT */
#include "train/stage.h"

#include <math.h>

void mgi_stage_report(const mgi_optimizer *o, int64_t step, float loss, mgen_report *report)
{
    mgi_report_add(report, "step", (double)step);
    mgi_report_add(report, "loss", loss);
    mgi_report_add(report, "grad_norm", mgi_optimizer_control(o, MGK_CONTROL_NORM));
    mgi_report_add(report, "lr", mgi_optimizer_lr(o, step));
    mgi_report_add(report, "skipped", mgi_optimizer_control(o, MGK_CONTROL_SKIPPED));
}

mgen_status mgi_stage_check_loss(mgen_context *ctx, int64_t step, float loss)
{
    if (isfinite(loss))
        return MGEN_OK;
    return mgi_fail(ctx, MGEN_E_NUMERIC,
                    "the loss of step %lld is not finite; lower the learning rate",
                    (long long)step);
}

bool mgi_stage_validates(const mgi_stage *stage, int64_t step)
{
    int64_t every = stage->validate_every;
    return every > 0 && (step % every == every - 1 || step == stage->steps - 1);
}

void mgi_module_swap_ema(mgi_module *m)
{
    for (int64_t k = 0; k < m->count; k++) {
        mgi_param *p = m->params[k];
        if (!p->ema)
            continue;
        mgi_storage *s = p->value->storage;
        p->value->storage = p->ema->storage;
        p->ema->storage = s;
    }
    mgi_module_refresh(m);
}
