// SPDX-License-Identifier: MIT
//! Text to video with libmoviegen: its whole interface, safe.
//!
//! ```no_run
//! use moviegen::{Context, Pipeline, Request};
//!
//! fn main() -> moviegen::Result<()> {
//!     let mut ctx = Context::new()?;
//!     let pipeline = Pipeline::open(&mut ctx, "examples/models/toybox")?;
//!     let request = Request::new("a red ball rolls left on grass");
//!     let clip = pipeline.start(&mut ctx, &request)?.finish()?;
//!     clip.write(&mut ctx, "movie.mp4")
//! }
//! ```
//!
//! The rules of the C header are rules of types here:
//!
//! - *One thread at a time for a context.* [`Context`] is `Send`, not `Sync`, and all that works
//!   on it takes `&mut Context`. So a callback cannot call back into its own context either.
//! - *A context with its jobs and trainers is one object.* [`Job`], [`FrameStream`] and [`Trainer`]
//!   borrow the context mutably until they are dropped. Use a second context to do two things at
//!   once: models may be shared by both.
//! - *Models never change.* [`Tae`], [`TextEncoder`], [`VideoModel`], [`Upsampler`], [`Editor`],
//!   [`AudioModel`] and [`Pipeline`] are `Send` and `Sync`, and `Clone` adds an owner.
//! - *Calls marked "any thread"* are on [`JobCanceller`] and [`TrainerStopper`], which may outlive
//!   what they stop.
//! - *Memory that work on another thread uses* belongs to it: callbacks of a job are `'static`,
//!   and the clip to upsample or edit moves into it. The blocking [`Pipeline::generate_into`],
//!   [`Pipeline::upsample`] and [`Pipeline::edit`] take what is borrowed.
//!
//! Nothing here relies on destructors for safety: a job or trainer that was leaked
//! ([`std::mem::forget`]) is ended by the next call on its context, or when the context is dropped.
//!
//! A panic in a callback is caught, ends the work as if the callback had answered
//! [`ControlFlow::Break`](std::ops::ControlFlow::Break), and goes on in the caller: in the call
//! that was blocked, or in the one that learns of a job's end.

#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod channel;
mod clip;
mod context;
mod dataset;
mod error;
mod frames;
mod generate;
mod job;
mod measure;
mod model;
mod parts;
mod ranks;
mod raw;
mod report;
mod sound;
mod stream;
mod trainer;

pub use clip::{Clip, ClipInfo};
pub use context::{Context, ContextBuilder, HostAllocator, LogLevel, Memory};
pub use dataset::{Dataset, DatasetParams, Sample, SampleError};
pub use error::{Error, ErrorClass, ErrorKind, Result};
pub use frames::{Format, FramesMut, FramesRef};
pub use generate::{EditTask, Estimate, Hooks, Request};
pub use job::{Job, JobCanceller, JobInfo};
pub use measure::{
    curate, plan_mesh, plan_recipe, plan_training, toybox_prompts, Curation, Evaluation, MeshPlan,
    Plan, Precision, Preset, Protocol, RecipePlan, Recompute,
};
pub use model::{
    AudioModel, Editor, ModelInfo, Personalizer, Pipeline, Rewriter, Tae, TextEncoder, Upsampler,
    VideoModel,
};
pub use parts::{noise, schedule, Hold, Latents, LatentsRef, Schedule, Solver, Text};
pub use ranks::{Exchange, MeshAborter, MeshParams, Ranks};
pub use report::Report;
pub use sound::{Extension, Sound, SoundInfo, SoundRequest};
pub use stream::{Frame, FrameStream};
pub use trainer::{Trainer, TrainerParams, TrainerStopper};

/// "major.minor.patch" of the library that runs.
pub fn version() -> &'static str {
    // Safety: a constant of the library.
    unsafe { raw::constant(moviegen_sys::mgen_version()) }.unwrap_or("")
}
