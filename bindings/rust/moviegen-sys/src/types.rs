// SPDX-License-Identifier: MIT
//! Handles and structs. `Default` does what the INIT macros do: the size is set, all else is 0.

use std::marker::{PhantomData, PhantomPinned};
use std::mem::{size_of, zeroed};
use std::os::raw::{c_char, c_void};
use std::ptr;

/// Result of a call: `MGEN_OK` or one of the negative `MGEN_E_*`.
pub type mgen_status = i32;

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[repr(C)]
        pub struct $name {
            _data: [u8; 0],
            // Neither Send nor Sync nor Unpin: that is for the wrapper to say.
            _marker: PhantomData<(*mut u8, PhantomPinned)>,
        }
    )*};
}

handles! {
    /// Where calls happen: device, threads, memory, callbacks, last error.
    mgen_context;
    /// Frames of RGB8 on the host.
    mgen_clip;
    /// Samples on the host.
    mgen_sound;
    /// Temporal autoencoder: pixels from and to latents.
    mgen_tae;
    /// Prompt to vectors.
    mgen_text_encoder;
    /// Flow-matching video transformer.
    mgen_video_model;
    /// Clip to larger clip.
    mgen_upsampler;
    /// Clip and instruction to clip.
    mgen_editor;
    /// Clip or text to sound.
    mgen_audio_model;
    /// Photo of a face and text to clip.
    mgen_personalizer;
    /// Prompt as one types it to prompt as the captions of training are.
    mgen_rewriter;
    /// One request under way.
    mgen_job;
    /// A list of named numbers.
    mgen_report;
    /// Captioned clips of one size, by number.
    mgen_dataset;
    /// One stage of a recipe under way.
    mgen_trainer;
    /// Where threads of one process meet as ranks.
    mgen_ranks;
    /// One rank's place among all ranks of a run.
    mgen_mesh;
}

macro_rules! sized {
    ($($name:ident)*) => {$(
        impl Default for $name {
            fn default() -> Self {
                // Safety: plain data, pointers and optional functions, all of which may be 0.
                let mut value: Self = unsafe { zeroed() };
                value.struct_size = size_of::<Self>() as u32;
                value
            }
        }
    )*};
}

sized! {
    mgen_context_params mgen_mesh_params mgen_frames mgen_clip_info mgen_sound_info mgen_model_info mgen_pipeline
    mgen_latents mgen_generate_params mgen_sound_params mgen_estimate mgen_job_info mgen_text mgen_dataset_params mgen_trainer_params
    mgen_plan_params mgen_curate_params mgen_eval_params
}

/// Host memory callbacks, both or neither.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_allocator {
    pub alloc: Option<unsafe extern "C" fn(user: *mut c_void, size: usize) -> *mut c_void>,
    pub free: Option<unsafe extern "C" fn(user: *mut c_void, ptr: *mut c_void, size: usize)>,
    pub user: *mut c_void,
}

impl Default for mgen_allocator {
    fn default() -> Self {
        mgen_allocator {
            alloc: None,
            free: None,
            user: ptr::null_mut(),
        }
    }
}

/// Settings of a context.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_context_params {
    pub struct_size: u32,
    pub threads: u32,
    pub host_memory_max: u64,
    pub device_memory_max: u64,
    pub allocator: mgen_allocator,
    pub log: Option<unsafe extern "C" fn(user: *mut c_void, level: i32, text: *const c_char)>,
    pub log_user: *mut c_void,
    pub progress: Option<
        unsafe extern "C" fn(user: *mut c_void, what: *const c_char, done: u64, total: u64) -> i32,
    >,
    pub progress_user: *mut c_void,
    pub device: *const c_char,
    pub cache_dir: *const c_char,
    pub plugin_dir: *const c_char,
    pub kernels: *const c_char,
    pub error_text: *mut c_char,
    pub error_size: u64,
    pub autotune: u32,
    pub reserved0: u32,
}

/// Frames in somebody's memory: a view, which owns nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_frames {
    pub struct_size: u32,
    pub format: u32,
    pub width: u32,
    pub height: u32,
    pub count: u32,
    pub reserved0: u32,
    pub plane: [*mut c_void; 3],
    pub row_stride: [u64; 3],
    pub frame_stride: [u64; 3],
}

/// What a clip holds.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_clip_info {
    pub struct_size: u32,
    pub width: u32,
    pub height: u32,
    pub frames: u32,
    pub fps_num: u32,
    pub fps_den: u32,
}

/// What a sound holds.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_sound_info {
    pub struct_size: u32,
    pub rate: u32,
    pub channels: u32,
    pub reserved0: u32,
    pub samples: u64,
}

/// What a loaded network is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_model_info {
    pub struct_size: u32,
    pub channels: u32,
    pub spatial_factor: u32,
    pub temporal_factor: u32,
    pub text_width: u32,
    pub text_tokens: u32,
    pub parameters: u64,
    pub bytes: u64,
    pub hash: u64,
    pub guidance: f32,
    pub fps_prefix: u32,
    pub upsampling: u32,
    pub noise_scale: f32,
    pub tasks: u32,
    pub source_guidance: f32,
    pub rate: u32,
    pub sees_clips: u32,
}

/// What a pipeline is made of: handles, each optional.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_pipeline {
    pub struct_size: u32,
    pub width: u32,
    pub height: u32,
    pub frames: u32,
    pub fps: u32,
    pub precision: u32,
    pub tae: *mut mgen_tae,
    pub text: [*mut mgen_text_encoder; 3],
    pub video: *mut mgen_video_model,
    pub mesh: *mut mgen_mesh,
    pub upsampler: *mut mgen_upsampler,
    pub editor: *mut mgen_editor,
    pub audio: *mut mgen_audio_model,
    pub personalizer: *mut mgen_personalizer,
    pub rewriter: *mut mgen_rewriter,
}

/// Latents in somebody's memory: a view of frames x height x width x channels floats.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_latents {
    pub struct_size: u32,
    pub frames: u32,
    pub height: u32,
    pub width: u32,
    pub channels: u32,
    pub reserved0: u32,
    pub data: *mut f32,
}

/// One request.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_generate_params {
    pub struct_size: u32,
    pub steps: u32,
    pub prompt: *const c_char,
    pub negative_prompt: *const c_char,
    pub seed: u64,
    pub width: u32,
    pub height: u32,
    pub frames: u32,
    pub guidance: f32,
    pub schedule: u32,
    pub frames_format: u32,
    pub on_progress: Option<unsafe extern "C" fn(user: *mut c_void, done: u32, total: u32) -> i32>,
    pub on_preview: Option<
        unsafe extern "C" fn(user: *mut c_void, step: u32, latents: *const mgen_latents) -> i32,
    >,
    pub on_frames: Option<
        unsafe extern "C" fn(user: *mut c_void, first: u64, frames: *const mgen_frames) -> i32,
    >,
    pub user: *mut c_void,
    pub into: *const mgen_frames,
    pub solver: u32,
    pub guidance_from: f32,
    pub guidance_to: f32,
    pub drop_text: u32,
    pub edit_task: u32,
    pub source_guidance: f32,
    pub strength: f32,
    pub noise_scale: f32,
}

/// One request for sound.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_sound_params {
    pub struct_size: u32,
    pub steps: u32,
    pub prompt: *const c_char,
    pub music: *const c_char,
    pub negative: *const c_char,
    pub seed: u64,
    pub seconds: f64,
    pub guidance: f32,
    pub quality: f32,
    pub solver: u32,
    pub extension: u32,
    pub candidates: u32,
    pub noise_scale: f32,
    pub context: *const mgen_sound,
    pub on_progress: Option<unsafe extern "C" fn(user: *mut c_void, done: u32, total: u32) -> i32>,
    pub user: *mut c_void,
}

/// What a request needs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_estimate {
    pub struct_size: u32,
    pub width: u32,
    pub height: u32,
    pub frames: u32,
    pub host_bytes: u64,
    pub device_bytes: u64,
    pub flops: f64,
}

/// How far a job is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_job_info {
    pub struct_size: u32,
    pub done: u32,
    pub total: u32,
    pub width: u32,
    pub height: u32,
    pub frames: u32,
    pub frames_done: u32,
    pub reserved0: u32,
    pub host_bytes: u64,
}

/// Encoded text in somebody's memory: a view of tokens x width floats.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_text {
    pub struct_size: u32,
    pub tokens: u32,
    pub width: u32,
    pub reserved0: u32,
    pub data: *mut f32,
}

/// Room for one sample, which a host's callback fills.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_sample {
    pub struct_size: u32,
    pub width: u32,
    pub height: u32,
    pub frames: u32,
    pub pixels: *mut u8,
    pub caption: *mut c_char,
    pub caption_size: u64,
    pub sound: *mut f32,
    pub sound_samples: u64,
    pub sound_caption: *mut c_char,
    pub edited: *mut u8,
    pub instruction: *mut c_char,
    pub edit_task: u32,
    pub reserved0: u32,
}

/// Where clips come from.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_dataset_params {
    pub struct_size: u32,
    pub width: u32,
    pub height: u32,
    pub frames: u32,
    pub count: u64,
    pub read: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            index: u64,
            sample: *mut mgen_sample,
        ) -> mgen_status,
    >,
    pub released: Option<unsafe extern "C" fn(user: *mut c_void)>,
    pub user: *mut c_void,
    pub fps: u32,
    pub edits: u32,
    pub sound_samples: u64,
}

/// Settings of a trainer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_trainer_params {
    pub struct_size: u32,
    pub reserved0: u32,
    pub recipe: *const c_char,
    pub stage: *const c_char,
    pub dir: *const c_char,
    pub seed: u64,
    pub dataset: *mut mgen_dataset,
    pub resume: *const c_char,
    pub on_step: Option<
        unsafe extern "C" fn(user: *mut c_void, step: u64, report: *const mgen_report) -> i32,
    >,
    pub user: *mut c_void,
    pub mesh: *mut mgen_mesh,
}

/// How a rank meets the others.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_mesh_params {
    pub struct_size: u32,
    pub rank: u32,
    pub ranks: *mut mgen_ranks,
    pub axes: *const c_char,
    pub timeout_ms: i64,
    pub by_host: u32,
    pub reserved0: u32,
    pub meet: *const c_char,
    pub run: *const c_char,
    pub exchange: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            mine: *const c_void,
            all: *mut c_void,
            bytes: u64,
        ) -> i32,
    >,
    pub user: *mut c_void,
    pub size: u32,
    pub reserved1: u32,
}

/// A training step of a video transformer to be planned.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_plan_params {
    pub struct_size: u32,
    pub batch: u32,
    pub preset: *const c_char,
    pub recompute: *const c_char,
    pub precision: *const c_char,
    pub width: u32,
    pub height: u32,
    pub frames: u32,
    pub text_tokens: u32,
    pub gpus: u32,
    pub global_batch: u32,
    pub gpu: *const c_char,
    pub mesh: *const c_char,
    pub text: u32,
    pub timeline: u32,
}

/// Raw films to be curated.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_curate_params {
    pub struct_size: u32,
    pub reserved0: u32,
    pub dir: *const c_char,
    pub rules: *const c_char,
    pub out: *const c_char,
    pub on_progress: Option<unsafe extern "C" fn(user: *mut c_void, done: u32, total: u32) -> i32>,
    pub user: *mut c_void,
}

/// A measurement.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mgen_eval_params {
    pub struct_size: u32,
    pub n: u32,
    pub protocol: *const c_char,
    pub seed: u64,
    pub steps: u32,
    pub guidance: f32,
    pub on_progress: Option<unsafe extern "C" fn(user: *mut c_void, done: u32, total: u32) -> i32>,
    pub user: *mut c_void,
    pub schedule: u32,
    pub solver: u32,
    pub guidance_from: f32,
    pub guidance_to: f32,
    pub drop_text: u32,
    pub noise_scale: f32,
    pub dataset: *mut mgen_dataset,
}
