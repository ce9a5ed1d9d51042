/* SPDX-License-Identifier: MIT
 * The photo of a face, as a personalizer sees it. Tier 7. */
#ifndef MGI_TASK_PHOTO_H
#define MGI_TASK_PHOTO_H

#include "model/clip_vision.h"

/* RGB8 of any size, best the face alone and grey (128) around it. */
typedef struct mgi_photo {
    const uint8_t *rgb;
    int64_t height, width;
} mgi_photo;

/* Tokens (count,token count,dim) f32 of photos, each made square by grey beside it. */
T *mgi_photo_tokens(mgi_run *run, const mgi_clip_vision *vision, const mgi_photo *photos,
                    int64_t count);

/* What tells them from others. */
uint64_t mgi_photos_hash(const mgi_photo *photos, int64_t count);

#endif
