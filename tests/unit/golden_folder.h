/* SPDX-License-Identifier: MIT
 * A folder of tests/unit with such models and what their library makes of them, as it is in the repository. */
#ifndef TESTS_UNIT_GOLDEN_FOLDER_H
#define TESTS_UNIT_GOLDEN_FOLDER_H

#include "foreign_folders.h"
#include "io/safetensors.h"

static mgi_st_file golden;
static const char *golden_name; /* set by begin_golden() */

static inline void fresh_folders(void)
{
    const char *source = getenv("MOVIEGEN_SOURCE");
    shell("rm -rf %s/* && cp -r %s/tests/unit/%s/* %s", folder, source ? source : ".", golden_name,
          folder);
}

/* As a group's set-up answers. */
static inline int begin_golden(const char *name)
{
    golden_name = name;
    if (!begin_foreign(NULL))
        return 1;
    fresh_folders();
    return mgi_st_open(ctx, folder, "golden.safetensors", &golden) != MGEN_OK;
}

static inline int end_golden(void **state)
{
    mgi_st_close(ctx, &golden);
    return end_foreign(state);
}

#endif
