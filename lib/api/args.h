/* SPDX-License-Identifier: MIT
 * What the API's files share: copying versioned structs in and out, and the handles' insides. Tier 8. */
#ifndef MGI_API_ARGS_H
#define MGI_API_ARGS_H

#include "core/quiet.h"
#include "core/report.h"
#include "dist/mesh.h"
#include "media/pixels.h"
#include "media/track.h"
#include "model/rewriter.h"
#include "task/generate.h"

/* Copy a caller's struct that begins with struct_size: shorter than ours, the rest becomes 0; longer, its
 * unknown tail must be 0 (else VERSION); shorter than `least`, the first released size, INVALID. */
mgen_status mgi_struct_in(mgen_context *ctx, void *ours, size_t our_size, size_t least,
                          const void *theirs, const char *name);
/* Fill a caller's struct from ours, as far as both go. INVALID unless struct_size is one it may have. */
mgen_status mgi_struct_out(void *theirs, const void *ours, size_t our_size, size_t least);

/* Where a handle goes: NULL until there is one, whatever else is wrong. INVALID without it, or without a context. */
#define MGI_OUT(ctx, out)                                                                          \
    do {                                                                                           \
        if (out)                                                                                   \
            *(out) = NULL;                                                                         \
        if (!(ctx) || !(out))                                                                      \
            return mgi_fail((ctx), MGEN_E_INVALID, "out is NULL");                                 \
    } while (0)

/* STATE while a job runs on the context. */
mgen_status mgi_context_idle(mgen_context *ctx);

/* A name that is not NULL, not empty and not too long; INVALID names the argument. */
mgen_status mgi_check_text(mgen_context *ctx, const char *text, const char *name, size_t bytes_max);
/* A prompt: at most 4096 bytes of UTF-8. */
mgen_status mgi_check_prompt(mgen_context *ctx, const char *text, const char *name);
/* The same of what may be left out: NULL stays NULL, and white space alone becomes "", which it says no more than. */
mgen_status mgi_take_prompt(mgen_context *ctx, const char **text, const char *name);
/* The same of what must say something: neither NULL nor "" nor white space alone. */
mgen_status mgi_need_prompt(mgen_context *ctx, const char *text, const char *name);
/* How a request goes along the flow: fields of that name, as in mgen_generate_params. */
mgen_status mgi_check_sampling(mgen_context *ctx, uint32_t schedule, uint32_t solver,
                               float guidance_from, float guidance_to, uint32_t drop_text);
mgen_status mgi_check_noise_scale(mgen_context *ctx, float noise_scale);

/* Models of a pipeline that text to video does not need. */
enum { MGI_UPSAMPLER, MGI_EDITOR, MGI_AUDIO_MODEL, MGI_PERSONALIZER, MGI_OTHERS };

/* A transformer that its mesh cannot share; heads 0: none. */
typedef struct mgi_undivided {
    int64_t heads, ff_dim;
} mgi_undivided;

/* A model handle lives on a private context, which shares the heap of the one that opened it. */
typedef struct mgi_handle {
    mgen_context *home;
    _Atomic uint64_t owners;
    uint64_t hash, bytes;
    mgi_undivided left_out
        [MGI_OTHERS]; /* what the pipeline was opened without, for which there is no handle */
} mgi_handle;

/* Threads that meet: on a private context, like a model handle. */
struct mgen_ranks {
    mgen_context *home;
    mgi_comm_group *group;
    _Atomic uint64_t owners; /* the host, and each mesh */
};

struct mgen_mesh {
    mgen_context *ctx;
    mgen_ranks *ranks; /* NULL: processes */
    mgi_mesh mesh;
    mgi_comm *world; /* all ranks, in the host's memory: what trainers and jobs agree on */
};

/* A mesh that a call on `ctx` is given: INVALID if it is another context's. NULL is fine. */
mgen_status mgi_mesh_in(mgen_context *ctx, const mgen_mesh *mesh);
/* Collective, where all ranks come whatever happened: mgi_comm_together_in, unless they have lost each other. */
mgen_status mgi_mesh_together(mgen_mesh *mesh, mgen_status status);
/* A rank that failed inside what all ranks do ends the mesh, so that its peers do not wait for it. Returns `status`. */
mgen_status mgi_mesh_end(mgen_mesh *mesh, mgen_status status);
/* Of several ranks: a word of each, in rank order, to all; *all is the caller's, in memory of the mesh's context. Collective, and
 * what fails before they meet is told by all. */
mgen_status mgi_mesh_words(mgen_mesh *mesh, const char *what, uint64_t mine, uint64_t **all);
/* A clip that each rank is given: rank 0's for those that have none, where it becomes *own and the caller's, else NULL. Collective,
 * as above. One rank, or none on rank 0: nothing changes. */
mgen_status mgi_mesh_clip(mgen_mesh *mesh, const mgen_clip **clip, mgen_clip **own);

struct mgen_tae {
    mgi_handle handle;
    mgi_tae net;
};

struct mgen_text_encoder {
    mgi_handle handle;
    mgi_text_encoder net;
};

struct mgen_video_model {
    mgi_handle handle;
    mgi_vt net;
    uint64_t text_hash[MGI_ROLES]; /* of encoders that other ranks run */
};

struct mgen_upsampler {
    mgi_handle handle;
    mgi_upsampler net;
};

struct mgen_editor {
    mgi_handle handle;
    mgi_editor net;
};

struct mgen_audio_model {
    mgi_handle handle;
    mgi_audio net;
};

struct mgen_personalizer {
    mgi_handle handle;
    mgi_personalizer net;
};

struct mgen_rewriter {
    mgi_handle handle;
    mgi_rewriter net;
};

/* As the public calls, held as MGEN_PRECISION_* says; transformers with adapters (or NULL), split over the mesh where there is one. With `undivided`
 * (NULL: without) one that the mesh cannot share is no failure: that is filled in, and there is no handle. */
mgen_status mgi_tae_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                uint32_t precision, mgen_tae **out);
mgen_status mgi_text_encoder_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                         uint32_t precision, mgen_text_encoder **out);
mgen_status mgi_video_model_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                        const mgi_adapters *adapters, uint32_t precision,
                                        const mgen_mesh *mesh, mgen_video_model **out);
mgen_status mgi_upsampler_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                      const mgi_adapters *adapters, uint32_t precision,
                                      const mgen_mesh *mesh, mgi_undivided *undivided,
                                      mgen_upsampler **out);
mgen_status mgi_editor_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                   const mgi_adapters *adapters, uint32_t precision,
                                   const mgen_mesh *mesh, mgi_undivided *undivided,
                                   mgen_editor **out);
mgen_status mgi_audio_model_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                        const mgi_adapters *adapters, uint32_t precision,
                                        const mgen_mesh *mesh, mgi_undivided *undivided,
                                        mgen_audio_model **out);
mgen_status mgi_personalizer_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                         const mgi_adapters *adapters, uint32_t precision,
                                         const mgen_mesh *mesh, mgi_undivided *undivided,
                                         mgen_personalizer **out);
mgen_status mgi_rewriter_handle_open(mgen_context *ctx, const char *dir, const char *name,
                                     uint32_t precision, mgen_rewriter **out);
/* The MGEN_PRECISION_* in which a video model is held. */
uint32_t mgi_video_model_precision(const mgen_video_model *model);
/* The mesh that a network may be split over: NULL, too, where there is one rank. */
const mgi_mesh *mgi_mesh_split(const mgen_mesh *mesh);

struct mgen_clip {
    struct mgi_heap *heap;
    mgen_clip_info info;
    uint8_t *pixels;
};

struct mgen_sound {
    struct mgi_heap *heap;
    mgi_track track;
};

/* Copy a pipeline struct in and retain its handles; mgen_pipeline_close releases them. */
mgen_status mgi_pipeline_in(mgen_context *ctx, const mgen_pipeline *theirs, mgen_pipeline *ours);
/* The mesh of a pipeline that may be wrong otherwise. */
mgen_mesh *mgi_pipeline_mesh(mgen_context *ctx, const mgen_pipeline *theirs);
/* The networks of a whole pipeline: STATE naming the part that is missing or does not fit. */
mgen_status mgi_pipeline_networks(mgen_context *ctx, const mgen_pipeline *p, mgi_networks *out);

/* The networks that upsample such a clip; their `clip` has the largest sides that they take. STATE as above. */
mgen_status mgi_pipeline_upsampler(mgen_context *ctx, const mgen_pipeline *p,
                                   const mgen_clip_info *clip, mgi_networks *out);
/* The networks that edit such a clip, and those that begin with it (SDEdit): their `clip` has its frame rate. */
mgen_status mgi_pipeline_editor(mgen_context *ctx, const mgen_pipeline *p,
                                const mgen_clip_info *clip, mgi_networks *out);
mgen_status mgi_pipeline_begins(mgen_context *ctx, const mgen_pipeline *p,
                                const mgen_clip_info *clip, mgi_networks *out);

/* The networks that make films of the person in a photo; STATE as above. */
mgen_status mgi_pipeline_personalizer(mgen_context *ctx, const mgen_pipeline *p, mgi_networks *out);
/* STATE unless there is one. */
mgen_status mgi_pipeline_rewriter(mgen_context *ctx, const mgen_pipeline *p);

/* INVALID or STATE unless it makes sound. */
mgen_status mgi_pipeline_audio(mgen_context *ctx, const mgen_pipeline *p);

enum { MGI_SIDE_MAX = 65536 }; /* width, height and count of frames and latents */

/* The caller's frames, checked; strides of 0 filled in. */
mgen_status mgi_frames_in(mgen_context *ctx, const mgen_frames *theirs, mgi_pixels *out);
/* The same the other way: how a callback sees frames of the library. */
void mgi_frames_view(const mgi_pixels *p, mgen_frames *out);
/* The caller's latents, checked; `name` is the argument's. */
mgen_status mgi_latents_in(mgen_context *ctx, const mgen_latents *theirs, const char *name,
                           mgen_latents *ours);

/* A silent sound. */
mgen_status mgi_sound_new(mgen_context *ctx, int64_t samples, uint32_t rate, uint32_t channels,
                          mgen_sound **out);

mgen_status mgi_clip_make(mgen_context *ctx, int64_t width, int64_t height, int64_t frames,
                          uint32_t fps_num, uint32_t fps_den, mgen_clip **out);

#endif
