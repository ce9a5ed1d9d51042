# SPDX-License-Identifier: MIT
"""Sounds: samples without a copy, files, films with sound."""
import array
import gc
import math

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
    try:
        sound.write_movie(clip, world.path("film.mp4"))
    except world.moviegen.UnsupportedError:  # without the plug-in
        return
    film = world.moviegen.Clip.read(world.context, world.path("film.mp4"))
    heard = world.moviegen.Sound.read(world.context, world.path("film.mp4"))
    assert film.shape == clip.shape and abs(heard.seconds - 0.5) < 0.001, heard
