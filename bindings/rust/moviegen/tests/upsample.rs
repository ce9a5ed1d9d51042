// SPDX-License-Identifier: MIT
//! Upsampling, by a tiny model that is trained first.

mod common;

use common::{context, Folder};
use moviegen::*;
use std::fs;
use std::ops::ControlFlow::{Break, Continue};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

const RECIPE: &str = r#"{"format": "moviegen-recipe", "version": 1, "stages": [
  {"name": "tae", "kind": "autoencoder", "steps": 2, "batch": 1, "frames": 8,
   "tae": {"channels": [4, 4, 4, 8], "latent_channels": 4, "blocks": 1, "temporal": true},
   "mse": 10, "kl": 0.0003, "optimizer": {"lr": 0.001}},
  {"name": "video", "kind": "text_to_video", "steps": 1, "batch": 1, "clips": 1, "tae": "tae",
   "text_encoder": {"vocab": 259, "dim": 16, "layers": 1, "heads": 2, "head_dim": 8, "ff_dim": 16,
    "tokens_max": 64},
   "video_model": {"layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "patch": [1, 2, 2],
    "frames_max": 4, "rows_max": 4, "columns_max": 4, "text_dim": 16}, "optimizer": {"lr": 0.001}},
  {"name": "upsampler", "kind": "upsampler", "steps": 4, "batch": 1, "clips": 1, "tae": "tae",
   "world": {"scale": 2}, "buckets": [{"width": 128, "height": 128, "frames": 2}],
   "text_encoders": {"ul2": {"from": "text_encoder", "frozen": true}},
   "upsampler": {"factor": 2, "frames": 6, "overlap": 2, "steps": 3, "transformer": {
    "layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "condition_channels": 4,
    "patch": [1, 2, 2], "frames_max": 6, "rows_max": 8, "columns_max": 8, "text_dim": 16, "guidance": 2}},
   "optimizer": {"lr": 0.02, "ema": 0.5}}]}"#;

fn tiny(ctx: &mut Context) -> Pipeline {
    let folder = Folder::new();
    let recipe = folder.file("recipe.json");
    fs::write(&recipe, RECIPE).unwrap();
    for stage in ["tae", "video", "upsampler"] {
        let params = TrainerParams::new(&recipe, stage, &folder.0);
        let mut trainer = Trainer::new(ctx, &params).unwrap();
        trainer.run(0).unwrap();
        trainer.save().unwrap();
    }
    let pipeline = Pipeline::open(ctx, &folder.0).unwrap();
    let alone = Upsampler::open(ctx, &folder.0, "upsampler").unwrap();
    assert_eq!(alone.info(), pipeline.upsampler.as_ref().unwrap().info());
    pipeline
}

fn small(ctx: &mut Context) -> Clip {
    let info = ClipInfo {
        width: 24,
        height: 16,
        frames: 8,
        fps_num: 25,
        fps_den: 2,
    };
    let mut clip = Clip::new(ctx, &info).unwrap();
    for (i, byte) in clip.pixels_mut().iter_mut().enumerate() {
        *byte = (i * 7 % 200) as u8;
    }
    clip
}

#[test]
fn a_clip_is_made_larger() {
    let mut ctx = context();
    let pipeline = tiny(&mut ctx);
    let clip = small(&mut ctx);
    let info = pipeline.upsampler.as_ref().unwrap().info();
    assert_eq!((info.upsampling, info.channels, info.guidance), (2, 4, 2.0));
    assert_eq!(pipeline.video.as_ref().unwrap().info().upsampling, 0);
    let plain = Request::default();
    let estimate = pipeline.estimate_upsample(&mut ctx, &clip, &plain).unwrap();
    assert_eq!(
        (estimate.width, estimate.height, estimate.frames),
        (48, 32, 8)
    );
    let mut large = |request: &Request| {
        let hooks = Hooks::new();
        pipeline.upsample(&mut ctx, &clip, request, hooks).unwrap()
    };
    let first = large(&plain);
    let size = first.info();
    assert_eq!((size.width, size.height, size.frames), (48, 32, 8));
    assert_eq!((size.fps_num, size.fps_den), (25, 2));
    let same = Request {
        steps: 3,
        guidance: 2.0,
        frames: 8,
        ..Request::default()
    };
    assert!(large(&same).pixels() == first.pixels());
    assert!(large(&Request::new("a red ball")).pixels() != first.pixels());
    let odd = Request {
        width: 33,
        height: 21,
        ..Request::default()
    };
    assert_eq!(large(&odd).info().width, 33);
    let job = pipeline
        .start_upsample(&mut ctx, clip, &plain, Hooks::new())
        .unwrap();
    assert!(job.finish().unwrap().pixels() == first.pixels());
}

#[test]
fn its_ends() {
    let mut ctx = context();
    let mut pipeline = tiny(&mut ctx);
    let clip = small(&mut ctx);
    let hash = pipeline.weights_hash();
    let steps = Arc::new(AtomicU32::new(0));
    let count = steps.clone();
    let hooks = Hooks::new().progress(move |done, total| {
        assert_eq!(total, 3);
        count.store(done, Ordering::Relaxed);
        Continue(())
    });
    let plain = Request::default();
    pipeline.upsample(&mut ctx, &clip, &plain, hooks).unwrap();
    assert_eq!(steps.load(Ordering::Relaxed), 3);
    let hooks = Hooks::new().progress(|_, _| Break(()));
    let error = pipeline.upsample(&mut ctx, &clip, &plain, hooks);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
    let large = Request {
        width: 400,
        ..Request::default()
    };
    let error = pipeline.estimate_upsample(&mut ctx, &clip, &large);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
    // A job that is leaked has its clip until the context's next call.
    let long = Request {
        steps: 1000,
        ..Request::default()
    };
    let leaked = small(&mut ctx);
    let job = pipeline.start_upsample(&mut ctx, leaked, &long, Hooks::new());
    std::mem::forget(job.unwrap());
    ctx.trim();
    let job = pipeline.start_upsample(&mut ctx, clip, &long, Hooks::new());
    drop(job.unwrap());
    pipeline.upsampler = None;
    assert_ne!(pipeline.weights_hash(), hash);
    let clip = small(&mut ctx);
    let error = pipeline.upsample(&mut ctx, &clip, &plain, Hooks::new());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::State);
}
