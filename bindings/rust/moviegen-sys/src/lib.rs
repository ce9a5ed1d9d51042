// SPDX-License-Identifier: MIT
//! The C interface of libmoviegen, declared by hand: names and meaning are those of `moviegen.h`,
//! which is also the manual. The crate `moviegen` is the safe interface on top of it.
//!
//! `tests/abi.rs` compares every size, offset and number with the library, and every function with
//! the header.

#![allow(non_camel_case_types)]

mod constants;
mod functions;
mod types;

pub use constants::*;
pub use functions::*;
pub use types::*;
