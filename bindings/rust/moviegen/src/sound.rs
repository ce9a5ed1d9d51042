// SPDX-License-Identifier: MIT
//! Sounds: samples that the library holds, and films with them.

use crate::raw::c_path;
use crate::{Clip, Context, Error, Result};
use moviegen_sys as sys;
use std::fmt;
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
