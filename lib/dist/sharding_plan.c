/* SPDX-License-Identifier: MIT */
#include "dist/sharding_plan.h"

#include <stdio.h>

enum {
    WHOLE = 0,
    FSDP = MGI_BY_FSDP,
    F_T = FSDP | MGI_BY_TP,
    F_S = FSDP | MGI_BY_SP,
    F_S_C = F_S | MGI_BY_CP,
    F_T_S = F_T | MGI_BY_SP,
    F_T_S_C = F_T_S | MGI_BY_CP
};

/* Report, appendix A.2 and figure 8. Where tokens are split, those of all components are: over cp too, whether or not
 * they exchange anything there, which the report says of self-attention alone, the one that does. */
static const mgi_sharding table[MGI_COMPONENTS] = {
    [MGI_COMPONENT_UL2] = {"UL2", FSDP, FSDP, "large: gathered layer by layer"},
    [MGI_COMPONENT_BYT5] = {"ByT5", WHOLE, WHOLE, "small"},
    [MGI_COMPONENT_METACLIP] = {"MetaCLIP", WHOLE, WHOLE, "small"},
    [MGI_COMPONENT_TAE] = {"TAE", WHOLE, WHOLE, "latents are encoded once, before training"},
    [MGI_COMPONENT_PATCHIFIER] = {"patchifier", FSDP, F_S_C, "positions, time and head too"},
    [MGI_COMPONENT_TEXT_PROJECTION] = {"text projections", F_T, FSDP,
                                       "whole over tp: it would save 0.004 % of a step"},
    [MGI_COMPONENT_CROSS_ATTENTION] = {"cross-attention", F_T_S, F_T_S_C, ""},
    [MGI_COMPONENT_SELF_ATTENTION] = {"self-attention", F_T_S_C, F_T_S_C, ""},
    [MGI_COMPONENT_FFN] = {"FFN", F_T_S, F_T_S_C, "not said in the report"},
    [MGI_COMPONENT_MODULATION] = {"modulation", F_T_S, F_S_C,
                                  "not said in the report; whole over tp"},
};

const mgi_sharding *mgi_sharding_of(mgi_component component)
{
    return &table[component];
}

static const char *axes_text(int axes, char buffer[32])
{
    snprintf(buffer, 32, "%s%s%s%s", axes & MGI_BY_FSDP ? "FSDP" : "whole",
             axes & MGI_BY_TP ? "+TP" : "", axes & MGI_BY_SP ? "+SP" : "",
             axes & MGI_BY_CP ? "+CP" : "");
    return buffer;
}

const char *mgi_sharding_text(char *buffer, size_t size)
{
    char report[32], here[32];
    size_t used =
        (size_t)snprintf(buffer, size, "%-17s %-14s %-14s %s\n", "component", "report", "here", "");
    for (int i = 0; i < MGI_COMPONENTS && used < size; i++)
        used += (size_t)snprintf(buffer + used, size - used, "%-17s %-14s %-14s %s\n",
                                 table[i].name, axes_text(table[i].report, report),
                                 axes_text(table[i].here, here), table[i].note);
    return buffer;
}
