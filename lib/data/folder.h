/* SPDX-License-Identifier: MIT
 * The part of a dataset that is a folder of films. Tier 6. */
#ifndef MGI_DATA_FOLDER_H
#define MGI_DATA_FOLDER_H

#include "data/dataset.h"
#include "io/path.h"
#include "media/film_read.h"

bool mgi_folder_is_film(const char *name); /* by its ending, of any case */
#define MGI_FOLDER_FILMS                                                                           \
    ".mp4, .m4v, .mov, .qt, .3gp, .3g2, .mkv, .webm, .avi or .y4m" /* the one list of them */
bool mgi_folder_is_picture(const char *name); /* which samples of one frame may be, too */
#define MGI_FOLDER_PICTURES ".png, .jpg, .jpeg or .webp"
/* NOT_FOUND, with the endings that films have. */
mgen_status mgi_folder_no_film(mgen_context *ctx, const char *dir);
/* A warning of films of kinds that are not read, and of such pictures if `pictures` are samples: how many, which is returned, and the
 * first. */
int64_t mgi_folder_tell_of_others(mgen_context *ctx, const char *dir, const mgi_dir_file *files,
                                  int64_t count, bool pictures);
/* A warning of so many films that are not, the first of which is called so; of none nothing. */
void mgi_folder_tell_of_uneven(mgen_context *ctx, int64_t count, const char *first);
/* Which is the first of these files, sorted as they are, that is not before the name. */
int64_t mgi_folder_from(const char *name, const mgi_dir_file *files, int64_t count);
/* <name without ending><ending>, if it is among these files of the folder; else NULL. */
const mgi_dir_file *mgi_folder_beside(const char *film, const char *ending,
                                      const mgi_dir_file *files, int64_t count);
/* The first of these files from `from` on that is called `stem`, which ends with its point, and an ending by which it `is` one;
 * or `count`. */
int64_t mgi_folder_called(const char *stem, bool (*is)(const char *name), const mgi_dir_file *files,
                          int64_t from, int64_t count);
/* A hash of what a file is, as far as it can be told without reading it. */
uint64_t mgi_folder_identify(uint64_t hash, const mgi_dir_file *file);
/* What a text file says, as UTF-8, without blanks around it; of several lines, which may be refused, one is made. CORRUPT, by
 * what it is called, if it is no such text, or too long. */
mgen_status mgi_folder_text(mgen_context *ctx, const char *dir, const mgi_dir_file *from,
                            const char *what, bool one_line, char out[MGI_CAPTION_SIZE]);
/* Such a text of several lines, allocated. */
mgen_status mgi_folder_caption(mgen_context *ctx, const char *dir, const mgi_dir_file *from,
                               char **out);

/* Where there is a clips.jsonl (clip_list.h), samples are the clips that it keeps, in its order; else films, by name.
 * List them and what is beside them, read the captions; fills dir, films, count, identity and what is for sound. If it tells, the
 * log is told of files that are passed over. */
mgen_status mgi_folder_open(mgen_context *ctx, mgi_dataset *ds, const char *dir, bool tells);
/* Frames first .. first + frames - 1 of a film, scaled. */
mgen_status mgi_folder_read(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, int64_t first,
                            int64_t frames, uint8_t *pixels);
/* The same of another film of the folder, which is cut as film `index` is; and what it is. */
mgen_status mgi_folder_read_file(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                                 const char *name, int64_t first, int64_t frames, uint8_t *pixels,
                                 mgi_film_info *info);
/* As mgi_dataset_rate(). */
mgen_status mgi_folder_rate(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, int64_t *fps);
/* What of it is seen at the middles of the first `frames` times of 1/fps seconds: of a film of another rate, frames are left
 * out or come again. */
mgen_status mgi_folder_watch(mgen_context *ctx, const mgi_dataset *ds, uint64_t index, double fps,
                             int64_t frames, uint8_t *pixels);
/* Whether the films have the frames of which the first `frames` are read, at their own rate (fps 0) or as mgi_folder_watch()
 * sees them; or those after their edit. INVALID, for the first one that is too short, as reading it would say; nothing, for one
 * that does not tell how long it is, or does not open. No film is decoded, but for the beginning of one that says too
 * little. */
mgen_status mgi_folder_check_frames(mgen_context *ctx, const mgi_dataset *ds, double fps,
                                    int64_t frames, bool edited);

/* How long films are asked to be: up to how many frames they are measured; how many each must have, and how many a picture;
 * edited: whether the film after an edit has as many. */
typedef struct mgi_folder_lengths {
    int64_t most, least, least_picture;
    bool edited;
} mgi_folder_lengths;
typedef struct mgi_folder_measure {
    int64_t width, height;
    int64_t frames; /* of the clip, at most as many as are asked for */
    int64_t fps;    /* as mgi_dataset_rate() has it */
} mgi_folder_measure;
/* Of each film, at its own rate, what it says of itself; of one that says nothing, or fewer than it must have, frames are counted.
 * INVALID, with its name, for one that is too short; what does not open is told. */
mgen_status mgi_folder_measure_films(mgen_context *ctx, const mgi_dataset *ds,
                                     const mgi_folder_lengths *lengths, mgi_folder_measure *out);

/* For mgi_dataset_part(). */
mgen_status mgi_folder_take_part(mgen_context *ctx, mgi_dataset *part, const mgi_dataset *ds,
                                 const uint64_t *films, uint64_t count);
/* Whether there is a film to train on among these, not held out and of some weight. */
bool mgi_folder_part_teaches(const mgi_dataset *ds, const uint64_t *films, uint64_t count);

#endif
