# SPDX-License-Identifier: MIT
"""The moviegen program makes sound: moviegen sound, and moviegen generate with it.

    check_sound.py PROGRAM        prints TAP

On a tiny model with an audio model, which the program trains here first, in seconds.
"""
import json
import os
import re
import struct
import sys

sys.dont_write_bytecode = True  # beside the sources
import check_cli
from check_cli import PROMPT, expect, read_png_size, read_y4m
from check_upsample import write_film

CODEC = {
    "name": "codec", "kind": "audio_codec", "steps": 2, "batch": 1, "frames": 8, "l1": 1,
    "mel": {"weight": 1, "windows": [64], "bands": 8},
    "codec": {"strides": [40, 48], "dim": 4, "decoder_dim": 8, "latent_channels": 4, "dilations": [1]},
    "optimizer": {"lr": 0.001}}
AUDIO = {
    "name": "audio", "kind": "audio", "steps": 2, "batch": 2, "clips": 4, "codec": "codec",
    "text": {"kind": "t5-bytes", "config": {"vocab": 259, "dim": 16, "layers": 1, "heads": 2, "head_dim": 8,
                                            "ff_dim": 16, "tokens_max": 320}},
    "vision": {"config": {"image": 12, "patch": 6, "dim": 8, "layers": 1, "heads": 2, "ff_dim": 12, "projection": 5}},
    "lengths": [{"seconds": 0.32}],
    "audio": {"window": 12, "overlap": 4, "steps": 3, "transformer": {
        "block": "dit", "layers": 1, "dim": 24, "heads": 2, "ff_dim": 40, "channels": 4, "condition_channels": 4,
        "frame_features": 5, "patch": [1, 1, 1], "frames_max": 12, "rows_max": 1, "columns_max": 1, "text": {"ul2": 16},
        "guidance": 3}},
    "optimizer": {"lr": 0.05, "ema": 0.5}}
RATE = 48000


def read_wav(path):
    """(rate, samples) of 16 bits and one channel."""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:4] == b"RIFF" and data[8:16] == b"WAVEfmt " and data[36:40] == b"data", data[:44]
    form, channels, rate, _, _, bits = struct.unpack("<HHIIHH", data[20:36])
    assert (form, channels, bits) == (1, 1, 16) and struct.unpack("<I", data[40:44])[0] == len(data) - 44
    return rate, struct.unpack(f"<{(len(data) - 44) // 2}h", data[44:])


def sound(w, *words):
    """The samples that it makes."""
    run = w.run("sound", *words, "--model", w.need_model(), "--out", w.path("s.wav"), "-q", "--threads", "2")
    expect(run, 0)
    rate, samples = read_wav(w.path("s.wav"))
    assert rate == RATE
    return samples


# ---- the command line ----

def test_words(w):
    expect(w.run("sound"), 2, "neither a film nor --seconds given", "sound [INPUT] [options]")
    expect(w.run("sound", "a.y4m", "b.y4m"), 2, "unexpected 'b.y4m'")
    expect(w.run("sound", "--seconds", "1", "-o", "a.mp4"), 2, "'a.mp4' is a film by its ending, but there is none")
    expect(w.run("sound", "--seconds", "0"), 2, "--seconds needs a number from 0.01 to 65536")
    expect(w.run("sound", "a.y4m", "--extension", "long"), 2, "--extension is 'long'; it must be blended or one-by-one")
    expect(w.run("sound", "a.y4m", "--solver", "rk4"), 2, "--solver is 'rk4'")
    expect(w.run("sound", "a.y4m", "--quality", "11"), 2, "--quality needs a number from 1 to 10")
    expect(w.run("sound", "a.y4m", "--candidates", "65"), 2, "--candidates needs a whole number from 1 to 64")


def test_help(w):
    run = w.run("--help")
    expect(run, 0)
    assert re.search(rb"(?m)^  sound +make the sound of a film, or of a text$", run.stdout), run.stdout
    run = w.run("sound", "--help")
    expect(run, 0)
    for option in (b"--prompt", b"--music", b"--context", b"--candidates", b"--extension", b"--quality"):
        assert option in run.stdout, option


# ---- sounds ----

def test_a_film_is_heard(w):
    film = write_film(w, "film.y4m", frames=8)
    first = sound(w, film, "-p", "a ball bounces")
    assert len(first) == RATE * 8 // 25 and len(set(first)) > 10, len(first)
    for same in ([], ["--steps", "3"], ["--guidance", "3"], ["--quality", "7"], ["--seconds", "0.32"], ["--seed", "1"],
                 ["--solver", "midpoint"], ["--candidates", "1"]):
        assert sound(w, film, "-p", "a ball bounces", *same) == first, same
    for other in (["--steps", "2"], ["--guidance", "1"], ["--quality", "5"], ["--seed", "2"], ["--solver", "euler"],
                  ["--music", "sad"], ["--negative", "hiss"], ["-p", "surf"]):
        assert sound(w, film, "-p", "a ball bounces", *other) != first, other
    assert len(sound(w, film, "--first", "2", "--frames", "4")) == RATE * 4 // 25


def test_a_text_is_heard(w):
    short = sound(w, "-p", "surf", "--seconds", "0.3")
    assert len(short) == 14400
    long = sound(w, "-p", "surf", "--seconds", "1.1", "--extension", "one-by-one", "--candidates", "2")
    assert len(long) == 52800 and long != sound(w, "-p", "surf", "--seconds", "1.1")
    os.replace(w.path("s.wav"), w.path("before.wav"))
    assert sound(w, "-p", "surf", "--seconds", "0.3", "--context", w.path("before.wav")) != short
    expect(w.run("sound", "-p", "surf", "--seconds", "0.3", "--context", w.path("before.wav"), "--model", w.need_model(), "-o",
                 w.path("before.wav")), 2, "before.wav' is read")
    expect(w.run("sound", "--seconds", "1", "--context", w.path("none.wav"), "--model", w.need_model(), "-o",
                 w.path("s.wav")), 1, "none.wav")


def near(one, two):
    """Samples of 16 bits, to rounding."""
    return max(abs(a - b) for a, b in zip(one, two)) <= 2


def test_ranks(w):
    """The sound of one rank, written once."""
    film = write_film(w, "film.y4m", frames=8)
    one = sound(w, film, "-p", "a ball bounces")
    os.replace(w.path("s.wav"), w.path("before.wav"))
    for mesh in ("dp=2", "tp=2", "dp=2,cp=2"):
        assert near(one, sound(w, film, "-p", "a ball bounces", "--mesh", mesh)), mesh
    more = ("--seconds", "0.9", "--context", w.path("before.wav"))
    assert near(sound(w, *more), sound(w, *more, "--mesh", "dp=2,tp=2"))
    assert near(sound(w, "--seconds", "0.2"), sound(w, "--seconds", "0.2", "--mesh", "tp=2"))  # 5 latents
    expect(w.run("sound", "--seconds", "1", "--mesh", "cp=5", "--model", w.need_model(), "-o", w.path("no.wav")), 1,
           "rank 0: ", "12 tokens cannot be split over cp=5 x tp=1")
    expect(w.run("sound", w.path("none.y4m"), "--mesh", "dp=2", "--model", w.need_model(), "-o", w.path("no.wav")), 1,
           "rank 0: ", "none.y4m")
    assert not os.path.exists(w.path("no.wav"))


def test_json(w):
    film = write_film(w, "film.y4m", frames=8)
    run = w.run("sound", film, "--model", w.need_model(), "-p", "a \"ball\"", "-o", w.path("j.wav"), "--json", "-q")
    expect(run, 0)
    line = json.loads(run.stdout)
    assert line["input"] == film and line["prompt"] == "a \"ball\"" and line["music"] is None, line
    assert (line["rate"], line["samples"], line["guidance"], line["seed"]) == (RATE, 15360, 3, 1), line
    assert line["files"] == [w.path("j.wav")] and "steps" not in line, line


def test_a_film_with_sound(w):
    """A film, or without the plug-in what can be written without it."""
    film = write_film(w, "film.y4m", frames=8)
    run = w.run("sound", film, "--model", w.need_model(), "-o", w.path("out.mp4"), "-q",
                env={"MOVIEGEN_PLUGINS": w.path("nowhere")})
    assert run.returncode == 0 and b"mgen_ffmpeg.so" in run.stderr, run.stderr
    assert len(read_wav(w.path("out.wav"))[1]) == 15360
    assert read_y4m(w.path("out.y4m"))[:3] == (40, 24, 8), read_y4m(w.path("out.y4m"))[:3]
    assert read_png_size(w.path("out.png"))[1] == 24
    run = w.run("sound", "--seconds", "0.2", "--model", w.need_model(), "-o", w.path("alone.m4a"),
                env={"MOVIEGEN_PLUGINS": w.path("nowhere")})
    assert run.returncode == 0 and b"so the sound goes to a .wav file" in run.stderr, run.stderr
    assert len(read_wav(w.path("alone.wav"))[1]) == 9600
    run = w.run("sound", film, "--model", w.need_model(), "-o", w.path("silent.y4m"), "-q")
    expect(run, 0)
    assert read_y4m(w.path("silent.y4m"))[2] == 8 and len(read_wav(w.path("silent.wav"))[1]) == 15360
    plugins = os.path.join(os.path.dirname(w.program), "..", "..", "lib", "plugins")
    if not os.path.exists(os.path.join(plugins, "mgen_ffmpeg.so")):
        return
    env = {"MOVIEGEN_PLUGINS": plugins}
    run = w.run("sound", film, "--model", w.need_model(), "-o", w.path("film.mp4"), env=env)
    assert run.returncode == 0 and b"0.32 s of sound, 48000 samples a second" in run.stdout, (run.stdout, run.stderr)
    run = w.run("sound", w.path("film.mp4"), "--model", w.need_model(), "--context", w.path("film.mp4"), "-o",
                w.path("again.webm"), "-q", env=env)
    assert run.returncode == 0 and os.path.getsize(w.path("again.webm")) > 500, run.stderr


def test_generate_with_sound(w):
    plain = ["generate", PROMPT, "--model", w.need_model(), "--steps", "1", "--frames", "9", "-q", "--json"]
    nowhere = {"MOVIEGEN_PLUGINS": w.path("nowhere")}
    run = w.run(*plain, "-o", w.path("g.mp4"), "--sound", "a ball", "--music", "", env=nowhere)
    assert run.returncode == 0, run.stderr
    line = json.loads(run.stdout)
    assert line["sound"] == "a ball" and line["music"] == "" and len(line["files"]) == 3, line
    assert len(read_wav(w.path("g.wav"))[1]) == RATE * 9 // 16
    one = read_wav(w.path("g.wav"))[1]
    run = w.run(*plain, "-o", w.path("h.mp4"), "--mesh", "dp=2", "--sound", "a ball", "--music", "", env=nowhere)
    assert run.returncode == 0 and len(json.loads(run.stdout)["files"]) == 3, run.stderr
    two = read_wav(w.path("h.wav"))[1]
    assert len(two) == len(one) and near(one, two), "sounds of one rank and of two"
    run = w.run("generate", PROMPT, "--model", w.need_model(), "--frames", "9", "-o", w.path("i.y4m"), "--mesh", "cp=5",
                "--sound", "a ball", "-q", env=nowhere)
    assert run.returncode == 1 and b"12 tokens cannot be split" in run.stderr, run.stderr
    assert not os.path.exists(w.path("i.y4m"))  # said before the film is made


def test_without_audio_model(w):
    plain = w.copy_model("plain")
    pipeline = os.path.join(plain, "pipeline.json")
    with open(pipeline, encoding="utf-8") as f:
        parts = json.load(f)
    with open(pipeline, "w", encoding="utf-8") as f:
        json.dump({key: value for key, value in parts.items() if key != "audio"}, f)
    film = write_film(w, "film.y4m", frames=8)
    expect(w.run("sound", film, "--model", plain, "-o", w.path("s.wav"), "-q"), 1, "the model has no audio model",
           "docs/recipes.md#audio-model")
    expect(w.run("generate", PROMPT, "--model", plain, "--sound", "", "-o", w.path("s.y4m"), "-q"), 1)
    expect(w.run("eval", "sound", "--model", plain, "-n", "1", "-q"), 1, "lacks its audio model")
    expect(w.run("eval", "sound", "--model", w.need_model(), "-n", "1", "-q"), 1, "windows of a second or more")


if __name__ == "__main__":
    check_cli.TINY_RECIPE["stages"] += [CODEC, AUDIO]
    sys.exit(check_cli.main(globals()))
