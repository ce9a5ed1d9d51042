// SPDX-License-Identifier: MIT
//! The declarations against the library that runs (sizes, offsets, numbers) and the header
//! (functions).

use moviegen_sys::*;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::mem::{size_of, MaybeUninit};
use std::ptr::addr_of;

/// "offsetof type.field" of each field, and "sizeof type".
macro_rules! layout {
    ($table:ident, $($name:ident { $($field:ident)* })*) => {$(
        let room = MaybeUninit::<$name>::uninit();
        let start = room.as_ptr();
        $(
            // Safety: only addresses inside the room are computed.
            let offset = unsafe { addr_of!((*start).$field) as usize } - start as usize;
            $table.insert(concat!("offsetof ", stringify!($name), ".", stringify!($field)).into(), offset as i64);
        )*
        $table.insert(concat!("sizeof ", stringify!($name)).into(), size_of::<$name>() as i64);
    )*};
}

macro_rules! numbers {
    ($table:ident, $($name:ident)*) => {$( $table.insert(stringify!($name).into(), $name as i64); )*};
}

fn ours() -> BTreeMap<String, i64> {
    let mut table = BTreeMap::new();
    numbers! { table,
        MGEN_VERSION_MAJOR MGEN_VERSION_MINOR MGEN_VERSION_PATCH
        MGEN_OK MGEN_E_INVALID MGEN_E_STATE MGEN_E_UNSUPPORTED MGEN_E_VERSION MGEN_E_NO_MEMORY MGEN_E_LIMIT
        MGEN_E_NOT_FOUND MGEN_E_IO MGEN_E_CORRUPT MGEN_E_NO_SPACE MGEN_E_DEVICE MGEN_E_DEVICE_LOST
        MGEN_E_NUMERIC MGEN_E_PEER_LOST MGEN_E_TIMEOUT MGEN_E_DESYNC MGEN_E_CANCELLED MGEN_E_AGAIN
        MGEN_E_INTERNAL
        MGEN_CLASS_OK MGEN_CLASS_UNCHANGED MGEN_CLASS_FAILED MGEN_CLASS_DEAD
        MGEN_LOG_ERROR MGEN_LOG_WARN MGEN_LOG_INFO MGEN_LOG_DEBUG
        MGEN_FORMAT_RGB8 MGEN_FORMAT_RGBF32 MGEN_FORMAT_YUV420
        MGEN_SCHEDULE_LINEAR_QUADRATIC MGEN_SCHEDULE_LINEAR MGEN_SCHEDULE_LINEAR_QUADRATIC_1000
        MGEN_SOLVER_EULER MGEN_SOLVER_MIDPOINT MGEN_SOLVER_DOPRI5
        MGEN_PRECISION_DEFAULT MGEN_PRECISION_F32 MGEN_PRECISION_BF16 MGEN_PRECISION_FP8
        MGEN_EDIT_AUTO MGEN_EDIT_LOCAL MGEN_EDIT_STYLE MGEN_EDIT_BACKGROUND MGEN_EDIT_REMOVAL
        MGEN_EDIT_ADDITION MGEN_EDIT_TEXTURE MGEN_EDIT_SEGMENTATION
        MGEN_SOUND_BLENDED MGEN_SOUND_ONE_BY_ONE
    }
    layout! { table,
        mgen_allocator { alloc free user }
        mgen_context_params {
            struct_size threads host_memory_max device_memory_max allocator log log_user progress
            progress_user device cache_dir plugin_dir kernels error_text error_size
            autotune reserved0
        }
        mgen_mesh_params {
            struct_size rank ranks axes timeout_ms by_host reserved0 meet run exchange user size reserved1
        }
        mgen_frames { struct_size format width height count reserved0 plane row_stride frame_stride }
        mgen_clip_info { struct_size width height frames fps_num fps_den }
        mgen_sound_info { struct_size rate channels reserved0 samples }
        mgen_model_info {
            struct_size channels spatial_factor temporal_factor text_width text_tokens parameters bytes hash
            guidance fps_prefix upsampling noise_scale tasks source_guidance rate sees_clips
        }
        mgen_pipeline { struct_size width height frames fps precision tae text video mesh upsampler editor audio personalizer rewriter }
        mgen_latents { struct_size frames height width channels reserved0 data }
        mgen_generate_params {
            struct_size steps prompt negative_prompt seed width height frames guidance schedule
            frames_format on_progress on_preview on_frames user into solver guidance_from guidance_to
            drop_text edit_task source_guidance strength noise_scale
        }
        mgen_sound_params {
            struct_size steps prompt music negative seed seconds guidance quality solver extension
            candidates noise_scale context on_progress user
        }
        mgen_estimate { struct_size width height frames host_bytes device_bytes flops }
        mgen_job_info { struct_size done total width height frames frames_done reserved0 host_bytes }
        mgen_text { struct_size tokens width reserved0 data }
        mgen_sample { struct_size width height frames pixels caption caption_size sound sound_samples sound_caption edited instruction edit_task reserved0 }
        mgen_dataset_params { struct_size width height frames count read released user fps edits sound_samples }
        mgen_trainer_params {
            struct_size reserved0 recipe stage dir seed dataset resume on_step user mesh
        }
        mgen_plan_params {
            struct_size batch preset recompute precision width height frames text_tokens gpus
            global_batch gpu mesh text timeline
        }
        mgen_curate_params { struct_size reserved0 dir rules out on_progress user }
        mgen_eval_params {
            struct_size n protocol seed steps guidance on_progress user schedule solver guidance_from
            guidance_to drop_text noise_scale dataset
        }
    }
    table
}

fn theirs() -> BTreeMap<String, i64> {
    let mut table = BTreeMap::new();
    for i in 0.. {
        let name = unsafe { mgen_abi_name(i) };
        if name.is_null() {
            break;
        }
        let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap();
        table.insert(name.to_string(), unsafe { mgen_abi_value(i) });
    }
    table
}

#[test]
fn sizes_offsets_and_numbers_are_the_librarys() {
    let (ours, theirs) = (ours(), theirs());
    assert!(
        theirs.len() > 100,
        "the library names only {} numbers",
        theirs.len()
    );
    let mut wrong = Vec::new();
    for name in ours
        .keys()
        .chain(theirs.keys().filter(|name| !ours.contains_key(*name)))
    {
        if ours.get(name) != theirs.get(name) {
            wrong.push(format!(
                "{name}: here {:?}, library {:?}",
                ours.get(name),
                theirs.get(name)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn defaults_are_those_of_the_init_macros() {
    let params = mgen_generate_params::default();
    assert_eq!(
        params.struct_size as usize,
        size_of::<mgen_generate_params>()
    );
    assert_eq!(
        (params.steps, params.guidance, params.prompt.is_null()),
        (0, 0.0, true)
    );
    assert!(params.on_frames.is_none());
}

#[test]
fn the_version_is_that_of_the_header() {
    let version = unsafe { CStr::from_ptr(mgen_version()) }.to_str().unwrap();
    assert_eq!(
        version,
        format!("{MGEN_VERSION_MAJOR}.{MGEN_VERSION_MINOR}.{MGEN_VERSION_PATCH}")
    );
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
}

/// One blank between words, none beside punctuation.
fn squeeze(text: &str) -> String {
    let mut out = String::new();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    for c in text.chars() {
        if c.is_whitespace() {
            if out.ends_with(word) {
                out.push(' ');
            }
        } else {
            if out.ends_with(' ') && !word(c) {
                out.pop();
            }
            out.push(c);
        }
    }
    out.replace(",)", ")").replace(",}", "}").replace(",>", ">")
}

fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("/*") {
        out.push_str(&rest[..start]);
        let end = rest[start..].find("*/").expect("a comment ends");
        rest = &rest[start + end + 2..];
    }
    out + rest
}

/// "const mgen_text *const text[3]" as name and Rust type; without a name for results.
fn translate(declaration: &str, named: bool) -> (String, String) {
    let spaced = declaration.replace('*', " * ").replace('[', " [ ");
    let mut words: Vec<&str> = spaced.split_whitespace().collect();
    let array = words.iter().position(|word| *word == "[");
    words.truncate(array.unwrap_or(words.len()));
    let name = if named { words.pop().unwrap_or("") } else { "" };
    if array.is_some() {
        words.push("*");
    }
    let mut constant = false;
    let mut kind = String::new();
    for word in words {
        match word {
            "const" => constant = true,
            "*" => {
                kind = format!("*{} {kind}", if constant { "const" } else { "mut" });
                constant = false;
            }
            base => {
                kind = match base {
                    "char" => "c_char",
                    "void" => "c_void",
                    "float" => "f32",
                    "double" => "f64",
                    "uint8_t" => "u8",
                    "int32_t" => "i32",
                    "uint32_t" => "u32",
                    "int64_t" => "i64",
                    "uint64_t" => "u64",
                    "size_t" => "usize",
                    other => other,
                }
                .to_string()
            }
        }
    }
    (name.to_string(), kind)
}

/// The parameters and the result of a function, as this crate must declare them.
fn signature(parameters: &str, result: &str) -> String {
    let parameters: Vec<String> = parameters
        .split(',')
        .filter(|parameter| parameter.trim() != "void")
        .map(|parameter| {
            let (name, kind) = translate(parameter, true);
            format!("{name}: {kind}")
        })
        .collect();
    let result = if result == "c_void" {
        String::new()
    } else {
        format!(" -> {result}")
    };
    format!("({}){result}", parameters.join(", "))
}

/// A prototype of the header as this crate must declare it.
fn expected(prototype: &str) -> String {
    let (head, rest) = prototype.split_once('(').unwrap();
    let (name, result) = translate(head, true);
    let parameters = rest.rsplit_once(')').unwrap().0;
    squeeze(&format!("pub fn {name}{};", signature(parameters, &result)))
}

/// The fields of one line of a struct, such as "void *plane[3]", "uint32_t width, height" or
/// "void (*released)(void *user)".
fn expected_fields(line: &str) -> String {
    if let Some((result, rest)) = line.split_once("(*") {
        let (name, parameters) = rest.split_once(")(").unwrap();
        let parameters = parameters.rsplit_once(')').unwrap().0;
        let signature = signature(parameters, &translate(result, false).1);
        return format!("pub {name}: Option<unsafe extern \"C\" fn{signature}>,");
    }
    let mut names = line.split(',');
    let first = names.next().unwrap();
    let (first, array) = match first.split_once('[') {
        Some((first, count)) => (first, count.strip_suffix(']')),
        None => (first, None),
    };
    let (first, kind) = translate(first, true);
    let kind = match array {
        Some(count) => format!("[{kind}; {count}]"),
        None => kind,
    };
    let more = names.map(|name| name.trim().to_string());
    std::iter::once(first)
        .chain(more)
        .map(|name| format!("pub {name}: {kind},"))
        .collect()
}

fn header() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../include/moviegen.h");
    without_comments(&std::fs::read_to_string(path).expect("the header"))
}

#[test]
fn fields_are_the_headers() {
    let header = header();
    let declared = squeeze(include_str!("../src/types.rs"));
    let mut count = 0;
    for piece in header.split("typedef struct ").skip(1) {
        let (name, rest) = match piece.split_once(" {") {
            Some((name, rest)) if !name.contains(';') => (name, rest),
            _ => continue,
        };
        let body = rest.split_once('}').unwrap().0;
        let lines = body.split(';').map(str::trim);
        let fields: String = lines
            .filter(|line| !line.is_empty())
            .map(expected_fields)
            .collect();
        let wanted = squeeze(&format!("pub struct {name} {{ {fields} }}"));
        assert!(
            declared.contains(&wanted),
            "not declared like this:\n{wanted}"
        );
        count += 1;
    }
    assert_eq!(declared.matches("pub struct mgen_").count(), count);
}

#[test]
fn functions_are_the_headers() {
    let header = header();
    let declared = squeeze(include_str!("../src/functions.rs"));
    let prototypes: Vec<&str> = header
        .split("\nMGEN_API ")
        .skip(1)
        .map(|piece| piece.split(';').next().unwrap())
        .collect();
    assert!(
        prototypes.len() > 60,
        "only {} functions were found",
        prototypes.len()
    );
    let missing: Vec<String> = prototypes
        .iter()
        .map(|prototype| expected(prototype))
        .filter(|line| !declared.contains(line))
        .collect();
    assert!(
        missing.is_empty(),
        "not declared like this:\n{}",
        missing.join("\n")
    );
    assert_eq!(declared.matches("pub fn ").count(), prototypes.len());
}
