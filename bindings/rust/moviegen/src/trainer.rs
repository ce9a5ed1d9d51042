// SPDX-License-Identifier: MIT
//! Trainers: one stage of a recipe under way.

use crate::context::Child;
use crate::dataset::Outcome;
use crate::raw::{answer, c_path, c_text, PanicSlot, Shared};
use crate::{Context, Dataset, Error, ErrorKind, Memory, Report, Result};
use moviegen_sys as sys;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ops::ControlFlow;
use std::os::raw::c_void;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

/// What a trainer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainerParams {
    /// Path of the recipe, a JSON file.
    pub recipe: PathBuf,
    /// Name of one of its stages.
    pub stage: String,
    /// Model folder: earlier stages are read from it, this one is saved to it; made if missing.
    pub dir: PathBuf,
    /// Of initial weights, noise and the order of the data.
    pub seed: u64,
    /// A checkpoint to go on from; None = from the beginning.
    pub resume: Option<PathBuf>,
}

impl TrainerParams {
    /// From the beginning, with seed 0.
    pub fn new(
        recipe: impl AsRef<Path>,
        stage: impl Into<String>,
        dir: impl AsRef<Path>,
    ) -> TrainerParams {
        TrainerParams {
            recipe: recipe.as_ref().into(),
            stage: stage.into(),
            dir: dir.as_ref().into(),
            seed: 0,
            resume: None,
        }
    }
}

type OnStep<'a> = dyn FnMut(u64, &Report) -> ControlFlow<()> + 'a;

/// What the library gets as `user`: the closure of the run under way.
struct Step {
    closure: Cell<Option<*mut OnStep<'static>>>,
    panic: Arc<PanicSlot>,
}

unsafe extern "C" fn on_step(user: *mut c_void, step: u64, report: *const sys::mgen_report) -> i32 {
    // Safety: `user` is the step of a trainer that lives.
    let this = unsafe { &*(user as *const Step) };
    match this.closure.get() {
        // Safety: run_with() waits for this call with the closure in its hands; the report lives
        // during the call.
        Some(closure) => this.panic.catch(1, || unsafe {
            answer((*closure)(step, &Report::copy(report)))
        }),
        None => 0,
    }
}

/// The trainer as its context holds it.
pub(crate) struct TrainerState {
    raw: Arc<Shared<sys::mgen_trainer>>,
    step: *mut Step,
    outcome: Option<Arc<Outcome>>,
}

impl Drop for TrainerState {
    fn drop(&mut self) {
        let raw = self.raw.take();
        // Safety: the trainer is ours; nobody calls back after it.
        unsafe {
            sys::mgen_trainer_destroy(raw);
            drop(Box::from_raw(self.step));
        }
    }
}

/// One stage of a recipe under way. It has its context, and its dataset, until it is dropped; what
/// was not saved is lost then. Where the context is one of several ranks ([`Context::join`]), all of
/// them train together, and a stop of one is one of all.
///
/// ```no_run
/// # use moviegen::*;
/// # use std::ops::ControlFlow;
/// # fn f(ctx: &mut Context) -> Result<()> {
/// let mut trainer = Trainer::new(ctx, &TrainerParams::new("recipe.json", "tae", "model"))?;
/// trainer.run_with(0, |step, report| {
///     println!("{step}: {:?}", report.get("loss"));
///     ControlFlow::Continue(())
/// })?;
/// trainer.save()
/// # }
/// ```
///
/// The dataset cannot be read by others meanwhile:
///
/// ```compile_fail,E0499
/// # use moviegen::*;
/// # fn f(ctx: &mut Context, other: &mut Context, data: &mut Dataset, params: &TrainerParams) -> Result<()> {
/// let mut trainer = Trainer::with_dataset(ctx, params, data)?;
/// data.read(other, 0)?;
/// trainer.save()
/// # }
/// ```
pub struct Trainer<'a> {
    ctx: &'a mut Context,
    dataset: PhantomData<&'a mut Dataset>,
}

impl<'a> Trainer<'a> {
    /// Begin a stage, or go on with it, on the toybox of the seed.
    pub fn new(ctx: &'a mut Context, params: &TrainerParams) -> Result<Trainer<'a>> {
        Trainer::create(ctx, params, None)
    }

    /// The same on a dataset of the caller's.
    pub fn with_dataset(
        ctx: &'a mut Context,
        params: &TrainerParams,
        dataset: &'a mut Dataset,
    ) -> Result<Trainer<'a>> {
        Trainer::create(ctx, params, Some(dataset))
    }

    fn create(
        ctx: &'a mut Context,
        params: &TrainerParams,
        dataset: Option<&'a mut Dataset>,
    ) -> Result<Self> {
        let (recipe, dir) = (c_path(&params.recipe)?, c_path(&params.dir)?);
        let stage = c_text("the stage", &params.stage)?;
        let resume = params.resume.as_deref().map(c_path).transpose()?;
        let raw_ctx = ctx.enter();
        let step = Box::into_raw(Box::new(Step {
            closure: Cell::new(None),
            panic: ctx.panic.clone(),
        }));
        let raw_params = sys::mgen_trainer_params {
            recipe: recipe.as_ptr(),
            stage: stage.as_ptr(),
            dir: dir.as_ptr(),
            seed: params.seed,
            dataset: dataset
                .as_ref()
                .map_or(ptr::null_mut(), |dataset| dataset.as_raw()),
            resume: resume.as_ref().map_or(ptr::null(), |path| path.as_ptr()),
            on_step: Some(on_step),
            user: step as *mut c_void,
            mesh: ctx.mesh.get(),
            ..Default::default()
        };
        let mut raw = ptr::null_mut();
        // Safety: all pointers live during the call, the step until the trainer is destroyed.
        let status = unsafe { sys::mgen_trainer_create(raw_ctx, &raw_params, &mut raw) };
        let outcome = dataset.map(|dataset| dataset.outcome());
        // Frees the step if there is no trainer.
        let state = TrainerState {
            raw: Arc::new(Shared::new(raw)),
            step,
            outcome,
        };
        Trainer::check_state(ctx, &state, status)?;
        if raw.is_null() {
            return Err(Error::new(
                ErrorKind::Internal,
                "the library gave no trainer",
            ));
        }
        ctx.child = Child::Trainer(state);
        Ok(Trainer {
            ctx,
            dataset: PhantomData,
        })
    }

    fn check_state(ctx: &Context, state: &TrainerState, status: sys::mgen_status) -> Result<()> {
        match &state.outcome {
            Some(outcome) => outcome.check(ctx, status),
            None => ctx.check(status),
        }
    }

    fn state(&self) -> &TrainerState {
        match &self.ctx.child {
            Child::Trainer(state) => state,
            _ => unreachable!("the context is borrowed by its trainer"),
        }
    }

    fn raw(&self) -> *mut sys::mgen_trainer {
        self.state().raw.get()
    }

    fn check(&self, status: sys::mgen_status) -> Result<()> {
        Trainer::check_state(self.ctx, self.state(), status)
    }

    /// Steps that the stage takes in all.
    pub fn steps(&self) -> u64 {
        // Safety: the trainer lives.
        unsafe { sys::mgen_trainer_steps(self.raw()) }
    }

    /// Steps taken so far.
    pub fn position(&self) -> u64 {
        // Safety: the trainer lives.
        unsafe { sys::mgen_trainer_position(self.raw()) }
    }

    /// Take one optimizer step. The report holds step, loss and its parts, gradient norm, learning
    /// rate, now and then validation figures, and flops. The same step can be taken again after a
    /// failure.
    pub fn step(&mut self) -> Result<Report> {
        let mut report = ptr::null_mut();
        // Safety: all pointers live during the call; the report is ours.
        let (status, report) = unsafe {
            let status = sys::mgen_trainer_step(self.raw(), &mut report);
            (status, Report::take(report))
        };
        self.check(status).map(|()| report)
    }

    /// Take up to `steps` steps, 0 = all that are left. A stop is [`ErrorKind::Cancelled`]: all
    /// steps begun are taken, and the next run goes on.
    pub fn run(&mut self, steps: u64) -> Result<()> {
        // Safety: the trainer lives.
        let status = unsafe { sys::mgen_trainer_run(self.raw(), steps) };
        self.check(status)
    }

    /// The same; `on_step` is called after each step, and may stop with `Break`.
    pub fn run_with<F>(&mut self, steps: u64, mut on_step: F) -> Result<()>
    where
        F: FnMut(u64, &Report) -> ControlFlow<()>,
    {
        let closure: *mut OnStep<'_> = &mut on_step;
        // Safety: only the lifetime changes; the pointer is taken back before the closure goes.
        let closure = unsafe { mem::transmute::<*mut OnStep<'_>, *mut OnStep<'static>>(closure) };
        let step = self.state().step;
        // Safety: the step lives as long as the trainer, and only this thread uses it. C code does
        // not unwind.
        let status = unsafe {
            (*step).closure.set(Some(closure));
            let status = sys::mgen_trainer_run(self.raw(), steps);
            (*step).closure.set(None);
            status
        };
        self.check(status)
    }

    /// A handle that other threads and callbacks may keep.
    pub fn stopper(&self) -> TrainerStopper {
        TrainerStopper(self.state().raw.clone())
    }

    /// Write all that is needed to go on from here, with the same bits as without a break, to a
    /// file.
    pub fn checkpoint(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path.as_ref())?;
        // Safety: all pointers live during the call.
        let status = unsafe { sys::mgen_trainer_checkpoint(self.raw(), path.as_ptr()) };
        self.check(status)
    }

    /// Write the averaged weights and their configuration to the model folder.
    pub fn save(&mut self) -> Result<()> {
        // Safety: the trainer lives.
        let status = unsafe { sys::mgen_trainer_save(self.raw()) };
        self.check(status)
    }

    /// Host bytes held by the context.
    pub fn memory(&self) -> Memory {
        self.ctx.memory()
    }
}

impl Drop for Trainer<'_> {
    fn drop(&mut self) {
        self.ctx.enter();
    }
}

impl fmt::Debug for Trainer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trainer")
            .field("position", &self.position())
            .field("steps", &self.steps())
            .finish_non_exhaustive()
    }
}

/// Stops a trainer and tells how far it is, from any thread. `Send`, `Sync`, and harmless when the
/// trainer is gone.
#[derive(Clone)]
pub struct TrainerStopper(Arc<Shared<sys::mgen_trainer>>);

impl TrainerStopper {
    /// Let [`Trainer::run`] end after the step under way.
    pub fn stop(&self) {
        // Safety: any thread may stop a trainer that lives.
        self.0
            .with(|trainer| unsafe { sys::mgen_trainer_stop(trainer) });
    }

    /// Steps taken so far; None when the trainer is gone.
    pub fn position(&self) -> Option<u64> {
        // Safety: any thread may ask a trainer that lives.
        self.0
            .with(|trainer| unsafe { sys::mgen_trainer_position(trainer) })
    }
}

impl fmt::Debug for TrainerStopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrainerStopper")
            .field(&self.position())
            .finish()
    }
}
