// SPDX-License-Identifier: MIT
//! Sounds: samples that the library holds, and films with them.

use crate::generate::{on_progress, HookState};
use crate::job::{Job, JobState};
use crate::raw::{c_path, c_text};
use crate::{Clip, Context, Error, Estimate, Hooks, Pipeline, Result, Solver};
use moviegen_sys as sys;
use std::ffi::CString;
use std::fmt;
use std::os::raw::c_void;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;

/// What a sound holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundInfo {
    /// Samples a second, 1..768000.
    pub rate: u32,
    /// 1..8.
    pub channels: u32,
    /// Of each channel, 1..2^31 - 1.
    pub samples: u64,
}

/// Samples on the host, floats in [-1, 1]. `Send`, not `Sync`: share [`Sound::samples`] instead.
pub struct Sound {
    raw: NonNull<sys::mgen_sound>,
    info: SoundInfo,
    samples: NonNull<f32>,
    values: usize,
}

// Safety: a sound may be used by one thread after another, whether its context lives or not.
unsafe impl Send for Sound {}

impl Sound {
    /// Make a silent sound.
    pub fn new(ctx: &mut Context, info: &SoundInfo) -> Result<Sound> {
        let raw_info = sys::mgen_sound_info {
            rate: info.rate,
            channels: info.channels,
            samples: info.samples,
            ..Default::default()
        };
        let (raw_ctx, mut raw) = (ctx.enter(), ptr::null_mut());
        // Safety: all pointers live during the call.
        let status = unsafe { sys::mgen_sound_create(raw_ctx, &raw_info, &mut raw) };
        Sound::finish(ctx, status, raw)
    }

    /// Read a sound, or that of a film: .wav by the library, all else by its FFmpeg plug-in; and
    /// convert it to a rate and a number of channels, 0 = as it is.
    pub fn read(
        ctx: &mut Context,
        path: impl AsRef<Path>,
        rate: u32,
        channels: u32,
    ) -> Result<Sound> {
        let path = c_path(path.as_ref())?;
        let (raw_ctx, mut raw) = (ctx.enter(), ptr::null_mut());
        // Safety: all pointers live during the call.
        let status =
            unsafe { sys::mgen_sound_read(raw_ctx, path.as_ptr(), rate, channels, &mut raw) };
        Sound::finish(ctx, status, raw)
    }

    /// The sound of a call that has ended, or its error.
    pub(crate) fn finish(
        ctx: &Context,
        status: sys::mgen_status,
        raw: *mut sys::mgen_sound,
    ) -> Result<Sound> {
        // Safety: a sound that the call gave to us, or NULL.
        let sound = unsafe { Sound::from_raw(raw) };
        ctx.check(status)?;
        sound.ok_or_else(|| Error::new(crate::ErrorKind::Internal, "the library gave no sound"))
    }

    /// # Safety
    /// `raw` is NULL or a sound that nobody else owns.
    unsafe fn from_raw(raw: *mut sys::mgen_sound) -> Option<Sound> {
        let raw = NonNull::new(raw)?;
        let mut info = sys::mgen_sound_info::default();
        // Safety: the sound lives. It fails for none that does.
        let samples = unsafe {
            sys::mgen_sound_get_info(raw.as_ptr(), &mut info);
            sys::mgen_sound_samples(raw.as_ptr())
        };
        Some(Sound {
            raw,
            info: SoundInfo {
                rate: info.rate,
                channels: info.channels,
                samples: info.samples,
            },
            samples: NonNull::new(samples)?,
            // The library holds them, so they fit.
            values: info.samples as usize * info.channels as usize,
        })
    }

    /// Rate, channels and length.
    pub fn info(&self) -> SoundInfo {
        self.info
    }

    /// Samples x channels floats, without a copy.
    pub fn samples(&self) -> &[f32] {
        // Safety: they live as long as the sound, and are written to only through samples_mut().
        unsafe { slice::from_raw_parts(self.samples.as_ptr(), self.values) }
    }

    /// The same, to be changed.
    pub fn samples_mut(&mut self) -> &mut [f32] {
        // Safety: as above, and the sound is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.samples.as_ptr(), self.values) }
    }

    /// Write it. The name's ending chooses the format: .wav; all else through the FFmpeg plug-in.
    pub fn write(&self, ctx: &mut Context, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path.as_ref())?;
        let raw_ctx = ctx.enter();
        // Safety: all pointers live during the call.
        let status = unsafe { sys::mgen_sound_write(raw_ctx, self.raw.as_ptr(), path.as_ptr()) };
        ctx.check(status)
    }

    /// Write a clip with this sound, which is cut to the clip's length or goes on in silence, through
    /// the FFmpeg plug-in.
    pub fn write_movie(
        &self,
        ctx: &mut Context,
        clip: &Clip,
        path: impl AsRef<Path>,
    ) -> Result<()> {
        let path = c_path(path.as_ref())?;
        let raw_ctx = ctx.enter();
        // Safety: all pointers live during the call.
        let status = unsafe {
            sys::mgen_movie_write(raw_ctx, clip.as_raw(), self.raw.as_ptr(), path.as_ptr())
        };
        ctx.check(status)
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        // Safety: ours, and nobody borrows its samples any more.
        unsafe { sys::mgen_sound_destroy(self.raw.as_ptr()) };
    }
}

impl fmt::Debug for Sound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sound")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// How sounds longer than the audio model's window are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Extension {
    /// Windows all at once, their velocities blended: the report's.
    #[default]
    Blended,
    /// Window after window, each going on with the one before; not with [`Solver::Dopri5`].
    OneByOne,
}

/// One request for sound. Numbers that are 0 mean the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SoundRequest {
    /// What is heard, up to 4096 bytes; "" = that is not said.
    pub prompt: String,
    /// What the music is like; "" = that is not said; None = no music is wanted.
    pub music: Option<String>,
    /// What is heard in what guidance leads away from.
    pub negative: Option<String>,
    /// Same seed, same result.
    pub seed: u64,
    /// Length; 0 = as long as the clip.
    pub seconds: f64,
    /// Solver steps, 1..1000; 0 = the audio model's.
    pub steps: u32,
    /// Classifier-free guidance scale, 0 < g <= 100; 0 = the audio model's; 1 = off.
    pub guidance: f32,
    /// Of the sound, as captions give it, 1..10; 0 = the report's.
    pub quality: f32,
    /// How it goes along the flow, in even steps.
    pub solver: Solver,
    /// Of what is longer than the model's window.
    pub extension: Extension,
    /// Sounds that are made, 1..64, of which the model chooses the one that fits best; 0 = 1.
    pub candidates: u32,
    /// Deviation of the noise that the flow begins with, 0 < s <= 2; 0 = the audio model's.
    pub noise_scale: f32,
}

/// The texts of a request, as C has them.
struct Texts(CString, Option<CString>, Option<CString>);

impl SoundRequest {
    /// A request with the defaults.
    pub fn new(prompt: impl Into<String>) -> SoundRequest {
        SoundRequest {
            prompt: prompt.into(),
            ..Default::default()
        }
    }

    fn texts(&self) -> Result<Texts> {
        let other = |what, text: &Option<String>| {
            let text = text.as_ref();
            text.map(|text| c_text(what, text)).transpose()
        };
        Ok(Texts(
            c_text("the prompt", &self.prompt)?,
            other("what the music is like", &self.music)?,
            other("the negative prompt", &self.negative)?,
        ))
    }

    fn raw(&self, texts: &Texts, context: Option<&Sound>) -> sys::mgen_sound_params {
        let or_null = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |t| t.as_ptr());
        sys::mgen_sound_params {
            steps: self.steps,
            prompt: texts.0.as_ptr(),
            music: or_null(&texts.1),
            negative: or_null(&texts.2),
            seed: self.seed,
            seconds: self.seconds,
            guidance: self.guidance,
            quality: self.quality,
            solver: self.solver.number(),
            extension: match self.extension {
                Extension::Blended => sys::MGEN_SOUND_BLENDED,
                Extension::OneByOne => sys::MGEN_SOUND_ONE_BY_ONE,
            },
            candidates: self.candidates,
            noise_scale: self.noise_scale,
            context: context.map_or(ptr::null(), |sound| sound.raw.as_ptr() as *const _),
            ..Default::default()
        }
    }
}

impl Pipeline {
    /// Find out what [`Pipeline::sound`] needs, without starting it.
    pub fn estimate_sound(
        &self,
        ctx: &mut Context,
        clip: Option<&Clip>,
        request: &SoundRequest,
    ) -> Result<Estimate> {
        let texts = request.texts()?;
        let params = request.raw(&texts, None);
        let (raw_ctx, pipeline) = (ctx.enter(), self.to_raw(Some(ctx)));
        let mut out = sys::mgen_estimate::default();
        let clip = clip.map_or(ptr::null(), Clip::as_raw);
        // Safety: all pointers live during the call.
        let status =
            unsafe { sys::mgen_sound_estimate(raw_ctx, &pipeline, clip, &params, &mut out) };
        ctx.check(status).map(|()| Estimate::of(&out))
    }

    /// Make the sound of a clip, or of texts alone; returns when it is complete. It goes on with
    /// `before`, if there is such a sound. [`Sound::write_movie`] joins it to the clip. Of the hooks
    /// only that of progress is called.
    pub fn sound(
        &self,
        ctx: &mut Context,
        clip: Option<&Clip>,
        request: &SoundRequest,
        before: Option<&Sound>,
        hooks: Hooks,
    ) -> Result<Sound> {
        // Safety: whatever happens, the job is dropped before this call ends, in which the clip is
        // borrowed; hooks cannot have it, as it is not Sync.
        unsafe { self.begin_sound(ctx, clip, request, before, hooks) }?.finish_sound()
    }

    /// Start making sound, of a clip, which moves into the job, or of texts alone. Returns at once;
    /// [`Job::finish_sound`] gives the sound.
    pub fn start_sound<'ctx>(
        &self,
        ctx: &'ctx mut Context,
        clip: Option<Clip>,
        request: &SoundRequest,
        before: Option<&Sound>,
        hooks: Hooks,
    ) -> Result<Job<'ctx>> {
        // Safety: the clip is dropped after the job.
        let mut job = unsafe { self.begin_sound(ctx, clip.as_ref(), request, before, hooks) }?;
        job.state().source = clip;
        Ok(job)
    }

    /// # Safety
    /// The clip lives, unchanged, until the job is destroyed.
    unsafe fn begin_sound<'ctx>(
        &self,
        ctx: &'ctx mut Context,
        clip: Option<&Clip>,
        request: &SoundRequest,
        before: Option<&Sound>,
        hooks: Hooks,
    ) -> Result<Job<'ctx>> {
        let texts = request.texts()?;
        let mut params = request.raw(&texts, before);
        let raw_ctx = ctx.enter();
        if hooks.progress.is_some() {
            params.on_progress = Some(on_progress);
        }
        let state = Box::into_raw(Box::new(HookState {
            hooks,
            panic: ctx.panic.clone(),
        }));
        params.user = state as *mut c_void;
        let mut raw = ptr::null_mut();
        let pipeline = self.to_raw(Some(ctx));
        let clip = clip.map_or(ptr::null(), Clip::as_raw);
        // Safety: all pointers live during the call; the clip, as the caller promised, and the hooks
        // until the job is gone.
        let status = unsafe { sys::mgen_sound_start(raw_ctx, &pipeline, clip, &params, &mut raw) };
        if raw.is_null() {
            // Safety: there is no job, so nobody else knows them.
            drop(unsafe { Box::from_raw(state) });
            ctx.check(status)?;
        }
        Ok(Job::new(ctx, JobState::new(raw, state)))
    }
}
