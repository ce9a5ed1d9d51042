// SPDX-License-Identifier: MIT
//! Finds libmoviegen: in the folder MOVIEGEN_LIB_DIR, else where pkg-config says.

use std::env;
use std::process::{exit, Command};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MOVIEGEN_LIB_DIR");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    println!("cargo:rustc-link-lib=dylib=moviegen");
    if let Some(dir) = env::var_os("MOVIEGEN_LIB_DIR") {
        let dir = dir.to_string_lossy();
        println!("cargo:rustc-link-search=native={}", dir);
        // A library that is not installed is found at run time only if the tests say where it is.
        println!("cargo:rustc-link-arg-tests=-Wl,-rpath,{}", dir);
        println!("cargo:rpath={}", dir);
        return;
    }
    match ["moviegen", "libmoviegen"]
        .iter()
        .find_map(|name| search_folders(name))
    {
        Some(folders) => {
            for folder in folders {
                println!("cargo:rustc-link-search=native={}", folder);
            }
        }
        None => {
            eprintln!(
                "libmoviegen was not found: set MOVIEGEN_LIB_DIR to the folder of libmoviegen.so, \
                 or PKG_CONFIG_PATH to that of its .pc file"
            );
            exit(1);
        }
    }
}

/// The folders after -L in what pkg-config says; none of them for a library where linkers look
/// anyway.
fn search_folders(name: &str) -> Option<Vec<String>> {
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let output = Command::new(program)
        .args(["--libs-only-L", name])
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(
        text.split_whitespace()
            .filter_map(|word| word.strip_prefix("-L"))
            .map(String::from)
            .collect(),
    )
}
