// SPDX-License-Identifier: MIT
//! What all modules need between Rust and C: texts, shared handles, caught panics.

use crate::{Error, Result};
use std::any::Any;
use std::ffi::{CStr, CString};
use std::mem;
use std::ops::ControlFlow;
use std::os::raw::c_char;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A text for the library.
pub(crate) fn c_text(what: &str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid(format!("{what} holds a NUL byte; remove it")))
}

/// A path for the library, which takes UTF-8.
pub(crate) fn c_path(path: &Path) -> Result<CString> {
    let text = path.to_str().ok_or_else(|| {
        Error::invalid(format!(
            "the path {} is not UTF-8; rename it",
            path.display()
        ))
    })?;
    c_text("the path", text)
}

/// A copy of a text of the library.
///
/// # Safety
/// `text` is NULL or ends with a NUL.
pub(crate) unsafe fn copied(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // Safety: the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// A text that lives as long as the library.
///
/// # Safety
/// `text` is NULL or a constant of the library.
pub(crate) unsafe fn constant(text: *const c_char) -> Option<&'static str> {
    if text.is_null() {
        return None;
    }
    // Safety: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_str().ok()
}

/// Room of `count` values, without an abort where there is no memory.
pub(crate) fn room<T: Clone + Default>(count: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values
        .try_reserve_exact(count)
        .map_err(|_| Error::no_memory(format!("{count} values do not fit into memory")))?;
    values.resize(count, T::default());
    Ok(values)
}

/// What a callback answers to the library.
pub(crate) fn answer(flow: ControlFlow<()>) -> i32 {
    flow.is_break() as i32
}

/// A handle that other threads may use as long as it lives.
pub(crate) struct Shared<T>(Mutex<*mut T>);

// Safety: used only for calls marked "any thread", under the lock.
unsafe impl<T> Send for Shared<T> {}
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub fn new(handle: *mut T) -> Self {
        Shared(Mutex::new(handle))
    }

    /// The handle, for the thread that owns it.
    pub fn get(&self) -> *mut T {
        *lock(&self.0)
    }

    /// Take the handle away from the other threads.
    pub fn take(&self) -> *mut T {
        mem::replace(&mut *lock(&self.0), ptr::null_mut())
    }

    /// Call `f` with the handle, which stays alive meanwhile; None if it is gone.
    pub fn with<R>(&self, f: impl FnOnce(*mut T) -> R) -> Option<R> {
        let handle = lock(&self.0);
        if handle.is_null() {
            None
        } else {
            Some(f(*handle))
        }
    }
}

/// Keeps the first panic of a callback until the caller can be told.
#[derive(Default)]
pub(crate) struct PanicSlot(Mutex<Option<Box<dyn Any + Send>>>);

impl PanicSlot {
    /// Run a callback; `after_panic` is the answer if it panics.
    pub fn catch<R>(&self, after_panic: R, callback: impl FnOnce() -> R) -> R {
        match catch_unwind(AssertUnwindSafe(callback)) {
            Ok(answer) => answer,
            Err(payload) => {
                let mut slot = lock(&self.0);
                if slot.is_none() {
                    *slot = Some(payload);
                } else {
                    // Not dropped: that could panic once more, now into C.
                    mem::forget(payload);
                }
                after_panic
            }
        }
    }

    /// Go on with the panic that was caught, if there is one.
    pub fn resume(&self) {
        let payload = lock(&self.0).take();
        if let Some(payload) = payload {
            resume_unwind(payload);
        }
    }
}
