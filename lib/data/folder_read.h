/* SPDX-License-Identifier: MIT
 * Which frames of a folder's film are asked for, and whether it has them. Tier 6. */
#ifndef MGI_DATA_FOLDER_READ_H
#define MGI_DATA_FOLDER_READ_H

#include "data/dataset.h"
#include "media/film_read.h"

/* Those from `first` on; or, at a rate, what is seen then from there on. */
typedef struct mgi_folder_wanted {
    int64_t first, frames;
    int64_t end; /* of the clip; 0: the film's */
    double fps;  /* 0: the film's own */
} mgi_folder_wanted;

int64_t mgi_folder_end(const mgi_dataset_film *film); /* as above */
/* A second, as mgi_dataset_rate() has it. */
int64_t mgi_folder_whole_rate(const mgi_film_info *info);
/* The number of the i-th of them in the film. */
int64_t mgi_folder_place(const mgi_film_info *info, const mgi_folder_wanted *w, int64_t i);
/* INVALID: of the film's or the clip's `frames` more are needed. */
mgen_status mgi_folder_too_short(const mgi_film *film, const mgi_folder_wanted *w, int64_t frames,
                                 int64_t needed);
/* Whether the clip has the frames, whatever the film has. */
mgen_status mgi_folder_check_end(const mgi_film *film, const mgi_folder_wanted *w, int64_t needed);

#endif
