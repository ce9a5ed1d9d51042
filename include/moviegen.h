/* SPDX-License-Identifier: MIT
 * moviegen.h - the whole public interface of libmoviegen.
 *
 * What it does    Text in, video out: a temporal autoencoder (TAE), a text encoder and a
 *                 flow-matching video transformer, composed through a pipeline, trained and run by
 *                 this one library after Meta's Movie Gen report (October 2024).
 *
 * Smallest program
 *
 *     mgen_context *ctx;
 *     mgen_pipeline pipe = MGEN_PIPELINE_INIT;
 *     mgen_generate_params params = MGEN_GENERATE_PARAMS_INIT;
 *     mgen_job *job;
 *     mgen_clip *clip;
 *     if (mgen_context_create(NULL, &ctx) || mgen_pipeline_open(ctx, "models/toybox", &pipe))
 *         return 1;
 *     params.prompt = "a red ball rolls left on grass";
 *     if (mgen_generate_start(ctx, &pipe, &params, &job) || mgen_job_wait(job, -1) ||
 *         mgen_job_take_clip(job, &clip) || mgen_clip_write(ctx, clip, "movie.mp4"))
 *         fprintf(stderr, "%s\n", mgen_last_error(ctx));
 *
 * Objects         context; model handles (mgen_tae, mgen_text_encoder, mgen_video_model: immutable
 *                 once loaded, reference-counted); the pipeline struct that names them; job; clip;
 *                 trainer; report (a list of named numbers).
 * Ownership       The library frees what it allocated, through the destroy or release call of its
 *                 kind; each of these accepts NULL. The caller's memory is only read during the
 *                 call unless a function says "keeps".
 * Threads         One object: one thread at a time. A context and everything made from it count as
 *                 one object. Different contexts: free. Exceptions are marked "any thread".
 * Blocking        Calls marked "returns at once" do; the rest block until done.
 * Errors          Every call that can fail returns mgen_status. Outputs are written only on MGEN_OK,
 *                 but an output handle is set to NULL on failure. Three classes:
 *                 nothing changed (INVALID, STATE, UNSUPPORTED, VERSION);
 *                 this call failed, the object is usable (NO_MEMORY, LIMIT, files, CANCELLED, ...);
 *                 the object failed (DEVICE_LOST, PEER_LOST, DESYNC): only destroy it.
 *                 mgen_last_error() has one sentence: what, where, and what to do.
 * Process demands None: no locale, no signal handlers, no global state, no printing, no exit.
 * Compatibility   Before 1.0 the soname is libmoviegen.so.0 and may still change. Structs that may
 *                 grow begin with struct_size, set by their INIT macro; 0 means default.
 */
#ifndef MOVIEGEN_H
#define MOVIEGEN_H

#include <stddef.h>
#include <stdint.h>

#define MGEN_VERSION_MAJOR 0
#define MGEN_VERSION_MINOR 1
#define MGEN_VERSION_PATCH 0

#if defined(__GNUC__)
#define MGEN_API __attribute__((visibility("default")))
#else
#define MGEN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ------------------------------------------------------------------------------- */

/** Result of a call: 0 or one of the negative values below, whose numbers never change. */
typedef int32_t mgen_status;

#define MGEN_OK 0
/* the caller's mistake: nothing changed */
#define MGEN_E_INVALID     (-10) /**< an argument is NULL, out of range or malformed */
#define MGEN_E_STATE       (-11) /**< not now: the object is busy, failed, or lacks a part */
#define MGEN_E_UNSUPPORTED (-12) /**< legal, but not by this build or on this machine */
#define MGEN_E_VERSION     (-13) /**< the struct or file is newer than this library */
/* resources */
#define MGEN_E_NO_MEMORY (-20) /**< the allocator returned NULL */
#define MGEN_E_LIMIT     (-21) /**< would pass a limit that the context set */
/* files */
#define MGEN_E_NOT_FOUND (-30) /**< no such file or folder */
#define MGEN_E_IO        (-31) /**< the system reported an error while reading or writing */
#define MGEN_E_CORRUPT   (-32) /**< the file breaks the rules of its format */
#define MGEN_E_NO_SPACE  (-33) /**< the disk is full */
/* device */
#define MGEN_E_DEVICE      (-40) /**< a device call failed; the context is usable */
#define MGEN_E_DEVICE_LOST (-41) /**< the device is gone: destroy the context */
#define MGEN_E_NUMERIC     (-42) /**< not-a-number or infinity where none may be */
/* peers */
#define MGEN_E_PEER_LOST (-50)
#define MGEN_E_TIMEOUT   (-51) /**< the time given ran out; the work goes on */
#define MGEN_E_DESYNC    (-52)
/* control */
#define MGEN_E_CANCELLED (-60) /**< mgen_job_cancel() or a callback asked to stop */
#define MGEN_E_AGAIN     (-61) /**< not finished yet */
#define MGEN_E_INTERNAL  (-90) /**< a bug in this library; please report the message */

/** @return the constant's name, such as "MGEN_E_INVALID"; never NULL. Any thread. Since 0.1. */
MGEN_API const char *mgen_status_name(mgen_status status);

/** @return "major.minor.patch" of the library that runs. Any thread. Since 0.1. */
MGEN_API const char *mgen_version(void);

/* ---- context ------------------------------------------------------------------------------ */

/** Where calls happen: device, threads, memory, callbacks, last error. */
typedef struct mgen_context mgen_context;

/** Host memory callbacks. `free` gets the size that was asked for. Both may be called from any
 *  thread of the context. `alloc` returns memory aligned to at least 16 bytes, or NULL. */
typedef struct mgen_allocator {
    void *(*alloc)(void *user, size_t size);
    void (*free)(void *user, void *ptr, size_t size);
    void *user;
} mgen_allocator;

#define MGEN_LOG_ERROR 0
#define MGEN_LOG_WARN  1
#define MGEN_LOG_INFO  2
#define MGEN_LOG_DEBUG 3

/** Settings of a context. Fill with MGEN_CONTEXT_PARAMS_INIT, then change. */
typedef struct mgen_context_params {
    uint32_t struct_size;     /**< set by the INIT macro */
    uint32_t threads;         /**< compute threads, 1..256; 0 = one per available processor */
    uint64_t host_memory_max; /**< bytes the context may allocate on the host; 0 = no limit */
    mgen_allocator allocator; /**< all NULL = the C library's */
    /** Called with one line of text without newline; NULL = silent. May come from any thread. */
    void (*log)(void *user, int32_t level, const char *text);
    void *log_user;
    const char *kernels; /**< kernel variants allowed, such as "ref,avx2"; NULL = all. For tests */
    const char
        *plugin_dir; /**< folder of the FFmpeg plug-in; NULL = where the library was installed */
} mgen_context_params;

#define MGEN_CONTEXT_PARAMS_INIT                                                                   \
    {                                                                                              \
        (uint32_t)sizeof(mgen_context_params), 0, 0, {0, 0, 0}, 0, 0, 0, 0                         \
    }

/**
 * Create a context.
 *
 * @param params  read during the call only; NULL = defaults
 * @param out     receives the context; NULL on failure
 * @return MGEN_OK, MGEN_E_INVALID, MGEN_E_VERSION, MGEN_E_NO_MEMORY, MGEN_E_LIMIT (host_memory_max is
 *         too small for the context itself)
 * Ownership: destroy with mgen_context_destroy() after everything made from it.   Threads: any.
 * Since 0.1
 */
MGEN_API mgen_status mgen_context_create(const mgen_context_params *params, mgen_context **out);

/** Destroy a context. Handles, jobs, clips, trainers and reports made from it go first.
 *  NULL is fine. Since 0.1. */
MGEN_API void mgen_context_destroy(mgen_context *ctx);

/** @return the sentence for the last call on `ctx` that failed, or "" if none did; with `ctx` NULL,
 *  a hint about mgen_context_create(). Valid until the next call on `ctx`. Since 0.1. */
MGEN_API const char *mgen_last_error(const mgen_context *ctx);

/** Host bytes held by `ctx` now and at most so far. Either pointer may be NULL. Since 0.1. */
MGEN_API void mgen_context_memory(const mgen_context *ctx, uint64_t *now, uint64_t *peak);

/** @return one line per op: the kernel variant in use. Valid while `ctx` lives. Since 0.1. */
MGEN_API const char *mgen_context_kernels(mgen_context *ctx);

/* ---- models and pipeline ------------------------------------------------------------------ */

typedef struct mgen_tae mgen_tae;                   /**< temporal autoencoder: pixels <-> latents */
typedef struct mgen_text_encoder mgen_text_encoder; /**< prompt -> vectors */
typedef struct mgen_video_model mgen_video_model;   /**< flow-matching video transformer */

/** What a pipeline is made of: a plain struct of handles, each optional. */
typedef struct mgen_pipeline {
    uint32_t struct_size; /**< set by MGEN_PIPELINE_INIT */
    uint32_t reserved0;   /**< must be 0 */
    mgen_tae *tae;        /**< needed for every request */
    mgen_text_encoder
        *text[3]; /**< roles UL2, ByT5, MetaCLIP; NULL where the video model has no such stream */
    mgen_video_model *video; /**< needed to generate */
} mgen_pipeline;

#define MGEN_PIPELINE_INIT                                                                         \
    {                                                                                              \
        (uint32_t)sizeof(mgen_pipeline), 0, 0, {0, 0, 0}, 0                                        \
    }

/**
 * Load a model folder (pipeline.json beside the safetensors files) into `pipe`.
 *
 * @param dir   UTF-8 path of the folder
 * @param pipe  initialised with MGEN_PIPELINE_INIT, handles NULL; unchanged on failure
 * @return MGEN_OK, MGEN_E_INVALID, MGEN_E_STATE (a job is running), MGEN_E_NOT_FOUND, MGEN_E_IO,
 *         MGEN_E_CORRUPT (the message names the file and the rule it breaks), MGEN_E_UNSUPPORTED (a
 *         tensor type that is not read), MGEN_E_VERSION (a newer file), MGEN_E_NO_MEMORY, MGEN_E_LIMIT
 * Ownership: release the handles with mgen_pipeline_close().   Since 0.1
 */
MGEN_API mgen_status mgen_pipeline_open(mgen_context *ctx, const char *dir, mgen_pipeline *pipe);

/** Release every handle of `pipe` and set it to NULL. A running job keeps its own. Since 0.1. */
MGEN_API void mgen_pipeline_close(mgen_pipeline *pipe);

/** 64-bit identity of the loaded weights of `pipe`, the same for the same files. Since 0.1. */
MGEN_API uint64_t mgen_pipeline_hash(const mgen_pipeline *pipe);

/* ---- clip --------------------------------------------------------------------------------- */

typedef struct mgen_clip mgen_clip; /**< frames of RGB8 on the host */

/** What a clip holds. */
typedef struct mgen_clip_info {
    uint32_t struct_size;           /**< set by MGEN_CLIP_INFO_INIT */
    uint32_t width, height, frames; /**< pixels, pixels, count; each 1..65536 */
    uint32_t fps_num, fps_den;      /**< frames per second = fps_num / fps_den */
} mgen_clip_info;

#define MGEN_CLIP_INFO_INIT                                                                        \
    {                                                                                              \
        (uint32_t)sizeof(mgen_clip_info), 0, 0, 0, 0, 0                                            \
    }

/** Make a black clip of the given size. @return MGEN_OK, MGEN_E_INVALID, MGEN_E_VERSION,
 *  MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Destroy with mgen_clip_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_clip_create(mgen_context *ctx, const mgen_clip_info *info,
                                      mgen_clip **out);
MGEN_API void mgen_clip_destroy(mgen_clip *clip);

/** Read a clip's size into `info` (struct_size set). @return MGEN_OK, MGEN_E_INVALID,
 * MGEN_E_VERSION */
MGEN_API mgen_status mgen_clip_get_info(const mgen_clip *clip, mgen_clip_info *info);

/** @return frames x height x width x 3 bytes, RGB, rows without padding; lives as long as `clip`.
 */
MGEN_API uint8_t *mgen_clip_pixels(mgen_clip *clip);

/**
 * Write a clip. The name's ending chooses the format: .y4m (YUV 4:2:0); .png (one frame: a picture;
 * more: up to 8 frames spread over the clip, side by side; a name with one %d or %0Nd: each frame
 * its own file); everything else (.mp4, .mkv, .webm, ...) goes through the FFmpeg plug-in.
 * A file is written beside its final name and renamed when complete.
 *
 * @return MGEN_OK, MGEN_E_INVALID (no known ending), MGEN_E_UNSUPPORTED (the plug-in is not there:
 * the message says how to get it), MGEN_E_NOT_FOUND (no such folder), MGEN_E_IO, MGEN_E_NO_SPACE,
 *         MGEN_E_NO_MEMORY
 * Since 0.1
 */
MGEN_API mgen_status mgen_clip_write(mgen_context *ctx, const mgen_clip *clip, const char *path);

/* ---- generate ----------------------------------------------------------------------------- */

/** One request. Fill with MGEN_GENERATE_PARAMS_INIT, then change. */
typedef struct mgen_generate_params {
    uint32_t struct_size; /**< set by the INIT macro */
    uint32_t steps;       /**< solver steps, 1..1000; 0 = 50 */
    const char *prompt;   /**< UTF-8, 1..4096 bytes; required; read during the call only */
    uint64_t seed;        /**< same seed, same result */
    float guidance;       /**< classifier-free guidance scale, 0 < g <= 100; 0 = 7.5; 1 = off */
    uint32_t width, height, frames; /**< pixels, pixels, count; 0 = the model's own. In this version
                                         any other value is MGEN_E_UNSUPPORTED */
    /** Called after each step from the job's thread, with done < total until the end; a non-zero
     *  answer cancels the job. NULL = none. Must not call the library. */
    int32_t (*progress)(void *user, uint32_t done, uint32_t total);
    void *progress_user;
} mgen_generate_params;

#define MGEN_GENERATE_PARAMS_INIT                                                                  \
    {                                                                                              \
        (uint32_t)sizeof(mgen_generate_params), 0, 0, 0, 0.0f, 0, 0, 0, 0, 0                       \
    }

typedef struct mgen_job mgen_job; /**< one request under way */

/**
 * Start generating a video. Returns at once; the work runs on the job's own thread, and until
 * mgen_job_wait() has reported the end no other call may use `ctx` except those on this job.
 *
 * @param pipeline  its handles are retained until the job is destroyed
 * @param params    read during the call only
 * @param out       receives the job; NULL on failure
 * @return MGEN_OK
 *         MGEN_E_INVALID      a field is out of range, or the prompt is empty, too long or not
 * UTF-8 MGEN_E_VERSION      a struct has a non-zero tail that this library does not know
 *         MGEN_E_STATE        the pipeline lacks a part this request needs, or a job is running
 *         MGEN_E_UNSUPPORTED  the size is not one the model makes
 *         MGEN_E_NO_MEMORY
 * Ownership: destroy with mgen_job_destroy().   Since 0.1
 */
MGEN_API mgen_status mgen_generate_start(mgen_context *ctx, const mgen_pipeline *pipeline,
                                         const mgen_generate_params *params, mgen_job **out);

/**
 * Wait for the end of a job.
 *
 * @param timeout_ms  milliseconds to wait; 0 = only look; negative = no limit
 * @return MGEN_OK when done; MGEN_E_AGAIN (timeout_ms 0) or MGEN_E_TIMEOUT while it runs;
 *         else the job's own end: MGEN_E_CANCELLED, MGEN_E_NO_MEMORY, MGEN_E_LIMIT, MGEN_E_NUMERIC
 * Since 0.1
 */
MGEN_API mgen_status mgen_job_wait(mgen_job *job, int64_t timeout_ms);

/** Ask a job to stop; it ends within one step. Any thread. NULL is fine. Since 0.1. */
MGEN_API void mgen_job_cancel(mgen_job *job);

/** Steps done and in all. Any thread. Either pointer may be NULL. Since 0.1. */
MGEN_API void mgen_job_progress(const mgen_job *job, uint32_t *done, uint32_t *total);

/** Take the finished clip out of a job; the caller destroys it. @return MGEN_OK, MGEN_E_INVALID,
 *  MGEN_E_STATE (not done, failed, or taken already). Since 0.1. */
MGEN_API mgen_status mgen_job_take_clip(mgen_job *job, mgen_clip **out);

/** Cancel if running, wait, free. NULL is fine. Since 0.1. */
MGEN_API void mgen_job_destroy(mgen_job *job);

/* ---- report ------------------------------------------------------------------------------- */

typedef struct mgen_report mgen_report; /**< a list of named numbers */

MGEN_API uint32_t mgen_report_count(const mgen_report *report);
/** @return the name of entry i, or NULL past the end; lives as long as the report. Since 0.1. */
MGEN_API const char *mgen_report_name(const mgen_report *report, uint32_t i);
/** @return the value of entry i; 0 past the end. Since 0.1. */
MGEN_API double mgen_report_value(const mgen_report *report, uint32_t i);
MGEN_API void mgen_report_destroy(mgen_report *report);

/* ---- training ----------------------------------------------------------------------------- */

typedef struct mgen_trainer mgen_trainer; /**< one stage of a recipe under way */

/** Settings of a trainer. Fill with MGEN_TRAINER_PARAMS_INIT, then change. */
typedef struct mgen_trainer_params {
    uint32_t struct_size; /**< set by the INIT macro */
    uint32_t reserved0;   /**< must be 0 */
    const char *recipe;   /**< path of the recipe, a JSON file; required */
    const char *stage;    /**< name of one of its stages; required */
    const char *dir; /**< model folder: earlier stages are read from it, this one is saved to it;
                          made if missing; required */
    uint64_t seed;   /**< of initial weights, data and noise */
} mgen_trainer_params;

#define MGEN_TRAINER_PARAMS_INIT                                                                   \
    {                                                                                              \
        (uint32_t)sizeof(mgen_trainer_params), 0, 0, 0, 0, 0                                       \
    }

/**
 * Begin a stage.
 *
 * @return MGEN_OK, MGEN_E_INVALID, MGEN_E_VERSION, MGEN_E_STATE (an earlier stage's model is
 * missing), MGEN_E_NOT_FOUND, MGEN_E_IO, MGEN_E_CORRUPT, MGEN_E_NO_MEMORY, MGEN_E_LIMIT Ownership:
 * destroy with mgen_trainer_destroy().   Since 0.1
 */
MGEN_API mgen_status mgen_trainer_create(mgen_context *ctx, const mgen_trainer_params *params,
                                         mgen_trainer **out);

/** Steps that the stage takes in all. Since 0.1. */
MGEN_API uint64_t mgen_trainer_steps(const mgen_trainer *trainer);

/**
 * Take one optimizer step.
 *
 * @param report  receives step, loss and its parts, gradient norm, learning rate, (now and then)
 *                validation figures, and flops, the floating point operations of the step's products,
 *                validation apart; NULL = not wanted; destroy with mgen_report_destroy()
 * @return MGEN_OK; MGEN_E_STATE after the last step; MGEN_E_NUMERIC if the loss is not finite;
 *         MGEN_E_NO_MEMORY, MGEN_E_LIMIT
 * Since 0.1
 */
MGEN_API mgen_status mgen_trainer_step(mgen_trainer *trainer, mgen_report **report);

/** Write the averaged (EMA) weights and their configuration to the model folder, each file complete
 *  or not at all. @return MGEN_OK, MGEN_E_IO, MGEN_E_NO_SPACE, MGEN_E_NO_MEMORY. Since 0.1. */
MGEN_API mgen_status mgen_trainer_save(mgen_trainer *trainer);

MGEN_API void mgen_trainer_destroy(mgen_trainer *trainer);

/* ---- planning ----------------------------------------------------------------------------- */

/** A training step of a video transformer to be planned. Fill with MGEN_PLAN_PARAMS_INIT, then change. */
typedef struct mgen_plan_params {
    uint32_t struct_size;   /**< set by the INIT macro */
    uint32_t batch;         /**< samples; 0 = 1 */
    const char *preset;     /**< "1b", "5b" or "30b": the report's sizes */
    const char *recompute;  /**< what is computed again instead of kept for the gradient: "none",
                                  "selective" (all but self-attention; NULL means it) or "full" */
    const char *precision;  /**< of products and activations: "bf16" (NULL means it) or "f32" */
    uint32_t width, height; /**< pixels, multiples of 16 */
    uint32_t frames;        /**< 1..256; the TAE makes one latent frame of 8 */
    uint32_t text_tokens;   /**< of all text encoders together; 0 = 1024 */
} mgen_plan_params;

#define MGEN_PLAN_PARAMS_INIT                                                                      \
    {                                                                                              \
        (uint32_t)sizeof(mgen_plan_params), 0, 0, 0, 0, 0, 0, 0, 0                                 \
    }

/** Find out what one training step needs on a single device, by running it on shapes alone: nothing of
 *  the model's size is allocated, and it takes milliseconds. The report holds: parameters, tokens (of one
 *  sample); forward_flops and step_flops, of all products, 2 for a multiply and add; bytes of master_ (f32
 *  parameters), compute_ (their bf16 copies), gradient_, optimizer_ (two moments, the average), and the
 *  highest ever of activation_ (kept for the gradient or in use), flow_ (gradients of activations) and
 *  peak_bytes, the most of all at one moment.
 *  @return MGEN_OK, MGEN_E_INVALID (last error names the field), MGEN_E_VERSION, MGEN_E_NO_MEMORY.
 *  Destroy the report. Since 0.1. */
MGEN_API mgen_status mgen_plan_training(mgen_context *ctx, const mgen_plan_params *params,
                                        mgen_report **out);

/* ---- evaluation --------------------------------------------------------------------------- */

/** A measurement. Fill with MGEN_EVAL_PARAMS_INIT, then change. */
typedef struct mgen_eval_params {
    uint32_t struct_size; /**< set by the INIT macro */
    uint32_t n;           /**< clips to measure; 0 = the protocol's own number */
    const char
        *protocol; /**< "tae": reconstruction of toybox clips (psnr in dB, ssim, checker rates);
                        "alignment": prompts against what the pixel checker reads in the
                        generated clips (colour, shape, motion, background, all: rates 0..1) */
    uint64_t seed;
    uint32_t steps; /**< as in mgen_generate_params */
    float guidance; /**< as in mgen_generate_params */
    int32_t (*progress)(void *user, uint32_t done, uint32_t total); /**< non-zero answer cancels */
    void *progress_user;
} mgen_eval_params;

#define MGEN_EVAL_PARAMS_INIT                                                                      \
    {                                                                                              \
        (uint32_t)sizeof(mgen_eval_params), 0, 0, 0, 0, 0.0f, 0, 0                                 \
    }

/** Measure a pipeline in the toybox. @return MGEN_OK, MGEN_E_INVALID, MGEN_E_VERSION, MGEN_E_STATE,
 *  MGEN_E_CANCELLED, MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Destroy the report. Since 0.1. */
MGEN_API mgen_status mgen_evaluate(mgen_context *ctx, const mgen_pipeline *pipeline,
                                   const mgen_eval_params *params, mgen_report **out);

/** The n prompts that the alignment protocol asks for, in order; toybox only.
 *  @return the i-th of the grid 3 shapes x 4 colours x 3 motions, NULL past the end. Since 0.1. */
MGEN_API const char *mgen_toybox_prompt(uint32_t i);

/** Render a ground-truth toybox clip for a caption seed. Destroy the clip. @return MGEN_OK,
 *  MGEN_E_INVALID, MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Since 0.1. */
MGEN_API mgen_status mgen_toybox_render(mgen_context *ctx, uint64_t seed, uint64_t index,
                                        mgen_clip **out);

#ifdef __cplusplus
}
#endif
#endif
