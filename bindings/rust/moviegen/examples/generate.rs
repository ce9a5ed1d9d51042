// SPDX-License-Identifier: MIT
//! generate MODEL PROMPT FILE: a film from a prompt.

use moviegen::{Context, Error, ErrorKind, Hooks, Pipeline, Request, Result};
use std::ops::ControlFlow;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (model, prompt, file) = match words.as_slice() {
        [model, prompt, file] => (model, prompt, file),
        _ => return Err(Error::new(ErrorKind::Invalid, "generate MODEL PROMPT FILE")),
    };
    let mut ctx = Context::new()?;
    let pipeline = Pipeline::open(&mut ctx, model)?;
    let hooks = Hooks::new().progress(|done, total| {
        eprintln!("{done} of {total}");
        ControlFlow::Continue(())
    });
    let clip = pipeline
        .start_with(&mut ctx, &Request::new(prompt), hooks)?
        .finish()?;
    clip.write(&mut ctx, file)
}
