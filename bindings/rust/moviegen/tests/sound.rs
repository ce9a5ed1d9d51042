// SPDX-License-Identifier: MIT
//! Sounds, and films with them.

mod common;

use common::context;
use moviegen::{
    AudioModel, Clip, ClipInfo, ErrorKind, Extension, Hooks, Pipeline, Sound, SoundInfo,
    SoundRequest, Trainer, TrainerParams,
};
use std::ops::ControlFlow;

fn tone(ctx: &mut moviegen::Context) -> Sound {
    let info = SoundInfo {
        rate: 8000,
        channels: 2,
        samples: 4000,
    };
    let mut sound = Sound::new(ctx, &info).unwrap();
    assert!(sound.samples().iter().all(|&x| x == 0.0));
    for (i, x) in sound.samples_mut().iter_mut().enumerate() {
        *x = 0.5 * ((i / 2) as f32 * 0.3).sin();
    }
    assert_eq!(sound.info(), info);
    sound
}

#[test]
fn a_sound_goes_to_a_file_and_back() {
    let mut ctx = context();
    let sound = tone(&mut ctx);
    let dir = std::env::temp_dir().join(format!("moviegen-sound-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    sound.write(&mut ctx, dir.join("tone.wav")).unwrap();
    let back = Sound::read(&mut ctx, dir.join("tone.wav"), 0, 0).unwrap();
    assert_eq!(back.info(), sound.info());
    for (a, b) in back.samples().iter().zip(sound.samples()) {
        assert!((a - b).abs() <= 0.5 / 32768.0);
    }
    let other = Sound::read(&mut ctx, dir.join("tone.wav"), 48000, 1).unwrap();
    assert_eq!(
        (
            other.info().rate,
            other.info().channels,
            other.info().samples
        ),
        (48000, 1, 24000)
    );
    let missing = Sound::read(&mut ctx, dir.join("nothing.wav"), 0, 0).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let wrong = sound.write(&mut ctx, dir.join("noending")).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
    let clip = Clip::new(
        &mut ctx,
        &ClipInfo {
            width: 32,
            height: 32,
            frames: 8,
            fps_num: 16,
            fps_den: 1,
        },
    )
    .unwrap();
    let wrong = sound
        .write_movie(&mut ctx, &clip, dir.join("film.png"))
        .unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
    match sound.write_movie(&mut ctx, &clip, dir.join("film.mp4")) {
        Ok(()) => {
            let heard = Sound::read(&mut ctx, dir.join("film.mp4"), 0, 0).unwrap();
            assert_eq!(heard.info(), sound.info());
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported), // no plug-in
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

const RECIPE: &str = r#"{"format": "moviegen-recipe", "version": 1, "stages": [
{"name": "codec", "kind": "audio_codec", "steps": 2, "batch": 1, "frames": 8, "l1": 1,
 "mel": {"weight": 1, "windows": [64], "bands": 8},
 "codec": {"strides": [40, 48], "dim": 4, "decoder_dim": 8, "latent_channels": 4, "dilations": [1]},
 "optimizer": {"lr": 0.001}},
{"name": "audio", "kind": "audio", "steps": 2, "batch": 2, "clips": 4, "codec": "codec",
 "text": {"kind": "t5-bytes", "config": {"vocab": 259, "dim": 16, "layers": 1, "heads": 2, "head_dim": 8,
  "ff_dim": 16, "tokens_max": 320}},
 "vision": {"config": {"image": 12, "patch": 6, "dim": 8, "layers": 1, "heads": 2, "ff_dim": 12,
  "projection": 5}},
 "lengths": [{"seconds": 0.32}], "audio": {"window": 12, "overlap": 4, "steps": 3, "transformer": {
  "block": "dit", "layers": 1, "dim": 24, "heads": 2, "ff_dim": 40, "channels": 4,
  "condition_channels": 4, "frame_features": 5, "patch": [1, 1, 1], "frames_max": 12, "rows_max": 1,
  "columns_max": 1, "text": {"ul2": 16}, "guidance": 3}},
 "optimizer": {"lr": 0.05, "ema": 0.5}}]}"#;

#[test]
fn films_and_texts_get_sound() {
    let mut ctx = context();
    let dir = std::env::temp_dir().join(format!("moviegen-audio-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("recipe.json"), RECIPE).unwrap();
    for stage in ["codec", "audio"] {
        let params = TrainerParams::new(dir.join("recipe.json"), stage, &dir);
        let mut trainer = Trainer::new(&mut ctx, &params).unwrap();
        trainer.run(0).unwrap();
        trainer.save().unwrap();
    }
    let audio = AudioModel::open(&mut ctx, &dir, "audio").unwrap();
    let info = audio.info();
    assert_eq!(
        (info.rate, info.sees_clips, info.guidance),
        (48000, true, 3.0)
    );
    let clip = Clip::new(
        &mut ctx,
        &ClipInfo {
            width: 24,
            height: 16,
            frames: 8,
            fps_num: 25,
            fps_den: 1,
        },
    )
    .unwrap();
    let pipeline = Pipeline {
        audio: Some(audio),
        ..Default::default()
    };
    let request = SoundRequest::new("a ball bounces");
    let need = pipeline
        .estimate_sound(&mut ctx, Some(&clip), &request)
        .unwrap();
    assert!(need.host_bytes > 0 && need.flops > 0.0 && need.width == 0);
    let steps = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let seen = steps.clone();
    let hooks = Hooks::new().progress(move |_, total| {
        seen.fetch_add(total, std::sync::atomic::Ordering::SeqCst);
        ControlFlow::Continue(())
    });
    let sound = pipeline
        .sound(&mut ctx, Some(&clip), &request, None, hooks)
        .unwrap();
    assert_eq!(steps.load(std::sync::atomic::Ordering::SeqCst), 9);
    assert_eq!(
        sound.info(),
        SoundInfo {
            rate: 48000,
            channels: 1,
            samples: 15360
        }
    );
    let other = SoundRequest {
        music: Some("sad".into()),
        seconds: 0.7,
        extension: Extension::OneByOne,
        candidates: 2,
        ..request.clone()
    };
    let longer = pipeline
        .sound(&mut ctx, None, &other, Some(&sound), Hooks::new())
        .unwrap();
    assert_eq!(longer.info().samples, 33600);
    let mut job = pipeline
        .start_sound(&mut ctx, None, &other, Some(&sound), Hooks::new())
        .unwrap();
    assert_eq!(job.take_sound().unwrap_err().kind(), ErrorKind::State);
    job.wait().unwrap();
    assert_eq!(job.take_clip().unwrap_err().kind(), ErrorKind::State);
    assert_eq!(job.take_sound().unwrap().samples(), longer.samples());
    assert_eq!(job.take_sound().unwrap_err().kind(), ErrorKind::State);
    drop(job);
    let none = pipeline
        .sound(&mut ctx, None, &request, None, Hooks::new())
        .unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Invalid);
    let stopped = pipeline
        .sound(
            &mut ctx,
            Some(&clip),
            &request,
            None,
            Hooks::new().progress(|_, _| ControlFlow::Break(())),
        )
        .unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Cancelled);
    let job = pipeline.start_sound(&mut ctx, Some(clip), &request, None, Hooks::new());
    assert_eq!(
        job.unwrap().finish_sound().unwrap().samples(),
        sound.samples()
    );
    std::fs::remove_dir_all(&dir).unwrap();
}
