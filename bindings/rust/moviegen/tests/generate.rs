// SPDX-License-Identifier: MIT
//! Generation: the same bits on every way, ends that are asked for, panics.

mod common;

use common::{context, long, pipeline, short};
use moviegen::*;
use std::ops::ControlFlow::{Break, Continue};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn ranks_make_a_film_together() {
    let mut ctx = context();
    let one = pipeline(&mut ctx)
        .start(&mut ctx, &short(7))
        .unwrap()
        .finish()
        .unwrap();
    let meeting =
        std::env::temp_dir().join(format!("moviegen-rust-meeting-{}", std::process::id()));
    let address = format!("file://{}", meeting.display());
    let film = |rank| {
        let mut ctx = context();
        ctx.join(&MeshParams {
            axes: Some("dp=2"),
            run: Some("film"),
            ..MeshParams::meeting(&address, rank, 2)
        })
        .unwrap();
        let pipeline = pipeline(&mut ctx);
        let mut other = context();
        let error = pipeline.estimate(&mut other, &short(7)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let clip = pipeline.start(&mut ctx, &short(7)).unwrap().finish();
        drop(ctx);
        let error = pipeline.start(&mut other, &short(7)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        clip
    };
    let many: Vec<_> = thread::scope(|scope| {
        let film = &film;
        let spawned: Vec<_> = (0..2).map(|rank| scope.spawn(move || film(rank))).collect();
        spawned
            .into_iter()
            .map(|rank| rank.join().unwrap())
            .collect()
    });
    let first = many[0].as_ref().unwrap();
    assert_eq!(first.pixels().len(), one.pixels().len());
    let mut pairs = first.pixels().iter().zip(one.pixels());
    assert!(pairs.all(|(a, b)| a.abs_diff(*b) <= 2));
    assert!(many[1].is_err(), "frames are rank 0's");
}

#[test]
fn ranks_meet_in_the_hosts_own_way() {
    let (barrier, table) = (Barrier::new(2), Mutex::new(vec![Vec::new(); 2]));
    let meet = |rank: u32, short: usize| {
        let swap = |mine: &[u8]| {
            table.lock().unwrap()[rank as usize] = mine.to_vec();
            barrier.wait();
            let all = table.lock().unwrap().concat();
            barrier.wait();
            Some(all[..all.len() - short].to_vec())
        };
        let mut ctx = context();
        let joined = ctx.join(&MeshParams::exchanging(Exchange::new(&swap), rank, 2));
        joined.map(|()| (ctx.rank(), ctx.ranks()))
    };
    let both = |short| {
        thread::scope(|scope| {
            let meet = &meet;
            let other = scope.spawn(move || meet(1, short));
            (meet(0, short), other.join().unwrap())
        })
    };
    let (first, second) = both(0);
    assert_eq!((first.unwrap(), second.unwrap()), ((0, 2), (1, 2)));
    let error = both(1).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("2 ranks gave"), "{error}");
    let none = |_: &[u8]| None;
    let given_up = context().join(&MeshParams::exchanging(Exchange::new(&none), 0, 2));
    assert_eq!(given_up.unwrap_err().kind(), ErrorKind::Cancelled);
    let panics = |_: &[u8]| panic!("an exchange that panics");
    let exchange = Exchange::new(&panics);
    let mut ctx = context();
    let joins = AssertUnwindSafe(|| ctx.join(&MeshParams::exchanging(exchange, 0, 2)));
    assert!(catch_unwind(joins).is_err());
}

#[test]
fn the_same_seed_gives_the_same_clip() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let first = pipeline
        .start(&mut ctx, &short(7))
        .unwrap()
        .finish()
        .unwrap();
    let mut other_ctx = Context::builder().threads(1).build().unwrap();
    let again = pipeline
        .start(&mut other_ctx, &short(7))
        .unwrap()
        .finish()
        .unwrap();
    let other = pipeline
        .start(&mut ctx, &short(8))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(
        (first.info().width, first.info().height, first.info().frames),
        (64, 64, 9)
    );
    assert_eq!(first.pixels().len(), 9 * 64 * 64 * 3);
    assert!(first.pixels() == again.pixels());
    assert!(first.pixels() != other.pixels());
    assert_eq!(first.frames().count(), 9);
}

#[test]
fn solvers_and_intervals_reach_the_library() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let mut clip = |request: &Request| {
        let job = pipeline.start(&mut ctx, request).unwrap();
        job.finish().unwrap().pixels().to_vec()
    };
    let plain = clip(&short(7));
    let all = Request {
        guidance_to: 1.0,
        ..short(7)
    };
    assert!(clip(&all) == plain);
    for changed in [
        Request {
            solver: Solver::Midpoint,
            ..short(7)
        },
        Request {
            solver: Solver::Dopri5,
            steps: 40,
            ..short(7)
        },
        Request {
            schedule: Schedule::LinearQuadratic1000,
            steps: 4,
            ..short(7)
        },
        Request {
            guidance_from: 0.05,
            ..short(7)
        },
    ] {
        assert!(clip(&changed) != plain, "{changed:?}");
    }
    let backwards = Request {
        guidance_from: 0.6,
        guidance_to: 0.5,
        ..short(7)
    };
    let error = pipeline.start(&mut ctx, &backwards).err().unwrap();
    assert!(error.to_string().contains("guidance_from"));
}

#[test]
fn a_stream_gives_the_frames_of_the_clip() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let clip = pipeline
        .start(&mut ctx, &short(3))
        .unwrap()
        .finish()
        .unwrap();
    for ahead in [0, 1, 100] {
        let mut index = 0;
        for frame in pipeline.stream(&mut ctx, &short(3), ahead).unwrap() {
            let frame = frame.unwrap();
            assert_eq!((frame.index, frame.width, frame.height), (index, 64, 64));
            assert!(frame.data == clip.frames().nth(index as usize).unwrap());
            index += 1;
        }
        assert_eq!(index, 9);
    }
}

#[test]
fn a_stream_that_is_dropped_or_leaked_ends_its_job() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let mut stream = pipeline.stream(&mut ctx, &short(3), 1).unwrap();
    let canceller = stream.canceller();
    assert_eq!(stream.next().unwrap().unwrap().index, 0);
    assert!(canceller.info().is_some());
    drop(stream);
    assert!(canceller.info().is_none());
    let mut stream = pipeline.stream(&mut ctx, &short(3), 1).unwrap();
    assert_eq!(stream.next().unwrap().unwrap().index, 0);
    std::mem::forget(stream);
    ctx.trim();
    std::mem::forget(pipeline.start(&mut ctx, &long()).unwrap());
    drop(ctx);
}

#[test]
fn memory_of_the_callers_is_written() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let clip = pipeline
        .start(&mut ctx, &short(5))
        .unwrap()
        .finish()
        .unwrap();
    // Rows with a gap, which stays as it is.
    let (row, frame) = (64 * 3 + 5, (64 * 3 + 5) * 64);
    let mut pixels = vec![77u8; frame * 9];
    let mut view = FramesMut::rgb8_strided(64, 64, 9, &mut pixels, row as u64, 0).unwrap();
    pipeline
        .generate_into(&mut ctx, &short(5), Hooks::new(), &mut view)
        .unwrap();
    for (wanted, got) in clip.pixels().chunks(64 * 3).zip(pixels.chunks(row)) {
        assert!(wanted == &got[..64 * 3]);
        assert_eq!(got[64 * 3..], [77; 5]);
    }
    let error = FramesMut::rgb8(64, 64, 9, &mut pixels[..64 * 64 * 3 * 9 - 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn hooks_see_the_work() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let calls = Arc::new([AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0)]);
    let (progress, preview, frames) = (calls.clone(), calls.clone(), calls.clone());
    let hooks = Hooks::new()
        .progress(move |done, total| {
            assert!(done <= total);
            progress[0].fetch_add(1, Ordering::Relaxed);
            Continue(())
        })
        .preview(move |_, latents| {
            assert_eq!(
                latents.data().len() as u32,
                latents.frames() * 8 * 8 * latents.channels()
            );
            preview[1].fetch_add(1, Ordering::Relaxed);
            Continue(())
        })
        .frames(move |first, view| {
            assert_eq!(
                first,
                u64::from(frames[2].fetch_add(view.count(), Ordering::Relaxed))
            );
            assert_eq!(view.format(), Format::Yuv420);
            assert_eq!((view.rows(0), view.rows(1)), (64, 32));
            assert_eq!(view.to_vec(0).len(), 64 * 64 * 3 / 2);
            assert!(view.row(3, 0, 0).is_none());
            Continue(())
        });
    let request = Request {
        frames_format: Format::Yuv420,
        ..short(1)
    };
    let mut job = pipeline.start_with(&mut ctx, &request, hooks).unwrap();
    job.wait().unwrap();
    assert_eq!(job.take_clip().unwrap_err().kind(), ErrorKind::State);
    let info = job.info();
    assert_eq!(
        (info.done, info.frames, info.frames_done),
        (info.total, 9, 9)
    );
    let calls: Vec<u32> = calls
        .iter()
        .map(|calls| calls.load(Ordering::Relaxed))
        .collect();
    assert!(calls[0] >= 2 && calls[1] == 2 && calls[2] == 9, "{calls:?}");
}

#[test]
fn a_job_is_polled_waited_for_and_cancelled() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let mut job = pipeline.start(&mut ctx, &long()).unwrap();
    assert!(!job.poll().unwrap());
    assert_eq!(job.take_clip().unwrap_err().kind(), ErrorKind::State);
    let start = Instant::now();
    assert!(!job.wait_timeout(Duration::from_millis(30)).unwrap());
    assert!(start.elapsed() >= Duration::from_millis(30));
    let canceller = job.canceller();
    let other = thread::spawn(move || {
        canceller.cancel();
        canceller
    });
    let error = job.wait().unwrap_err();
    assert_eq!(
        (error.kind(), error.class()),
        (ErrorKind::Cancelled, ErrorClass::Failed)
    );
    assert_eq!(job.poll().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(job.take_clip().unwrap_err().kind(), ErrorKind::State);
    drop(job);
    let canceller = other.join().unwrap();
    canceller.cancel();
    assert!(canceller.info().is_none());
    let mut stream = pipeline.stream(&mut ctx, &long(), 1).unwrap();
    stream.canceller().cancel();
    assert_eq!(
        stream.next().unwrap().unwrap_err().kind(),
        ErrorKind::Cancelled
    );
    assert!(stream.next().is_none());
    drop(stream);
    pipeline
        .start(&mut ctx, &short(1))
        .unwrap()
        .finish()
        .unwrap();
}

#[test]
fn break_and_panic_of_a_hook_end_the_job() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let job = pipeline
        .start_with(&mut ctx, &long(), Hooks::new().progress(|_, _| Break(())))
        .unwrap();
    assert_eq!(job.finish().unwrap_err().kind(), ErrorKind::Cancelled);
    let hooks = Hooks::new().progress(|_, _| panic!("a hook that panics"));
    let payload = catch_unwind(AssertUnwindSafe(|| {
        pipeline
            .start_with(&mut ctx, &long(), hooks)
            .unwrap()
            .finish()
            .map(drop)
    }))
    .unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"a hook that panics"));
    pipeline
        .start(&mut ctx, &short(1))
        .unwrap()
        .finish()
        .unwrap();
}

#[test]
fn an_estimate_bounds_what_a_job_takes() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    let estimate = pipeline.estimate(&mut ctx, &short(1)).unwrap();
    assert_eq!(
        (estimate.width, estimate.height, estimate.frames),
        (64, 64, 9)
    );
    assert!(estimate.flops > 0.0 && estimate.host_bytes > 0);
    let before = ctx.memory().now;
    pipeline
        .start(&mut ctx, &short(1))
        .unwrap()
        .finish()
        .unwrap();
    assert!(ctx.memory().peak <= before + estimate.host_bytes);
}

#[test]
fn pipelines_are_shared_by_threads() {
    let mut ctx = context();
    let pipeline = pipeline(&mut ctx);
    drop(ctx);
    let hash = pipeline.weights_hash();
    let run = |pipeline: Pipeline| {
        let mut ctx = Context::builder().threads(1).build().unwrap();
        let clip = pipeline
            .start(&mut ctx, &short(2))
            .unwrap()
            .finish()
            .unwrap();
        drop(ctx);
        clip.pixels().to_vec()
    };
    thread::scope(|scope| {
        let copy = pipeline.clone();
        assert_eq!(copy.weights_hash(), hash);
        let other = scope.spawn(move || run(copy));
        assert!(run(pipeline.clone()) == other.join().unwrap());
    });
    assert_eq!(pipeline.tae.as_ref().unwrap().info().spatial_factor, 8);
}
