/* SPDX-License-Identifier: MIT
 * A list of named numbers: what mgen_report is. Tier 0. */
#ifndef MGI_CORE_REPORT_H
#define MGI_CORE_REPORT_H

#include "core/context.h"

#define MGI_REPORT_ENTRIES_MAX 192

struct mgen_report {
    struct mgi_heap *heap; /* a report may outlive its context */
    char *text;            /* of the same heap, or NULL */
    uint32_t count;
    struct {
        const char *name; /* a literal */
        double value;
    } entry[MGI_REPORT_ENTRIES_MAX];
};

mgen_status mgi_report_create(mgen_context *ctx, mgen_report **out);
/* NULL report: nothing. Entries past the maximum are dropped: the names are the library's own. */
void mgi_report_add(mgen_report *report, const char *literal_name, double value);

#endif
