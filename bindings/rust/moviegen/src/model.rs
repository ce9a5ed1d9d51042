// SPDX-License-Identifier: MIT
//! Networks, and the pipeline that they make.

use crate::raw::{c_path, c_text, Shared};
use crate::{Context, Error, ErrorKind, Hold, Result};
use moviegen_sys as sys;
use std::fmt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// The ranks that a network is split over, of the context that opened it.
type Mesh = Option<Arc<Shared<sys::mgen_mesh>>>;

/// What a loaded network is; numbers that do not apply are 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelInfo {
    /// TAE, video model: channels of the latents.
    pub channels: u32,
    /// TAE: pixels of a latent, along height and width.
    pub spatial_factor: u32,
    /// TAE: frames of a latent frame.
    pub temporal_factor: u32,
    /// Text encoder: values of a token; video model: of its widest role.
    pub text_width: u32,
    /// Text encoder: tokens at most.
    pub text_tokens: u32,
    /// Count.
    pub parameters: u64,
    /// Bytes of host memory.
    pub bytes: u64,
    /// Identity of the weights, the same for the same file.
    pub hash: u64,
    /// Video model: guidance of requests that ask for none.
    pub guidance: f32,
    /// Video model: whether requests put the rate, "FPS-16 ", before prompts of videos that do not
    /// begin with "FPS-".
    pub fps_prefix: bool,
    /// Upsampler: of width and height, as it was trained.
    pub upsampling: u32,
    /// Video and audio model: noise scale of requests that ask for none.
    pub noise_scale: f32,
    /// Editor: kinds of edits in its file.
    pub tasks: u32,
    /// Editor and personalizer: source guidance of requests that ask for none.
    pub source_guidance: f32,
    /// Audio model: samples a second.
    pub rate: u32,
    /// Audio model: whether it makes the sound of clips, or of texts only.
    pub sees_clips: bool,
}

macro_rules! network {
    ($(#[$doc:meta])* $name:ident, $raw:ident, $open:ident, $retain:ident, $release:ident, $info:ident) => {
        $(#[$doc])*
        ///
        /// Immutable: any number of contexts and threads may use it at once. `Clone` adds an owner;
        /// the weights are freed with the last.
        pub struct $name(NonNull<sys::$raw>, Mesh);

        // Safety: a handle is immutable once loaded; retain and release are for any thread.
        unsafe impl Send for $name {}
        unsafe impl Sync for $name {}

        impl $name {
            /// Load `<name>.json` and `<name>.safetensors` of the folder `dir`. Its memory counts
            /// on `ctx`.
            pub fn open(ctx: &mut Context, dir: impl AsRef<Path>, name: &str) -> Result<Self> {
                let (dir, name) = (c_path(dir.as_ref())?, c_text("the name", name)?);
                let (raw_ctx, mut raw) = (ctx.enter(), ptr::null_mut());
                // Safety: all pointers live during the call.
                let status = unsafe { sys::$open(raw_ctx, dir.as_ptr(), name.as_ptr(), &mut raw) };
                let handle = Self::owned(raw, None);
                ctx.check(status)?;
                handle.ok_or_else(|| Error::new(ErrorKind::Internal, "the library gave no network"))
            }

            /// Take over an owner.
            fn owned(raw: *mut sys::$raw, mesh: Mesh) -> Option<Self> {
                NonNull::new(raw).map(|raw| $name(raw, mesh))
            }

            pub(crate) fn as_raw(&self) -> *mut sys::$raw {
                self.0.as_ptr()
            }

            /// What it is.
            pub fn info(&self) -> ModelInfo {
                let mut info = sys::mgen_model_info::default();
                // Safety: any thread may ask. It fails for no handle that lives.
                unsafe { sys::$info(self.0.as_ptr(), &mut info) };
                ModelInfo {
                    channels: info.channels,
                    spatial_factor: info.spatial_factor,
                    temporal_factor: info.temporal_factor,
                    text_width: info.text_width,
                    text_tokens: info.text_tokens,
                    parameters: info.parameters,
                    bytes: info.bytes,
                    hash: info.hash,
                    guidance: info.guidance,
                    fps_prefix: info.fps_prefix != 0,
                    upsampling: info.upsampling,
                    noise_scale: info.noise_scale,
                    tasks: info.tasks,
                    source_guidance: info.source_guidance,
                    rate: info.rate,
                    sees_clips: info.sees_clips != 0,
                }
            }
        }

        impl Clone for $name {
            fn clone(&self) -> Self {
                // Safety: any thread may add an owner.
                unsafe { sys::$retain(self.0.as_ptr()) };
                $name(self.0, self.1.clone())
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // Safety: one owner was ours.
                unsafe { sys::$release(self.0.as_ptr()) };
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.info()).finish()
            }
        }
    };
}

network! {
    /// Temporal autoencoder: pixels from and to latents.
    Tae, mgen_tae, mgen_tae_open, mgen_tae_retain, mgen_tae_release, mgen_tae_get_info
}
network! {
    /// Text encoder: prompt to vectors.
    TextEncoder, mgen_text_encoder, mgen_text_encoder_open, mgen_text_encoder_retain, mgen_text_encoder_release,
    mgen_text_encoder_get_info
}
network! {
    /// Flow-matching video transformer.
    VideoModel, mgen_video_model, mgen_video_model_open, mgen_video_model_retain, mgen_video_model_release,
    mgen_video_model_get_info
}

network! {
    /// Clip to larger clip: the transformer, and the autoencoder that its file names.
    Upsampler, mgen_upsampler, mgen_upsampler_open, mgen_upsampler_retain, mgen_upsampler_release,
    mgen_upsampler_get_info
}

network! {
    /// Clip and instruction to clip: the transformer; the other networks are the pipeline's.
    Editor, mgen_editor, mgen_editor_open, mgen_editor_retain, mgen_editor_release, mgen_editor_get_info
}

network! {
    /// Clip or text to sound: the transformer, and the networks that its file names.
    AudioModel, mgen_audio_model, mgen_audio_model_open, mgen_audio_model_retain, mgen_audio_model_release,
    mgen_audio_model_get_info
}

network! {
    /// Photo of a face and prompt to clip: the transformer, and the image encoder that its file
    /// names; the other networks are the pipeline's.
    Personalizer, mgen_personalizer, mgen_personalizer_open, mgen_personalizer_retain, mgen_personalizer_release,
    mgen_personalizer_get_info
}

network! {
    /// Prompt as one types it to prompt as the captions of training are.
    Rewriter, mgen_rewriter, mgen_rewriter_open, mgen_rewriter_retain, mgen_rewriter_release, mgen_rewriter_get_info
}

/// What a pipeline is made of: networks, each optional, and the clip that the model was trained on.
/// It may be filled by hand, with networks of any context.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Count; longer clips are made in windows of this length.
    pub frames: u32,
    /// Frames per second.
    pub fps: u32,
    /// Needed for every request.
    pub tae: Option<Tae>,
    /// Roles UL2, ByT5, MetaCLIP; None where the video model has none.
    pub text: [Option<TextEncoder>; 3],
    /// Needed to generate.
    pub video: Option<VideoModel>,
    /// Needed to upsample; it reads `text`. None over ranks.
    pub upsampler: Option<Upsampler>,
    /// Needed to edit; it reads `tae` and `text`. None over ranks.
    pub editor: Option<Editor>,
    /// Needed for sound. None over ranks.
    pub audio: Option<AudioModel>,
    /// Needed to personalize; it reads `tae` and `text`. None over ranks.
    pub personalizer: Option<Personalizer>,
    /// Needed for [`rewrite`](Pipeline::rewrite) alone.
    pub rewriter: Option<Rewriter>,
}

impl Pipeline {
    /// Load a model folder: `pipeline.json` beside its networks. Where the context is one of several
    /// ranks ([`Context::join`]), all of them open the folder and make each request together, each
    /// with its own context; the first one gets the clip.
    pub fn open(ctx: &mut Context, dir: impl AsRef<Path>) -> Result<Pipeline> {
        Pipeline::open_as(ctx, dir, Hold::Model)
    }

    /// The same, with all networks held and run in another way than the model's own.
    pub fn open_as(ctx: &mut Context, dir: impl AsRef<Path>, hold: Hold) -> Result<Pipeline> {
        let dir = c_path(dir.as_ref())?;
        let mut raw = sys::mgen_pipeline {
            precision: hold.number(),
            mesh: ctx.mesh.get(),
            ..Default::default()
        };
        let mesh = (!raw.mesh.is_null()).then(|| ctx.mesh.clone());
        let raw_ctx = ctx.enter();
        // Safety: all pointers live during the call.
        let status = unsafe { sys::mgen_pipeline_open(raw_ctx, dir.as_ptr(), &mut raw) };
        // Each handle of the struct is an owner, which moves into its wrapper.
        let pipeline = Pipeline {
            width: raw.width,
            height: raw.height,
            frames: raw.frames,
            fps: raw.fps,
            tae: Tae::owned(raw.tae, None),
            text: raw.text.map(|raw| TextEncoder::owned(raw, None)),
            video: VideoModel::owned(raw.video, mesh),
            upsampler: Upsampler::owned(raw.upsampler, None),
            editor: Editor::owned(raw.editor, None),
            audio: AudioModel::owned(raw.audio, None),
            personalizer: Personalizer::owned(raw.personalizer, None),
            rewriter: Rewriter::owned(raw.rewriter, None),
        };
        ctx.check(status).map(|()| pipeline)
    }

    /// Average the video models and text encoders of model folders of one autoencoder into the folder
    /// `out`, made if missing: each with its weight, above 0. A model that is there is replaced when the
    /// new one is whole.
    pub fn average<P: AsRef<Path>>(
        ctx: &mut Context,
        dirs: &[(P, f64)],
        out: impl AsRef<Path>,
    ) -> Result<()> {
        let out = c_path(out.as_ref())?;
        let names = dirs.iter().map(|(dir, _)| c_path(dir.as_ref()));
        let names = names.collect::<Result<Vec<_>>>()?;
        let pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let weights: Vec<f64> = dirs.iter().map(|(_, weight)| *weight).collect();
        let count = u32::try_from(dirs.len())
            .map_err(|_| Error::invalid("more folders than can be averaged"))?;
        let raw_ctx = ctx.enter();
        // Safety: all pointers live during the call.
        let status = unsafe {
            sys::mgen_pipeline_average(
                raw_ctx,
                pointers.as_ptr(),
                weights.as_ptr(),
                count,
                out.as_ptr(),
            )
        };
        ctx.check(status)
    }

    /// Store the transformers of a model folder anew, in their places: as [`Hold::Fp8`], in half the
    /// space, which rounds their weights, or as [`Hold::Bf16`].
    pub fn convert(ctx: &mut Context, dir: impl AsRef<Path>, hold: Hold) -> Result<()> {
        let dir = c_path(dir.as_ref())?;
        let raw_ctx = ctx.enter();
        // Safety: all pointers live during the call.
        let status = unsafe { sys::mgen_pipeline_convert(raw_ctx, dir.as_ptr(), hold.number()) };
        ctx.check(status)
    }

    /// The struct of C, which borrows the handles, for a call on `ctx`; on another context than that
    /// which opened it, the library refuses a network that is split over ranks.
    pub(crate) fn to_raw(&self, ctx: Option<&Context>) -> sys::mgen_pipeline {
        let text = |role: usize| {
            self.text[role]
                .as_ref()
                .map_or(ptr::null_mut(), TextEncoder::as_raw)
        };
        let mesh = self.video.as_ref().and_then(|video| video.1.as_ref());
        let mesh = mesh.filter(|mesh| ctx.map_or(false, |ctx| Arc::ptr_eq(mesh, &ctx.mesh)));
        sys::mgen_pipeline {
            mesh: mesh.map_or(ptr::null_mut(), |mesh| mesh.get()),
            width: self.width,
            height: self.height,
            frames: self.frames,
            fps: self.fps,
            tae: self.tae.as_ref().map_or(ptr::null_mut(), Tae::as_raw),
            text: [text(0), text(1), text(2)],
            video: self
                .video
                .as_ref()
                .map_or(ptr::null_mut(), VideoModel::as_raw),
            upsampler: self
                .upsampler
                .as_ref()
                .map_or(ptr::null_mut(), Upsampler::as_raw),
            editor: self.editor.as_ref().map_or(ptr::null_mut(), Editor::as_raw),
            audio: self
                .audio
                .as_ref()
                .map_or(ptr::null_mut(), AudioModel::as_raw),
            personalizer: self
                .personalizer
                .as_ref()
                .map_or(ptr::null_mut(), Personalizer::as_raw),
            rewriter: self
                .rewriter
                .as_ref()
                .map_or(ptr::null_mut(), Rewriter::as_raw),
            ..Default::default()
        }
    }

    /// Identity of the weights, the same for the same files.
    pub fn weights_hash(&self) -> u64 {
        // Safety: the struct lives during the call, and its handles do not change.
        unsafe { sys::mgen_pipeline_hash(&self.to_raw(None)) }
    }
}
