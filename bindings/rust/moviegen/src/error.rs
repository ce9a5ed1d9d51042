// SPDX-License-Identifier: MIT
//! Errors: the library's status, its sentence and, from callbacks, their own error.

use crate::raw::constant;
use moviegen_sys as sys;
use std::error::Error as StdError;
use std::fmt;

/// Result of this crate's calls.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $status:ident;)*) => {
        /// What went wrong: one for each status of the library.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $kind,)*
            /// A status that this crate does not know.
            Unknown,
        }

        impl ErrorKind {
            /// The kind of a status.
            fn of(status: sys::mgen_status) -> ErrorKind {
                match status {
                    $(sys::$status => ErrorKind::$kind,)*
                    _ => ErrorKind::Unknown,
                }
            }

            /// The number in the C interface.
            pub fn status(self) -> i32 {
                match self {
                    $(ErrorKind::$kind => sys::$status,)*
                    ErrorKind::Unknown => sys::MGEN_E_INTERNAL,
                }
            }
        }
    };
}

kinds! {
    /// An argument is out of range or malformed.
    Invalid = MGEN_E_INVALID;
    /// Not now: the object is busy, failed, or lacks a part.
    State = MGEN_E_STATE;
    /// Legal, but not by this build, machine or model.
    Unsupported = MGEN_E_UNSUPPORTED;
    /// The struct or file is newer than the library.
    Version = MGEN_E_VERSION;
    /// The allocator or the system gave no memory.
    NoMemory = MGEN_E_NO_MEMORY;
    /// Would pass a limit that the context set.
    Limit = MGEN_E_LIMIT;
    /// No such file or folder.
    NotFound = MGEN_E_NOT_FOUND;
    /// The system reported an error while reading or writing.
    Io = MGEN_E_IO;
    /// The file breaks the rules of its format.
    Corrupt = MGEN_E_CORRUPT;
    /// The disk is full.
    NoSpace = MGEN_E_NO_SPACE;
    /// A device call failed; the context is usable.
    Device = MGEN_E_DEVICE;
    /// The device is gone: drop the context.
    DeviceLost = MGEN_E_DEVICE_LOST;
    /// Not-a-number or infinity where none may be.
    Numeric = MGEN_E_NUMERIC;
    /// Another rank is gone.
    PeerLost = MGEN_E_PEER_LOST;
    /// The time given ran out; the work goes on.
    Timeout = MGEN_E_TIMEOUT;
    /// Ranks made different calls.
    Desync = MGEN_E_DESYNC;
    /// A cancel, a stop or a callback asked to end.
    Cancelled = MGEN_E_CANCELLED;
    /// Not finished yet.
    Again = MGEN_E_AGAIN;
    /// A bug in the library; please report the message.
    Internal = MGEN_E_INTERNAL;
}

/// What an error says about the object that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The caller's mistake: nothing changed.
    Unchanged,
    /// This call failed and the object is usable: remove the cause and call again.
    Failed,
    /// The object failed: only drop it.
    Dead,
}

/// A call that failed: its kind, one sentence that says what, where and what to do, and the error
/// of the callback that was the cause, if one was. `{:?}`, which is what Rust prints of an error that
/// `main` returns, is that sentence with the status by name.
pub struct Error {
    status: sys::mgen_status,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with a text of your own, for callbacks.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error {
            status: kind.status(),
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn from_status(status: sys::mgen_status, message: String) -> Error {
        let mut error = Error {
            status,
            message,
            source: None,
        };
        if error.message.is_empty() {
            error.message = error.name().to_string();
        }
        error
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn no_memory(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::NoMemory, message)
    }

    pub(crate) fn with_source(mut self, source: Option<Box<dyn StdError + Send + Sync>>) -> Error {
        self.source = source;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::of(self.status)
    }

    /// The number in the C interface.
    pub fn status(&self) -> i32 {
        self.status
    }

    /// The name in the C interface, such as "MGEN_E_INVALID".
    pub fn name(&self) -> &'static str {
        // Safety: a constant of the library for any number.
        unsafe { constant(sys::mgen_status_name(self.status)) }.unwrap_or("")
    }

    /// What it says about the object that was used.
    pub fn class(&self) -> ErrorClass {
        // Safety: any number is fine.
        match unsafe { sys::mgen_status_class(self.status) } {
            sys::MGEN_CLASS_UNCHANGED => ErrorClass::Unchanged,
            sys::MGEN_CLASS_DEAD => ErrorClass::Dead,
            _ => ErrorClass::Failed,
        }
    }

    /// One sentence: what, where, and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.message, self.name())?;
        if let Some(source) = &self.source {
            write!(f, ", from {:?}", source)?;
        }
        f.write_str(")")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
