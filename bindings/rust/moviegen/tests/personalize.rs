// SPDX-License-Identifier: MIT
//! Films of the person in a photo, by a tiny model that is trained first.

mod common;

use common::{context, Folder};
use moviegen::*;
use std::fs;
use std::ops::ControlFlow::Break;

const RECIPE: &str = r#"{"format": "moviegen-recipe", "version": 1, "stages": [
  {"name": "tae", "kind": "autoencoder", "steps": 2, "batch": 1, "frames": 8,
   "tae": {"channels": [4, 4, 4, 8], "latent_channels": 4, "blocks": 1, "temporal": true},
   "mse": 10, "kl": 0.0003, "optimizer": {"lr": 0.001}},
  {"name": "video", "kind": "text_to_video", "steps": 1, "batch": 1, "clips": 1, "tae": "tae",
   "text_encoder": {"vocab": 259, "dim": 16, "layers": 1, "heads": 2, "head_dim": 8, "ff_dim": 16,
    "tokens_max": 64},
   "video_model": {"layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "patch": [1, 2, 2],
    "frames_max": 4, "rows_max": 4, "columns_max": 4, "text_dim": 16}, "optimizer": {"lr": 0.001}},
  {"name": "personalizer", "kind": "personalizer", "steps": 4, "batch": 2, "clips": 2, "tae": "tae",
   "world": {"people": 1}, "text_encoders": {"ul2": {"from": "text_encoder", "frozen": true}},
   "vision": {"config": {"image": 16, "patch": 8, "dim": 8, "layers": 2, "heads": 2, "ff_dim": 16}},
   "personalizer": {"steps": 3, "source_guidance": 2, "transformer": {
    "layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "reference_width": 8,
    "patch": [1, 2, 2], "frames_max": 4, "rows_max": 4, "columns_max": 4, "text_dim": 16, "guidance": 3}},
   "optimizer": {"lr": 0.05, "ema": 0.5}}]}"#;

fn tiny(ctx: &mut Context) -> Pipeline {
    let folder = Folder::new();
    let recipe = folder.file("recipe.json");
    fs::write(&recipe, RECIPE).unwrap();
    for stage in ["tae", "video", "personalizer"] {
        let params = TrainerParams::new(&recipe, stage, &folder.0);
        let mut trainer = Trainer::new(ctx, &params).unwrap();
        trainer.run(0).unwrap();
        trainer.save().unwrap();
    }
    let pipeline = Pipeline::open(ctx, &folder.0).unwrap();
    let alone = Personalizer::open(ctx, &folder.0, "personalizer").unwrap();
    assert_eq!(alone.info(), pipeline.personalizer.as_ref().unwrap().info());
    pipeline
}

fn photo(ctx: &mut Context, times: usize) -> Clip {
    let info = ClipInfo {
        width: 20,
        height: 24,
        frames: 1,
        fps_num: 1,
        fps_den: 1,
    };
    let mut clip = Clip::new(ctx, &info).unwrap();
    for (i, byte) in clip.pixels_mut().iter_mut().enumerate() {
        *byte = (i * times % 200) as u8;
    }
    clip
}

fn person() -> Request {
    Request {
        width: 32,
        height: 16,
        frames: 9,
        ..Request::new("a smiling person walks left")
    }
}

#[test]
fn a_film_of_the_person_in_a_photo() {
    let mut ctx = context();
    let mut pipeline = tiny(&mut ctx);
    let face = photo(&mut ctx, 7);
    let other = photo(&mut ctx, 11);
    let info = pipeline.personalizer.as_ref().unwrap().info();
    assert_eq!((info.channels, info.guidance), (4, 3.0));
    assert_eq!((info.tasks, info.source_guidance), (0, 2.0));
    let plain = person();
    let estimate = pipeline.estimate_personalize(&mut ctx, &face, &plain);
    let estimate = estimate.unwrap();
    assert_eq!(
        (estimate.width, estimate.height, estimate.frames),
        (32, 16, 9)
    );
    assert!(estimate.host_bytes > 0 && estimate.flops > 0.0);
    let mut made = |face: &Clip, request: &Request| {
        let hooks = Hooks::new();
        pipeline
            .personalize(&mut ctx, face, request, hooks)
            .unwrap()
    };
    let first = made(&face, &plain);
    let size = first.info();
    assert_eq!((size.width, size.height, size.frames), (32, 16, 9));
    assert_eq!((size.fps_num, size.fps_den), (16, 1));
    let same = Request {
        steps: 3,
        guidance: 3.0,
        source_guidance: 2.0,
        ..person()
    };
    assert!(made(&face, &same).pixels() == first.pixels());
    assert!(made(&other, &plain).pixels() != first.pixels());
    let unguided = Request {
        source_guidance: 1.0,
        ..person()
    };
    assert!(made(&face, &unguided).pixels() != first.pixels());
    let job = pipeline
        .start_personalize(&mut ctx, face, &plain, Hooks::new())
        .unwrap();
    assert!(job.finish().unwrap().pixels() == first.pixels());
    let hooks = Hooks::new().progress(|_, _| Break(()));
    let error = pipeline.personalize(&mut ctx, &other, &plain, hooks);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
    let begun = Request {
        strength: 0.5,
        ..person()
    };
    let error = pipeline.estimate_personalize(&mut ctx, &other, &begun);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    let measured = Evaluation {
        n: 1,
        ..Evaluation::new(Protocol::Personalize)
    };
    let report = pipeline.evaluate(&mut ctx, &measured).unwrap();
    for name in [
        "identity",
        "ceiling_identity",
        "control_identity",
        "unseen_identity",
    ] {
        assert!((0.0..=1.0).contains(&report.get(name).unwrap()), "{name}");
    }
    let hash = pipeline.weights_hash();
    pipeline.personalizer = None;
    assert_ne!(pipeline.weights_hash(), hash);
    let error = pipeline.personalize(&mut ctx, &other, &plain, Hooks::new());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::State);
}
