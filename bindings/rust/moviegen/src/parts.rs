// SPDX-License-Identifier: MIT
//! The parts, for hosts that build their own loops: text, latents, velocity, times, noise.

use crate::raw::{c_text, room};
use crate::{Context, Error, FramesMut, FramesRef, Result, Tae, TextEncoder, VideoModel};
use moviegen_sys as sys;
use std::ptr;
use std::slice;

/// Times of the solver's steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// The report's: 50 steps follow the first of 250.
    #[default]
    LinearQuadratic,
    /// Even steps.
    Linear,
    /// The report's other: 50 steps follow the first of 1000.
    LinearQuadratic1000,
}

impl Schedule {
    pub(crate) fn number(self) -> u32 {
        match self {
            Schedule::LinearQuadratic => sys::MGEN_SCHEDULE_LINEAR_QUADRATIC,
            Schedule::Linear => sys::MGEN_SCHEDULE_LINEAR,
            Schedule::LinearQuadratic1000 => sys::MGEN_SCHEDULE_LINEAR_QUADRATIC_1000,
        }
    }
}

/// How a request goes along the flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Solver {
    /// The report's: one evaluation of the model a step.
    #[default]
    Euler,
    /// Second order: two evaluations a step.
    Midpoint,
    /// Steps as long as the error allows. The request's steps are the attempts that it may make, and
    /// progress is a share of them.
    Dopri5,
}

impl Solver {
    pub(crate) fn number(self) -> u32 {
        match self {
            Solver::Euler => sys::MGEN_SOLVER_EULER,
            Solver::Midpoint => sys::MGEN_SOLVER_MIDPOINT,
            Solver::Dopri5 => sys::MGEN_SOLVER_DOPRI5,
        }
    }
}

/// Bit i is text i of the pipeline.
pub(crate) fn bits(left_out: [bool; 3]) -> u32 {
    left_out
        .iter()
        .enumerate()
        .fold(0, |bits, (i, &out)| bits | u32::from(out) << i)
}

/// How weights are held and products computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// As the video model's file says, else f32.
    #[default]
    Model,
    /// f32.
    F32,
    /// bf16, all but vectors.
    Bf16,
    /// E4M3 in the linear layers of the video model's blocks, with a scale for each output and token,
    /// and bf16 elsewhere.
    Fp8,
}

impl Hold {
    pub(crate) fn number(self) -> u32 {
        match self {
            Hold::Model => sys::MGEN_PRECISION_DEFAULT,
            Hold::F32 => sys::MGEN_PRECISION_F32,
            Hold::Bf16 => sys::MGEN_PRECISION_BF16,
            Hold::Fp8 => sys::MGEN_PRECISION_FP8,
        }
    }
}

/// Latents in somebody's memory: frames x height x width x channels floats.
#[derive(Clone, Copy, Debug)]
pub struct LatentsRef<'a> {
    frames: u32,
    height: u32,
    width: u32,
    channels: u32,
    data: &'a [f32],
}

fn floats(frames: u32, height: u32, width: u32, channels: u32) -> Result<usize> {
    let factors = [height, width, channels];
    let product = factors.iter().try_fold(frames as usize, |all, factor| {
        all.checked_mul(*factor as usize)
    });
    product.ok_or_else(|| Error::invalid("latents of this shape fit into no memory"))
}

impl<'a> LatentsRef<'a> {
    /// A view of `data`, which has exactly that many values.
    pub fn new(
        frames: u32,
        height: u32,
        width: u32,
        channels: u32,
        data: &'a [f32],
    ) -> Result<Self> {
        let wanted = floats(frames, height, width, channels)?;
        if data.len() != wanted {
            return Err(Error::invalid(format!(
                "latents of this shape are {wanted} floats, there are {}",
                data.len()
            )));
        }
        Ok(LatentsRef {
            frames,
            height,
            width,
            channels,
            data,
        })
    }

    /// # Safety
    /// What the library gave to a callback that is still running.
    pub(crate) unsafe fn from_raw(raw: &'a sys::mgen_latents) -> Self {
        let (frames, height, width, channels) = (raw.frames, raw.height, raw.width, raw.channels);
        let count = floats(frames, height, width, channels).unwrap_or(0);
        // Safety: the caller's promise.
        LatentsRef {
            frames,
            height,
            width,
            channels,
            data: unsafe { slice::from_raw_parts(raw.data, count) },
        }
    }

    /// The struct of C, for reading.
    fn as_raw(&self) -> sys::mgen_latents {
        sys::mgen_latents {
            frames: self.frames,
            height: self.height,
            width: self.width,
            channels: self.channels,
            data: self.data.as_ptr() as *mut f32,
            ..Default::default()
        }
    }

    /// Count of latent frames.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Of latents.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Of latents.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Count.
    pub fn channels(&self) -> u32 {
        self.channels
    }

    /// Mean 0, deviation 1 for each channel, as trained.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// A copy.
    pub fn to_owned(&self) -> Latents {
        Latents {
            frames: self.frames,
            height: self.height,
            width: self.width,
            channels: self.channels,
            data: self.data.to_vec(),
        }
    }
}

/// Latents with their memory: frames x height x width x channels floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Latents {
    frames: u32,
    height: u32,
    width: u32,
    channels: u32,
    data: Vec<f32>,
}

impl Latents {
    /// All 0.
    pub fn new(frames: u32, height: u32, width: u32, channels: u32) -> Result<Latents> {
        let data = room(floats(frames, height, width, channels)?)?;
        Ok(Latents {
            frames,
            height,
            width,
            channels,
            data,
        })
    }

    /// Of values, exactly as many as the shape has.
    pub fn from_vec(
        frames: u32,
        height: u32,
        width: u32,
        channels: u32,
        data: Vec<f32>,
    ) -> Result<Latents> {
        LatentsRef::new(frames, height, width, channels, &data)?;
        Ok(Latents {
            frames,
            height,
            width,
            channels,
            data,
        })
    }

    /// The struct of C, for writing.
    fn as_raw_mut(&mut self) -> sys::mgen_latents {
        sys::mgen_latents {
            data: self.data.as_mut_ptr(),
            ..self.view().as_raw()
        }
    }

    /// What calls read.
    pub fn view(&self) -> LatentsRef<'_> {
        LatentsRef {
            frames: self.frames,
            height: self.height,
            width: self.width,
            channels: self.channels,
            data: &self.data,
        }
    }

    /// Mean 0, deviation 1 for each channel, as trained.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The same, to be changed.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The values without their shape.
    pub fn into_vec(self) -> Vec<f32> {
        self.data
    }
}

/// Encoded text: tokens x width floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    tokens: u32,
    width: u32,
    data: Vec<f32>,
}

impl Text {
    /// Of values, tokens x width of them.
    pub fn from_vec(tokens: u32, width: u32, data: Vec<f32>) -> Result<Text> {
        let wanted = floats(tokens, width, 1, 1)?;
        if data.len() != wanted {
            return Err(Error::invalid(format!(
                "{tokens} x {width} values are wanted, there are {}",
                data.len()
            )));
        }
        Ok(Text {
            tokens,
            width,
            data,
        })
    }

    fn as_raw(&self) -> sys::mgen_text {
        let data = self.data.as_ptr() as *mut f32;
        sys::mgen_text {
            tokens: self.tokens,
            width: self.width,
            data,
            ..Default::default()
        }
    }

    /// Rows.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Values a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Row after row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }
}

impl TextEncoder {
    /// Encode a prompt of 0..4096 bytes; "" is what guidance leads away from.
    pub fn encode(&self, ctx: &mut Context, prompt: &str) -> Result<Text> {
        let prompt = c_text("the prompt", prompt)?;
        let info = self.info();
        let mut data = room(floats(info.text_tokens, info.text_width, 1, 1)?)?;
        let mut text = sys::mgen_text {
            tokens: info.text_tokens,
            width: info.text_width,
            data: data.as_mut_ptr(),
            ..Default::default()
        };
        let raw_ctx = ctx.enter();
        // Safety: all pointers live during the call, and `text` says how much room there is.
        let status =
            unsafe { sys::mgen_text_encode(raw_ctx, self.as_raw(), prompt.as_ptr(), &mut text) };
        ctx.check(status)?;
        data.truncate(text.tokens as usize * info.text_width as usize);
        Text::from_vec(text.tokens, info.text_width, data)
    }
}

impl Tae {
    /// Video to latents (the posterior's mean), in flat memory however long it is. Width and height
    /// are multiples of the spatial factor.
    pub fn encode(&self, ctx: &mut Context, frames: &FramesRef<'_>) -> Result<Latents> {
        let info = self.info();
        let (space, time) = (info.spatial_factor.max(1), info.temporal_factor.max(1));
        let count = frames.count() / time + u32::from(frames.count() % time != 0);
        let mut latents = Latents::new(
            count,
            frames.height() / space,
            frames.width() / space,
            info.channels,
        )?;
        self.encode_into(ctx, frames, &mut latents)?;
        Ok(latents)
    }

    /// The same into latents that are there already.
    pub fn encode_into(
        &self,
        ctx: &mut Context,
        frames: &FramesRef<'_>,
        latents: &mut Latents,
    ) -> Result<()> {
        let raw_ctx = ctx.enter();
        let out = latents.as_raw_mut();
        // Safety: all pointers live during the call, and both views say how much memory there is.
        let status = unsafe { sys::mgen_tae_encode(raw_ctx, self.as_raw(), frames.as_raw(), &out) };
        ctx.check(status)
    }

    /// Latents to video, as many frames of it as `frames` has, in flat memory.
    pub fn decode(
        &self,
        ctx: &mut Context,
        latents: LatentsRef<'_>,
        frames: &mut FramesMut<'_>,
    ) -> Result<()> {
        let raw_ctx = ctx.enter();
        // Safety: as above.
        let status = unsafe {
            sys::mgen_tae_decode(raw_ctx, self.as_raw(), &latents.as_raw(), frames.as_raw())
        };
        ctx.check(status)
    }
}

impl VideoModel {
    /// Velocity of the flow at `x` and `time` (0 = noise, 1 = data), given text for each of the
    /// three roles (None where the model has none).
    pub fn velocity(
        &self,
        ctx: &mut Context,
        x: LatentsRef<'_>,
        time: f32,
        text: [Option<&Text>; 3],
    ) -> Result<Latents> {
        let mut out = Latents::new(x.frames, x.height, x.width, x.channels)?;
        self.velocity_into(ctx, x, time, text, &mut out)?;
        Ok(out)
    }

    /// The same into latents that are there already.
    pub fn velocity_into(
        &self,
        ctx: &mut Context,
        x: LatentsRef<'_>,
        time: f32,
        text: [Option<&Text>; 3],
        out: &mut Latents,
    ) -> Result<()> {
        let texts = text.map(|text| text.map(Text::as_raw));
        let mut pointers = [ptr::null(); 3];
        for (pointer, text) in pointers.iter_mut().zip(&texts) {
            *pointer = text
                .as_ref()
                .map_or(ptr::null(), |text| text as *const sys::mgen_text);
        }
        let raw_ctx = ctx.enter();
        let out = out.as_raw_mut();
        // Safety: all pointers live during the call, and the views say how much memory there is.
        let status = unsafe {
            sys::mgen_video_velocity(
                raw_ctx,
                self.as_raw(),
                &x.as_raw(),
                time,
                pointers.as_ptr(),
                &out,
            )
        };
        ctx.check(status)
    }
}

/// Times of a schedule, from 0 to 1: steps + 1 of them. Steps are 1..1000.
pub fn schedule(schedule: Schedule, steps: u32) -> Result<Vec<f32>> {
    let wrong = || Error::invalid(format!("{steps} steps; a schedule has 1 to 1000"));
    if !(1..=1000).contains(&steps) {
        return Err(wrong());
    }
    let mut times = room(steps as usize + 1)?;
    // Safety: there is room for all of them.
    match unsafe { sys::mgen_schedule(schedule.number(), steps, times.as_mut_ptr()) } {
        sys::MGEN_OK => Ok(times),
        _ => Err(wrong()),
    }
}

/// Fill latents with the noise that a request with `seed` and a noise scale of 1 begins with.
pub fn noise(ctx: &mut Context, seed: u64, latents: &mut Latents) -> Result<()> {
    let raw_ctx = ctx.enter();
    // Safety: the view says how much memory there is.
    let status = unsafe { sys::mgen_noise(raw_ctx, seed, &latents.as_raw_mut()) };
    ctx.check(status)
}
