# SPDX-License-Identifier: MIT
"""Editing, by a tiny model that is trained here first."""
import gc
import json
import os
import weakref

import python_upsample
from python_upsample import OPTIMIZER, TRANSFORMER, small
from test_python import PROMPT, raises

EDITOR = {"name": "editor", "kind": "editor", "steps": 6, "batch": 2, "clips": 2, "tae": "tae",
          "text_encoders": {"ul2": {"from": "text_encoder", "frozen": True}},
          "editor": {"steps": 3, "source_guidance": 2, "transformer": {
              **TRANSFORMER, "condition_channels": 4, "tasks": 8, "task_dim": 8, "guidance": 3}},
          "optimizer": {**OPTIMIZER, "lr": 0.05}}
INSTRUCTION = "make the ball blue"


def tiny(world):
    """The upsampler's model, with an editor beside it."""
    python_upsample.tiny(world).close()
    if not os.path.exists(os.path.join(world.path("tiny"), "editor.json")):
        with open(world.path("editor.json"), "w", encoding="utf-8") as f:
            json.dump({**python_upsample.RECIPE, "stages": python_upsample.RECIPE["stages"] + [EDITOR]}, f)
        with world.moviegen.Trainer(world.context, world.path("editor.json"), "editor", world.path("tiny")) as trainer:
            trainer.run()
            trainer.save()
    return world.moviegen.Pipeline(world.context, world.path("tiny"))


def test_an_editor_says_what_it_is(world):
    with tiny(world) as pipe:
        info = pipe.editor.info
        assert (info.tasks, info.source_guidance, info.guidance, info.channels) == (8, 2, 3, 4), info
        assert info.hash not in (pipe.tae.info.hash, pipe.video.info.hash) and pipe.video.info.tasks == 0
        alone = world.moviegen.Editor(world.context, world.path("tiny"))
        assert alone.info == info
        whole = pipe.hash
        less = world.moviegen.Pipeline.of(world.context, tae=pipe.tae, text=pipe.text, video=pipe.video,
                                          upsampler=pipe.upsampler, width=64, height=64, frames=32)
        assert less.editor is None and less.hash != whole
    assert alone.info == info
    raises(world.moviegen.StateError, lambda: pipe.editor.info, holds="editor was closed")
    with tiny(world) as again:
        assert again.hash == whole


def test_a_clip_is_edited(world):
    clip = small(world)
    with tiny(world) as pipe:
        need = pipe.estimate_edit(clip, INSTRUCTION)
        assert (need.width, need.height, need.frames) == (24, 16, 8) and need.host_bytes > 0 and need.flops > 0
        assert pipe.estimate_edit(clip, INSTRUCTION, source_guidance=1).flops < need.flops
        edited = pipe.edit(clip, INSTRUCTION)
        assert edited.shape == (8, 16, 24, 3) and edited.fps == 25
        for options in ({"steps": 3}, {"guidance": 3.0}, {"source_guidance": 2.0}, {"task": "auto"}, {"task": "local"},
                        {"width": 24, "height": 16}, {"seed": 0}):
            assert pipe.edit(clip, INSTRUCTION, **options).pixels == edited.pixels, options
        for options in ({"steps": 2}, {"task": "style"}, {"source_guidance": 1}, {"guidance": 1}, {"schedule": "linear"},
                        {"solver": "midpoint"}, {"seed": 1}, {"strength": 0.5}, {"negative_prompt": PROMPT}):
            assert pipe.edit(clip, INSTRUCTION, **options).pixels != edited.pixels, options
        assert pipe.edit(clip, "remove the ball").pixels == pipe.edit(clip, "remove the ball", task="removal").pixels
        assert pipe.edit(clip, INSTRUCTION, width=33, height=21).shape == (8, 21, 33, 3)
        memory = bytearray(8 * 16 * 24 * 3)
        with pipe.start_edit(clip, INSTRUCTION, into=memoryview(memory).cast("B", [8, 16, 24, 3])) as job:
            job.wait()
        assert memory == edited.pixels.tobytes()
        parts = []
        with pipe.start_edit(clip, INSTRUCTION, on_frames=lambda first, frames: parts.append(frames.tobytes())) as job:
            job.wait()
        assert b"".join(parts) == edited.pixels.tobytes()
        seen = []
        pipe.edit(clip, INSTRUCTION, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(1, 3), (2, 3), (3, 3)], seen


def test_a_clip_is_edited_without_an_editor(world):
    clip = small(world)
    with tiny(world) as pipe:
        without = world.moviegen.Pipeline.of(world.context, tae=pipe.tae, text=pipe.text, video=pipe.video, width=64,
                                             height=64, frames=32)
        plain = {"strength": 0.6, "steps": 5, "schedule": "linear"}
        edited = without.edit(clip, PROMPT, **plain)
        assert edited.shape == (8, 16, 24, 3) and edited.pixels == pipe.edit(clip, PROMPT, **plain).pixels
        assert edited.pixels != without.edit(clip, PROMPT, **{**plain, "strength": 0.4}).pixels
        seen = []
        without.edit(clip, PROMPT, **plain, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(1, 3), (2, 3), (3, 3)], seen
        need = without.estimate_edit(clip, PROMPT, **plain)
        assert 0 < need.flops < without.estimate_edit(clip, PROMPT, **{**plain, "strength": 0.99}).flops


def test_what_cannot_be_edited_is_said(world):
    moviegen, clip = world.moviegen, small(world)
    with tiny(world) as pipe:
        raises(moviegen.UnsupportedError, pipe.edit, clip, INSTRUCTION, width=400, holds="up to 64 x 64")
        raises(moviegen.InvalidError, pipe.edit, clip, "", holds="missing or empty")
        raises(moviegen.InvalidError, pipe.edit, clip, "  ", holds="nothing but spaces")
        raises(moviegen.InvalidError, pipe.edit, clip, INSTRUCTION, steps=1001, holds="steps")
        raises(moviegen.InvalidError, pipe.edit, clip, INSTRUCTION, task="text_to_video", holds="'segmentation'")
        raises(moviegen.InvalidError, pipe.edit, clip, INSTRUCTION, strength=1.0, holds="strength")
        raises(moviegen.InvalidError, pipe.edit, clip, INSTRUCTION, source_guidance=-1, holds="source_guidance")
        raises(moviegen.InvalidError, pipe.edit, clip, INSTRUCTION, strength=0.5, task="style", holds="edit_task")
        raises(ZeroDivisionError, pipe.edit, clip, INSTRUCTION, progress=lambda done, total: 1 / 0)
        half = moviegen.Pipeline.of(world.context, tae=pipe.tae, text=pipe.text, video=pipe.video, width=64, height=64,
                                    frames=32)
        raises(moviegen.StateError, half.edit, clip, INSTRUCTION, holds="lacks its editor")
        parts = moviegen.Pipeline.of(world.context, tae=pipe.tae, text=pipe.text, editor=pipe.editor, width=64, height=64,
                                     frames=32)
        assert parts.edit(clip, INSTRUCTION).pixels == pipe.edit(clip, INSTRUCTION).pixels
        for call in (pipe.edit, pipe.estimate_edit, pipe.start_edit, pipe.upsample, pipe.estimate_upsample):
            raises(moviegen.InvalidError, call, None, INSTRUCTION, holds="the clip is NULL")
            raises(TypeError, call, bytearray(8 * 16 * 24 * 3), INSTRUCTION, holds="a clip of moviegen is wanted, not bytearray")
            raises(TypeError, call, moviegen.Sound.create(world.context, samples=9), INSTRUCTION, holds="not Sound")
        clip.close()
        raises(moviegen.StateError, pipe.edit, clip, INSTRUCTION, holds="clip was closed")
        raises(moviegen.StateError, pipe.estimate_edit, clip, INSTRUCTION, holds="clip was closed")


def test_a_job_keeps_its_clip_until_it_is_gone(world):
    """Its thread reads it until then."""
    with tiny(world) as pipe:
        clip = small(world)
        wanted, there = pipe.edit(clip, INSTRUCTION).pixels.tobytes(), weakref.ref(clip)
        job = pipe.start_edit(clip, INSTRUCTION)
        del clip
        gc.collect()
        assert there() is not None
        job.wait()
        assert job.clip().pixels.tobytes() == wanted
        job.close()
        gc.collect()
        assert there() is None
