# SPDX-License-Identifier: MIT
"""Upsampling, by a tiny model that is trained here first."""
import gc
import json
import os
import weakref

from test_python import PROMPT, raises

OPTIMIZER = {"lr": 0.02, "ema": 0.5}
TRANSFORMER = {"layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "patch": [1, 2, 2], "frames_max": 4,
               "rows_max": 4, "columns_max": 4, "text_dim": 16}
RECIPE = {
    "format": "moviegen-recipe", "version": 1, "stages": [
        {"name": "tae", "kind": "autoencoder", "steps": 2, "batch": 1, "frames": 8, "mse": 10, "kl": 0.0003,
         "tae": {"channels": [4, 4, 4, 8], "latent_channels": 4, "blocks": 1, "temporal": True}, "optimizer": OPTIMIZER},
        {"name": "video", "kind": "text_to_video", "steps": 1, "batch": 1, "clips": 1, "tae": "tae",
         "text_encoder": {"vocab": 259, "dim": 16, "layers": 1, "heads": 2, "head_dim": 8, "ff_dim": 16,
                          "tokens_max": 64},
         "video_model": TRANSFORMER, "optimizer": OPTIMIZER},
        {"name": "upsampler", "kind": "upsampler", "steps": 4, "batch": 1, "clips": 1, "tae": "tae",
         "world": {"scale": 2}, "buckets": [{"width": 128, "height": 128, "frames": 2}],
         "text_encoders": {"ul2": {"from": "text_encoder", "frozen": True}},
         "upsampler": {"factor": 2, "frames": 6, "overlap": 2, "steps": 3, "transformer": {
             **TRANSFORMER, "frames_max": 6, "rows_max": 8, "columns_max": 8, "condition_channels": 4, "guidance": 2}},
         "optimizer": OPTIMIZER}]}


def tiny(world):
    """The model's folder."""
    folder = world.path("tiny")
    if not os.path.exists(folder):
        with open(world.path("tiny.json"), "w", encoding="utf-8") as f:
            json.dump(RECIPE, f)
        for stage in RECIPE["stages"]:
            with world.moviegen.Trainer(world.context, world.path("tiny.json"), stage["name"], folder) as trainer:
                trainer.run()
                trainer.save()
    return world.moviegen.Pipeline(world.context, folder)


def small(world, width=24, height=16, frames=8):
    clip = world.moviegen.Clip.create(world.context, width=width, height=height, frames=frames, fps=25)
    pixels = clip.pixels.cast("B")
    for i in range(len(pixels)):
        pixels[i] = i * 7 % 200
    return clip


def test_an_upsampler_says_what_it_is(world):
    with tiny(world) as pipe:
        info = pipe.upsampler.info
        assert (info.upsampling, info.channels, info.spatial_factor, info.guidance) == (2, 4, 8, 2), info
        assert info.hash not in (pipe.tae.info.hash, pipe.video.info.hash) and pipe.video.info.upsampling == 0
        alone = world.moviegen.Upsampler(world.context, world.path("tiny"))
        assert alone.info == info
        whole = pipe.hash
    assert alone.info == info
    raises(world.moviegen.StateError, lambda: pipe.upsampler.info, holds="upsampler was closed")
    with tiny(world) as again:
        assert again.hash == whole


def test_a_clip_is_made_larger(world):
    clip = small(world)
    with tiny(world) as pipe:
        need = pipe.estimate_upsample(clip)
        assert (need.width, need.height, need.frames) == (48, 32, 8) and need.host_bytes > 0 and need.flops > 0
        large = pipe.upsample(clip)
        assert large.shape == (8, 32, 48, 3) and large.fps == 25
        for options in ({"steps": 3}, {"guidance": 2.0}, {"prompt": ""}, {"width": 48, "height": 32}, {"seed": 0}):
            assert pipe.upsample(clip, **options).pixels == large.pixels, options
        for options in ({"steps": 2}, {"prompt": PROMPT}, {"schedule": "linear"}, {"solver": "midpoint"}, {"seed": 1}):
            assert pipe.upsample(clip, **options).pixels != large.pixels, options
        assert pipe.upsample(clip, width=33, height=21).shape == (8, 21, 33, 3)
        memory = bytearray(8 * 32 * 48 * 3)
        with pipe.start_upsample(clip, into=memoryview(memory).cast("B", [8, 32, 48, 3])) as job:
            job.wait()
        assert memory == large.pixels.tobytes()
        parts = []
        with pipe.start_upsample(clip, on_frames=lambda first, frames: parts.append(frames.tobytes())) as job:
            job.wait()
        assert b"".join(parts) == large.pixels.tobytes()
        seen = []
        pipe.upsample(clip, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(1, 3), (2, 3), (3, 3)], seen


def test_what_cannot_be_upsampled_is_said(world):
    moviegen, clip = world.moviegen, small(world)
    with tiny(world) as pipe:
        raises(moviegen.UnsupportedError, pipe.upsample, clip, width=400, holds="up to 128 x 128")
        raises(moviegen.InvalidError, pipe.upsample, clip, steps=1001, holds="steps")
        raises(ZeroDivisionError, pipe.upsample, clip, progress=lambda done, total: 1 / 0)
        half = moviegen.Pipeline.of(world.context, tae=pipe.tae, text=pipe.text, video=pipe.video, width=64, height=64,
                                    frames=32)
        raises(moviegen.StateError, half.upsample, clip, holds="upsampler")
        parts = moviegen.Pipeline.of(world.context, text=pipe.text, upsampler=pipe.upsampler, width=64, height=64,
                                     frames=32)
        assert parts.upsample(clip).pixels == pipe.upsample(clip).pixels
        clip.close()
        raises(moviegen.StateError, pipe.upsample, clip, holds="clip was closed")
        raises(moviegen.StateError, pipe.estimate_upsample, clip, holds="clip was closed")


def test_folders_are_averaged_and_converted(world):
    moviegen, folder = world.moviegen, world.path("tiny")
    with tiny(world) as pipe:
        whole = pipe.generate(PROMPT, steps=1).pixels.tobytes()
    moviegen.average(world.context, [folder, folder], world.path("mean"), weights=[1, 2.5])
    with moviegen.Pipeline(world.context, world.path("mean")) as mean:
        assert mean.upsampler is None
        assert mean.generate(PROMPT, steps=1).pixels.tobytes() == whole  # the mean of a model and itself
    size = os.path.getsize(os.path.join(world.path("mean"), "video_model.safetensors"))
    moviegen.convert(world.context, world.path("mean"), "fp8")
    assert os.path.getsize(os.path.join(world.path("mean"), "video_model.safetensors")) < size
    raises(moviegen.InvalidError, moviegen.convert, world.context, world.path("mean"), "f32", holds="precision")
    raises(moviegen.InvalidError, moviegen.convert, world.context, world.path("mean"), "int8", holds="'fp8'")
    raises(moviegen.NotFoundError, moviegen.convert, world.context, world.path("nowhere"), "fp8", holds="nowhere")
    raises(moviegen.InvalidError, moviegen.average, world.context, [folder], world.path("m2"), weights=[1, 2], holds="2 weights")
    raises(moviegen.InvalidError, moviegen.average, world.context, [], world.path("m2"), holds="0 model folders")
    raises(TypeError, moviegen.average, world.context, folder, world.path("m2"), holds="list of folders")


def test_a_job_keeps_its_clip_until_it_is_gone(world):
    """Its thread reads it until then, also if the job is closed meanwhile."""
    with tiny(world) as pipe:
        clip = small(world)
        wanted, there = pipe.upsample(clip).pixels.tobytes(), weakref.ref(clip)
        job = pipe.start_upsample(clip)
        del clip
        gc.collect()
        job.wait()
        assert job.clip().pixels.tobytes() == wanted
        job.close()
        gc.collect()
        assert there() is None
        clip, seen = small(world), []
        there, job = weakref.ref(clip), pipe.start_upsample(clip, steps=1000)
        destroy = job._core._destroy
        job._core._destroy = lambda pointer: (seen.append(there() is not None), destroy(pointer))
        del clip
        job.close()
        assert seen == [True]
        del job
        gc.collect()
        assert there() is None
