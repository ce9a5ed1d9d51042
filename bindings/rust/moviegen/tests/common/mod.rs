// SPDX-License-Identifier: MIT
//! What all tests need: the toybox model, a small recipe, folders that go away.
#![allow(dead_code)]

use moviegen::{Context, Pipeline, Request};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The source tree of the library.
pub fn source() -> PathBuf {
    match std::env::var_os("MOVIEGEN_SOURCE") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.."),
    }
}

pub fn toybox() -> PathBuf {
    source().join("examples/models/toybox")
}

pub fn context() -> Context {
    Context::builder().threads(2).build().unwrap()
}

pub fn pipeline(ctx: &mut Context) -> Pipeline {
    Pipeline::open(ctx, toybox()).unwrap()
}

/// A request that takes little time.
pub fn short(seed: u64) -> Request {
    Request {
        seed,
        steps: 2,
        frames: 9,
        ..Request::new("a red ball rolls left on grass")
    }
}

/// A request that takes long enough to be stopped.
pub fn long() -> Request {
    Request {
        steps: 1000,
        ..Request::new("a blue cube bounces on sand")
    }
}

/// A folder of its own, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "moviegen-rust-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A recipe of two stages, both tiny.
    pub fn recipe(&self) -> PathBuf {
        let path = self.file("recipe.json");
        fs::write(&path, RECIPE).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const RECIPE: &str = r#"{"format": "moviegen-recipe", "version": 1, "stages": [
  {"name": "image", "kind": "autoencoder", "steps": 3, "batch": 2, "frames": 1,
   "tae": {"channels": [2, 4, 4, 8], "latent_channels": 4, "blocks": 1, "temporal": false},
   "mse": 10, "kl": 0.0003, "optimizer": {"lr": 0.001}},
  {"name": "codec", "kind": "audio_codec", "steps": 2, "batch": 1, "frames": 4, "l1": 1,
   "codec": {"strides": [40, 48], "dim": 4, "decoder_dim": 8, "latent_channels": 4,
   "dilations": [1]}, "optimizer": {"lr": 0.001}}]}"#;
