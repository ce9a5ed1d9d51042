// SPDX-License-Identifier: MIT
//! The parts make the same clip as the whole; plans and measurements.

mod common;

use common::{context, pipeline, short};
use moviegen::*;
use std::ops::ControlFlow::{Break, Continue};

#[test]
fn a_loop_of_the_hosts_makes_the_same_clip() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let request = Request {
        steps: 3,
        guidance: 1.0,
        schedule: Schedule::Linear,
        prompt: format!("FPS-16 {}", short(4).prompt),
        ..short(4)
    };
    let clip = pipeline
        .start(&mut ctx, &request)
        .unwrap()
        .finish()
        .unwrap();
    let (tae, video) = (
        pipeline.tae.as_ref().unwrap(),
        pipeline.video.as_ref().unwrap(),
    );
    let mut roles = [None, None, None];
    // ByT5 gets what is quoted: nothing.
    let prompts = [&request.prompt, "", &request.prompt];
    for ((role, encoder), prompt) in roles.iter_mut().zip(&pipeline.text).zip(prompts) {
        *role = encoder
            .as_ref()
            .map(|encoder| encoder.encode(&mut ctx, prompt).unwrap());
    }
    let text = [roles[0].as_ref(), roles[1].as_ref(), roles[2].as_ref()];
    let encoded = text.iter().flatten().next().unwrap();
    assert!(encoded.tokens() > 0 && encoded.data().iter().any(|value| *value != 0.0));
    let times = schedule(Schedule::Linear, 3).unwrap();
    assert_eq!((times[0], times[3], times.len()), (0.0, 1.0, 4));
    let mut x = Latents::new(2, 8, 8, tae.info().channels).unwrap();
    noise(&mut ctx, request.seed, &mut x).unwrap();
    for value in x.data_mut() {
        *value *= video.info().noise_scale;
    }
    for pair in times.windows(2) {
        let velocity = video.velocity(&mut ctx, x.view(), pair[0], text).unwrap();
        for (value, slope) in x.data_mut().iter_mut().zip(velocity.data()) {
            *value += (pair[1] - pair[0]) * slope;
        }
    }
    let mut ours = Clip::new(&mut ctx, &clip.info()).unwrap();
    tae.decode(&mut ctx, x.view(), &mut ours.view_mut())
        .unwrap();
    // A multiply and an add of Rust's round twice, those of the library may round once.
    let far = clip
        .pixels()
        .iter()
        .zip(ours.pixels())
        .filter(|(a, b)| a.abs_diff(**b) > 1)
        .count();
    assert_eq!(far, 0, "of {} bytes", clip.pixels().len());
}

#[test]
fn video_goes_to_latents_and_back() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let tae = pipeline.tae.as_ref().unwrap();
    let (clip, _) = Dataset::toybox(&mut ctx, 1)
        .unwrap()
        .read(&mut ctx, 0)
        .unwrap();
    let latents = tae.encode(&mut ctx, &clip.view()).unwrap();
    assert_eq!(latents.data().len() as u32, 4 * 8 * 8 * tae.info().channels);
    let mut pixels = vec![0f32; clip.pixels().len()];
    tae.decode(
        &mut ctx,
        latents.view(),
        &mut FramesMut::rgb_f32(64, 64, 32, &mut pixels).unwrap(),
    )
    .unwrap();
    let error: f32 = clip
        .pixels()
        .iter()
        .zip(&pixels)
        .map(|(a, b)| (f32::from(*a) / 255.0 - b).powi(2))
        .sum();
    let psnr = -10.0 * (error / pixels.len() as f32).log10();
    assert!(psnr > 20.0, "{psnr} dB");
    let mut wrong = Latents::new(3, 8, 8, tae.info().channels).unwrap();
    assert_eq!(
        tae.encode_into(&mut ctx, &clip.view(), &mut wrong)
            .unwrap_err()
            .kind(),
        ErrorKind::Invalid
    );
}

#[test]
fn shapes_are_checked_before_the_library_sees_them() {
    assert!(Latents::new(u32::MAX, u32::MAX, u32::MAX, 2).is_err());
    assert!(Latents::from_vec(1, 2, 2, 3, vec![0.0; 11]).is_err());
    assert!(LatentsRef::new(1, 2, 2, 3, &[0.0; 12]).is_ok());
    assert!(Text::from_vec(2, 3, vec![0.0; 5]).is_err());
    assert!(FramesRef::rgb8(4, 4, 0, &[0; 48]).is_err());
    assert!(FramesRef::rgb8(4, 4, 1, &[0; 47]).is_err());
    assert!(FramesRef::rgb8_strided(4, 4, 1, &[0; 48], 11, 0).is_err());
    assert!(FramesRef::rgb8_strided(4, 4, 3, &[0; 48], 0, u64::MAX).is_err());
    let frames = FramesRef::yuv420(3, 3, 2, [&[1; 18], &[2; 8], &[3; 8]]).unwrap();
    assert_eq!(
        (frames.row(2, 1, 1), frames.row(2, 1, 2)),
        (Some(&[3u8, 3][..]), None)
    );
    assert!(
        schedule(Schedule::Linear, 0).is_err()
            && schedule(Schedule::LinearQuadratic, 1001).is_err()
    );
    let nothing = noise(&mut context(), 1, &mut Latents::new(0, 0, 0, 0).unwrap());
    assert_eq!(nothing.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_step_is_planned() {
    let mut ctx = context();
    let report = plan_training(&mut ctx, &Plan::new(Preset::B1, 256, 256, 16)).unwrap();
    assert!(report.get("parameters").unwrap() > 0.5e9 && report.get("peak_bytes").unwrap() > 1e9);
    let sound = plan_training(&mut ctx, &Plan::new(Preset::B13, 0, 0, 750)).unwrap();
    assert_eq!(sound.get("tokens"), Some(750.0));
    let error = plan_training(&mut ctx, &Plan::new(Preset::B1, 250, 256, 16)).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Invalid && error.message().contains("width"),
        "{error}"
    );
}

#[test]
fn a_mesh_is_planned() {
    let mut ctx = context();
    let plan = Plan::new(Preset::B1, 256, 256, 16);
    let mut on = MeshPlan {
        gpus: 4,
        gpu: "h100-80gb",
        mesh: Some("dp=2,tp=2"),
        global_batch: 0,
        timeline: false,
    };
    let text = plan_mesh(&mut ctx, &plan, &on).unwrap();
    assert!(
        text.contains("\"step_seconds\":") && text.contains("\"tp\": 2"),
        "{text}"
    );
    assert!(text.contains("\"recompute\": \"none\""), "{text}"); // the first that fits
    let full = Plan {
        recompute: Some(Recompute::Full),
        ..plan
    };
    let text = plan_mesh(&mut ctx, &full, &on).unwrap();
    assert!(text.contains("\"recompute\": \"full\""), "{text}");
    on.gpu = "h0";
    let error = plan_mesh(&mut ctx, &plan, &on).unwrap_err();
    assert!(error.message().contains("h100-80gb"), "{error}");
}

#[test]
fn a_recipe_is_planned() {
    let mut ctx = context();
    let recipe = common::toybox().join("recipe.json");
    let one = RecipePlan {
        stage: Some("joint"),
        gpus: 2,
        recompute: Some(Recompute::Full),
        ..RecipePlan::default()
    };
    let text = plan_recipe(&mut ctx, &recipe, &one).unwrap();
    assert!(
        text.contains("\"stage\": \"joint\"") && text.contains("\"recompute\": \"full\""),
        "{text}"
    );
    assert!(
        text.contains("\"gpu\": \"h100-80gb\"") && text.contains("\"gpus\": 2,"),
        "{text}"
    );
    assert_eq!(text.matches("\"stage\":").count(), 1);
    let all = RecipePlan {
        gpus: 2,
        gpu: Some("a100-40gb"),
        ..RecipePlan::default()
    };
    let text = plan_recipe(&mut ctx, &recipe, &all).unwrap();
    assert!(text.matches("\"stage\":").count() > 5, "{text}");
    assert!(text.contains("a100-40gb"), "{text}");
    let on = RecipePlan {
        mesh: Some("dp=3"),
        ..one
    };
    let error = plan_recipe(&mut ctx, &recipe, &on).unwrap_err();
    assert!(error.message().contains("3 places for 2 GPUs"), "{error}");
    let none = RecipePlan {
        stage: Some("nobody"),
        ..one
    };
    let error = plan_recipe(&mut ctx, &recipe, &none).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Invalid && error.message().contains("has no stage \"nobody\""),
        "{error}"
    );
    assert!(plan_recipe(&mut ctx, "nowhere.json", &all).is_err());
}

#[test]
fn a_pipeline_is_held_as_asked() {
    let mut ctx = context();
    let wide = pipeline(&mut ctx);
    let narrow = Pipeline::open_as(&mut ctx, common::toybox(), Hold::Bf16).unwrap();
    assert_eq!(wide.weights_hash(), narrow.weights_hash());
    let bytes = |p: &Pipeline| p.video.as_ref().unwrap().info().bytes;
    assert!(bytes(&narrow) * 100 < bytes(&wide) * 52);
}

#[test]
fn a_pipeline_is_measured() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let evaluation = Evaluation {
        n: 1,
        ..Evaluation::new(Protocol::Tae)
    };
    let mut calls = 0;
    let report = pipeline.evaluate_with(&mut ctx, &evaluation, |done, total| {
        calls += 1;
        assert!(done <= total);
        Continue(())
    });
    let report = report.unwrap();
    assert!(
        calls > 0 && report.get("psnr").unwrap() > 20.0,
        "{report:?}"
    );
    assert!(report.get("no such number").is_none() && report.iter().len() == report.len());
    let error = pipeline
        .evaluate_with(&mut ctx, &evaluation, |_, _| Break(()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(toybox_prompts().count(), 36);
    let size = DatasetParams {
        width: 16,
        height: 16,
        frames: 2,
        ..Default::default()
    };
    let mut grey = Dataset::from_fn(&mut ctx, size, 3, |index, sample| {
        sample.pixels_mut().fill(80 * index as u8);
        Ok(())
    })
    .unwrap();
    let all = Evaluation::new(Protocol::Tae);
    let report = pipeline.evaluate_on(&mut ctx, &all, &mut grey, |_, _| Continue(()));
    assert_eq!(report.unwrap().get("n"), Some(3.0));
    let said = Evaluation {
        n: 1,
        steps: 2,
        guidance: 1.0,
        ..Evaluation::new(Protocol::Alignment)
    };
    let unsaid = Evaluation {
        drop_text: [true; 3],
        ..said
    };
    assert!(pipeline.evaluate(&mut ctx, &said).is_ok());
    let error = pipeline.evaluate(&mut ctx, &unsaid).unwrap_err();
    assert!(error.to_string().contains("one must stay"), "{error}");
}

#[test]
fn folders_are_averaged_and_converted() {
    let mut ctx = context();
    let whole = pipeline(&mut ctx);
    let request = Request {
        steps: 1,
        frames: 1,
        ..Request::new("a red ball rolls left on grass")
    };
    let film = |ctx: &mut Context, pipeline: &Pipeline, request: &Request| {
        let clip = pipeline.start(ctx, request).unwrap().finish().unwrap();
        clip.pixels().to_vec()
    };
    let wanted = film(&mut ctx, &whole, &request);
    let less = Request {
        drop_text: [true, false, true],
        ..request.clone()
    };
    assert_ne!(film(&mut ctx, &whole, &less), wanted);
    let out = std::env::temp_dir().join(format!("moviegen-mean-{}", std::process::id()));
    let dirs = [(common::toybox(), 1.0), (common::toybox(), 3.0)];
    Pipeline::average(&mut ctx, &dirs, &out).unwrap();
    let mean = Pipeline::open(&mut ctx, &out).unwrap();
    assert!(mean.upsampler.is_none());
    assert_eq!(film(&mut ctx, &mean, &request), wanted); // of a model and itself
    Pipeline::convert(&mut ctx, &out, Hold::Bf16).unwrap();
    let larger = std::fs::metadata(out.join("video_model.safetensors")).unwrap();
    Pipeline::convert(&mut ctx, &out, Hold::Fp8).unwrap();
    let smaller = std::fs::metadata(out.join("video_model.safetensors")).unwrap();
    assert!(smaller.len() * 10 < larger.len() * 6);
    std::fs::remove_dir_all(&out).unwrap();
    let wrong = Pipeline::convert(&mut ctx, &out, Hold::F32).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
    let wrong = Pipeline::convert(&mut ctx, &out, Hold::Fp8).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::NotFound);
    let none: [(&str, f64); 0] = [];
    let wrong = Pipeline::average(&mut ctx, &none, &out).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
}
