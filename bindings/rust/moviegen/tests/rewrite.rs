// SPDX-License-Identifier: MIT
//! Prompts rewritten, by a tiny rewriter that answers always the same.

mod common;

use common::{context, Folder};
use moviegen::*;
use std::fs;
use std::path::Path;

const TEXT: &str = "jumping fox"; // no byte comes twice
const QUOTED: &str = "a sign that says \"so\""; // which the answer loses

const MODEL: &str = r#"{"format": "moviegen-model", "version": 1, "kind": "rewriter", "config": {
  "text": {"kind": "t5-bytes", "config": {"vocab": 259, "dim": 16, "layers": 1, "heads": 1, "head_dim": 8,
   "ff_dim": 8, "buckets": 8, "max_distance": 16, "tokens_max": 64}},
  "decoder": {"dim": 16, "layers": 1, "heads": 1, "head_dim": 8, "ff_dim": 8, "buckets": 8,
   "max_distance": 16, "tokens_max": 32, "tied": false}, "instruction": ""}}"#;

const PIPELINE: &str = r#"{"format": "moviegen-pipeline", "version": 1, "rewriter": "rewriter",
  "width": 64, "height": 64, "frames": 32, "fps": 16}"#;

const TABLES: [&str; 3] = [
    "embedding.weight",
    "decoder.embedding.weight",
    "decoder.head.weight",
];

/// Layers of nothing: the decoder looks at the last token alone, whose embedding tells it apart, and
/// the row of the head that answers to that is the next token's.
fn save(dir: &Path) {
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    let mut add = |name: &str, shape: &[usize]| {
        let value = if name.contains("norm") { 1.0 } else { 0.0 };
        let count = shape.iter().product();
        tensors.push((name.to_string(), shape.to_vec(), vec![value; count]));
    };
    TABLES.iter().for_each(|name| add(name, &[259, 16]));
    for prefix in ["", "decoder."] {
        add(&format!("{prefix}relative_bias.weight"), &[8, 1]);
        add(&format!("{prefix}norm.weight"), &[16]);
        for (name, shape) in [
            ("norm1", &[16][..]),
            ("qkv", &[24, 16]),
            ("out", &[16, 8]),
            ("norm2", &[16]),
            ("wi", &[16, 16]),
            ("wo", &[16, 8]),
        ] {
            add(&format!("{prefix}layer0.{name}.weight"), shape);
        }
    }
    for (name, shape) in [
        ("q", &[8, 16][..]),
        ("kv", &[16, 16]),
        ("cross_out", &[16, 8]),
        ("norm3", &[16]),
    ] {
        add(&format!("decoder.layer0.{name}.weight"), shape);
    }
    let mut token = 0; // begins a text; 1 ends it
    let bytes = TEXT.bytes().map(|byte| byte as usize + 3);
    for (i, next) in bytes.chain([1]).enumerate() {
        tensors[1].2[token * 16 + i] = 1.0;
        tensors[2].2[next * 16 + i] = 1.0;
        token = next;
    }
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, shape, values) in &tensors {
        let start = data.len();
        values
            .iter()
            .for_each(|value| data.extend(value.to_le_bytes()));
        entries.push(format!(
            r#""{name}": {{"dtype": "F32", "shape": {shape:?}, "data_offsets": [{start}, {}]}}"#,
            data.len()
        ));
    }
    let header = format!("{{{}}}", entries.join(", "));
    let header = format!("{header:width$}", width = (header.len() + 7) / 8 * 8);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    fs::write(dir.join("rewriter.safetensors"), file).unwrap();
    fs::write(dir.join("rewriter.json"), MODEL).unwrap();
    fs::write(dir.join("pipeline.json"), PIPELINE).unwrap();
}

#[test]
fn a_prompt_is_rewritten() {
    let mut ctx = context();
    let folder = Folder::new();
    save(&folder.0);
    let mut pipeline = Pipeline::open(&mut ctx, &folder.0).unwrap();
    let alone = Rewriter::open(&mut ctx, &folder.0, "rewriter").unwrap();
    let info = alone.info();
    assert_eq!(info, pipeline.rewriter.as_ref().unwrap().info());
    assert!(info.parameters > 1000 && info.bytes >= 4 * info.parameters);
    assert_eq!(pipeline.rewrite(&mut ctx, "fox?").unwrap(), TEXT);
    assert_eq!(pipeline.rewrite(&mut ctx, "füchse").unwrap(), TEXT);
    assert_eq!(pipeline.rewrite(&mut ctx, QUOTED).unwrap(), QUOTED);
    for wrong in ["", "a\0b", &"a".repeat(5000), &"a".repeat(100)] {
        let error = pipeline.rewrite(&mut ctx, wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let hash = pipeline.weights_hash();
    pipeline.rewriter = None;
    assert_ne!(pipeline.weights_hash(), hash);
    let error = pipeline.rewrite(&mut ctx, "fox?").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    let parts = Pipeline {
        rewriter: Some(alone),
        ..Default::default()
    };
    assert_eq!(parts.rewrite(&mut ctx, "fox?").unwrap(), TEXT);
}
