/* SPDX-License-Identifier: MIT */
#include "core/report.h"

#include "core/alloc.h"

mgen_status mgi_report_create(mgen_context *ctx, mgen_report **out)
{
    MGI_TRY(mgi_alloc_zero(ctx, 1, sizeof **out, out));
    (*out)->heap = mgi_heap_retain(ctx->heap);
    return MGEN_OK;
}

void mgi_report_add(mgen_report *report, const char *literal_name, double value)
{
    if (!report || report->count == MGI_REPORT_ENTRIES_MAX)
        return;
    report->entry[report->count].name = literal_name;
    report->entry[report->count].value = value;
    report->count++;
}

uint32_t mgen_report_count(const mgen_report *report)
{
    return report ? report->count : 0;
}

const char *mgen_report_name(const mgen_report *report, uint32_t i)
{
    return report && i < report->count ? report->entry[i].name : NULL;
}

double mgen_report_value(const mgen_report *report, uint32_t i)
{
    return report && i < report->count ? report->entry[i].value : 0.0;
}

const char *mgen_report_text(const mgen_report *report)
{
    return report ? report->text : NULL;
}

void mgen_report_destroy(mgen_report *report)
{
    if (!report)
        return;
    mgi_heap *heap = report->heap;
    if (report->text)
        mgi_heap_free(heap, report->text);
    mgi_heap_free(heap, report);
    mgi_heap_release(heap);
}
