// SPDX-License-Identifier: MIT
//! Tests and examples find a library that is not installed where moviegen-sys found it.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(dir) = env::var("DEP_MOVIEGEN_RPATH") {
        println!("cargo:rustc-link-arg-tests=-Wl,-rpath,{}", dir);
        println!("cargo:rustc-link-arg-examples=-Wl,-rpath,{}", dir);
    }
}
