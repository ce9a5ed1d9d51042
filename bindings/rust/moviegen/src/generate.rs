// SPDX-License-Identifier: MIT
//! Requests, and how they are started.

use crate::frames::Format;
use crate::job::{Job, JobState};
use crate::parts::{bits, LatentsRef, Schedule, Solver};
use crate::raw::{answer, c_text, copied, PanicSlot};
use crate::stream::FrameStream;
use crate::{Clip, Context, FramesMut, FramesRef, Pipeline, Result};
use moviegen_sys as sys;
use std::fmt;
use std::ops::ControlFlow;
use std::os::raw::c_void;
use std::ptr;
use std::sync::Arc;

/// What an instruction to edit is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EditTask {
    /// Found by its words: local where none tells.
    #[default]
    Auto,
    /// An object becomes another, or another in colour or size.
    Local,
    /// How all of it is drawn.
    Style,
    /// What is behind.
    Background,
    /// An object goes.
    Removal,
    /// One comes.
    Addition,
    /// What an object is made of.
    Texture,
    /// An object is marked in a colour.
    Segmentation,
}

impl EditTask {
    pub(crate) fn number(self) -> u32 {
        match self {
            EditTask::Auto => sys::MGEN_EDIT_AUTO,
            EditTask::Local => sys::MGEN_EDIT_LOCAL,
            EditTask::Style => sys::MGEN_EDIT_STYLE,
            EditTask::Background => sys::MGEN_EDIT_BACKGROUND,
            EditTask::Removal => sys::MGEN_EDIT_REMOVAL,
            EditTask::Addition => sys::MGEN_EDIT_ADDITION,
            EditTask::Texture => sys::MGEN_EDIT_TEXTURE,
            EditTask::Segmentation => sys::MGEN_EDIT_SEGMENTATION,
        }
    }
}

/// One request. Numbers that are 0 mean the default.
///
/// ```
/// # use moviegen::Request;
/// let request = Request { seed: 7, frames: 16, ..Request::new("a red ball rolls left on grass") };
/// # assert_eq!(request.steps, 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// 1..4096 bytes, not spaces alone; to upsample it may be empty, to edit it is the instruction.
    pub prompt: String,
    /// What guidance leads away from, up to 4096 bytes; None = nothing.
    pub negative_prompt: Option<String>,
    /// Same seed, same result.
    pub seed: u64,
    /// Solver steps, 1..1000; 0 = 50, or the upsampler's, the editor's or the personalizer's.
    pub steps: u32,
    /// Pixels; 0 = the pipeline's.
    pub width: u32,
    /// Pixels; 0 = the pipeline's.
    pub height: u32,
    /// Count, 1..65536; 1 = a picture; 0 = the pipeline's. More than the pipeline's: windows of its
    /// length, blended in time.
    pub frames: u32,
    /// Classifier-free guidance scale, 0 < g <= 100; 0 = the video model's; 1 = off.
    pub guidance: f32,
    /// Times of the steps.
    pub schedule: Schedule,
    /// What a stream and [`Hooks::frames`] get.
    pub frames_format: Format,
    /// How it goes along the flow.
    pub solver: Solver,
    /// Guidance is for times (0 = noise, 1 = data) from here,
    pub guidance_from: f32,
    /// to here; 0 = 1. Other times take half the work.
    pub guidance_to: f32,
    /// Text that is left out, of the roles UL2, ByT5 and MetaCLIP. One that the model has must stay.
    pub drop_text: [bool; 3],
    /// To edit: what the instruction is about.
    pub task: EditTask,
    /// To edit and to personalize: guidance towards the clip or the photo, 0 < g <= 100; 0 = the
    /// model's; 1 = off.
    pub source_guidance: f32,
    /// To edit: 0 = by the editor; 0 < s < 1: without one, by the video model: the share of the
    /// steps that are taken, from the noised clip on. The prompt then says what the result shows.
    pub strength: f32,
    /// Deviation of the noise that the flow begins with, 0 < s <= 2; 0 = the model's; not with a
    /// strength.
    pub noise_scale: f32,
}

impl Request {
    /// A request with the defaults.
    pub fn new(prompt: impl Into<String>) -> Request {
        Request {
            prompt: prompt.into(),
            ..Default::default()
        }
    }

    /// Call `f` with the struct of C, without callbacks.
    fn with_raw<R>(&self, f: impl FnOnce(sys::mgen_generate_params) -> Result<R>) -> Result<R> {
        let prompt = c_text("the prompt", &self.prompt)?;
        let negative = self.negative_prompt.as_ref();
        let negative = negative
            .map(|text| c_text("the negative prompt", text))
            .transpose()?;
        f(sys::mgen_generate_params {
            steps: self.steps,
            prompt: prompt.as_ptr(),
            negative_prompt: negative.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
            seed: self.seed,
            width: self.width,
            height: self.height,
            frames: self.frames,
            guidance: self.guidance,
            schedule: self.schedule.number(),
            frames_format: self.frames_format.number(),
            solver: self.solver.number(),
            guidance_from: self.guidance_from,
            guidance_to: self.guidance_to,
            drop_text: bits(self.drop_text),
            edit_task: self.task.number(),
            source_guidance: self.source_guidance,
            strength: self.strength,
            noise_scale: self.noise_scale,
            ..Default::default()
        })
    }
}

type OnProgress = Box<dyn FnMut(u32, u32) -> ControlFlow<()> + Send>;
type OnPreview = Box<dyn FnMut(u32, LatentsRef<'_>) -> ControlFlow<()> + Send>;
type OnFrames = Box<dyn FnMut(u64, FramesRef<'_>) -> ControlFlow<()> + Send>;

/// What a job calls while it works, from its own thread. `Break` cancels it.
///
/// The closures own what they use; borrowed data could be gone while the job still runs:
///
/// ```compile_fail,E0597
/// # use moviegen::Hooks;
/// # use std::ops::ControlFlow;
/// # use std::sync::atomic::{AtomicU32, Ordering};
/// let hooks;
/// {
///     let done = AtomicU32::new(0);
///     let seen = &done;
///     hooks = Hooks::new().progress(move |now, _| {
///         seen.store(now, Ordering::Relaxed);
///         ControlFlow::Continue(())
///     });
/// }
/// drop(hooks);
/// ```
#[derive(Default)]
pub struct Hooks {
    pub(crate) progress: Option<OnProgress>,
    preview: Option<OnPreview>,
    frames: Option<OnFrames>,
}

impl Hooks {
    /// None yet.
    pub fn new() -> Hooks {
        Hooks::default()
    }

    /// After each part of the work: parts done, and all.
    pub fn progress(mut self, f: impl FnMut(u32, u32) -> ControlFlow<()> + Send + 'static) -> Self {
        self.progress = Some(Box::new(f));
        self
    }

    /// After each solver step: its number, and what the clip would be if the flow went straight on.
    pub fn preview(
        mut self,
        f: impl FnMut(u32, LatentsRef<'_>) -> ControlFlow<()> + Send + 'static,
    ) -> Self {
        self.preview = Some(Box::new(f));
        self
    }

    /// Frames as soon as they are decoded, in order: the number of the first, and the frames. The
    /// job then keeps no clip.
    pub fn frames(
        mut self,
        f: impl FnMut(u64, FramesRef<'_>) -> ControlFlow<()> + Send + 'static,
    ) -> Self {
        self.frames = Some(Box::new(f));
        self
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("progress", &self.progress.is_some())
            .field("preview", &self.preview.is_some())
            .field("frames", &self.frames.is_some())
            .finish()
    }
}

/// Hooks as the library gets them.
pub(crate) struct HookState {
    pub(crate) hooks: Hooks,
    pub(crate) panic: Arc<PanicSlot>,
}

/// Call one hook, if it is set, with what it gets.
///
/// # Safety
/// `user` is the HookState of a job that lives; only the job's thread calls.
unsafe fn call<F>(
    user: *mut c_void,
    hook: impl FnOnce(&mut Hooks) -> &mut Option<F>,
    f: impl FnOnce(&mut F) -> ControlFlow<()>,
) -> i32 {
    // Safety: the caller's promise.
    let HookState { hooks, panic } = unsafe { &mut *(user as *mut HookState) };
    panic.catch(1, || hook(hooks).as_mut().map_or(0, |hook| answer(f(hook))))
}

pub(crate) unsafe extern "C" fn on_progress(user: *mut c_void, done: u32, total: u32) -> i32 {
    // Safety: called by the library with what it was given.
    unsafe { call(user, |hooks| &mut hooks.progress, |hook| hook(done, total)) }
}

unsafe extern "C" fn on_preview(
    user: *mut c_void,
    step: u32,
    latents: *const sys::mgen_latents,
) -> i32 {
    // Safety: called by the library with what it was given; the latents live during the call.
    unsafe {
        call(
            user,
            |hooks| &mut hooks.preview,
            |hook| hook(step, LatentsRef::from_raw(&*latents)),
        )
    }
}

unsafe extern "C" fn on_frames(
    user: *mut c_void,
    first: u64,
    frames: *const sys::mgen_frames,
) -> i32 {
    // Safety: called by the library with what it was given; the frames live during the call.
    unsafe {
        call(
            user,
            |hooks| &mut hooks.frames,
            |hook| match FramesRef::from_raw(&*frames) {
                Some(frames) => hook(first, frames),
                None => ControlFlow::Break(()),
            },
        )
    }
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Of the clip, pixels.
    pub width: u32,
    /// Of the clip, pixels.
    pub height: u32,
    /// Of the clip.
    pub frames: u32,
    /// What the job adds at its highest, at most.
    pub host_bytes: u64,
    /// The same on the device; 0 on the CPU.
    pub device_bytes: u64,
    /// Floating point operations of the products.
    pub flops: f64,
}

impl Estimate {
    pub(crate) fn of(raw: &sys::mgen_estimate) -> Estimate {
        Estimate {
            width: raw.width,
            height: raw.height,
            frames: raw.frames,
            host_bytes: raw.host_bytes,
            device_bytes: raw.device_bytes,
            flops: raw.flops,
        }
    }
}

/// mgen_upsample_estimate, mgen_edit_estimate or mgen_personalize_estimate.
type EstimateOfClip = unsafe extern "C" fn(
    *mut sys::mgen_context,
    *const sys::mgen_pipeline,
    *const sys::mgen_clip,
    *const sys::mgen_generate_params,
    *mut sys::mgen_estimate,
) -> sys::mgen_status;

/// mgen_upsample_start, mgen_edit_start or mgen_personalize_start.
type StartOfClip = unsafe extern "C" fn(
    *mut sys::mgen_context,
    *const sys::mgen_pipeline,
    *const sys::mgen_clip,
    *const sys::mgen_generate_params,
    *mut *mut sys::mgen_job,
) -> sys::mgen_status;

/// Bytes that are always enough for a prompt rewritten.
const REWRITTEN: usize = 4097;

/// A clip that another is made of, and how.
type Source = (*const sys::mgen_clip, StartOfClip);

impl Pipeline {
    /// A prompt as one types it, rewritten as the captions are that the models were trained on, for a
    /// [`Request`]; text to be drawn stands in quotation marks. The same prompt, the same answer; where
    /// the rewriter's cannot be used, the prompt.
    ///
    /// ```no_run
    /// # use moviegen::*;
    /// # fn f(ctx: &mut Context, pipeline: &Pipeline) -> Result<()> {
    /// let prompt = pipeline.rewrite(ctx, "red ball left")?;
    /// let job = pipeline.start(ctx, &Request::new(prompt))?;
    /// # job.finish().map(drop)
    /// # }
    /// ```
    pub fn rewrite(&self, ctx: &mut Context, prompt: &str) -> Result<String> {
        let prompt = c_text("the prompt", prompt)?;
        let mut out = vec![0u8; REWRITTEN];
        let (raw_ctx, pipeline) = (ctx.enter(), self.to_raw(Some(ctx)));
        // Safety: all pointers live during the call, and `out` is as large as it says.
        let status = unsafe {
            let room = out.as_mut_ptr().cast();
            sys::mgen_rewrite(raw_ctx, &pipeline, prompt.as_ptr(), room, REWRITTEN as u64)
        };
        ctx.check(status)?;
        // Safety: the library ended it with a NUL.
        Ok(unsafe { copied(out.as_ptr().cast()) })
    }

    /// Find out what a request needs without starting it.
    pub fn estimate(&self, ctx: &mut Context, request: &Request) -> Result<Estimate> {
        self.tell(ctx, request, None)
    }

    /// Find out what it needs to upsample a clip, without starting it.
    pub fn estimate_upsample(
        &self,
        ctx: &mut Context,
        clip: &Clip,
        request: &Request,
    ) -> Result<Estimate> {
        self.tell(ctx, request, Some((clip, sys::mgen_upsample_estimate)))
    }

    /// Find out what it needs to edit a clip, without starting it.
    pub fn estimate_edit(
        &self,
        ctx: &mut Context,
        clip: &Clip,
        request: &Request,
    ) -> Result<Estimate> {
        self.tell(ctx, request, Some((clip, sys::mgen_edit_estimate)))
    }

    /// Find out what it needs to make a film of the person in a photo, without starting it.
    pub fn estimate_personalize(
        &self,
        ctx: &mut Context,
        photo: &Clip,
        request: &Request,
    ) -> Result<Estimate> {
        self.tell(ctx, request, Some((photo, sys::mgen_personalize_estimate)))
    }

    fn tell(
        &self,
        ctx: &mut Context,
        request: &Request,
        source: Option<(&Clip, EstimateOfClip)>,
    ) -> Result<Estimate> {
        request.with_raw(|params| {
            let mut out = sys::mgen_estimate::default();
            let raw_ctx = ctx.enter();
            let pipeline = self.to_raw(Some(ctx));
            // Safety: all pointers live during the call.
            let status = unsafe {
                match source {
                    None => sys::mgen_generate_estimate(raw_ctx, &pipeline, &params, &mut out),
                    Some((clip, estimate)) => {
                        estimate(raw_ctx, &pipeline, clip.as_raw(), &params, &mut out)
                    }
                }
            };
            ctx.check(status)?;
            Ok(Estimate::of(&out))
        })
    }

    /// Start generating a film, or a picture if `request.frames` is 1. Returns at once; the job has
    /// the context until it is dropped:
    ///
    /// ```compile_fail,E0499
    /// # use moviegen::*;
    /// # fn f(ctx: &mut Context, pipeline: &Pipeline, request: &Request) -> Result<()> {
    /// let job = pipeline.start(ctx, request)?;
    /// ctx.trim();
    /// job.finish().map(drop)
    /// # }
    /// ```
    pub fn start<'ctx>(&self, ctx: &'ctx mut Context, request: &Request) -> Result<Job<'ctx>> {
        self.start_with(ctx, request, Hooks::new())
    }

    /// The same with callbacks.
    pub fn start_with<'ctx>(
        &self,
        ctx: &'ctx mut Context,
        request: &Request,
        hooks: Hooks,
    ) -> Result<Job<'ctx>> {
        // Safety: there is no memory to keep.
        unsafe { self.begin(ctx, request, hooks, ptr::null(), None) }
    }

    /// Generate a clip, frame by frame: an iterator of decoded frames, of which at most `ahead`
    /// wait in memory. The job has the context until the iterator is dropped, which ends it.
    pub fn stream<'ctx>(
        &self,
        ctx: &'ctx mut Context,
        request: &Request,
        ahead: usize,
    ) -> Result<FrameStream<'ctx>> {
        FrameStream::start(self, ctx, request, ahead)
    }

    /// Generate a clip into memory of the caller's; returns when it is complete.
    pub fn generate_into(
        &self,
        ctx: &mut Context,
        request: &Request,
        hooks: Hooks,
        into: &mut FramesMut<'_>,
    ) -> Result<()> {
        // Safety: whatever happens, the job is dropped before this call ends, and with it the
        // borrowed memory.
        unsafe { self.begin(ctx, request, hooks, into.as_raw(), None) }?.wait()
    }

    /// Make a clip larger; returns when it is complete. Of the request, width and height 0 mean
    /// the clip's, times the factor that the upsampler was trained for; the prompt may be empty.
    pub fn upsample(
        &self,
        ctx: &mut Context,
        clip: &Clip,
        request: &Request,
        hooks: Hooks,
    ) -> Result<Clip> {
        self.remake(ctx, clip, request, hooks, sys::mgen_upsample_start)
    }

    /// Edit a clip as the request's prompt says; returns when it is complete. Of the request, width
    /// and height 0 mean the clip's.
    ///
    /// ```no_run
    /// # use moviegen::*;
    /// # fn f(ctx: &mut Context, pipeline: &Pipeline, clip: &Clip) -> Result<()> {
    /// let edited = pipeline.edit(ctx, clip, &Request::new("make the ball blue"), Hooks::new())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn edit(
        &self,
        ctx: &mut Context,
        clip: &Clip,
        request: &Request,
        hooks: Hooks,
    ) -> Result<Clip> {
        self.remake(ctx, clip, request, hooks, sys::mgen_edit_start)
    }

    /// Generate a film of the person in a photo, the first frame of a clip: the face, best with all
    /// else grey (128); returns when it is complete. The request's prompt says what the person does.
    pub fn personalize(
        &self,
        ctx: &mut Context,
        photo: &Clip,
        request: &Request,
        hooks: Hooks,
    ) -> Result<Clip> {
        self.remake(ctx, photo, request, hooks, sys::mgen_personalize_start)
    }

    fn remake(
        &self,
        ctx: &mut Context,
        clip: &Clip,
        request: &Request,
        hooks: Hooks,
        start: StartOfClip,
    ) -> Result<Clip> {
        let source = Some((clip.as_raw(), start));
        // Safety: whatever happens, the job is dropped before this call ends, in which the clip is
        // borrowed; hooks cannot have it, as it is not Sync.
        unsafe { self.begin(ctx, request, hooks, ptr::null(), source) }?.finish()
    }

    /// Start making a clip larger, which moves into the job. Returns at once.
    pub fn start_upsample<'ctx>(
        &self,
        ctx: &'ctx mut Context,
        clip: Clip,
        request: &Request,
        hooks: Hooks,
    ) -> Result<Job<'ctx>> {
        self.start_remake(ctx, clip, request, hooks, sys::mgen_upsample_start)
    }

    /// Start editing a clip, which moves into the job. Returns at once.
    pub fn start_edit<'ctx>(
        &self,
        ctx: &'ctx mut Context,
        clip: Clip,
        request: &Request,
        hooks: Hooks,
    ) -> Result<Job<'ctx>> {
        self.start_remake(ctx, clip, request, hooks, sys::mgen_edit_start)
    }

    /// Start generating a film of the person in a photo, which moves into the job. Returns at once.
    pub fn start_personalize<'ctx>(
        &self,
        ctx: &'ctx mut Context,
        photo: Clip,
        request: &Request,
        hooks: Hooks,
    ) -> Result<Job<'ctx>> {
        self.start_remake(ctx, photo, request, hooks, sys::mgen_personalize_start)
    }

    fn start_remake<'ctx>(
        &self,
        ctx: &'ctx mut Context,
        clip: Clip,
        request: &Request,
        hooks: Hooks,
        start: StartOfClip,
    ) -> Result<Job<'ctx>> {
        let source = Some((clip.as_raw(), start));
        // Safety: the clip is dropped after the job.
        let mut job = unsafe { self.begin(ctx, request, hooks, ptr::null(), source) }?;
        job.state().source = Some(clip);
        Ok(job)
    }

    /// # Safety
    /// `into` is NULL or, like the source's clip, lives, unchanged but for what is written into the
    /// first, until the job is destroyed.
    unsafe fn begin<'ctx>(
        &self,
        ctx: &'ctx mut Context,
        request: &Request,
        hooks: Hooks,
        into: *const sys::mgen_frames,
        source: Option<Source>,
    ) -> Result<Job<'ctx>> {
        request.with_raw(|mut params| {
            let raw_ctx = ctx.enter();
            params.on_progress = if hooks.progress.is_some() {
                Some(on_progress)
            } else {
                None
            };
            params.on_preview = if hooks.preview.is_some() {
                Some(on_preview)
            } else {
                None
            };
            params.on_frames = if hooks.frames.is_some() {
                Some(on_frames)
            } else {
                None
            };
            let state = Box::into_raw(Box::new(HookState {
                hooks,
                panic: ctx.panic.clone(),
            }));
            params.user = state as *mut c_void;
            params.into = into;
            let mut raw = ptr::null_mut();
            let pipeline = self.to_raw(Some(ctx));
            // Safety: all pointers live during the call; hooks and memory until the job is
            // destroyed.
            let status = unsafe {
                match source {
                    None => sys::mgen_generate_start(raw_ctx, &pipeline, &params, &mut raw),
                    Some((clip, start)) => start(raw_ctx, &pipeline, clip, &params, &mut raw),
                }
            };
            if raw.is_null() {
                // Safety: there is no job, so nobody else knows them.
                drop(unsafe { Box::from_raw(state) });
                ctx.check(status)?;
            }
            // A panic of the log, if there was one, goes on when the job's end is told.
            Ok(Job::new(ctx, JobState::new(raw, state)))
        })
    }
}
