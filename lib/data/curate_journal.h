/* SPDX-License-Identifier: MIT
 * What was found in films, kept in a file beside the list until that is written: a curation that was ended before goes on there. Tier 6.
 *
 * The file is MGI_CURATE_SEEN after the list's name: a head, then a record a film, added whenever one was watched. A record has a checksum and
 * all that watching found, to the bit; it holds for a file of this name, size and time of change, and for these rules. What
 * cannot be kept is said once and is no failure: then curation begins anew the next time. */
#ifndef MGI_DATA_CURATE_JOURNAL_H
#define MGI_DATA_CURATE_JOURNAL_H

#include "data/curate_watch.h"
#include "io/path.h"

#include <pthread.h>

#define MGI_CURATE_SEEN ".seen"

typedef struct mgi_curate_journal {
    mgen_context *ctx, *own; /* own: for what is no failure of ctx */
    uint64_t key;
    pthread_mutex_t mutex; /* of all below, and of what `own` says */
    mgi_writer file;
    mgen_status failed; /* what is not told yet */
    int64_t records;
    uint8_t *room;
    size_t room_size;
} mgi_curate_journal;

/* Begins the file of a list, or goes on with it: of the films that are in it, `seen` is what was found, without name and caption;
 * of others NULL. The caller frees each. `films` are in the order of their names. STATE if another curation of this list is at
 * work; NO_MEMORY, LIMIT. */
mgen_status mgi_curate_journal_open(mgen_context *ctx, const char *list,
                                    const mgi_curate_rules *rules, const mgi_dir_file *const *films,
                                    int64_t count, mgi_curate_film **seen, mgi_curate_journal *out);
/* Of a film that was watched, to its end. Any thread. */
void mgi_curate_journal_add(mgi_curate_journal *j, const mgi_dir_file *file,
                            const mgi_curate_film *film);
/* Tells what adding failed of: NO_MEMORY, LIMIT; anything else is a warning, after which nothing is added any more. */
mgen_status mgi_curate_journal_check(mgi_curate_journal *j);
/* Whether what was found so far will be found again. */
bool mgi_curate_journal_holds(mgi_curate_journal *j);
/* `remove`: nobody needs it any more. Twice is nothing. */
void mgi_curate_journal_close(mgi_curate_journal *j, bool remove);

/* Of what the rules are, and of what watches. */
uint64_t mgi_curate_journal_key(const mgi_curate_rules *rules);
/* For what tests: the records of such a file, of films in the order of their names, up to the first that is damaged; where that
 * begins. */
mgen_status mgi_curate_journal_read(mgen_context *ctx, const uint8_t *data, size_t size,
                                    uint64_t key, const mgi_dir_file *const *films, int64_t count,
                                    mgi_curate_film **seen, size_t *good, int64_t *records);

#endif
