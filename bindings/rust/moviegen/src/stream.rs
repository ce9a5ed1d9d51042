// SPDX-License-Identifier: MIT
//! Frames of a job as an iterator.

use crate::channel::Channel;
use crate::{Context, Format, Hooks, Job, JobCanceller, JobInfo, Pipeline, Request, Result};
use std::fmt;
use std::iter::FusedIterator;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// One decoded frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Number in the clip, from 0.
    pub index: u64,
    /// How pixels are stored: the request's `frames_format`.
    pub format: Format,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The planes one after the other, without gaps; floats as this machine stores them.
    pub data: Vec<u8>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("index", &self.index)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// How long a reader waits before it looks whether the job has failed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The frames of a job, in order, as soon as they are decoded; an error is the last item. Dropping
/// it ends the job.
///
/// It has its context until it is dropped:
///
/// ```compile_fail,E0499
/// # use moviegen::*;
/// # fn f(ctx: &mut Context, pipeline: &Pipeline, request: &Request) -> Result<()> {
/// for frame in pipeline.stream(ctx, request, 4)? {
///     ctx.trim();
///     drop(frame?);
/// }
/// # Ok(())
/// # }
/// ```
pub struct FrameStream<'ctx> {
    frames: Arc<Channel<Frame>>,
    left: u32,
    job: Job<'ctx>,
    end: Option<Result<()>>,
    over: bool,
}

impl<'ctx> FrameStream<'ctx> {
    pub(crate) fn start(
        pipeline: &Pipeline,
        ctx: &'ctx mut Context,
        request: &Request,
        ahead: usize,
    ) -> Result<Self> {
        let frames = Arc::new(Channel::new(ahead));
        let sender = frames.clone();
        let hooks = Hooks::new().frames(move |first, frames| {
            for i in 0..frames.count() {
                let frame = Frame {
                    index: first + u64::from(i),
                    format: frames.format(),
                    width: frames.width(),
                    height: frames.height(),
                    data: frames.to_vec(i),
                };
                if !sender.send(frame) {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        let mut job = pipeline.start_with(ctx, request, hooks)?;
        job.state().frames = Some(frames.clone());
        Ok(FrameStream {
            frames,
            left: job.info().frames,
            job,
            end: None,
            over: false,
        })
    }

    /// How far the job is.
    pub fn info(&self) -> JobInfo {
        self.job.info()
    }

    /// A handle that other threads may keep; a job that is cancelled ends the stream with an error.
    pub fn canceller(&self) -> JobCanceller {
        self.job.canceller()
    }

    /// The next frame, or None when the job has ended and said how.
    fn receive(&mut self) -> Option<Frame> {
        while self.end.is_none() {
            if self.left == 0 {
                self.end = Some(self.job.wait());
                return None;
            }
            if let Some(frame) = self.frames.receive(LOOK_AGAIN) {
                return Some(frame);
            }
            self.end = self.job.poll().map(|ended| ended.then_some(())).transpose();
        }
        // What was sent before the end comes first.
        self.frames.receive(Duration::ZERO)
    }
}

impl Iterator for FrameStream<'_> {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        if let Some(frame) = self.receive() {
            self.left = self.left.saturating_sub(1);
            return Some(Ok(frame));
        }
        self.over = true;
        self.end.take().and_then(Result::err).map(Err)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (
            0,
            if self.over {
                Some(0)
            } else {
                Some(self.left as usize + 1)
            },
        )
    }
}

impl FusedIterator for FrameStream<'_> {}

impl fmt::Debug for FrameStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameStream")
            .field("job", &self.job)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
