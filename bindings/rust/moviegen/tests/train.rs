// SPDX-License-Identifier: MIT
//! Datasets and trainers.

mod common;

use common::{context, Folder};
use moviegen::*;
use std::error::Error as _;
use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

const SIZE: DatasetParams = DatasetParams {
    width: 64,
    height: 64,
    frames: 1,
    fps: 0,
    sound_samples: 0,
    edits: false,
};

/// A ramp that depends on the number of the sample.
fn ramp(index: u64, sample: &mut Sample<'_>) {
    for (i, byte) in sample.pixels_mut().iter_mut().enumerate() {
        *byte = (i as u64 * (index % 7 + 1)) as u8;
    }
}

#[test]
fn a_closure_is_a_dataset() {
    struct Witness(Arc<AtomicBool>);
    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let released = Arc::new(AtomicBool::new(false));
    let witness = Witness(released.clone());
    let mut ctx = context();
    let mut dataset = Dataset::from_fn(&mut ctx, SIZE, 4, move |index, sample| {
        let _keep = &witness;
        assert_eq!(
            (sample.width(), sample.height(), sample.frames()),
            (64, 64, 1)
        );
        assert!(sample.pixels_mut().iter().all(|byte| *byte == 0));
        match index {
            1 => return Err("one is missing".into()),
            2 => return Err(io::Error::new(io::ErrorKind::NotFound, "two is missing").into()),
            3 => panic!("three panics"),
            _ => ramp(index, sample),
        }
        sample.set_caption("grün")?;
        assert!(sample.set_caption("a\0b").is_err());
        assert!(sample.set_caption(&"x".repeat(1 << 20)).is_err());
        Ok(())
    })
    .unwrap();
    assert_eq!(dataset.count(), Some(4));
    let (clip, caption) = dataset.read(&mut ctx, 0).unwrap();
    assert_eq!((caption.as_str(), clip.pixels()[5]), ("grün", 5));
    let error = dataset.read(&mut ctx, 1).unwrap_err();
    assert_eq!(
        (error.kind(), error.source().unwrap().to_string()),
        (ErrorKind::Io, "one is missing".into())
    );
    let error = dataset.read(&mut ctx, 2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error
        .source()
        .unwrap()
        .downcast_ref::<io::Error>()
        .is_some());
    let result = catch_unwind(AssertUnwindSafe(|| dataset.read(&mut ctx, 3).map(drop)));
    assert_eq!(
        result.unwrap_err().downcast_ref::<&str>(),
        Some(&"three panics")
    );
    let error = dataset.read(&mut ctx, 4).unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.source().is_none());
    dataset.read(&mut ctx, 0).unwrap();
    drop(ctx);
    assert!(!released.load(Ordering::Relaxed));
    drop(dataset);
    assert!(released.load(Ordering::Relaxed));
}

#[test]
fn a_dataset_that_is_refused_frees_its_closure() {
    let held = Arc::new(());
    let copy = held.clone();
    let mut ctx = context();
    let wrong = DatasetParams { width: 63, ..SIZE };
    let result = Dataset::from_fn(&mut ctx, wrong, 4, move |_, _| {
        let _keep = &copy;
        Ok(())
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn samples_have_sound() {
    let size = DatasetParams {
        frames: 2,
        fps: 10,
        sound_samples: 9600,
        ..SIZE
    };
    let folder = Folder::new();
    let mut ctx = context();
    let mut dataset = Dataset::from_fn(&mut ctx, size, 6, |index, sample| {
        ramp(index, sample);
        assert!(sample.sound_mut().iter().all(|value| *value == 0.0));
        let loudness = if index == 5 { 1.5 } else { 0.1 };
        sample.sound_mut().fill(index as f32 * loudness);
        sample.set_sound_caption("a hum")?;
        assert!(sample.set_sound_caption("a\0b").is_err());
        assert!(sample.edited_mut().is_empty());
        let error = sample.set_instruction("make it blue", EditTask::Local);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
        Ok(())
    })
    .unwrap();
    let (clip, _) = dataset.read(&mut ctx, 2).unwrap();
    assert_eq!((clip.info().fps_num, clip.info().fps_den), (10, 1));
    let error = dataset.read(&mut ctx, 5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("sample 5: its sound is 7.5"));
    drop(dataset);
    let mut dataset = Dataset::from_fn(&mut ctx, size, 6, |index, sample| {
        sample.sound_mut().fill(index as f32 * 0.1);
        Ok(())
    })
    .unwrap();
    let params = TrainerParams::new(folder.recipe(), "codec", folder.file("model"));
    let mut trainer = Trainer::with_dataset(&mut ctx, &params, &mut dataset).unwrap();
    for _ in 0..2 {
        assert!(trainer.step().unwrap().get("loss").unwrap() > 0.0);
    }
    drop(trainer);
    let mut mute = Dataset::from_fn(&mut ctx, SIZE, 6, |_, sample| {
        assert!(sample.sound_mut().is_empty());
        Ok(sample.set_sound_caption("a hum")?)
    })
    .unwrap();
    let error = mute.read(&mut ctx, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error
        .source()
        .unwrap()
        .to_string()
        .contains("sound_caption"));
    let wrong = DatasetParams { fps: 241, ..size };
    assert!(Dataset::from_fn(&mut ctx, wrong, 6, |_, _| Ok(())).is_err());
}

#[test]
fn samples_are_edits() {
    let size = DatasetParams {
        edits: true,
        ..SIZE
    };
    let mut ctx = context();
    let mut dataset = Dataset::from_fn(&mut ctx, size, 2, |index, sample| {
        ramp(index, sample);
        assert!(sample.edited_mut().iter().all(|byte| *byte == 0));
        assert_eq!(sample.edited_mut().len(), sample.pixels_mut().len());
        sample.edited_mut().fill(7);
        if index == 0 {
            sample.set_instruction("make it blue", EditTask::Style)?;
        }
        Ok(())
    })
    .unwrap();
    dataset.read(&mut ctx, 0).unwrap();
    let error = dataset.read(&mut ctx, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("sample 1: its instruction"));
}

#[test]
fn the_toybox_and_folders_are_datasets() {
    let mut ctx = context();
    let mut toybox = Dataset::toybox(&mut ctx, 7).unwrap();
    assert_eq!(toybox.count(), None);
    let (clip, caption) = toybox.read(&mut ctx, 123).unwrap();
    assert!((clip.info().width, clip.info().frames) == (64, 32) && !caption.is_empty());
    let folder = Folder::new();
    clip.write(&mut ctx, folder.file("toy.y4m")).unwrap();
    std::fs::write(folder.file("toy.txt"), &caption).unwrap();
    let size = DatasetParams {
        width: 32,
        height: 32,
        frames: 9,
        ..Default::default()
    };
    let mut films = Dataset::open(&mut ctx, &folder.0, size).unwrap();
    assert_eq!(films.count(), Some(1));
    let (film, read) = films.read(&mut ctx, 0).unwrap();
    assert_eq!(
        (film.info().width, film.info().frames, read),
        (32, 9, caption)
    );
    let error = Dataset::open(&mut ctx, "/there/is/no/such/folder", size).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_stage_is_trained_on_a_closure_and_saved() {
    let folder = Folder::new();
    let params = TrainerParams {
        seed: 3,
        ..TrainerParams::new(folder.recipe(), "image", folder.file("model"))
    };
    let mut ctx = context();
    let calls = Arc::new(AtomicU64::new(0));
    let count = calls.clone();
    let mut dataset = Dataset::from_fn(&mut ctx, SIZE, 1000, move |index, sample| {
        count.fetch_add(1, Ordering::Relaxed);
        ramp(index, sample);
        Ok(())
    })
    .unwrap();
    let mut losses = Vec::new();
    let mut trainer = Trainer::with_dataset(&mut ctx, &params, &mut dataset).unwrap();
    assert_eq!((trainer.steps(), trainer.position()), (3, 0));
    for i in 0..2 {
        let report = trainer.step().unwrap();
        assert_eq!(report.get("step"), Some(f64::from(i)));
        losses.push(report.get("loss").unwrap());
    }
    assert!(losses.iter().all(|loss| loss.is_finite() && *loss > 0.0) && losses[0] != losses[1]);
    assert!(calls.load(Ordering::Relaxed) >= 4);
    trainer.checkpoint(folder.file("checkpoint")).unwrap();
    let mut steps = Vec::new();
    trainer
        .run_with(0, |step, report| {
            steps.push((step, report.get("loss").unwrap()));
            Continue(())
        })
        .unwrap();
    assert_eq!((steps.len(), trainer.position()), (1, 3));
    assert_eq!(trainer.step().unwrap_err().kind(), ErrorKind::State);
    trainer.save().unwrap();
    drop(trainer);
    // The checkpoint goes on to the same bits.
    let resumed = TrainerParams {
        resume: Some(folder.file("checkpoint")),
        ..params.clone()
    };
    let mut trainer = Trainer::with_dataset(&mut ctx, &resumed, &mut dataset).unwrap();
    assert_eq!(trainer.position(), 2);
    assert_eq!(trainer.step().unwrap().get("loss"), Some(steps[0].1));
    drop(trainer);
    assert!(
        Tae::open(&mut ctx, folder.file("model"), "image")
            .unwrap()
            .info()
            .parameters
            > 0
    );
}

#[test]
fn ranks_train_together() {
    let folder = Folder::new();
    let params = TrainerParams::new(folder.recipe(), "image", folder.file("model"));
    let losses = |ctx: &mut Context| {
        let mut losses = Vec::new();
        let mut trainer = Trainer::new(ctx, &params).unwrap();
        trainer
            .run_with(0, |_, report| {
                losses.push(report.get("loss").unwrap());
                Continue(())
            })
            .unwrap();
        losses
    };
    let mut ctx = context();
    let one = losses(&mut ctx);
    let patience = Some(std::time::Duration::from_secs(60));
    let ranks = Ranks::new(&mut ctx, 2, patience).unwrap();
    let many: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let (ranks, losses) = (&ranks, &losses);
        let spawned: Vec<_> = (0..2)
            .map(|rank| {
                scope.spawn(move || {
                    let mut ctx = context();
                    ctx.join(&MeshParams::thread(ranks, rank)).unwrap();
                    assert_eq!((ctx.rank(), ctx.ranks()), (rank, 2));
                    let again = ctx.join(&MeshParams::process()).unwrap_err();
                    assert_eq!(again.kind(), ErrorKind::State);
                    let seen = losses(&mut ctx);
                    ctx.barrier().unwrap();
                    seen
                })
            })
            .collect();
        spawned
            .into_iter()
            .map(|rank| rank.join().unwrap())
            .collect()
    });
    assert_eq!(many[0], many[1]);
    assert_eq!(many[0].len(), one.len());
    for (a, b) in many[0].iter().zip(&one) {
        assert!((a - b).abs() < 1e-4 * b, "{a} {b}");
    }
    let alone = Ranks::new(&mut ctx, 1, patience).unwrap();
    ctx.join(&MeshParams::thread(&alone, 0)).unwrap();
    let aborter = ctx.aborter();
    aborter.abort();
    assert_eq!(ctx.barrier().unwrap_err().kind(), ErrorKind::PeerLost);
    drop(ctx);
    aborter.abort();
}

#[test]
fn a_run_is_stopped_and_goes_on() {
    let folder = Folder::new();
    let params = TrainerParams::new(folder.recipe(), "image", folder.file("model"));
    let mut ctx = context();
    let mut trainer = Trainer::new(&mut ctx, &params).unwrap();
    let error = trainer.run_with(0, |_, _| Break(())).unwrap_err();
    assert_eq!(
        (error.kind(), trainer.position()),
        (ErrorKind::Cancelled, 1)
    );
    let stopper = trainer.stopper();
    let error = trainer
        .run_with(0, |_, _| {
            std::thread::scope(|scope| drop(scope.spawn(|| stopper.stop())));
            Continue(())
        })
        .unwrap_err();
    assert_eq!(
        (error.kind(), trainer.position()),
        (ErrorKind::Cancelled, 2)
    );
    let panics = AssertUnwindSafe(|| trainer.run_with(0, |_, _| panic!("a step that panics")));
    let payload = catch_unwind(panics).unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"a step that panics"));
    assert_eq!((trainer.position(), stopper.position()), (3, Some(3)));
    drop(trainer);
    stopper.stop();
    assert_eq!(stopper.position(), None);
    // Leaked, a trainer goes with the next call.
    std::mem::forget(Trainer::new(&mut ctx, &params).unwrap());
    ctx.trim();
    let missing = TrainerParams::new(folder.file("none.json"), "image", folder.file("model"));
    assert_eq!(
        Trainer::new(&mut ctx, &missing).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn errors_of_a_closure_come_out_of_a_step() {
    let folder = Folder::new();
    let params = TrainerParams::new(folder.recipe(), "image", folder.file("model"));
    let mut ctx = context();
    let broken = Arc::new(AtomicBool::new(true));
    let cause = broken.clone();
    let mut dataset = Dataset::from_fn(&mut ctx, SIZE, 1000, move |index, sample| {
        if cause.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Corrupt, "the cable is out").into());
        }
        ramp(index, sample);
        Ok(())
    })
    .unwrap();
    let mut trainer = Trainer::with_dataset(&mut ctx, &params, &mut dataset).unwrap();
    let error = trainer.step().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.source().unwrap().to_string(), "the cable is out");
    broken.store(false, Ordering::Relaxed);
    assert_eq!(trainer.step().unwrap().get("step"), Some(0.0));
}
