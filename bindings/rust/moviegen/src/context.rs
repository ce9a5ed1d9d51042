// SPDX-License-Identifier: MIT
//! The context: where calls happen.

use crate::job::JobState;
use crate::ranks::{MeshAborter, MeshParams};
use crate::raw::{answer, c_path, c_text, copied, PanicSlot, Shared};
use crate::trainer::TrainerState;
use crate::{Error, ErrorKind, Result};
use moviegen_sys as sys;
use std::cell::UnsafeCell;
use std::ffi::CString;
use std::fmt;
use std::ops::ControlFlow;
use std::os::raw::{c_char, c_void};
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What happens.
    Info,
    /// What happens, in detail.
    Debug,
}

/// Host bytes held by a context and all made from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub now: u64,
    /// At most so far.
    pub peak: u64,
}

/// Where the library gets host memory from.
///
/// # Safety
///
/// `alloc` gives memory of `size` bytes that is aligned to 16 bytes or more and used by nobody else,
/// or NULL.
pub unsafe trait HostAllocator: Sync {
    /// `size` bytes, aligned to 16 bytes or more, or NULL. From any thread. A panic counts as NULL.
    fn alloc(&self, size: usize) -> *mut u8;

    /// Take back what `alloc` gave for the same size. From any thread.
    ///
    /// # Safety
    /// `memory` came from `alloc(size)` and was not freed yet.
    unsafe fn free(&self, memory: *mut u8, size: usize);
}

type Log = Box<dyn Fn(LogLevel, &str) + Send + Sync>;
type Progress = Box<dyn FnMut(&str, u64, u64) -> ControlFlow<()> + Send>;

/// What the library gets as `user`.
struct Callbacks {
    log: Option<Log>,
    progress: UnsafeCell<Option<Progress>>,
    panic: Arc<PanicSlot>,
}

unsafe extern "C" fn on_log(user: *mut c_void, level: i32, text: *const c_char) {
    // Safety: `user` is the Callbacks of a context that lives; only its shared parts are used here.
    let (log, panic) = unsafe {
        let callbacks = user as *const Callbacks;
        (&(*callbacks).log, &(*callbacks).panic)
    };
    let level = match level {
        sys::MGEN_LOG_ERROR => LogLevel::Error,
        sys::MGEN_LOG_WARN => LogLevel::Warn,
        sys::MGEN_LOG_INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    };
    panic.catch((), || {
        if let Some(log) = log {
            // Safety: a text of the library.
            log(level, &unsafe { copied(text) });
        }
    });
}

unsafe extern "C" fn on_progress(
    user: *mut c_void,
    what: *const c_char,
    done: u64,
    total: u64,
) -> i32 {
    // Safety: as above; the closure is called by the thread that uses the context, which has it
    // alone.
    let (progress, panic) = unsafe {
        let callbacks = user as *const Callbacks;
        (&mut *(*callbacks).progress.get(), &(*callbacks).panic)
    };
    panic.catch(1, || match progress {
        // Safety: a text of the library.
        Some(progress) => answer(progress(&unsafe { copied(what) }, done, total)),
        None => 0,
    })
}

unsafe extern "C" fn on_alloc<A: HostAllocator>(user: *mut c_void, size: usize) -> *mut c_void {
    // Safety: `user` is the allocator, which lives for ever.
    let allocator = unsafe { &*(user as *const A) };
    PanicSlot::default().catch(ptr::null_mut(), || allocator.alloc(size)) as *mut c_void
}

unsafe extern "C" fn on_free<A: HostAllocator>(
    user: *mut c_void,
    memory: *mut c_void,
    size: usize,
) {
    // Safety: `user` is the allocator, which lives for ever; the memory came from it.
    let allocator = unsafe { &*(user as *const A) };
    PanicSlot::default().catch((), || unsafe { allocator.free(memory as *mut u8, size) });
}

/// Settings of a context.
///
/// ```no_run
/// # use moviegen::Context;
/// let ctx = Context::builder()
///     .threads(2)
///     .log(|level, text| eprintln!("{level:?}: {text}"))
///     .build()?;
/// # moviegen::Result::Ok(())
/// ```
#[derive(Default)]
pub struct ContextBuilder {
    params: sys::mgen_context_params,
    device: Option<String>,
    kernels: Option<String>,
    cache_dir: Option<PathBuf>,
    plugin_dir: Option<PathBuf>,
    log: Option<Log>,
    progress: Option<Progress>,
}

impl ContextBuilder {
    /// Compute threads, 1..256; 0 = one per available processor.
    pub fn threads(mut self, threads: u32) -> Self {
        self.params.threads = threads;
        self
    }

    /// Bytes on the host, models included; 0 = no limit.
    pub fn host_memory_max(mut self, bytes: u64) -> Self {
        self.params.host_memory_max = bytes;
        self
    }

    /// Bytes on the device; 0 = no limit.
    pub fn device_memory_max(mut self, bytes: u64) -> Self {
        self.params.device_memory_max = bytes;
        self
    }

    /// Where to compute: "cpu"; the best that there is if not called.
    pub fn device(mut self, device: impl Into<String>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// On GPUs, time some ways to do each shape of product and take the fastest: results may then
    /// round differently from run to run, unless `cache_dir` keeps what was chosen.
    pub fn autotune(mut self, on: bool) -> Self {
        self.params.autotune = on.into();
        self
    }

    /// Folder of encoded training clips and of what `autotune` chose, made if missing; no cache if
    /// not called.
    pub fn cache_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.cache_dir = Some(dir.as_ref().into());
        self
    }

    /// Folder of the FFmpeg plug-in; beside the library if not called.
    pub fn plugin_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.plugin_dir = Some(dir.as_ref().into());
        self
    }

    /// Kernel variants allowed, such as "ref,avx2"; for tests.
    pub fn kernels(mut self, variants: impl Into<String>) -> Self {
        self.kernels = Some(variants.into());
        self
    }

    /// Where the library gets host memory from. It is used for as long as anything made from the
    /// context lives, hence `'static`.
    pub fn allocator<A: HostAllocator + 'static>(mut self, allocator: &'static A) -> Self {
        self.params.allocator = sys::mgen_allocator {
            alloc: Some(on_alloc::<A>),
            free: Some(on_free::<A>),
            user: allocator as *const A as *mut c_void,
        };
        self
    }

    /// Called with each line of the log, from any thread.
    pub fn log(mut self, log: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Self {
        self.log = Some(Box::new(log));
        self
    }

    /// Called by calls that take long (opening models, encoding a dataset, evaluating) with what
    /// they do and how far they are (done <= total), from the thread that called; `Break` cancels.
    pub fn progress(
        mut self,
        progress: impl FnMut(&str, u64, u64) -> ControlFlow<()> + Send + 'static,
    ) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Create the context.
    pub fn build(self) -> Result<Context> {
        let device = self
            .device
            .map(|text| c_text("device", &text))
            .transpose()?;
        let kernels = self
            .kernels
            .map(|text| c_text("kernels", &text))
            .transpose()?;
        let cache_dir = self.cache_dir.map(|path| c_path(&path)).transpose()?;
        let plugin_dir = self.plugin_dir.map(|path| c_path(&path)).transpose()?;
        let pointer =
            |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        let mut sentence = [0u8; 512];
        let mut params = self.params;
        params.device = pointer(&device);
        params.kernels = pointer(&kernels);
        params.cache_dir = pointer(&cache_dir);
        params.plugin_dir = pointer(&plugin_dir);
        params.error_text = sentence.as_mut_ptr() as *mut c_char;
        params.error_size = sentence.len() as u64;
        params.log = self.log.is_some().then_some(on_log as _);
        params.progress = self.progress.is_some().then_some(on_progress as _);
        let panic = Arc::new(PanicSlot::default());
        let progress = UnsafeCell::new(self.progress);
        let callbacks = Box::into_raw(Box::new(Callbacks {
            log: self.log,
            progress,
            panic: panic.clone(),
        }));
        params.log_user = callbacks as *mut c_void;
        params.progress_user = callbacks as *mut c_void;
        let mut raw = ptr::null_mut();
        // Safety: every pointer lives during the call, the callbacks until the context is
        // destroyed.
        let status = unsafe { sys::mgen_context_create(&params, &mut raw) };
        if let Some(raw) = NonNull::new(raw) {
            let ctx = Context {
                raw,
                callbacks,
                panic,
                child: Child::None,
                mesh: Arc::new(Shared::new(ptr::null_mut())),
            };
            ctx.panic.resume();
            return Ok(ctx);
        }
        // Safety: there is no context, so nobody else knows them.
        drop(unsafe { Box::from_raw(callbacks) });
        panic.resume();
        let end = sentence
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(sentence.len());
        Err(Error::from_status(
            status,
            String::from_utf8_lossy(&sentence[..end]).into_owned(),
        ))
    }
}

impl fmt::Debug for ContextBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextBuilder")
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

/// The job or trainer that has the context. It belongs to the context, not to the guard that
/// borrows it, so that a guard which is leaked leaves nothing behind that could run on.
pub(crate) enum Child {
    None,
    Job(JobState),
    Trainer(TrainerState),
}

/// Where calls happen: device, threads, memory, callbacks.
///
/// It may be sent to another thread, but not be shared:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<moviegen::Context>();
/// ```
///
/// It may be dropped before models, clips and datasets made from it.
pub struct Context {
    raw: NonNull<sys::mgen_context>,
    callbacks: *mut Callbacks,
    pub(crate) panic: Arc<PanicSlot>,
    pub(crate) child: Child,
    pub(crate) mesh: Arc<Shared<sys::mgen_mesh>>,
}

// Safety: a context may be used by one thread after another; its callbacks are Send.
unsafe impl Send for Context {}

impl Context {
    /// A context with the defaults: all processors, no limits, silent.
    pub fn new() -> Result<Context> {
        Context::builder().build()
    }

    /// Choose settings first.
    pub fn builder() -> ContextBuilder {
        ContextBuilder::default()
    }

    /// The handle, free for a call: a job or trainer that was leaked ends here.
    pub(crate) fn enter(&mut self) -> *mut sys::mgen_context {
        self.child = Child::None;
        self.raw.as_ptr()
    }

    /// Turn the end of a call into a result; a panic of a callback goes on here. No job runs.
    pub(crate) fn check(&self, status: sys::mgen_status) -> Result<()> {
        self.panic.resume();
        if status == sys::MGEN_OK {
            return Ok(());
        }
        // Safety: the sentence is valid until the next call on this context.
        let message = unsafe { copied(sys::mgen_last_error(self.raw.as_ptr())) };
        Err(Error::from_status(status, message))
    }

    /// Become a rank, until the end of the context. From then on its trainers train, and pipelines
    /// that it opens make films, together with those of the other ranks, which make the same calls.
    pub fn join(&mut self, params: &MeshParams<'_>) -> Result<()> {
        if !self.mesh.get().is_null() {
            return Err(Error::new(
                ErrorKind::State,
                "this context is a rank already",
            ));
        }
        let raw = self.enter();
        let (mesh, status) = params.create(raw, &self.panic)?;
        self.mesh = Arc::new(Shared::new(mesh));
        self.check(status)
    }

    /// Which rank this is; 0 where there is one.
    pub fn rank(&self) -> u32 {
        // Safety: the mesh lives as long as the context, or is NULL.
        unsafe { sys::mgen_mesh_rank(self.mesh.get()) }
    }

    /// Ranks in all; 1 where this context has not joined any.
    pub fn ranks(&self) -> u32 {
        // Safety: as above.
        unsafe { sys::mgen_mesh_size(self.mesh.get()) }
    }

    /// Wait for all ranks.
    pub fn barrier(&mut self) -> Result<()> {
        let (_, mesh) = (self.enter(), self.mesh.get());
        if mesh.is_null() {
            return Ok(());
        }
        // Safety: the mesh lives, and nothing else uses the context.
        let status = unsafe { sys::mgen_mesh_barrier(mesh) };
        self.check(status)
    }

    /// What ends the work of all ranks, from any thread. Ask for it after [`Context::join`]: one that
    /// was there before ends nothing.
    pub fn aborter(&self) -> MeshAborter {
        MeshAborter(self.mesh.clone())
    }

    /// Host bytes held by this context and all made from it.
    pub fn memory(&self) -> Memory {
        let mut memory = Memory { now: 0, peak: 0 };
        // Safety: any thread may ask at any time.
        unsafe { sys::mgen_context_memory(self.raw.as_ptr(), &mut memory.now, &mut memory.peak) };
        memory
    }

    /// Give memory that is kept for the next request back to the allocator.
    pub fn trim(&mut self) {
        let raw = self.enter();
        // Safety: the context lives and is ours.
        unsafe { sys::mgen_context_trim(raw) };
    }

    /// One line per op: the kernel variant in use.
    pub fn kernels(&mut self) -> String {
        let raw = self.enter();
        // Safety: the text lives as long as the context.
        unsafe { copied(sys::mgen_context_kernels(raw)) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let raw = self.enter();
        // Safety: nothing that needs the mesh, then the context is left; nobody calls the callbacks
        // after it.
        unsafe {
            sys::mgen_mesh_destroy(self.mesh.take());
            sys::mgen_context_destroy(raw);
            drop(Box::from_raw(self.callbacks));
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}
