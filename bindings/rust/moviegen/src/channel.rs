// SPDX-License-Identifier: MIT
//! A bounded queue between a job's thread and its reader, which either side may close.

use crate::raw::lock;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

pub(crate) struct Channel<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    capacity: usize,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Channel<T> {
    /// Room for `capacity` items, at least one.
    pub fn new(capacity: usize) -> Self {
        Channel {
            state: Mutex::new(State {
                items: VecDeque::new(),
                closed: false,
            }),
            changed: Condvar::new(),
            capacity: capacity.max(1),
        }
    }

    /// Wait for room and put an item in; false if nobody will read it.
    pub fn send(&self, item: T) -> bool {
        let full = |state: &mut State<T>| !state.closed && state.items.len() >= self.capacity;
        let waiting = self.changed.wait_while(lock(&self.state), full);
        let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return false;
        }
        state.items.push_back(item);
        self.changed.notify_all();
        true
    }

    /// Wait for an item, but not longer than `timeout`.
    pub fn receive(&self, timeout: Duration) -> Option<T> {
        let empty = |state: &mut State<T>| !state.closed && state.items.is_empty();
        let waiting = self
            .changed
            .wait_timeout_while(lock(&self.state), timeout, empty);
        let (mut state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        let item = state.items.pop_front();
        self.changed.notify_all();
        item
    }

    /// Send nothing more; what waits in vain to send goes on.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}
