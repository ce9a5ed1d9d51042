// SPDX-License-Identifier: MIT
//! Sounds, and films with them.

mod common;

use common::context;
use moviegen::{Clip, ClipInfo, ErrorKind, Sound, SoundInfo};

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
