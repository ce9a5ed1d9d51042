// SPDX-License-Identifier: MIT
//! Clips: frames of RGB bytes that the library holds.

use crate::raw::c_path;
use crate::{Context, Error, FramesMut, FramesRef, Result};
use moviegen_sys as sys;
use std::fmt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;

/// What a clip holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipInfo {
    /// Pixels, 1..65536.
    pub width: u32,
    /// Pixels, 1..65536.
    pub height: u32,
    /// Count, 1..65536.
    pub frames: u32,
    /// Frames per second are `fps_num / fps_den`.
    pub fps_num: u32,
    /// See `fps_num`.
    pub fps_den: u32,
}

/// Frames of RGB bytes on the host. `Send`, not `Sync`: share [`Clip::pixels`] instead.
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<moviegen::Clip>();
/// ```
pub struct Clip {
    raw: NonNull<sys::mgen_clip>,
    info: ClipInfo,
    pixels: NonNull<u8>,
    bytes: usize,
}

// Safety: a clip may be used by one thread after another, whether its context lives or not.
unsafe impl Send for Clip {}

impl Clip {
    /// Make a black clip.
    pub fn new(ctx: &mut Context, info: &ClipInfo) -> Result<Clip> {
        let raw_info = sys::mgen_clip_info {
            width: info.width,
            height: info.height,
            frames: info.frames,
            fps_num: info.fps_num,
            fps_den: info.fps_den,
            ..Default::default()
        };
        let (raw_ctx, mut raw) = (ctx.enter(), ptr::null_mut());
        // Safety: all pointers live during the call.
        let status = unsafe { sys::mgen_clip_create(raw_ctx, &raw_info, &mut raw) };
        Clip::finish(ctx, status, raw)
    }

    /// Read frames of a film or picture: .y4m and .png by the library, all else by its FFmpeg
    /// plug-in. `count` 0 = all from `first` on; a film that ends earlier gives fewer.
    pub fn read(ctx: &mut Context, path: impl AsRef<Path>, first: u64, count: u64) -> Result<Clip> {
        let path = c_path(path.as_ref())?;
        let (raw_ctx, mut raw) = (ctx.enter(), ptr::null_mut());
        // Safety: all pointers live during the call.
        let status = unsafe { sys::mgen_clip_read(raw_ctx, path.as_ptr(), first, count, &mut raw) };
        Clip::finish(ctx, status, raw)
    }

    /// The clip of a call that has ended, or its error.
    pub(crate) fn finish(
        ctx: &Context,
        status: sys::mgen_status,
        raw: *mut sys::mgen_clip,
    ) -> Result<Clip> {
        // Safety: a clip that the call gave to us, or NULL.
        let clip = unsafe { Clip::from_raw(raw) };
        ctx.check(status)?;
        clip.ok_or_else(|| Error::new(crate::ErrorKind::Internal, "the library gave no clip"))
    }

    /// # Safety
    /// `raw` is NULL or a clip that nobody else owns.
    pub(crate) unsafe fn from_raw(raw: *mut sys::mgen_clip) -> Option<Clip> {
        let raw = NonNull::new(raw)?;
        let mut info = sys::mgen_clip_info::default();
        // Safety: the clip lives.
        let (status, pixels) = unsafe {
            (
                sys::mgen_clip_get_info(raw.as_ptr(), &mut info),
                sys::mgen_clip_pixels(raw.as_ptr()),
            )
        };
        let mut clip = Clip {
            raw,
            info: ClipInfo {
                width: info.width,
                height: info.height,
                frames: info.frames,
                fps_num: info.fps_num,
                fps_den: info.fps_den,
            },
            pixels: NonNull::dangling(),
            bytes: 0,
        };
        clip.pixels = NonNull::new(pixels)?;
        if status != sys::MGEN_OK {
            return None;
        }
        // The library holds them, so they fit.
        clip.bytes = info.frames as usize * info.height as usize * info.width as usize * 3;
        Some(clip)
    }

    pub(crate) fn as_raw(&self) -> *const sys::mgen_clip {
        self.raw.as_ptr()
    }

    /// Size, length and rate.
    pub fn info(&self) -> ClipInfo {
        self.info
    }

    /// Frames x height x width x 3 bytes, RGB, without gaps and without a copy.
    pub fn pixels(&self) -> &[u8] {
        // Safety: they live as long as the clip, and are written to only through pixels_mut().
        unsafe { slice::from_raw_parts(self.pixels.as_ptr(), self.bytes) }
    }

    /// The same, to be changed.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        // Safety: as above, and the clip is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.pixels.as_ptr(), self.bytes) }
    }

    /// The bytes of each frame, in order.
    pub fn frames(&self) -> slice::ChunksExact<'_, u8> {
        self.pixels()
            .chunks_exact(self.bytes / self.info.frames as usize)
    }

    /// The frames as what [`Tae::encode`](crate::Tae::encode) reads.
    pub fn view(&self) -> FramesRef<'_> {
        FramesRef::rgb8(
            self.info.width,
            self.info.height,
            self.info.frames,
            self.pixels(),
        )
        .expect("a clip has all of its pixels")
    }

    /// The frames as what [`Tae::decode`](crate::Tae::decode) writes.
    pub fn view_mut(&mut self) -> FramesMut<'_> {
        let ClipInfo {
            width,
            height,
            frames,
            ..
        } = self.info;
        FramesMut::rgb8(width, height, frames, self.pixels_mut())
            .expect("a clip has all of its pixels")
    }

    /// Write it. The name's ending chooses the format: .y4m; .png (several frames: side by side, or
    /// each its own file if the name has one %d or %0Nd); all else through the FFmpeg plug-in.
    pub fn write(&self, ctx: &mut Context, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path.as_ref())?;
        let raw_ctx = ctx.enter();
        // Safety: all pointers live during the call.
        let status = unsafe { sys::mgen_clip_write(raw_ctx, self.raw.as_ptr(), path.as_ptr()) };
        ctx.check(status)
    }
}

impl Drop for Clip {
    fn drop(&mut self) {
        // Safety: ours, and nobody borrows its pixels any more.
        unsafe { sys::mgen_clip_destroy(self.raw.as_ptr()) };
    }
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clip")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
