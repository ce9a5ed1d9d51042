// SPDX-License-Identifier: MIT
//! Reports: named numbers.

use crate::raw::copied;
use moviegen_sys as sys;

/// A list of named numbers, in the library's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    entries: Vec<(String, f64)>,
}

impl Report {
    /// Copy a report of the library.
    ///
    /// # Safety
    /// `raw` is NULL or a report that lives during the call.
    pub(crate) unsafe fn copy(raw: *const sys::mgen_report) -> Report {
        // Safety: the caller's promise; names end with a NUL.
        unsafe {
            let count = sys::mgen_report_count(raw);
            let entry = |i| {
                (
                    copied(sys::mgen_report_name(raw, i)),
                    sys::mgen_report_value(raw, i),
                )
            };
            Report {
                entries: (0..count).map(entry).collect(),
            }
        }
    }

    /// Copy a report that belongs to this crate, and free it.
    ///
    /// # Safety
    /// `raw` is NULL or a report that nobody else frees.
    pub(crate) unsafe fn take(raw: *mut sys::mgen_report) -> Report {
        // Safety: the caller's promise.
        unsafe {
            let report = Report::copy(raw);
            sys::mgen_report_destroy(raw);
            report
        }
    }

    /// The number of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.iter()
            .find(|(entry, _)| *entry == name)
            .map(|(_, value)| value)
    }

    /// Names and numbers, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, f64)> + '_ {
        self.entries
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
