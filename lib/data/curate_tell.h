/* SPDX-License-Identifier: MIT
 * What became of a folder's films, in words: how many there were, what each step dropped and of which films first. Tier 6. */
#ifndef MGI_DATA_CURATE_TELL_H
#define MGI_DATA_CURATE_TELL_H

#include "data/curate.h"

/* When all is decided: a line of the log each (MGEN_LOG_INFO). If no clip is kept, NOT_FOUND says so instead, and which step dropped
 * most. `list`: the path of what says it of each. */
mgen_status mgi_curate_tell(const mgi_curator *c, const mgi_curate_funnel *funnel, const char *dir,
                            const char *list);

#endif
