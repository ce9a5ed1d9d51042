// SPDX-License-Identifier: MIT
//! Functions, in the order of the header. Each declaration stands in the header's words, which a
//! test reads.

use crate::types::*;
use std::os::raw::c_char;

extern "C" {
    pub fn mgen_status_name(status: mgen_status) -> *const c_char;
    pub fn mgen_status_class(status: mgen_status) -> i32;
    pub fn mgen_version() -> *const c_char;
    pub fn mgen_abi_name(i: u32) -> *const c_char;
    pub fn mgen_abi_value(i: u32) -> i64;

    pub fn mgen_context_create(
        params: *const mgen_context_params,
        out: *mut *mut mgen_context,
    ) -> mgen_status;
    pub fn mgen_context_destroy(ctx: *mut mgen_context);
    pub fn mgen_last_error(ctx: *const mgen_context) -> *const c_char;
    pub fn mgen_last_status(ctx: *const mgen_context) -> mgen_status;
    pub fn mgen_context_memory(ctx: *const mgen_context, now: *mut u64, peak: *mut u64);
    pub fn mgen_context_trim(ctx: *mut mgen_context);
    pub fn mgen_context_kernels(ctx: *const mgen_context) -> *const c_char;

    pub fn mgen_clip_create(
        ctx: *mut mgen_context,
        info: *const mgen_clip_info,
        out: *mut *mut mgen_clip,
    ) -> mgen_status;
    pub fn mgen_clip_read(
        ctx: *mut mgen_context,
        path: *const c_char,
        first: u64,
        count: u64,
        out: *mut *mut mgen_clip,
    ) -> mgen_status;
    pub fn mgen_clip_destroy(clip: *mut mgen_clip);
    pub fn mgen_clip_get_info(clip: *const mgen_clip, info: *mut mgen_clip_info) -> mgen_status;
    pub fn mgen_clip_pixels(clip: *mut mgen_clip) -> *mut u8;
    pub fn mgen_clip_write(
        ctx: *mut mgen_context,
        clip: *const mgen_clip,
        path: *const c_char,
    ) -> mgen_status;

    pub fn mgen_sound_create(
        ctx: *mut mgen_context,
        info: *const mgen_sound_info,
        out: *mut *mut mgen_sound,
    ) -> mgen_status;
    pub fn mgen_sound_read(
        ctx: *mut mgen_context,
        path: *const c_char,
        rate: u32,
        channels: u32,
        out: *mut *mut mgen_sound,
    ) -> mgen_status;
    pub fn mgen_sound_destroy(sound: *mut mgen_sound);
    pub fn mgen_sound_get_info(sound: *const mgen_sound, info: *mut mgen_sound_info)
        -> mgen_status;
    pub fn mgen_sound_samples(sound: *mut mgen_sound) -> *mut f32;
    pub fn mgen_sound_write(
        ctx: *mut mgen_context,
        sound: *const mgen_sound,
        path: *const c_char,
    ) -> mgen_status;
    pub fn mgen_movie_write(
        ctx: *mut mgen_context,
        clip: *const mgen_clip,
        sound: *const mgen_sound,
        path: *const c_char,
    ) -> mgen_status;

    pub fn mgen_tae_open(
        ctx: *mut mgen_context,
        dir: *const c_char,
        name: *const c_char,
        out: *mut *mut mgen_tae,
    ) -> mgen_status;
    pub fn mgen_text_encoder_open(
        ctx: *mut mgen_context,
        dir: *const c_char,
        name: *const c_char,
        out: *mut *mut mgen_text_encoder,
    ) -> mgen_status;
    pub fn mgen_video_model_open(
        ctx: *mut mgen_context,
        dir: *const c_char,
        name: *const c_char,
        out: *mut *mut mgen_video_model,
    ) -> mgen_status;
    pub fn mgen_upsampler_open(
        ctx: *mut mgen_context,
        dir: *const c_char,
        name: *const c_char,
        out: *mut *mut mgen_upsampler,
    ) -> mgen_status;
    pub fn mgen_editor_open(
        ctx: *mut mgen_context,
        dir: *const c_char,
        name: *const c_char,
        out: *mut *mut mgen_editor,
    ) -> mgen_status;
    pub fn mgen_audio_model_open(
        ctx: *mut mgen_context,
        dir: *const c_char,
        name: *const c_char,
        out: *mut *mut mgen_audio_model,
    ) -> mgen_status;
    pub fn mgen_personalizer_open(
        ctx: *mut mgen_context,
        dir: *const c_char,
        name: *const c_char,
        out: *mut *mut mgen_personalizer,
    ) -> mgen_status;
    pub fn mgen_rewriter_open(
        ctx: *mut mgen_context,
        dir: *const c_char,
        name: *const c_char,
        out: *mut *mut mgen_rewriter,
    ) -> mgen_status;
    pub fn mgen_tae_retain(tae: *mut mgen_tae) -> *mut mgen_tae;
    pub fn mgen_tae_release(tae: *mut mgen_tae);
    pub fn mgen_text_encoder_retain(encoder: *mut mgen_text_encoder) -> *mut mgen_text_encoder;
    pub fn mgen_text_encoder_release(encoder: *mut mgen_text_encoder);
    pub fn mgen_video_model_retain(model: *mut mgen_video_model) -> *mut mgen_video_model;
    pub fn mgen_video_model_release(model: *mut mgen_video_model);
    pub fn mgen_upsampler_retain(upsampler: *mut mgen_upsampler) -> *mut mgen_upsampler;
    pub fn mgen_upsampler_release(upsampler: *mut mgen_upsampler);
    pub fn mgen_editor_retain(editor: *mut mgen_editor) -> *mut mgen_editor;
    pub fn mgen_editor_release(editor: *mut mgen_editor);
    pub fn mgen_audio_model_retain(model: *mut mgen_audio_model) -> *mut mgen_audio_model;
    pub fn mgen_audio_model_release(model: *mut mgen_audio_model);
    pub fn mgen_personalizer_retain(personalizer: *mut mgen_personalizer)
        -> *mut mgen_personalizer;
    pub fn mgen_personalizer_release(personalizer: *mut mgen_personalizer);
    pub fn mgen_rewriter_retain(rewriter: *mut mgen_rewriter) -> *mut mgen_rewriter;
    pub fn mgen_rewriter_release(rewriter: *mut mgen_rewriter);
    pub fn mgen_tae_get_info(tae: *const mgen_tae, info: *mut mgen_model_info) -> mgen_status;
    pub fn mgen_text_encoder_get_info(
        encoder: *const mgen_text_encoder,
        info: *mut mgen_model_info,
    ) -> mgen_status;
    pub fn mgen_video_model_get_info(
        model: *const mgen_video_model,
        info: *mut mgen_model_info,
    ) -> mgen_status;
    pub fn mgen_upsampler_get_info(
        upsampler: *const mgen_upsampler,
        info: *mut mgen_model_info,
    ) -> mgen_status;
    pub fn mgen_editor_get_info(
        editor: *const mgen_editor,
        info: *mut mgen_model_info,
    ) -> mgen_status;
    pub fn mgen_audio_model_get_info(
        model: *const mgen_audio_model,
        info: *mut mgen_model_info,
    ) -> mgen_status;
    pub fn mgen_personalizer_get_info(
        personalizer: *const mgen_personalizer,
        info: *mut mgen_model_info,
    ) -> mgen_status;
    pub fn mgen_rewriter_get_info(
        rewriter: *const mgen_rewriter,
        info: *mut mgen_model_info,
    ) -> mgen_status;
    pub fn mgen_pipeline_open(
        ctx: *mut mgen_context,
        dir: *const c_char,
        pipe: *mut mgen_pipeline,
    ) -> mgen_status;
    pub fn mgen_pipeline_close(pipe: *mut mgen_pipeline);
    pub fn mgen_pipeline_hash(pipe: *const mgen_pipeline) -> u64;
    pub fn mgen_pipeline_average(
        ctx: *mut mgen_context,
        dirs: *const *const c_char,
        weights: *const f64,
        count: u32,
        out: *const c_char,
    ) -> mgen_status;
    pub fn mgen_pipeline_convert(
        ctx: *mut mgen_context,
        dir: *const c_char,
        precision: u32,
    ) -> mgen_status;

    pub fn mgen_rewrite(
        ctx: *mut mgen_context,
        pipe: *const mgen_pipeline,
        prompt: *const c_char,
        out: *mut c_char,
        size: u64,
    ) -> mgen_status;
    pub fn mgen_generate_estimate(
        ctx: *mut mgen_context,
        pipeline: *const mgen_pipeline,
        params: *const mgen_generate_params,
        out: *mut mgen_estimate,
    ) -> mgen_status;
    pub fn mgen_generate_start(
        ctx: *mut mgen_context,
        pipeline: *const mgen_pipeline,
        params: *const mgen_generate_params,
        out: *mut *mut mgen_job,
    ) -> mgen_status;
    pub fn mgen_upsample_start(
        ctx: *mut mgen_context,
        pipeline: *const mgen_pipeline,
        clip: *const mgen_clip,
        params: *const mgen_generate_params,
        out: *mut *mut mgen_job,
    ) -> mgen_status;
    pub fn mgen_upsample_estimate(
        ctx: *mut mgen_context,
        pipeline: *const mgen_pipeline,
        clip: *const mgen_clip,
        params: *const mgen_generate_params,
        out: *mut mgen_estimate,
    ) -> mgen_status;
    pub fn mgen_edit_start(
        ctx: *mut mgen_context,
        pipeline: *const mgen_pipeline,
        clip: *const mgen_clip,
        params: *const mgen_generate_params,
        out: *mut *mut mgen_job,
    ) -> mgen_status;
    pub fn mgen_edit_estimate(
        ctx: *mut mgen_context,
        pipeline: *const mgen_pipeline,
        clip: *const mgen_clip,
        params: *const mgen_generate_params,
        out: *mut mgen_estimate,
    ) -> mgen_status;
    pub fn mgen_personalize_start(
        ctx: *mut mgen_context,
        pipeline: *const mgen_pipeline,
        photo: *const mgen_clip,
        params: *const mgen_generate_params,
        out: *mut *mut mgen_job,
    ) -> mgen_status;
    pub fn mgen_personalize_estimate(
        ctx: *mut mgen_context,
        pipeline: *const mgen_pipeline,
        photo: *const mgen_clip,
        params: *const mgen_generate_params,
        out: *mut mgen_estimate,
    ) -> mgen_status;
    pub fn mgen_sound_start(
        ctx: *mut mgen_context,
        pipeline: *const mgen_pipeline,
        clip: *const mgen_clip,
        params: *const mgen_sound_params,
        out: *mut *mut mgen_job,
    ) -> mgen_status;
    pub fn mgen_sound_estimate(
        ctx: *mut mgen_context,
        pipeline: *const mgen_pipeline,
        clip: *const mgen_clip,
        params: *const mgen_sound_params,
        out: *mut mgen_estimate,
    ) -> mgen_status;
    pub fn mgen_job_wait(job: *mut mgen_job, timeout_ms: i64) -> mgen_status;
    pub fn mgen_job_poll(job: *mut mgen_job) -> mgen_status;
    pub fn mgen_job_cancel(job: *mut mgen_job);
    pub fn mgen_job_get_info(job: *const mgen_job, info: *mut mgen_job_info) -> mgen_status;
    pub fn mgen_job_take_clip(job: *mut mgen_job, out: *mut *mut mgen_clip) -> mgen_status;
    pub fn mgen_job_take_sound(job: *mut mgen_job, out: *mut *mut mgen_sound) -> mgen_status;
    pub fn mgen_job_destroy(job: *mut mgen_job);

    pub fn mgen_text_encode(
        ctx: *mut mgen_context,
        encoder: *const mgen_text_encoder,
        prompt: *const c_char,
        text: *mut mgen_text,
    ) -> mgen_status;
    pub fn mgen_tae_encode(
        ctx: *mut mgen_context,
        tae: *const mgen_tae,
        frames: *const mgen_frames,
        latents: *const mgen_latents,
    ) -> mgen_status;
    pub fn mgen_tae_decode(
        ctx: *mut mgen_context,
        tae: *const mgen_tae,
        latents: *const mgen_latents,
        frames: *const mgen_frames,
    ) -> mgen_status;
    pub fn mgen_video_velocity(
        ctx: *mut mgen_context,
        model: *const mgen_video_model,
        x: *const mgen_latents,
        time: f32,
        text: *const *const mgen_text,
        out: *const mgen_latents,
    ) -> mgen_status;
    pub fn mgen_schedule(schedule: u32, steps: u32, times: *mut f32) -> mgen_status;
    pub fn mgen_noise(
        ctx: *mut mgen_context,
        seed: u64,
        latents: *const mgen_latents,
    ) -> mgen_status;

    pub fn mgen_ranks_create(
        ctx: *mut mgen_context,
        size: u32,
        timeout_ms: i64,
        out: *mut *mut mgen_ranks,
    ) -> mgen_status;
    pub fn mgen_ranks_destroy(ranks: *mut mgen_ranks);
    pub fn mgen_mesh_create(
        ctx: *mut mgen_context,
        params: *const mgen_mesh_params,
        out: *mut *mut mgen_mesh,
    ) -> mgen_status;
    pub fn mgen_mesh_destroy(mesh: *mut mgen_mesh);
    pub fn mgen_mesh_rank(mesh: *const mgen_mesh) -> u32;
    pub fn mgen_mesh_size(mesh: *const mgen_mesh) -> u32;
    pub fn mgen_mesh_barrier(mesh: *mut mgen_mesh) -> mgen_status;
    pub fn mgen_mesh_abort(mesh: *mut mgen_mesh);

    pub fn mgen_report_count(report: *const mgen_report) -> u32;
    pub fn mgen_report_name(report: *const mgen_report, i: u32) -> *const c_char;
    pub fn mgen_report_value(report: *const mgen_report, i: u32) -> f64;
    pub fn mgen_report_text(report: *const mgen_report) -> *const c_char;
    pub fn mgen_report_destroy(report: *mut mgen_report);

    pub fn mgen_dataset_toybox(
        ctx: *mut mgen_context,
        seed: u64,
        out: *mut *mut mgen_dataset,
    ) -> mgen_status;
    pub fn mgen_dataset_create(
        ctx: *mut mgen_context,
        params: *const mgen_dataset_params,
        out: *mut *mut mgen_dataset,
    ) -> mgen_status;
    pub fn mgen_dataset_open(
        ctx: *mut mgen_context,
        dir: *const c_char,
        params: *const mgen_dataset_params,
        out: *mut *mut mgen_dataset,
    ) -> mgen_status;
    pub fn mgen_dataset_retain(dataset: *mut mgen_dataset) -> *mut mgen_dataset;
    pub fn mgen_dataset_release(dataset: *mut mgen_dataset);
    pub fn mgen_dataset_count(dataset: *const mgen_dataset) -> u64;
    pub fn mgen_dataset_read(
        ctx: *mut mgen_context,
        dataset: *mut mgen_dataset,
        index: u64,
        caption: *mut c_char,
        caption_size: u64,
        out: *mut *mut mgen_clip,
    ) -> mgen_status;

    pub fn mgen_curate(
        ctx: *mut mgen_context,
        params: *const mgen_curate_params,
        out: *mut *mut mgen_report,
    ) -> mgen_status;

    pub fn mgen_trainer_create(
        ctx: *mut mgen_context,
        params: *const mgen_trainer_params,
        out: *mut *mut mgen_trainer,
    ) -> mgen_status;
    pub fn mgen_trainer_steps(trainer: *const mgen_trainer) -> u64;
    pub fn mgen_trainer_position(trainer: *const mgen_trainer) -> u64;
    pub fn mgen_trainer_step(
        trainer: *mut mgen_trainer,
        report: *mut *mut mgen_report,
    ) -> mgen_status;
    pub fn mgen_trainer_run(trainer: *mut mgen_trainer, steps: u64) -> mgen_status;
    pub fn mgen_trainer_stop(trainer: *mut mgen_trainer);
    pub fn mgen_trainer_checkpoint(trainer: *mut mgen_trainer, path: *const c_char) -> mgen_status;
    pub fn mgen_trainer_save(trainer: *mut mgen_trainer) -> mgen_status;
    pub fn mgen_trainer_destroy(trainer: *mut mgen_trainer);

    pub fn mgen_plan_training(
        ctx: *mut mgen_context,
        params: *const mgen_plan_params,
        out: *mut *mut mgen_report,
    ) -> mgen_status;
    pub fn mgen_evaluate(
        ctx: *mut mgen_context,
        pipeline: *const mgen_pipeline,
        params: *const mgen_eval_params,
        out: *mut *mut mgen_report,
    ) -> mgen_status;
    pub fn mgen_toybox_prompt(i: u32) -> *const c_char;
}
