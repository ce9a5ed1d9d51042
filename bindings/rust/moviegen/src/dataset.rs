// SPDX-License-Identifier: MIT
//! Datasets: captioned clips of one size, by number.

use crate::raw::{c_path, copied, lock, PanicSlot};
use crate::{Clip, Context, EditTask, Error, ErrorKind, Result};
use moviegen_sys as sys;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::raw::{c_char, c_void};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::{Arc, Mutex};

/// What a closure that reads samples may answer: any error. It becomes the
/// [`source`](StdError::source) of the error that the call which needed the sample returns. A
/// [`crate::Error`] and a [`std::io::Error`] choose its kind, all else is [`ErrorKind::Io`].
pub type SampleError = Box<dyn StdError + Send + Sync>;

type Read = Box<dyn FnMut(u64, &mut Sample<'_>) -> std::result::Result<(), SampleError> + Send>;

/// Clips of this size. The last three are for [`Dataset::from_fn`] only.
///
/// ```
/// # use moviegen::DatasetParams;
/// let size = DatasetParams { width: 64, height: 64, frames: 32, ..Default::default() };
/// # assert_eq!(size.fps, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatasetParams {
    /// Pixels, a multiple of 8, 8..4096.
    pub width: u32,
    /// Pixels, a multiple of 8, 8..4096.
    pub height: u32,
    /// Of a sample, 1..4096.
    pub frames: u32,
    /// Frames a second, 1..240; 0 = 16.
    pub fps: u32,
    /// Of the sound of each sample, at 48,000 a second, one channel; 0 = samples have none.
    pub sound_samples: u64,
    /// Samples are edits, to train editors on.
    pub edits: bool,
}

impl DatasetParams {
    fn to_raw(self) -> sys::mgen_dataset_params {
        let DatasetParams {
            width,
            height,
            frames,
            fps,
            sound_samples,
            edits,
        } = self;
        sys::mgen_dataset_params {
            width,
            height,
            frames,
            fps,
            sound_samples,
            edits: edits.into(),
            ..Default::default()
        }
    }
}

/// Room for one sample, which a closure fills; black, silent and without a caption before.
pub struct Sample<'a> {
    raw: NonNull<sys::mgen_sample>,
    memory: PhantomData<&'a mut [u8]>,
}

impl Sample<'_> {
    fn get(&self) -> &sys::mgen_sample {
        // Safety: the library's, for as long as the callback runs.
        unsafe { self.raw.as_ref() }
    }

    /// Pixels.
    pub fn width(&self) -> u32 {
        self.get().width
    }

    /// Pixels.
    pub fn height(&self) -> u32 {
        self.get().height
    }

    /// Count.
    pub fn frames(&self) -> u32 {
        self.get().frames
    }

    fn bytes(&self) -> usize {
        self.frames() as usize * self.height() as usize * self.width() as usize * 3
    }

    /// Frames x height x width x 3 bytes, RGB.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        let (pixels, bytes) = (self.get().pixels, self.bytes());
        // Safety: the room that the library made, set to 0 before the closure was called.
        unsafe { slice::from_raw_parts_mut(pixels, bytes) }
    }

    /// Samples of -1..1 at 48,000 a second; none where [`DatasetParams::sound_samples`] is 0.
    pub fn sound_mut(&mut self) -> &mut [f32] {
        let (sound, count) = (self.get().sound, self.get().sound_samples);
        if sound.is_null() {
            return &mut [];
        }
        // Safety: the room that the library made, set to 0 before the closure was called.
        unsafe { slice::from_raw_parts_mut(sound, count as usize) }
    }

    /// The clip after an edit, as [`Sample::pixels_mut`]; none without [`DatasetParams::edits`].
    pub fn edited_mut(&mut self) -> &mut [u8] {
        let (edited, bytes) = (self.get().edited, self.bytes());
        if edited.is_null() {
            return &mut [];
        }
        // Safety: as of the pixels.
        unsafe { slice::from_raw_parts_mut(edited, bytes) }
    }

    /// Set the caption. Fails, and changes nothing, if it is too long or holds a NUL byte.
    pub fn set_caption(&mut self, caption: &str) -> Result<()> {
        self.write("caption", self.get().caption, caption)
    }

    /// Set what is heard, which is the caption if nothing is set. Fails as [`Sample::set_caption`],
    /// and where samples have no sound.
    pub fn set_sound_caption(&mut self, caption: &str) -> Result<()> {
        self.write("sound_caption", self.get().sound_caption, caption)
    }

    /// Set the instruction of an edit, and what it is about. Fails as [`Sample::set_caption`], and
    /// where samples are no edits.
    pub fn set_instruction(&mut self, instruction: &str, task: EditTask) -> Result<()> {
        self.write("instruction", self.get().instruction, instruction)?;
        // Safety: the library's, for as long as the callback runs, and nobody else looks at it.
        unsafe { self.raw.as_mut() }.edit_task = task.number();
        Ok(())
    }

    fn write(&mut self, what: &str, to: *mut c_char, text: &str) -> Result<()> {
        let room = self.get().caption_size;
        if to.is_null() {
            return Err(Error::invalid(format!(
                "samples have no {what}; the dataset's parameters say what they have"
            )));
        }
        if text.len() as u64 >= room {
            return Err(Error::invalid(format!(
                "a {what} of {} bytes is longer than {room}",
                text.len()
            )));
        }
        if text.as_bytes().contains(&0) {
            return Err(Error::invalid(format!(
                "a {what} holds a NUL byte; remove it"
            )));
        }
        // Safety: there is room for it and its NUL.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), to as *mut u8, text.len());
            *to.add(text.len()) = 0;
        }
        Ok(())
    }
}

impl fmt::Debug for Sample<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample")
            .field("width", &self.width())
            .field("height", &self.height())
            .field("frames", &self.frames())
            .finish_non_exhaustive()
    }
}

/// What a closure left behind for the call that needed the sample.
#[derive(Default)]
pub(crate) struct Outcome {
    panic: PanicSlot,
    error: Mutex<Option<SampleError>>,
}

impl Outcome {
    /// Turn the end of a call that may have read samples into a result.
    pub fn check(&self, ctx: &Context, status: sys::mgen_status) -> Result<()> {
        self.panic.resume();
        let source = lock(&self.error).take();
        ctx.check(status).map_err(|error| error.with_source(source))
    }
}

/// A closure as the library keeps it.
struct Reader {
    read: Read,
    outcome: Arc<Outcome>,
}

fn status_of(error: &SampleError) -> sys::mgen_status {
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.status();
    }
    let kind = match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::NotFound) => ErrorKind::NotFound,
        Some(io::ErrorKind::OutOfMemory) => ErrorKind::NoMemory,
        Some(io::ErrorKind::InvalidData) | Some(io::ErrorKind::UnexpectedEof) => ErrorKind::Corrupt,
        _ => ErrorKind::Io,
    };
    kind.status()
}

unsafe extern "C" fn on_read(
    user: *mut c_void,
    index: u64,
    sample: *mut sys::mgen_sample,
) -> sys::mgen_status {
    // Safety: `user` is the reader of a dataset that lives; one call at a time. The sample lives
    // during the call.
    let (reader, raw) = unsafe { (&mut *(user as *mut Reader), NonNull::new_unchecked(sample)) };
    let mut sample = Sample {
        raw,
        memory: PhantomData,
    };
    let bytes = sample.bytes();
    // Safety: the rooms that the library made.
    unsafe {
        ptr::write_bytes(sample.get().pixels, 0, bytes);
        if !sample.get().edited.is_null() {
            ptr::write_bytes(sample.get().edited, 0, bytes);
        }
        if !sample.get().sound.is_null() {
            ptr::write_bytes(sample.get().sound, 0, sample.get().sound_samples as usize);
        }
    }
    let Reader { read, outcome } = reader;
    outcome
        .panic
        .catch(sys::MGEN_E_CANCELLED, || match read(index, &mut sample) {
            Ok(()) => sys::MGEN_OK,
            Err(error) => {
                let status = status_of(&error);
                *lock(&outcome.error) = Some(error);
                status
            }
        })
}

unsafe extern "C" fn on_released(user: *mut c_void) {
    // Safety: the last owner is gone, nobody else knows the reader. Nobody hears a panic of its
    // destructor.
    let reader = unsafe { Box::from_raw(user as *mut Reader) };
    PanicSlot::default().catch((), || drop(reader));
}

/// Captioned clips of one size. `Send`, not `Sync`: one thread at a time, and a trainer borrows it.
///
/// ```no_run
/// # use moviegen::*;
/// # fn f(ctx: &mut Context) -> Result<()> {
/// let size = DatasetParams { width: 64, height: 64, frames: 32, ..Default::default() };
/// let mut grey = Dataset::from_fn(ctx, size, 100, |index, sample| {
///     sample.pixels_mut().fill(index as u8);
///     sample.set_caption(&format!("grey of {index}"))?;
///     Ok(())
/// })?;
/// let (clip, caption) = grey.read(ctx, 7)?;
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<moviegen::Dataset>();
/// ```
pub struct Dataset {
    raw: NonNull<sys::mgen_dataset>,
    outcome: Arc<Outcome>,
}

// Safety: one thread after another may use it, and its closure is Send.
unsafe impl Send for Dataset {}

/// Longest caption that is read: that of a prompt.
const CAPTION_MAX: usize = 4096;

impl Dataset {
    /// The toybox: endless drawn clips of 64 x 64 pixels and 32 frames, the same for the same seed.
    pub fn toybox(ctx: &mut Context, seed: u64) -> Result<Dataset> {
        let (raw_ctx, mut raw) = (ctx.enter(), ptr::null_mut());
        // Safety: all pointers live during the call.
        let status = unsafe { sys::mgen_dataset_toybox(raw_ctx, seed, &mut raw) };
        Dataset::finish(ctx, status, raw, Arc::default())
    }

    /// A folder of films (.mp4, .mkv, .webm, .mov, .avi, .y4m, ...), each beside a caption in
    /// `<name>.txt` or without one; sorted by name. They are scaled and cropped to the size. To train editors on,
    /// beside the film after an edit in `<name>.edited.mp4` (or so) and the instruction in
    /// `<name>.edit.txt`, too.
    pub fn open(
        ctx: &mut Context,
        dir: impl AsRef<Path>,
        params: DatasetParams,
    ) -> Result<Dataset> {
        let dir = c_path(dir.as_ref())?;
        let (raw_ctx, mut raw) = (ctx.enter(), ptr::null_mut());
        // Safety: all pointers live during the call.
        let status =
            unsafe { sys::mgen_dataset_open(raw_ctx, dir.as_ptr(), &params.to_raw(), &mut raw) };
        Dataset::finish(ctx, status, raw, Arc::default())
    }

    /// `count` samples that a closure reads, called by the thread of the call that needs them, one
    /// at a time.
    pub fn from_fn<F>(
        ctx: &mut Context,
        params: DatasetParams,
        count: u64,
        read: F,
    ) -> Result<Dataset>
    where
        F: FnMut(u64, &mut Sample<'_>) -> std::result::Result<(), SampleError> + Send + 'static,
    {
        let outcome = Arc::new(Outcome::default());
        let reader = Box::into_raw(Box::new(Reader {
            read: Box::new(read),
            outcome: outcome.clone(),
        }));
        let params = sys::mgen_dataset_params {
            count,
            read: Some(on_read),
            released: Some(on_released),
            user: reader as *mut c_void,
            ..params.to_raw()
        };
        let (raw_ctx, mut raw) = (ctx.enter(), ptr::null_mut());
        // Safety: all pointers live during the call, the reader until it is released.
        let status = unsafe { sys::mgen_dataset_create(raw_ctx, &params, &mut raw) };
        if raw.is_null() {
            // Safety: there is no dataset, so nobody else knows the reader.
            drop(unsafe { Box::from_raw(reader) });
        }
        Dataset::finish(ctx, status, raw, outcome)
    }

    fn finish(
        ctx: &Context,
        status: sys::mgen_status,
        raw: *mut sys::mgen_dataset,
        outcome: Arc<Outcome>,
    ) -> Result<Dataset> {
        let dataset = NonNull::new(raw).map(|raw| Dataset { raw, outcome });
        ctx.check(status)?;
        dataset.ok_or_else(|| Error::new(ErrorKind::Internal, "the library gave no dataset"))
    }

    pub(crate) fn as_raw(&self) -> *mut sys::mgen_dataset {
        self.raw.as_ptr()
    }

    pub(crate) fn outcome(&self) -> Arc<Outcome> {
        self.outcome.clone()
    }

    /// Samples; None where there is no end.
    pub fn count(&self) -> Option<u64> {
        // Safety: the dataset lives.
        match unsafe { sys::mgen_dataset_count(self.raw.as_ptr()) } {
            u64::MAX => None,
            count => Some(count),
        }
    }

    /// Read one sample: the clip and its caption.
    pub fn read(&mut self, ctx: &mut Context, index: u64) -> Result<(Clip, String)> {
        let mut caption: [c_char; CAPTION_MAX + 1] = [0; CAPTION_MAX + 1];
        let size = caption.len() as u64;
        let (raw_ctx, mut raw) = (ctx.enter(), ptr::null_mut());
        // Safety: all pointers live during the call.
        let status = unsafe {
            sys::mgen_dataset_read(
                raw_ctx,
                self.raw.as_ptr(),
                index,
                caption.as_mut_ptr(),
                size,
                &mut raw,
            )
        };
        // Safety: a clip that the call gave to us, or NULL; the caption ends with a NUL, if only
        // that of the array.
        let (clip, caption) = unsafe { (Clip::from_raw(raw), copied(caption.as_ptr())) };
        self.outcome.check(ctx, status)?;
        let clip =
            clip.ok_or_else(|| Error::new(ErrorKind::Internal, "the library gave no clip"))?;
        Ok((clip, caption))
    }
}

impl Drop for Dataset {
    fn drop(&mut self) {
        // Safety: one owner was ours.
        unsafe { sys::mgen_dataset_release(self.raw.as_ptr()) };
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}
