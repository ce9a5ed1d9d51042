// SPDX-License-Identifier: MIT
//! Planning a training step, measuring a pipeline, and curating films to train on.

use crate::parts::bits;
use crate::raw::{answer, c_path, c_text, constant, copied, PanicSlot};
use crate::{Context, Dataset, Pipeline, Report, Result, Schedule, Solver};
use moviegen_sys as sys;
use std::ops::ControlFlow;
use std::os::raw::{c_char, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

/// Sizes of the Movie Gen report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preset {
    /// That of the toybox, 9 million parameters.
    Toybox,
    /// A billion parameters.
    B1,
    /// 5 billion.
    B5,
    /// The spatial upsampler, 7 billion; its frames are latent frames.
    B7,
    /// The transformer of the audio model, 13 billion; its frames are latents of sound, its width and
    /// height 0.
    B13,
    /// 30 billion.
    B30,
}

/// What is computed again instead of kept for the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Recompute {
    /// Nothing.
    None,
    /// All but self-attention.
    Selective,
    /// All.
    Full,
}

/// Of products and activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Brain float 16.
    Bf16,
    /// 32-bit floats.
    F32,
}

/// A training step of a video transformer to be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Size of the model.
    pub preset: Preset,
    /// Samples; 0 = 1.
    pub batch: u32,
    /// What is computed again; None: all but self-attention, or on a mesh the first of
    /// [`Recompute`] that fits.
    pub recompute: Option<Recompute>,
    /// Of products and activations.
    pub precision: Precision,
    /// Pixels, a multiple of 16; of [`Preset::B13`] 0.
    pub width: u32,
    /// Pixels, a multiple of 16; of [`Preset::B13`] 0.
    pub height: u32,
    /// 1..256; latents of sound at most 1024.
    pub frames: u32,
    /// Of all text encoders together; 0 = 1024; of [`Preset::B13`] 512.
    pub text_tokens: u32,
}

impl Plan {
    /// One sample of this size, in bf16.
    pub fn new(preset: Preset, width: u32, height: u32, frames: u32) -> Plan {
        Plan {
            preset,
            batch: 0,
            recompute: None,
            precision: Precision::Bf16,
            width,
            height,
            frames,
            text_tokens: 0,
        }
    }
}

/// With its NUL, for ever.
fn recompute_name(recompute: Recompute) -> *const c_char {
    let name = match recompute {
        Recompute::None => "none\0",
        Recompute::Selective => "selective\0",
        Recompute::Full => "full\0",
    };
    name.as_ptr().cast()
}

fn params_of(plan: &Plan) -> sys::mgen_plan_params {
    let preset = match plan.preset {
        Preset::Toybox => "toybox\0",
        Preset::B1 => "1b\0",
        Preset::B5 => "5b\0",
        Preset::B7 => "7b\0",
        Preset::B13 => "13b\0",
        Preset::B30 => "30b\0",
    };
    let precision = match plan.precision {
        Precision::Bf16 => "bf16\0",
        Precision::F32 => "f32\0",
    };
    sys::mgen_plan_params {
        batch: plan.batch,
        preset: preset.as_ptr().cast(),
        recompute: plan.recompute.map_or(ptr::null(), recompute_name),
        precision: precision.as_ptr().cast(),
        width: plan.width,
        height: plan.height,
        frames: plan.frames,
        text_tokens: plan.text_tokens,
        ..Default::default()
    }
}

/// Find out what one training step needs on a single device, by running it on shapes alone: nothing
/// of the model's size is allocated. The report holds parameters, tokens, forward_flops,
/// step_flops, and bytes of master_, compute_, gradient_, optimizer_, activation_, flow_ and peak_.
pub fn plan_training(ctx: &mut Context, plan: &Plan) -> Result<Report> {
    let params = params_of(plan);
    let (raw_ctx, mut report) = (ctx.enter(), ptr::null_mut());
    // Safety: all pointers live during the call; the report is ours.
    let (status, report) = unsafe {
        let status = sys::mgen_plan_training(raw_ctx, &params, &mut report);
        (status, Report::take(report))
    };
    ctx.check(status).map(|()| report)
}

/// A mesh of GPUs for [`plan_mesh`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshPlan<'a> {
    /// How many.
    pub gpus: u32,
    /// "h100-80gb", or with other rates: "h100-80gb,attention=0.5".
    pub gpu: &'a str,
    /// "dp=2,cp=1,tp=4"; none: the best.
    pub mesh: Option<&'a str>,
    /// Samples of a step; 0 = one pass.
    pub global_batch: u32,
    /// With the launches and collectives of one block.
    pub timeline: bool,
}

/// A plan as one line of JSON.
fn text_of(ctx: &mut Context, params: &sys::mgen_plan_params) -> Result<String> {
    let (raw_ctx, mut report) = (ctx.enter(), ptr::null_mut());
    // Safety: all pointers live during the call; the report is ours, its text lives as long.
    let (status, text) = unsafe {
        let status = sys::mgen_plan_training(raw_ctx, params, &mut report);
        let text = copied(sys::mgen_report_text(report));
        sys::mgen_report_destroy(report);
        (status, text)
    };
    ctx.check(status).map(|()| text)
}

/// The same on a mesh of GPUs, with time and communication: one line of JSON.
pub fn plan_mesh(ctx: &mut Context, plan: &Plan, on: &MeshPlan<'_>) -> Result<String> {
    let gpu = c_text("gpu", on.gpu)?;
    let mesh = on.mesh.map(|mesh| c_text("mesh", mesh)).transpose()?;
    let params = sys::mgen_plan_params {
        gpus: on.gpus,
        global_batch: on.global_batch,
        gpu: gpu.as_ptr(),
        mesh: mesh.as_ref().map_or(ptr::null(), |mesh| mesh.as_ptr()),
        text: 1,
        timeline: on.timeline.into(),
        ..params_of(plan)
    };
    text_of(ctx, &params)
}

/// On what [`plan_recipe`] plans; the default is an H100 with 80 GB, and all else as the recipe says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecipePlan<'a> {
    /// Of the recipe's stages this one; none: all.
    pub stage: Option<&'a str>,
    /// How many; 0 = those that each stage is meant for.
    pub gpus: u32,
    /// As [`MeshPlan::gpu`]; none: "h100-80gb".
    pub gpu: Option<&'a str>,
    /// As [`MeshPlan::mesh`]; none: that of the stage, or the best.
    pub mesh: Option<&'a str>,
    /// Samples of a dp rank in a pass; 0 = as many as is meant.
    pub batch: u32,
    /// What is computed again; none: what the stage says, more where that does not fit.
    pub recompute: Option<Recompute>,
    /// Of all text encoders together; 0 = 1024, of sounds 512.
    pub text_tokens: u32,
}

/// What the stages of a recipe need: mesh, memory, the time of a step, days; one line of JSON. An error
/// if the recipe cannot be read or, where one stage is asked for, if that cannot be planned.
pub fn plan_recipe(
    ctx: &mut Context,
    recipe: impl AsRef<Path>,
    on: &RecipePlan<'_>,
) -> Result<String> {
    let mut preset = recipe.as_ref().as_os_str().to_owned();
    preset.push(":");
    preset.push(on.stage.unwrap_or(""));
    let preset = c_path(Path::new(&preset))?;
    let gpu = c_text("gpu", on.gpu.unwrap_or("h100-80gb"))?;
    let mesh = on.mesh.map(|mesh| c_text("mesh", mesh)).transpose()?;
    let params = sys::mgen_plan_params {
        preset: preset.as_ptr(),
        batch: on.batch,
        recompute: on.recompute.map_or(ptr::null(), recompute_name),
        text_tokens: on.text_tokens,
        gpus: on.gpus,
        gpu: gpu.as_ptr(),
        mesh: mesh.as_ref().map_or(ptr::null(), |mesh| mesh.as_ptr()),
        text: 1,
        ..Default::default()
    };
    text_of(ctx, &params)
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Reconstruction of toybox clips: psnr in dB, ssim, seams, rates of what the pixel checker
    /// reads in them.
    Tae,
    /// Prompts of combinations that no training clip has against what the checker reads in the
    /// generated clips: rates 0..1.
    Alignment,
    /// How far generated clips are, as a set, from true ones: Fréchet distances of frames and of
    /// what changes between them.
    Frechet,
    /// Enlarged clips against scenes drawn that large: psnr, ssim, sharpness.
    Upsample,
    /// Edited clips against scenes drawn as the instruction says: psnr, ssim, of what stays and what
    /// changes, and the rate at which the checker reads the edit.
    Edit,
    /// What a program that listens finds in the sound made for films: impacts in time, place, music,
    /// mood, tempo.
    Sound,
    /// Who a checker sees in films of people whom no training has shown, made from a photo, and what of
    /// the prompt.
    Personalize,
    /// Alignment with prompts as one types them, rewritten and not, and how many of them lose and gain
    /// nothing.
    Rewrite,
    /// Of no model: what [`curate`] finds in raw films whose defects are known.
    Curate,
}

/// A measurement. Numbers that are 0 mean the default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// What is measured.
    pub protocol: Protocol,
    /// Clips to measure, at most 1000000; 0 = the protocol's own number.
    pub n: u32,
    /// Of scenes and noise.
    pub seed: u64,
    /// As in [`Request`](crate::Request).
    pub steps: u32,
    /// As in [`Request`](crate::Request).
    pub guidance: f32,
    /// As in [`Request`](crate::Request).
    pub schedule: Schedule,
    /// As in [`Request`](crate::Request).
    pub solver: Solver,
    /// As in [`Request`](crate::Request).
    pub guidance_from: f32,
    /// As in [`Request`](crate::Request).
    pub guidance_to: f32,
    /// As in [`Request`](crate::Request).
    pub drop_text: [bool; 3],
    /// As in [`Request`](crate::Request).
    pub noise_scale: f32,
}

impl Evaluation {
    /// A measurement with the defaults.
    pub fn new(protocol: Protocol) -> Evaluation {
        Evaluation {
            protocol,
            n: 0,
            seed: 0,
            steps: 0,
            guidance: 0.0,
            schedule: Schedule::default(),
            solver: Solver::default(),
            guidance_from: 0.0,
            guidance_to: 0.0,
            drop_text: [false; 3],
            noise_scale: 0.0,
        }
    }
}

struct EvalState<F> {
    progress: F,
    panic: Arc<PanicSlot>,
}

unsafe extern "C" fn on_progress<F>(user: *mut c_void, done: u32, total: u32) -> i32
where
    F: FnMut(u32, u32) -> ControlFlow<()>,
{
    // Safety: `user` is the state that evaluate_with() holds; one call at a time.
    let state = unsafe { &mut *(user as *mut EvalState<F>) };
    let progress = &mut state.progress;
    state.panic.catch(1, || answer(progress(done, total)))
}

impl Pipeline {
    /// Measure this pipeline in the toybox.
    pub fn evaluate(&self, ctx: &mut Context, evaluation: &Evaluation) -> Result<Report> {
        self.evaluate_with(ctx, evaluation, |_, _| ControlFlow::Continue(()))
    }

    /// The same of [`Protocol::Tae`] or [`Protocol::Frechet`], with the samples of a dataset (`n` 0 =
    /// all) instead of the toybox's.
    pub fn evaluate_on<F>(
        &self,
        ctx: &mut Context,
        evaluation: &Evaluation,
        dataset: &mut Dataset,
        progress: F,
    ) -> Result<Report>
    where
        F: FnMut(u32, u32) -> ControlFlow<()> + Send,
    {
        self.measure(ctx, evaluation, Some(dataset), progress)
    }

    /// The same; `progress` is called after each batch with the clips done and all; `Break`
    /// cancels.
    pub fn evaluate_with<F>(
        &self,
        ctx: &mut Context,
        evaluation: &Evaluation,
        progress: F,
    ) -> Result<Report>
    where
        F: FnMut(u32, u32) -> ControlFlow<()> + Send,
    {
        self.measure(ctx, evaluation, None, progress)
    }

    fn measure<F>(
        &self,
        ctx: &mut Context,
        evaluation: &Evaluation,
        dataset: Option<&mut Dataset>,
        progress: F,
    ) -> Result<Report>
    where
        F: FnMut(u32, u32) -> ControlFlow<()> + Send,
    {
        let protocol = match evaluation.protocol {
            Protocol::Tae => "tae\0",
            Protocol::Alignment => "alignment\0",
            Protocol::Frechet => "frechet\0",
            Protocol::Upsample => "upsample\0",
            Protocol::Edit => "edit\0",
            Protocol::Sound => "sound\0",
            Protocol::Personalize => "personalize\0",
            Protocol::Rewrite => "rewrite\0",
            Protocol::Curate => "curate\0",
        };
        let (raw_ctx, mut report) = (ctx.enter(), ptr::null_mut());
        let mut state = EvalState {
            progress,
            panic: ctx.panic.clone(),
        };
        let params = sys::mgen_eval_params {
            n: evaluation.n,
            protocol: protocol.as_ptr().cast(),
            seed: evaluation.seed,
            steps: evaluation.steps,
            guidance: evaluation.guidance,
            schedule: evaluation.schedule.number(),
            solver: evaluation.solver.number(),
            guidance_from: evaluation.guidance_from,
            guidance_to: evaluation.guidance_to,
            drop_text: bits(evaluation.drop_text),
            noise_scale: evaluation.noise_scale,
            dataset: dataset
                .as_ref()
                .map_or(ptr::null_mut(), |dataset| dataset.as_raw()),
            on_progress: Some(on_progress::<F>),
            user: &mut state as *mut EvalState<F> as *mut c_void,
            ..Default::default()
        };
        // Safety: all pointers live during the call; the report is ours.
        let (status, report) = unsafe {
            let status = sys::mgen_evaluate(raw_ctx, &self.to_raw(Some(ctx)), &params, &mut report);
            (status, Report::take(report))
        };
        match dataset {
            Some(dataset) => dataset.outcome().check(ctx, status),
            None => ctx.check(status),
        }
        .map(|()| report)
    }
}

/// How raw films are curated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Curation<'a> {
    /// "report" (none means it), "toybox", or the path of a file of thresholds.
    pub rules: Option<&'a Path>,
    /// The list of clips, a line of JSON each; none: clips.jsonl in the folder, where
    /// [`Dataset::open`](crate::Dataset::open) finds it.
    pub out: Option<&'a Path>,
}

/// Find the clips of a folder's films that are worth training on. The report says how many films and
/// clips are left after each step; that none is left is an error, although the list is written. What
/// an earlier call that was ended has watched is not watched again. `progress` is called after each film with the films done and
/// all; `Break` cancels.
pub fn curate<F>(ctx: &mut Context, dir: &Path, how: &Curation<'_>, progress: F) -> Result<Report>
where
    F: FnMut(u32, u32) -> ControlFlow<()> + Send,
{
    let dir = c_path(dir)?;
    let rules = how.rules.map(c_path).transpose()?;
    let out = how.out.map(c_path).transpose()?;
    let (raw_ctx, mut report) = (ctx.enter(), ptr::null_mut());
    let mut state = EvalState {
        progress,
        panic: ctx.panic.clone(),
    };
    let params = sys::mgen_curate_params {
        dir: dir.as_ptr(),
        rules: rules.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
        out: out.as_ref().map_or(ptr::null(), |text| text.as_ptr()),
        on_progress: Some(on_progress::<F>),
        user: &mut state as *mut EvalState<F> as *mut c_void,
        ..Default::default()
    };
    // Safety: all pointers live during the call; the report is ours.
    let (status, report) = unsafe {
        let status = sys::mgen_curate(raw_ctx, &params, &mut report);
        (status, Report::take(report))
    };
    ctx.check(status).map(|()| report)
}

/// The prompts that [`Protocol::Alignment`] asks first, in order.
pub fn toybox_prompts() -> impl Iterator<Item = &'static str> {
    // Safety: constants of the library, NULL past the end.
    (0..).map_while(|i| unsafe { constant(sys::mgen_toybox_prompt(i)) })
}
