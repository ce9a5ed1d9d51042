# SPDX-License-Identifier: MIT
"""Sounds: samples without a copy, files, films with sound."""
import array
import gc
import json
import math
import os

from test_python import raises


def tone(world, samples=4000, rate=8000, channels=1):
    sound = world.moviegen.Sound.create(world.context, samples=samples, rate=rate, channels=channels)
    view = sound.samples
    for i in range(samples):
        for c in range(channels):
            view[i, c] = 0.5 * math.sin(2 * math.pi * 440 * (c + 1) * i / rate)
    return sound


def test_a_sound_is_memory(world):
    sound = tone(world, channels=2)
    assert (sound.shape, sound.rate, sound.channels, sound.seconds, len(sound)) == ((4000, 2), 8000, 2, 0.5, 4000)
    assert abs(sound.samples[3, 1] - 0.5 * math.sin(2 * math.pi * 880 * 3 / 8000)) < 1e-6
    assert repr(sound) == "<moviegen.Sound of 4000 samples, 2 channels, 8000 per second>"
    view = sound.samples
    sound.close()
    sound.close()
    assert sound.closed and repr(sound) == "<moviegen.Sound, closed>"
    raises(world.moviegen.StateError, lambda: sound.samples, holds="was closed")
    sound = None
    gc.collect()
    assert view.shape == (4000, 2) and view[0, 0] == 0.0
    raises(world.moviegen.StateError, world.moviegen.Sound, holds="Sound.create()")
    for wrong in ({"samples": 0}, {"samples": 1, "rate": 0}, {"samples": 1, "channels": 9}, {"samples": 2**31}):
        raises(world.moviegen.InvalidError, world.moviegen.Sound.create, world.context, **wrong)
    raises(world.moviegen.InvalidError, world.moviegen.Sound.create, world.context, samples=-1)


def test_a_sound_goes_to_a_file_and_back(world):
    sound = tone(world, channels=2)
    sound.write(world.path("tone.wav"))
    back = world.moviegen.Sound.read(world.context, world.path("tone.wav"))
    assert back.shape == sound.shape and back.rate == sound.rate
    worst = max(abs(a - b) for a, b in zip(array.array("f", back.samples.tobytes()),
                                           array.array("f", sound.samples.tobytes())))
    assert 0 < worst <= 0.5 / 32768, worst
    other = world.moviegen.Sound.read(world.context, world.path("tone.wav"), rate=48000, channels=1)
    assert (other.shape, other.rate) == ((24000, 1), 48000)
    raises(world.moviegen.NotFoundError, world.moviegen.Sound.read, world.context, world.path("nothing.wav"))
    raises(world.moviegen.InvalidError, sound.write, world.path("no-ending"))
    with open(world.path("bad.wav"), "wb") as f:
        f.write(b"RIFF")
    raises(world.moviegen.CorruptError, world.moviegen.Sound.read, world.context, world.path("bad.wav"),
           holds="bad.wav")


def test_a_film_has_a_sound(world):
    clip = world.moviegen.Clip.create(world.context, width=32, height=32, frames=8, fps=16)
    sound = tone(world)
    raises(world.moviegen.InvalidError, sound.write_movie, clip, world.path("film.png"), holds="no film with sound")
    raises(TypeError, sound.write_movie, sound, world.path("film.mp4"), holds="clip: a clip of moviegen is wanted, not Sound")
    try:
        sound.write_movie(clip, world.path("film.mp4"))
    except world.moviegen.UnsupportedError:  # without the plug-in
        return
    film = world.moviegen.Clip.read(world.context, world.path("film.mp4"))
    heard = world.moviegen.Sound.read(world.context, world.path("film.mp4"))
    assert film.shape == clip.shape and abs(heard.seconds - 0.5) < 0.001, heard


CODEC = {"name": "codec", "kind": "audio_codec", "steps": 2, "batch": 1, "frames": 8, "l1": 1,
         "mel": {"weight": 1, "windows": [64], "bands": 8},
         "codec": {"strides": [40, 48], "dim": 4, "decoder_dim": 8, "latent_channels": 4, "dilations": [1]},
         "optimizer": {"lr": 0.001}}
AUDIO = {"name": "audio", "kind": "audio", "steps": 2, "batch": 2, "clips": 4, "codec": "codec",
         "text": {"kind": "t5-bytes", "config": {"vocab": 259, "dim": 16, "layers": 1, "heads": 2, "head_dim": 8,
                                                 "ff_dim": 16, "tokens_max": 320}},
         "vision": {"config": {"image": 12, "patch": 6, "dim": 8, "layers": 1, "heads": 2, "ff_dim": 12, "projection": 5}},
         "lengths": [{"seconds": 0.32}],
         "audio": {"window": 12, "overlap": 4, "steps": 3, "transformer": {
             "block": "dit", "layers": 1, "dim": 24, "heads": 2, "ff_dim": 40, "channels": 4, "condition_channels": 4,
             "frame_features": 5, "patch": [1, 1, 1], "frames_max": 12, "rows_max": 1, "columns_max": 1,
             "text": {"ul2": 16}, "guidance": 3}},
         "optimizer": {"lr": 0.05, "ema": 0.5}}


def model(world):
    """A tiny audio model, trained here first."""
    folder = world.path("audio")
    if not os.path.exists(os.path.join(folder, "audio.json")):
        with open(world.path("audio-recipe.json"), "w", encoding="utf-8") as f:
            json.dump({"format": "moviegen-recipe", "version": 1, "stages": [CODEC, AUDIO]}, f)
        for stage in ("codec", "audio"):
            with world.moviegen.Trainer(world.context, world.path("audio-recipe.json"), stage, folder) as trainer:
                trainer.run()
                trainer.save()
    return world.moviegen.AudioModel(world.context, folder)


def test_films_and_texts_get_sound(world):
    clip = world.moviegen.Clip.create(world.context, width=24, height=16, frames=8, fps=25)
    with model(world) as audio:
        info = audio.info
        assert (info.rate, info.sees_clips, info.guidance, info.channels) == (48000, 1, 3, 4), info
        pipe = world.moviegen.Pipeline.of(world.context, audio=audio, width=24, height=16, frames=8, fps=25)
        need = pipe.estimate_sound(clip, "a ball bounces")
        assert need.host_bytes > 0 and need.flops > 0 and need.width == 0
        seen = []
        first = pipe.sound(clip, "a ball bounces", progress=lambda done, total: seen.append((done, total)))
        assert first.shape == (15360, 1) and first.rate == 48000 and seen == [(1, 3), (2, 3), (3, 3)], (first, seen)
        samples = first.samples.tobytes()
        for options in ({"steps": 3}, {"guidance": 3.0}, {"quality": 7}, {"solver": "midpoint"}, {"seconds": 0.32}):
            assert pipe.sound(clip, "a ball bounces", **options).samples.tobytes() == samples, options
        for options in ({"steps": 2}, {"guidance": 1}, {"quality": 5}, {"solver": "euler"}, {"music": "sad"}, {"seed": 1},
                        {"negative": "hiss"}):
            assert pipe.sound(clip, "a ball bounces", **options).samples.tobytes() != samples, options
        alone = pipe.sound(prompt="surf", seconds=1.0, extension="one_by_one", candidates=2)
        assert alone.seconds == 1.0
        more = pipe.sound(prompt="surf", seconds=0.2, context_sound=alone)
        assert more.shape == (9600, 1)
        with pipe.start_sound(clip, "a ball bounces") as job:
            raises(world.moviegen.StateError, job.sound)
            job.wait()
            raises(world.moviegen.StateError, job.clip, holds="made no clip")
            assert job.sound().samples.tobytes() == samples
            raises(world.moviegen.StateError, job.sound, holds="gave its sound away")
        raises(world.moviegen.InvalidError, pipe.sound, prompt="surf", holds="seconds")
        raises(TypeError, pipe.sound, alone, "a ball bounces", holds="clip: a clip of moviegen is wanted, not Sound")
        raises(TypeError, pipe.sound, prompt="surf", seconds=1, context_sound=clip, holds="context_sound: a sound of moviegen")
        raises(world.moviegen.InvalidError, pipe.sound, clip, extension="long", holds="extension")

        def stop(done, total):
            raise KeyError(done)

        raises(KeyError, pipe.sound, clip, "a ball bounces", progress=stop)
    bare = world.moviegen.Pipeline.of(world.context, width=24, height=16, frames=8)
    raises(world.moviegen.StateError, bare.sound, clip, holds="lacks its audio model")
