// SPDX-License-Identifier: MIT
//! Jobs: requests under way.

use crate::channel::Channel;
use crate::context::Child;
use crate::generate::HookState;
use crate::raw::Shared;
use crate::stream::Frame;
use crate::{Clip, Context, Error, ErrorKind, Memory, Result, Sound};
use moviegen_sys as sys;
use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// Parts of the work done: solver steps, then pieces decoded.
    pub done: u32,
    /// Parts of the work in all.
    pub total: u32,
    /// Of the clip, pixels.
    pub width: u32,
    /// Of the clip, pixels.
    pub height: u32,
    /// Of the clip.
    pub frames: u32,
    /// Decoded so far.
    pub frames_done: u32,
    /// The estimate that it was started with.
    pub host_bytes: u64,
}

fn read_info(job: *mut sys::mgen_job) -> JobInfo {
    let mut info = sys::mgen_job_info::default();
    // Safety: the job lives, and any thread may ask.
    unsafe { sys::mgen_job_get_info(job, &mut info) };
    JobInfo {
        done: info.done,
        total: info.total,
        width: info.width,
        height: info.height,
        frames: info.frames,
        frames_done: info.frames_done,
        host_bytes: info.host_bytes,
    }
}

/// The job as its context holds it.
pub(crate) struct JobState {
    raw: Arc<Shared<sys::mgen_job>>,
    hooks: *mut HookState,
    pub(crate) frames: Option<Arc<Channel<Frame>>>,
    pub(crate) source: Option<Clip>,
    ended: bool,
}

impl JobState {
    /// Takes over both.
    pub fn new(raw: *mut sys::mgen_job, hooks: *mut HookState) -> Self {
        JobState {
            raw: Arc::new(Shared::new(raw)),
            hooks,
            frames: None,
            source: None,
            ended: false,
        }
    }
}

impl Drop for JobState {
    fn drop(&mut self) {
        // A job that waits for room in the channel would not see that it is cancelled.
        if let Some(frames) = &self.frames {
            frames.close();
        }
        let raw = self.raw.take();
        // Safety: the job is ours and waits for its thread; nobody calls the hooks after it,
        // nor reads the source.
        unsafe {
            sys::mgen_job_destroy(raw);
            drop(Box::from_raw(self.hooks));
        }
    }
}

/// One request under way. It has its context until it is dropped, which cancels it.
///
/// It cannot outlive its context:
///
/// ```compile_fail,E0505
/// # use moviegen::*;
/// # fn f(mut ctx: Context, pipeline: &Pipeline, request: &Request) -> Result<()> {
/// let job = pipeline.start(&mut ctx, request)?;
/// drop(ctx);
/// job.finish().map(drop)
/// # }
/// ```
pub struct Job<'ctx> {
    ctx: &'ctx mut Context,
}

impl<'ctx> Job<'ctx> {
    pub(crate) fn new(ctx: &'ctx mut Context, state: JobState) -> Self {
        ctx.child = Child::Job(state);
        Job { ctx }
    }

    pub(crate) fn state(&mut self) -> &mut JobState {
        match &mut self.ctx.child {
            Child::Job(state) => state,
            _ => unreachable!("the context is borrowed by its job"),
        }
    }

    fn shared(&self) -> &Arc<Shared<sys::mgen_job>> {
        match &self.ctx.child {
            Child::Job(state) => &state.raw,
            _ => unreachable!("the context is borrowed by its job"),
        }
    }

    /// What wait or poll answered: whether the job has ended, and how.
    fn told(&mut self, status: sys::mgen_status) -> Result<bool> {
        if status == sys::MGEN_E_TIMEOUT || status == sys::MGEN_E_AGAIN {
            return Ok(false);
        }
        self.state().ended = true;
        self.ctx.check(status).map(|()| true)
    }

    /// Wait for the end. It may be asked again afterwards, with the same answer.
    pub fn wait(&mut self) -> Result<()> {
        // Safety: the job lives.
        let status = unsafe { sys::mgen_job_wait(self.shared().get(), -1) };
        self.told(status).map(drop)
    }

    /// Wait for the end, but not for ever: true when done, false while it runs.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool> {
        // Up to the next millisecond, so that a wait in a loop does wait.
        let milliseconds = (timeout.as_nanos() + 999_999) / 1_000_000;
        let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
        // Safety: the job lives.
        let status = unsafe { sys::mgen_job_wait(self.shared().get(), milliseconds) };
        self.told(status)
    }

    /// Look whether it has ended: true when done, false while it runs. Returns at once.
    pub fn poll(&mut self) -> Result<bool> {
        // Safety: the job lives.
        let status = unsafe { sys::mgen_job_poll(self.shared().get()) };
        self.told(status)
    }

    /// Take the finished clip out of a job that was waited for.
    pub fn take_clip(&mut self) -> Result<Clip> {
        if !self.state().ended {
            return Err(Error::new(
                ErrorKind::State,
                "the job was not waited for; wait first, then take its clip",
            ));
        }
        let mut raw = ptr::null_mut();
        // Safety: the job lives.
        let status = unsafe { sys::mgen_job_take_clip(self.shared().get(), &mut raw) };
        Clip::finish(self.ctx, status, raw)
    }

    /// Take the finished sound out of a job of [`Pipeline::start_sound`](crate::Pipeline::start_sound)
    /// that was waited for.
    pub fn take_sound(&mut self) -> Result<Sound> {
        if !self.state().ended {
            return Err(Error::new(
                ErrorKind::State,
                "the job was not waited for; wait first, then take its sound",
            ));
        }
        let mut raw = ptr::null_mut();
        // Safety: the job lives.
        let status = unsafe { sys::mgen_job_take_sound(self.shared().get(), &mut raw) };
        Sound::finish(self.ctx, status, raw)
    }

    /// Wait for the end and take the sound.
    pub fn finish_sound(mut self) -> Result<Sound> {
        self.wait()?;
        self.take_sound()
    }

    /// Wait for the end and take the clip.
    pub fn finish(mut self) -> Result<Clip> {
        self.wait()?;
        self.take_clip()
    }

    /// How far it is.
    pub fn info(&self) -> JobInfo {
        read_info(self.shared().get())
    }

    /// Host bytes held by the context.
    pub fn memory(&self) -> Memory {
        self.ctx.memory()
    }

    /// Ask it to stop; it ends within one step.
    pub fn cancel(&self) {
        self.canceller().cancel();
    }

    /// A handle that other threads and callbacks may keep.
    pub fn canceller(&self) -> JobCanceller {
        JobCanceller(self.shared().clone())
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        self.ctx.enter();
    }
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Job").field(&self.info()).finish()
    }
}

/// Stops a job and tells how far it is, from any thread. `Send`, `Sync`, and harmless when the job
/// is gone.
#[derive(Clone)]
pub struct JobCanceller(Arc<Shared<sys::mgen_job>>);

impl JobCanceller {
    /// Ask the job to stop; it ends within one step.
    pub fn cancel(&self) {
        // Safety: any thread may cancel a job that lives.
        self.0.with(|job| unsafe { sys::mgen_job_cancel(job) });
    }

    /// How far the job is; None when it is gone.
    pub fn info(&self) -> Option<JobInfo> {
        self.0.with(read_info)
    }
}

impl fmt::Debug for JobCanceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JobCanceller").field(&self.info()).finish()
    }
}
