/* SPDX-License-Identifier: MIT
 * Words put one behind the other into room of a given size. Tier 5. */
#ifndef MGI_TEXT_SAY_H
#define MGI_TEXT_SAY_H

#include <stddef.h>

typedef struct mgi_saying {
    char *out; /* ends in a NUL once something was said */
    size_t used, size;
} mgi_saying;

/* What does not fit is left out. */
void mgi_say(mgi_saying *s, const char *words);

#endif
