/* SPDX-License-Identifier: MIT
 * Photos of who is in the films of a folder: <name>.face.png beside a film, and <name>.face2.png, <name>.face3.png and so on,
 * numbered without a gap; or .jpg, .jpeg and .webp. Tier 6. */
#ifndef MGI_DATA_FOLDER_PHOTOS_H
#define MGI_DATA_FOLDER_PHOTOS_H

#include "data/dataset.h"
#include "io/path.h"

/* The photos that a film has among these files, which go into the hash. INVALID if two have the same number. */
mgen_status mgi_folder_take_photos(mgen_context *ctx, const char *dir, mgi_dataset_film *film,
                                   const mgi_dir_file *files, int64_t count, uint64_t *hash);
/* The same for a film that has none yet. */
mgen_status mgi_folder_copy_photos(mgen_context *ctx, const mgi_dataset_film *film,
                                   mgi_dataset_film *to);
/* Whether any film has. */
bool mgi_folder_has_photos(const mgi_dataset *ds);
/* INVALID unless all have: the first film that has none, and its file that is missing. */
mgen_status mgi_folder_check_photos(mgen_context *ctx, const mgi_dataset *ds);
/* Photo `pick`, counted round and round, as mgi_dataset_photo: the whole of it, as large as fits. Read anew each time, in
 * memory of the context: what that does not allow, or a picture that is none, fails with the file's name. Any thread. */
mgen_status mgi_folder_photo(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                             uint32_t pick, int64_t side, uint8_t *rgb);

/* A picture in the middle of side x side x 3 of grey (128); it is no larger. */
void mgi_photo_square(const uint8_t *rgb, int64_t height, int64_t width, int64_t side,
                      uint8_t *square);

#endif
