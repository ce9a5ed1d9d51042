/* SPDX-License-Identifier: MIT
 * A folder that lasts as long as a group of tests. */
#ifndef TEST_FOLDER_H
#define TEST_FOLDER_H

#include "tiny_stages.h"

#include <stdlib.h>

static char folder[] = "/tmp/mgi-test-XXXXXX";

static inline int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    (void)state;
    return remove_all(folder);
}

#endif
