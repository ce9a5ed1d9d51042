// SPDX-License-Identifier: MIT
//! Errors, settings of a context, callbacks of a context.
#![deny(unsafe_op_in_unsafe_fn)]

mod common;

use common::{context, pipeline, short, toybox, Folder};
use moviegen::*;
use std::alloc::{alloc, dealloc, Layout};
use std::ops::ControlFlow::{Break, Continue};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::Arc;

#[test]
fn errors_have_kind_and_sentence() {
    let mut ctx = context();
    let error = Pipeline::open(&mut ctx, "/there/is/no/such/folder").unwrap_err();
    assert_eq!(
        (error.kind(), error.name(), error.status()),
        (ErrorKind::NotFound, "MGEN_E_NOT_FOUND", -30)
    );
    assert!(
        error.to_string().contains("/there/is/no/such/folder"),
        "{error}"
    );
    assert_eq!(format!("{error:?}"), format!("{error} (MGEN_E_NOT_FOUND)"));
    let pipeline = pipeline(&mut ctx);
    let invalid =
        |ctx: &mut Context, request: &Request| pipeline.start(ctx, request).map(drop).unwrap_err();
    let error = invalid(
        &mut ctx,
        &Request {
            guidance: -1.0,
            ..short(1)
        },
    );
    assert_eq!(
        (error.kind(), error.class()),
        (ErrorKind::Invalid, ErrorClass::Unchanged)
    );
    assert!(error.message().contains("guidance"), "{error}");
    let error = invalid(&mut ctx, &Request::new("a\0b"));
    assert!(
        error.kind() == ErrorKind::Invalid && error.message().contains("NUL"),
        "{error}"
    );
    assert_eq!(
        invalid(&mut ctx, &Request::new("")).kind(),
        ErrorKind::Invalid
    );
    let empty = Pipeline {
        video: None,
        ..pipeline.clone()
    };
    let error = empty.start(&mut ctx, &short(1)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    let error = Tae::open(&mut ctx, toybox(), "no-such-network").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn settings_are_checked() {
    let error = Context::builder().threads(1000).build().unwrap_err();
    assert!(
        error.kind() == ErrorKind::Invalid && error.message().contains("threads"),
        "{error}"
    );
    assert!(Context::builder().device("no such device").build().is_err());
    let mut limited = Context::builder()
        .threads(1)
        .host_memory_max(1 << 20)
        .build()
        .unwrap();
    assert_eq!(
        Pipeline::open(&mut limited, toybox()).unwrap_err().kind(),
        ErrorKind::Limit
    );
    let mut plain = Context::builder()
        .threads(1)
        .device("cpu")
        .autotune(true)
        .kernels("ref")
        .build()
        .unwrap();
    assert!(plain.kernels().contains("ref"));
    assert_eq!(version(), "0.1.0");
}

#[test]
fn progress_cancels_and_panics() {
    let calls = Arc::new(AtomicU64::new(0));
    let count = calls.clone();
    let mut ctx = Context::builder()
        .threads(1)
        .progress(move |what, done, total| {
            assert!(!what.is_empty() && done <= total);
            match count.fetch_add(1, Ordering::Relaxed) {
                0 => Break(()),
                1 => panic!("progress that panics"),
                _ => Continue(()),
            }
        })
        .build()
        .unwrap();
    assert_eq!(
        Pipeline::open(&mut ctx, toybox()).unwrap_err().kind(),
        ErrorKind::Cancelled
    );
    let result = catch_unwind(AssertUnwindSafe(|| {
        Pipeline::open(&mut ctx, toybox()).map(drop)
    }));
    assert_eq!(
        result.unwrap_err().downcast_ref::<&str>(),
        Some(&"progress that panics")
    );
    Pipeline::open(&mut ctx, toybox()).unwrap();
    assert!(calls.load(Ordering::Relaxed) > 2);
}

/// Memory of Rust's allocator, counted.
struct Counting(AtomicI64, AtomicU64);

static COUNTING: Counting = Counting(AtomicI64::new(0), AtomicU64::new(0));

unsafe impl HostAllocator for Counting {
    fn alloc(&self, size: usize) -> *mut u8 {
        self.0.fetch_add(size as i64, Ordering::Relaxed);
        self.1.fetch_add(1, Ordering::Relaxed);
        unsafe { alloc(Layout::from_size_align(size.max(1), 64).unwrap()) }
    }

    unsafe fn free(&self, memory: *mut u8, size: usize) {
        self.0.fetch_sub(size as i64, Ordering::Relaxed);
        unsafe { dealloc(memory, Layout::from_size_align(size.max(1), 64).unwrap()) }
    }
}

#[test]
fn memory_comes_from_the_hosts_allocator() {
    let mut ctx = Context::builder()
        .threads(1)
        .allocator(&COUNTING)
        .build()
        .unwrap();
    let pipeline = pipeline(&mut ctx);
    let clip = pipeline
        .start(&mut ctx, &short(1))
        .unwrap()
        .finish()
        .unwrap();
    assert!(ctx.memory().now > 0 && ctx.memory().peak >= ctx.memory().now);
    drop((ctx, pipeline));
    assert!(COUNTING.0.load(Ordering::Relaxed) >= clip.pixels().len() as i64);
    drop(clip);
    assert_eq!(COUNTING.0.load(Ordering::Relaxed), 0);
    assert!(COUNTING.1.load(Ordering::Relaxed) > 0);
}

#[test]
fn clips_are_made_written_and_read() {
    let mut ctx = context();
    let folder = Folder::new();
    let info = ClipInfo {
        width: 16,
        height: 8,
        frames: 1,
        fps_num: 16,
        fps_den: 1,
    };
    let mut clip = Clip::new(&mut ctx, &info).unwrap();
    assert!(clip.info() == info && clip.pixels().iter().all(|byte| *byte == 0));
    for (i, byte) in clip.pixels_mut().iter_mut().enumerate() {
        *byte = i as u8;
    }
    clip.write(&mut ctx, folder.file("clip.png")).unwrap();
    let again = Clip::read(&mut ctx, folder.file("clip.png"), 0, 0).unwrap();
    assert!(again.pixels() == clip.pixels() && again.info().frames == 1);
    let missing = Clip::read(&mut ctx, folder.file("none.png"), 0, 0).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(
        clip.write(&mut ctx, folder.file("clip"))
            .unwrap_err()
            .kind(),
        ErrorKind::Invalid
    );
    assert!(Clip::new(&mut ctx, &ClipInfo { width: 0, ..info }).is_err());
    // A clip outlives its context, on another thread.
    drop(ctx);
    let sum = std::thread::spawn(move || {
        clip.pixels()
            .iter()
            .map(|byte| u64::from(*byte))
            .sum::<u64>()
    });
    assert!(sum.join().unwrap() > 0);
}

#[test]
fn types_cross_threads_as_far_as_the_header_allows() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<Context>();
    sent::<Job<'_>>();
    sent::<FrameStream<'_>>();
    sent::<Trainer<'_>>();
    sent::<Dataset>();
    sent::<Clip>();
    shared::<Pipeline>();
    shared::<(Tae, TextEncoder, VideoModel)>();
    shared::<(JobCanceller, TrainerStopper)>();
    shared::<(
        FramesRef<'_>,
        FramesMut<'_>,
        Latents,
        Text,
        Report,
        Request,
        Error,
    )>();
}
