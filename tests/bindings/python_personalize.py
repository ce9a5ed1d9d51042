# SPDX-License-Identifier: MIT
"""Films of the person in a photo, by a tiny model that is trained here first."""
import gc
import json
import os
import weakref

import python_upsample
from python_upsample import OPTIMIZER, TRANSFORMER, small
from test_python import raises

PERSONALIZER = {"name": "personalizer", "kind": "personalizer", "steps": 2, "batch": 2, "clips": 2, "tae": "tae",
                "world": {"people": 1}, "text_encoders": {"ul2": {"from": "text_encoder", "frozen": True}},
                "vision": {"config": {"image": 16, "patch": 8, "dim": 8, "layers": 2, "heads": 2, "ff_dim": 16}},
                "personalizer": {"steps": 3, "source_guidance": 2,
                                 "transformer": {**TRANSFORMER, "reference_width": 8, "guidance": 3}},
                "optimizer": {**OPTIMIZER, "lr": 0.05}}
PERSON = "a smiling person walks left"
SIZE = {"width": 32, "height": 16, "frames": 9}


def tiny(world):
    """The upsampler's model, with a personalizer beside it."""
    python_upsample.tiny(world).close()
    if not os.path.exists(os.path.join(world.path("tiny"), "personalizer.json")):
        recipe = world.path("personalizer_recipe.json")
        with open(recipe, "w", encoding="utf-8") as f:
            json.dump({**python_upsample.RECIPE, "stages": python_upsample.RECIPE["stages"] + [PERSONALIZER]}, f)
        with world.moviegen.Trainer(world.context, recipe, "personalizer", world.path("tiny")) as trainer:
            trainer.run()
            trainer.save()
    return world.moviegen.Pipeline(world.context, world.path("tiny"))


def test_a_personalizer_says_what_it_is(world):
    with tiny(world) as pipe:
        info = pipe.personalizer.info
        assert (info.tasks, info.source_guidance, info.guidance, info.channels) == (0, 2, 3, 4), info
        alone = world.moviegen.Personalizer(world.context, world.path("tiny"))
        assert alone.info == info
        whole = pipe.hash
        less = world.moviegen.Pipeline.of(world.context, tae=pipe.tae, text=pipe.text, video=pipe.video,
                                          upsampler=pipe.upsampler, editor=pipe.editor, width=64, height=64, frames=32)
        assert less.personalizer is None and less.hash != whole
    assert alone.info == info
    raises(world.moviegen.StateError, lambda: pipe.personalizer.info, holds="personalizer was closed")


def test_a_film_of_the_person_in_a_photo(world):
    photo = small(world, frames=1)
    with tiny(world) as pipe:
        need = pipe.estimate_personalize(photo, PERSON, **SIZE)
        assert (need.width, need.height, need.frames) == (32, 16, 9) and need.host_bytes > 0 and need.flops > 0
        assert pipe.estimate_personalize(photo, PERSON, source_guidance=1, **SIZE).flops < need.flops
        film = pipe.personalize(photo, PERSON, **SIZE)
        assert film.shape == (9, 16, 32, 3) and film.fps == 16
        for options in ({"steps": 3}, {"guidance": 3.0}, {"source_guidance": 2.0}, {"seed": 0}):
            assert pipe.personalize(photo, PERSON, **SIZE, **options).pixels == film.pixels, options
        for options in ({"steps": 2}, {"source_guidance": 1}, {"guidance": 1}, {"solver": "midpoint"}, {"seed": 1}):
            assert pipe.personalize(photo, PERSON, **SIZE, **options).pixels != film.pixels, options
        assert pipe.personalize(small(world, height=24, frames=1), PERSON, **SIZE).pixels != film.pixels
        assert pipe.personalize(photo, PERSON, steps=1).shape == (32, 64, 64, 3)
        parts = []
        with pipe.start_personalize(photo, PERSON, **SIZE, on_frames=lambda first, frames: parts.append(frames.tobytes())) as job:
            job.wait()
        assert b"".join(parts) == film.pixels.tobytes()
        seen = []
        pipe.personalize(photo, PERSON, **SIZE, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(1, 3), (2, 3), (3, 3)], seen


def test_what_cannot_be_personalized_is_said(world):
    moviegen, photo = world.moviegen, small(world, frames=1)
    with tiny(world) as pipe:
        raises(moviegen.UnsupportedError, pipe.personalize, photo, PERSON, width=400, holds="up to 64")
        raises(moviegen.InvalidError, pipe.personalize, photo, "", holds="missing or empty")
        raises(moviegen.InvalidError, pipe.personalize, photo, PERSON, source_guidance=-1, holds="source_guidance")
        half = moviegen.Pipeline.of(world.context, tae=pipe.tae, text=pipe.text, video=pipe.video, width=64, height=64,
                                    frames=32)
        raises(moviegen.StateError, half.personalize, photo, PERSON, holds="lacks its personalizer")
        parts = moviegen.Pipeline.of(world.context, tae=pipe.tae, text=pipe.text, personalizer=pipe.personalizer, width=64,
                                     height=64, frames=32)
        assert parts.personalize(photo, PERSON, **SIZE).pixels == pipe.personalize(photo, PERSON, **SIZE).pixels
        photo.close()
        raises(moviegen.StateError, pipe.personalize, photo, PERSON, holds="clip was closed")


def test_a_job_keeps_its_photo_until_it_is_gone(world):
    """Its thread reads it until then."""
    with tiny(world) as pipe:
        photo = small(world, frames=1)
        wanted, there = pipe.personalize(photo, PERSON, **SIZE).pixels.tobytes(), weakref.ref(photo)
        job = pipe.start_personalize(photo, PERSON, **SIZE)
        del photo
        gc.collect()
        assert there() is not None
        job.wait()
        assert job.clip().pixels.tobytes() == wanted
        job.close()
        gc.collect()
        assert there() is None
