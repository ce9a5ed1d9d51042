/* SPDX-License-Identifier: MIT
 * moviegen.h - the whole public interface of libmoviegen, and its manual. A comment is of all calls below it up to the next.
 *
 * What it does: text in, video and sound out: autoencoders, text encoders and flow-matching transformers, composed through a
 *     pipeline, trained and run by this library after Meta's Movie Gen report (October 2024).
 *
 * Smallest program:
 * @code
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
 * @endcode
 *
 * Objects: context; model handles (mgen_tae, mgen_text_encoder, mgen_video_model, mgen_upsampler, mgen_editor, mgen_rewriter,
 *     mgen_audio_model, mgen_personalizer); the pipeline, a struct of them; job; clip; sound; dataset; trainer; mesh; report.
 * Ownership: the library frees what it allocated, through the destroy or release call of its kind; each accepts NULL. The
 *     caller's memory is only read during the call unless a function says "keeps". Model handles and datasets count their
 *     owners: retain adds one, release removes one, and the last one frees. A context may go before handles, clips, sounds
 *     and reports of it; jobs, trainers, then meshes go before it.
 * Threads: one object, one thread at a time, and a context with its jobs, trainers and meshes counts as one object. Different
 *     contexts: free. A model handle is immutable once loaded: any number of contexts and threads may use it, retain it and
 *     release it at once. Other exceptions are marked "any thread".
 * Blocking: calls marked "returns at once" do; the rest block until done.
 * Callbacks must return, and must not call the library, but for calls marked "any thread" and calls on another context. One
 *     that answers int32_t goes on with 0; anything else ends the work with MGEN_E_CANCELLED.
 * Errors: calls that can fail return mgen_status. Outputs are written only on MGEN_OK, frames as they are decoded, but an
 *     output handle is NULL after a failure. Three classes (mgen_status_class):
 *     nothing changed (INVALID, STATE, UNSUPPORTED, VERSION): the caller's mistake;
 *     this call failed, its object is usable (memory, files, NUMERIC, control): remove the cause, call again;
 *     the object failed (DEVICE_LOST, PEER_LOST, DESYNC): only destroy it.
 *     mgen_last_error() has one sentence: what, where, and what to do. Calls without a context answer by their status alone.
 *     Any call can return MGEN_E_INVALID for a NULL that it does not allow, and MGEN_E_INTERNAL for a bug of this library.
 * Structs that may grow begin with struct_size, set by their INIT macro, which sets all else to 0, the default. A shorter one
 *     (of an older header) is read as if filled up with 0; a longer one is taken if what this library does not know is 0, else
 *     VERSION. Every call with such a struct can also return INVALID (struct_size is no size it ever had) and VERSION.
 * Process: no locale, signal handlers, writable globals, printing or exit; it may be unloaded when nothing made by it is left.
 * Compatibility: before 1.0 the soname, libmoviegen.so.0, may change, said in CHANGELOG.md. Within one, numbers, field offsets
 *     and the meaning of calls stay; structs and the list of calls grow at the end.
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
typedef int32_t mgen_status; /**< of a call: 0 or a negative value below; numbers never change */
#define MGEN_OK 0
/* by tens: the caller's mistake (nothing changed), resources, files, device, peers, control */
#define MGEN_E_INVALID     (-10) /**< an argument is NULL, out of range or malformed */
#define MGEN_E_STATE       (-11) /**< not now: the object is busy, failed, or lacks a part */
#define MGEN_E_UNSUPPORTED (-12) /**< legal, but not by this build, machine or model */
#define MGEN_E_VERSION     (-13) /**< the struct or file is newer than this library */
#define MGEN_E_NO_MEMORY   (-20) /**< the allocator or the system gave none */
#define MGEN_E_LIMIT       (-21) /**< would pass a limit that the context set */
#define MGEN_E_NOT_FOUND   (-30) /**< no such file or folder */
#define MGEN_E_IO          (-31) /**< the system reported an error while reading or writing */
#define MGEN_E_CORRUPT     (-32) /**< the file breaks the rules of its format */
#define MGEN_E_NO_SPACE    (-33) /**< the disk is full */
#define MGEN_E_DEVICE      (-40) /**< a device call failed; the context is usable */
#define MGEN_E_DEVICE_LOST (-41) /**< the device is gone: destroy the context */
#define MGEN_E_NUMERIC     (-42) /**< not-a-number or infinity where none may be */
#define MGEN_E_PEER_LOST   (-50) /**< another rank is gone */
#define MGEN_E_TIMEOUT     (-51) /**< the time given ran out; a job goes on, ranks do not */
#define MGEN_E_DESYNC      (-52) /**< ranks made different calls */
#define MGEN_E_CANCELLED   (-60) /**< a cancel, a stop or a callback asked to end */
#define MGEN_E_AGAIN       (-61) /**< not finished yet */
#define MGEN_E_INTERNAL    (-90) /**< a bug in this library; please report the message */
/* What a status says about the object; see "Errors" above. */
#define MGEN_CLASS_OK        0
#define MGEN_CLASS_UNCHANGED 1 /**< nothing changed */
#define MGEN_CLASS_FAILED    2 /**< this call failed, the object is usable */
#define MGEN_CLASS_DEAD      3 /**< the object failed: only destroy it */
/** @return the constant's name, such as "MGEN_E_INVALID"; never NULL. Any thread. Since 0.1. */
MGEN_API const char *mgen_status_name(mgen_status status);
/** @return the MGEN_CLASS_* of a status; unknown ones count as FAILED. Any thread. Since 0.1. */
MGEN_API int32_t mgen_status_class(mgen_status status);
/** @return "major.minor.patch" of the library that runs. Any thread. Since 0.1. */
MGEN_API const char *mgen_version(void);
/** The library's numbers of this header, for bindings: "MGEN_E_INVALID", "sizeof mgen_frames", "offsetof mgen_frames.format",
 *  ... @return the name of entry i, NULL past the end. Any thread. Since 0.1. */
MGEN_API const char *mgen_abi_name(uint32_t i);
/** @return the value of entry i; 0 past the end. Any thread. Since 0.1. */
MGEN_API int64_t mgen_abi_value(uint32_t i);

/* ---- context ------------------------------------------------------------------------------ */
typedef struct mgen_context mgen_context; /**< where calls happen: device, threads, memory, callbacks, last error */
/** Host memory callbacks, both or neither; from any thread, for as long as anything made from the context lives. */
typedef struct mgen_allocator {
    void *(*alloc)(void *user, size_t size);          /**< memory aligned to 16 bytes or more, or NULL */
    void (*free)(void *user, void *ptr, size_t size); /**< `size` is what was asked for */
    void *user;                                       /**< given to both */
} mgen_allocator;
#define MGEN_LOG_ERROR 0
#define MGEN_LOG_WARN  1
#define MGEN_LOG_INFO  2
#define MGEN_LOG_DEBUG 3
/** Settings of a context. Fill with MGEN_CONTEXT_PARAMS_INIT, then change. */
typedef struct mgen_context_params {
    uint32_t struct_size;                                     /**< set by the INIT macro */
    uint32_t threads;                                         /**< compute threads, 1..256; 0 = one per available processor */
    uint64_t host_memory_max;                                 /**< bytes on the host, models included; 0 = no limit */
    uint64_t device_memory_max;                               /**< bytes on the device; 0 = no limit; unused by "cpu" */
    mgen_allocator allocator;                                 /**< all NULL = the C library's */
    void (*log)(void *user, int32_t level, const char *text); /**< a line, from any thread; NULL = silent */
    void *log_user;                                           /**< given to log */
    /** By long blocking calls (opening models, encoding a dataset), on their thread, done <= total; not 0 cancels. */
    int32_t (*progress)(void *user, const char *what, uint64_t done, uint64_t total);
    void *progress_user;    /**< given to progress */
    const char *device;     /**< "cpu", "cuda" (first GPU), "cuda:N"; NULL = a usable GPU, else "cpu" */
    const char *cache_dir;  /**< folder of encoded clips, autotune; made if missing; NULL = none */
    const char *plugin_dir; /**< folder of the FFmpeg plug-in; NULL = beside the library */
    const char *kernels;    /**< kernel variants allowed, "ref,avx2"; NULL = all. For tests */
    char *error_text;       /**< receives the sentence if mgen_context_create() fails; may be NULL */
    uint64_t error_size;    /**< bytes of error_text */
    /** GPUs: 0 = cuBLASLt's own choice for each shape of product: one GPU and cuBLASLt, the same bits in every run. 1 = the
     *  fastest of some that are timed when a shape is new, outside of captured steps and meshes with cp or tp: from run to
     *  run rounding may differ, unless cache_dir keeps what was chosen ("products-*", may be deleted). */
    uint32_t autotune;
    uint32_t reserved0; /**< must be 0 */
} mgen_context_params;
/** Create a context; params NULL = defaults. @return MGEN_OK, MGEN_E_INVALID (a field is out of range), MGEN_E_VERSION,
 *  MGEN_E_UNSUPPORTED (there is no such device), MGEN_E_NO_MEMORY (memory or threads ran out), MGEN_E_LIMIT (host_memory_max
 *  is too small for the context itself). Ownership: destroy with mgen_context_destroy(). Threads: any. Since 0.1. */
MGEN_API mgen_status mgen_context_create(const mgen_context_params *params, mgen_context **out);
/** Destroy a context; its jobs, trainers and meshes go first. NULL is fine. Since 0.1. */
MGEN_API void mgen_context_destroy(mgen_context *ctx);
/** @return the sentence for the last call on `ctx` that failed, else "", until the next. NULL is fine. Since 0.1. */
MGEN_API const char *mgen_last_error(const mgen_context *ctx);
/** @return the status that the sentence belongs to; MGEN_OK if none failed. Since 0.1. */
MGEN_API mgen_status mgen_last_status(const mgen_context *ctx);
/** Host bytes held by `ctx` and all made from it, now and at most so far. Either may be NULL. Any thread. Since 0.1. */
MGEN_API void mgen_context_memory(const mgen_context *ctx, uint64_t *now, uint64_t *peak);
/** Give memory kept for the next request back to the allocator. Nothing while a job runs. NULL is fine. Since 0.1. */
MGEN_API void mgen_context_trim(mgen_context *ctx);
/** @return one line per op: the kernel variant in use. Valid while `ctx` lives. Since 0.1. */
MGEN_API const char *mgen_context_kernels(const mgen_context *ctx);

/* ---- ranks -------------------------------------------------------------------------------- */
/* Ranks share one run (docs/parallel.md): each has a context and a mesh of its own, and all make the same calls with it
 * and what is made of it. These can also return PEER_LOST (a rank is gone, aborted, or failed for its own reason, which is
 * told), TIMEOUT (a rank, which is named, is late) and DESYNC (ranks disagree: on what, is told). Then only destroy it. */
typedef struct mgen_ranks mgen_ranks; /**< where threads of one process meet as ranks */
typedef struct mgen_mesh mgen_mesh;   /**< one rank's place among all ranks of a run */
/** Let `size` threads (1..1024) meet. Their calls wait up to timeout_ms milliseconds for each other; 0 = 10 minutes, negative:
 *  no limit. @return MGEN_OK, MGEN_E_INVALID, MGEN_E_STATE (a job is running), MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Ownership:
 *  destroy with mgen_ranks_destroy(); `ctx` may go before. Since 0.1. */
MGEN_API mgen_status mgen_ranks_create(mgen_context *ctx, uint32_t size, int64_t timeout_ms, mgen_ranks **out);
/** Let nobody else join; meshes made of it keep what they need. NULL is fine. Since 0.1. */
MGEN_API void mgen_ranks_destroy(mgen_ranks *ranks);
/** How a rank meets the others: a thread by `ranks`, a process by `meet` or `exchange` or, without all three, by the MPI
 *  plug-in, and then once in its life. Fill with MGEN_MESH_PARAMS_INIT, then change. */
typedef struct mgen_mesh_params {
    uint32_t struct_size; /**< set by the INIT macro */
    uint32_t rank;        /**< 0 .. size - 1; by MPI, mpirun numbers */
    mgen_ranks *ranks;    /**< where threads meet; NULL = processes */
    const char *axes;     /**< how ranks are divided, as "dp=2,cp=1,tp=2"; NULL = all of them over dp */
    int64_t timeout_ms;   /**< processes: as of mgen_ranks_create(). Threads have that one */
    uint32_t by_host;     /**< GPUs exchange: 0 = by NCCL, 1 = by way of the host's memory */
    uint32_t reserved0;   /**< must be 0 */
    const char *meet;     /**< "tcp://host:port", where rank 0 listens; "file:///path", of a file that it makes and removes */
    const char *run;      /**< the run's name: ranks that give another are refused; NULL = none */
    /** Or the host's own way: `bytes` of each rank, in the order of ranks, go to `all` of each. 0 = done. Called once. */
    int32_t (*exchange)(void *user, const void *mine, void *all, uint64_t bytes);
    void *user;         /**< given to exchange */
    uint32_t size;      /**< ranks in all, 1..65536, with `meet` or `exchange` */
    uint32_t reserved1; /**< must be 0 */
} mgen_mesh_params;
/** Meet the other ranks: blocks until all are there. @return MGEN_OK, MGEN_E_INVALID (no mesh, or of another number of ranks),
 *  MGEN_E_VERSION, MGEN_E_STATE (the rank is taken, MPI has been used, or a job runs), MGEN_E_NOT_FOUND (no such host, folder),
 *  MGEN_E_IO (rank 0 cannot listen), MGEN_E_UNSUPPORTED (no MPI, NCCL), MGEN_E_CANCELLED, MGEN_E_DESYNC, MGEN_E_TIMEOUT,
 *  MGEN_E_PEER_LOST, MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Ownership: mgen_mesh_destroy(), before `ctx`. Since 0.1. */
MGEN_API mgen_status mgen_mesh_create(mgen_context *ctx, const mgen_mesh_params *params, mgen_mesh **out);
/** Leave; trainers and jobs go first. Ranks that still wait for this one get PEER_LOST. NULL is fine. Since 0.1. */
MGEN_API void mgen_mesh_destroy(mgen_mesh *mesh);
/** @return this rank, 0 .. size - 1; 0 for NULL. Any thread. Since 0.1. */
MGEN_API uint32_t mgen_mesh_rank(const mgen_mesh *mesh);
/** @return ranks in all; 1 for NULL. Any thread. Since 0.1. */
MGEN_API uint32_t mgen_mesh_size(const mgen_mesh *mesh);
/** Wait for all. @return MGEN_OK, MGEN_E_STATE (a job runs), MGEN_E_DESYNC, MGEN_E_TIMEOUT, MGEN_E_PEER_LOST. Since 0.1. */
MGEN_API mgen_status mgen_mesh_barrier(mgen_mesh *mesh);
/** End it all: calls of every rank return PEER_LOST, those under way too. Any thread. NULL is fine. Since 0.1. */
MGEN_API void mgen_mesh_abort(mgen_mesh *mesh);

/* ---- frames and clips --------------------------------------------------------------------- */
#define MGEN_FORMAT_RGB8   0 /**< one plane, 3 bytes a pixel, 0..255 */
#define MGEN_FORMAT_RGBF32 1 /**< one plane, 3 floats a pixel, 0..1 */
#define MGEN_FORMAT_YUV420 2 /**< planes Y, U, V; BT.601, limited range, U and V half size, rounded up, amid 4 pixels */
/** A view of somebody's frames: row y of frame f at plane[p] + f * frame_stride[p] + y * row_stride[p]. */
typedef struct mgen_frames {
    uint32_t struct_size;     /**< set by MGEN_FRAMES_INIT */
    uint32_t format;          /**< MGEN_FORMAT_* */
    uint32_t width, height;   /**< pixels, each 1..65536 */
    uint32_t count;           /**< frames, 1..65536 */
    uint32_t reserved0;       /**< must be 0 */
    void *plane[3];           /**< first row of the first frame; floats aligned to 4 bytes */
    uint64_t row_stride[3];   /**< bytes from row to row; 0 = without gaps */
    uint64_t frame_stride[3]; /**< bytes from frame to frame; 0 = height rows */
} mgen_frames;
typedef struct mgen_clip mgen_clip; /**< frames of RGB8 on the host */
/** What a clip holds. */
typedef struct mgen_clip_info {
    uint32_t struct_size;      /**< set by MGEN_CLIP_INFO_INIT */
    uint32_t width, height;    /**< pixels, each 1..65536 */
    uint32_t frames;           /**< count, 1..65536 */
    uint32_t fps_num, fps_den; /**< frames per second are fps_num / fps_den, neither 0 */
} mgen_clip_info;
/** Make a black clip. @return MGEN_OK, MGEN_E_INVALID, MGEN_E_VERSION, MGEN_E_NO_MEMORY, MGEN_E_LIMIT.
 *  Ownership: destroy with mgen_clip_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_clip_create(mgen_context *ctx, const mgen_clip_info *info, mgen_clip **out);
/** Read frames of a film or picture: .y4m and .png by the library, all else by the FFmpeg plug-in. `count` of them from `first`
 *  on, 0 = all; fewer where it ends earlier. @return MGEN_OK, MGEN_E_INVALID (none from `first` on), MGEN_E_NOT_FOUND,
 *  MGEN_E_IO, MGEN_E_CORRUPT, MGEN_E_UNSUPPORTED (no plug-in, or not read by it), MGEN_E_STATE (a job is running),
 *  MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Ownership: mgen_clip_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_clip_read(mgen_context *ctx, const char *path, uint64_t first, uint64_t count, mgen_clip **out);
/** Free a clip. NULL is fine. Since 0.1. */
MGEN_API void mgen_clip_destroy(mgen_clip *clip);
/** Tell what a clip holds; `info` as its INIT macro made it. @return MGEN_OK, MGEN_E_INVALID. Since 0.1. */
MGEN_API mgen_status mgen_clip_get_info(const mgen_clip *clip, mgen_clip_info *info);
/** @return frames x height x width x 3 bytes, RGB, to read and write while `clip` lives; or NULL. Since 0.1. */
MGEN_API uint8_t *mgen_clip_pixels(mgen_clip *clip);
/** Write a clip, in the format of the name's ending: .y4m (YUV 4:2:0); .png (one frame: a picture; more: up to 8 frames spread
 *  over the clip, side by side; a name with one %d or %0Nd: a file a frame); all else (.mp4, .mkv, .webm, ...) by the FFmpeg
 *  plug-in. A file is renamed to its name when complete. @return MGEN_OK, MGEN_E_INVALID (no known ending), MGEN_E_UNSUPPORTED
 *  (no plug-in: the message says how to get it), MGEN_E_NOT_FOUND (no such folder), MGEN_E_IO, MGEN_E_NO_SPACE, MGEN_E_STATE
 *  (a job is running), MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Since 0.1. */
MGEN_API mgen_status mgen_clip_write(mgen_context *ctx, const mgen_clip *clip, const char *path);

/* ---- sound -------------------------------------------------------------------------------- */
typedef struct mgen_sound mgen_sound; /**< samples on the host, floats in [-1,1] */
/** What a sound holds. */
typedef struct mgen_sound_info {
    uint32_t struct_size; /**< set by MGEN_SOUND_INFO_INIT */
    uint32_t rate;        /**< samples a second, 1..768000 */
    uint32_t channels;    /**< 1..8 */
    uint32_t reserved0;   /**< must be 0 */
    uint64_t samples;     /**< of each channel, 1..2^31 - 1 */
} mgen_sound_info;
/** Make a silent sound. @return as mgen_clip_create(). Ownership: destroy with mgen_sound_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_sound_create(mgen_context *ctx, const mgen_sound_info *info, mgen_sound **out);
/** Read a sound, or that of a film: .wav by the library, all else by the FFmpeg plug-in. `rate` and `channels`: as in
 *  mgen_sound_info, to which it is converted; 0 = as it is. @return as mgen_clip_read(); MGEN_E_INVALID: too long; no sound in
 *  the film is MGEN_E_UNSUPPORTED. Ownership: mgen_sound_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_sound_read(mgen_context *ctx, const char *path, uint32_t rate, uint32_t channels, mgen_sound **out);
/** Free a sound. NULL is fine. Since 0.1. */
MGEN_API void mgen_sound_destroy(mgen_sound *sound);
/** Tell what a sound holds; `info` as its INIT macro made it. @return MGEN_OK, MGEN_E_INVALID. Since 0.1. */
MGEN_API mgen_status mgen_sound_get_info(const mgen_sound *sound, mgen_sound_info *info);
/** @return samples x channels floats, to read and write while `sound` lives; or NULL. Since 0.1. */
MGEN_API float *mgen_sound_samples(mgen_sound *sound);
/** Write a sound, in the format of the name's ending: .wav (16 bits); all else (.m4a, .mp3, .ogg, .flac, ...) by the FFmpeg
 *  plug-in, at the nearest rate that the format has. @return as mgen_clip_write(). Since 0.1. */
MGEN_API mgen_status mgen_sound_write(mgen_context *ctx, const mgen_sound *sound, const char *path);
/** Write a clip with its sound, cut to its length or going on in silence, by the FFmpeg plug-in (.mp4, .mov, .mkv, .webm, ...).
 *  @return as mgen_clip_write(); a format without sound is MGEN_E_INVALID. Since 0.1. */
MGEN_API mgen_status mgen_movie_write(mgen_context *ctx, const mgen_clip *clip, const mgen_sound *sound, const char *path);

/* ---- models ------------------------------------------------------------------------------- */
typedef struct mgen_tae mgen_tae;                   /**< temporal autoencoder: pixels <-> latents */
typedef struct mgen_text_encoder mgen_text_encoder; /**< prompt -> vectors */
typedef struct mgen_video_model mgen_video_model;   /**< flow-matching video transformer */
typedef struct mgen_upsampler mgen_upsampler;       /**< clip -> larger clip */
typedef struct mgen_editor mgen_editor;             /**< clip + instruction -> clip */
typedef struct mgen_audio_model mgen_audio_model;   /**< clip or text -> sound */
typedef struct mgen_personalizer mgen_personalizer; /**< photo of a face + text -> clip */
typedef struct mgen_rewriter mgen_rewriter;         /**< prompt as users type it -> prompt as captions of training are */
/** Load one network: <name>.json and <name>.safetensors of the folder `dir` (UTF-8), or a folder <name> in it of diffusers
 *  (docs/autoencoder.md) or transformers (docs/text.md). Transformers of video and sound are held as "precision" in their file
 *  says; upsamplers, audio models and personalizers have the networks that their files name. @return MGEN_OK, MGEN_E_STATE (a
 *  job runs), MGEN_E_NOT_FOUND, MGEN_E_IO, MGEN_E_CORRUPT (the message names file and rule), MGEN_E_UNSUPPORTED (a network
 *  or tensor type is not read), MGEN_E_VERSION, MGEN_E_NO_MEMORY, MGEN_E_LIMIT, MGEN_E_CANCELLED. Ownership: the caller's.
 *  Since 0.1. */
MGEN_API mgen_status mgen_tae_open(mgen_context *ctx, const char *dir, const char *name, mgen_tae **out);
MGEN_API mgen_status mgen_text_encoder_open(mgen_context *ctx, const char *dir, const char *name, mgen_text_encoder **out);
MGEN_API mgen_status mgen_video_model_open(mgen_context *ctx, const char *dir, const char *name, mgen_video_model **out);
MGEN_API mgen_status mgen_upsampler_open(mgen_context *ctx, const char *dir, const char *name, mgen_upsampler **out);
MGEN_API mgen_status mgen_editor_open(mgen_context *ctx, const char *dir, const char *name, mgen_editor **out);
MGEN_API mgen_status mgen_audio_model_open(mgen_context *ctx, const char *dir, const char *name, mgen_audio_model **out);
MGEN_API mgen_status mgen_personalizer_open(mgen_context *ctx, const char *dir, const char *name, mgen_personalizer **out);
MGEN_API mgen_status mgen_rewriter_open(mgen_context *ctx, const char *dir, const char *name, mgen_rewriter **out);
/** Add an owner. @return the handle. Any thread. NULL is fine. Since 0.1. */
MGEN_API mgen_tae *mgen_tae_retain(mgen_tae *tae);
MGEN_API mgen_text_encoder *mgen_text_encoder_retain(mgen_text_encoder *encoder);
MGEN_API mgen_video_model *mgen_video_model_retain(mgen_video_model *model);
MGEN_API mgen_upsampler *mgen_upsampler_retain(mgen_upsampler *upsampler);
MGEN_API mgen_editor *mgen_editor_retain(mgen_editor *editor);
MGEN_API mgen_audio_model *mgen_audio_model_retain(mgen_audio_model *model);
MGEN_API mgen_personalizer *mgen_personalizer_retain(mgen_personalizer *personalizer);
MGEN_API mgen_rewriter *mgen_rewriter_retain(mgen_rewriter *rewriter);
/** Remove an owner. Any thread. NULL is fine. Since 0.1. */
MGEN_API void mgen_tae_release(mgen_tae *tae);
MGEN_API void mgen_text_encoder_release(mgen_text_encoder *encoder);
MGEN_API void mgen_video_model_release(mgen_video_model *model);
MGEN_API void mgen_upsampler_release(mgen_upsampler *upsampler);
MGEN_API void mgen_editor_release(mgen_editor *editor);
MGEN_API void mgen_audio_model_release(mgen_audio_model *model);
MGEN_API void mgen_personalizer_release(mgen_personalizer *personalizer);
MGEN_API void mgen_rewriter_release(mgen_rewriter *rewriter);
/** What a loaded network is. Of any kind; fields that do not apply are 0. */
typedef struct mgen_model_info {
    uint32_t struct_size;                     /**< set by MGEN_MODEL_INFO_INIT */
    uint32_t channels;                        /**< TAE, video and audio model: of the latents */
    uint32_t spatial_factor, temporal_factor; /**< TAE: pixels of a latent along height and width, frames of a latent frame */
    uint32_t text_width;                      /**< text encoder: values of a token; video model: of its widest role */
    uint32_t text_tokens;                     /**< text encoder: tokens at most */
    uint64_t parameters;                      /**< count; of a model of several networks, its transformer's */
    uint64_t bytes;                           /**< of memory that its weights take */
    uint64_t hash;                            /**< identity of the weights, the same for the same file */
    float guidance;                           /**< video and audio model: of requests that ask for none */
    uint32_t fps_prefix;   /**< video model: 1 = "FPS-16 ", the rate, stands before prompts that do not begin with "FPS-" */
    uint32_t upsampling;   /**< upsampler: of width and height, as it was trained */
    float noise_scale;     /**< video and audio model: of requests that ask for none */
    uint32_t tasks;        /**< editor: kinds of edits in its file; those of requests are MGEN_EDIT_* */
    float source_guidance; /**< editor and personalizer: of requests that ask for none */
    uint32_t rate;         /**< audio model: samples a second; of one channel */
    uint32_t sees_clips;   /**< audio model: 1 = it makes the sound of clips, 0 = of texts only */
} mgen_model_info;
/** Tell what a network is; `info` as its INIT macro made it. @return MGEN_OK, MGEN_E_INVALID. Any thread. Since 0.1. */
MGEN_API mgen_status mgen_tae_get_info(const mgen_tae *tae, mgen_model_info *info);
MGEN_API mgen_status mgen_text_encoder_get_info(const mgen_text_encoder *encoder, mgen_model_info *info);
MGEN_API mgen_status mgen_video_model_get_info(const mgen_video_model *model, mgen_model_info *info);
MGEN_API mgen_status mgen_upsampler_get_info(const mgen_upsampler *upsampler, mgen_model_info *info);
MGEN_API mgen_status mgen_editor_get_info(const mgen_editor *editor, mgen_model_info *info);
MGEN_API mgen_status mgen_audio_model_get_info(const mgen_audio_model *model, mgen_model_info *info);
MGEN_API mgen_status mgen_personalizer_get_info(const mgen_personalizer *personalizer, mgen_model_info *info);
MGEN_API mgen_status mgen_rewriter_get_info(const mgen_rewriter *rewriter, mgen_model_info *info);
/* How weights are held and products computed: in f32; in bf16, all but vectors; or as FP8: E4M3 in the linear layers of
 * the video model's blocks, with a scale for each output and token, and bf16 elsewhere. A network runs as it is held. */
#define MGEN_PRECISION_DEFAULT 0 /**< as "precision" in the video model's file says, else f32 */
#define MGEN_PRECISION_F32     1
#define MGEN_PRECISION_BF16    2
#define MGEN_PRECISION_FP8     3
/** What a pipeline is made of: handles, each optional, of any context, and the clip that its model was trained on. */
typedef struct mgen_pipeline {
    uint32_t struct_size;       /**< set by MGEN_PIPELINE_INIT */
    uint32_t width, height;     /**< pixels */
    uint32_t frames;            /**< count; longer: windows of this length, blended in time */
    uint32_t fps;               /**< frames per second */
    uint32_t precision;         /**< MGEN_PRECISION_*, of what is opened */
    mgen_tae *tae;              /**< needed wherever clips become latents or latents clips */
    mgen_text_encoder *text[3]; /**< roles UL2, ByT5, MetaCLIP; NULL where the model has none */
    mgen_video_model *video;    /**< needed to generate */
    /** Ranks that make each request together, of the context that opens it; it stays until pipelines and jobs are gone. Each
     *  opens, asks for the same and waits; it holds its part of the video model and the text encoders that it runs. Frames,
     *  clip, sound and previews are rank 0's; a job cancelled on one rank is so on all; a clip or photo that a request sees is
     *  given by each rank, the same, or by rank 0 alone (on others NULL). NULL = one rank. */
    mgen_mesh *mesh;
    mgen_upsampler *upsampler;       /**< needed to upsample; reads `text` */
    mgen_editor *editor;             /**< needed to edit; reads `tae` and `text` */
    mgen_audio_model *audio;         /**< needed for sound */
    mgen_personalizer *personalizer; /**< needed to personalize; reads `tae` and `text` */
    mgen_rewriter *rewriter;         /**< needed for mgen_rewrite() alone */
} mgen_pipeline;
/** Load a model folder (pipeline.json beside its networks; a UTF-8 path) into `pipe`, initialised with
 *  MGEN_PIPELINE_INIT, its precision and mesh set where wanted, and unchanged on failure. @return as mgen_tae_open().
 *  Ownership: the struct owns its handles; release them with mgen_pipeline_close(). Since 0.1. */
MGEN_API mgen_status mgen_pipeline_open(mgen_context *ctx, const char *dir, mgen_pipeline *pipe);
/** Release every handle of `pipe` and set it to NULL. A running job keeps its own. NULL is fine. Since 0.1. */
MGEN_API void mgen_pipeline_close(mgen_pipeline *pipe);
/** 64-bit identity of the weights of `pipe`, the same for the same files; 0 for NULL. Since 0.1. */
MGEN_API uint64_t mgen_pipeline_hash(const mgen_pipeline *pipe);
/** Average video models and text encoders of `count` folders (1..16) of one TAE into the folder `out`, made if missing, with
 *  `weights` above 0, or NULL: alike. @return as mgen_pipeline_open(), MGEN_E_INVALID, MGEN_E_NO_SPACE. Since 0.1. */
MGEN_API mgen_status mgen_pipeline_average(mgen_context *ctx, const char *const *dirs, const double *weights, uint32_t count,
                                           const char *out);
/** Store the transformers of the networks that a model folder names (video model, upsampler, editor, ...) anew, in their
 *  places: as FP8 in half the space of bf16, which rounds their weights, or in bf16. `precision`: MGEN_PRECISION_FP8 or
 *  _BF16. @return as mgen_pipeline_average(), all or none; MGEN_E_NUMERIC: a weight is not finite. Since 0.1. */
MGEN_API mgen_status mgen_pipeline_convert(mgen_context *ctx, const char *dir, uint32_t precision);

/* ---- generate ----------------------------------------------------------------------------- */
/** Rewrite a prompt (UTF-8, 1..4096 bytes) as the captions are that the models were trained on, for mgen_generate_params, with
 *  text to be drawn in quotation marks (report, "prompt rewriting"): UTF-8 with a NUL, into `size` bytes; 4097 are always enough.
 *  The same prompt, the same result; each rank by itself. @return MGEN_OK, MGEN_E_INVALID (the prompt, or `size`), MGEN_E_STATE
 *  (no rewriter, or a job runs), MGEN_E_NUMERIC, MGEN_E_CANCELLED (by progress), MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Since 0.1. */
MGEN_API mgen_status mgen_rewrite(mgen_context *ctx, const mgen_pipeline *pipe, const char *prompt, char *out, uint64_t size);
#define MGEN_SCHEDULE_LINEAR_QUADRATIC      0 /**< the report's: 50 steps follow the first of 250 */
#define MGEN_SCHEDULE_LINEAR                1 /**< even steps */
#define MGEN_SCHEDULE_LINEAR_QUADRATIC_1000 2 /**< the report's other: 50 steps follow the first of 1000 */
#define MGEN_SOLVER_EULER                   0 /**< the report's: first order, one evaluation of the model a step */
#define MGEN_SOLVER_MIDPOINT                1 /**< second order, two evaluations a step */
/** Dormand and Prince's 5(4): steps as long as an error of 1e-3 allows, `steps` attempts of six evaluations at most; the
 *  schedule gives the first one's length. Progress and previews tell what share of `steps` its time has reached. */
#define MGEN_SOLVER_DOPRI5 2
/* What an instruction to edit is about. */
#define MGEN_EDIT_AUTO         0 /**< found by its words: LOCAL where none tells */
#define MGEN_EDIT_LOCAL        1 /**< an object becomes another, or another in colour or size */
#define MGEN_EDIT_STYLE        2 /**< how all of it is drawn */
#define MGEN_EDIT_BACKGROUND   3 /**< what is behind */
#define MGEN_EDIT_REMOVAL      4 /**< an object goes */
#define MGEN_EDIT_ADDITION     5 /**< one comes */
#define MGEN_EDIT_TEXTURE      6 /**< what an object is made of */
#define MGEN_EDIT_SEGMENTATION 7 /**< an object is marked in a colour */
/** Latents in somebody's memory: a view of frames x height x width x channels floats. */
typedef struct mgen_latents {
    uint32_t struct_size;                     /**< set by MGEN_LATENTS_INIT */
    uint32_t frames, height, width, channels; /**< of latents */
    uint32_t reserved0;                       /**< must be 0 */
    float *data;                              /**< mean 0, deviation 1 for each channel, as trained */
} mgen_latents;
/** One request. Fill with MGEN_GENERATE_PARAMS_INIT, then change. */
typedef struct mgen_generate_params {
    uint32_t struct_size;        /**< set by the INIT macro */
    uint32_t steps;              /**< solver steps, 1..1000; 0 = 50 */
    const char *prompt;          /**< UTF-8, 1..4096 bytes, not white space alone; required */
    const char *negative_prompt; /**< what guidance leads away from, 0..4096 bytes; or NULL */
    uint64_t seed;               /**< same seed, same result */
    uint32_t width, height;      /**< pixels; 0 = the pipeline's */
    uint32_t frames;             /**< 1..65536; 1 = a picture; 0 = the pipeline's; more is made in windows */
    float guidance;              /**< classifier-free guidance, 0 < g <= 100; 0 = the video model's; 1 = off */
    uint32_t schedule;           /**< MGEN_SCHEDULE_* */
    uint32_t frames_format;      /**< MGEN_FORMAT_* of what on_frames gets */
    int32_t (*on_progress)(void *user, uint32_t done, uint32_t total); /**< after each step: 1 .. total; NULL = none */
    /** After solver step 0, 1, ...: the clip that the flow leads to if it goes straight on. NULL = none. */
    int32_t (*on_preview)(void *user, uint32_t step, const mgen_latents *latents);
    /** Frames from `first` on once decoded, in order, in memory valid meanwhile; the job then keeps no clip. */
    int32_t (*on_frames)(void *user, uint64_t first, const mgen_frames *frames);
    void *user;              /**< given to the three callbacks, which come from the job's thread */
    const mgen_frames *into; /**< the clip goes here, none is kept; read now, its planes at the end; NULL = no */
    uint32_t solver;         /**< MGEN_SOLVER_* */
    /** Guidance is for times (0 = noise, 1 = data) from .. to, both included; to: 0 = 1. Others take half the work. */
    float guidance_from, guidance_to;
    uint32_t drop_text; /**< text left out: bit i is text[i] of the pipeline; 0 = none. One that the model has must stay */
    /* Of mgen_edit_start(), one of mgen_personalize_start(), too; 0 in other requests. */
    uint32_t edit_task;    /**< MGEN_EDIT_* */
    float source_guidance; /**< towards the clip or the photo, 0 < g <= 100; 0 = the model's; 1 = off */
    /** 0 = by the editor. 0 < s < 1: by the video model (SDEdit): the share of the steps that are taken, the last ones, from
     *  the noised clip on. Then the prompt is what the result shows, and the two above are 0. */
    float strength;
    float noise_scale; /**< deviation of the noise at the beginning, 0 < s <= 2; 0 = the model's; with a strength, 0 */
} mgen_generate_params;
/* How sounds longer than the audio model's window are made. */
#define MGEN_SOUND_BLENDED    0 /**< the report's: windows all at once, their velocities blended */
#define MGEN_SOUND_ONE_BY_ONE 1 /**< window after window, each going on with the one before; not with DOPRI5 */
/** One request for sound. Fill with MGEN_SOUND_PARAMS_INIT, then change. */
typedef struct mgen_sound_params {
    uint32_t struct_size;      /**< set by the INIT macro */
    uint32_t steps;            /**< solver steps, 1..1000; 0 = as the audio model's file says */
    const char *prompt;        /**< what is heard, UTF-8, 0..4096 bytes; NULL or "" = that is not said */
    const char *music;         /**< what the music is like, likewise; "" = that is not said; NULL = no music is wanted */
    const char *negative;      /**< what is heard in what guidance leads away from; NULL = nothing is said of that */
    uint64_t seed;             /**< same seed, same result */
    double seconds;            /**< length, at most 65536; with a clip 0 = as long as that */
    float guidance;            /**< classifier-free guidance, 0 < g <= 100; 0 = the audio model's; 1 = off */
    float quality;             /**< as captions give it, 1..10; 0 = the report's 7, with music 8 */
    uint32_t solver;           /**< MGEN_SOLVER_*; steps are even */
    uint32_t extension;        /**< MGEN_SOUND_* */
    uint32_t candidates;       /**< sounds that are made, 1..64, of which the model chooses the one that fits best; 0 = 1 */
    float noise_scale;         /**< as in mgen_generate_params; 0 = the audio model's */
    const mgen_sound *context; /**< what is heard before, and gone on with; only read during the call; NULL = nothing */
    int32_t (*on_progress)(void *user, uint32_t done, uint32_t total); /**< as in mgen_generate_params */
    void *user;                                                        /**< given to on_progress */
} mgen_sound_params;
typedef struct mgen_job mgen_job; /**< one request under way */
/** What a request needs; with frames decoded in tiles where whole ones would break the context's limit. */
typedef struct mgen_estimate {
    uint32_t struct_size;           /**< set by MGEN_ESTIMATE_INIT */
    uint32_t width, height, frames; /**< of the clip, in pixels, and count */
    uint64_t host_bytes;            /**< beyond what is held now: what the job adds at its highest, at most */
    uint64_t device_bytes;          /**< the same on the device; 0 on the CPU */
    double flops;                   /**< floating point operations of the products; with DOPRI5 at most */
} mgen_estimate;
/** What a request needs, found without starting it. `out` as its INIT macro made it. @return of mgen_generate_start()'s:
 *  MGEN_OK, MGEN_E_INVALID, MGEN_E_VERSION, MGEN_E_STATE, MGEN_E_UNSUPPORTED, MGEN_E_NO_MEMORY. Since 0.1. */
MGEN_API mgen_status mgen_generate_estimate(mgen_context *ctx, const mgen_pipeline *pipeline,
                                            const mgen_generate_params *params, mgen_estimate *out);
/** Start generating a video (frames > 1) or a picture. Returns at once; the work runs on the job's own thread; until
 *  mgen_job_wait() or mgen_job_poll() has told the end only calls on this job may use `ctx`. The job keeps the pipeline's
 *  handles until destroyed. @return MGEN_OK, MGEN_E_VERSION, MGEN_E_INVALID (a field is out of range, or a prompt is empty, too
 *  long or not UTF-8), MGEN_E_STATE (the pipeline lacks a part, its parts do not fit, or a job is running), MGEN_E_UNSUPPORTED
 *  (not this size: the message says which), MGEN_E_LIMIT (the estimate is over the limit; nothing was allocated),
 *  MGEN_E_NO_MEMORY (or no threads). Ownership: destroy with mgen_job_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_generate_start(mgen_context *ctx, const mgen_pipeline *pipeline, const mgen_generate_params *params,
                                         mgen_job **out);
/** Start enlarging a clip (section "Spatial Upsampling" of the report) as mgen_generate_start() makes one, with its fps. The
 *  clip must stay, unchanged, until the job has ended. In params the prompt may be NULL or "", which say nothing; 0 means of
 *  steps and guidance: as the upsampler's file says; of width and height: the clip's times its factor; frames is 0 or the
 *  clip's. Of another aspect the middle is taken. Long clips are made in windows. @return as mgen_generate_start().
 *  Ownership: destroy with mgen_job_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_upsample_start(mgen_context *ctx, const mgen_pipeline *pipeline, const mgen_clip *clip,
                                         const mgen_generate_params *params, mgen_job **out);
/** Start editing a clip (section "Movie Gen Edit" of the report), likewise: the prompt is the instruction, as "make the ball
 *  blue"; the result has the clip's frames and fps. In params 0 means of steps (with a strength: 50) and guidance: as the
 *  model's file says; of width and height: the clip's size. @return as mgen_upsample_start(). Ownership: as that. Since 0.1. */
MGEN_API mgen_status mgen_edit_start(mgen_context *ctx, const mgen_pipeline *pipeline, const mgen_clip *clip,
                                     const mgen_generate_params *params, mgen_job **out);
/** Start generating a video or a picture of the person in a photo (section "Personalization" of the report), as
 *  mgen_generate_start() does without one: the photo is a clip's first frame, the face, best with all else grey (128). The clip
 *  must stay, unchanged, until the job has ended. In params 0 means of steps and guidance: as the personalizer's file says.
 *  @return as mgen_upsample_start(). Ownership: destroy with mgen_job_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_personalize_start(mgen_context *ctx, const mgen_pipeline *pipeline, const mgen_clip *photo,
                                            const mgen_generate_params *params, mgen_job **out);
/** Start making sound (section "Movie Gen Audio" of the report) for a clip or, with clip NULL, of the texts alone: one channel
 *  at the audio model's rate. The clip must stay, unchanged, until the job has ended; on a mesh rank 0's is enough.
 *  @return as mgen_generate_start(); MGEN_E_UNSUPPORTED: the model sees no clips. Ownership: mgen_job_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_sound_start(mgen_context *ctx, const mgen_pipeline *pipeline, const mgen_clip *clip,
                                      const mgen_sound_params *params, mgen_job **out);
/** What these need, as mgen_generate_estimate() tells it; of a clip that of sound says 0. @return as that. Since 0.1. */
MGEN_API mgen_status mgen_upsample_estimate(mgen_context *ctx, const mgen_pipeline *pipeline, const mgen_clip *clip,
                                            const mgen_generate_params *params, mgen_estimate *out);
MGEN_API mgen_status mgen_edit_estimate(mgen_context *ctx, const mgen_pipeline *pipeline, const mgen_clip *clip,
                                        const mgen_generate_params *params, mgen_estimate *out);
MGEN_API mgen_status mgen_personalize_estimate(mgen_context *ctx, const mgen_pipeline *pipeline, const mgen_clip *photo,
                                               const mgen_generate_params *params, mgen_estimate *out);
MGEN_API mgen_status mgen_sound_estimate(mgen_context *ctx, const mgen_pipeline *pipeline, const mgen_clip *clip,
                                         const mgen_sound_params *params, mgen_estimate *out);
/** Wait up to timeout_ms milliseconds (negative = no limit) for a job's end; asked again, the same answer. @return MGEN_OK when
 *  done; MGEN_E_TIMEOUT while it runs; else its end: MGEN_E_CANCELLED, MGEN_E_NO_MEMORY, MGEN_E_LIMIT, MGEN_E_NUMERIC (damaged
 *  weights, or DOPRI5 was not at the end after `steps` attempts). Since 0.1. */
MGEN_API mgen_status mgen_job_wait(mgen_job *job, int64_t timeout_ms);
/** Look whether a job has ended; returns at once. @return MGEN_OK when done; MGEN_E_AGAIN while it runs; else its end:
 *  MGEN_E_CANCELLED, MGEN_E_NO_MEMORY, MGEN_E_LIMIT, MGEN_E_NUMERIC. Since 0.1. */
MGEN_API mgen_status mgen_job_poll(mgen_job *job);
/** Ask a job to stop; it ends within one step, or one piece of frames. Any thread. NULL is fine. Since 0.1. */
MGEN_API void mgen_job_cancel(mgen_job *job);
/** How far a job is. */
typedef struct mgen_job_info {
    uint32_t struct_size;           /**< set by MGEN_JOB_INFO_INIT */
    uint32_t done, total;           /**< solver steps; decoding follows them */
    uint32_t width, height, frames; /**< of the clip, in pixels, and count */
    uint32_t frames_done;           /**< decoded so far */
    uint32_t reserved0;             /**< 0 */
    uint64_t host_bytes;            /**< the estimate that it was started with */
} mgen_job_info;
/** Tell how far a job is; `info` as its INIT macro made it. @return MGEN_OK, MGEN_E_INVALID. Any thread. Since 0.1. */
MGEN_API mgen_status mgen_job_get_info(const mgen_job *job, mgen_job_info *info);
/** Take the finished clip out of a job. @return MGEN_OK, MGEN_E_STATE (not waited for, failed, taken already, or its
 *  frames went to on_frames or into). Ownership: the caller's, mgen_clip_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_job_take_clip(mgen_job *job, mgen_clip **out);
/** Take the sound of mgen_sound_start(). @return as mgen_job_take_clip(). Ownership: mgen_sound_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_job_take_sound(mgen_job *job, mgen_sound **out);
/** Cancel if running, wait, free. NULL is fine. Since 0.1. */
MGEN_API void mgen_job_destroy(mgen_job *job);

/* ---- the parts, for hosts that build their own loops ---------------------------------------- */
/** Encoded text in somebody's memory: a view of tokens x width floats. */
typedef struct mgen_text {
    uint32_t struct_size; /**< set by MGEN_TEXT_INIT */
    uint32_t tokens;      /**< rows */
    uint32_t width;       /**< values a row: text_width of the encoder */
    uint32_t reserved0;   /**< must be 0 */
    float *data;          /**< tokens x width */
} mgen_text;
/** Encode a prompt (UTF-8, 0..4096 bytes; "" is what guidance leads away from), for role ByT5 what stands between
 *  quotation marks in it, several joined by newlines. `text` comes with the room that it has (tokens, width, data) and
 *  leaves with the tokens written; text_tokens of the encoder are always enough. @return MGEN_OK, MGEN_E_INVALID (the
 *  message says how many tokens there are), MGEN_E_VERSION, MGEN_E_STATE, MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Since 0.1. */
MGEN_API mgen_status mgen_text_encode(mgen_context *ctx, const mgen_text_encoder *encoder, const char *prompt, mgen_text *text);
/** Video to latents (the posterior's mean), in flat memory. Latent frames are ceil(count / temporal_factor); width and
 *  height multiples of spatial_factor. `latents` has its shape filled in. @return MGEN_OK, MGEN_E_INVALID (and the
 *  shape wanted), MGEN_E_VERSION, MGEN_E_STATE, MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Since 0.1. */
MGEN_API mgen_status mgen_tae_encode(mgen_context *ctx, const mgen_tae *tae, const mgen_frames *frames,
                                     const mgen_latents *latents);
/** Latents to video, the first frames->count frames of it, in flat memory. @return as mgen_tae_encode(). Since 0.1. */
MGEN_API mgen_status mgen_tae_decode(mgen_context *ctx, const mgen_tae *tae, const mgen_latents *latents,
                                     const mgen_frames *frames);
/** Velocity of the flow at `x` and `time` (0 = noise, 1 = data), given text of the three roles (NULL: none, or left out; not
 *  all). `out` has the shape of x and may be x. @return as mgen_tae_encode(), MGEN_E_UNSUPPORTED (not this size). Since 0.1. */
MGEN_API mgen_status mgen_video_velocity(mgen_context *ctx, const mgen_video_model *model, const mgen_latents *x, float time,
                                         const mgen_text *const text[3], const mgen_latents *out);
/** times[0] = 0 .. times[steps] = 1; steps 1..1000. @return MGEN_OK, MGEN_E_INVALID. Any thread. Since 0.1. */
MGEN_API mgen_status mgen_schedule(uint32_t schedule, uint32_t steps, float *times);
/** Fill with the noise that a request with `seed` and noise_scale 1 begins with. @return as mgen_tae_encode(). Since 0.1. */
MGEN_API mgen_status mgen_noise(mgen_context *ctx, uint64_t seed, const mgen_latents *latents);

/* ---- report ------------------------------------------------------------------------------- */
typedef struct mgen_report mgen_report; /**< a list of named numbers */
/** @return entries of a report; 0 for NULL. Since 0.1. */
MGEN_API uint32_t mgen_report_count(const mgen_report *report);
/** @return the name of entry i, or NULL past the end; lives as long as the report. Since 0.1. */
MGEN_API const char *mgen_report_name(const mgen_report *report, uint32_t i);
/** @return the value of entry i; 0 past the end. Since 0.1. */
MGEN_API double mgen_report_value(const mgen_report *report, uint32_t i);
/** @return what a plan says in words, or NULL; lives as long as the report. Since 0.1. */
MGEN_API const char *mgen_report_text(const mgen_report *report);
/** Free a report. NULL is fine. Since 0.1. */
MGEN_API void mgen_report_destroy(mgen_report *report);

/* ---- datasets ----------------------------------------------------------------------------- */
typedef struct mgen_dataset mgen_dataset; /**< captioned clips of one size, by number */
/** Room for one sample, which a host's callback fills. */
typedef struct mgen_sample {
    uint32_t struct_size;           /**< set by the library */
    uint32_t width, height, frames; /**< pixels, and count */
    uint8_t *pixels;                /**< frames x height x width x 3, RGB */
    char *caption;                  /**< UTF-8, ends with a NUL; "" when the callback is called */
    uint64_t caption_size;          /**< bytes of caption, and of the two texts below */
    float *sound;                   /**< sound_samples values of -1..1, zeros when called; NULL: samples have none */
    uint64_t sound_samples;         /**< as in mgen_dataset_params */
    char *sound_caption;            /**< as caption, what is heard; left "": the caption; NULL: samples have no sound */
    uint8_t *edited;                /**< as pixels, the clip after an edit; NULL: samples are no edits */
    char *instruction;              /**< as caption, that of the edit; NULL: samples are no edits */
    uint32_t edit_task;             /**< MGEN_EDIT_*, AUTO when called */
    uint32_t reserved0;             /**< must be 0 */
} mgen_sample;
/** Where clips come from. Fill with MGEN_DATASET_PARAMS_INIT, then change. */
typedef struct mgen_dataset_params {
    uint32_t struct_size;   /**< set by the INIT macro */
    uint32_t width, height; /**< pixels, multiples of 8, 8..4096; films are scaled and cropped */
    uint32_t frames;        /**< of a sample, 1..4096 */
    uint64_t count;         /**< samples, for mgen_dataset_create() only */
    /** Fill sample `index`. MGEN_OK, or a status that the call which needed the sample returns. Called by
     *  the thread of that call, one at a time. For mgen_dataset_create() only. */
    mgen_status (*read)(void *user, uint64_t index, mgen_sample *sample);
    void (*released)(void *user); /**< called once, when the last owner is gone; may be NULL */
    void *user;                   /**< given to both */
    uint32_t fps;                 /**< of clips that the host reads, 1..240; 0 = 16 */
    uint32_t edits;               /**< 1: the host's samples are edits, to train editors on; else 0 */
    uint64_t sound_samples;       /**< of each of the host's samples, at 48,000 a second, one channel; 0 = they have no sound */
} mgen_dataset_params;
/** The toybox: endless drawn clips, 64 x 64 x 32 frames, the same for a seed. @return MGEN_OK, MGEN_E_NO_MEMORY,
 *  MGEN_E_LIMIT. Ownership: one owner, the caller. Since 0.1. */
MGEN_API mgen_status mgen_dataset_toybox(mgen_context *ctx, uint64_t seed, mgen_dataset **out);
/** Samples that the host reads; keeps callbacks and `user`. @return as mgen_clip_create(). Ownership: the caller. Since 0.1. */
MGEN_API mgen_status mgen_dataset_create(mgen_context *ctx, const mgen_dataset_params *params, mgen_dataset **out);
/** A folder of films (.mp4, .mkv, .webm, .mov, .avi, .y4m, ...), perhaps with captions in <name>.txt and edits
 *  (docs/editing.md), by name; with `frames` 1 its pictures (.png, .jpg, .jpeg, .webp), too; if there is a clips.jsonl, the clips that it keeps, as often as their weights say (mgen_curate()).
 *  @return MGEN_OK, MGEN_E_INVALID, MGEN_E_VERSION, MGEN_E_NOT_FOUND (no folder or film), MGEN_E_IO, MGEN_E_CORRUPT (a text, the list), MGEN_E_STATE, MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Ownership: one owner, the caller. Since 0.1. */
MGEN_API mgen_status mgen_dataset_open(mgen_context *ctx, const char *dir, const mgen_dataset_params *params,
                                       mgen_dataset **out);
/** Add an owner. @return the dataset. Any thread. NULL is fine. Since 0.1. */
MGEN_API mgen_dataset *mgen_dataset_retain(mgen_dataset *dataset);
/** Remove an owner. Any thread. NULL is fine. Since 0.1. */
MGEN_API void mgen_dataset_release(mgen_dataset *dataset);
/** @return samples; UINT64_MAX where there is no end; 0 for NULL. Any thread. Since 0.1. */
MGEN_API uint64_t mgen_dataset_count(const mgen_dataset *dataset);
/** Read a sample: its clip and, in `caption` (or NULL), caption_size bytes of its caption. @return MGEN_OK,
 *  MGEN_E_INVALID (there is none), MGEN_E_STATE, MGEN_E_NOT_FOUND, MGEN_E_IO, MGEN_E_CORRUPT, MGEN_E_UNSUPPORTED,
 *  MGEN_E_NO_MEMORY, MGEN_E_LIMIT, or the callback's. Ownership: mgen_clip_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_dataset_read(mgen_context *ctx, mgen_dataset *dataset, uint64_t index, char *caption,
                                       uint64_t caption_size, mgen_clip **out);
/** Raw films to be curated. Fill with MGEN_CURATE_PARAMS_INIT, then change. */
typedef struct mgen_curate_params {
    uint32_t struct_size; /**< set by the INIT macro */
    uint32_t reserved0;   /**< must be 0 */
    const char *dir;      /**< folder of films, as mgen_dataset_open() takes; required */
    const char *rules;    /**< "report", "toybox", or path of a file of thresholds (docs/curation.md); NULL = "report" */
    const char *out;      /**< path of the list, a line of JSON for each clip; NULL = clips.jsonl in dir */
    int32_t (*on_progress)(void *user, uint32_t done, uint32_t total); /**< after each film; NULL = none */
    void *user;                                                        /**< given to on_progress */
} mgen_curate_params;
/** Find the clips of a folder's films that are worth training on. The report holds films and clips, how many of each are
 *  left after each step, as clips_text, seconds, clusters, and of files others, edited, before, uneven (docs/curation.md). @return MGEN_OK, MGEN_E_INVALID, MGEN_E_VERSION, MGEN_E_STATE,
 *  MGEN_E_NOT_FOUND (no folder, film or clip that is kept), MGEN_E_IO, MGEN_E_CORRUPT (rules, captions, ratings), MGEN_E_UNSUPPORTED (no film can
 *  be read), MGEN_E_NO_SPACE, MGEN_E_CANCELLED, MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Ownership: mgen_report_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_curate(mgen_context *ctx, const mgen_curate_params *params, mgen_report **out);

/* ---- training ----------------------------------------------------------------------------- */
typedef struct mgen_trainer mgen_trainer; /**< one stage of a recipe under way */
/** Settings of a trainer. Fill with MGEN_TRAINER_PARAMS_INIT, then change. */
typedef struct mgen_trainer_params {
    uint32_t struct_size;  /**< set by the INIT macro */
    uint32_t reserved0;    /**< must be 0 */
    const char *recipe;    /**< path of the recipe, a JSON file; required */
    const char *stage;     /**< name of one of its stages; required */
    const char *dir;       /**< model folder: earlier stages are read, this one is saved; made if missing; required */
    uint64_t seed;         /**< of initial weights, noise and the order of the data */
    mgen_dataset *dataset; /**< kept; NULL = the toybox of `seed` */
    const char *resume;    /**< what mgen_trainer_checkpoint() wrote; NULL = from the beginning */
    /** After each step of mgen_trainer_run(), on its thread; the report is valid meanwhile. NULL = none. */
    int32_t (*on_step)(void *user, uint64_t step, const mgen_report *report);
    void *user; /**< given to on_step */
    /** Ranks that train together, of this context; it stays until the trainer is gone. Each rank has its trainer, made
     *  alike; files are written by rank 0; a stop on one rank, or its on_step's, is one on all. NULL = one rank. */
    mgen_mesh *mesh;
} mgen_trainer_params;
/** Begin a stage, or go on with it. @return MGEN_OK, MGEN_E_INVALID, MGEN_E_VERSION, MGEN_E_STATE (an earlier stage's model
 *  is missing, the checkpoint is of another stage or recipe, or a job is running), MGEN_E_NOT_FOUND, MGEN_E_IO,
 *  MGEN_E_CORRUPT, MGEN_E_UNSUPPORTED, MGEN_E_NO_MEMORY, MGEN_E_LIMIT, MGEN_E_CANCELLED, or what a dataset's callback
 *  answered. Ownership: destroy with mgen_trainer_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_trainer_create(mgen_context *ctx, const mgen_trainer_params *params, mgen_trainer **out);
/** @return steps that the stage takes in all; 0 for NULL. Since 0.1. */
MGEN_API uint64_t mgen_trainer_steps(const mgen_trainer *trainer);
/** @return steps taken so far; 0 for NULL. Any thread. Since 0.1. */
MGEN_API uint64_t mgen_trainer_position(const mgen_trainer *trainer);
/** Take one optimizer step. `report` (NULL = none) receives step, loss and its parts, gradient norm, learning rate, now and
 *  then validation figures, and flops, those of the step's products on all ranks. @return MGEN_OK; MGEN_E_STATE after the last
 *  step; MGEN_E_NUMERIC if the loss is not finite; MGEN_E_NO_MEMORY, MGEN_E_LIMIT; what reading the dataset returned. On one
 *  rank a step that failed can be taken again. Ownership: the report is the caller's, mgen_report_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_trainer_step(mgen_trainer *trainer, mgen_report **report);
/** Take up to `steps` steps (0 = all), on_step after each. @return as mgen_trainer_step(); MGEN_E_CANCELLED by
 *  mgen_trainer_stop() or on_step: steps begun are taken, the next run goes on. Since 0.1. */
MGEN_API mgen_status mgen_trainer_run(mgen_trainer *trainer, uint64_t steps);
/** Let mgen_trainer_run() end after the step under way, or the next after its first. Any thread. NULL is fine. Since 0.1. */
MGEN_API void mgen_trainer_stop(mgen_trainer *trainer);
/** Write what it takes to go on from here, to the same bits, to the file (ranks: folder) `path`, or nothing. @return MGEN_OK,
 *  MGEN_E_STATE, MGEN_E_NOT_FOUND (no such folder), MGEN_E_IO, MGEN_E_NO_SPACE, MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Since 0.1. */
MGEN_API mgen_status mgen_trainer_checkpoint(mgen_trainer *trainer, const char *path);
/** Write the averaged (EMA) weights to the model folder, all files or none. @return as mgen_trainer_checkpoint(). Since 0.1. */
MGEN_API mgen_status mgen_trainer_save(mgen_trainer *trainer);
/** Free a trainer; what was not saved is lost. NULL is fine. Since 0.1. */
MGEN_API void mgen_trainer_destroy(mgen_trainer *trainer);

/* ---- planning ----------------------------------------------------------------------------- */
/** A training step of a video transformer to be planned. Fill with MGEN_PLAN_PARAMS_INIT, then change. */
typedef struct mgen_plan_params {
    uint32_t struct_size;   /**< set by the INIT macro */
    uint32_t batch;         /**< samples; on a mesh, of each dp rank in a pass; 0 = 1 */
    const char *preset;     /**< "1b", "5b", "30b", "7b", "13b" (upsampler, audio), "toybox", or "FILE:STAGE"; required */
    const char *recompute;  /**< "none", "selective" (all but self-attention) or "full"; NULL = that, on a mesh what fits */
    const char *precision;  /**< of products and activations: "bf16" (NULL means it) or "f32" */
    uint32_t width, height; /**< pixels, multiples of 16; "13b": 0 */
    uint32_t frames;        /**< 1..256; a latent frame is 8 of them; "7b": 1..14, of one; "13b": 1..1024 latents of sound */
    uint32_t text_tokens;   /**< of all text encoders together; 0 = 1024; "13b": 512 */
    uint32_t gpus;          /**< of a mesh, at most 65536; 0 = one device, the rest must be 0 */
    uint32_t global_batch;  /**< samples of a step, in as many passes as it takes; 0 = one pass */
    const char *gpu;        /**< "h100-80gb", "h100-80gb,attention=0.5"; needed for a recipe; docs/planning.md */
    const char *mesh;       /**< "dp=2,cp=1,tp=4"; NULL = the best */
    uint32_t text;          /**< of mgen_report_text(): 0 = none, 1 = a line of JSON, 2 = tables */
    uint32_t timeline;      /**< 1 = the text has the order of work in a block */
} mgen_plan_params;
/** Find out what one training step needs, by running it on shapes alone, in milliseconds a mesh. The report of one device holds:
 *  parameters, tokens (of a sample); forward_flops and step_flops, of all products, 2 for a multiply and add; bytes of master_
 *  (f32 parameters), compute_ (their bf16 copies), gradient_, optimizer_ (two moments, the average), and the highest ever of
 *  activation_ (kept for the gradient or in use), flow_ (gradients of activations) and peak_bytes, of all at one moment; of a
 *  mesh: its sizes, memory_per_rank_bytes, step_seconds, mfu ... @return MGEN_OK, MGEN_E_INVALID (last error names the field), MGEN_E_VERSION, MGEN_E_STATE,
 *  MGEN_E_NO_MEMORY, MGEN_E_LIMIT. Ownership: the caller's, mgen_report_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_plan_training(mgen_context *ctx, const mgen_plan_params *params, mgen_report **out);

/* ---- evaluation --------------------------------------------------------------------------- */
/** A measurement. Fill with MGEN_EVAL_PARAMS_INIT, then change. */
typedef struct mgen_eval_params {
    uint32_t struct_size; /**< set by the INIT macro */
    uint32_t n;           /**< clips to measure, at most 1000000; 0 = the protocol's own number */
    /** "tae": reconstruction of toybox clips (psnr in dB, ssim, seams, rates of what the pixel checker reads in them); "alignment":
     *  what it reads in clips generated for combinations that no training clip has: rates 0..1; behind "ceiling_" in reproduced
     *  true clips, "control_" of wrong prompts; "frechet": Frechet distances of such clips from true ones, "floor_" of other true
     *  ones, "ceiling_"; "upsample": psnr, ssim, sharpness of enlarged clips; "bilinear_" of a resize; "clean_" of clips not coded
     *  before; "ceiling_" of the true ones, coded; "edit": psnr, ssim, kept_psnr, changed_psnr (of what the edit keeps, changes),
     *  applied (what the checker reads, a rate) of edited clips, also of each task; "copy_" of clips left as they were, "sdedit_"
     *  of the video model, "ceiling_"; "sound": what a checker hears in sounds made for clips: place, music, mood, tempo, onsets
     *  (rates; error_ms); "ceiling_" of true ones, coded (snr in dB), "control_" against another clip, "unseen_" of captions alone;
     *  "personalize": what a checker sees in films of people whom no training clip has, made from a photo: identity (first of 256;
     *  of the film, of its _best and _worst frame), similarity, consistency, and what the prompt asks for: expression, shirt,
     *  motion, background; "ceiling_", "control_" against another's photo, "unseen_" without one; "rewrite": alignment with prompts
     *  as users type them, rewritten, "plain_" as typed, "exact" those of which nothing is lost or added, "told_" with a caption
     *  instead; "curate", of no model: _precision and _recall of what mgen_curate() finds in raw films with known defects. */
    const char *protocol;
    uint64_t seed;                                                     /**< of scenes and noise */
    uint32_t steps;                                                    /**< as in mgen_generate_params */
    float guidance;                                                    /**< as in mgen_generate_params */
    int32_t (*on_progress)(void *user, uint32_t done, uint32_t total); /**< after each batch; NULL = none */
    void *user;                                                        /**< given to on_progress */
    uint32_t schedule, solver;                                         /**< as in mgen_generate_params */
    float guidance_from, guidance_to;                                  /**< as in mgen_generate_params */
    uint32_t drop_text;                                                /**< as in mgen_generate_params */
    float noise_scale;                                                 /**< as in mgen_generate_params */
    mgen_dataset *dataset; /**< "tae", "frechet": its samples (0 = all) instead of the toybox's; NULL = none */
} mgen_eval_params;
/** Measure a pipeline in the toybox. @return MGEN_OK, MGEN_E_INVALID, MGEN_E_VERSION, MGEN_E_STATE, MGEN_E_CANCELLED,
 *  MGEN_E_NUMERIC, MGEN_E_NO_MEMORY, MGEN_E_LIMIT, or of the dataset. Ownership: mgen_report_destroy(). Since 0.1. */
MGEN_API mgen_status mgen_evaluate(mgen_context *ctx, const mgen_pipeline *pipeline, const mgen_eval_params *params,
                                   mgen_report **out);
/** @return prompt i of "alignment" for 64 x 64 pixels, 32 frames; NULL from 36 on. Any thread. Since 0.1. */
MGEN_API const char *mgen_toybox_prompt(uint32_t i);

/* ---- how structs begin ---------------------------------------------------------------------- */
/* clang-format off */
#define MGEN_CONTEXT_PARAMS_INIT  {sizeof(mgen_context_params), 0, 0, 0, {0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
#define MGEN_MESH_PARAMS_INIT     {sizeof(mgen_mesh_params), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
#define MGEN_FRAMES_INIT          {sizeof(mgen_frames), 0, 0, 0, 0, 0, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}}
#define MGEN_CLIP_INFO_INIT       {sizeof(mgen_clip_info), 0, 0, 0, 0, 0}
#define MGEN_SOUND_INFO_INIT      {sizeof(mgen_sound_info), 0, 0, 0, 0}
#define MGEN_MODEL_INFO_INIT      {sizeof(mgen_model_info), 0, 0, 0, 0, 0, 0, 0, 0, 0.0f, 0, 0, 0, 0, 0.0f, 0, 0}
#define MGEN_PIPELINE_INIT        {sizeof(mgen_pipeline), 0, 0, 0, 0, 0, 0, {0, 0, 0}, 0, 0, 0, 0, 0, 0, 0}
#define MGEN_LATENTS_INIT         {sizeof(mgen_latents), 0, 0, 0, 0, 0, 0}
#define MGEN_GENERATE_PARAMS_INIT {sizeof(mgen_generate_params), 0, 0, 0, 0, 0, 0, 0, 0.0f, 0, 0, 0, 0, 0, 0, 0, 0, 0.0f, 0.0f, 0, 0, 0.0f, 0.0f, 0}
#define MGEN_SOUND_PARAMS_INIT    {sizeof(mgen_sound_params), 0, 0, 0, 0, 0, 0.0, 0.0f, 0.0f, 0, 0, 0, 0, 0, 0, 0}
#define MGEN_ESTIMATE_INIT        {sizeof(mgen_estimate), 0, 0, 0, 0, 0, 0.0}
#define MGEN_JOB_INFO_INIT        {sizeof(mgen_job_info), 0, 0, 0, 0, 0, 0, 0, 0}
#define MGEN_TEXT_INIT            {sizeof(mgen_text), 0, 0, 0, 0}
#define MGEN_DATASET_PARAMS_INIT  {sizeof(mgen_dataset_params), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
#define MGEN_TRAINER_PARAMS_INIT  {sizeof(mgen_trainer_params), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
#define MGEN_PLAN_PARAMS_INIT     {sizeof(mgen_plan_params), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
#define MGEN_CURATE_PARAMS_INIT   {sizeof(mgen_curate_params), 0, 0, 0, 0, 0, 0}
#define MGEN_EVAL_PARAMS_INIT     {sizeof(mgen_eval_params), 0, 0, 0, 0, 0.0f, 0, 0, 0, 0, 0.0f, 0.0f, 0, 0, 0}
/* clang-format on */

#ifdef __cplusplus
}
#endif
#endif
