/* SPDX-License-Identifier: MIT
 * Captioned clips of one size, by number: the toybox's world, samples that the host reads, a folder of films. Tier 6.
 *
 * A finite set is divided: its last tenth, at least one and at most 64 samples, is held out for validation;
 * a set of a single sample is both. What training takes is an endless walk of `elements` through the rest, in
 * an order of each epoch's own that is a function of (seed, epoch), and from each sample a piece of the length
 * asked for that begins at a frame drawn by (seed, element). The world is drawn and endless instead: element i is scene i, and scenes of another seed are held out.
 */
#ifndef MGI_DATA_DATASET_H
#define MGI_DATA_DATASET_H

#include "core/context.h"
#include "data/world.h"

enum {
    MGI_CAPTION_SIZE = 1024, /* bytes with the NUL */
    MGI_DATASET_FPS =
        16, /* frames per second that clips are taken to have, unless the host says others */
    MGI_DATASET_FPS_MAX = 240,
    MGI_HELD_OUT_MAX = 64
};

/* World of held-out scenes, apart from any training seed's. */
#define MGI_VALIDATION_SEED UINT64_C(0x76616c6964617465)

enum { MGI_DATASET_WORLD = 1, MGI_DATASET_HOST, MGI_DATASET_FOLDER }; /* part of identities */

typedef struct mgi_dataset_film {
    char *name, *caption;
    char *sound;           /* <name>.wav, or NULL: there is none */
    char *sound_caption;   /* of <name>.sound.txt, or NULL: there is none */
    int64_t photos;        /* <name>.face.<ending>, <name>.face2.<ending>, ...: how many */
    char **photo_names;    /* of each */
    char *edited;          /* <name>.edited.<ending>, or NULL: there is none */
    char *instruction;     /* of <name>.edit.txt, or NULL: there is none */
    float score;           /* of <name>.score.txt, -1..1; 0: there is none */
    int32_t edit_task;     /* MGI_EDIT_*, of the instruction */
    int64_t first, frames; /* of a clip of it; frames 0: the whole film */
    uint64_t times;        /* in an epoch, of a list's clip that is not held out */
    _Atomic int64_t fps;   /* as mgi_dataset_rate has it; 0: the film has not been opened yet */
    _Atomic int64_t known_base, known_frames; /* mgi_film_known of the file, once it was read */
    _Atomic int64_t
        said_frames; /* the same, as a list of clips says; 0: it says nothing, or is wrong */
    int64_t said_base;
    _Atomic bool told_uneven; /* that its frames do not stand evenly in time */
} mgi_dataset_film;

typedef struct mgen_dataset {
    struct mgi_heap *heap;
    _Atomic int64_t owners;
    int kind;
    int64_t width, height, frames;
    int64_t fps;       /* what the host says, else MGI_DATASET_FPS */
    int64_t bytes;     /* of a sample's pixels */
    uint64_t count;    /* samples; UINT64_MAX = endless */
    uint64_t identity; /* hash of what the samples are; 0 = nobody but the host knows */
    uint64_t seed;     /* of the world */
    mgi_world_options world;
    mgen_status (*read)(void *user, uint64_t index, mgen_sample *sample); /* host */
    void (*released)(void *user);
    void *user;
    int64_t sound_samples; /* of each of the host's; 0: they have no sound */
    char *dir;             /* folder */
    mgi_dataset_film *films;
    uint64_t *walk,
        walks;  /* samples to train on, as often as each comes in an epoch; NULL: each once */
    bool heard; /* films, or files beside them, may have sound */
    bool edits; /* the host's samples are edits */
    struct mgi_kept_sounds *sounds;
} mgi_dataset;

/* `params` as in moviegen.h, complete. Each returns one owner. */
/* Of the options, 0 is the default of each. INVALID if one is out of range. */
mgen_status mgi_dataset_world(mgen_context *ctx, uint64_t seed, const mgi_world_options *options,
                              mgi_dataset **out);
mgen_status mgi_dataset_host(mgen_context *ctx, const mgen_dataset_params *params,
                             mgi_dataset **out);
mgen_status mgi_dataset_folder(mgen_context *ctx, const char *dir,
                               const mgen_dataset_params *params, mgi_dataset **out);
mgi_dataset *mgi_dataset_retain(mgi_dataset *ds);
void mgi_dataset_release(mgi_dataset *ds); /* NULL is fine */
/* A dataset that gives the same kind of samples in another size: of the world, one of its own, whose scenes are
 * laid out for that size and rate (fps 0 = as before); of a folder, the same films, scaled, whatever their rate. Those of a host
 * have the size that they have. Where only fewer frames are asked for it is itself, with one owner more. INVALID if it cannot be. */
mgen_status mgi_dataset_sized(mgen_context *ctx, mgi_dataset *ds, int64_t width, int64_t height,
                              int64_t frames, int64_t fps, mgi_dataset **out);
/* Some of a folder's films, by their numbers, as a dataset of another size, whose samples may be longer, too: each of them must
 * have the frames. They come as often as before; of them as many are held out as of a folder. */
mgen_status mgi_dataset_part(mgen_context *ctx, const mgi_dataset *ds, int64_t width,
                             int64_t height, int64_t frames, const uint64_t *films, uint64_t count,
                             mgi_dataset **out);

/* The sound of a sample that the host reads: as many samples as the dataset says; what is told of it, or "". */
typedef struct mgi_host_sound {
    float *samples;
    char caption[MGI_CAPTION_SIZE];
} mgi_host_sound;

/* What such a sample is as an edit: as many frames, after it; the instruction; its task, MGI_EDIT_*. */
typedef struct mgi_host_edit {
    uint8_t *pixels;
    char instruction[MGI_CAPTION_SIZE];
    int32_t task;
} mgi_host_edit;

/* Sample `index`, which there is, by the host's callback: all its frames, its caption, its sound and its edit, all three of
 * which may be NULL. The caller frees sound->samples and edit->pixels, whatever the answer is; they stay NULL where samples have
 * no sound, or are no edits. INVALID, with the sample's number, for a text, a sound or an edit that is none. */
mgen_status mgi_dataset_ask_host(mgen_context *ctx, mgi_dataset *ds, uint64_t index,
                                 uint8_t *pixels, char caption[MGI_CAPTION_SIZE],
                                 mgi_host_sound *sound, mgi_host_edit *edit);

/* Sample `index`, all its frames, and its caption (which may be NULL). INVALID if there is none. */
mgen_status mgi_dataset_sample(mgen_context *ctx, mgi_dataset *ds, uint64_t index, uint8_t *pixels,
                               char caption[MGI_CAPTION_SIZE]);
/* `frames` of them from `first` on. */
mgen_status mgi_dataset_piece(mgen_context *ctx, mgi_dataset *ds, uint64_t index, int64_t first,
                              int64_t frames, uint8_t *pixels, char caption[MGI_CAPTION_SIZE]);
/* Whether all samples have their frames, as far as is known without reading them: of a folder, of most films. INVALID, with the
 * film's name, for one that is too short, before work is begun that would end there. */
mgen_status mgi_dataset_check_frames(mgen_context *ctx, const mgi_dataset *ds);
/* A caption alone; of the host's samples it is not known without reading them: "". */
void mgi_dataset_caption(const mgi_dataset *ds, uint64_t index, char caption[MGI_CAPTION_SIZE]);
/* Frames a second of sample `index`, as prompts tell them, a whole number up to MGI_DATASET_FPS_MAX: of a folder's film its own,
 * for which the film is opened unless it was before; of others the dataset's. */
mgen_status mgi_dataset_rate(mgen_context *ctx, const mgi_dataset *ds, uint64_t index,
                             int64_t *fps);
/* Whether samples are drawn, without end, and told in many wordings; the caption in one of them, as `pick` says
 * (half of all are the plain one). If not, as mgi_dataset_caption. */
bool mgi_dataset_drawn(const mgi_dataset *ds);
void mgi_dataset_told(const mgi_dataset *ds, uint64_t index, uint32_t pick,
                      char caption[MGI_CAPTION_SIZE]);

/* Training: samples that are not held out, UINT64_MAX = endless; the sample of an element; pieces of the
 * elements first .. first + count - 1, count x frames x height x width x 3. */
uint64_t mgi_dataset_train_count(const mgi_dataset *ds);
uint64_t mgi_dataset_element(const mgi_dataset *ds, uint64_t seed, uint64_t element);
/* Of a finite set: the frame with which the piece of an element begins that has `frames` of them. */
int64_t mgi_dataset_begin(const mgi_dataset *ds, uint64_t seed, uint64_t element, int64_t frames);
mgen_status mgi_dataset_clips(mgen_context *ctx, mgi_dataset *ds, uint64_t seed, uint64_t first,
                              int64_t count, int64_t frames, uint8_t *pixels);

/* Validation: how many are held out, at most `most`; of a finite set, which sample is the first of them; piece i
 * of them, with a caption that may be NULL. */
int64_t mgi_dataset_held_count(const mgi_dataset *ds, int64_t most);
uint64_t mgi_dataset_held_first(const mgi_dataset *ds);
mgen_status mgi_dataset_held(mgen_context *ctx, mgi_dataset *ds, int64_t i, int64_t frames,
                             uint8_t *pixels, char caption[MGI_CAPTION_SIZE]);
void mgi_dataset_held_caption(const mgi_dataset *ds, int64_t i, char caption[MGI_CAPTION_SIZE]);

/* Whether samples have photos of the person in them: those of the world do, if people are all it shows; those of a folder, if
 * there are pictures beside films (folder_photos.h). */
bool mgi_dataset_has_photos(const mgi_dataset *ds);
/* Of a dataset that has photos: INVALID, with the film's name and the file's that is missing, if a sample has none. */
mgen_status mgi_dataset_check_photos(mgen_context *ctx, const mgi_dataset *ds);
/* A photo of the person of sample `index`, or of piece i of what is held out: side x side x 3, the face, around it grey
 * (128). `pick` says which; cross: with another expression, view and light than the film's, else as in a frame of it
 * (mgi_world_photo). Of a folder: one of the files, whatever `cross` is, scaled. INVALID if the sample has none. */
mgen_status mgi_dataset_photo(mgen_context *ctx, mgi_dataset *ds, uint64_t index, uint32_t pick,
                              bool cross, int64_t side, uint8_t *rgb);
mgen_status mgi_dataset_held_photo(mgen_context *ctx, mgi_dataset *ds, int64_t i, uint32_t pick,
                                   bool cross, int64_t side, uint8_t *rgb);

#endif
