// SPDX-License-Identifier: MIT
//! Frames in somebody's memory: views that own nothing.

use crate::{Error, Result};
use moviegen_sys as sys;
use std::fmt;
use std::marker::PhantomData;
use std::os::raw::c_void;
use std::slice;

/// How pixels are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// One plane, 3 bytes a pixel, 0..255.
    #[default]
    Rgb8,
    /// One plane, 3 floats a pixel, 0..1.
    RgbF32,
    /// Planes Y, U, V of bytes; BT.601, limited range, U and V half size, rounded up.
    Yuv420,
}

impl Format {
    pub(crate) fn number(self) -> u32 {
        match self {
            Format::Rgb8 => sys::MGEN_FORMAT_RGB8,
            Format::RgbF32 => sys::MGEN_FORMAT_RGBF32,
            Format::Yuv420 => sys::MGEN_FORMAT_YUV420,
        }
    }

    fn of(number: u32) -> Format {
        match number {
            sys::MGEN_FORMAT_RGBF32 => Format::RgbF32,
            sys::MGEN_FORMAT_YUV420 => Format::Yuv420,
            _ => Format::Rgb8,
        }
    }

    /// How many planes there are.
    pub fn planes(self) -> usize {
        match self {
            Format::Yuv420 => 3,
            _ => 1,
        }
    }

    /// Bytes of a row and rows of a plane.
    fn plane_size(self, plane: usize, width: u32, height: u32) -> (u64, u64) {
        let (width, height) = (u64::from(width), u64::from(height));
        match (self, plane) {
            (Format::Rgb8, _) => (3 * width, height),
            (Format::RgbF32, _) => (12 * width, height),
            (Format::Yuv420, 0) => (width, height),
            (Format::Yuv420, _) => ((width + 1) / 2, (height + 1) / 2),
        }
    }
}

/// Shape, and strides of each plane with 0 filled in.
fn describe(
    format: Format,
    width: u32,
    height: u32,
    count: u32,
    strides: [(u64, u64); 3],
) -> Option<sys::mgen_frames> {
    let mut raw = sys::mgen_frames {
        format: format.number(),
        width,
        height,
        count,
        ..Default::default()
    };
    for (plane, &(row, frame)) in strides.iter().enumerate().take(format.planes()) {
        let (bytes, rows) = format.plane_size(plane, width, height);
        raw.row_stride[plane] = if row == 0 { bytes } else { row };
        raw.frame_stride[plane] = if frame == 0 {
            rows.checked_mul(raw.row_stride[plane])?
        } else {
            frame
        };
        if raw.row_stride[plane] < bytes {
            return None;
        }
    }
    Some(raw)
}

/// Bytes from the first to the last of a plane.
fn extent(raw: &sys::mgen_frames, plane: usize) -> Option<u64> {
    let (bytes, rows) = Format::of(raw.format).plane_size(plane, raw.width, raw.height);
    let frames = u64::from(raw.count.checked_sub(1)?).checked_mul(raw.frame_stride[plane])?;
    let rows = rows.checked_sub(1)?.checked_mul(raw.row_stride[plane])?;
    frames.checked_add(rows)?.checked_add(bytes)
}

/// The struct for memory of these lengths, or why there is none. Planes are (address, bytes).
fn view(
    format: Format,
    (width, height, count): (u32, u32, u32),
    strides: [(u64, u64); 3],
    planes: &[(*mut c_void, usize)],
) -> Result<sys::mgen_frames> {
    let shape = format!("{count} frames of {width} x {height} pixels");
    let mut raw = describe(format, width, height, count, strides)
        .ok_or_else(|| Error::invalid(format!("{shape}: a stride is too small or too large")))?;
    for (plane, &(address, bytes)) in planes.iter().enumerate() {
        let needed = extent(&raw, plane)
            .ok_or_else(|| Error::invalid(format!("{shape}: that is nothing, or too much")))?;
        if needed > bytes as u64 {
            return Err(Error::invalid(format!(
                "{shape} need {needed} bytes in plane {plane}, there are {bytes}"
            )));
        }
        raw.plane[plane] = address;
    }
    Ok(raw)
}

/// Frames to be read.
#[derive(Clone, Copy)]
pub struct FramesRef<'a> {
    raw: sys::mgen_frames,
    memory: PhantomData<&'a [u8]>,
}

// Safety: as &[u8].
unsafe impl Send for FramesRef<'_> {}
unsafe impl Sync for FramesRef<'_> {}

impl<'a> FramesRef<'a> {
    fn new(
        format: Format,
        shape: (u32, u32, u32),
        strides: [(u64, u64); 3],
        planes: &[(*mut c_void, usize)],
    ) -> Result<Self> {
        Ok(FramesRef {
            raw: view(format, shape, strides, planes)?,
            memory: PhantomData,
        })
    }

    /// RGB bytes, frames x height x width x 3.
    pub fn rgb8(width: u32, height: u32, count: u32, data: &'a [u8]) -> Result<Self> {
        Self::rgb8_strided(width, height, count, data, 0, 0)
    }

    /// RGB bytes with so many from row to row and from frame to frame; 0 = without gaps.
    pub fn rgb8_strided(
        w: u32,
        h: u32,
        count: u32,
        data: &'a [u8],
        row: u64,
        frame: u64,
    ) -> Result<Self> {
        let plane = (data.as_ptr() as *mut c_void, data.len());
        Self::new(Format::Rgb8, (w, h, count), [(row, frame); 3], &[plane])
    }

    /// RGB floats 0..1, frames x height x width x 3.
    pub fn rgb_f32(width: u32, height: u32, count: u32, data: &'a [f32]) -> Result<Self> {
        let plane = (data.as_ptr() as *mut c_void, std::mem::size_of_val(data));
        Self::new(
            Format::RgbF32,
            (width, height, count),
            [(0, 0); 3],
            &[plane],
        )
    }

    /// Planes Y, U and V, each without gaps.
    pub fn yuv420(width: u32, height: u32, count: u32, planes: [&'a [u8]; 3]) -> Result<Self> {
        let planes = planes.map(|plane| (plane.as_ptr() as *mut c_void, plane.len()));
        Self::new(Format::Yuv420, (width, height, count), [(0, 0); 3], &planes)
    }

    /// What the library gave to a callback.
    ///
    /// # Safety
    /// `raw` describes memory that can be read during 'a.
    pub(crate) unsafe fn from_raw(raw: &sys::mgen_frames) -> Option<FramesRef<'a>> {
        let mut strides = [(0, 0); 3];
        for (plane, stride) in strides.iter_mut().enumerate() {
            *stride = (raw.row_stride[plane], raw.frame_stride[plane]);
        }
        let mut ours = describe(
            Format::of(raw.format),
            raw.width,
            raw.height,
            raw.count,
            strides,
        )?;
        ours.plane = raw.plane;
        Some(FramesRef {
            raw: ours,
            memory: PhantomData,
        })
    }

    pub(crate) fn as_raw(&self) -> &sys::mgen_frames {
        &self.raw
    }

    /// How pixels are stored.
    pub fn format(&self) -> Format {
        Format::of(self.raw.format)
    }

    /// Pixels.
    pub fn width(&self) -> u32 {
        self.raw.width
    }

    /// Pixels.
    pub fn height(&self) -> u32 {
        self.raw.height
    }

    /// Frames.
    pub fn count(&self) -> u32 {
        self.raw.count
    }

    /// Rows of a plane of one frame.
    pub fn rows(&self, plane: usize) -> u32 {
        self.format()
            .plane_size(plane, self.raw.width, self.raw.height)
            .1 as u32
    }

    /// The bytes of one row; None past the end.
    pub fn row(&self, plane: usize, frame: u32, y: u32) -> Option<&'a [u8]> {
        if plane >= self.format().planes() || frame >= self.count() || y >= self.rows(plane) {
            return None;
        }
        let (bytes, _) = self
            .format()
            .plane_size(plane, self.raw.width, self.raw.height);
        let offset = u64::from(frame) * self.raw.frame_stride[plane]
            + u64::from(y) * self.raw.row_stride[plane];
        // Safety: the row lies in the memory that the view was made from, which lives during 'a.
        Some(unsafe {
            slice::from_raw_parts(
                (self.raw.plane[plane] as *const u8).add(offset as usize),
                bytes as usize,
            )
        })
    }

    /// The bytes of one frame, plane after plane, without gaps; nothing past the end.
    pub fn to_vec(&self, frame: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for plane in 0..self.format().planes() {
            for y in 0..self.rows(plane) {
                bytes.extend_from_slice(self.row(plane, frame, y).unwrap_or(&[]));
            }
        }
        bytes
    }
}

/// Frames to be written.
pub struct FramesMut<'a> {
    raw: sys::mgen_frames,
    memory: PhantomData<&'a mut [u8]>,
}

// Safety: as &mut [u8].
unsafe impl Send for FramesMut<'_> {}
unsafe impl Sync for FramesMut<'_> {}

impl<'a> FramesMut<'a> {
    fn new(
        format: Format,
        shape: (u32, u32, u32),
        strides: [(u64, u64); 3],
        planes: &[(*mut c_void, usize)],
    ) -> Result<Self> {
        Ok(FramesMut {
            raw: view(format, shape, strides, planes)?,
            memory: PhantomData,
        })
    }

    /// RGB bytes, frames x height x width x 3.
    pub fn rgb8(width: u32, height: u32, count: u32, data: &'a mut [u8]) -> Result<Self> {
        Self::rgb8_strided(width, height, count, data, 0, 0)
    }

    /// RGB bytes with so many from row to row and from frame to frame; 0 = without gaps.
    pub fn rgb8_strided(
        w: u32,
        h: u32,
        count: u32,
        data: &'a mut [u8],
        row: u64,
        frame: u64,
    ) -> Result<Self> {
        let plane = (data.as_mut_ptr() as *mut c_void, data.len());
        Self::new(Format::Rgb8, (w, h, count), [(row, frame); 3], &[plane])
    }

    /// RGB floats 0..1, frames x height x width x 3.
    pub fn rgb_f32(width: u32, height: u32, count: u32, data: &'a mut [f32]) -> Result<Self> {
        let plane = (
            data.as_mut_ptr() as *mut c_void,
            std::mem::size_of_val(data),
        );
        Self::new(
            Format::RgbF32,
            (width, height, count),
            [(0, 0); 3],
            &[plane],
        )
    }

    /// Planes Y, U and V, each without gaps.
    pub fn yuv420(width: u32, height: u32, count: u32, planes: [&'a mut [u8]; 3]) -> Result<Self> {
        let planes = planes.map(|plane| (plane.as_mut_ptr() as *mut c_void, plane.len()));
        Self::new(Format::Yuv420, (width, height, count), [(0, 0); 3], &planes)
    }

    pub(crate) fn as_raw(&mut self) -> &sys::mgen_frames {
        &self.raw
    }

    /// The same frames, to be read.
    pub fn as_ref(&self) -> FramesRef<'_> {
        FramesRef {
            raw: self.raw,
            memory: PhantomData,
        }
    }
}

fn debug(f: &mut fmt::Formatter<'_>, name: &str, raw: &sys::mgen_frames) -> fmt::Result {
    f.debug_struct(name)
        .field("format", &Format::of(raw.format))
        .field("width", &raw.width)
        .field("height", &raw.height)
        .field("count", &raw.count)
        .finish_non_exhaustive()
}

impl fmt::Debug for FramesRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "FramesRef", &self.raw)
    }
}

impl fmt::Debug for FramesMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "FramesMut", &self.raw)
    }
}
