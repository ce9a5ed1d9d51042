/* SPDX-License-Identifier: MIT */
#include "nn/partial.h"

#include "dist/collective.h"

void mgi_module_sum_partial(mgi_run *run, mgi_module *m, const mgi_mesh *mesh)
{
    static const mgi_axis axis[] = {[MGI_PARTIAL_SP] = MGI_AXIS_TP,
                                    [MGI_PARTIAL_CP] = MGI_AXIS_CP,
                                    [MGI_PARTIAL_SP | MGI_PARTIAL_CP] = MGI_AXIS_MODEL};
    for (int64_t k = 0; k < m->count; k++) {
        const mgi_param *p = m->params[k];
        if (p->partial == MGI_PARTIAL_NONE || p->frozen || !p->value->var)
            continue;
        mgi_comm *group = mesh->group[axis[p->partial]];
        mgi_comm_note(group, p->name, 0);
        mgi_sum_ranks(run, group, p->value->var->grad);
    }
}
