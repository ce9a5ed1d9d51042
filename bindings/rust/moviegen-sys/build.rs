// SPDX-License-Identifier: MIT
//! Finds libmoviegen: in the folder MOVIEGEN_LIB_DIR, else where pkg-config says, else in the folder
//! `build` of the repository that these sources lie in.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{exit, Command};

const LIBRARY: &str = "libmoviegen.so";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MOVIEGEN_LIB_DIR");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    println!("cargo:rustc-link-lib=dylib=moviegen");
    let named = env::var_os("MOVIEGEN_LIB_DIR").filter(|dir| !dir.is_empty());
    if let Some(dir) = named.map(PathBuf::from) {
        if !dir.is_absolute() {
            fail(&format!(
                "MOVIEGEN_LIB_DIR is '{0}', relative to a folder that cargo has left: give the whole \
                 path, such as $PWD/{0}",
                dir.display()
            ));
        }
        if !dir.join(LIBRARY).exists() {
            fail(&format!(
                "there is no {} in '{}', which MOVIEGEN_LIB_DIR names: build it there (meson setup \
                 build; ninja -C build), or name the folder that has it",
                LIBRARY,
                dir.display()
            ));
        }
        use_folder(&dir);
        return;
    }
    let packaged = ["moviegen", "libmoviegen"]
        .iter()
        .find_map(|name| search_folders(name));
    if let Some(folders) = packaged {
        for folder in folders {
            if Path::new(&folder).join(LIBRARY).exists() {
                use_folder(Path::new(&folder));
            } else {
                println!("cargo:rustc-link-search=native={}", folder);
            }
        }
        return;
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let build = sources.ancestors().nth(3).unwrap_or(sources).join("build");
    if !build.join(LIBRARY).exists() {
        fail(&format!(
            "libmoviegen was not found: pkg-config knows no moviegen, and there is no {} in '{}'. Build \
             it there (meson setup build; ninja -C build), or set MOVIEGEN_LIB_DIR to the folder of \
             {0}, or PKG_CONFIG_PATH to that of moviegen.pc",
            LIBRARY,
            build.display()
        ));
    }
    use_folder(&build);
}

/// Links against the library in a folder where no loader looks, and lets it be found at run time:
/// by tests, which are told its path, and by what cargo runs, for which it adds folders of its own
/// to LD_LIBRARY_PATH, to which a link to this one belongs.
fn use_folder(dir: &Path) {
    let mut search = dir.to_path_buf();
    if let Some(out) = env::var_os("OUT_DIR") {
        let link = Path::new(&out).join("library");
        let _ = std::fs::remove_file(&link);
        if std::os::unix::fs::symlink(dir, &link).is_ok() {
            search = link;
        }
    }
    println!("cargo:rustc-link-search=native={}", search.display());
    println!("cargo:rustc-link-arg-tests=-Wl,-rpath,{}", dir.display());
    println!("cargo:rpath={}", dir.display());
}

fn fail(text: &str) -> ! {
    eprintln!("{}", text);
    exit(1);
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
