// SPDX-License-Identifier: MIT
//! Editing, by a tiny model that is trained first.

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
  {"name": "editor", "kind": "editor", "steps": 6, "batch": 2, "clips": 2, "tae": "tae",
   "text_encoders": {"ul2": {"from": "text_encoder", "frozen": true}},
   "editor": {"steps": 3, "source_guidance": 2, "transformer": {
    "layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "condition_channels": 4,
    "tasks": 8, "task_dim": 8, "patch": [1, 2, 2], "frames_max": 4, "rows_max": 4, "columns_max": 4,
    "text_dim": 16, "guidance": 3}},
   "optimizer": {"lr": 0.05, "ema": 0.5}}]}"#;

fn tiny(ctx: &mut Context) -> Pipeline {
    let folder = Folder::new();
    let recipe = folder.file("recipe.json");
    fs::write(&recipe, RECIPE).unwrap();
    for stage in ["tae", "video", "editor"] {
        let params = TrainerParams::new(&recipe, stage, &folder.0);
        let mut trainer = Trainer::new(ctx, &params).unwrap();
        trainer.run(0).unwrap();
        trainer.save().unwrap();
    }
    let pipeline = Pipeline::open(ctx, &folder.0).unwrap();
    let alone = Editor::open(ctx, &folder.0, "editor").unwrap();
    assert_eq!(alone.info(), pipeline.editor.as_ref().unwrap().info());
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

fn instruction() -> Request {
    Request::new("make the ball blue")
}

#[test]
fn a_clip_is_edited() {
    let mut ctx = context();
    let pipeline = tiny(&mut ctx);
    let clip = small(&mut ctx);
    let info = pipeline.editor.as_ref().unwrap().info();
    assert_eq!((info.tasks, info.channels, info.guidance), (8, 4, 3.0));
    assert_eq!(info.source_guidance, 2.0);
    assert_eq!(pipeline.video.as_ref().unwrap().info().tasks, 0);
    let plain = instruction();
    let estimate = pipeline.estimate_edit(&mut ctx, &clip, &plain).unwrap();
    assert_eq!(
        (estimate.width, estimate.height, estimate.frames),
        (24, 16, 8)
    );
    assert!(estimate.host_bytes > 0 && estimate.flops > 0.0);
    let mut edited = |request: &Request| {
        let hooks = Hooks::new();
        pipeline.edit(&mut ctx, &clip, request, hooks).unwrap()
    };
    let first = edited(&plain);
    let size = first.info();
    assert_eq!((size.width, size.height, size.frames), (24, 16, 8));
    assert_eq!((size.fps_num, size.fps_den), (25, 2));
    let same = Request {
        steps: 3,
        guidance: 3.0,
        source_guidance: 2.0,
        task: EditTask::Local,
        frames: 8,
        ..instruction()
    };
    assert!(edited(&same).pixels() == first.pixels());
    for task in [
        EditTask::Style,
        EditTask::Background,
        EditTask::Removal,
        EditTask::Addition,
        EditTask::Texture,
        EditTask::Segmentation,
    ] {
        let other = Request {
            task,
            ..instruction()
        };
        assert!(edited(&other).pixels() != first.pixels(), "{task:?}");
    }
    let removal = Request::new("remove the ball");
    let told = Request {
        task: EditTask::Removal,
        ..removal.clone()
    };
    assert!(edited(&removal).pixels() == edited(&told).pixels());
    let unguided = Request {
        source_guidance: 1.0,
        ..instruction()
    };
    assert!(edited(&unguided).pixels() != first.pixels());
    let odd = Request {
        width: 33,
        height: 21,
        ..instruction()
    };
    assert_eq!(edited(&odd).info().width, 33);
    let job = pipeline
        .start_edit(&mut ctx, clip, &plain, Hooks::new())
        .unwrap();
    assert!(job.finish().unwrap().pixels() == first.pixels());
}

#[test]
fn without_an_editor() {
    let mut ctx = context();
    let mut pipeline = tiny(&mut ctx);
    let clip = small(&mut ctx);
    let begun = Request {
        steps: 5,
        strength: 0.6,
        schedule: Schedule::Linear,
        ..Request::new("a blue ball")
    };
    let mut edited = |pipeline: &Pipeline, request: &Request, hooks: Hooks| {
        pipeline.edit(&mut ctx, &clip, request, hooks)
    };
    let first = edited(&pipeline, &begun, Hooks::new()).unwrap();
    let hash = pipeline.weights_hash();
    pipeline.editor = None;
    assert_ne!(pipeline.weights_hash(), hash);
    let steps = Arc::new(AtomicU32::new(0));
    let count = steps.clone();
    let hooks = Hooks::new().progress(move |done, total| {
        assert_eq!(total, 3);
        count.store(done, Ordering::Relaxed);
        Continue(())
    });
    let again = edited(&pipeline, &begun, hooks).unwrap();
    assert!(again.pixels() == first.pixels());
    assert_eq!(steps.load(Ordering::Relaxed), 3);
    let other = Request {
        strength: 0.4,
        ..begun.clone()
    };
    let other = edited(&pipeline, &other, Hooks::new()).unwrap();
    assert!(other.pixels() != first.pixels());
    let error = edited(&pipeline, &instruction(), Hooks::new());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::State);
    let told = Request {
        task: EditTask::Style,
        ..begun
    };
    let error = edited(&pipeline, &told, Hooks::new());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn its_ends() {
    let mut ctx = context();
    let pipeline = tiny(&mut ctx);
    let clip = small(&mut ctx);
    let hooks = Hooks::new().progress(|_, _| Break(()));
    let error = pipeline.edit(&mut ctx, &clip, &instruction(), hooks);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
    let large = Request {
        width: 400,
        ..instruction()
    };
    let error = pipeline.estimate_edit(&mut ctx, &clip, &large);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
    let error = pipeline.edit(&mut ctx, &clip, &Request::default(), Hooks::new());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    // A job that is leaked has its clip until the context's next call.
    let long = Request {
        steps: 1000,
        ..instruction()
    };
    let leaked = small(&mut ctx);
    let job = pipeline.start_edit(&mut ctx, leaked, &long, Hooks::new());
    std::mem::forget(job.unwrap());
    ctx.trim();
    let job = pipeline.start_edit(&mut ctx, clip, &long, Hooks::new());
    drop(job.unwrap());
}
