/* SPDX-License-Identifier: MIT
 * Which parts of the networks are divided over which axes of the mesh. Tier 3.
 *
 * One table, after the report's appendix A.2: networks declare their parameters and training opens its encoders by it. */
#ifndef MGI_DIST_SHARDING_PLAN_H
#define MGI_DIST_SHARDING_PLAN_H

#include "core/context.h"

typedef enum mgi_component {
    MGI_COMPONENT_UL2, /* the text encoders in the order of their roles */
    MGI_COMPONENT_BYT5,
    MGI_COMPONENT_METACLIP,
    MGI_COMPONENT_TAE,
    MGI_COMPONENT_PATCHIFIER, /* and what is like it: position tables, time, head */
    MGI_COMPONENT_TEXT_PROJECTION,
    MGI_COMPONENT_CROSS_ATTENTION,
    MGI_COMPONENT_SELF_ATTENTION,
    MGI_COMPONENT_FFN,
    MGI_COMPONENT_MODULATION,
    MGI_COMPONENTS
} mgi_component;

/* FSDP: its parameters over the mesh's shards; TP: over tp; SP, CP: its tokens, outside of products over tp, and over
 * cp. 0: whole on every rank. */
enum { MGI_BY_FSDP = 1, MGI_BY_TP = 2, MGI_BY_SP = 4, MGI_BY_CP = 8 };

typedef struct mgi_sharding {
    const char *name;
    int report, here; /* MGI_BY_*: as the report has it, and as it is done */
    const char *note; /* on the difference, or on what the report does not say; or "" */
} mgi_sharding;

/* The row of a component. */
const mgi_sharding *mgi_sharding_of(mgi_component component);
static inline bool mgi_divided_by(mgi_component component, int axes)
{
    return (mgi_sharding_of(component)->here & axes) == axes;
}

/* The table as text, a line a component under a headline. Returns buffer; 2048 bytes are enough. */
const char *mgi_sharding_text(char *buffer, size_t size);

#endif
